"""How far an export is: an artifact that moves, and a line in the log now and then."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from prefect_freight.events import Logger
from prefect_freight.flows.summary import artifact_key, progress_percent, progress_text
from prefect_freight.model import Job, Outcome, Plan
from prefect_freight.threads import begin

LOOK_EVERY_S = 1.8
"""No more often: an update of the artifact takes Prefect 18 ms, and leaves an event there."""
LINE_EVERY_S = 10.0
LOOKING_SHARE = 0.05
"""Of the time, at most: across processes a look is a listing of the ledger."""
LEAVE_WITHIN_S = 1.0


@contextmanager
def unimportant(log: Logger, what: str) -> Iterator[None]:
    """Log a failure of what only shows an export: it is no reason to stop one."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever Prefect's server or client says
        log.warning("Prefect did not take the %s: %s", what, type(error).__name__)


class Progress:
    """Shows how much of a plan is done: artifact and line."""

    def __init__(
        self, job: Job, plan: Plan, log: Logger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan, self._log, self._clock = plan, log, clock
        self._began = self._line_at = clock()
        self._done = 0
        self._artifact: UUID | None = None
        with unimportant(log, "progress artifact"):
            description = f"Export of snapshot {job.snapshot.id}"
            key = artifact_key("progress", job.destination)
            created = create_progress_artifact(0.0, key=key, description=description)
            # It would be a coroutine in an asynchronous flow; this one is not.
            self._artifact = cast("UUID", created)

    def show(self, outcome: Outcome, *, last: bool = False) -> None:
        """Show what is done; the `last` of it whatever was shown before."""
        # A unit that ends is for a moment neither under way nor counted as ended.
        if outcome.done < self._done and not last:
            return
        now, moved = self._clock(), outcome.done > self._done
        text = progress_text(outcome, self._plan, now - self._began, ended=last)
        if last or now - self._line_at >= LINE_EVERY_S:
            self._line_at = now
            self._log.info(text)
        if self._artifact and (last or moved):
            with unimportant(self._log, "progress"):
                percent = progress_percent(outcome.done, self._plan)
                update_progress_artifact(self._artifact, percent, description=text)
        self._done = outcome.done


class Following:
    """Shows progress while units move, in a thread of its own."""

    def __init__(self, progress: Progress, so_far: Callable[[], Outcome], log: Logger) -> None:
        self._progress, self._so_far, self._log = progress, so_far, log
        self._ended = threading.Event()
        self._over = begin(self._follow, "freight-progress")

    def end(self) -> None:
        """Show nothing more."""
        self._ended.set()
        with suppress(TimeoutError):  # a request to Prefect's server that hangs is left alone
            self._over.result(LEAVE_WITHIN_S)

    def _follow(self) -> None:
        pause_s = LOOK_EVERY_S
        while not self._ended.wait(pause_s):
            began = time.monotonic()
            with unimportant(self._log, "progress"):
                self._progress.show(self._so_far())
            took_s = time.monotonic() - began
            pause_s = max(LOOK_EVERY_S - took_s, took_s / LOOKING_SHARE)
