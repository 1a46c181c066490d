"""How long a lock is good for, as those know it who write while it is held.

Whoever renews it (`Renewals`) reads a clock and asks nothing. Whoever writes for him in another
process (`Watch`) has no such clock in common with him, and looks at the lock itself.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from prefect_freight.control.holder import read_holder
from prefect_freight.errors import FreightError, LockedError, TransientError
from prefect_freight.stores import Store


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a lock lives without renewal, and how often it is renewed and looked at."""

    lease_s: float = 45.0
    """After this long without a renewal, others may take it."""
    renew_s: float = 12.0
    look_s: float = 1.0
    """How often one who waits for it looks, and one who writes for its holder in another process;
    and when a renewal that failed is tried again."""

    @property
    def good_for_s(self) -> float:
        """How long its holder writes after a renewal: what is under way then has time to arrive."""
        return self.lease_s - self.renew_s


class Permit(Protocol):
    """Says whether one may write now."""

    def check(self) -> None:
        """Return if the lock is held; raise `LockedError` if it was lost.

        Raises `TransientError` while that is not known, since it was not renewed for too long.
        """
        ...


def now_s() -> float:
    """Return seconds that never go back; on Linux they pass while the machine sleeps, too."""
    # Elsewhere a machine that slept finds out by its next renewal, and not before its next write.
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Renewals:
    """When a lock was renewed last, and whether it is lost: the permit of who renews it."""

    def __init__(self, lease: Lease, renewed_at: float, clock: Callable[[], float]) -> None:
        self._lease, self._clock = lease, clock
        self._changed = threading.Condition()
        self._renewed_at = renewed_at
        self._failure = ""
        self._wanted = self._ended = False
        self.lost = ""
        """Why it is not ours any more; an empty text while it is."""

    @property
    def fresh(self) -> bool:
        """It was renewed so lately that nobody else can have it."""
        return not self.lost and self._clock() - self._renewed_at < self._lease.good_for_s

    def check(self) -> None:
        """Return if the lock is held; see `Permit`."""
        if self.fresh:
            return
        with self._changed:
            # A process that slept past its lease finds out here, and its next renewal tells which
            # it is. Every thread waits for the same one.
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.lost or self.fresh, self._lease.look_s)
        if self.lost:
            raise LockedError(self.lost)
        if not self.fresh:
            age = self._clock() - self._renewed_at
            raise TransientError(f"{stale_text(age)}{self._failure}")

    def renewed(self, at: float) -> None:
        """Take note of a renewal that was sent at this time."""
        with self._changed:
            # An earlier one may be answered later.
            self._renewed_at, self._failure = max(at, self._renewed_at), ""
            self._changed.notify_all()

    def failed(self, reason: str) -> None:
        """Take note of a renewal that failed."""
        self._failure = f": {reason}"

    def lose(self, reason: str) -> None:
        """Take note that the lock is not ours any more; the first reason counts."""
        with self._changed:
            # Later reasons follow from the first: who removed it is no news once another has taken
            # it.
            self.lost = self.lost or reason
            self._changed.notify_all()

    def end(self) -> None:
        """Have `wait_until_due` return False from now on."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_until_due(self) -> bool:
        """Wait until the next renewal is due; return False if there is to be none."""
        with self._changed:
            if self._failure:  # not for who asks: there are many of them, and it failed just now
                self._changed.wait_for(lambda: self._ended, self._lease.look_s)
            else:
                self._changed.wait_for(lambda: self._ended or self._wanted, self._lease.renew_s)
            self._wanted = False
            return not self._ended and not self.lost


class Watch:
    """A permit in another process than the holder's: it looks at the lock every `look_s`.

    So what is written after somebody else has taken the lock is what was begun within `look_s`.
    A holder that does not renew any more, as he was killed, ends it as it ends his lock.
    """

    def __init__(
        self, destination: Store, owner: str, lease: Lease, clock: Callable[[], float] = now_s
    ) -> None:
        self._destination, self._owner, self._lease = destination, owner, lease
        self._clock = clock
        self._mutex = threading.Lock()
        self._looked_at = self._seen_at = self._renewed_after = float("-inf")
        self._renewals: int | None = None
        self._lost, self._failure = "", ""

    def check(self) -> None:
        """Return if the lock is held; see `Permit`."""
        with self._mutex:  # one looks, and the others wait for what it sees
            if not self._lost and self._clock() - self._looked_at >= self._lease.look_s:
                self._look()
            if self._lost:
                raise LockedError(self._lost)
            if self._failure:
                raise TransientError(self._failure)

    def _look(self) -> None:
        # Before the look and not after it: what it sees may be as old as this.
        self._looked_at = self._clock()
        try:
            holder = read_holder(self._destination)
        except FreightError as error:
            self._failure = f"could not see who holds the lock, so nothing is written: {error}"
            return
        # Nobody's lock is not ours either: without one, another export may begin at any moment.
        if holder is None or holder.owner != self._owner:
            self._lost = taken_over(self._destination, holder)
            return
        if self._renewals is None:
            self._renewed_after = self._looked_at
        elif holder.renewals != self._renewals:
            # It was renewed between two looks; the earlier one is what is certain.
            self._renewed_after = self._seen_at
        self._renewals, self._seen_at = holder.renewals, self._looked_at
        age = self._looked_at - self._renewed_after
        self._failure = stale_text(age) if age >= self._lease.good_for_s else ""


def stale_text(age_s: float) -> str:
    """Return the text of a lock that somebody else may have by now."""
    return f"the lock was not renewed for {age_s:.0f} s, so nothing is written until it is"


def taken_over(destination: Store, holder: object) -> str:
    """Return the text of who has a lock now that was somebody else's."""
    whose = f"was taken over by {holder}" if holder else "was removed"
    return f"the lock at {destination.url} {whose}, so this export writes nothing more"
