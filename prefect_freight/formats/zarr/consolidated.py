"""All metadata of a copy in one document. Pure."""

import json
from collections.abc import Collection, Sequence

from prefect_freight.formats.zarr.documents import TargetArray, TargetGroup, to_json
from prefect_freight.hierarchy.grid import is_rectilinear
from prefect_freight.model import Format

CONSOLIDATED_KEY = {Format.ZARR2: ".zmetadata", Format.ZARR3: "zarr.json"}


def plan_consolidated(
    nodes: Sequence[TargetArray | TargetGroup], format_: Format
) -> list[tuple[str, bytes]]:
    """Return the documents that hold all metadata at once: none if the root is an array.

    For Zarr 2 that is `.zmetadata`; for Zarr 3 the root's `zarr.json`, to be written in the place
    of the group's own. There is none for Zarr 3 with rectilinear chunks: zarr-python opens these
    only when told to, and one of them would close the whole store to it.
    """
    if any(isinstance(node, TargetArray) and not node.path for node in nodes):
        return []
    documents = {key: json.loads(data) for node in nodes for key, data in node.documents}
    # Always in one order: a document of other bytes would count as changed, and be put again.
    documents = dict(sorted(documents.items(), key=lambda item: (item[0].count("/"), item[0])))
    if format_ is Format.ZARR2:
        documents.setdefault(".zgroup", {"zarr_format": 2})
        return [(".zmetadata", to_json({"zarr_consolidated_format": 1, "metadata": documents}))]
    if any(is_rectilinear(document) for document in documents.values()):
        return []
    root = documents.pop("zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {}})
    root["consolidated_metadata"] = {
        "kind": "inline",
        "must_understand": False,
        "metadata": {
            key.removesuffix("/zarr.json"): document for key, document in documents.items()
        },
    }
    return [("zarr.json", to_json(root))]


def without_arrays(document: bytes, paths: Collection[str]) -> bytes | None:
    """Return consolidated metadata without the given nodes and all below them.

    It is `.zmetadata` of Zarr 2, or a root's zarr.json with inline consolidated metadata. None for
    anything else: a root that has none, or a document that is damaged, whoever did it. Nobody sees
    an array through that, and what it should be is written at the end.

    >>> without_arrays(b'{"metadata": {"a/.zarray": {}, "ab/.zarray": {}}}', ["a"])
    b'{"metadata": {"ab/.zarray": {}}}'
    """
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError):
        return None
    is_root = isinstance(parsed, dict) and "node_type" in parsed
    holder = parsed.get("consolidated_metadata") if is_root else parsed
    if not isinstance(holder, dict) or not isinstance(holder.get("metadata"), dict):
        return None
    # With the slash, so that withdrawing `a` leaves its neighbour `ab` where it is.
    below = tuple(f"{path}/" for path in paths)
    holder["metadata"] = {
        key: node_document
        for key, node_document in holder["metadata"].items()
        if not f"{key}/".startswith(below)
    }
    return json.dumps(parsed).encode()
