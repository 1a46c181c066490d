"""Moving the objects of a work unit: many threads, a few batches open, a record per batch.

Threads and synchronous calls, because obstore's are twice as cheap as its coroutines (measured;
see docs/design/engine.md). What fails is retried here while the error may pass, and comes out as a
failure in the outcome, so that one bad object stops no other.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from prefect_freight.control.diff import Diff, read_diff
from prefect_freight.control.ledger import BatchRecord, Ledger
from prefect_freight.control.manifest import read_fill
from prefect_freight.errors import (
    FreightError,
    IncompleteError,
    IntegrityError,
    InternalError,
    StorageFullError,
    TransientError,
)
from prefect_freight.events import Moved, OnEvent, ignore_event
from prefect_freight.model import Action, Failure, Job, Kind, Outcome, Unit
from prefect_freight.plan.entries import md5
from prefect_freight.retry import retrying
from prefect_freight.sources import Source
from prefect_freight.stores import Store

MAX_BYTES_IN_FLIGHT = 512 * 2**20
"""A larger object goes alone."""
OPEN_BATCHES = 4
"""Batches under way at a time: with `MAX_BATCH_OBJECTS` it bounds what a killed run repeats."""
GIVE_UP_AFTER = 64
"""Failures without a success between them: the credentials expired, or the store is gone."""


def never() -> bool:
    """Stop nothing."""
    return False


def move_unit(
    source: Source,
    destination: Store,
    job: Job,
    unit: Unit,
    *,
    threads: int,
    open_batches: int = OPEN_BATCHES,
    on_event: OnEvent = ignore_event,
    stopped: Callable[[], bool] = never,
) -> Outcome:
    """Move all objects of the unit that the ledger does not have yet, and record them there.

    At most `open_batches` batches are under way at a time, so a killed run repeats no more. No
    further object is begun once `stopped` says so: what another thread decides.
    Raises nothing for an object that cannot be moved: the outcome names it.
    """
    diff = read_diff(destination, job.area)
    if diff is None:
        raise InternalError(f"no diff of the export lies in {destination.url}/{job.area}")
    ledger = Ledger(destination, job)
    records = ledger.read(unit)
    whole = {number: r for number, r in records.items() if not r.failed}
    skipped = Outcome(skipped=sum(record.objects for record in whole.values()))
    if whole:
        on_event(Moved(skipped.skipped, sum(record.bytes for record in whole.values())))
    mover = _Mover(source, destination, diff, ledger, unit, open_batches, on_event, stopped)
    pending = [number for number in range(unit.first, unit.stop) if number not in whole]
    pool = ThreadPoolExecutor(threads, thread_name_prefix="freight")
    try:
        for number, entries in diff.read_batches(destination, unit, pending):
            if not mover.start(pool, number, entries, records.get(number)):
                break
        pool.shutdown()
    except BaseException as error:
        mover.stop(error)  # or the pool would first move all that it was given
        pool.shutdown()
        raise
    return skipped + mover.outcome


class _GivenUp(Exception):  # noqa: N818 - never leaves this module
    """The unit was stopped before this object's turn came."""


class _Mover:
    """The batches under way, and what came of those before."""

    def __init__(
        self,
        source: Source,
        destination: Store,
        diff: Diff,
        ledger: Ledger,
        unit: Unit,
        open_batches: int,
        on_event: OnEvent,
        stopped: Callable[[], bool],
    ) -> None:
        self._source, self._destination, self._area = source, destination, diff.area
        self._stopped = stopped
        self._ledger, self._unit, self._on_event = ledger, unit, on_event
        self._open = threading.Semaphore(open_batches)
        self._budget = _ByteBudget(MAX_BYTES_IN_FLIGHT)
        self._lock = threading.Lock()
        self._fills: dict[str, bytes] = {}
        self._failures_in_a_row = 0
        self._stop: FreightError | None = None
        self.outcome = Outcome()

    def stop(self, error: BaseException) -> None:
        """Move nothing more: what has not begun fails with the error."""
        known = error if isinstance(error, FreightError) else IncompleteError("interrupted")
        with self._lock:
            self._stop = self._stop or known

    def start(
        self, pool: ThreadPoolExecutor, number: int, entries: pa.Table, earlier: BatchRecord | None
    ) -> bool:
        """Submit a batch, once there is room for one; return whether more should follow."""
        self._open.acquire()
        if self._stopped():
            self.stop(IncompleteError("interrupted"))
        if self._stop:
            self._open.release()
            return False
        batch = _Batch(number, entries, earlier)
        self._add(Outcome(skipped=batch.skipped))
        for entry in batch.entries:
            pool.submit(self._move, batch, entry)
        return True

    def _move(self, batch: "_Batch", entry: dict[str, Any]) -> None:
        try:
            with self._budget.take(entry["size"]):
                checksum = retrying(lambda: self._do(entry))
        except Exception as error:  # noqa: BLE001 - a thread's error would be lost
            batch.fail(entry["key"])
            self._failed(entry, error)
        else:
            batch.put(entry["key"], checksum)
            self._succeeded(entry)
        if batch.one_less():
            self._close(batch)

    def _do(self, entry: dict[str, Any]) -> str:
        """Move an object; return the MD5 of what was put, or an empty text."""
        if self._stopped():
            self.stop(IncompleteError("interrupted"))
        if self._stop is not None:
            raise _GivenUp  # not the error itself, which may be one that is tried again
        key, size = entry["key"], entry["size"]
        if entry["action"] == Action.DELETE:
            self._destination.delete([key])
            return ""
        data = self._read(entry)
        if len(data) != size:
            raise IntegrityError(f"expected {size} bytes for {key!r}, found {len(data)}")
        self._destination.write(key, data)
        return bytes(entry["checksum"] or md5(data)).hex()

    def _read(self, entry: dict[str, Any]) -> bytes:
        data: bytes
        match entry["kind"]:
            case Kind.INLINE:
                data = entry["data"]
            case Kind.FILL:
                data = self._fill(entry["location"])
            case _:
                data = self._source.read(
                    entry["location"], entry["offset"], entry["size"], entry["content"]
                )
        return data

    def _fill(self, identity: str) -> bytes:
        if identity not in self._fills:
            self._fills[identity] = read_fill(self._destination, self._area, identity)
        return self._fills[identity]

    def _succeeded(self, entry: dict[str, Any]) -> None:
        deleted = entry["action"] == Action.DELETE
        one = Outcome(deleted=1) if deleted else Outcome(transferred=1, bytes=entry["size"])
        with self._lock:
            self._failures_in_a_row = 0
        self._add(one)
        self._on_event(Moved(1, one.bytes))

    def _failed(self, entry: dict[str, Any], error: Exception) -> None:
        if isinstance(error, _GivenUp) and self._stop is not None:
            error = self._stop
        known = error if isinstance(error, FreightError) else InternalError(repr(error))
        failure = Failure(
            entry["key"],
            Action(entry["action"]),
            entry["location"] or "the manifest",
            known.kind,
            str(known),
            isinstance(known, TransientError),
        )
        with self._lock:
            self._failures_in_a_row += 1
            if isinstance(known, StorageFullError) or self._failures_in_a_row >= GIVE_UP_AFTER:
                self._stop = self._stop or known
        self._add(Outcome(failures=(failure,)))

    def _close(self, batch: "_Batch") -> None:
        try:
            self._ledger.write(self._unit.round, batch.number, batch.record())
        except FreightError as error:
            # The objects are there; only the next run does not know it and moves them again.
            with self._lock:
                self._stop = self._stop or error
        finally:
            self._open.release()

    def _add(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcome += outcome


class _Batch:
    """A batch under way: what is left of it, and what failed."""

    def __init__(self, number: int, entries: pa.Table, earlier: BatchRecord | None) -> None:
        self.number = number
        self._objects, self._bytes = entries.num_rows, pa.compute.sum(entries["size"]).as_py()
        rows: list[dict[str, Any]] = entries.to_pylist()
        again = set(earlier.failed) if earlier else None
        self.entries = [row for row in rows if again is None or row["key"] in again]
        self.skipped = len(rows) - len(self.entries)
        self._left = len(self.entries)
        self._failed: list[str] = []
        known = earlier.checksums if earlier and len(earlier.checksums) == len(rows) else None
        checksums = known or [""] * len(rows)
        self._checksums = {row["key"]: c for row, c in zip(rows, checksums, strict=True)}
        self._lock = threading.Lock()

    def one_less(self) -> bool:
        """Count an entry as ended; return whether it was the last."""
        with self._lock:
            self._left -= 1
            return self._left == 0

    def put(self, key: str, checksum: str) -> None:
        with self._lock:
            self._checksums[key] = checksum

    def fail(self, key: str) -> None:
        with self._lock:
            self._failed.append(key)

    def record(self) -> BatchRecord:
        return BatchRecord(
            self._objects,
            self._bytes,
            tuple(sorted(self._failed)),
            tuple(self._checksums.values()),
        )


class _ByteBudget:
    """Bounds the bytes that are held in memory at a time."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + size <= self._limit)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()
