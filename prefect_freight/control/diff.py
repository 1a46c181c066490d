"""The diff of a run: what is put and what is deleted, in which round, in which batches.

`diff.json` lists the parts in their order. A part is a file of the run's manifest, where all of its
entries are put, or a file of the diff's own. It is written whole before the first object moves: it
is the record of what the run may touch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from prefect_freight.control.manifest import Manifest, Part, part_to_dict, to_batches
from prefect_freight.control.manifest_writer import PendingRows
from prefect_freight.control.sealed import Record, read_record, write_record
from prefect_freight.control.tables import read_table, write_table
from prefect_freight.control.unsealed import DIFFS, MANIFESTS
from prefect_freight.control.version1 import diff_from_version1
from prefect_freight.model import ENTRY_SCHEMA, Plan, Round, Unit, Withdrawal
from prefect_freight.plan.batches import BATCHES_PER_PHASE, batch_totals, plan_units
from prefect_freight.stores import Store

DIFF_SCHEMA = ENTRY_SCHEMA.append(pa.field("part", pa.int32(), nullable=False)).append(
    pa.field("row", pa.int32(), nullable=False)
)
"""An entry, and which row of which part of the run's manifest it is; -1 if of none."""
ELSEWHERE = -1


@dataclass(frozen=True, slots=True)
class NamedRows:
    """Consecutive rows of a part that belong to sections of one name."""

    name: str
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class DiffPart:
    """Consecutive batches of a phase of a round."""

    key: str
    """Name of the file within the area."""
    round: Round
    phase: int
    first_batch: int
    batches: tuple[tuple[int, int], ...]
    """(objects, bytes) of each batch, one after the other in the file's rows."""
    slices: tuple[NamedRows, ...]
    digest: str = ""
    """Of the file: another one in its place is none. Empty in versions that had none."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(objects for objects, _ in self.batches)

    @property
    def is_borrowed(self) -> bool:
        """The file is one of the manifest."""
        return self.key.startswith("manifest/")

    @property
    def place(self) -> tuple[int, int]:
        """Round and phase, in the order in which they begin."""
        return list(Round).index(self.round), self.phase

    @property
    def numbers(self) -> range:
        """Numbers of its batches."""
        return range(self.first_batch, self.first_batch + len(self.batches))


@dataclass(frozen=True, slots=True)
class Diff:
    """A written diff."""

    area: str
    parts: tuple[DiffPart, ...]
    plan: Plan
    seal: str = ""
    """Stands for the whole of it in the ledger's records; empty in versions that had none."""

    def count(self, batches: Iterable[tuple[Round, int]]) -> int:
        """Return how many objects some batches have, given by round and number."""
        objects = {
            (part.round, number): count
            for part in self.parts
            for number, (count, _) in zip(part.numbers, part.batches, strict=True)
        }
        return sum(objects.get(batch, 0) for batch in batches)

    def read_batches(
        self, destination: Store, unit: Unit, numbers: Iterable[int]
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield the unit's batches of the given numbers, one part in memory at a time."""
        # In the order of the parts, so that each is read once.
        wanted = sorted(numbers)
        for part in self.parts:
            here = [n for n in wanted if n in part.numbers]
            if part.round != unit.round or not here:
                continue
            table = self.read_part(destination, part, ENTRY_SCHEMA.names)
            ends = np.cumsum([objects for objects, _ in part.batches])
            for number in here:
                objects = part.batches[number - part.first_batch][0]
                yield number, table.slice(ends[number - part.first_batch] - objects, objects)

    def read(self, destination: Store, columns: list[str]) -> Iterator[tuple[DiffPart, pa.Table]]:
        """Yield all parts, with the given columns of their rows."""
        for part in self.parts:
            yield part, self.read_part(destination, part, columns)

    def read_part(self, destination: Store, part: DiffPart, columns: list[str]) -> pa.Table:
        """Return the given columns of a part; raises `UnsoundError` if it is damaged."""
        return read_table(destination, f"{self.area}/{part.key}", columns, part.rows, part.digest)


def read_diff(destination: Store, area: str) -> Diff | None:
    """Return the diff in the folder of a run, or None where none was written whole.

    Raises `IntegrityError` for one that a later version of prefect-freight wrote, `UnsoundError`
    for one that is damaged.
    """
    record = read_record(destination, f"{area}/diff/diff.json", DIFFS)
    if record is not None:
        return _diff(area, record, record.values)
    # Version 1 of the manifest says itself what is to be done.
    record = read_record(destination, f"{area}/manifest/manifest.json", MANIFESTS)
    if record is None or record.version != 1:
        return None
    index = record.values
    totals = {"arrays": len(index["arrays"]), "groups": index["groups"]}
    index |= {"parts": diff_from_version1(index), "totals": totals, "kept": 0}
    return _diff(area, record, index)


def _diff(area: str, record: Record, index: Mapping[str, Any]) -> Diff:
    parts = tuple(
        DiffPart(
            part["key"],
            Round(part["round"]),
            part["phase"],
            part["first_batch"],
            to_batches(part["batches"]),
            tuple(NamedRows(*rows) for rows in part["slices"]),
            part.get("digest", ""),
        )
        for part in index["parts"]
    )
    notes = tuple(index["notes"])
    count, keys = index.get("replaced", (0, ()))
    replaced = count, tuple(keys)
    known = index.get("known", 0)
    plan = _plan(parts, index["totals"], index["kept"], notes, replaced, known)
    withdrawal = Withdrawal(tuple(index.get("withdrawn", ())))
    plan = replace(plan, is_damaged=index.get("is_damaged", False), withdrawal=withdrawal)
    return Diff(area, parts, plan, record.seal)


class DiffWriter:
    """Takes what is to be done, and writes it out as it comes."""

    def __init__(self, destination: Store, manifest: Manifest) -> None:
        self._destination, self._manifest = destination, manifest
        self._pending: dict[tuple[Round, int], PendingRows] = {}
        self._next_batch: dict[tuple[Round, int], int] = {}
        self._parts: list[DiffPart] = []

    def borrow(self, part: Part) -> None:
        """Have all entries of a part of the manifest put."""
        # Nothing is copied: a full export's diff is an index over the files of its manifest.
        slices = tuple(NamedRows(rows.name, rows.first, rows.stop) for rows in part.slices)
        self._append(part.key, part.round, 0, part.batches, slices, part.digest)

    def add(
        self,
        name: str,
        round_: Round,
        entries: pa.RecordBatch,
        phase: int = 0,
        part: int = ELSEWHERE,
        rows: pa.Array | None = None,
    ) -> None:
        """Append entries of a name; those of a part of the manifest with their rows in it."""
        if not entries.num_rows:
            return
        n = entries.num_rows
        # Where its checksum belongs in the end, beside the row of the manifest.
        where = pa.repeat(pa.scalar(ELSEWHERE, pa.int32()), n) if rows is None else rows
        entries = entries.select(ENTRY_SCHEMA.names)
        numbered = entries.append_column(
            DIFF_SCHEMA.field("part"), pa.repeat(pa.scalar(part, pa.int32()), n)
        ).append_column(DIFF_SCHEMA.field("row"), where.cast(pa.int32()))
        pending = self._pending.setdefault((round_, phase), PendingRows())
        for portion in pending.portions(numbered):
            pending.add((name,), portion)
            if pending.full:
                self._flush(round_, phase)

    def close(
        self,
        kept: int,
        notes: Sequence[str] = (),
        replaced: tuple[int, tuple[str, ...]] = (0, ()),
        known: int = 0,
        withdrawn: tuple[str, ...] = (),
        *,
        is_damaged: bool = False,
    ) -> Diff:
        """Write what is left, and the index; return the diff.

        `replaced` is how much of it is not ours, and the first keys of that; `known` is how much
        need not be done, since the ledgers of unfinished exports have it; `withdrawn` are arrays
        that are out of view meanwhile.
        """
        for round_, phase in self._pending:
            self._flush(round_, phase)
        parts = tuple(self._parts)
        manifest = self._manifest
        notes = (*manifest.notes, *notes)
        plan = _plan(parts, manifest.totals, kept, notes, replaced, known)
        plan = replace(plan, is_damaged=is_damaged, withdrawal=Withdrawal(withdrawn))
        index = {
            "parts": [part_to_dict(part) for part in parts],
            "kept": kept,
            "known": known,
            "totals": dict(manifest.totals),
            "notes": notes,
            "replaced": replaced,
            "is_damaged": is_damaged,
            "withdrawn": withdrawn,
        }
        # Last, and before anything moves: a run without it has touched nothing.
        seal = write_record(self._destination, f"{manifest.area}/diff/diff.json", index)
        return Diff(manifest.area, parts, plan, seal)

    def _flush(self, round_: Round, phase: int) -> None:
        pending = self._pending[round_, phase]
        if not pending.rows:
            return
        table, owned = pending.take()
        key = f"diff/{round_}-{len(self._parts):08d}.parquet"
        place = f"{self._manifest.area}/{key}"
        digest = write_table(self._destination, place, table.cast(DIFF_SCHEMA))
        slices = tuple(NamedRows(name, first, stop) for (name,), first, stop in owned)
        batches = batch_totals(table["size"].to_numpy())
        self._append(key, round_, phase, batches, slices, digest)

    def _append(
        self,
        key: str,
        round_: Round,
        phase: int,
        batches: tuple[tuple[int, int], ...],
        slices: tuple[NamedRows, ...],
        digest: str,
    ) -> None:
        first = self._next_batch.setdefault((round_, phase), phase * BATCHES_PER_PHASE)
        self._next_batch[round_, phase] = first + len(batches)
        self._parts.append(DiffPart(key, round_, phase, first, batches, slices, digest))


def _plan(
    parts: tuple[DiffPart, ...],
    totals: Mapping[str, int],
    kept: int,
    notes: tuple[str, ...],
    replaced: tuple[int, tuple[str, ...]],
    known: int,
) -> Plan:
    order = list(Round)
    units: tuple[Unit, ...] = ()
    for number, phase in sorted({(order.index(part.round), part.phase) for part in parts}):
        here = [part for part in parts if (part.round, part.phase) == (order[number], phase)]
        units += plan_units(order[number], [b for part in here for b in part.batches], phase)
    return Plan(
        units,
        objects=sum(unit.objects for unit in units),
        bytes=sum(unit.bytes for unit in units),
        totals=dict(totals),
        kept=kept,
        notes=notes,
        replaced=replaced[0],
        replaced_keys=replaced[1],
        known=known,
    )
