"""Nodes of a store: from the documents that lie there, and from nothing else."""

import contextvars
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import InputError, NotARepositoryError, UnsupportedNodeError
from prefect_freight.hierarchy.chunk_keys import chunk_keys_of
from prefect_freight.hierarchy.document_names import (
    ARRAY2,
    ATTRIBUTES2,
    CONSOLIDATED2,
    DOCUMENT_PATTERN,
    GROUP2,
    NODE,
    document_key,
    missing_groups,
    node_of,
)
from prefect_freight.hierarchy.grid import grid_size
from prefect_freight.plan.keys import first_few, parents_of
from prefect_freight.retry import retrying
from prefect_freight.sources import Node
from prefect_freight.sources.plain_zarr.chunk_rows import ArrayChunks, look_for_chunks
from prefect_freight.sources.plain_zarr.consolidated_notes import Documents, consolidated_notes
from prefect_freight.sources.plain_zarr.listed import ListedObjects, Listing
from prefect_freight.threads import Threads

READERS = 32
NAMED = 5
ROOTS = {NODE: 3, ARRAY2: 2, GROUP2: 2}
"""Documents of a root, and the format of the store that has such a one, the first that there is."""
VERSION_NAMES = {2: {ARRAY2, GROUP2, ATTRIBUTES2, CONSOLIDATED2}, 3: {NODE}}


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """What a listing has of a Zarr store."""

    version: Literal[2, 3]
    nodes: list[Node]
    """In the order of their paths."""
    chunks: Mapping[str, ArrayChunks]
    """By the paths of arrays."""


def read_hierarchy(objects: ListedObjects, listing: Listing) -> Hierarchy:
    """Return the nodes of a store.

    The document of the root tells which format the store has, as it tells readers; where both
    formats' are there, those of Zarr 3 count. Documents of the other format are left out, with a
    note. Raises `NotARepositoryError` if the root has no document, and `InputError` for one that
    is none.
    """
    version = _version(listing.documents, objects.url)
    chosen = [key for key in listing.documents if node_of(key)[1] in VERSION_NAMES[version]]
    documents = _read_documents(objects, chosen, version)
    found = _nodes2(documents) if version == 2 else _nodes3(documents)
    arrays = {path for path, node in found.items() if node.kind == "array"}
    # What lies below an array is no member of any group: readers never get there.
    found = {path: node for path, node in found.items() if not _is_below(path, arrays)}
    arrays &= found.keys()
    chunks = {path: _chunks(listing, found[path]) for path in sorted(arrays)}
    notes = [*_format_notes(listing.documents, version), *consolidated_notes(documents)]
    notes += _node_notes(documents, found, listing, chunks)
    nodes = [
        replace(
            node,
            content=chunks[path].content if path in chunks else "",
            notes=tuple(notes) if number == 0 else (),
        )
        for number, (path, node) in enumerate(sorted(found.items()))
    ]
    return Hierarchy(version, nodes, chunks)


def _version(documents: Collection[str], url: str) -> Literal[2, 3]:
    for name, version in ROOTS.items():
        if name in documents:
            return 2 if version == 2 else 3
    hint = ""
    if below := sorted({node_of(key)[0] for key in documents}):
        hint = f", and some below it, such as in {below[0]!r}. Export that"
    raise NotARepositoryError(
        f"expected a Zarr store at {url}, found none of {', '.join(ROOTS)} at its root{hint}"
    )


def _read_documents(objects: ListedObjects, keys: list[str], version: int) -> Documents:
    def read(key: str) -> Mapping[str, Any]:
        return _parse(retrying(lambda: objects.read(key)), key, version, objects.url)

    # With the rule by which this thread tries again, which others do not have by themselves.
    contexts = [contextvars.copy_context() for _ in keys]
    with Threads(READERS) as pool:
        parsed = pool.map(lambda context, key: context.run(read, key), contexts, keys)
        return dict(zip(keys, parsed, strict=True))


def _parse(data: bytes, key: str, version: int, url: str) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    name = node_of(key)[1]
    if not isinstance(document, dict):
        expected = "a metadata document"
    elif name not in (ATTRIBUTES2, CONSOLIDATED2) and document.get("zarr_format") != version:
        expected = f"zarr_format {version}"
    elif name == NODE and document.get("node_type") not in ("array", "group"):
        expected = "node_type 'array' or 'group'"
    else:
        return document
    raise InputError(
        f"expected {expected} of Zarr {version} under {key!r} in {url}, found {len(data)} bytes "
        "that are none. Repair it in the source"
    )


def _nodes3(documents: Documents) -> dict[str, Node]:
    paths = {node_of(key)[0]: document for key, document in documents.items()}
    return {path: Node(path, document["node_type"], document) for path, document in paths.items()}


def _nodes2(documents: Documents) -> dict[str, Node]:
    nodes = {}
    # Arrays last: where a node is said to be both, that is what readers take it for.
    for name, kind in ((GROUP2, "group"), (ARRAY2, "array")):
        for key, document in documents.items():
            path, own = node_of(key)
            if own == name:
                attributes = documents.get(document_key(path, ATTRIBUTES2))
                nodes[path] = Node(
                    path, "array" if kind == "array" else "group", document, attributes=attributes
                )
    return nodes


def _chunks(listing: Listing, node: Node) -> ArrayChunks:
    try:
        keys, grid = chunk_keys_of(node.path, node.document), grid_size(node.document)
    except (UnsupportedNodeError, KeyError, TypeError, ValueError, ArithmeticError):
        # Which the format refuses, with a better text; unless the node is not exported at all.
        return look_for_chunks(listing, None, (), node.path)
    return look_for_chunks(listing, keys, grid, node.path)


def _format_notes(keys: Collection[str], version: int) -> Iterator[str]:
    others = sorted(key for key in keys if node_of(key)[1] not in VERSION_NAMES[version])
    if others:
        yield (
            f"documents of Zarr {5 - version} are left out, as the root's is of Zarr {version}: "
            f"{_some(others)}"
        )


def _node_notes(
    documents: Documents,
    nodes: Mapping[str, Node],
    listing: Listing,
    chunks: Mapping[str, ArrayChunks],
) -> Iterator[str]:
    both = sorted(path for path in chunks if document_key(path, GROUP2) in documents)
    if both:
        yield f"nodes that are said to be an array and a group are taken for arrays: {_some(both)}"
    unused = sorted(key for key in documents if node_of(key)[0] not in nodes)
    if unused:
        yield f"documents that are of no node of the hierarchy are left out: {_some(unused)}"
    if above := missing_groups(nodes):
        yield (
            f"groups without a document, whose members readers find only by their paths: "
            f"{_some(above)}"
        )
    below = sum(one.count + one.strays for one in chunks.values())
    beside = (
        listing.rows - below - sum(1 for key in listing.documents if not _is_stray(key, chunks))
    )
    strays = sum(one.strays for one in chunks.values()) + beside
    if strays:
        named = [key for one in chunks.values() for key in one.named]
        if beside and len(named) < NAMED:
            named += _first_beside(listing, chunks)
        some = first_few([repr(key) for key in named], strays, NAMED)
        yield (
            f"{strays} object{'s' if strays > 1 else ''} that are neither documents nor chunks of "
            f"any array's grid are left out: {some}"
        )


def _is_stray(key: str, arrays: Collection[str]) -> bool:
    """Say whether a document lies below an array, and is not the array's own."""
    return _is_below(node_of(key)[0], arrays)


def _first_beside(listing: Listing, arrays: Collection[str]) -> list[str]:
    """Return the first objects that lie below no array and are no documents."""
    named: list[str] = []
    paths = pa.array(sorted(arrays), pa.string())
    for page in listing.below(""):
        outside = pc.invert(pc.match_substring_regex(page["key"], DOCUMENT_PATTERN))
        for parents in parents_of(page["key"]):
            outside = pc.and_(outside, pc.invert(pc.is_in(parents, paths)))
        named += page["key"].filter(outside).slice(0, NAMED - len(named)).to_pylist()
        if len(named) >= NAMED:
            break
    return named


def _is_below(path: str, arrays: Collection[str]) -> bool:
    if not path:
        return False
    parts = path.split("/")
    return any("/".join(parts[:depth]) in arrays for depth in range(len(parts)))


def _some(keys: list[str]) -> str:
    return first_few([repr(key) for key in keys], len(keys), NAMED)
