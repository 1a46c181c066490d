"""How long a store that does not answer is waited for: the same clock for all who use it.

An object that fails while others pass is a bad object, and fails after a few attempts. Where
nothing passes any more the store is down, and is waited for: one of all who wait tries now and
then, and as soon as one gets an answer all go on. Any answer will do, a refusal too. Where nothing
else is under way, something that ought to pass is tried (a `Probe`), or the last object, if it is a
bad one, would be waited for as if the store were down.

Only the time since the last answer counts. So an outage costs `retry_for` at most, however many
objects met it, and who comes after that is told at once.
"""

import random as _random
import threading
import time
from collections.abc import Callable
from math import ceil

from prefect_freight.errors import (
    ExhaustedError,
    FreightError,
    TransientError,
    UnavailableError,
    as_sentence,
)
from prefect_freight.retry import ATTEMPTS, pause_before

DOWN_AFTER_S = 6.0
"""Without an answer for so long a store is down, however few attempts that were."""
LONGEST_PAUSE_S = 10.0
"""Between two tries of all who wait together."""
MAX_BAD = 10_000

type Tell = Callable[[str], None]
type Probe = Callable[[], object]
"""Asks the store for something that changes nothing and has passed before."""


def tell_nobody(text: str) -> None:
    """Take a line and do nothing."""


def allow() -> None:
    """Forbid nothing."""


class _Streak:
    """The failures of one operation, one after the other."""

    def __init__(self, name: str, probe: Probe | None, began_ended: bool) -> None:
        self.name, self.probe, self.began_ended = name, probe, began_ended
        self.waited = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the failures: there was an outage, which says nothing of this operation."""
        self.failures, self.failed_at, self.passed_between = 0, 0.0, 0
        self.others_pass = self.probed = False

    def count(self, now: float, down_since: float | None) -> None:
        """Count a failure; before it, nothing had been answered since `down_since`."""
        answered = down_since is None or down_since > self.failed_at
        self.others_pass = self.failures > 0 and answered
        self.passed_between += self.others_pass
        self.failures, self.failed_at = self.failures + 1, now

    @property
    def is_long(self) -> bool:
        """Enough to judge by."""
        return self.failures >= ATTEMPTS

    @property
    def is_bad(self) -> bool:
        """Others passed meanwhile, and not just once, as when an outage begins or ends."""
        return self.is_long and (self.passed_between >= ATTEMPTS // 2 or self.probed)


class Patience:
    """What is known of whether a store answers, and how long it is waited for.

    `retry_for` is in seconds; with 0 nothing is waited for beyond the immediate attempts. Each wait
    is told by a line. In another process it begins anew, and tells nobody.
    """

    def __init__(
        self,
        url: str,
        retry_for: float,
        tell: Tell = tell_nobody,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._url, self._retry_for, self._tell = url, retry_for, tell
        self._clock, self._sleep, self._random = clock, sleep, random
        self._changed = threading.Condition()
        self._answers = 0
        self._down_since: float | None = None
        self._tries, self._next_try_at = 0, 0.0
        self._told = self._ended = False
        self._bad: set[str] = set()
        self._allowed: Callable[[], None] = allow
        self._forbidden: FreightError | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return Patience, (self._url, self._retry_for)

    def ask_after_waits(self, allowed: Callable[[], None]) -> None:
        """Call `allowed` before anything is tried again that had to wait; what it raises is final.

        Meanwhile another export may have taken the lock over, and nothing of ours may be written
        into its copy.
        """
        self._allowed = allowed

    def end(self) -> None:
        """Wait for nothing any more; those who wait now fail at once."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def forbid(self, reason: FreightError) -> None:
        """Have all that is begun or waits from now on fail, for a reason."""
        with self._changed:
            self._forbidden = reason
            self._changed.notify_all()

    def retrying[T](
        self, operation: Callable[[], T], name: str = "", probe: Probe | None = None
    ) -> T:
        """Return what `operation` returns, called again after each `TransientError`.

        Raises `ExhaustedError` when it has failed `ATTEMPTS` times while the store answers others,
        or did so before (`name` says what it is), and when all waiting is ended; `UnavailableError`
        when the store has not answered for `retry_for`. Other errors at once.
        """
        # Each operation has a streak of its own, and all share the clock of the store.
        streak = _Streak(name, probe, self._ended)
        while True:
            if self._forbidden:
                raise self._forbidden
            try:
                result = operation()
            except ExhaustedError:
                raise
            except TransientError as error:
                failed = error
            except FreightError:
                self._answered()
                raise
            else:
                self._answered()
                self._bad.discard(name)
                return result
            self._rest_or_raise(streak, failed)

    def without_waiting[T](self, operation: Callable[[], T]) -> T:
        """Call it once; where all waiting has ended in an outage, its error is final."""
        try:
            return operation()
        except TransientError as error:
            if self._ended and self._told:
                raise ExhaustedError(str(error)) from error
            raise

    def _rest_or_raise(self, streak: _Streak, error: TransientError) -> None:
        """Return when the operation that has failed is to be called again."""
        now = self._failed(streak)
        if self._ended and (not streak.began_ended or self._told):
            raise ExhaustedError(str(error)) from error
        if self._is_over(now):
            raise self._unavailable(error) from error
        if streak.is_long and self._is_bad(streak):
            raise ExhaustedError(str(error)) from error
        looks_down = self._is_down(now) or (streak.is_long and not streak.others_pass)
        if not looks_down or self._passes_a_probe(streak):
            self._rest(pause_before(streak.failures + 1, self._random))
            return
        self._wait(error, tell=streak.waited)
        while not self._is_allowed():
            self._wait(error, tell=True)
        streak.begin_anew()
        streak.waited = True

    def _failed(self, streak: _Streak) -> float:
        with self._changed:
            now = self._clock()
            streak.count(now, self._down_since)
            if self._down_since is None:
                self._down_since = now
            return now

    def _answered(self) -> None:
        if self._down_since is None:  # as a rule, and cheap
            return
        with self._changed:
            if self._down_since is None:
                return
            told, down_s = self._told, self._clock() - self._down_since
            self._down_since, self._tries, self._told = None, 0, False
            self._answers += 1
            self._changed.notify_all()
        if told:
            self._tell(f"{self._url} answers again, after {down_s:.0f} s")

    def _is_down(self, now: float) -> bool:
        """Return whether nothing was answered for so long that it is no matter of one object."""
        since = self._down_since
        return self._retry_for > 0 and since is not None and now - since >= DOWN_AFTER_S

    def _is_over(self, now: float) -> bool:
        since = self._down_since
        return self._told and since is not None and now - since >= self._retry_for

    def _is_bad(self, streak: _Streak) -> bool:
        """Return whether what has failed so often is no sign of an outage."""
        with self._changed:
            if streak.name and streak.is_bad and len(self._bad) < MAX_BAD:
                # Remembered, so that its next failure is not waited for as an outage.
                self._bad.add(streak.name)
            return streak.is_bad or streak.name in self._bad or not self._retry_for

    def _passes_a_probe(self, streak: _Streak) -> bool:
        """Return whether the store answers something else, asked now."""
        if streak.probe is None or (self._told and not streak.waited):
            return False  # it is known to be down, and one who tries now and then is enough
        try:
            streak.probe()
        except TransientError:
            return False
        except FreightError:
            pass  # an answer all the same
        self._answered()
        streak.probed = True
        return True

    def _wait(self, error: FreightError, *, tell: bool) -> None:
        """Return when it is this one's turn to try, or when somebody was answered."""
        with self._changed:
            if self._down_since is None:
                return  # somebody was answered just now
            since, answers = self._down_since, self._answers
            # Of all who meet the outage one tells of it; the others only wait.
            first, self._told = not self._told, True
            if first:
                self._next_try_at = self._clock() + self._pause()
            left = since + self._retry_for - self._clock()
        # Only of whoever has tried, so that a try that failed is one line, however many wait.
        if left > 0 and (first or tell):
            wait = f"Waiting for {self._url} to answer, for up to {ceil(left):,} s more"
            self._tell(f"{as_sentence(str(error))} {wait}")
        with self._changed:
            while self._answers == answers:
                now = self._clock()
                if self._forbidden:
                    raise self._forbidden
                if self._ended:
                    raise ExhaustedError(str(error)) from error
                if now - since >= self._retry_for:
                    raise self._unavailable(error) from error
                if now >= self._next_try_at:
                    self._next_try_at = now + self._pause()
                    return
                self._sleep_s(min(self._next_try_at, since + self._retry_for) - now)

    def _pause(self) -> float:
        self._tries += 1
        return min(LONGEST_PAUSE_S, 2.0 ** min(self._tries - 1, 10)) * (0.5 + self._random() / 2)

    def _rest(self, seconds: float) -> None:
        with self._changed:
            until = self._clock() + seconds
            # Others' answers wake it too, and are no reason to hurry.
            while not self._ended and (left := until - self._clock()) > 0:
                self._sleep_s(left)

    def _sleep_s(self, seconds: float) -> None:
        if self._sleep is not None:
            self._sleep(seconds)
        else:
            self._changed.wait(seconds)

    def _is_allowed(self) -> bool:
        """Return whether to go on; False if that cannot be known, since there is no answer yet."""
        try:
            self._allowed()
        except TransientError:
            return False
        except FreightError as error:
            self.forbid(error)
            raise
        return True

    def _unavailable(self, error: FreightError) -> UnavailableError:
        return UnavailableError(
            f"{as_sentence(str(error))} {self._url} was waited for "
            f"{self._retry_for:g} s: run the same command again when it "
            "answers, or with a larger --retry-for"
        )
