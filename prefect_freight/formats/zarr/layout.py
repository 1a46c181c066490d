"""What the copy of a snapshot holds: its nodes as the format has them, and all their entries."""

import json
from collections.abc import Callable, Iterator

import pyarrow as pa

from prefect_freight.control.manifest import ArrayRecord
from prefect_freight.formats.zarr.chunks import GridCoverage, chunk_entries, fill_entries
from prefect_freight.formats.zarr.documents import TargetArray, TargetGroup, plan_array, plan_group
from prefect_freight.formats.zarr.withdraw import reading_of
from prefect_freight.model import Format, Snapshot
from prefect_freight.plan.entries import digest
from prefect_freight.sources import Node, Source

Target = TargetArray | TargetGroup


def plan_target(node: Node, format_: Format) -> Target:
    """Return a node as the copy will have it; raises what `plan_array` raises."""
    plan = plan_array if node.kind == "array" else plan_group
    return plan(node.path, node.document, format_)


def array_record(node: Node, array: TargetArray, area: str) -> ArrayRecord:
    """Return the record of an array whose entries the run of an area holds."""
    reading = reading_of(array.documents)
    fill = digest(array.fill_chunk) if array.fill_chunk is not None else None
    made_of = json.dumps([node.content, node.path, array.grid, reading.identity, fill])
    return ArrayRecord(area, digest(made_of.encode()), reading)


def read_entries(
    source: Source, snapshot: Snapshot, array: TargetArray, on_fill: Callable[[bytes], None]
) -> Iterator[pa.RecordBatch]:
    """Yield the entries (`ENTRY_SCHEMA`) of all chunks that the copy of an array has.

    `on_fill` gets the fill chunk, before the first entry that needs it.
    """
    coverage = GridCoverage(array.grid) if array.fill is not None else None
    for refs in source.read_chunks(snapshot, array.path):
        if coverage is not None:
            coverage.add(refs.coords[array.in_grid(refs.coords)])
        yield chunk_entries(array, refs)
    if coverage is not None:
        fill = array.fill_chunk or b""
        for number, missing in enumerate(coverage.missing()):
            if number == 0:
                on_fill(fill)
            yield fill_entries(array, fill, missing)
