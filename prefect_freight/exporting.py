"""The main path: one export, its steps in order.

`run_export` is all of it, for every runner (`prefect_freight.runner`): what is tried once more,
what counts as failed, who holds the lock, and when one phase may follow another stand here and
nowhere else. Each step is a function of small picklable arguments, in a module of its own name.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import PurePath

from prefect_freight.config import StoreConfig
from prefect_freight.control.lease import Lease
from prefect_freight.control.lock import LEASE, Lock, hold_lock
from prefect_freight.control.manifest import Manifest
from prefect_freight.errors import (
    FreightError,
    IncompleteError,
    InputError,
    OccupiedError,
    UnsoundError,
    as_sentence,
)
from prefect_freight.events import (
    Ended,
    Notice,
    OnEvent,
    Opened,
    Planned,
    Resolved,
    StepEnded,
    StepStarted,
    UnitEnded,
    ignore_event,
    tolerant,
)
from prefect_freight.grace import Grace
from prefect_freight.model import (
    KEEP_RUNS,
    MAX_FILL_CHUNKS,
    RETRY_FOR_S,
    SECTION_ROWS,
    ExportReport,
    Job,
    OnExisting,
    Options,
    Outcome,
    Plan,
    Preview,
    Round,
    Unit,
    VerifyLevel,
)
from prefect_freight.options import checksummed, plan_options, with_own_format
from prefect_freight.plan.numbers import format_objects
from prefect_freight.plan.phases import Phases
from prefect_freight.plan.report import why_not_whole
from prefect_freight.runner import PlainRunner, Runner
from prefect_freight.sources import Source
from prefect_freight.sources.kinds import open_source, prepared
from prefect_freight.steps.compute_diff import compute_diff
from prefect_freight.steps.finish import fail, finish, mark_again, report_already_whole
from prefect_freight.steps.open_job import look_at_job, open_job
from prefect_freight.steps.preview import preview
from prefect_freight.steps.resolve import resolve
from prefect_freight.steps.take_lock import require_lock, take_lock
from prefect_freight.steps.verify_copy import verify_copy
from prefect_freight.steps.write_manifest import write_manifest
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store
from prefect_freight.threads import aside
from prefect_freight.waits import Waits
from prefect_freight.withdrawal import View

ROUND_TEXT = {
    Round.WITHDRAW: "Taking changed arrays out of view",
    Round.CLEAR: "Making room for them",
    Round.CHUNKS: "Copying chunks",
    Round.OBJECTS: "Copying objects",
    Round.DOCUMENTS: "Writing metadata",
    Round.ROOT: "Writing consolidated metadata",
    Round.DELETES: "Deleting what is gone",
}
"""What is told of each."""


def run_export(
    source: Source,
    destination: Store,
    ref: str,
    options: Options,
    runner: Runner,
    *,
    lease: Lease = LEASE,
) -> ExportReport:
    """Make the destination a plain copy of a snapshot, and return the report of it.

    An error before anything is planned (`InputError`) is raised as it is, with nothing left behind.
    Any later one stops all that moves and leaves the marker of a failure, before the lock is given
    up and the error raised: as `IncompleteError` with the report, or as it is if it is none of
    ours (an interrupt). An interrupt has a few seconds for that (`prefect_freight.grace`), whatever
    the stores do, since nothing here waits for one in the caller's thread.
    """
    waits = Waits(source, checksummed(destination, options), options, runner.tell)
    source, destination = waits.source, waits.destination
    snapshot = runner.step(resolve, source, ref)
    runner.tell(Resolved(snapshot))
    job = runner.step(look_at_job, source, destination, snapshot, options)
    runner.tell(Opened(job))
    if job.already_whole and job.is_marked:
        return _already_whole(destination, job, runner)

    def in_a_step(take: Callable[[], None]) -> None:
        runner.step(take_lock, take)

    with hold_lock(waits.unwaiting, runner.tell, take=in_a_step, lease=lease) as lock:
        destination = waits.hold(lock)  # all that is written from here on is written under it
        # Looked at again: another export may have ended between the look and the lock.
        job = runner.step(open_job, source, destination, snapshot, options)
        if job.already_whole:
            if not job.is_marked:
                runner.step(mark_again, destination, job)
            return _already_whole(destination, job, runner)
        try:
            return _Attempt(waits, job, runner, lock).run()
        except UnsoundError as error:
            # Once is enough: an attempt that relies on no earlier record cannot be unsound.
            runner.tell(Notice(f"{error.finding}. So all of it is copied anew now"))
            job = runner.step(open_job, source, destination, snapshot, options)
            return _Attempt(waits, job, runner, lock).run()


def _already_whole(destination: Store, job: Job, runner: Runner) -> ExportReport:
    report = runner.step(report_already_whole, destination, job)
    runner.tell(Ended(report, Outcome()))
    return report


class _Attempt:
    """One attempt at an opened export: what is planned, and what came of it up to now."""

    def __init__(self, waits: Waits, job: Job, runner: Runner, lock: Lock) -> None:
        self._source, self._destination, self._job = waits.source, waits.destination, job
        self._waits = waits
        self._runner, self._lock = runner, lock
        self._manifest: Manifest | None = None
        self._plan: Plan | None = None
        self._view: View | None = None
        self._total = Outcome()

    def run(self) -> ExportReport:
        """Run all steps; whatever stops them is recorded at the destination, and raised."""
        try:
            report = self._steps()
        except BaseException as error:
            # All of them, an interrupt and a cancelled flow too: the destination must say so.
            refused = isinstance(error, InputError) and self._manifest is None
            if refused or isinstance(error, OccupiedError):
                raise  # and nothing was left behind
            report = self._fail(error)
            if isinstance(error, FreightError) and not isinstance(error, UnsoundError):
                raise IncompleteError(str(error), report) from error
            raise
        self._runner.tell(Ended(report, self._total))
        return report

    def _steps(self) -> ExportReport:
        source, destination, job, runner = self._source, self._destination, self._job, self._runner
        manifest = self._manifest = runner.step(write_manifest, source, destination, job)
        plan = self._plan = runner.step(compute_diff, destination, job, manifest)
        view = self._view = aside(partial(View, destination, job, plan, runner.tell))
        runner.tell(Planned(job, plan))
        for round_ in Round:
            if plan.of(round_):
                text = ROUND_TEXT[round_]
                view.before(round_)
                runner.tell(StepStarted(text))
                for units in plan.phases(round_):
                    self._move(units)
                runner.tell(StepEnded(text))
                view.after(round_)
                settle(job, plan, round_)
        differences = runner.step(verify_copy, source, destination, job)
        # Or a marker would vouch for what another export is changing already.
        self._check_lock()
        return runner.step(finish, destination, job, view.noted(plan), self._total, differences)

    def _move(self, units: tuple[Unit, ...]) -> None:
        """Move the units of a phase; raises unless all of it is done."""
        phase = Outcome()
        self._check_lock()
        for outcome in self._runner.move(self._source, self._destination, self._job, units):
            phase += outcome
            self._total += outcome
            self._runner.tell(UnitEnded(self._total))
            if outcome.gave_up:
                # If the lock is lost, or the objects that it kept from moving would be the reason.
                self._require_lock()
                break  # the store is gone or full: no other unit is begun
            self._check_lock()
        # Planned equals done, or nothing that vouches for it is published.
        require_done(units, phase)

    def _check_lock(self) -> None:
        if self._lock.lost():
            self._require_lock()

    def _require_lock(self) -> None:
        # Only then a step: one that looks each time would be one a unit, all of them well.
        if self._lock.is_lost:
            self._runner.step(require_lock, self._lock)

    def _fail(self, error: BaseException) -> ExportReport:
        grace = Grace(error)
        if not isinstance(error, UnsoundError):
            self._waits.end()  # or an interrupt would wait with those who wait
        # First of all: once the destination says so, and once another export gets the lock, no unit
        # may put anything any more. (What hangs after an interrupt keeps the lock from being given
        # up, see `Lock.release`.)
        self._total += self._runner.stop(grace.left_s(0.5))
        locked = not self._lock.lost(grace.left_s(0.6))
        plan = self._view.noted(self._plan) if self._plan and self._view else self._plan
        record = partial(fail, self._destination, self._job, plan, self._total, error)
        report = grace.spend(
            partial(record, locked=locked), 0.9, otherwise=partial(record, locked=False)
        )
        if not isinstance(error, UnsoundError):  # which is not the end yet
            reason = why_not_whole(error, self._plan, self._total)
            ended = Ended(report, self._total, reason, not isinstance(error, Exception))
            grace.spend(partial(self._runner.tell, ended), 1.0, otherwise=lambda: None)
        if grace.is_short:
            self._waits.forbid()  # a step that nobody waits for any more would read on
        return report


def require_done(units: Sequence[Unit], outcome: Outcome) -> None:
    """Raise `IncompleteError` unless the outcome of units is that all of them is done.

    The next phase would vouch for it, so nothing less will do: no failure, and as many objects done
    as were planned. Failures are looked at first: an object that moved and was not recorded may
    have been moved, and counted, twice.
    """
    if outcome.failures:
        first = outcome.failures[0]
        more = f" and {outcome.failed - 1:,} more" if outcome.failed > 1 else ""
        raise IncompleteError(
            f"could not {first.action} {first.key!r}{more}: {as_sentence(first.message)} What was "
            "moved is recorded; run the same command again to move the rest"
        )
    planned = sum(unit.objects for unit in units)
    if outcome.gave_up or outcome.done < planned:
        raise IncompleteError(
            f"expected {format_objects(planned)} to be done, found {outcome.done:,}. What was "
            "moved is recorded; run the same command again to move the rest"
        )


def settle(job: Job, plan: Plan, ended: Round) -> None:
    """Wait after a round, if the next one takes away what a reader may have just opened."""
    left = [round_ for round_ in list(Round)[list(Round).index(ended) + 1 :] if plan.of(round_)]
    if ended is Round.WITHDRAW or left == [Round.DELETES]:
        time.sleep(job.options.settle_s)


def export(
    source: str | PurePath | Source,
    destination: str | PurePath | Store,
    *,
    ref: str = "main",
    from_ref: str | None = None,
    group: str | None = None,
    include: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    rounds: Phases = (),
    settle_s: float = 2.0,
    format: str | None = None,  # noqa: A002 - the option's name
    concurrency: int = 64,
    verify: VerifyLevel = "sizes",
    on_existing: OnExisting = "refuse",
    prune: bool = False,
    section_rows: int = SECTION_ROWS,
    keep_runs: int = KEEP_RUNS,
    max_fill_chunks: int = MAX_FILL_CHUNKS,
    retry_for: float = RETRY_FOR_S,
    read_through: str | None = None,
    bandwidth: str | int | None = None,
    rate_limit: float | None = None,
    config: StoreConfig | None = None,
    source_config: StoreConfig | None = None,
    on_event: OnEvent = ignore_event,
) -> ExportReport:
    """Make the destination a plain copy of a snapshot, and return the report of it.

    `format` is `zarr2`, `zarr3` or `objects`; None is the first of a repository, a Zarr store's
    own, and the last of plain objects. With `from_ref` only the difference to the copy of that ref
    is moved, which must lie there; `last` is whichever does, or nothing. Before anything goes that
    a reader may have just opened, the export waits `settle_s` seconds. `config` and `source_config`
    are the credentials of destination and source, where these are given as URLs. Running it again
    after a failure moves only what is missing.

    Where objects lie at the destination that are not ours, `on_existing` says what to do: `refuse`;
    `merge`, which keeps them and writes beside them, and refuses those that are in the way by name;
    `replace`, which puts over these or deletes them, and takes over another source's copy, or one
    of another format. With `prune` all is deleted that lies at a copy of ours and is not of it,
    whoever put it; a new place that holds anything needs `replace` beside it.

    `group` is the path of a group (or array), and all that is exported of the snapshot lies in it;
    `include` and `exclude` are regular expressions, searched in the paths of arrays and groups, or
    in the keys of plain objects: see `prefect_freight.plan.selection`. Paths stay as they are, with
    the groups above them; so do the coordinates of a selected array's dimensions, unless they are
    excluded by name. Another selection at the destination is refused, or replaced.

    `rounds` orders chunks, and plain objects: those whose key matches the first expression move
    when all that match none are there, and so on; see `prefect_freight.plan.phases.plan_phases`.

    A difference compares and remembers `section_rows` objects as one, and holds about so many in
    memory; a copy that lies there keeps the sections that it has. The records of the last
    `keep_runs` runs stay, and older ones as long as the copy relies on them. More missing chunks
    than `max_fill_chunks` that a Zarr 2 copy needs written out are refused.

    `read_through` is how the objects of a lakeFS repository are read: from the `bucket` below it
    (whose credentials are `storage` of `source_config`), through its S3 `gateway`, by `presigned`
    addresses or its `rest` interface; None is the best that is offered, which a note names.

    A store that does not answer is waited for, up to `retry_for` seconds since its last answer,
    with a `Notice` at each try. An object that fails while others pass is not.

    At most `bandwidth` bytes a second (`"50M"`) are read, and as many put, and at most `rate_limit`
    requests a second are sent: see `prefect_freight.limits`.

    `on_event` is called in the export's own threads, which wait for it; an error that it raises is
    logged once and stops nothing, an interrupt stops the export. So does one anywhere else, within
    some seconds, though a store or a listener hangs.

    Raises `InputError` for what the caller can mend, with nothing touched; `IncompleteError`, with
    the report, if objects could not be moved or the copy does not verify; `AccessError` and
    `TransientError` if a store cannot be used.
    """
    on_event = tolerant(on_event)
    options = plan_options(
        format,
        concurrency,
        verify,
        on_existing,
        from_ref=from_ref,
        group=group,
        include=include,
        exclude=exclude,
        prune=prune,
        rounds=rounds,
        settle_s=settle_s,
        section_rows=section_rows,
        keep_runs=keep_runs,
        max_fill_chunks=max_fill_chunks,
        retry_for=retry_for,
        bandwidth=bandwidth,
        rate_limit=rate_limit,
        on_event=on_event,
    )
    source, destination = aside(
        partial(_opened, source, source_config, destination, config, read_through, format)
    )
    options = aside(partial(with_own_format, options, format, source))
    return run_export(source, destination, ref, options, PlainRunner(concurrency, on_event))


def dry_run(
    source: str | PurePath | Source,
    destination: str | PurePath | Store,
    *,
    ref: str = "main",
    from_ref: str | None = None,
    group: str | None = None,
    include: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    rounds: Phases = (),
    format: str | None = None,  # noqa: A002 - the option's name
    on_existing: OnExisting = "refuse",
    prune: bool = False,
    max_fill_chunks: int = MAX_FILL_CHUNKS,
    read_through: str | None = None,
    config: StoreConfig | None = None,
    source_config: StoreConfig | None = None,
    on_event: OnEvent = ignore_event,
) -> Preview:
    """Return what `export` with the same arguments would do; nothing is written anywhere.

    Raises what `export` would raise before it moves anything.
    """
    on_event = tolerant(on_event)
    options = plan_options(
        format,
        1,
        "sizes",
        on_existing,
        from_ref=from_ref,
        group=group,
        include=include,
        exclude=exclude,
        prune=prune,
        rounds=rounds,
        max_fill_chunks=max_fill_chunks,
        on_event=on_event,
    )
    source, destination = aside(
        partial(_opened, source, source_config, destination, config, read_through, format)
    )
    options = aside(partial(with_own_format, options, format, source))
    runner = PlainRunner(1, on_event)
    snapshot = runner.step(resolve, source, ref)
    job = runner.step(look_at_job, source, destination, snapshot, options)
    return runner.step(preview, source, destination, job)


def _opened(
    source: str | PurePath | Source,
    source_config: StoreConfig | None,
    destination: str | PurePath | Store,
    config: StoreConfig | None,
    way: str | None,
    format_: str | None,
) -> tuple[Source, Store]:
    if isinstance(source, str | PurePath):
        source = open_source(str(source), source_config)
    if isinstance(destination, str | PurePath):
        destination = open_store(str(destination), config)
    return prepared(source, way, format_), destination
