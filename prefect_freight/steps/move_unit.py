"""Moving the objects of a work unit: many threads, a few batches open, a record per batch.

Threads and synchronous calls, because obstore's are twice as cheap as its coroutines (measured;
see docs/design/engine.md). What fails is retried here if the error may be retried, and comes out
as a failure in the outcome, so that one bad object stops no other.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from prefect_freight.control.diff import read_diff
from prefect_freight.control.ledger import BatchRecord, Ledger
from prefect_freight.errors import (
    EndedError,
    ExhaustedError,
    FreightError,
    InternalError,
    LockedError,
    StorageFullError,
    TransientError,
    UnavailableError,
    UnsoundError,
)
from prefect_freight.events import Moved, OnEvent, ignore_event, tolerant
from prefect_freight.limits import turns_until
from prefect_freight.model import Action, Failure, Job, Outcome, Unit
from prefect_freight.plan.entries import md5
from prefect_freight.retry import retrying
from prefect_freight.sources import Source
from prefect_freight.steps.attributes import KeptAttributes
from prefect_freight.steps.carry import Carrier
from prefect_freight.stores import Store
from prefect_freight.stores.wrapping import put
from prefect_freight.threads import Threads

MAX_BYTES_IN_FLIGHT = 512 * 2**20
"""A larger object goes alone."""
OPEN_BATCHES = 4
"""Batches under way at a time: with `MAX_BATCH_OBJECTS` it bounds what a killed run repeats."""
GIVE_UP_AFTER = 64
"""Failures without a success between them: the credentials expired, or the store is gone."""


type Current = Callable[[], Outcome]
"""Returns what a unit under way has come to up to now; from any thread."""


def never() -> bool:
    """Stop nothing."""
    return False


def unwatched(current: Current) -> None:
    """Look at nothing."""


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
    watch: Callable[[Current], None] = unwatched,
) -> Outcome:
    """Move all objects of the unit that the ledger does not have yet, and record them there.

    At most `open_batches` batches are under way at a time, so a killed run repeats no more. No
    further object is begun once `stopped` says so: what another thread decides. `watch` is given
    what tells another thread how far the unit is.
    Raises nothing for an object that cannot be moved: the outcome names it. What was not begun
    since the unit was stopped has not failed, and is not done.
    """
    if stopped():
        return Outcome()
    on_event = tolerant(on_event)
    diff = read_diff(destination, job.area)
    if diff is None:
        raise InternalError(f"no diff of the export lies in {destination.url}/{job.area}")
    ledger = Ledger(destination, job.area, diff.seal)
    records = ledger.read(unit.round, range(unit.first, unit.stop))
    whole = {number: r for number, r in records.items() if not r.failed}
    skipped = Outcome(skipped=sum(record.objects for record in whole.values()))
    if whole:
        on_event(Moved(skipped.skipped, sum(record.bytes for record in whole.values())))
    carrier = Carrier(source, destination, diff.area)
    mover = _Mover(carrier, destination, ledger, unit, open_batches, on_event, stopped)
    watch(lambda: skipped + mover.outcome)
    # A batch of which some failed comes again; what of it is recorded as moved is skipped.
    pending = [number for number in range(unit.first, unit.stop) if number not in whole]
    if pending:  # before the first object: from here on a later run takes the phase for ours
        ledger.begin(unit.round, unit.phase)
    with Threads(threads) as pool:
        try:
            for number, entries in diff.read_batches(destination, unit, pending):
                if not mover.start(pool, number, entries, records.get(number)):
                    break
        except BaseException:
            mover.halt()  # or the threads would first move all that they were given
            raise
    if mover.interrupt is not None:
        raise mover.interrupt
    return skipped + mover.outcome


class _NotBegun(Exception):  # noqa: N818 - never leaves this module
    """The unit ended before this object's turn came."""


class _Mover:
    """The batches under way, and what came of those before."""

    def __init__(
        self,
        carrier: Carrier,
        destination: Store,
        ledger: Ledger,
        unit: Unit,
        open_batches: int,
        on_event: OnEvent,
        stopped: Callable[[], bool],
    ) -> None:
        self._carrier, self._destination = carrier, destination
        self._attributes = KeptAttributes(destination)
        self._stopped = stopped
        self._ledger, self._unit, self._on_event = ledger, unit, on_event
        self._open = threading.Semaphore(open_batches)
        self._budget = _ByteBudget(MAX_BYTES_IN_FLIGHT)
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._halted = False
        self._gave_up: FreightError | None = None
        self.interrupt: BaseException | None = None
        """What is to end all of the export and was raised in one of our threads."""
        self.outcome = Outcome()

    def halt(self) -> None:
        """Begin nothing more."""
        self._halted = True

    def start(
        self, pool: Threads, number: int, entries: pa.Table, earlier: BatchRecord | None
    ) -> bool:
        """Submit a batch, once there is room for one; return whether more should follow."""
        self._open.acquire()
        if self._ended():
            self._open.release()
            return False
        batch = _Batch(number, entries, earlier)
        self._add(Outcome(skipped=batch.skipped))
        if batch.skipped:
            self._on_event(Moved(batch.skipped, batch.skipped_bytes))
        for entry in batch.entries:
            pool.submit(self._move, batch, entry)
        return True

    def _ended(self) -> bool:
        return self._halted or self._gave_up is not None or self._stopped()

    def _move(self, batch: "_Batch", entry: dict[str, Any]) -> None:
        try:
            self._move_entry(batch, entry)
        except BaseException as error:  # noqa: BLE001 - it would be lost with this thread
            self.interrupt = self.interrupt or error
            self.halt()
        finally:
            # Whatever has become of the entry: a batch that nobody closes would keep its place, and
            # the export would wait for ever for another.
            if batch.one_less():
                self._close(batch)

    def _move_entry(self, batch: "_Batch", entry: dict[str, Any]) -> None:
        try:
            with self._budget.take(entry["size"]):
                checksum = self._do(entry)
        except (_NotBegun, EndedError):
            batch.fail(entry["key"])
        except UnsoundError:  # of our records, which no other attempt at the object finds mended
            batch.fail(entry["key"])
            raise
        except Exception as error:  # noqa: BLE001 - a thread's error would be lost
            batch.fail(entry["key"])
            # Nobody knows what would have become of one that was waited for until the unit's end.
            if not (isinstance(error, ExhaustedError) and self._stopped()):
                self._failed(entry, error)
        except BaseException:
            batch.fail(entry["key"])
            raise
        else:
            batch.put(entry["key"], checksum)
            self._succeeded(entry)

    def _do(self, entry: dict[str, Any]) -> str:
        """Move an object; return the MD5 of what was put, or an empty text.

        Each request is retried alone. An attempt at both, the read and the put, would fail twice as
        often as one at either, and all six of them 64 times as often.
        """
        key = entry["key"]
        if entry["action"] == Action.DELETE:
            self._retried(lambda: self._destination.delete([key]))
            return ""
        data = self._retried(lambda: self._carrier.read(entry))
        attributes = self._attributes.of(entry)
        self._retried(lambda: put(self._destination, key, data, attributes))
        return bytes(entry["checksum"] or md5(data)).hex()

    def _retried[T](self, request: Callable[[], T]) -> T:
        def attempt() -> T:
            if self._ended():
                raise _NotBegun  # not the error that ended the unit, which may be one to try again
            with turns_until(self._ended):
                return request()

        return retrying(attempt)

    def _succeeded(self, entry: dict[str, Any]) -> None:
        deleted = entry["action"] == Action.DELETE
        one = Outcome(deleted=1) if deleted else Outcome(transferred=1, bytes=entry["size"])
        with self._lock:
            self._failures_in_a_row = 0
        self._add(one)
        self._on_event(Moved(1, one.bytes))

    def _failed(self, entry: dict[str, Any], error: Exception) -> None:
        failure = error if isinstance(error, FreightError) else InternalError(repr(error))
        self._add(Outcome(failures=(_failure(entry, failure),)))
        with self._lock:
            self._failures_in_a_row += 1
            in_a_row = self._failures_in_a_row
        # Without the lock, too: what is not begun now must not be begun later.
        if isinstance(failure, StorageFullError | LockedError) or in_a_row >= GIVE_UP_AFTER:
            self._give_up(failure)

    def _close(self, batch: "_Batch") -> None:
        try:
            self._ledger.write(self._unit.round, batch.number, batch.record())
        except Exception as error:  # noqa: BLE001 - as above
            failure = error if isinstance(error, FreightError) else InternalError(repr(error))
            # The objects are there, but the next run does not know it and moves them again. So the
            # batch is not done: a later phase must not be published on a word that nobody kept.
            key = self._ledger.key(self._unit.round, batch.number)
            record = {"key": key, "action": Action.PUT, "location": "the ledger"}
            self._add(Outcome(failures=(_failure(record, failure),)))
            self._give_up(failure)
        finally:
            self._open.release()

    def _give_up(self, error: FreightError) -> None:
        with self._lock:
            self._gave_up = self._gave_up or error
        self._add(Outcome(gave_up=True))

    def _add(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcome += outcome


def _failure(entry: Mapping[str, Any], error: FreightError) -> Failure:
    return Failure(
        entry["key"],
        Action(entry["action"]),
        entry["location"] or "the manifest",
        error.kind,
        str(error),
        # A store that was waited for in vain has had its time.
        isinstance(error, TransientError) and not isinstance(error, UnavailableError),
    )


class _Batch:
    """A batch under way: what is left of it, and what failed."""

    def __init__(self, number: int, entries: pa.Table, earlier: BatchRecord | None) -> None:
        self.number = number
        self._objects, self._bytes = entries.num_rows, pa.compute.sum(entries["size"]).as_py()
        rows: list[dict[str, Any]] = entries.to_pylist()
        again = {row["key"] for row in rows}
        if earlier is not None and again.issuperset(earlier.failed):  # or it is no record of ours
            again = set(earlier.failed)
        self.entries = [row for row in rows if row["key"] in again]
        self.skipped = len(rows) - len(self.entries)
        self.skipped_bytes = self._bytes - sum(row["size"] for row in self.entries)
        self._left = len(self.entries)
        self._failed: list[str] = []
        recorded = earlier.checksums if earlier and len(earlier.checksums) == len(rows) else None
        checksums = recorded or [""] * len(rows)
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
