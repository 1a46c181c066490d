"""Ending an export, whole or failed: report, marker, and the record that closes the run."""

import json
import time
from contextlib import suppress
from dataclasses import replace

from prefect_freight.control.clearing import remove_old_runs
from prefect_freight.control.manifest import count_copy, read_manifest
from prefect_freight.control.marker import write_failure, write_success
from prefect_freight.control.runs import RunState, run_of, write_run
from prefect_freight.errors import FreightError, IncompleteError, UnsoundError
from prefect_freight.model import ExportReport, Job, Outcome, Plan
from prefect_freight.plan.differences import Differences
from prefect_freight.plan.numbers import format_objects
from prefect_freight.plan.report import (
    count_not_begun,
    foreign_note,
    plan_report,
    unchecked_note,
    why_not_whole,
)
from prefect_freight.retry import retrying
from prefect_freight.stores import Flushing, Store
from prefect_freight.stores.wrapping import innermost

LINES_IN_MESSAGE = 5
REMOVE_TAKEN = (
    "Remove what is not of the copy and run the same command again, or have it deleted by "
    "--on-existing replace"
)
REMOVE_UNACCOUNTED = (
    "Remove what is left of an earlier copy and run the same command again, have all of it deleted "
    "by --prune, or say that it is somebody else's with --on-existing merge"
)
UNWRITTEN = "could not be written: the destination does not say that this export failed"
AGAIN = "Run the same command again"
NOT_BEGUN = "{} were not begun"
ALREADY = "a whole copy of this snapshot was there already, so nothing was moved"


def finish(
    destination: Store, job: Job, plan: Plan, outcome: Outcome, differences: Differences
) -> ExportReport:
    """Write report and marker of a copy that is whole, and make it the last one.

    Raises `IncompleteError`, with the report and after writing the failure marker, if the
    differences say that the copy is not whole: `UnsoundError` where the run had relied on records
    of earlier ones, and one that relies on nothing will mend it. Objects that are not ours are
    mended by no export; without them, the same command finds that all is done.
    """
    # Where records are lost, what nobody put for all we know may be left of our own copy; only the
    # user knows, and says so by `merge`.
    unaccounted = plan.is_damaged and job.options.on_existing != "merge" and differences.foreign
    if unaccounted:
        differences.blame_foreign()
    notes = job.notes + plan.notes + _notes(destination, job, differences)
    if not differences.whole:
        report = _report(job, plan, outcome, whole=False, notes=notes)
        lines = differences.lines()
        disturbed = differences.is_only_taken
        _close(destination, job, report, "failed" if disturbed else "unsound", plan, outcome)
        write_failure(destination, job, outcome, lines)
        relied = not disturbed and (job.resumed or job.base is not None or plan.known > 0)
        shown = "; ".join(lines[:LINES_IN_MESSAGE])
        finding = f"the copy at {destination.url} is not whole: {shown}"
        if relied:
            raise UnsoundError(finding, report)
        cure = REMOVE_UNACCOUNTED if unaccounted else REMOVE_TAKEN if disturbed else AGAIN
        raise IncompleteError(f"{finding}. {cure}", report)
    report = _report(job, plan, outcome, whole=True, notes=notes)
    # What the marker vouches for first, then the marker, then the record that makes later exports
    # rely on this one. Of a run killed in between the marker is true, and the same command finds
    # that nothing is left to do. (What waits and what guards stand before the store that flushes.)
    disk = innermost(destination)
    if isinstance(disk, Flushing):
        retrying(disk.flush)
    write_success(destination, job, outcome)
    _close(destination, job, report, "whole", plan, outcome)
    with suppress(FreightError):  # the copy is whole, and the next export removes what is left
        remove_old_runs(destination, job)
    return report


def fail(
    destination: Store,
    job: Job,
    plan: Plan | None,
    outcome: Outcome,
    error: BaseException,
    *,
    locked: bool = True,
) -> ExportReport:
    """Record at the destination that the export failed, as far as it can be; return the report.

    The error that stopped the export is a line of the marker beside those of the outcome. Without
    the lock (`locked`) nothing is written: whoever holds it now may be resuming this very run, or
    have ended it, and a failure of ours would replace the marker and the record of theirs.
    """
    if isinstance(error, IncompleteError) and error.report is not None:
        return error.report
    not_begun, line = count_not_begun(plan, outcome), why_not_whole(error, plan, outcome)
    left = (NOT_BEGUN.format(format_objects(not_begun)),) if not_begun else ()
    # Who ends an export finds what had moved by then in its report too.
    notes = left if isinstance(error, Exception) else (line, *left)
    report = _report(job, plan, outcome, whole=False, notes=notes)
    if not locked:
        return _unmarked(report)
    marked = False
    try:
        # What readers do not see is what they ask about first.
        lines = [*dict.fromkeys([line, *report.notes])]
        if isinstance(error, UnsoundError):
            # First, and before the repair begins: what is unsound must neither be resumed nor
            # relied on, or the next run would do as this one did.
            _close(destination, job, report, "unsound", plan, outcome)
            write_failure(destination, job, outcome, lines)
            marked = True
        else:
            write_failure(destination, job, outcome, lines)
            marked = True
            _close(destination, job, report, "failed", plan, outcome)
    except FreightError:
        # The store that failed the export may well fail this too; the run's record stays open.
        return report if marked else _unmarked(report)
    return report


def _unmarked(report: ExportReport) -> ExportReport:
    """Return the report of an export whose failure the destination does not tell."""
    return replace(report, marker="", notes=(*report.notes, f"{report.marker} {UNWRITTEN}"))


def report_already_whole(destination: Store, job: Job) -> ExportReport:
    """Return the report of an export whose copy lies there whole already."""
    return _report(job, None, _copied(destination, job), whole=True, notes=(ALREADY, *job.notes))


def mark_again(destination: Store, job: Job) -> None:
    """Put the marker of a copy that lies there whole, if it was not there.

    Only under the lock, and after a look under it: another export may have removed the marker, to
    change what it vouches for.
    """
    if not job.is_marked:
        write_success(destination, job, _copied(destination, job))


def _copied(destination: Store, job: Job) -> Outcome:
    manifest = read_manifest(destination, job.area)
    return Outcome(skipped=count_copy(manifest) if manifest else 0)


def _report(
    job: Job, plan: Plan | None, outcome: Outcome, *, whole: bool, notes: tuple[str, ...] = ()
) -> ExportReport:
    return plan_report(
        job,
        plan,
        outcome,
        ended_at=time.time(),
        whole=whole,
        verified=job.options.verify if whole else "none",
        notes=notes,
    )


def _close(
    destination: Store,
    job: Job,
    report: ExportReport,
    state: RunState,
    plan: Plan | None,
    outcome: Outcome,
) -> None:
    data = json.dumps(report.to_dict(), indent=1).encode()
    retrying(lambda: destination.write(f"{job.area}/report.json", data))
    objects = plan.objects if plan is not None else None
    write_run(destination, run_of(job, state, objects, outcome.done if plan is not None else None))


def _notes(destination: Store, job: Job, differences: Differences) -> tuple[str, ...]:
    notes = list(differences.notes)
    if differences.foreign:
        notes.append(foreign_note(differences.foreign, differences.foreign_keys))
    if differences.unchecked:
        notes.append(unchecked_note(differences.unchecked, destination.url, job.snapshot.source))
    return tuple(notes)
