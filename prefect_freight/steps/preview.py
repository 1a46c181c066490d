"""What an export would do: the same steps as its own up to the first object that moves.

What they write goes into a folder of the local disk, which is removed.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.data import list_data
from prefect_freight.control.diff import Diff, read_diff
from prefect_freight.control.doings import left_to_do
from prefect_freight.control.manifest import Manifest, count_copy
from prefect_freight.control.manifest_reader import ManifestReader, read_copy
from prefect_freight.errors import InternalError
from prefect_freight.model import Action, Job, Preview, Round
from prefect_freight.plan.batches import MAX_BATCH_OBJECTS
from prefect_freight.plan.entries import combined
from prefect_freight.plan.keys import first_few
from prefect_freight.plan.report import KEYS_IN_NOTE, foreign_note
from prefect_freight.sources import Source
from prefect_freight.steps.compute_diff import compute_diff
from prefect_freight.steps.partitions import partitioned
from prefect_freight.steps.write_manifest import write_manifest
from prefect_freight.stores import Store
from prefect_freight.stores.local import LocalStore
from prefect_freight.stores.overlay import Overlay
from prefect_freight.stores.s3.store import PART_BYTES, SINGLE_PUT_BYTES

BOOKKEEPING_PUTS = 9
"""Lock, run record three times, indices of manifest and diff, report, marker, `last.json`."""
COUNTED = ["key", "node", "action", "size"]
KEYS = pa.schema([("key", pa.string())])
MOST_LISTED = 100_000
"""Objects of a copy that is listed though its export would look at the changed keys alone."""
NOT_LOOKED_AT = (
    "only the keys that change were looked at: objects there that are not ours would stay, and "
    "none was counted"
)


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
        # What its ledger has is not done again; a run that is not resumed has no ledger yet.
        counts = _count(overlay, diff)
        view = _view(plan.withdrawal.arrays)
        stays = _others(overlay, job, manifest, diff) if minding_others else ()
        expected = _to_preview(job, counts, plan.kept, (*plan.notes, *view, *stays))
        return replace(
            expected,
            replaced=plan.replaced,
            replaced_keys=plan.replaced_keys,
            recorded=plan.objects - counts.objects,
        )


def _view(arrays: Sequence[str]) -> tuple[str, ...]:
    """Say which arrays readers would not see meanwhile."""
    if not arrays:
        return ()
    shown = first_few([path or "/" for path in arrays], len(arrays), KEYS_IN_NOTE)
    return (f"out of view while they change: {shown}",)


def _others(destination: Store, job: Job, manifest: Manifest, diff: Diff) -> tuple[str, ...]:
    """Say what would stay that is not ours: it is in nobody's way, and users look for it here."""
    full = job.base is None or job.base_assumed or job.options.on_existing == "replace"
    # Where the export lists all that lies there to plan, so may we; else no more than a moment's.
    if not full and count_copy(manifest) > MOST_LISTED:
        return (NOT_LOOKED_AT,)
    count, first = 0, list[str]()
    ours = _touched(destination, manifest, diff)
    listed = list_data(destination)
    with partitioned((KEYS, KEYS), 2 * count_copy(manifest), ours, listed) as pairs:
        for known, there in pairs:
            is_ours = pc.is_in(there["key"], combined(known["key"]))
            others = there["key"].filter(pc.invert(is_ours))
            count += len(others)
            first += others.slice(0, KEYS_IN_NOTE).to_pylist()
    return (foreign_note(count, sorted(first), "would stay"),) if count else ()


def _touched(destination: Store, manifest: Manifest, diff: Diff) -> Iterator[pa.Table]:
    """Yield the keys that the copy is to have, and those that go or come for a while."""
    yield from read_copy(ManifestReader(destination), manifest, KEYS.names)
    for _, entries in diff.read(destination, KEYS.names):
        yield entries


class _Counts:
    """Puts, their bytes, and deletes: by round, and by node."""

    def __init__(self) -> None:
        self.rounds = {round_: _nothing() for round_ in Round}
        self.nodes: dict[str, dict[str, int]] = {}
        self.put_requests = 0
        self.objects = 0

    def add(self, round_: Round, entries: pa.Table) -> None:
        """Count entries."""
        self.objects += entries.num_rows
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
        counts.add(part.round, left_to_do(destination, diff, part, entries))
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
