"""What a reader of a Zarr copy takes objects for that are not the copy's: documents and chunks.

A reader looks for documents at every node, in both formats' spellings, and for chunks under every
key that an array's encoding can spell. An object that lies there is read as if it were the copy's,
whoever put it: an old Zarr 3 document hides a Zarr 2 array, a stale chunk shows old values.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.formats.zarr.names import METADATA
from prefect_freight.hierarchy.document_names import DOCUMENT_NAMES
from prefect_freight.plan.entries import combined
from prefect_freight.plan.sections import Section

NODE = "(?s)^(?:(?P<path>.*)/)?"
"""The path of a node before the name of an object; `""` for the root."""
NUMBER = "(?:0|[1-9][0-9]*)"
DOCUMENT = f"{NODE}(?:{'|'.join(map(re.escape, sorted(DOCUMENT_NAMES)))})$"
UNKNOWN = (
    "whether stale chunks lie in {count} arrays was not looked at: an earlier version recorded "
    "the copy. The next export will"
)

Spelling = tuple[str, str, int]
"""Style and separator of chunk keys, and how many axes they have."""


class ZarrReader:
    """Knows the nodes of a copy from the facts of its sections."""

    def __init__(self, sections: Mapping[str, Sequence[Section]]) -> None:
        self._spelled: dict[Spelling, list[str]] = {}
        self._unknown = 0
        nodes: set[str] = {""}
        for name, parts in sections.items():
            facts = parts[0].facts
            if name == METADATA:
                nodes.update(facts.get("groups", ()))
                continue
            nodes.add(name)
            if "chunk_keys" in facts:
                self._spelled.setdefault(_spelling(facts), []).append(name)
            else:
                self._unknown += 1
        # Readers look into the groups above a node as well, of which a snapshot may have no record.
        self._nodes = pa.array(sorted(nodes | {*_above(nodes)}), pa.string())

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what could not be looked at."""
        return (UNKNOWN.format(count=self._unknown),) if self._unknown else ()

    def taken_for(self, keys: pa.StringArray) -> pa.StringArray:
        """Return what a reader takes each key for; null where it looks for nothing there."""
        taken = self._documents(keys)
        for spelling, names in self._spelled.items():
            paths = _paths(keys, _pattern(spelling), pa.array(names, pa.string()))
            taken = pc.coalesce(taken, _texts("a chunk of array '", paths, "'"))
        return taken

    def _documents(self, keys: pa.StringArray) -> pa.StringArray:
        paths = _paths(keys, DOCUMENT, self._nodes)
        named = _texts("metadata of '", paths, "'")
        return pc.if_else(pc.equal(paths, ""), pa.scalar("metadata of the root"), named)


def _spelling(facts: Mapping[str, Any]) -> Spelling:
    spelled = facts["chunk_keys"]
    return spelled["style"], spelled["separator"], len(facts["reading"]["shape"])


def _pattern(spelling: Spelling) -> str:
    """Return what matches all chunk keys of a spelling, whatever the size of the array.

    Of arrays that became smaller too: what lies beyond the grid now comes into view when it grows.
    """
    style, separator, axes = spelling
    joint = "[.]" if separator == "." else "/"
    numbers = joint.join([NUMBER] * axes)
    key = numbers or "0"
    if style == "default":
        key = f"c{joint}{numbers}" if axes else "c"
    return f"{NODE}{key}$"


def _paths(keys: pa.StringArray, pattern: str, nodes: pa.StringArray) -> pa.StringArray:
    """Return the path that the pattern finds in each key; null where it is none of the nodes."""
    matched = pc.extract_regex(keys, pattern)
    paths = pc.struct_field(matched, [0])
    chosen = pc.and_(pc.is_valid(matched), pc.is_in(paths, nodes))
    return combined(pc.if_else(chosen, paths, pa.scalar(None, pa.string())))


def _texts(head: str, paths: pa.StringArray, tail: str) -> pa.StringArray:
    return pc.binary_join_element_wise(pa.scalar(head), paths, pa.scalar(tail), "")


def _above(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        parts = path.split("/")
        yield from ("/".join(parts[:depth]) for depth in range(1, len(parts)))
