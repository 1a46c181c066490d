"""The lock: one export at a destination at a time.

`.freight/lock` names its holder. It is put only where there is none (a conditional put, a hard
link on a local disk), and renewed while the export runs. A holder that is seen to be dead (same
host, no such process) loses it at once; any other when it was not renewed for `LEASE_S`, by the
clock of the one who waits: clocks of two machines are never compared.

Taking over needs no conditional replacing, which not every store has. Whoever takes the lock of a
dead holder first takes another lock, whose name has the dead holder's unique id in it; so of
several who see the same dead holder, one gets it.

A store without conditional puts (most of fsspec's) leaves a gap of one request in which two may
both find no lock.

A lock protects nothing by itself, since the store accepts the writes of one who has lost it. So an
export calls `check` between units of work; only the units that are under way then go on.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prefect_freight.control.holder import HELD_HERE, LOCK, Holder, read_holder, to_json
from prefect_freight.errors import FreightError, LockedError, NotFoundError, TransientError
from prefect_freight.events import Notice, OnEvent, ignore_event
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

LEASE_S = 45.0
"""How long a lock lives without renewal. Its holder may miss two in a row and keep it."""
RENEW_S = 12.0
LOOK_S = 1.0
"""How often one who waits looks whether the holder has renewed."""


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
        # The renewal ends first: one that is under way would put the lock again after its delete,
        # and nobody would be there to give that one up.
        self._ended.set()
        self._thread.join()
        # A lock that was lost is another's: deleting it would let a third export in.
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
                # Read before it is written: a machine that slept past its lease would otherwise
                # overwrite the lock of whoever took it over, and two would go on.
                if not self._is_ours():
                    return
                data = to_json(self._holder, renewals)
                self._destination.write(LOCK, data)
                renewed_at = time.monotonic()
            except TransientError:
                # It proves nothing, however long it lasts: where the store answers nobody, nobody
                # takes the lock over. Whoever has waited for it looks before anything is written.
                continue
            except FreightError as error:
                # Given up one renewal before others may take it, so that this export knows first.
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

    Waits for the lease of a holder that may be dead to end, and announces it by a notice. Raises
    `LockedError`, which names the holder and since when, if the holder lives.
    """
    holder = Holder.this()
    # Before the first put: between it and this line, another export in this process would take our
    # lock for one that its export has left behind.
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
            holder = read_holder(self._destination, key)
            # The put had arrived and its answer was lost; the retry then met our own record.
            if holder is not None and holder.owner == self._holder.owner:
                return [key]
            if holder is None and self._is_gone(key):
                # Given up between the put and the look. It is no unreadable one: who takes that for
                # a dead holder's would write over the lock of whoever comes next.
                continue
            if holder is not None:
                self._wait_for_end(key, holder)
            dead = holder.owner if holder else "unreadable"
            # Named after the dead holder and not after `key`, or the names would grow with each who
            # dies while taking over.
            takeover_keys = self.acquire(f"{LOCK}.{dead}")
            # Looked at again, now that nobody else can be taking over from the same holder: another
            # may have done so, and ended, since we saw it dead. Then all begins anew.
            if read_holder(self._destination, key) == holder:
                retrying(lambda: self._destination.write(key, mine))
                # Both are given up together: whoever still sees the dead holder meets a live one.
                return [*takeover_keys, key]
            retrying(lambda keys=takeover_keys: self._destination.delete(keys))  # type: ignore[misc]

    def _is_gone(self, key: str) -> bool:
        try:
            retrying(lambda: self._destination.read(key))
        except NotFoundError:
            return True
        return False

    def _wait_for_end(self, key: str, holder: Holder) -> None:
        """Return when the holder's lease has ended; raise as soon as it is seen to live."""
        if holder.is_dead:
            self._on_event(Notice(f"taking over the lock of {holder}, which is gone"))
            return
        if not holder.is_here:
            self._on_event(
                Notice(f"waiting up to {LEASE_S:.0f} s to see whether {holder} still exports")
            )
            if not self._is_renewed(key, holder):
                return
        raise LockedError(
            f"expected no other export at {self._destination.url}, found one by {holder}. "
            "Wait until it has ended"
        )

    def _is_renewed(self, key: str, holder: Holder) -> bool:
        # The count of renewals, not a time: the holder's clock may be hours off. From our first
        # look on, a full lease has to pass, however long it was there before.
        began = self._clock()
        while self._clock() - began < LEASE_S:
            self._sleep(LOOK_S)
            current = read_holder(self._destination, key)
            if current is None or current.owner != holder.owner:
                return False
            if current.renewals != holder.renewals:
                return True
        return False
