"""Taking arrays out of view while their chunks are replaced. Pure.

A reader must never decode new chunks by an old document. Where a new document reads chunks in
another way, the array leaves the consolidated metadata and loses its document before its first
chunk is touched, and comes back with the rest of the metadata, when it is whole.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Any

from prefect_freight.model import Format

DOCUMENT_PATTERN = r"(^|/)(zarr\.json|\.zarray|\.zgroup|\.zattrs|\.zmetadata)$"
"""Keys of metadata documents, of Zarr 2 and of Zarr 3."""

CONSOLIDATED_KEY = {Format.ZARR2: ".zmetadata", Format.ZARR3: "zarr.json"}

DECODING_ATTRIBUTES = {
    # What the CF conventions (sections 2.5, 4.4 and 8.1) make of stored numbers,
    "_FillValue",
    "missing_value",
    "scale_factor",
    "add_offset",
    "units",
    "calendar",
    "_Unsigned",
    # and what xarray adds to them.
    "_ARRAY_DIMENSIONS",
    "dtype",
    "_Encoding",
}


def reading_identity(documents: Iterable[tuple[str, bytes]]) -> str:
    """Return a digest of all that a reader needs to make values of an array's chunks.

    The shape is not part of it: chunks of a grown or shrunk array are read as before.
    """
    needed = [_decoding_part(json.loads(data)) for _, data in sorted(documents)]
    return hashlib.blake2b(json.dumps(needed, sort_keys=True).encode(), digest_size=16).hexdigest()


def _decoding_part(document: dict[str, Any]) -> dict[str, Any]:
    attributes = document.get("attributes", {})
    parts = {k: v for k, v in document.items() if k not in ("shape", "attributes")}
    if not {"zarr_format", "node_type"} & document.keys():  # .zattrs, which is attributes alone
        parts, attributes = {}, document
    return parts | {"attributes": {k: v for k, v in attributes.items() if k in DECODING_ATTRIBUTES}}


def without_arrays(consolidated: bytes, paths: Collection[str]) -> bytes:
    """Return a consolidated metadata document without the given nodes and all below them.

    It is `.zmetadata` of Zarr 2, or a root's zarr.json with inline consolidated metadata.

    >>> without_arrays(b'{"metadata": {"a/.zarray": {}, "ab/.zarray": {}}}', ["a"])
    b'{"metadata": {"ab/.zarray": {}}}'
    """
    document = json.loads(consolidated)
    holder = (
        document
        if "zarr_consolidated_format" in document
        else document.get("consolidated_metadata", document)
    )
    below = tuple(f"{path}/" for path in paths)
    holder["metadata"] = {
        key: said
        for key, said in holder.get("metadata", {}).items()
        if not f"{key}/".startswith(below)
    }
    return json.dumps(document).encode()


def plan_withdrawals(
    there: dict[str, set[str]], arrays: dict[str, str], groups: Collection[str]
) -> set[str]:
    """Return the paths of arrays that lie there and must leave before new chunks arrive.

    `there` are the arrays at the destination with every way that their chunks may be read, `arrays`
    those that are wanted and have changed chunks. Besides those that read otherwise, the ones go
    whose place is taken by a node of another kind: a disk cannot have a file and a folder of one
    name.
    """
    kinds = {*arrays, *groups}
    otherwise = {
        path for path, readings in there.items() if path in arrays and readings != {arrays[path]}
    }
    displaced = {
        path
        for path in there
        if path not in arrays and (path in groups or _has_ancestor(path, arrays))
    }
    return (otherwise & kinds) | displaced


def _has_ancestor(path: str, arrays: Collection[str]) -> bool:
    parts = path.split("/")
    return any("/".join(parts[:n]) in arrays for n in range(1, len(parts)))
