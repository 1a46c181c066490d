"""Prefect's runner: steps are tasks, units are task runs, and events are what its UI shows."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.utilities.annotations import quote

from prefect_freight import tasks
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
from prefect_freight.flows.progress import Progress, unimportant
from prefect_freight.flows.summary import (
    artifact_key,
    plan_text,
    run_tags,
    summary_line,
    summary_markdown,
)
from prefect_freight.model import Job, Outcome, Unit
from prefect_freight.sources import Source
from prefect_freight.stores import Store

WORKERS = 2
"""Units under way at a time: each has threads of its own, so more would win nothing."""


class PrefectRunner:
    """Runs an export inside a flow run; see `prefect_freight.runner.Runner`."""

    def __init__(self, concurrency: int, log: Logger) -> None:
        self._concurrency, self._log = concurrency, log
        self._under_way: dict[PrefectFuture[Outcome], tasks.Attempts] = {}
        self._progress: Progress | None = None
        self._listener = tolerant(self._show, log)

    def step[**P, T](self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the task that has the step's name."""
        task = cast("Callable[..., T]", getattr(tasks, step.__name__))
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
        for attempts in self._under_way.values():
            attempts.stop_soon()
        ends = [attempts.stop(left_s()) for attempts in self._under_way.values()]
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
                self._progress = Progress(job, plan, self._log)
                self._progress.show(Outcome())
            case StepStarted(text):
                self._log.info("%s", text)
            case UnitEnded(total) if self._progress:
                self._progress.show(total)
            case Notice(text):
                self._log.warning("%s", text)
            case Ended():
                self._ended(event)
            case _:
                pass  # Prefect says itself which task began and ended

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
        self._under_way[future] = attempts
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
            client.update_flow_run(flow_run.id, tags=[*flow_run.tags, *run_tags(job)])
        if job.already_whole:
            self._log.info("A whole copy of this snapshot lies at %s already", job.destination)

    def _ended(self, event: Ended) -> None:
        report = event.report
        if report.whole:
            self._log.info("Whole: %s says so", report.marker)
        else:
            self._log.error("Not whole: %s (see %s)", event.reason, report.marker)
        with unimportant(self._log, "summary artifact"):
            create_markdown_artifact(
                summary_markdown(report, event.outcome, event.reason),
                key=artifact_key("export", report.destination),
                description=summary_line(report),
            )
