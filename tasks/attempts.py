"""What several attempts at one unit came to."""

import threading
from collections.abc import Callable
from dataclasses import replace

from prefect_freight.model import Outcome
from prefect_freight.steps.move_unit import Current


class UnitIncompleteError(Exception):
    """Objects of a unit could not be moved; all the others of it were, and are recorded."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        if not self.outcome.failures:
            return f"stopped when {self.outcome.done:,} objects were done"
        first, more = self.outcome.failures[0], self.outcome.failed - 1
        others = f" and {more:,} more" if more else ""
        return f"could not {first.action} {first.key!r}{others}: {first.message}"

    __repr__ = __str__  # Prefect logs and stores the repr, and a thousand failures are no message

    @property
    def transient(self) -> bool:
        """Trying again may help: some of the failures may be retried, and only they are moved."""
        return self.outcome.transient


class Attempts:
    """The attempts at one unit: they add up, and can be stopped from another thread.

    Prefect passes every attempt of a task run the same arguments, in one process. In another
    process (that of a Dask worker, say) it is a copy, which the flow cannot stop.
    """

    def __init__(self) -> None:
        self.outcome = Outcome()
        """What all attempts up to now came to together."""
        self._stopped = threading.Event()
        self._under_way = threading.Lock()
        self._current: Current | None = None
        self._begun = False

    def __reduce__(self) -> tuple[object, ...]:
        return Attempts, ()

    def run(self, attempt: Callable[[Callable[[], bool]], Outcome]) -> Outcome:
        """Return what all attempts up to this one came to; `attempt` is told when to stop."""
        # Held while objects move: `stop` waits here for the attempt under way to end.
        with self._under_way:
            self._begun = True
            try:
                # What it came to takes the place of what it had come to.
                again = attempt(self._stopped.is_set)
            finally:
                self._current = None
            self.outcome = combine(self.outcome, again)
            return self.outcome

    def watch(self, current: Current) -> None:
        """Take what tells how far the attempt under way is."""
        self._current = current

    @property
    def so_far(self) -> Outcome | None:
        """What all attempts have come to up to now; None if none of them was begun here."""
        if not self._begun:
            return None
        current = self._current
        return combine(self.outcome, current()) if current else self.outcome

    def stop_soon(self) -> None:
        """Have the attempt under way begin no further object; none follows."""
        self._stopped.set()

    def stop(self, within_s: float | None = None) -> Outcome:
        """Return what all attempts came to once nothing moves any more; none follows.

        After `within_s` it returns all the same, without what the attempt under way comes to.
        """
        self.stop_soon()
        if self._under_way.acquire(timeout=-1 if within_s is None else within_s):
            self._under_way.release()
        return self.outcome


def combine(earlier: Outcome, again: Outcome) -> Outcome:
    """Return the outcome of an attempt and the next one, which skips what the first one moved.

    >>> both = combine(Outcome(transferred=3, bytes=30, skipped=1), Outcome(1, 10, skipped=4))
    >>> both.transferred, both.bytes, both.skipped
    (4, 40, 1)
    """
    # What the earlier attempt moved is in the ledger, so the next one skips it.
    done = earlier.transferred + earlier.deleted
    return replace(
        again,  # whose failures are those that are left
        transferred=earlier.transferred + again.transferred,
        bytes=earlier.bytes + again.bytes,
        skipped=max(earlier.skipped, again.skipped - done),
        deleted=earlier.deleted + again.deleted,
    )
