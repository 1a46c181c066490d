"""What may be written while a lock is held, and what past its lease."""

import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from elsewhere import write_there
from scripted import LOCK, ScriptedStore, by_the_book

from prefect_freight.control.holder import Holder, read_holder
from prefect_freight.control.lease import Lease
from prefect_freight.control.lock import Lock, hold_lock
from prefect_freight.errors import LockedError, TransientError
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

LEASE = Lease(lease_s=45, renew_s=12, look_s=0.02)
QUICK = Lease(lease_s=1.2, renew_s=0.2, look_s=0.02)


class Clock:
    """Time as a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def destination(destination: Store) -> ScriptedStore:
    return ScriptedStore(destination)


CHANGES: dict[str, Callable[[Store], object]] = {
    "write": lambda store: store.write("k", b"x"),
    "write_new": lambda store: store.write_new("new", b"x"),
    "replace": lambda store: store.replace("k", b"x", store.read_tagged("k")[1]),
    "delete": lambda store: store.delete(["k"]),
}


def ended_by(error: type[Exception], act: Callable[[], object]) -> str:
    """Do something again and again; return the text of the error that it ends by."""
    deadline = time.monotonic() + 10
    text = ""
    while time.monotonic() < deadline:
        try:
            act()
        except (LockedError, TransientError) as caught:
            text = str(caught)
            if isinstance(caught, error):
                return text
        time.sleep(0.01)
    raise AssertionError(f"it did not end, but by {text!r}")


def steal(destination: ScriptedStore) -> None:
    thief = replace(Holder.this(), user="thief")
    destination.inner.write(LOCK, json.dumps(asdict(thief)).encode())


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_past_the_lease_nothing_changes_once_another_has_the_lock(
    destination: ScriptedStore, change: Callable[[Store], object]
) -> None:
    clock = Clock()
    destination.inner.write("k", b"as it was")
    with hold_lock(destination, lease=LEASE, clock=clock) as lock:
        steal(destination)
        clock.now += LEASE.good_for_s
        with pytest.raises(LockedError, match="taken over by thief"):
            change(lock.destination)
        assert destination.inner.read("k") == b"as it was"
        lock.destination.read("k")  # which harms nobody
    holder = read_holder(destination)
    assert holder is not None
    assert holder.user == "thief", "the loser does not give up the winner's lock"


def test_within_the_lease_nothing_is_asked(destination: ScriptedStore) -> None:
    clock, asked = Clock(), []
    with hold_lock(destination, lease=LEASE, clock=clock) as lock:
        clock.now += LEASE.good_for_s - 1
        destination.script = lambda operation, key: asked.append((operation, key))
        lock.destination.write("k", b"x")
        assert asked == [("write", "k")]
        destination.script = by_the_book


def test_past_the_lease_it_is_renewed_first_if_nobody_took_it(destination: ScriptedStore) -> None:
    clock, order = Clock(), []
    with hold_lock(destination, lease=LEASE, clock=clock) as lock:
        clock.now += 10 * LEASE.lease_s
        destination.script = lambda operation, key: order.append((operation, key))
        with suppress(TransientError):  # once, on a busy machine: the renewal is under way
            lock.destination.write("k", b"x")
        lock.destination.write("k", b"x")
        assert order[:2] == [("read", LOCK), ("replace", LOCK)]
        assert ("write", "k") in order[2:]  # perhaps with one more renewal behind it
        destination.script = by_the_book
    assert read_holder(destination) is None


def test_while_it_cannot_be_renewed_nothing_is_written_and_afterwards_it_goes_on(
    destination: ScriptedStore,
) -> None:
    clock, silent = Clock(), threading.Event()

    def script(operation: str, key: str) -> None:
        if silent.is_set() and key == LOCK:
            raise TransientError("no answer")

    destination.script = script
    with hold_lock(destination, lease=LEASE, clock=clock) as lock:
        silent.set()
        clock.now += LEASE.good_for_s
        assert "no answer" in ended_by(TransientError, lambda: lock.destination.write("k", b"x"))
        silent.clear()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(TransientError):
                lock.destination.write("k", b"x")
                break
        assert destination.read("k") == b"x"


def test_a_lock_that_was_given_up_permits_nothing(destination: ScriptedStore) -> None:
    with hold_lock(destination) as lock:
        pass
    with pytest.raises(LockedError, match="given up"):
        lock.destination.write("k", b"x")


def test_another_process_looks_at_the_lock_itself(tmp_path: Path) -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        hold_lock(open_store(str(tmp_path / "copy")), lease=Lease(look_s=0.05)) as lock,
    ):
        assert pool.submit(write_there, lock.destination, "a").result() == "written"
        steal(ScriptedStore(open_store(str(tmp_path / "copy"))))
        assert "taken over by thief" in pool.submit(write_there, lock.destination, "b").result()
        lock.release()
    assert not (tmp_path / "copy/b").exists()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[Store, Lock]]:
    """Return a destination as another process has it, and the lock that it is written under."""
    with hold_lock(open_store(str(tmp_path / "copy")), lease=QUICK) as lock:
        yield pickle.loads(pickle.dumps(lock.destination)), lock


def test_elsewhere_it_ends_when_the_lock_is_given_up(elsewhere: tuple[Store, Lock]) -> None:
    store, lock = elsewhere
    store.write("k", b"x")
    lock.release()
    assert "removed" in ended_by(LockedError, lambda: store.write("k", b"x"))


def test_elsewhere_it_goes_on_as_long_as_the_lock_is_renewed(
    elsewhere: tuple[Store, Lock],
) -> None:
    store, _ = elsewhere
    deadline = time.monotonic() + 2 * QUICK.lease_s
    while time.monotonic() < deadline:
        with suppress(TransientError):  # once, on a busy machine
            store.write("k", b"x")
        time.sleep(0.01)
    store.write("k", b"x")


def test_elsewhere_it_ends_when_nobody_renews(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "copy"))
    with hold_lock(store, lease=Lease(lease_s=1.0, renew_s=0.5, look_s=0.02)) as lock:
        there = pickle.loads(pickle.dumps(lock.destination))
        record = store.read(LOCK)
    store.write(LOCK, record)  # as its holder left it who was killed
    assert "not renewed" in ended_by(TransientError, lambda: there.write("k", b"x"))


class Taker:
    """One who has waited for the lease of a holder elsewhere, and takes over at a signal."""

    def __init__(self, destination: Store, at: threading.Barrier) -> None:
        self._destination, self._at = destination, at
        self._clock = Clock()
        self.wrote = False
        self.ended = threading.Event()

    def run(self) -> None:
        lease = {"lease": LEASE, "clock": self._clock, "sleep": self._sleep}
        with suppress(LockedError), hold_lock(self._destination, **lease) as lock:  # type: ignore[arg-type]
            lock.destination.write("k", b"taker")
            self.wrote = True
            self.ended.wait(10)

    def _sleep(self, seconds: float) -> None:
        self._clock.now += LEASE.lease_s
        self._at.wait()


@pytest.mark.parametrize("turn", range(5))
def test_of_a_holder_who_wakes_up_and_one_who_takes_over_one_writes(
    destination: ScriptedStore, turn: int
) -> None:
    clock, barrier = Clock(), threading.Barrier(2)
    with hold_lock(destination, lease=LEASE, clock=clock) as lock:
        holder = read_holder(destination)
        assert holder is not None
        # As one on another machine, who is not seen to live.
        record = json.dumps(asdict(replace(holder, place="another machine")))
        destination.inner.write(LOCK, record.encode())
        taker = Taker(destination, barrier)
        thread = threading.Thread(target=taker.run)
        thread.start()
        barrier.wait()
        time.sleep(turn / 200)
        clock.now += 2 * LEASE.lease_s
        text = wrote(lambda: lock.destination.write("k", b"holder"))
        # Whoever came first has it; the other has written nothing.
        taker.ended.set()
        thread.join()
        assert (text == "") is not taker.wrote
        assert destination.read("k") == (b"taker" if taker.wrote else b"holder")


def wrote(act: Callable[[], object]) -> str:
    """Do something until it is done or refused; return why it was refused."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            act()
        except TransientError:
            continue
        except LockedError as error:
            return str(error)
        else:
            return ""
    raise AssertionError("it was neither done nor refused")
