"""Reports, and the decisions about runs that need no store. Pure."""

import dataclasses
import hashlib
import json
from typing import Any

from prefect_freight.model import (
    EVERYTHING,
    ExportReport,
    Job,
    Options,
    Outcome,
    Plan,
    Round,
    Snapshot,
)


def plan_export_id(snapshot: Snapshot, base: str | None, options: Options) -> str:
    """Return the digest of source, snapshots and all options that change the result.

    The same command has the same id on any machine.
    """
    # Neither phases nor the level of verification: they lead to the same copy, and a run may be
    # resumed with others.
    settings: list[Any] = [snapshot.source, snapshot.id, base, options.format.value]
    # But what is to be replaced stands in the plan, which a run that refuses it must not resume.
    if options.on_existing == "replace":
        settings.append(options.on_existing)
    if options.prune:
        settings.append("prune")
    # Left out where there is none: an export that began before there were any has the same id.
    if options.selection != EVERYTHING:
        settings.append(dataclasses.astuple(options.selection))
    return hashlib.blake2b(json.dumps(settings).encode(), digest_size=8).hexdigest()


def unchecked_note(objects: int, destination: str, source: str) -> str:
    """Return what is said of objects that nothing recorded a checksum of."""
    return (
        f"the bytes of {objects} objects there were never checked, since nothing recorded a "
        f"checksum of them: `freight verify {destination} --source {source}` compares them with "
        "the source"
    )


def plan_report(
    job: Job,
    plan: Plan | None,
    outcome: Outcome,
    *,
    ended_at: float,
    whole: bool,
    verified: str = "none",
    notes: tuple[str, ...] = (),
) -> ExportReport:
    """Return the report of an export that ended at `ended_at` (seconds since the epoch)."""
    # The clock may have been set back meanwhile.
    seconds = max(ended_at - job.started_at, 0.0)
    units = plan.units if plan else ()
    return ExportReport(
        export_id=job.export_id,
        source=job.snapshot.source,
        ref=job.snapshot.ref,
        snapshot=job.snapshot.id,
        base_snapshot=job.base,
        destination=job.destination,
        format=job.options.format.value,
        objects_transferred=outcome.transferred,
        bytes_transferred=outcome.bytes,
        objects_skipped=outcome.skipped + (plan.known if plan else 0),
        objects_deleted=outcome.deleted,
        objects_failed=outcome.failed,
        seconds=round(seconds, 3),
        bytes_per_second=round(outcome.bytes / seconds, 1) if seconds else 0.0,
        rounds={r.value: sum(u.objects for u in units if u.round == r) for r in Round},
        verified=verified,
        marker=job.marker if whole else job.failure_marker,
        resumed=job.resumed,
        notes=notes,
        objects_not_begun=0 if whole else count_not_begun(plan, outcome),
        selection=job.options.selection,
    )


def count_not_begun(plan: Plan | None, outcome: Outcome) -> int:
    """Return how many of the planned objects are neither done nor failed.

    An object whose batch could not be recorded may be counted twice, so it is that many at least.
    """
    return max(0, plan.objects - outcome.done - outcome.failed) if plan else 0
