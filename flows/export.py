"""The export of a repository as a flow: the steps of `prefect_freight.exporting`, as tasks."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture, as_completed
from prefect.logging import get_logger
from prefect.runtime import flow_run
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import BeforeValidator, Field

from prefect_freight import tasks
from prefect_freight.blocks import IcechunkRepository, ObjectStore
from prefect_freight.config import StoreConfig
from prefect_freight.control.lock import Lock
from prefect_freight.errors import FreightError, IncompleteError, InputError, UnsoundError
from prefect_freight.events import Event, Notice
from prefect_freight.exporting import (
    MAX_CONCURRENCY,
    ROUND_TEXT,
    checked,
    fail,
    hold_lock,
    plan_options,
    report_finished,
    require_whole,
    settle,
)
from prefect_freight.flows.opening import open_given_source, open_given_store, place_of
from prefect_freight.flows.progress import Logger, Progress, unimportant
from prefect_freight.flows.summary import (
    artifact_key,
    plan_text,
    run_tags,
    short_name,
    summary_line,
    summary_markdown,
)
from prefect_freight.model import (
    ExportReport,
    Format,
    Job,
    OnExisting,
    Outcome,
    Plan,
    Round,
    Unit,
    VerifyLevel,
)
from prefect_freight.sources import Source
from prefect_freight.steps.move_unit import GIVE_UP_AFTER, OPEN_BATCHES
from prefect_freight.stores import Store

WORKERS = 2
"""Units under way at a time: each has threads of its own, so more would win nothing."""
RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=WORKERS)
SIDE_BY_SIDE = (Round.CHUNKS, Round.DELETES)
"""Rounds whose units may be moved in any order."""
STARTUP_S = 60
"""How long the embedded server may take: with a fresh home on a busy machine, over 20 s."""


def _newer_name(format_: Any) -> Any:
    if format_ != "zarr3alpha":
        return format_
    get_logger("freight").warning("format 'zarr3alpha' is called 'zarr3' now")
    return Format.ZARR3.value


def _run_name() -> str:
    given = flow_run.parameters
    source, destination = (place_of(given[name]) for name in ("source", "destination"))
    return f"{short_name(source)} {given.get('ref', 'main')} → {short_name(destination)}"


@flow(
    name="export-repo",
    flow_run_name=_run_name,
    task_runner=RUNNER,
)
def export_repo(
    source: IcechunkRepository | str,
    destination: ObjectStore | str,
    ref: str = "main",
    from_ref: str | None = None,
    format: Annotated[Literal["zarr2", "zarr3"], BeforeValidator(_newer_name)] = "zarr2",  # noqa: A002
    concurrency: Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)] = 64,
    verify: VerifyLevel = "sizes",
    on_existing: OnExisting = "refuse",
    settle_s: Annotated[float, Field(ge=0)] = 2.0,
) -> ExportReport:
    """Make the destination a plain copy of a snapshot of an Icechunk repository.

    At the end an object `EXPORT_<snapshot>_SUCCESS` at the destination's root says that the copy is
    whole. An export that fails leaves `EXPORT_<snapshot>_FAILURE` there, with a line for each
    operation that failed; run again, it moves only what is missing.

    Args:
        source: The repository: a saved Icechunk Repository block, a path, s3://bucket/prefix, or
            block:icechunk-repository/NAME.
        destination: Where the copy goes: a saved Object Store block, a path, s3://bucket/prefix,
            any fsspec URL, or block:object-store/NAME.
        ref: Branch, tag or snapshot id. A branch is exported as it is when the run starts.
        from_ref: Move only the difference to the copy of this ref, which lies there; last is
            whichever was exported there last, or nothing. Empty moves everything.
        format: What the copy is: a Zarr 2 or a Zarr 3 store.
        concurrency: How many objects move at the same time, from 1 to 256.
        verify: How the copy is compared with the snapshot before it is marked as whole: none, sizes
            (of what is listed), checksums (of contents too), or values (both are decoded).
        on_existing: What to do where the destination holds anything that is not ours: refuse, or
            merge, which keeps it and writes beside it.
        settle_s: Seconds to wait before anything goes that a reader may have just opened.
    """
    log = get_run_logger()
    options = plan_options(
        format, concurrency, verify, on_existing, from_ref=from_ref, settle_s=settle_s
    )
    opened, store = open_given_source(source), checked(open_given_store(destination), options)
    snapshot = tasks.resolve(opened, ref)
    log.info("%s of %s is snapshot %s", ref, opened.url, snapshot.id)
    job = tasks.look_at_job(opened, store, snapshot, options)
    _tag_run(job, log)
    if job.finished:
        return _finished(store, job, log)
    with hold_lock(store, lambda event: _log_event(event, log)) as lock:
        # Looked at again: another export may have ended between the look and the lock.
        job = tasks.open_job(opened, store, snapshot, options)
        if job.finished:
            return _finished(store, job, log)
        try:
            return _Export(opened, store, job, lock, concurrency, log).run()
        except UnsoundError:
            log.warning("All of it is copied anew: what earlier runs recorded is not there")
            job = tasks.open_job(opened, store, snapshot, options)
            return _Export(opened, store, job, lock, concurrency, log).run()


def run_export_flow(
    source: str,
    destination: str,
    *,
    config: StoreConfig | None = None,
    source_config: StoreConfig | None = None,
    **options: Any,
) -> ExportReport:
    """Run `export_repo` in this process, with credentials that Prefect's server never sees.

    Where no server is configured, Prefect's embedded one starts, and gets the time that it needs.
    Raises what `prefect_freight.exporting.export` raises.
    """
    given_source = (
        IcechunkRepository.from_config(source, source_config) if source_config else source
    )
    given_destination = ObjectStore.from_config(destination, config) if config else destination
    with temporary_settings(
        set_defaults={PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: STARTUP_S}
    ):
        report: ExportReport = export_repo(given_source, given_destination, **options)
        return report


class _Export:
    """An opened export, whose steps run as tasks; `prefect_freight.exporting` runs the same."""

    def __init__(
        self,
        source: Source,
        destination: Store,
        job: Job,
        lock: Lock,
        concurrency: int,
        log: Logger,
    ) -> None:
        self._source, self._destination, self._job = source, destination, job
        self._lock, self._concurrency, self._log = lock, concurrency, log
        self._under_way: dict[PrefectFuture[Outcome], tasks.Attempts] = {}
        self._outcome = Outcome()
        self._plan: Plan | None = None

    def run(self) -> ExportReport:
        try:
            report = self._steps()
        except InputError:
            raise
        except BaseException as error:
            # A cancelled run too (TerminationSignal): the destination must say so, and nothing may
            # move any more once another export gets the lock.
            self._stop_units()
            report = fail(self._destination, self._job, self._plan, self._outcome, error)
            reason = str(error) or type(error).__name__
            self._log.error("Not whole: %s (see %s)", reason, report.marker)
            _summarise(report, self._outcome, self._log, reason)
            if isinstance(error, FreightError) and not isinstance(error, UnsoundError):
                raise IncompleteError(str(error), report) from error
            raise
        self._log.info("Whole: %s says so", report.marker)
        _summarise(report, self._outcome, self._log)
        return report

    def _steps(self) -> ExportReport:
        plan = self._plan = tasks.write_manifest(self._source, self._destination, self._job)
        self._log.info("Manifest: %s", plan_text(plan))
        progress = Progress(self._job, plan, self._log)
        for round_, text in ROUND_TEXT.items():
            if plan.of(round_):
                self._log.info("%s", text)
                for units in plan.phases(round_):
                    self._move(units, progress, side_by_side=round_ in SIDE_BY_SIDE)
                    require_whole(self._outcome)
                settle(self._job, plan, round_)
        progress.show(self._outcome, last=True)
        differences = tasks.verify_copy(self._source, self._destination, self._job)
        self._lock.check()
        return tasks.finish(self._destination, self._job, plan, self._outcome, differences)

    def _move(self, units: tuple[Unit, ...], progress: Progress, *, side_by_side: bool) -> None:
        workers = min(WORKERS, self._concurrency, len(units)) if side_by_side else 1
        together = [units] if workers > 1 else [(unit,) for unit in units]
        for some in together:
            for future in as_completed([self._submit(unit, workers) for unit in some]):
                self._take(future)
                self._lock.check()
                progress.show(self._outcome)

    def _submit(self, unit: Unit, workers: int) -> PrefectFuture[Outcome]:
        attempts = tasks.Attempts()
        future = tasks.move_unit.submit(
            self._source,
            self._destination,
            self._job,
            unit,
            threads=self._concurrency // workers,
            open_batches=OPEN_BATCHES // workers,
            attempts=attempts,
        )
        self._under_way[future] = attempts
        return future

    def _take(self, future: PrefectFuture[Outcome]) -> None:
        """Add a unit's outcome; what failed stops no other unit, unless nothing works any more."""
        result = future.result(raise_on_failure=False)
        match result:
            case Outcome() as outcome:
                del self._under_way[future]
                self._outcome += outcome
            case tasks.UnitIncompleteError(outcome=outcome):
                del self._under_way[future]
                self._outcome += outcome
                if len(outcome.failures) >= GIVE_UP_AFTER and not outcome.transferred:
                    require_whole(self._outcome)
            case BaseException() as error:
                raise error

    def _stop_units(self) -> None:
        for attempts in self._under_way.values():
            outcome = attempts.stop()
            # What was not begun has not failed.
            failures = tuple(f for f in outcome.failures if f.kind != IncompleteError.kind)
            self._outcome += replace(outcome, failures=failures)
        self._under_way.clear()


def _finished(store: Store, job: Job, log: Logger) -> ExportReport:
    log.info("A whole copy of this snapshot lies at %s already", store.url)
    report = report_finished(store, job)
    _summarise(report, Outcome(), log)
    return report


def _log_event(event: Event, log: Logger) -> None:
    if isinstance(event, Notice):
        log.warning("%s", event.text)


def _tag_run(job: Job, log: Logger) -> None:
    with unimportant(log, "tags"), get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=[*flow_run.tags, *run_tags(job)])


def _summarise(report: ExportReport, outcome: Outcome, log: Logger, reason: str = "") -> None:
    with unimportant(log, "summary artifact"):
        create_markdown_artifact(
            summary_markdown(report, outcome, reason),
            key=artifact_key("export", report.destination),
            description=summary_line(report),
        )
