"""What an export would do: its manifest is planned and counted, and written nowhere."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from prefect_freight.control.manifest import MOVED, ROWS_PER_PART, ArrayRecord
from prefect_freight.model import Action, Job, Preview, Round
from prefect_freight.plan.batches import MAX_BATCH_OBJECTS
from prefect_freight.sources import Source
from prefect_freight.steps.write_manifest import Planning, state_of
from prefect_freight.stores import Store

PUT_BYTES = 64 * 2**20
"""A larger object is put in parts,"""
PART_BYTES = 32 * 2**20
"""of this size; see `prefect_freight.stores.s3.store`."""
BOOKKEEPING_PUTS = 8
"""Lock, run record twice, manifest index, report, marker, `last.json`, and one to spare."""
KEPT = (Round.KEPT_CHUNKS, Round.KEPT_DOCUMENTS)


def preview(source: Source, destination: Store, job: Job) -> Preview:
    """Return what the job would do; nothing is written anywhere.

    Raises what `write_manifest` raises.
    """
    counting = Counting()
    if not job.finished:
        planning = Planning(source, destination, job, state_of(source, destination, job), counting)
        planning.run()
    return Preview(
        source=job.snapshot.source,
        ref=job.snapshot.ref,
        snapshot=job.snapshot.id,
        base_snapshot=job.base,
        destination=job.destination,
        format=job.options.format.value,
        finished=job.finished,
        rounds={round_.value: counting.rounds[round_] for round_ in MOVED},
        nodes=dict(sorted(counting.nodes.items())),
        kept=counting.kept,
        put_requests=0 if job.finished else counting.put_requests,
        notes=job.notes + counting.notes,
    )


class Counting:
    """Stands where the writer of a manifest stands, and counts what it is given."""

    def __init__(self) -> None:
        self.rounds = {round_: _nothing() for round_ in Round}
        self.nodes: dict[str, dict[str, int]] = {}
        self.kept = 0
        self.notes: tuple[str, ...] = ()
        self._more_puts = 0

    @property
    def put_requests(self) -> int:
        """PUT requests of objects, their parts, the manifest's files and the ledger's records."""
        entries = [counts["puts"] + counts["deletes"] for counts in self.rounds.values()]
        records = sum(-(-n // MAX_BATCH_OBJECTS) + -(-n // ROWS_PER_PART) for n in entries)
        puts = sum(counts["puts"] for counts in self.rounds.values())
        return puts + records + self._more_puts + BOOKKEEPING_PUTS

    def add(self, round_: Round, entries: pa.RecordBatch, phase: int = 0) -> None:  # noqa: ARG002
        """Count entries."""
        if round_ in KEPT:
            self.kept += entries.num_rows
        elif entries.num_rows:
            self._count(round_, entries)

    def add_fill(self, fill: bytes) -> None:  # noqa: ARG002 - the writer's signature
        """Count the put of a fill chunk."""
        self._more_puts += 1

    def close(
        self,
        arrays: Mapping[str, ArrayRecord],  # noqa: ARG002 - the writer's signature
        groups: int,  # noqa: ARG002
        notes: Iterable[str] = (),
    ) -> None:
        """Take the notes."""
        self.notes = tuple(notes)

    def _count(self, round_: Round, entries: pa.RecordBatch) -> None:
        sizes = entries["size"].to_numpy()
        self._more_puts += int(((sizes[sizes > PUT_BYTES] - 1) // PART_BYTES).sum())
        grouped = pa.Table.from_batches([entries]).group_by(["node", "action"])
        for row in grouped.aggregate([("size", "sum"), ("size", "count")]).to_pylist():
            for counts in (self.rounds[round_], self.nodes.setdefault(row["node"], _nothing())):
                if row["action"] == Action.PUT:
                    counts["puts"] += row["size_count"]
                    counts["bytes"] += row["size_sum"]
                else:
                    counts["deletes"] += row["size_count"]


def _nothing() -> dict[str, int]:
    return {"puts": 0, "bytes": 0, "deletes": 0}
