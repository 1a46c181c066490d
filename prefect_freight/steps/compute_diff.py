"""Computing the diff of an export: what is put, kept and deleted, in which round."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.clearing import forget_run
from prefect_freight.control.diff import ELSEWHERE, Diff, DiffWriter, read_diff
from prefect_freight.control.manifest import Manifest, Part, Slice, fill_key, read_fill
from prefect_freight.control.marker import withdraw_markers
from prefect_freight.control.runs import earlier_runs
from prefect_freight.control.state import (
    KEYS_SCHEMA,
    NAMELESS,
    OWNED_SCHEMA,
    State,
    base_area,
    count_copy,
    read_copy,
)
from prefect_freight.errors import FreightError, OccupiedError
from prefect_freight.formats import Preparation
from prefect_freight.formats.choice import open_ordering
from prefect_freight.model import ENTRY_SCHEMA, Job, Kind, Plan, Round
from prefect_freight.plan.entries import combined, delete_entries
from prefect_freight.plan.phases import plan_phases
from prefect_freight.plan.sections import Section
from prefect_freight.retry import retrying
from prefect_freight.steps.foreign import Foreign, find_foreign
from prefect_freight.steps.partitions import partitioned
from prefect_freight.stores import Store

WANTED_SCHEMA = pa.schema(
    [
        *ENTRY_SCHEMA,
        pa.field("round", pa.string()),
        pa.field("home", pa.string()),  # the area that holds the entry
        pa.field("put", pa.bool_()),  # it is put anyhow
    ]
)


DAMAGED = (
    "the record of an earlier export could not be read whole: objects that it put and this one "
    "does not have may be left, and `freight verify` names them"
)

Numbers = npt.NDArray[np.int64]


def compute_diff(
    destination: Store, job: Job, manifest: Manifest, *, minding_others: bool = True
) -> Plan:
    """Write down what must be done so that the destination holds what the manifest says.

    What lies there is the copy of the job's base (nothing that can be relied on, without one) and
    what unfinished exports since then may have done. After it the markers of earlier exports are
    gone, since what they vouch for may now change.

    Raises `OccupiedError` if something that is not ours is in the way, unless it is to be replaced:
    then nothing of this run is left. (Not where others are not minded: to compare needs no room.)
    `read_entries` gives all of it as tables.
    """
    earlier = earlier_runs(destination, job)
    written = read_diff(destination, job.area)
    if written is None:
        # A job without a base relies on no content; what the last copy held is there all the same.
        base = base_area(earlier, job)
        state = State(destination, earlier, base, relies=job.base is not None)
        try:
            diffing = _Diffing(destination, job, manifest, state)
            # A copy of another format goes before the new one comes: nobody reads both as one.
            diffing.deletes_early = any(run.format != job.options.format for run in earlier)
            diffing.minds_others = minding_others
            written = diffing.run()
        except OccupiedError:
            # Without a diff a run has touched nothing. With one, all that it names would count as
            # ours from then on.
            with suppress(FreightError):
                forget_run(destination, job)
            raise
    # The run that wrote it may have been killed before it came to this.
    withdraw_markers(destination, earlier)
    return written.plan


def read_entries(destination: Store, job: Job) -> Iterator[pa.Table]:
    """Yield what the job's diff puts and deletes, as tables (`ENTRY_SCHEMA`)."""
    written = read_diff(destination, job.area)
    if written is not None:
        for _, table in written.read(destination, ENTRY_SCHEMA.names):
            yield table


class _Diffing:
    """One diff in the making."""

    deletes_early, minds_others = False, True

    def __init__(self, destination: Store, job: Job, manifest: Manifest, state: State) -> None:
        self._destination, self._job, self._manifest = destination, job, manifest
        self._state = state
        self._records = state.records
        self._records.add(manifest)
        self._writer = DiffWriter(destination, manifest)
        changed = manifest.changed_names | state.doubtful
        self._ordering = open_ordering(state, manifest.by_name, changed, job.options.format)
        self._puts = 0
        self._deleted: list[pa.Array] = []

    def run(self) -> Diff:
        """Write the diff and return it."""
        foreign = self._mind_others() if self.minds_others else Foreign()
        # Before all else: it looks at what lies there, and says what will have to come back.
        preparation = self._ordering.prepare()
        for name, round_, entries in preparation.entries:
            self._writer.add(name, round_, entries)
        for number, part in enumerate(self._manifest.parts):
            if part.round == Round.DELETES:
                self._take_deletes(part)
            else:
                self._take_puts(number, part)
        # A full export puts everything, so doubt is settled by that; but it does not know what it
        # has to delete, which a difference has read in its manifest.
        if self._job.base is not None:
            self._settle_doubts(preparation)
        elif not self._state.is_empty:
            self._delete_leftovers()
        notes: tuple[str, ...] = (DAMAGED,) if self._state.is_damaged else ()
        if foreign.count:
            notes += (foreign.note(),)
        kept = count_copy(self._manifest) - self._puts
        return self._writer.close(kept, notes, (foreign.count, foreign.keys))

    def _mind_others(self) -> Foreign:
        """Refuse what is in the way and not ours, or plan to delete it; return what is replaced."""
        foreign = Foreign()
        replacing = self._job.options.on_existing == "replace"
        for found in find_foreign(self._destination, self._job, self._state, self._manifest):
            foreign = foreign.plus(found)
            if replacing:
                self._delete_foreign(found)
        if foreign.count and not replacing:
            raise foreign.refusal(self._destination.url)
        return foreign

    def _delete_foreign(self, found: pa.Table) -> None:
        for round_ in (Round.CLEAR, Round.DELETES):
            keys = combined(found.filter(pc.equal(found["round"], round_))["key"])
            nodes = pa.repeat("", len(keys))
            self._writer.add(NAMELESS, round_, delete_entries(keys, nodes))

    def _take_puts(self, number: int, part: Part) -> None:
        """Put what a part of the manifest has and the base has not."""
        self._puts += part.rows - part.kept
        if not part.kept and not (self._job.options.phases and part.round.is_data):
            self._writer.borrow(part)
            return
        for rows, entries in self._slices(part, "kept"):
            where = np.flatnonzero(~entries["kept"].to_numpy(zero_copy_only=False))
            chosen = entries.take(pa.array(where))
            self._put(rows.name, part.round, chosen, number, where + rows.first)

    def _take_deletes(self, part: Part) -> None:
        for rows, entries in self._slices(part):
            if self._state.doubtful:  # or else nobody asks, and there may be millions
                self._deleted.append(entries["key"].combine_chunks())
            self._delete(rows.name, entries)

    def _slices(self, part: Part, *more: str) -> Iterator[tuple[Slice, pa.Table]]:
        columns = (*ENTRY_SCHEMA.names, *more)
        table = self._records.read_part(f"{self._manifest.area}/{part.key}", columns)
        for rows in part.slices:
            yield rows, table.slice(rows.first, rows.stop - rows.first).combine_chunks()

    def _put(
        self,
        name: str,
        round_: Round,
        entries: pa.Table,
        part: int = ELSEWHERE,
        rows: Numbers | None = None,
    ) -> None:
        phases = self._phases(entries) if round_.is_data else np.zeros(len(entries), np.int64)
        for phase in sorted({*phases.tolist()}):
            chosen = np.flatnonzero(phases == phase)
            where = None if rows is None else pa.array(rows[chosen])
            self._writer.add(name, round_, _batch(entries.take(chosen)), phase, part, where)

    def _delete(self, name: str, keys: pa.Table) -> None:
        """Delete keys (with their nodes): at once, or when all else is there."""
        if not keys.num_rows:
            return
        key, node = (keys[column].combine_chunks() for column in KEYS_SCHEMA.names)
        early = self._ordering.early_deletes(key, node).to_numpy(zero_copy_only=False)
        if self._ordering.phases_vouch:
            # A key of a later phase vouches for others, so it goes before they change.
            early = early | (self._phases(keys) > 0)
        early = early | self.deletes_early
        for round_, chosen in ((Round.CLEAR, early), (Round.DELETES, ~early)):
            rows = pa.array(np.flatnonzero(chosen))
            self._writer.add(name, round_, delete_entries(key.take(rows), node.take(rows)))

    def _phases(self, entries: pa.Table) -> Numbers:
        return plan_phases(entries["key"].combine_chunks(), self._job.options.phases)

    def _settle_doubts(self, preparation: Preparation) -> None:
        """Put again, or delete, what unfinished exports may have touched, or is taken away."""
        again = {
            name: pa.table([keys, pa.repeat("", len(keys))], schema=KEYS_SCHEMA)
            for name, keys in preparation.again.items()
        }
        if NAMELESS in self._state.doubtful:
            # A key among them may be of any name, so all are looked for everywhere, once.
            touched = [*self._state.touched(), *again.values()]
            self._settle_name(NAMELESS, self._manifest.sections, touched)
            return
        for name in sorted(self._state.doubtful | {*again}):
            touched = [*self._state.touched(name), *([again[name]] if name in again else [])]
            self._settle_name(name, self._manifest.by_name.get(name, []), touched)

    def _settle_name(
        self, name: str, sections: Sequence[Section], touched: Sequence[pa.Table]
    ) -> None:
        rows = max(sum(s.rows for s in sections), sum(t.num_rows for t in touched))
        schemas, wanted = (WANTED_SCHEMA, KEYS_SCHEMA), map(self._wanted, sections)
        with partitioned(schemas, rows, wanted, touched) as pairs:
            for copy, keys in pairs:
                self._settle(name, copy, keys)

    def _settle(self, name: str, copy: pa.Table, touched: pa.Table) -> None:
        unsure = pc.is_in(copy["key"], touched["key"].combine_chunks())
        again = copy.filter(pc.and_(unsure, pc.invert(copy["put"])))
        self._puts += again.num_rows
        self._copy_fills(again)
        for round_ in pc.unique(again["round"]).to_pylist():
            self._put(name, Round(round_), again.filter(pc.equal(again["round"], round_)))
        wanted = pc.is_in(touched["key"], copy["key"].combine_chunks())
        # What the manifest takes out is deleted already.
        deleted = pa.chunked_array(self._deleted, pa.string()).combine_chunks()
        settled = pc.or_(wanted, pc.is_in(touched["key"], deleted))
        self._delete(name, _once(touched.filter(pc.invert(settled))))

    def _wanted(self, section: Section) -> pa.Table:
        """Return all entries of a section (`WANTED_SCHEMA`)."""
        columns = (*ENTRY_SCHEMA.names, "kept", "round")
        table = self._records.entries(section, columns)
        home = pa.array(section.areas).take(table["layer"].combine_chunks())
        # Of an earlier manifest, `kept` told what was kept then.
        put = pc.and_(pc.equal(home, self._manifest.area), pc.invert(table["kept"]))
        entries = table.select([*ENTRY_SCHEMA.names, "round"])
        return entries.append_column("home", home).append_column("put", put)

    def _copy_fills(self, entries: pa.Table) -> None:
        """Have the fill chunks beside this manifest that an earlier one's entries refer to."""
        fills = entries.filter(pc.equal(entries["kind"], Kind.FILL.value))
        for row in fills.group_by(["home", "location"]).aggregate([]).to_pylist():
            if row["home"] != self._manifest.area:
                self._copy_fill(row["home"], row["location"])

    def _copy_fill(self, home: str, identity: str) -> None:
        fill = retrying(lambda: read_fill(self._destination, home, identity))
        key = fill_key(self._manifest.area, identity)
        retrying(lambda: self._destination.write(key, fill))

    def _delete_leftovers(self) -> None:
        """Delete what earlier exports put or may have put, and the copy does not have."""
        wanted = read_copy(self._records, self._manifest, KEYS_SCHEMA.names)
        rows = count_copy(self._manifest)
        with partitioned((KEYS_SCHEMA, OWNED_SCHEMA), rows, wanted, self._state.owned()) as pairs:
            for copy, keys in pairs:
                gone = keys.filter(pc.invert(pc.is_in(keys["key"], copy["key"].combine_chunks())))
                # If this run does not come to its end, the next one has to know of each name which
                # keys may be gone.
                once = gone.group_by("key").aggregate([("node", "min"), ("name", "min")])
                once = once.rename_columns(OWNED_SCHEMA.names)
                for name in pc.unique(once["name"]).to_pylist():
                    self._delete(name, once.filter(pc.equal(once["name"], name)))


def _batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one batch of entries."""
    columns = [table[name].combine_chunks() for name in ENTRY_SCHEMA.names]
    return pa.record_batch(columns, ENTRY_SCHEMA)


def _once(keys: pa.Table) -> pa.Table:
    """Return each key once."""
    return keys.group_by("key").aggregate([("node", "min")]).rename_columns(KEYS_SCHEMA.names)
