"""Prefect's runner: steps are tasks, units are task runs, and events are what its UI shows."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Self, cast

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.utilities.annotations import quote

from prefect_freight import tasks
from prefect_freight.errors import FreightError
from prefect_freight.events import (
    Ended,
    Event,
    Logger,
    Notice,
    Opened,
    Planned,
    Resolved,
    StepStarted,
    UnitEnded,
    tolerant,
)
from prefect_freight.flows.progress import Following, Progress, unimportant
from prefect_freight.flows.summary import (
    artifact_key,
    plan_text,
    run_tags,
    summary_line,
    summary_markdown,
)
from prefect_freight.model import Job, Outcome, Plan, Unit
from prefect_freight.plan.report import marker_text
from prefect_freight.sources import Source
from prefect_freight.stores import Store

WORKERS = 2
"""Units under way at a time: each has threads of its own, so more would win nothing."""


class PrefectRunner:
    """Runs an export inside a flow run; see `prefect_freight.runner.Runner`."""

    def __init__(self, concurrency: int, log: Logger) -> None:
        self._concurrency, self._log = concurrency, log
        self._under_way: dict[PrefectFuture[Outcome], tuple[Unit, tasks.Attempts]] = {}
        self._ended = Outcome()
        self._tally: tasks.Tally | None = None
        self._progress: Progress | None = None
        self._following: Following | None = None
        self._listener = tolerant(self._show, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._unfollow()

    def step[**P, T](self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the task that has the step's name."""
        task = cast("Callable[..., T]", self._task(step.__name__, args))
        # Quoted: or Prefect would look for futures in all of them, and the manifest of 8,000 arrays
        # takes it 1.6 s.
        quoted = {name: quote(value) for name, value in kwargs.items()}
        return task(*map(quote, args), **quoted)

    def move(
        self, source: Source, destination: Store, job: Job, units: Sequence[Unit]
    ) -> Iterator[Outcome]:
        """Move units as task runs, `WORKERS` at a time where their round allows it."""
        # Documents go one unit after the other: a group must not show what is not there yet.
        abreast = WORKERS if units[0].round.any_order else 1
        workers = min(abreast, self._concurrency, len(units))
        groups = [units] if workers > 1 else [(unit,) for unit in units]
        self._tally = tasks.Tally(destination, job, units)
        for group in groups:
            futures = [self._submit(source, destination, job, unit, workers) for unit in group]
            for future in as_completed(futures):
                yield self._take(future)

    def stop(self, within_s: float | None = None) -> Outcome:
        """End the units under way, and begin none of those that wait for a worker."""
        deadline = None if within_s is None else time.monotonic() + within_s

        def left_s() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        # All are told before any is waited for, or the last would move on meanwhile.
        for _, attempts in self._under_way.values():
            attempts.stop_soon()
        ends = [attempts.stop(left_s()) for _, attempts in self._under_way.values()]
        # Units elsewhere cannot be stopped, and are not asked for either: their store may be what
        # has failed. What was seen of them last is what is known.
        ends.append(self._elsewhere())
        self._under_way.clear()
        return sum(ends, Outcome())

    def tell(self, event: Event) -> None:
        """Show an event in the log, as an artifact, or as tags."""
        self._listener(event)

    def _show(self, event: Event) -> None:
        match event:
            case Resolved(snapshot):
                text = "%s of %s is snapshot %s"
                self._log.info(text, snapshot.ref, snapshot.source, snapshot.id)
            case Opened(job):
                self._opened(job)
            case Planned(job, plan):
                self._log.info("Manifest: %s", plan_text(plan))
                self._planned(job, plan)
            case StepStarted(text):
                self._log.info("%s", text)
            case UnitEnded(total):
                self._ended = total
            case Notice(text):
                self._log.warning("%s", text)
            case Ended():
                self._end(event)
            case _:
                pass  # Prefect says itself which task began and ended

    @staticmethod
    def _task(name: str, args: tuple[Any, ...]) -> Any:
        if name == "finish":
            _, job, *_ = args
            return tasks.finish_of(job)
        return getattr(tasks, name)

    def _submit(
        self, source: Source, destination: Store, job: Job, unit: Unit, workers: int
    ) -> PrefectFuture[Outcome]:
        attempts = tasks.Attempts()
        future = tasks.move_unit.submit(
            source,
            destination,
            job,
            unit,
            threads=self._concurrency // workers,
            open_batches=tasks.OPEN_BATCHES // workers,
            attempts=attempts,
        )
        self._under_way[future] = unit, attempts
        return future

    def _take(self, future: PrefectFuture[Outcome]) -> Outcome:
        """Return the outcome of a task run that has ended, well or not."""
        result: Any = future.result(raise_on_failure=False)
        match result:
            case Outcome() as outcome:
                pass
            case tasks.UnitIncompleteError(outcome=outcome):
                pass
            case BaseException() as error:
                raise error
        # Only now: until its outcome is taken, `stop` must count it.
        del self._under_way[future]
        return outcome

    def _opened(self, job: Job) -> None:
        with unimportant(self._log, "tags"), get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, tags=run_tags(flow_run.tags, job))
        if job.already_whole:
            self._log.info("A whole copy of this snapshot lies at %s already", job.destination)

    def _planned(self, job: Job, plan: Plan) -> None:
        self._unfollow()
        self._ended = Outcome()
        self._progress = Progress(job, plan, self._log)
        self._following = Following(self._progress, self._so_far, self._log)

    def _so_far(self) -> Outcome:
        """Return what all units have come to up to now; from any thread."""
        units = list(self._under_way.copy().values())
        here = [done for _, attempts in units if (done := attempts.so_far) is not None]
        # Where a task runner has processes of its own, none of them is begun here.
        if units and not here and self._tally:
            with suppress(FreightError):  # the next look may be answered
                self._tally.look()
        return sum(here, self._ended) + self._elsewhere()

    def _elsewhere(self) -> Outcome:
        """Return what was recorded of units under way in other processes, when it was looked at."""
        units = list(self._under_way.copy().values())
        if self._tally is None or any(attempts.so_far is not None for _, attempts in units):
            return Outcome()
        return self._tally.of(unit for unit, _ in units)

    def _unfollow(self) -> None:
        if self._following:
            self._following.end()
        self._following = None

    def _end(self, event: Ended) -> None:
        self._unfollow()
        if self._progress:
            self._progress.show(event.outcome, last=True)
        report = event.report
        if report.whole:
            self._log.info("Whole: %s says so", report.marker)
        else:
            # Whoever asked for it finds no error in the log.
            tell = self._log.warning if event.on_request else self._log.error
            tell("Not whole: %s (%s)", event.reason, marker_text(report))
        with unimportant(self._log, "summary artifact"):
            create_markdown_artifact(
                summary_markdown(report, event.outcome, event.reason),
                key=artifact_key("export", report.destination),
                description=summary_line(report),
            )
