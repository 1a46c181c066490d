"""The lock: one export at a destination at a time.

`.freight/lock` names its holder. It is put only where there is none (a conditional put, a hard
link on a local disk), and renewed while the export runs. A holder that is seen to be dead (same
host, no such process) loses it at once; any other when it was not renewed for the lease, by the
clock of the one who waits: clocks of two machines are never compared. A process of this host that
runs is never waited for; one that is stopped renews nothing, and the lease decides.

Renewing and taking over replace what was read and nothing else (`Store.replace`), so that of a
holder who wakes up late and the one who takes over, one has it. Whoever takes over first takes
another lock, whose name has the dead holder's unique id in it: where a store can't replace
atomically, of several who see the same dead holder one gets it all the same.

A store without conditional puts (most of fsspec's) leaves a gap of one request in which two may
both find no lock.

A lock protects nothing by itself, since the store accepts the writes of one who has lost it. So
its holder writes through a store that `Lock.guard` returns, which refuses what is begun later than
the lease, less a margin, after the last renewal; and lets it begin again once the lock was renewed.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prefect_freight.control.guarded import GuardedStore, UnderWay
from prefect_freight.control.holder import (
    HELD_HERE,
    LOCK,
    Holder,
    parse_holder,
    read_holder,
    to_json,
)
from prefect_freight.control.lease import Lease, Renewals, now_s, taken_over
from prefect_freight.control.sealed import seal_of
from prefect_freight.errors import FreightError, LockedError, NotFoundError
from prefect_freight.events import Notice, OnEvent, ignore_event
from prefect_freight.grace import RELEASE_S
from prefect_freight.retry import retrying
from prefect_freight.stores import Store
from prefect_freight.threads import aside

LEASE = Lease()


class Lock:
    """A lock that is held, and renewed by a thread of its own."""

    def __init__(
        self,
        destination: Store,
        holder: Holder,
        keys: list[str],
        lease: Lease,
        taken_at: float,
        clock: Callable[[], float],
    ) -> None:
        self._raw, self._holder, self._keys = destination, holder, keys
        self._clock = clock
        self._renewals = Renewals(lease, taken_at, clock)
        self._count = 0
        self._lease = lease
        self._under_way, self._is_given_up = UnderWay(), False
        self.destination = self.guard(destination)
        """The store that the lock was taken at, guarded."""
        self._thread = threading.Thread(target=self._renew, name="freight-lock", daemon=True)
        self._thread.start()

    def guard(self, store: Store) -> Store:
        """Return a store of the same place that can be written only while the lock is held."""
        owner = self._holder.owner
        return GuardedStore(store, self._renewals, owner, self._lease, self._under_way)

    def check(self) -> None:
        """Raise `LockedError` if somebody took the lock over meanwhile."""
        if reason := self.lost():
            raise LockedError(reason)

    def lost(self, within_s: float | None = None) -> str:
        """Return why the lock is not ours any more; an empty text while it is.

        It looks, for `within_s` at most. The renewal does so only now and then, and a lock that
        somebody took against the rules, or removed, would not be missed until then.
        """
        # A store that does not answer proves nothing: the renewal says when that lasted too long.
        with suppress(FreightError, TimeoutError):
            aside(self._read, within_s)
        return self._renewals.lost

    @property
    def is_lost(self) -> bool:
        """It is known that the lock is not ours; it does not look."""
        return bool(self._renewals.lost)

    def require(self) -> None:
        """Raise `LockedError` if it is known that the lock is not ours; it does not look."""
        if self._renewals.lost:
            raise LockedError(self._renewals.lost)

    def release(self, within_s: float | None = None) -> None:
        """End the renewal, and give the lock up if it is still ours.

        What hangs for longer than `within_s` is left alone, and so is the lock, whose lease ends.
        Raises nothing: what could not be deleted must not hide how the export ended, and whoever
        comes next sees that nobody holds it any more.
        """
        self._renewals.end()
        # A change that somebody interrupted may arrive at any time. So nobody may be let in, and
        # neither may another export of this process, which alone could know that we have ended.
        with suppress(TimeoutError):
            aside(self._give_up, within_s)
        self._renewals.lose(f"the lock at {self._raw.url} was given up")
        self._under_way.afterwards(self._leave)

    def _leave(self) -> None:
        """Let others in, once nothing is under way."""
        if self._is_given_up:
            HELD_HERE.discard(self._holder.owner)
            return

        def give_up_late() -> None:
            # The process may live on, as a notebook's does: nobody else could know that the export
            # has ended, and its lock would be respected for as long.
            try:
                holder = read_holder(self._raw)
                if holder is not None and holder.owner == self._holder.owner:
                    self._raw.delete(self._keys)
            except FreightError:
                pass  # the lease ends
            finally:
                HELD_HERE.discard(self._holder.owner)

        with suppress(TimeoutError):
            aside(give_up_late, 0.0)

    def _give_up(self) -> None:
        # The renewal ends first: one that is under way would put the lock again after its delete,
        # and nobody would be there to give that one up.
        self._thread.join()
        if self._under_way.any():
            return
        self._is_given_up = True
        # A lock that was lost is another's: deleting it would let a third export in. So where the
        # store does not say whose it is, it stays, and whoever comes next waits for its end.
        with suppress(FreightError):
            if self._renewals.fresh:
                # Each attempt looks at the lease again, which an outage may outlast.
                retrying(lambda: self.destination.delete(self._keys))
            elif self._is_seen_to_be_ours():
                self._raw.delete(self._keys)

    def _is_seen_to_be_ours(self) -> bool:
        self._read()  # raises where the store does not answer
        return not self._renewals.lost

    def _read(self) -> str | None:
        """Return the tag of the lock, and find out whether it is lost."""
        try:
            data, tag = self._raw.read_tagged(LOCK)
        except NotFoundError:
            self._renewals.lose(taken_over(self._raw, None))
            return None
        holder = parse_holder(data)
        if holder is None or holder.owner != self._holder.owner:
            self._renewals.lose(taken_over(self._raw, holder or "somebody"))
        return tag

    def _renew(self) -> None:
        while self._renewals.wait_until_due():
            try:
                # One that hangs is left to itself in time for others, or a single request that is
                # lost would cost the lease.
                aside(self._renew_once, self._lease.renew_s)
            except TimeoutError:
                self._renewals.failed("its renewal was not answered")
            except FreightError as error:
                self._renewals.failed(str(error))

    def _renew_once(self) -> None:
        # Counted, as one that hangs may put the lock again when it was given up.
        with self._under_way.one():
            sent_at = self._clock()
            # Read before it is replaced: who took it over is to be named.
            tag = self._read()
            self._count += 1
            data = to_json(self._holder, self._count)
            if self._renewals.lost:
                return
            if self._raw.replace(LOCK, data, tag):
                self._renewals.renewed(sent_at)
            else:  # the next look tells who did it
                self._renewals.failed("another replaced it")


type Take = Callable[[Callable[[], None]], None]
"""Calls what takes the lock: a runner may want to see how long that takes, and that it failed."""


def take_at_once(take: Callable[[], None]) -> None:
    """Take a lock and nothing else."""
    take()


@contextmanager
def hold_lock(
    destination: Store,
    on_event: OnEvent = ignore_event,
    *,
    take: Take = take_at_once,
    lease: Lease = LEASE,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = now_s,
) -> Iterator[Lock]:
    """Hold the destination's lock while the body runs.

    What it writes it writes to `Lock.destination`, or through another store that the lock guards.

    Waits for the lease of a holder that may be dead to end, and announces it by a notice. Raises
    `LockedError`, which names the holder and since when, if the holder lives.
    """
    holder = Holder.this()
    # Before the first put: between it and this line, another export in this process would take our
    # lock for one that its export has left behind.
    HELD_HERE.add(holder.owner)
    waiting = _Waiting(destination, holder, on_event, lease, sleep, clock)
    keys: list[str] = []

    def acquire() -> None:
        keys.extend(aside(lambda: waiting.acquire(LOCK)))

    try:
        take(acquire)
    except BaseException:
        waiting.give_up()
        if keys:  # whoever called it was interrupted when it was ours already
            with suppress(FreightError, TimeoutError):
                aside(lambda: destination.delete(keys), RELEASE_S)
        HELD_HERE.discard(holder.owner)
        raise
    lock = Lock(destination, holder, keys, lease, waiting.sent_at, clock)
    try:
        yield lock
    except BaseException as error:
        # Whatever comes with an interrupt, it is to end soon.
        lock.release(None if isinstance(error, Exception) else RELEASE_S)
        raise
    lock.release()


class _Waiting:
    """One who wants the lock."""

    def __init__(
        self,
        destination: Store,
        holder: Holder,
        on_event: OnEvent,
        lease: Lease,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._destination, self._holder, self._on_event = destination, holder, on_event
        self._lease, self._sleep, self._clock = lease, sleep, clock
        self.sent_at = 0.0
        """When the lock may have become ours: our lease counts from here."""
        self._gave_up = False

    def give_up(self) -> None:
        """Have `acquire`, which somebody was interrupted in, raise instead of taking the lock."""
        self._gave_up = True

    def acquire(self, key: str) -> list[str]:
        """Take a lock; return the keys to delete at its release, the lock's own last."""
        mine = to_json(self._holder, 0)
        self.sent_at = self._clock()
        while True:
            if retrying(lambda: self._destination.write_new(key, mine)):
                return self._taken([key])
            try:
                data, tag = retrying(lambda: self._destination.read_tagged(key))
            except NotFoundError:
                # Given up between the put and the look. It is no unreadable one: who takes that for
                # a dead holder's would write over the lock of whoever comes next.
                self.sent_at = self._clock()
                continue
            holder = parse_holder(data)
            # The put had arrived and its answer was lost; the retry then met our own record.
            if holder is not None and holder.owner == self._holder.owner:
                return self._taken([key])
            if holder is not None:
                self._wait_for_end(key, holder)
            # Named after the dead holder and not after `key`, or the names would grow with each who
            # dies while taking over. What is unreadable under two keys has two names: else who
            # wants one of them would wait for himself.
            dead = holder.owner if holder else f"unreadable-{seal_of(key, data)}"
            takeover_keys = self.acquire(f"{LOCK}.{dead}")
            # The tag is that of the record which was seen dead: another may have taken over since,
            # and ended, or the dead one may have woken up. Then all begins anew.
            self.sent_at = self._clock()
            if self._replace(key, mine, tag):
                # Both are given up together: whoever still sees the dead holder meets a live one.
                return self._taken([*takeover_keys, key])
            # (The time stays: it is ours already, if it was the replacing's answer that was lost.)
            retrying(lambda keys=takeover_keys: self._destination.delete(keys))  # type: ignore[misc]

    def _taken(self, keys: list[str]) -> list[str]:
        """Return the keys of a lock that was taken, unless nobody wants it any more."""
        if self._gave_up:
            retrying(lambda: self._destination.delete(keys))
            raise LockedError("it came when nobody waited for it any more")
        return keys

    def _replace(self, key: str, data: bytes, tag: str | None) -> bool:
        return retrying(lambda: self._destination.replace(key, data, tag))

    def _wait_for_end(self, key: str, holder: Holder) -> None:
        """Return when the holder's lease has ended; raise as soon as it is seen to live."""
        if holder.is_dead:
            self._on_event(Notice(f"taking over the lock of {holder}, which is gone"))
            return
        if not holder.is_running:
            wait_s = self._lease.lease_s
            self._on_event(
                Notice(f"waiting up to {wait_s:.0f} s to see whether {holder} still exports")
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
        while self._clock() - began < self._lease.lease_s and not self._gave_up:
            self._sleep(self._lease.look_s)
            current = read_holder(self._destination, key)
            if current is None or current.owner != holder.owner:
                return False
            if current.renewals != holder.renewals:
                return True
        return self._gave_up
