"""What an export would do: the same steps as its own up to the first object that moves.

What they write goes into a folder of the local disk, which is removed.
"""

import tempfile
from dataclasses import replace

import pyarrow as pa

from prefect_freight.control.diff import Diff, read_diff
from prefect_freight.control.ledger import recorded_batches
from prefect_freight.errors import InternalError
from prefect_freight.model import Action, Job, Preview, Round
from prefect_freight.plan.batches import MAX_BATCH_OBJECTS
from prefect_freight.sources import Source
from prefect_freight.steps.compute_diff import compute_diff
from prefect_freight.steps.write_manifest import write_manifest
from prefect_freight.stores import Store
from prefect_freight.stores.local import LocalStore
from prefect_freight.stores.overlay import Overlay
from prefect_freight.stores.s3.store import PART_BYTES, SINGLE_PUT_BYTES

BOOKKEEPING_PUTS = 9
"""Lock, run record twice, indices of manifest and diff, report, marker, `last.json`, a spare."""
COUNTED = ["node", "action", "size"]


def preview(
    source: Source, destination: Store, job: Job, *, minding_others: bool = True
) -> Preview:
    """Return what the job would do; nothing is written anywhere that stays.

    Raises what `write_manifest` and `compute_diff` raise.
    """
    if job.already_whole:
        return _to_preview(job, _Counts(), 0, ())
    with tempfile.TemporaryDirectory(prefix="freight-") as folder:
        overlay = Overlay(destination, LocalStore(folder))
        manifest = write_manifest(source, overlay, job)
        plan = compute_diff(overlay, job, manifest, minding_others=minding_others)
        diff = read_diff(overlay, job.area)
        if diff is None:
            raise InternalError("the diff of a dry run is not there")
        notes = (*plan.notes, *_resumed(destination, job, diff))
        expected = _to_preview(job, _count(overlay, diff), plan.kept, notes)
        return replace(expected, replaced=plan.replaced, replaced_keys=plan.replaced_keys)


def _resumed(destination: Store, job: Job, diff: Diff) -> tuple[str, ...]:
    """Say how much of it an unfinished run has done, which will not be done again."""
    if not job.resumed:
        return ()
    done = diff.count(recorded_batches(destination, job.area))
    return (f"{done} of these are recorded as done by the unfinished export that this one resumes",)


class _Counts:
    """Puts, their bytes, and deletes: by round, and by node."""

    def __init__(self) -> None:
        self.rounds = {round_: _nothing() for round_ in Round}
        self.nodes: dict[str, dict[str, int]] = {}
        self.put_requests = 0

    def add(self, round_: Round, entries: pa.Table) -> None:
        """Count entries."""
        sizes = entries["size"].to_numpy()
        self.put_requests += int(((sizes[sizes > SINGLE_PUT_BYTES] - 1) // PART_BYTES).sum())
        grouped = entries.group_by(["node", "action"])
        for row in grouped.aggregate([("size", "sum"), ("size", "count")]).to_pylist():
            for counts in (self.rounds[round_], self.nodes.setdefault(row["node"], _nothing())):
                if row["action"] == Action.PUT:
                    counts["puts"] += row["size_count"]
                    counts["bytes"] += row["size_sum"]
                else:
                    counts["deletes"] += row["size_count"]


def _count(destination: Store, diff: Diff) -> _Counts:
    counts = _Counts()
    for part, entries in diff.read(destination, COUNTED):
        counts.add(part.round, entries)
    puts = sum(count["puts"] for count in counts.rounds.values())
    moved = [count["puts"] + count["deletes"] for count in counts.rounds.values()]
    records = sum(-(-n // MAX_BATCH_OBJECTS) for n in moved)
    counts.put_requests += puts + len(diff.parts) + records + BOOKKEEPING_PUTS
    return counts


def _to_preview(job: Job, counts: _Counts, kept: int, notes: tuple[str, ...]) -> Preview:
    return Preview(
        source=job.snapshot.source,
        ref=job.snapshot.ref,
        snapshot=job.snapshot.id,
        base_snapshot=job.base,
        destination=job.destination,
        format=job.options.format.value,
        finished=job.already_whole,
        rounds={round_.value: counts.rounds[round_] for round_ in Round},
        nodes=dict(sorted(counts.nodes.items())),
        kept=kept,
        put_requests=counts.put_requests,
        notes=job.notes + notes,
        selection=job.options.selection,
    )


def _nothing() -> dict[str, int]:
    return {"puts": 0, "bytes": 0, "deletes": 0}
