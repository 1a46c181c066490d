"""Reports, and the decisions about runs that need no store. Pure."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from prefect_freight.errors import FreightError
from prefect_freight.model import (
    EVERYTHING,
    ExportReport,
    Job,
    Options,
    Outcome,
    Plan,
    Round,
    Snapshot,
    Withdrawal,
)
from prefect_freight.plan.keys import first_few
from prefect_freight.plan.numbers import format_bytes, format_duration, format_objects

KEYS_IN_NOTE = 5


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


def foreign_note(count: int, keys: Sequence[str], left: str = "left") -> str:
    """Return what is said of objects that are not ours and in nobody's way.

    >>> foreign_note(1, ["mine"])
    '1 object there is not ours and was left: mine'
    """
    is_, was = ("is", "was") if count == 1 else ("are", "were")
    shown = first_few(keys, count, KEYS_IN_NOTE)
    stays = f"{was} left" if left == "left" else left
    return f"{format_objects(count)} there {is_} not ours and {stays}: {shown}"


def withdrawal_note(withdrawal: Withdrawal, now: float) -> str:
    """Return what is said of arrays out of view, at a time in seconds since the epoch.

    Empty if there are none, or none is yet.

    >>> withdrawal_note(Withdrawal(("a", "g/b"), began_at=10.0, ended_at=22.0), now=30.0)
    '2 arrays were out of view for 12 s, while they changed: a, g/b'
    """
    arrays = withdrawal.arrays
    if not arrays or withdrawal.began_at is None:
        return ""
    shown = first_few([path or "/" for path in arrays], len(arrays), KEYS_IN_NOTE)
    one = len(arrays) == 1
    which = "1 array" if one else f"{len(arrays):,} arrays"
    seconds = _seconds_withdrawn(withdrawal, now)
    if withdrawal.ended_at is not None:
        was = "was" if one else "were"
        changed = "it" if one else "they"
        spent = format_duration(seconds)
        return f"{which} {was} out of view for {spent}, while {changed} changed: {shown}"
    # A moment after they left, no time is worth telling.
    since = f", for {format_duration(seconds)} now" if seconds >= 1 else ""
    return f"{which} {'is' if one else 'are'} out of view{since}, until all has moved: {shown}"


def _seconds_withdrawn(withdrawal: Withdrawal, now: float) -> float:
    if withdrawal.began_at is None:
        return 0.0
    # Another machine's clock may have told when it began.
    return max(0.0, (withdrawal.ended_at or now) - withdrawal.began_at)


def marker_text(report: ExportReport) -> str:
    """Return where an export that failed has left what failed."""
    if report.marker:
        return f"see {report.marker} at {report.destination}"
    return f"no marker could be written at {report.destination}"


def unchecked_note(objects: int, destination: str, source: str) -> str:
    """Return what is said of objects that nothing recorded a checksum of."""
    return (
        f"the bytes of {format_objects(objects)} there were never checked, since nothing recorded "
        f"a checksum of them: `freight verify {destination} --source {source}` compares them with "
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
    withdrawal = plan.withdrawal if plan else Withdrawal()
    said = withdrawal_note(withdrawal, ended_at)
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
        notes=(*notes, said) if said else notes,
        arrays_withdrawn=withdrawal.arrays if said else (),
        seconds_withdrawn=round(_seconds_withdrawn(withdrawal, ended_at), 3),
        objects_not_begun=0 if whole else count_not_begun(plan, outcome),
        selection=job.options.selection,
    )


def why_not_whole(error: BaseException, plan: Plan | None, outcome: Outcome) -> str:
    """Return what is said of why an export ended, with what was done if somebody ended it.

    >>> why_not_whole(KeyboardInterrupt(), Plan((), 300, 0), Outcome(100, 2000))
    'interrupted when 100 of 300 objects were done, 2.0 kB moved'
    """
    if isinstance(error, Exception):
        return str(error) if isinstance(error, FreightError) else type(error).__name__
    # No error at all: somebody wants it to end. What else than Ctrl-C asks for that (a runner's own
    # signal, the interpreter's exit) has a name that says nothing to whoever asked.
    word = "interrupted" if isinstance(error, KeyboardInterrupt) else "cancelled"
    if plan is None:
        return f"{word} before anything was moved"
    return (
        f"{word} when {outcome.done:,} of {plan.objects:,} objects were done, "
        f"{format_bytes(outcome.bytes)} moved"
    )


def count_not_begun(plan: Plan | None, outcome: Outcome) -> int:
    """Return how many of the planned objects are neither done nor failed.

    An object whose batch could not be recorded may be counted twice, so it is that many at least.
    """
    return max(0, plan.objects - outcome.done - outcome.failed) if plan else 0
