"""The copy of a snapshot as a Zarr store: its components are each array's chunks, and metadata."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from prefect_freight.formats import Component
from prefect_freight.formats.zarr.chunks import chunk_stretches
from prefect_freight.formats.zarr.consolidated import CONSOLIDATED_KEY, plan_consolidated
from prefect_freight.formats.zarr.documents import TargetArray, TargetGroup, plan_array, plan_group
from prefect_freight.formats.zarr.filling import Filling
from prefect_freight.formats.zarr.names import METADATA
from prefect_freight.formats.zarr.selecting import select_nodes
from prefect_freight.formats.zarr.withdraw import reading_of
from prefect_freight.model import (
    EVERYTHING,
    MAX_FILL_CHUNKS,
    Format,
    Round,
    Selection,
    Snapshot,
)
from prefect_freight.plan.entries import digest, inline_entries
from prefect_freight.plan.sections import Stretch, TextPositions
from prefect_freight.sources import Node, ZarrSource

Target = TargetArray | TargetGroup
MAX_DEPTH = 9999


class ZarrLayout:
    """The selected nodes as the format has them; it refuses to be made of what that cannot express.

    Raises what `select_nodes`, `plan_array` and `plan_group` raise; `entries` too, where more
    missing chunks than `max_fill_chunks` would have to be written out.
    """

    def __init__(
        self,
        source: ZarrSource,
        snapshot: Snapshot,
        format_: Format,
        max_fill_chunks: int = MAX_FILL_CHUNKS,
        selection: Selection = EVERYTHING,
    ) -> None:
        self._source, self._snapshot, self._format = source, snapshot, format_
        self._filling = Filling(max_fill_chunks)
        all_nodes = source.read_nodes(snapshot)
        self._source_notes = [note for node in all_nodes for note in node.notes]
        # Before anything is planned: what the format cannot express may just be left out.
        nodes, self._notes = select_nodes(all_nodes, selection, snapshot)
        self._targets = [_plan(node, format_) for node in nodes]
        self._arrays = {t.path: t for t in self._targets if isinstance(t, TargetArray)}
        contents = {node.path: node.content for node in nodes}
        self._chunk_components = [
            _chunks_component(t, contents[path]) for path, t in self._arrays.items()
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the source and the selection tell, and what the format could not express."""
        of_nodes = (note for target in self._targets for note in target.notes)
        return (*self._source_notes, *self._notes, *of_nodes)

    @property
    def totals(self) -> dict[str, int]:
        """Arrays and groups."""
        return {"arrays": len(self._arrays), "groups": len(self._targets) - len(self._arrays)}

    @property
    def components(self) -> Sequence[Component]:
        """The chunks of each array, in the order of their paths, then all metadata."""
        groups = [target.path for target in self._targets if isinstance(target, TargetGroup)]
        return [*self._chunk_components, Component(METADATA, "", {"groups": groups})]

    def entries(self, name: str, on_fill: Callable[[bytes], None]) -> Iterator[Stretch]:
        """Yield the chunks of an array by their coordinates, or documents, deepest first."""
        if name == METADATA:
            yield from self._documents()
            return
        read_refs = partial(self._source.read_chunks, self._snapshot, name)
        array = self._filling.checked(self._arrays[name], read_refs)
        if array.fill_chunk is not None:
            on_fill(array.fill_chunk)
        for stretch in chunk_stretches(array, read_refs()):
            self._filling.count(stretch.entries)
            yield stretch

    def _documents(self) -> Iterator[Stretch]:
        root = dict(plan_consolidated(self._targets, self._format))
        # Deepest first, so that no group lists a member whose own document is not there yet.
        rows = [
            (_depth_position(target.path), key, target.path, data)
            for target in self._targets
            for key, data in target.documents
            if key not in root
        ]
        below = sorted(row for row in rows if row[2])
        # The root's own, and behind them the consolidated metadata, which shows all the others.
        root_rows = [row for row in rows if not row[2]]
        root_rows += [(_depth_position(""), key, "", data) for key, data in root.items()]
        above = sorted(
            root_rows, key=lambda row: (row[1] == CONSOLIDATED_KEY[self._format], row[1])
        )
        for round_, documents in ((Round.DOCUMENTS, below), (Round.ROOT, above)):
            if documents:
                positions, keys, paths, data = zip(*documents, strict=True)
                texts = pa.array([f"{p} {key}" for p, key in zip(positions, keys, strict=True)])
                yield Stretch(round_, inline_entries(keys, paths, data), TextPositions(texts))


def _plan(node: Node, format_: Format) -> Target:
    plan = plan_array if node.kind == "array" else plan_group
    return plan(node.path, node.document, format_, node.attributes)


def _chunks_component(array: TargetArray, content: str) -> Component:
    reading = reading_of(array.documents)
    # What the fill is made of: to encode it takes memory, which an array without missing chunks,
    # or with too many, need not have.
    fill = json.dumps(array.fill, default=_fields) if array.fill is not None else None
    # All that chunk keys, sizes and fills follow from: the node's own document is not enough, since
    # fill chunks come from the format's rules too.
    made_of: list[Any] = [content, array.path, array.grid, reading.identity, fill]
    origin = digest(json.dumps(made_of).encode()) if content else ""
    facts = {
        "reading": dataclasses.asdict(reading),
        "chunk_keys": {"style": array.keys.style, "separator": array.keys.separator},
    }
    return Component(array.path, origin, facts, f"{len(array.grid)} axes")


def _fields(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else dataclasses.asdict(value)


def _depth_position(path: str) -> str:
    """Return a text that comes before those of the nodes above.

    >>> _depth_position("a/b") < _depth_position("c") < _depth_position("")
    True
    """
    depth = path.count("/") + 1 if path else 0
    # Positions sort as texts, so the depth is counted from below.
    return f"{MAX_DEPTH - depth:04d}"
