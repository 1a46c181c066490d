"""Ending an export: verify, mark, report, and point at the last whole one."""

import json
import time

from prefect_freight.control.checksums import keep_checksums
from prefect_freight.control.manifest import read_manifest
from prefect_freight.control.marker import write_failure, write_success
from prefect_freight.control.runs import RunState, run_of, write_run
from prefect_freight.control.state import count_copy
from prefect_freight.errors import FreightError, IncompleteError, NotFoundError, UnsoundError
from prefect_freight.model import ExportReport, Job, Outcome, Plan
from prefect_freight.plan.differences import Differences
from prefect_freight.plan.report import plan_report
from prefect_freight.retry import retrying
from prefect_freight.sources import Source
from prefect_freight.steps.verify_copy import compare
from prefect_freight.stores import Store

NAMED = 5
ALREADY = "a whole copy of this snapshot was there already, so nothing was moved"


def verify_copy(source: Source, destination: Store, job: Job) -> Differences:
    """Compare the copy with the manifest, and with the source, as far as the options ask for it."""
    keep_checksums(destination, job)
    # A resumed run takes a ledger's word for what lies there, so that much is looked at anyhow.
    resumed = job.resumed and job.options.verify == "none"
    differences = compare(destination, job, "sizes" if resumed else job.options.verify)
    if job.options.verify == "values":
        from prefect_freight.formats.choice import compare_values

        compare_values(source, destination, job, differences)
    return differences


def finish(
    destination: Store, job: Job, plan: Plan, outcome: Outcome, differences: Differences
) -> ExportReport:
    """Write report and marker of a copy that is whole, and make it the last one.

    Raises `IncompleteError`, with the report and after writing the failure marker, if the
    differences say that the copy is not whole: `UnsoundError` where the run had relied on records
    of earlier ones, and one that relies on nothing will mend it.
    """
    notes = job.notes + plan.notes + _notes(differences)
    if not differences.whole:
        report = _report(job, plan, outcome, whole=False, notes=notes)
        lines = differences.lines()
        _close(destination, job, report, "unsound")
        write_failure(destination, job, outcome, lines)
        relied = job.resumed or job.base is not None
        raise (UnsoundError if relied else IncompleteError)(
            f"the copy at {destination.url} is not whole: {'; '.join(lines[:NAMED])}. "
            "Run the same command again",
            report,
        )
    report = _report(job, plan, outcome, whole=True, notes=notes)
    write_success(destination, job, outcome)
    _close(destination, job, report, "whole")
    return report


def fail(
    destination: Store, job: Job, plan: Plan | None, outcome: Outcome, error: BaseException
) -> ExportReport:
    """Say at the destination that the export failed, as far as that can be said; return the report.

    The error that stopped the export is a line of the marker beside those of the outcome.
    """
    if isinstance(error, IncompleteError) and error.report is not None:
        return error.report
    report = _report(job, plan, outcome, whole=False)
    line = str(error) if isinstance(error, FreightError) else type(error).__name__
    try:
        write_failure(destination, job, outcome, [line])
        _close(destination, job, report, "failed")
    except FreightError:
        # The store that failed the export may well fail this too; the run's record stays open.
        return report
    return report


def report_finished(destination: Store, job: Job) -> ExportReport:
    """Return the report of an export whose copy lies there whole already.

    If somebody removed its marker, that is put again.
    """
    manifest = read_manifest(destination, job.area)
    there = Outcome(skipped=count_copy(manifest) if manifest else 0)
    try:
        retrying(lambda: destination.read(job.marker))
    except NotFoundError:
        write_success(destination, job, there)
    return _report(job, None, there, whole=True, notes=(ALREADY,))


def require_whole(outcome: Outcome) -> None:
    """Raise `IncompleteError` if anything failed: the next round would vouch for it."""
    if outcome.failures:
        first = outcome.failures[0]
        more = f" and {len(outcome.failures) - 1} more" if len(outcome.failures) > 1 else ""
        raise IncompleteError(
            f"could not {first.action} {first.key!r}{more}: {first.message}. What was moved is "
            "recorded; run the same command again to move the rest"
        )


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


def _close(destination: Store, job: Job, report: ExportReport, state: RunState) -> None:
    data = json.dumps(report.to_dict(), indent=1).encode()
    retrying(lambda: destination.write(f"{job.area}/report.json", data))
    write_run(destination, run_of(job, state))


def _notes(differences: Differences) -> tuple[str, ...]:
    if not differences.foreign:
        return ()
    shown = ", ".join(differences.foreign_keys[:NAMED])
    dots = ", …" if differences.foreign > NAMED else ""
    return (f"{differences.foreign} objects there are not ours and were left: {shown}{dots}",)
