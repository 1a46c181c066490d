"""Computing the diff of an export: what is put, kept and deleted, in which round."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.clearing import forget_run
from prefect_freight.control.diff import ELSEWHERE, Diff, DiffWriter, read_diff
from prefect_freight.control.doings import NAMELESS
from prefect_freight.control.manifest import Manifest, Part, Slice, count_copy, fill_key, read_fill
from prefect_freight.control.manifest_reader import COMPUTED
from prefect_freight.control.marker import withdraw_markers
from prefect_freight.control.part_checksums import put_checksums
from prefect_freight.control.runs import earlier_runs, mark_planned
from prefect_freight.control.state import KEYS_SCHEMA, State, base_area, require_nothing_done
from prefect_freight.errors import FreightError, OccupiedError
from prefect_freight.formats import Preparation
from prefect_freight.formats.choice import open_ordering
from prefect_freight.model import ENTRY_SCHEMA, Job, Kind, Plan, Round
from prefect_freight.plan.entries import combined, delete_entries
from prefect_freight.plan.phases import plan_phases
from prefect_freight.plan.sections import Section
from prefect_freight.plan.touched import (
    AGAIN,
    DELETED,
    TOUCHED_SCHEMA,
    last_known,
    same_content,
    whatever,
)
from prefect_freight.retry import retrying
from prefect_freight.steps.foreign import UNACCOUNTED, Foreign, find_foreign
from prefect_freight.steps.known_rows import KnownRows, known_rows
from prefect_freight.steps.partitions import Pairs, partitioned
from prefect_freight.stores import Store

PLACE = (pa.field("part", pa.int64()), pa.field("row", pa.int64()))
"""Which row of which part of its manifest an entry is."""
WANTED_SCHEMA = pa.schema(
    [
        *ENTRY_SCHEMA,
        pa.field("round", pa.string()),
        pa.field("home", pa.string()),  # the area that holds the entry
        pa.field("put", pa.bool_()),  # it is put anyhow
        pa.field("name", pa.string()),  # the component that it is part of
        *PLACE,
    ]
)
PART_SCHEMA = pa.schema([ENTRY_SCHEMA.field("key"), ENTRY_SCHEMA.field("content"), *PLACE])

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
    what unfinished exports since then may have done; what their ledgers have is known, with a base
    or without one. After it the markers of earlier exports are gone, since what they vouch for may
    now change.

    Raises `OccupiedError` if something that is not ours is in the way, unless it is to be replaced:
    then nothing of this run is left. (Not where others are not minded: to compare needs no room.)
    `read_entries` gives all of it as tables.
    """
    earlier = earlier_runs(destination, job)
    written = read_diff(destination, job.area)
    if written is None:
        if job.resumed:
            require_nothing_done(destination, job.area, planned=job.is_planned)
        # A job without a base relies on no content; what the last copy held is there all the same.
        base = base_area(earlier, job)
        relies = job.base is not None
        state = State(destination, earlier, base, source=job.snapshot.source, relies=relies)
        try:
            with known_rows(manifest.parts) as known:
                # A copy of another format goes before the new one: nobody reads both as one.
                early = any(run.format != job.options.format for run in earlier)
                diffing = _Diffing(destination, job, manifest, state, known, deletes_early=early)
                written = diffing.run(minding_others=minding_others)
        except OccupiedError:
            # Without a diff a run has touched nothing. With one, all that it names would count as
            # ours from then on.
            with suppress(FreightError):
                forget_run(destination, job)
            raise
    # Should all of the run's own folder be lost, its record tells that there was something to lose.
    if not job.is_planned:
        mark_planned(destination, job)
    # The run that wrote it may have been killed before it came to this.
    withdraw_markers(destination, earlier, look=job.base is None)
    return written.plan


def read_entries(destination: Store, job: Job) -> Iterator[pa.Table]:
    """Yield what the job's diff puts and deletes, as tables (`ENTRY_SCHEMA`)."""
    written = read_diff(destination, job.area)
    if written is not None:
        for _, table in written.read(destination, ENTRY_SCHEMA.names):
            yield table


class _Diffing:
    """One diff in the making."""

    def __init__(
        self,
        destination: Store,
        job: Job,
        manifest: Manifest,
        state: State,
        known: KnownRows,
        *,
        deletes_early: bool,
    ) -> None:
        self._destination, self._job, self._manifest = destination, job, manifest
        self._state = state
        self._records = state.records
        self._records.add(manifest)
        self._writer = DiffWriter(destination, manifest)
        changed = manifest.changed_names | state.doubtful
        self._ordering = open_ordering(state, manifest.by_name, changed, job.options.format)
        self._deletes_early = deletes_early
        self._puts = 0
        self._known, self._known_puts, self._recorded_deletes = known, 0, 0
        self._recorded_kept = 0
        self._unaccounted = Foreign()

    def run(self, *, minding_others: bool) -> Diff:
        """Write the diff and return it."""
        foreign = self._mind_others() if minding_others else Foreign()
        # Before all else: it looks at what lies there, and says what will have to come back.
        preparation = self._ordering.prepare()
        for name, round_, entries in preparation.entries:
            self._writer.add(name, round_, entries)
        # A full export puts everything but what is known of unfinished ones, so doubt is settled by
        # that; but it does not know what it has to delete, which a difference has in its manifest.
        is_clear = not (self._state.doubtful or preparation.again)
        if self._state.is_empty if self._job.base is None else is_clear:
            self._take_parts()
        else:
            with self._paired(preparation) as pairs:
                if self._state.has_trusted_ledgers:
                    self._find_known(pairs)
                self._take_parts()
                self._settle(pairs)
        notes: tuple[str, ...] = (DAMAGED,) if self._state.is_damaged else ()
        if self._unaccounted.count:
            notes += (self._unaccounted.unaccounted_note(),)
        if foreign.count:
            notes += (foreign.note(),)
        kept = count_copy(self._manifest) - self._puts
        known = self._known_puts + self._recorded_deletes + self._recorded_kept
        replaced = foreign.count, foreign.keys
        damaged = self._state.is_damaged
        return self._writer.close(
            kept, notes, replaced, known, preparation.withdrawn, is_damaged=damaged
        )

    def _take_parts(self) -> None:
        for number, part in enumerate(self._manifest.parts):
            if part.round == Round.DELETES:
                self._take_deletes(part)
            else:
                self._take_puts(number, part)

    def _mind_others(self) -> Foreign:
        """Refuse what is in the way and not ours, or plan to delete it; return what is replaced."""
        foreign = Foreign()
        replacing = self._job.options.on_existing == "replace" or self._job.options.prune
        for in_the_way in find_foreign(self._destination, self._job, self._state, self._manifest):
            untold = pc.fill_null(pc.equal(in_the_way["why"], UNACCOUNTED), False)
            self._unaccounted = self._unaccounted.plus(in_the_way.filter(untold))
            found = in_the_way.filter(pc.invert(untold))
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
        """Put what a part of the manifest has and the base, and unfinished exports, have not."""
        known = self._known.flags(number)
        known_puts = 0 if known is None else int(known.sum())
        self._known_puts += known_puts
        self._puts += part.rows - part.kept - known_puts
        if known is None and not part.kept and not self._is_phased(part):
            self._writer.borrow(part)
            return
        if known is not None:
            # They are put by no batch of this run, whose ledger would tell.
            data = self._known.checksums(number)
            put_checksums(self._destination, self._manifest.area, part, data)
        for rows, entries in self._slices(part, "kept"):
            there = entries["kept"].to_numpy(zero_copy_only=False)
            if known is not None:
                there = there | known[rows.first : rows.stop]
            where = np.flatnonzero(~there)
            chosen = entries.take(pa.array(where))
            self._put(rows.name, part.round, chosen, number, where + rows.first)

    def _is_phased(self, part: Part) -> bool:
        """Say whether any of a part's entries has to wait for others: of most parts none."""
        phases = self._job.options.phases
        if not phases or not part.round.is_data:
            return False
        if callable(phases):
            return True  # a call a key is enough
        keys = self._records.read_part(self._manifest.area, part, ("key",))["key"]
        return bool(plan_phases(combined(keys), phases).any())

    def _take_deletes(self, part: Part) -> None:
        for rows, entries in self._slices(part):
            self._delete(rows.name, entries)

    def _slices(self, part: Part, *more: str) -> Iterator[tuple[Slice, pa.Table]]:
        columns = (*ENTRY_SCHEMA.names, *more)
        table = self._records.read_part(self._manifest.area, part, columns)
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
        early = early | self._deletes_early
        for round_, chosen in ((Round.CLEAR, early), (Round.DELETES, ~early)):
            rows = pa.array(np.flatnonzero(chosen))
            self._writer.add(name, round_, delete_entries(key.take(rows), node.take(rows)))

    def _phases(self, entries: pa.Table) -> Numbers:
        return plan_phases(entries["key"].combine_chunks(), self._job.options.phases)

    def _paired(self, preparation: Preparation) -> AbstractContextManager[Pairs]:
        """Give what is wanted beside what may lie there under the same keys.

        Wanted is all that may have been touched; without a base it is the whole copy.
        """
        again = (
            whatever(pa.table([keys, pa.repeat("", len(keys))], schema=KEYS_SCHEMA), name, AGAIN)
            for name, keys in preparation.again.items()
        )
        if self._job.base is None:
            touched = chain(self._state.base_rows(), self._state.doings(), again)
            rows = max(count_copy(self._manifest), self._state.touched_rows)
            return partitioned((PART_SCHEMA, TOUCHED_SCHEMA), rows, self._all_parts(), touched)
        names = self._state.doubtful | {*preparation.again}
        if self._state.doubtful:
            # A key may have been part of another component before: `a/0/0` of an array `a`, and
            # then of an array `a/0`.
            names |= {*self._manifest.by_name} - {*self._state.sections}
        sections = [s for name in sorted(names) for s in self._manifest.by_name.get(name, [])]
        touched = chain(self._state.doings(), again, self._gone())
        rows = max(sum(section.rows for section in sections), self._state.touched_rows)
        return partitioned(
            (WANTED_SCHEMA, TOUCHED_SCHEMA), rows, map(self._wanted, sections), touched
        )

    def _all_parts(self) -> Iterator[pa.Table]:
        """Yield the keys and contents of all parts of the manifest (`PART_SCHEMA`)."""
        for number, part in enumerate(self._manifest.parts):
            if part.round != Round.DELETES:
                table = self._records.read_part(self._manifest.area, part, ("key", "content"))
                numbers = pa.repeat(number, table.num_rows)
                table = table.append_column("part", numbers)
                yield table.append_column("row", pa.array(np.arange(table.num_rows)))

    def _gone(self) -> Iterator[pa.Table]:
        """Yield what the manifest deletes (`TOUCHED_SCHEMA`)."""
        for part in self._manifest.parts:
            if part.round == Round.DELETES:
                for rows, entries in self._slices(part):
                    yield whatever(entries, rows.name, DELETED)

    def _find_known(self, pairs: Pairs) -> None:
        """Find the rows to be put of which unfinished exports have recorded that they did."""
        for copy, touched in pairs:
            last = last_known(touched)
            same, checksums = same_content(copy, last)
            if self._job.base is not None:
                same = pc.and_(same, combined(copy["put"]))
            columns = (combined(copy["part"]), combined(copy["row"]), checksums)
            self._known.add(*(column.filter(same) for column in columns))

    def _settle(self, pairs: Pairs) -> None:
        """Put again, or delete, what unfinished exports may have touched, or is taken away."""
        for copy, touched in pairs:
            last = last_known(touched)
            if self._job.base is not None:
                self._put_again(copy, last)
            # What the copy has is put again, or lies there as wanted; what the manifest deletes is
            # deleted with its part.
            wanted = pc.is_in(last["key"], combined(copy["key"]))
            settled = pc.or_(wanted, pc.equal(last["run"], DELETED))
            left = last.filter(pc.invert(settled))
            is_deleted = pc.and_(left["known"], pc.invert(left["put"]))
            gone = left.filter(pc.invert(is_deleted))
            self._recorded_deletes += left.num_rows - gone.num_rows
            # What was only planned may be somebody's, should anything lie there at all.
            gone = gone.filter(gone["ours"])
            # If this run does not come to its end, the next one has to know of each name which keys
            # may be gone.
            for name in pc.unique(gone["name"]).to_pylist():
                self._delete(name, gone.filter(pc.equal(gone["name"], name)))

    def _put_again(self, copy: pa.Table, last: pa.Table) -> None:
        """Put what the base holds, where anything else may lie now."""
        unsure = pc.is_in(copy["key"], combined(last["key"]))
        same, _ = same_content(copy, last)
        kept = pc.and_(unsure, pc.invert(combined(copy["put"])))
        again = copy.filter(pc.and_(kept, pc.invert(same)))
        # A ledger's word is taken for these too, so the copy is looked at in the end.
        self._recorded_kept += pc.sum(pc.and_(kept, same)).as_py() or 0
        self._puts += again.num_rows
        self._copy_fills(again)
        for group in pc.unique(again["name"]).to_pylist():
            named = again.filter(pc.equal(again["name"], group))
            for round_ in pc.unique(named["round"]).to_pylist():
                chosen = named.filter(pc.equal(named["round"], round_))
                self._put(group, Round(round_), chosen)

    def _wanted(self, section: Section) -> pa.Table:
        """Return all entries of a section (`WANTED_SCHEMA`)."""
        columns = (*ENTRY_SCHEMA.names, "kept", *COMPUTED)
        table = self._records.entries(section, columns)
        home = pa.array(section.areas).take(table["layer"].combine_chunks())
        # Of an earlier manifest, `kept` told what was kept then.
        put = pc.and_(pc.equal(home, self._manifest.area), pc.invert(table["kept"]))
        entries = table.select([*ENTRY_SCHEMA.names, *COMPUTED])
        names = pa.repeat(section.name, table.num_rows)
        entries = entries.append_column("home", home).append_column("put", put)
        return entries.append_column("name", names)

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


def _batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one batch of entries."""
    columns = [table[name].combine_chunks() for name in ENTRY_SCHEMA.names]
    return pa.record_batch(columns, ENTRY_SCHEMA)
