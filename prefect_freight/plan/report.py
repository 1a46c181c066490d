"""Reports, and the decisions about runs that need no store. Pure."""

import hashlib
import json

from prefect_freight.model import ExportReport, Job, Options, Outcome, Plan, Round, Snapshot


def plan_export_id(snapshot: Snapshot, base: str | None, options: Options) -> str:
    """Return the digest of source, snapshots and all options that change the result.

    The same command has the same id on any machine.
    """
    # Neither phases nor the level of verification: they lead to the same copy, and a run may be
    # resumed with others.
    settings = json.dumps([snapshot.source, snapshot.id, base, options.format.value])
    return hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()


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
        objects_skipped=outcome.skipped,
        objects_deleted=outcome.deleted,
        objects_failed=len(outcome.failures),
        seconds=round(seconds, 3),
        bytes_per_second=round(outcome.bytes / seconds, 1) if seconds else 0.0,
        rounds={r.value: sum(u.objects for u in units if u.round == r) for r in Round},
        verified=verified,
        marker=job.marker if whole else job.failure_marker,
        resumed=job.resumed,
        notes=notes,
    )
