"""Who holds a lock, as its record tells, and whether that process still lives.

A pid alone does not tell: it means nothing on another machine or in another container, and after a
while another process has it. So the record has the boot and process name space in which the pid
counts, and when the process began. What cannot be seen (another machine, no `/proc`) counts as
neither dead nor alive, and the lease decides.
"""

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass, fields
from typing import Self

from prefect_freight.control.runs import user_name
from prefect_freight.control.shapes import check_shape
from prefect_freight.errors import NotFoundError
from prefect_freight.model import CONTROL_AREA
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

LOCK = f"{CONTROL_AREA}/lock"

LATEST = 253_402_300_799
"""The end of the year 9999: no later time can be shown."""
STOPPED = "Tt"
"""States of a process (proc(5)) that a signal or a debugger has stopped."""

HELD_HERE: set[str] = set()
"""Owners of the locks that exports in this process hold or want.

A process outlives its exports: that it lives does not tell whether one of them holds its lock."""


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
    """When the process began, in the kernel's ticks; tells it from a later one of the same pid."""
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
            began=began_of(os.getpid()) or "",
            since=time.time(),
        )

    @property
    def is_dead(self) -> bool:
        """The process is seen to be gone; False where that cannot be seen.

        This process can be seen to have ended the export, though its lock could not be deleted.
        """
        if self.is_here and self.pid == os.getpid():
            return self.owner not in HELD_HERE
        return bool(self.place) and self.place == _place() and self._is_gone()

    def _is_gone(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # somebody else's, and so there
        # A process that is hidden from us (the proc file system may be mounted so) is not gone.
        status = _status(self.pid)
        return status is not None and began_of(self.pid) != self.began

    @property
    def is_here(self) -> bool:
        """The process is seen to live."""
        return bool(self.place) and self.place == _place() and began_of(self.pid) == self.began

    @property
    def is_running(self) -> bool:
        """The process is seen to live, and is not stopped (by Ctrl-Z, say)."""
        return self.is_here and (_status(self.pid) or ["T"])[0] not in STOPPED

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(min(self.since, LATEST)))
        return f"{self.user} on {self.host} (process {self.pid}) since {since}"


def read_holder(destination: Store, key: str = LOCK) -> Holder | None:
    """Return who holds a lock; None if nobody does, or the object is no record of a lock."""
    try:
        data = retrying(lambda: destination.read(key))
    except NotFoundError:
        return None
    return parse_holder(data)


def parse_holder(data: bytes) -> Holder | None:
    """Return whom the record of a lock names; None if it is no such record."""
    try:
        record = json.loads(data)
        check_shape(record, Holder)
        # Only the fields of today: one that a later version adds must not make its lock unreadable,
        # and so free for the taking.
        return Holder(**{f.name: record[f.name] for f in fields(Holder) if f.name in record})
    except (ValueError, RecursionError):
        return None


def to_json(holder: Holder, renewals: int) -> bytes:
    """Return the record of a holder that has renewed the lock so often."""
    return json.dumps(asdict(holder) | {"renewals": renewals}).encode()


def _place() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def began_of(pid: int) -> str | None:
    """Return when a process began, in the kernel's ticks; None where there is no such process."""
    status = _status(pid)
    # A zombie has ended; it only waits for its parent, in a container perhaps for ever.
    return None if status is None or status[0] == "Z" else status[19]


def _status(pid: int) -> list[str] | None:
    """Return the fields of proc(5) from the third, the state, on; None without such a process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The second field is the program's name in brackets, and may hold spaces and brackets.
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None
