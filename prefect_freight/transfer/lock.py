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

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from typing import Self

from prefect_freight.errors import FreightError, LockedError, NotFoundError
from prefect_freight.model import CONTROL_AREA, Notice, OnEvent, ignore_event
from prefect_freight.retry import retrying
from prefect_freight.stores import Store
from prefect_freight.transfer.runs import user_name

LOCK = f"{CONTROL_AREA}/lock"
LEASE_S = 45.0
RENEW_S = 12.0
LOOK_S = 1.0

_held_here: set[str] = set()
"""Owners of the locks that exports in this process hold or want."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock."""

    owner: str
    """Unique for each export."""
    user: str
    host: str
    pid: int
    place: str
    """Where `pid` means this process: boot and process name space; empty where that is unknown."""
    began: str
    """When the process began, in the kernel's count; tells it from a later one of the same pid."""
    since: float
    """Seconds since the epoch, by the holder's clock."""
    renewals: int = 0

    @classmethod
    def this(cls) -> Self:
        """Return this process as a new holder."""
        return cls(
            owner=uuid.uuid4().hex,
            user=user_name(),
            host=socket.gethostname(),
            pid=os.getpid(),
            place=_place(),
            began=_began(os.getpid()) or "",
            since=time.time(),
        )

    @property
    def is_dead(self) -> bool:
        """The process is seen to be gone; False where that cannot be seen.

        This process can be seen to have ended the export, though its lock could not be deleted.
        """
        if self.is_here and self.pid == os.getpid():
            return self.owner not in _held_here
        return bool(self.place) and self.place == _place() and _began(self.pid) != self.began

    @property
    def is_here(self) -> bool:
        """The process is seen to live."""
        return bool(self.place) and self.place == _place() and _began(self.pid) == self.began

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"{self.user} on {self.host} (process {self.pid}) since {since}"


class Lock:
    """A lock that is held, and renewed by a thread of its own."""

    def __init__(self, destination: Store, holder: Holder, keys: list[str]) -> None:
        self._destination, self._holder, self._keys = destination, holder, keys
        self._ended = threading.Event()
        self._lost = ""
        self._thread = threading.Thread(target=self._renew, name="freight-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `LockedError` if somebody took the lock over meanwhile."""
        if self._lost:
            raise LockedError(self._lost)

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

    def _renew(self) -> None:
        renewals, renewed_at = 0, time.monotonic()
        while not self._ended.wait(RENEW_S):
            renewals += 1
            try:
                there = read_holder(self._destination, LOCK)
                if there is None or there.owner != self._holder.owner:
                    self._lost = f"the lock at {self._destination.url} was taken over by {there}"
                    return
                data = _to_json(self._holder, renewals)
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
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Lock]:
    """Hold the destination's lock while the body runs.

    Waits for the lease of a holder that may be dead to end, and says so in a notice. Raises
    `LockedError`, which says who holds the lock since when, if the holder lives.
    """
    holder = Holder.this()
    _held_here.add(holder.owner)
    try:
        keys = _Waiting(destination, holder, on_event, sleep, clock).acquire(LOCK)
        lock = Lock(destination, holder, keys)
        try:
            yield lock
        finally:
            lock.release()
    finally:
        _held_here.discard(holder.owner)


def read_holder(destination: Store, key: str = LOCK) -> Holder | None:
    """Return who holds a lock; None if nobody does, or what lies there is no lock's record."""
    try:
        said = json.loads(retrying(lambda: destination.read(key)))
        return Holder(**{field.name: said[field.name] for field in fields(Holder)})
    except (NotFoundError, ValueError, TypeError, KeyError):
        return None


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
        mine = _to_json(self._holder, 0)
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


def _to_json(holder: Holder, renewals: int) -> bytes:
    return json.dumps(asdict(holder) | {"renewals": renewals}).encode()


def _place() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _began(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, *rest = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else rest[18]  # field 22 of proc(5): starttime
