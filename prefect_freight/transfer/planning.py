"""Writing the manifest of an export: what is to be put, in which round, and what is to go."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from prefect_freight.errors import InputError
from prefect_freight.model import Job, Plan, Round
from prefect_freight.plan.entries import (
    GridCoverage,
    chunk_entries,
    delete_entries,
    document_entries,
    fill_entries,
)
from prefect_freight.plan.layout import (
    TargetArray,
    TargetGroup,
    plan_array,
    plan_consolidated,
    plan_group,
)
from prefect_freight.sources import Node, Source
from prefect_freight.stores import Store
from prefect_freight.transfer.manifest import Manifest, ManifestWriter, manifest_of, read_manifest
from prefect_freight.transfer.marker import withdraw_markers
from prefect_freight.transfer.opening import earlier_runs
from prefect_freight.transfer.partitions import partitioned
from prefect_freight.transfer.runs import Run, forget_run

KEY = pa.schema([("key", pa.string())])
PUT_ROUNDS = (Round.CHUNKS, Round.DOCUMENTS, Round.ROOT)


def write_manifest(source: Source, destination: Store, job: Job) -> Plan:
    """Write the job's manifest at the destination, or read the one that an earlier run left.

    After it the markers of earlier exports are gone, since what they vouch for may now change.
    Raises `UnsupportedNodeError` if the format cannot say what the snapshot says; then nothing of
    this run is left at the destination.
    """
    written = read_manifest(destination, job)
    if written is not None:
        return written.plan
    earlier = earlier_runs(destination, job)
    try:
        plan = _write(source, destination, job, earlier)
    except InputError:
        if not job.resumed:
            forget_run(destination, job)
        raise
    withdraw_markers(destination, earlier)
    return plan


def _write(source: Source, destination: Store, job: Job, earlier: Sequence[Run]) -> Plan:
    nodes = source.read_nodes(job.snapshot)
    # All of them before the first chunk: what cannot be said is refused at once.
    targets = [_plan_node(node, job) for node in nodes]
    arrays = [target for target in targets if isinstance(target, TargetArray)]
    writer = ManifestWriter(destination, job)
    for array in arrays:
        for entries in _read_entries(source, job, array):
            writer.add(Round.CHUNKS, entries)
    root = dict(plan_consolidated(targets, job.options.format))
    for target in sorted(targets, key=lambda t: (-_depth(t.path), t.path)):
        documents = [(key, data) for key, data in target.documents if key not in root]
        round_ = Round.DOCUMENTS if target.path else Round.ROOT
        writer.add(round_, document_entries(target.path, documents))
    writer.add(Round.ROOT, document_entries("", list(root.items())))
    for keys in _leftovers(destination, writer.flushed(), earlier):
        writer.add(Round.DELETES, delete_entries(keys))
    return writer.close(arrays=len(arrays), groups=len(targets) - len(arrays))


def _plan_node(node: Node, job: Job) -> TargetArray | TargetGroup:
    plan = plan_array if node.kind == "array" else plan_group
    return plan(node.path, node.document, job.options.format)


def _depth(path: str) -> int:
    return path.count("/") + 1 if path else 0


def _read_entries(source: Source, job: Job, array: TargetArray) -> Iterator[pa.RecordBatch]:
    coverage = GridCoverage(array.grid) if array.fill_chunk is not None else None
    for refs in source.read_chunks(job.snapshot, array.path):
        if coverage is not None:
            coverage.add(refs.coords[array.in_grid(refs.coords)])
        yield chunk_entries(array, refs)
    for missing in coverage.missing() if coverage is not None else ():
        yield fill_entries(array, missing)


def _leftovers(
    destination: Store, wanted: Manifest, earlier: Sequence[Run]
) -> Iterator[pa.ChunkedArray]:
    """Yield the keys that earlier runs put (or may have put) and that this one does not want."""
    manifests = [m for run in earlier if (m := manifest_of(destination, run.area)) is not None]
    if not manifests:
        return
    put = (t for m in manifests for t in m.read_entries(destination, PUT_ROUNDS, KEY.names))
    wants = wanted.read_entries(destination, PUT_ROUNDS, KEY.names)
    rows = max(sum(m.plan.objects for m in manifests), wanted.plan.objects)
    with partitioned(KEY, rows, put, wants) as pairs:
        for there, wanted_here in pairs:
            keys = there["key"].combine_chunks().unique()
            gone = keys.filter(pa.compute.invert(pa.compute.is_in(keys, wanted_here["key"])))
            if len(gone):
                yield gone
