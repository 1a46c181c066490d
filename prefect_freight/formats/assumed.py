"""The state of a destination that has no record of ours, taken on the user's word."""

from collections.abc import Mapping

import pyarrow as pa

from prefect_freight.control.manifest import ArrayRecord
from prefect_freight.errors import InternalError
from prefect_freight.formats.zarr.consolidated import plan_consolidated
from prefect_freight.formats.zarr.documents import TargetArray
from prefect_freight.formats.zarr.layout import array_record, plan_target, read_entries
from prefect_freight.formats.zarr.withdraw import Reading
from prefect_freight.model import Job, Snapshot
from prefect_freight.plan.entries import document_entries
from prefect_freight.plan.join import STATE_SCHEMA
from prefect_freight.sources import Source

NOWHERE = ""
"""No run of ours holds these entries, so the next one must write them down even if unchanged."""


class SnapshotState:
    """The state of a destination that holds a copy of a snapshot, as we would have made it."""

    def __init__(self, source: Source, job: Job) -> None:
        if job.base is None or job.options.from_ref is None:
            raise InternalError("a state is assumed where the export has no base")
        self._source, self._format = source, job.options.format
        self._snapshot = Snapshot(source.url, job.options.from_ref, job.base)
        nodes = source.read_nodes(self._snapshot)
        self._targets = {node.path: plan_target(node, self._format) for node in nodes}
        self._records = {
            node.path: array_record(node, target, NOWHERE)
            for node in nodes
            if isinstance(target := self._targets[node.path], TargetArray)
        }

    @property
    def arrays(self) -> Mapping[str, ArrayRecord]:
        """Arrays of the snapshot."""
        return self._records

    @property
    def doubtful(self) -> set[str]:
        """Nothing is, on the user's word."""
        return set()

    def readings(self) -> dict[str, set[Reading]]:
        """Return for each array the one way that its chunks are read."""
        return {path: {record.reading} for path, record in self._records.items()}

    def chunks(self, path: str) -> pa.Table:
        """Return the keys of an array's chunks and their content."""
        array = self._targets.get(path)
        if not isinstance(array, TargetArray):
            return STATE_SCHEMA.empty_table()
        batches = read_entries(self._source, self._snapshot, array, lambda _: None)
        return _state(list(batches))

    def documents(self) -> pa.Table:
        """Return the keys of all metadata documents and their content."""
        said = {key: data for target in self._targets.values() for key, data in target.documents}
        said |= dict(plan_consolidated(list(self._targets.values()), self._format))
        return _state([document_entries("", list(said.items()))])


def _state(batches: list[pa.RecordBatch]) -> pa.Table:
    tables = [pa.Table.from_batches([batch]).select(STATE_SCHEMA.names) for batch in batches]
    return pa.concat_tables([STATE_SCHEMA.empty_table(), *(t.cast(STATE_SCHEMA) for t in tables)])
