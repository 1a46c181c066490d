"""The lock: one export at a destination at a time.

`.freight/lock` says who holds it. It is put only where there is none (a conditional put, a hard
link on a local disk), and renewed while the export runs. A holder that is seen to be dead (same
host, no such process) loses it at once, any other when it was not renewed for `LEASE_S`, by the
clock of the one who waits: clocks of two machines are never compared.

Taking over needs no conditional replacing, which not every store has. Who takes the lock of a dead
holder first takes another lock, whose name has the dead holder's unique id in it; so of several who
see the same dead holder, one gets it.

A store without conditional puts (most of fsspec's) leaves a gap of one request in which two may
both find no lock.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prefect_freight.control.holder import HELD_HERE, LOCK, Holder, read_holder, to_json
from prefect_freight.errors import FreightError, LockedError
from prefect_freight.events import Notice, OnEvent, ignore_event
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

LEASE_S = 45.0
RENEW_S = 12.0
LOOK_S = 1.0


class Lock:
    """A lock that is held, and renewed by a thread of its own."""

    def __init__(
        self, destination: Store, holder: Holder, keys: list[str], renew_s: float = RENEW_S
    ) -> None:
        self._destination, self._holder, self._keys = destination, holder, keys
        self._renew_s = renew_s
        self._ended = threading.Event()
        self._lost = ""
        self._thread = threading.Thread(target=self._renew, name="freight-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `LockedError` if somebody took the lock over meanwhile."""
        if reason := self.lost():
            raise LockedError(reason)

    def lost(self) -> str:
        """Return why the lock is not ours any more; an empty text while it is.

        It looks. The renewal does so only every `RENEW_S`, and a marker that is put within that
        time would vouch for what another export is changing already.
        """
        # A store that does not answer proves nothing: the renewal says when that lasted too long.
        with suppress(FreightError):
            self._is_ours()
        return self._lost

    def release(self) -> None:
        """End the renewal, and give the lock up if it is still ours.

        Raises nothing: what could not be deleted must not hide how the export ended, and whoever
        comes next sees that nobody holds it any more.
        """
        self._ended.set()
        self._thread.join()
        if not self._lost:
            with suppress(FreightError):
                retrying(lambda: self._destination.delete(self._keys))

    def _is_ours(self) -> bool:
        holder = read_holder(self._destination, LOCK)
        if holder is None or holder.owner != self._holder.owner:
            self._lost = f"the lock at {self._destination.url} was taken over by {holder}"
        return not self._lost

    def _renew(self) -> None:
        renewals, renewed_at = 0, time.monotonic()
        while not self._ended.wait(self._renew_s):
            renewals += 1
            try:
                if not self._is_ours():
                    return
                data = to_json(self._holder, renewals)
                self._destination.write(LOCK, data)
                renewed_at = time.monotonic()
            except FreightError as error:
                if time.monotonic() - renewed_at > LEASE_S - RENEW_S:
                    self._lost = (
                        f"the lock at {self._destination.url} could not be renewed: {error}"
                    )
                    return


@contextmanager
def hold_lock(
    destination: Store,
    on_event: OnEvent = ignore_event,
    *,
    renew_s: float = RENEW_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Lock]:
    """Hold the destination's lock while the body runs.

    Waits for the lease of a holder that may be dead to end, and says so in a notice. Raises
    `LockedError`, which says who holds the lock since when, if the holder lives.
    """
    holder = Holder.this()
    HELD_HERE.add(holder.owner)
    try:
        keys = _Waiting(destination, holder, on_event, sleep, clock).acquire(LOCK)
        lock = Lock(destination, holder, keys, renew_s)
        try:
            yield lock
        finally:
            lock.release()
    finally:
        HELD_HERE.discard(holder.owner)


class _Waiting:
    """One who wants the lock."""

    def __init__(
        self,
        destination: Store,
        holder: Holder,
        on_event: OnEvent,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._destination, self._holder, self._on_event = destination, holder, on_event
        self._sleep, self._clock = sleep, clock

    def acquire(self, key: str) -> list[str]:
        """Take a lock; return the keys to delete at its release, the lock's own last."""
        mine = to_json(self._holder, 0)
        while True:
            if retrying(lambda: self._destination.write_new(key, mine)):
                return [key]
            there = read_holder(self._destination, key)
            if there is not None and there.owner == self._holder.owner:
                return [key]  # a put whose answer was lost
            if there is not None:
                self._wait_for_end(key, there)
            dead = there.owner if there else "unreadable"
            # Of this lock alone, or the names would grow with each who dies while taking over.
            more = self.acquire(f"{LOCK}.{dead}")
            if read_holder(self._destination, key) == there:
                retrying(lambda: self._destination.write(key, mine))
                return [*more, key]
            retrying(lambda more=more: self._destination.delete(more))  # type: ignore[misc]

    def _wait_for_end(self, key: str, there: Holder) -> None:
        """Return when the holder's lease has ended; raise as soon as it is seen to live."""
        if there.is_dead:
            self._on_event(Notice(f"taking over the lock of {there}, which is gone"))
            return
        if not there.is_here:
            self._on_event(
                Notice(f"waiting up to {LEASE_S:.0f} s for {there}, who may be gone, to hold on")
            )
            if not self._is_renewed(key, there):
                return
        raise LockedError(
            f"expected no other export at {self._destination.url}, found one by {there}. "
            "Wait until it has ended"
        )

    def _is_renewed(self, key: str, there: Holder) -> bool:
        began = self._clock()
        while self._clock() - began < LEASE_S:
            self._sleep(LOOK_S)
            now = read_holder(self._destination, key)
            if now is None or now.owner != there.owner:
                return False
            if now.renewals != there.renewals:
                return True
        return False
