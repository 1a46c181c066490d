"""Writing the manifest of an export: what is to be put, in which round, and what is to go."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.manifest import (
    ArrayRecord,
    Manifest,
    ManifestWriter,
    read_manifest,
)
from prefect_freight.control.marker import withdraw_markers
from prefect_freight.control.runs import forget_run
from prefect_freight.control.state import RecordedState, State
from prefect_freight.errors import InputError, NotFoundError
from prefect_freight.formats.assumed import NOWHERE, SnapshotState
from prefect_freight.formats.zarr.consolidated import (
    CONSOLIDATED_KEY,
    plan_consolidated,
    without_arrays,
)
from prefect_freight.formats.zarr.documents import TargetArray
from prefect_freight.formats.zarr.layout import array_record, plan_target, read_entries
from prefect_freight.formats.zarr.withdraw import plan_withdrawals
from prefect_freight.model import Job, Round
from prefect_freight.plan.entries import (
    delete_entries,
    document_entries,
    without_data,
)
from prefect_freight.plan.join import Diff, merge_states
from prefect_freight.plan.phases import plan_phases
from prefect_freight.retry import retrying
from prefect_freight.sources import Node, Source
from prefect_freight.steps.open_job import earlier_runs
from prefect_freight.stores import Store


def write_manifest(source: Source, destination: Store, job: Job) -> Manifest:
    """Write the job's manifest at the destination, or read the one that an earlier run left.

    After it the markers of earlier exports are gone, since what they vouch for may now change.
    Raises `UnsupportedNodeError` if the format cannot say what the snapshot says; then nothing of
    this run is left at the destination.
    """
    written = read_manifest(destination, job)
    if written is not None:
        # The run that wrote it may have been killed before it came to this.
        withdraw_markers(destination, earlier_runs(destination, job))
        return written
    writer = ManifestWriter(destination, job.area)
    try:
        Planning(source, destination, job, state_of(source, destination, job), writer).run()
    except InputError:
        if not job.resumed:
            forget_run(destination, job)
        raise
    withdraw_markers(destination, earlier_runs(destination, job))
    return writer.manifest


def state_of(source: Source, destination: Store, job: Job) -> State:
    """Return what lies at the destination before the job begins."""
    if job.base_assumed:
        return SnapshotState(source, job)
    return RecordedState(destination, earlier_runs(destination, job))


class Writer(Protocol):
    """Takes what a planning finds; see `ManifestWriter`."""

    def add(self, round_: Round, entries: pa.RecordBatch, phase: int = 0) -> None:
        """Append entries (`ENTRY_SCHEMA`) to a phase of a round."""
        ...

    def add_fill(self, fill: bytes) -> None:
        """Take a chunk of fill values, which entries name by its digest."""
        ...

    def close(
        self, arrays: Mapping[str, ArrayRecord], groups: int, notes: Iterable[str] = ()
    ) -> None:
        """End the manifest."""
        ...


class Planning:
    """One manifest in the making."""

    def __init__(
        self, source: Source, destination: Store, job: Job, state: State, writer: Writer
    ) -> None:
        self._source, self._destination, self._job, self._state = source, destination, job, state
        self._writer = writer
        nodes = source.read_nodes(job.snapshot)
        # All of them before the first chunk: what cannot be said is refused at once.
        self._targets = [plan_target(node, job.options.format) for node in nodes]
        self._arrays = {t.path: t for t in self._targets if isinstance(t, TargetArray)}
        self._doubtful = state.doubtful
        self._records = {
            node.path: self._record(node, self._arrays[node.path])
            for node in nodes
            if node.path in self._arrays
        }
        self._changed = {p for p, record in self._records.items() if record.area == job.area}
        readings = {path: self._records[path].reading for path in self._changed}
        groups = {target.path for target in self._targets} - {*self._arrays}
        self._withdrawn = plan_withdrawals(state.readings(), readings, groups)

    def run(self) -> None:
        """Give all entries to the writer, and close it."""
        documents = self._documents_there()
        self._withdraw(documents)
        for path in self._arrays:
            if path in self._changed:
                self._write_chunks(self._arrays[path])
        for path in sorted({*self._state.arrays, *self._doubtful} - {*self._arrays}):
            self._delete(path, self._state.chunks(path)["key"].combine_chunks())
        self._write_documents(documents)
        groups = len(self._targets) - len(self._arrays)
        notes = [note for target in self._targets for note in target.notes]
        self._writer.close(self._records, groups, notes)

    def _record(self, node: Node, array: TargetArray) -> ArrayRecord:
        """Return the array's record, at home in an earlier run if its entries are those of it."""
        record = array_record(node, array, self._job.area)
        there = self._state.arrays.get(node.path)
        unchanged = (
            self._job.base is not None
            and there is not None
            and node.content != ""
            and there.chunks == record.chunks
            and there.area != NOWHERE
            and node.path not in self._doubtful
        )
        return replace(record, area=there.area) if there is not None and unchanged else record

    def _known(self, there: pa.Table) -> pa.Table:
        """Return the state that this export may rely on: a full one relies on no content."""
        return there if self._job.base is not None else merge_states([], [there])

    def _documents_there(self) -> pa.Table:
        there = self._known(self._state.documents())
        # What is taken out of view must come back, though its content may be that of before.
        parents = pc.replace_substring_regex(there["key"], r"/?[^/]*$", "")
        lost = pc.or_(
            pc.is_in(parents, pa.array(list(self._withdrawn), pa.string())),
            pc.equal(there["key"], self._consolidated if self._withdrawn else ""),
        )
        return merge_states([there], [there.filter(lost)])

    @property
    def _consolidated(self) -> str:
        return CONSOLIDATED_KEY[self._job.options.format]

    def _withdraw(self, documents: pa.Table) -> None:
        if not self._withdrawn:
            return
        try:
            there = retrying(lambda: self._destination.read(self._consolidated))
            shown = without_arrays(there, self._withdrawn)
            self._writer.add(Round.WITHDRAW, document_entries("", [(self._consolidated, shown)]))
        except NotFoundError:
            pass  # an unfinished export may have left none, and then nothing shows the arrays
        for key in documents["key"].to_pylist():
            path = key.rpartition("/")[0]
            if path in self._withdrawn:
                self._writer.add(Round.WITHDRAW, delete_entries(path, pa.array([key])))

    def _write_chunks(self, array: TargetArray) -> None:
        diff = Diff(self._known(self._state.chunks(array.path)))
        entries_of = read_entries(self._source, self._job.snapshot, array, self._writer.add_fill)
        for entries in entries_of:
            put, kept = diff.split(entries)
            phases = plan_phases(put["key"], self._job.options.rounds)
            for phase in sorted({*phases.tolist()}):
                self._writer.add(Round.CHUNKS, put.filter(pa.array(phases == phase)), phase)
            self._writer.add(Round.KEPT_CHUNKS, without_data(kept))
        self._delete(array.path, diff.gone())

    def _write_documents(self, there: pa.Table) -> None:
        diff = Diff(there)
        root = dict(plan_consolidated(self._targets, self._job.options.format))
        # Deepest first, so that no group lists a member whose own document is not there yet.
        for target in sorted(self._targets, key=lambda t: (-_depth(t.path), t.path)):
            documents = [(key, data) for key, data in target.documents if key not in root]
            round_ = Round.DOCUMENTS if target.path else Round.ROOT
            self._add_documents(round_, target.path, documents, diff)
        self._add_documents(Round.ROOT, "", list(root.items()), diff)
        for key in diff.gone().to_pylist():
            self._delete(key.rpartition("/")[0], pa.array([key]))

    def _add_documents(
        self, round_: Round, path: str, documents: list[tuple[str, bytes]], diff: Diff
    ) -> None:
        put, kept = diff.split(document_entries(path, documents))
        self._writer.add(round_, put)
        self._writer.add(Round.KEPT_DOCUMENTS, without_data(kept))

    def _delete(self, path: str, keys: pa.Array) -> None:
        # What is out of view goes at once: the new chunks may need its place on a disk.
        away = path in self._withdrawn or path.startswith(
            tuple(f"{array}/" for array in self._arrays)
        )
        self._writer.add(Round.CLEAR if away else Round.DELETES, delete_entries(path, keys))


def _depth(path: str) -> int:
    return path.count("/") + 1 if path else 0
