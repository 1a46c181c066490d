"""What unfinished runs planned and recorded of each key: their diffs beside their ledgers."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.diff import Diff, DiffPart, NamedRows
from prefect_freight.control.ledger import BatchRecord, Ledger
from prefect_freight.control.runs import Run
from prefect_freight.model import Action, Round
from prefect_freight.plan.batches import BATCHES_PER_PHASE
from prefect_freight.plan.touched import TOUCHED_SCHEMA
from prefect_freight.stores import Store

COLUMNS = ["key", "node", "action", "content"]
NAMELESS = "//nameless"
"""The name of keys that are part of no component: of what is not ours and is replaced, and of what
runs of version 1 touched, since nothing tells what it was part of."""


def trusted_runs(runs: Sequence[Run], source: str) -> list[bool]:
    """Say of each run, in their order, whether what its ledger records as done is believed.

    Not of one that was found unsound, nor of those before it, on which it relied. Nor of an export
    of another source, whose content may be called alike.
    """
    # What a run recorded before that was what the unsound one relied on, and found wrong.
    unsound = max((n for n, run in enumerate(runs) if run.state == "unsound"), default=-1)
    return [n > unsound and run.source == source for n, run in enumerate(runs)]


def read_doings(
    destination: Store,
    number: int,
    diff: Diff,
    part: DiffPart,
    table: pa.Table,
    *,
    trusted: bool,
    begun: bool,
) -> Iterator[pa.Table]:
    """Yield what a part of a run's diff does (`TOUCHED_SCHEMA`), given its `COLUMNS`.

    What it does is ours if it is recorded as begun.
    """
    records: dict[int, BatchRecord] = {}
    if trusted and part.slices:
        ledger = Ledger(destination, diff.area, diff.seal)
        records = ledger.read(part.round, part.numbers)
    n = table.num_rows
    done, checksums = _recorded(part, table, records)
    # Rounds are done in their order and phases within them, so this number tells what came last.
    step = list(Round).index(part.round) * BATCHES_PER_PHASE + part.phase
    columns = {
        "key": table["key"],
        "node": table["node"],
        "run": pa.repeat(pa.scalar(number, pa.int64()), n),
        "step": pa.repeat(pa.scalar(step, pa.int64()), n),
        "done": done,
        "put": pc.equal(table["action"], Action.PUT.value),
        "content": table["content"],
        "ours": pa.repeat(begun, n),
        "checksum": checksums,
    }
    whole = pa.table(columns)
    # Of a part that holds thousands of names each takes its own rows, and no column of all rows.
    for rows in part.slices or [NamedRows(NAMELESS, 0, n)]:
        own = whole.slice(rows.first, rows.stop - rows.first)
        own = own.append_column("name", pa.repeat(rows.name, own.num_rows))
        yield own.select(TOUCHED_SCHEMA.names).cast(TOUCHED_SCHEMA)


def count_done(destination: Store, diff: Diff) -> int:
    """Return how many objects of a diff the run's ledger has as done.

    A batch that was stopped is recorded, too: with what failed of it, and what was not begun.
    """
    return sum(
        record.objects - len(record.failed)
        for part in diff.parts
        for _, record in _records_of(destination, diff, part)
    )


def left_to_do(destination: Store, diff: Diff, part: DiffPart, table: pa.Table) -> pa.Table:
    """Return those rows of a part of a run's diff that its ledger does not have as done.

    The table has the part's keys.
    """
    done, _ = _recorded(part, table, dict(_records_of(destination, diff, part)))
    return table.filter(pc.invert(done))


def _records_of(
    destination: Store, diff: Diff, part: DiffPart
) -> Iterator[tuple[int, BatchRecord]]:
    records = Ledger(destination, diff.area, diff.seal).read(part.round, part.numbers)
    for number, (objects, _) in zip(part.numbers, part.batches, strict=True):
        # One of another number of objects is of another plan.
        if number in records and records[number].objects == objects:
            yield number, records[number]


def _recorded(
    part: DiffPart, table: pa.Table, records: dict[int, BatchRecord]
) -> tuple[pa.Array, pa.Array]:
    """Return of each row whether it is recorded as done, and the checksum that is recorded."""
    done = np.zeros(table.num_rows, np.bool_)
    checksums: list[bytes | None] = [None] * table.num_rows
    first = 0
    for number, (objects, _) in zip(part.numbers, part.batches, strict=True):
        record = records.get(number)
        # A record of another number of objects is of another plan, whatever its name says.
        if record is not None and record.objects == objects:
            failed = pa.array(record.failed, pa.string())
            keys = table["key"].slice(first, objects)
            done[first : first + objects] = ~pc.is_in(keys, failed).to_numpy()
            if len(record.checksums) == objects:
                texts = record.checksums
                checksums[first : first + objects] = [bytes.fromhex(t) or None for t in texts]
        first += objects
    return pa.array(done), pa.array(checksums, pa.binary())
