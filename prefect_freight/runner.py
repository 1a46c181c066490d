"""How the steps of an export are run: `prefect_freight.exporting` says in which order.

A runner is what differs between a loop in this process and a flow of Prefect's
(`prefect_freight.flows.runner`), and no more than that: how a step is called, how units are moved,
who is told, and how all that moves is stopped. No runner decides when an export has failed, what is
tried once more, or who holds the lock.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from inspect import signature
from typing import Protocol

from prefect_freight.events import Event, OnEvent, StepEnded, StepStarted, ignore_event, tolerant
from prefect_freight.model import Job, Outcome, Unit
from prefect_freight.sources import Source
from prefect_freight.steps.move_unit import move_unit
from prefect_freight.stores import Store
from prefect_freight.threads import aside, begin

STEP_TEXT = {
    "resolve": "Resolving {ref}",
    "look_at_job": "Checking {destination.url}",
    "write_manifest": "Generating the manifest of snapshot {job.snapshot.id}",
    "compute_diff": "Computing what differs",
    "verify_copy": "Verifying the copy",
    "finish": "Writing the marker",
    "preview": "Comparing",
}
"""What is told of a step, from its arguments; of one that is not here (`open_job`), nothing."""


class Runner(Protocol):
    """Runs the steps of one export, of which it is told one after the other."""

    def step[**P, T](self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the step returns, and raise what it raises."""
        ...

    def move(
        self, source: Source, destination: Store, job: Job, units: Sequence[Unit]
    ) -> Iterator[Outcome]:
        """Yield each unit's outcome as it ends; units of one phase, which may move side by side.

        Units that are moved one after the other are begun when the next outcome is asked for: the
        caller may look at its lock in between, and may stop asking.
        """
        ...

    def stop(self, within_s: float | None = None) -> Outcome:
        """Return what all units that had not yielded came to, once nothing moves any more.

        None that was not begun is begun afterwards. After `within_s` it returns all the same: what
        hangs in a request is left to it, and is not counted. The runner itself lives on: a healed
        export moves units again.
        """
        ...

    def tell(self, event: Event) -> None:
        """Show an event; threads may tell at the same time.

        Raises nothing but what interrupts: what becomes of an event stops no export.
        """
        ...


class PlainRunner:
    """Runs an export in this process, a unit at a time.

    The thread that it is called in asks no store for anything: it may be interrupted at any time.
    """

    def __init__(self, threads: int, on_event: OnEvent = ignore_event) -> None:
        self._threads, self._on_event = threads, tolerant(on_event)
        self._stopped = threading.Event()
        self._unit: Future[Outcome] | None = None

    def step[**P, T](self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the step, and tell when it begins and ends."""
        template = STEP_TEXT.get(step.__name__)
        if template is None:
            return aside(partial(step, *args, **kwargs))
        text = template.format(**signature(step).bind(*args, **kwargs).arguments)
        self.tell(StepStarted(text))
        result = aside(partial(step, *args, **kwargs))
        self.tell(StepEnded(text))
        return result

    def move(
        self, source: Source, destination: Store, job: Job, units: Sequence[Unit]
    ) -> Iterator[Outcome]:
        """Move one unit after the other.

        In a thread of its own, though nothing else is done meanwhile: an interrupt hits the main
        thread, which only waits here. What the unit had moved by then is not lost with it.
        """
        self._stopped = threading.Event()
        for unit in units:
            self._unit = self._submit(source, destination, job, unit)
            outcome = self._unit.result()
            self._unit = None
            yield outcome

    def stop(self, within_s: float | None = None) -> Outcome:
        """End the unit under way, if there is one."""
        self._stopped.set()
        unit, self._unit = self._unit, None
        try:
            # Asking for its error waits for its end: nothing may move once the caller goes on.
            if unit is None or unit.exception(within_s) is not None:
                return Outcome()
        except TimeoutError:
            return Outcome()
        return unit.result()

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        self._on_event(event)

    def _submit(self, source: Source, destination: Store, job: Job, unit: Unit) -> Future[Outcome]:
        move = partial(
            move_unit,
            source,
            destination,
            job,
            unit,
            threads=self._threads,
            on_event=self.tell,
            stopped=self._stopped.is_set,
        )
        return begin(move, "freight-unit")
