"""How fast an export may go: bytes and requests a second, for all threads of a process together.

Bytes are counted apart for reading and for writing, so that a copy moves as fast as the limit says:
what is read of an object, and what is put. Requests are counted together, at both places: each
read, each put, each delete of up to 1,000 objects, each 1,000 objects of a listing; an attempt that
fails counts as one that does not. Records in the control area count and wait for nothing: what is
done is recorded at once. Not counted: the lock, which must be renewed in time, and what Icechunk
reads by itself (refs, snapshots, lists of references).
"""

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

from prefect_freight.errors import EndedError, OptionError

SAVED_S = 0.1
"""What was not used is kept for so long, or a late thread would cost speed for good."""
LOOK_S = 0.25
BANDWIDTH = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kKMGT])(i?))?(?:B(?:/s)?)?")
MAX_BANDWIDTH = 2.0**63
POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}


def never() -> bool:
    """End nothing."""
    return False


_ENDED: ContextVar[Callable[[], bool]] = ContextVar("freight_ended", default=never)


def parse_bandwidth(given: str | int) -> int:
    """Return bytes a second: `50M` is 50,000,000, as sizes are shown, and `50Mi` 50 x 2**20.

    Raises `OptionError` for anything else, and for less than one byte.

    >>> parse_bandwidth("1.5k"), parse_bandwidth("64Ki"), parse_bandwidth("2 MB/s")
    (1500, 65536, 2000000)
    """
    match = BANDWIDTH.fullmatch(str(given).strip())
    number, prefix, binary = match.groups() if match else ("0", None, "")
    power = POWERS[prefix.upper()] if prefix else 0
    a_second = float(number) * (1024 if binary else 1000) ** power
    if not 1 <= a_second < MAX_BANDWIDTH:
        raise OptionError(
            f"expected a bandwidth above 0, in bytes a second such as 50M (or 50Mi), found "
            f"{given!r}"
        )
    return int(a_second)


def parse_limits(
    bandwidth: str | int | None, rate_limit: float | None
) -> tuple[int | None, float | None]:
    """Return bytes and requests a second, None where there is no limit; raises `OptionError`."""
    if rate_limit is not None and not rate_limit > 0:
        raise OptionError(f"expected a rate_limit above 0 requests a second, found {rate_limit}")
    # A form sends an empty text for a field that was left empty.
    return None if bandwidth is None or bandwidth == "" else parse_bandwidth(bandwidth), rate_limit


@contextmanager
def turns_until(ended: Callable[[], bool]) -> Iterator[None]:
    """Have this thread wait for no turn once `ended` says so, and raise `EndedError` instead."""
    token = _ENDED.set(ended)
    try:
        yield
    finally:
        _ENDED.reset(token)


class _Bucket:
    """Hands out turns, one after the other: each begins when those before it have had their time.

    So a large object that begins at once is paid for by those behind it.
    """

    def __init__(self, a_second: float, clock: Callable[[], float]) -> None:
        self._a_second, self._clock = a_second, clock
        self._next_at = clock()
        self._lock = threading.Lock()

    def turn(self, amount: float) -> float:
        """Return the time at which this may begin; what comes next begins behind it."""
        with self._lock:
            begins_at = max(self._next_at, self._clock() - SAVED_S)
            self._next_at = begins_at + amount / self._a_second
            return begins_at


class Limits:
    """What all threads of this process may read, put and ask for in a second.

    A copy that is unpickled in another process has limits of its own there, which all copies in
    that process share: the limit is one a process.
    """

    def __init__(
        self,
        bandwidth: int | None,
        rate_limit: float | None,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = bandwidth, rate_limit
        self._name, self._clock = name or uuid.uuid4().hex, clock
        self._reads = _Bucket(bandwidth, clock) if bandwidth else None
        self._writes = _Bucket(bandwidth, clock) if bandwidth else None
        self._requests = _Bucket(rate_limit, clock) if rate_limit else None
        self._ended = threading.Event()
        with _HERE_LOCK:
            _HERE.setdefault(self._name, self)

    def __reduce__(self) -> tuple[object, ...]:
        return _limits_here, (*self._given, self._name)

    def __bool__(self) -> bool:
        return any(self._given)

    def read(self, size: int, *, wait: bool = True) -> None:
        """Return when so many bytes may be asked for in one request; raises `EndedError`."""
        self._take((self._requests, 1), (self._reads, size), wait=wait)

    def was_read(self, size: int) -> None:
        """Count bytes of whose number nobody knew before they came."""
        self._count((self._reads, size))

    def write(self, size: int, *, wait: bool = True) -> None:
        """Return when so many bytes may be put in one request; raises `EndedError`."""
        self._take((self._requests, 1), (self._writes, size), wait=wait)

    def ask(self, requests: int = 1) -> None:
        """Return when so many requests may be sent; raises `EndedError`."""
        self._take((self._requests, requests))

    def were_asked(self, requests: int) -> None:
        """Count requests of which nobody knew before they were answered."""
        self._count((self._requests, requests))

    def end(self) -> None:
        """Limit nothing any more; those who wait for their turn do not get it."""
        self._ended.set()

    def _take(self, *amounts: tuple[_Bucket | None, float], wait: bool = True) -> None:
        # What an export does at its end, its marker above all, waits for nobody.
        if self._ended.is_set():
            return
        begins_at, ended = self._count(*amounts), _ENDED.get()
        while wait and (left_s := begins_at - self._clock()) > 0:
            # Looked at now and then: nobody tells those who wait that their unit gave up.
            if self._ended.wait(min(left_s, LOOK_S)) or ended():
                raise EndedError("the export had ended before its turn came")

    def _count(self, *amounts: tuple[_Bucket | None, float]) -> float:
        return max((bucket.turn(amount) for bucket, amount in amounts if bucket), default=0.0)


_HERE: "WeakValueDictionary[str, Limits]" = WeakValueDictionary()
_HERE_LOCK = threading.Lock()


def _limits_here(bandwidth: int | None, rate_limit: float | None, name: str) -> Limits:
    """Return the limits of that name in this process, made if there are none."""
    with _HERE_LOCK:
        known = _HERE.get(name)
    if known is not None:
        return known
    made = Limits(bandwidth, rate_limit, name)
    return _HERE.get(name, made)  # that of another thread, if it was first
