"""How far an export is: an artifact that moves, and a line in the log now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from prefect_freight.events import Logger
from prefect_freight.flows.summary import artifact_key, progress_percent, progress_text
from prefect_freight.model import Job, Outcome, Plan

ARTIFACT_EVERY_S = 1.0
LINE_EVERY_S = 10.0


@contextmanager
def unimportant(log: Logger, what: str) -> Iterator[None]:
    """Log a failure of what only shows an export: it is no reason to stop one."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever Prefect's server or client says
        log.warning("Prefect did not take the %s: %s", what, type(error).__name__)


class Progress:
    """Shows how much of a plan is done."""

    def __init__(
        self, job: Job, plan: Plan, log: Logger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan, self._log, self._clock = plan, log, clock
        self._began = self._artifact_at = self._line_at = clock()
        self._artifact: UUID | None = None
        with unimportant(log, "progress artifact"):
            description = f"Export of snapshot {job.snapshot.id}"
            key = artifact_key("progress", job.destination)
            created = create_progress_artifact(0.0, key=key, description=description)
            # It would be a coroutine in an asynchronous flow; this one is not.
            self._artifact = cast("UUID", created)

    def show(self, outcome: Outcome) -> None:
        """Show what was done so far, unless it was shown just now; the end of it always."""
        # At most one request a second, however fast units end: the server serves other flows too.
        now, done = self._clock(), outcome.done
        last = done >= self._plan.objects
        # Made each time, though shown seldom: it is cheap beside what it tells of.
        text = progress_text(done, self._plan, outcome.bytes, now - self._began)
        if last or now - self._line_at >= LINE_EVERY_S:
            self._line_at = now
            self._log.info(text)
        if self._artifact and (last or now - self._artifact_at >= ARTIFACT_EVERY_S):
            self._artifact_at = now
            with unimportant(self._log, "progress"):
                percent = progress_percent(done, self._plan)
                update_progress_artifact(self._artifact, percent, description=text)
