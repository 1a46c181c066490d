"""One export at a destination at a time."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from damaging import WHOLE
from scripted import ScriptedStore

from prefect_freight.control.holder import Holder, began_of, parse_holder, read_holder, to_json
from prefect_freight.control.lease import Lease
from prefect_freight.control.lock import LEASE, LOCK, Lock, hold_lock
from prefect_freight.errors import LockedError, TransientError
from prefect_freight.events import Event
from prefect_freight.stores import Store
from prefect_freight.stores.local import LocalStore


def put(destination: Store, holder: Holder) -> None:
    destination.write(LOCK, json.dumps(asdict(holder)).encode())


def keys(destination: Store) -> list[str]:
    return [key for page in destination.list() for key in page["key"].to_pylist()]


class Clock:
    """Time that passes only when somebody sleeps; `at` does something at a moment."""

    def __init__(self, at: float = -1, do: object = None) -> None:
        self.now, self._at, self._do = 0.0, at, do

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._do and self._at >= 0 and self.now >= self._at:
            self._at = -1
            self._do()  # type: ignore[operator]


def test_a_lock_is_there_while_it_is_held_and_gone_after(destination: Store) -> None:
    with hold_lock(destination):
        holder = read_holder(destination)
        assert holder is not None
        assert holder.pid == os.getpid()
    assert keys(destination) == []


def test_the_second_is_told_who_holds_it_since_when(destination: Store) -> None:
    with (
        hold_lock(destination),
        pytest.raises(LockedError, match=rf"process {os.getpid()}\) since 20"),
    ):
        hold_lock(destination).__enter__()


def test_a_holder_that_was_killed_on_this_host_loses_it_at_once(destination: Store) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = replace(Holder.this(), pid=child.pid, began=began_of(child.pid) or "")
    child.communicate()
    put(destination, dead)
    said: list[Event] = []
    with hold_lock(destination, said.append, sleep=pytest.fail):
        assert "which is gone" in str(said)
    assert keys(destination) == []


def test_a_holder_elsewhere_that_does_not_renew_loses_it_when_its_lease_ends(
    destination: Store,
) -> None:
    put(destination, replace(Holder.this(), place="another machine"))
    clock, said = Clock(), []
    with hold_lock(destination, said.append, sleep=clock.sleep, clock=lambda: clock.now):
        assert LEASE.lease_s <= clock.now <= 60
    assert "waiting up to 45 s" in str(said)


def test_a_holder_elsewhere_that_renews_keeps_it(destination: Store) -> None:
    holder = replace(Holder.this(), place="another machine")
    put(destination, holder)
    clock = Clock(at=12, do=lambda: put(destination, replace(holder, renewals=1)))
    with pytest.raises(LockedError):
        hold_lock(destination, sleep=clock.sleep, clock=lambda: clock.now).__enter__()
    assert clock.now < LEASE.lease_s


def test_of_many_who_see_a_dead_holder_one_gets_it(destination: Store) -> None:
    put(destination, replace(Holder.this(), pid=2**22 + 1))
    held, refused, barrier = [], [], threading.Barrier(8)

    def contend() -> None:
        barrier.wait()
        try:
            with hold_lock(destination):
                held.append(1)
                done.wait(10)
        except LockedError:
            refused.append(1)
            if len(refused) == 7:
                done.set()

    done = threading.Event()
    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 7)


def check_for(seconds: float, lock: Lock) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lock.check()
        time.sleep(0.01)


def test_a_change_that_an_interrupt_left_hanging_keeps_the_lock_until_it_ends(
    destination: Store,
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def hang(operation: str, key: str) -> None:
        if key == "k":
            begun.set()
            goes_on.wait(20)

    def interrupted() -> None:
        with hold_lock(ScriptedStore(destination, hang)) as lock:
            threading.Thread(target=lock.destination.write, args=("k", b"x"), daemon=True).start()
            begun.wait(20)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read_holder(destination) is not None
    goes_on.set()
    deadline = time.monotonic() + 20
    while read_holder(destination) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert read_holder(destination) is None


def test_a_lock_that_was_taken_away_is_noticed(destination: Store) -> None:
    thief = replace(Holder.this(), user="thief")
    with hold_lock(destination, lease=Lease(renew_s=0.05)) as lock:
        put(destination, thief)
        with pytest.raises(LockedError, match="taken over by thief"):
            check_for(5, lock)
    assert read_holder(destination) == thief


def test_a_lock_that_is_given_up_between_the_put_and_the_look_is_taken_as_a_free_one(
    tmp_path: Path,
) -> None:
    class GivenUp(LocalStore):
        """Says once that there is a lock, which is gone when it is looked at."""

        tries = 0

        def write_new(self, key: str, data: bytes) -> bool:
            self.tries += 1
            return False if self.tries == 1 else super().write_new(key, data)

    store = GivenUp(str(tmp_path))
    with hold_lock(store):
        assert keys(store) == [LOCK]
    assert store.tries == 2


def test_where_nobody_says_whose_it_is_a_lock_is_not_given_up(tmp_path: Path) -> None:
    unreadable = threading.Event()

    store = Unreadable(str(tmp_path / "copy"), unreadable)
    lease = Lease(lease_s=0.4, renew_s=0.1, look_s=0.05)
    with hold_lock(store, lease=lease):
        unreadable.set()
        time.sleep(0.5)  # long enough for somebody else to have it
        another = replace(Holder.this(), owner="another")
        (tmp_path / "copy" / LOCK).write_text(json.dumps(asdict(another)))
    unreadable.clear()
    holder = read_holder(store)
    assert holder is not None
    assert holder.owner == "another"


class Unreadable(LocalStore):
    """A store that does not answer who asks for the lock, while an event is set."""

    def __init__(self, root: str, silent: threading.Event) -> None:
        super().__init__(root)
        self._silent = silent

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        if key == LOCK and self._silent.is_set():
            raise TransientError("no answer")
        return super().read_tagged(key)


def test_a_process_that_nobody_may_look_at_is_not_dead() -> None:
    here = Holder.this()
    assert not replace(here, pid=os.getppid(), began=began_of(os.getppid()) or "").is_dead
    assert replace(here, pid=os.getppid(), began="0").is_dead
    assert replace(here, pid=2**22 + 1, began="1").is_dead


RIGHT = json.loads(to_json(Holder.this(), 3))
ODD = [
    json.dumps(RIGHT | {name: odd}).encode()
    for name in RIGHT
    for odd in (None, [], {"x": [[]]}, -1, True)
]


def test_what_is_no_record_of_a_lock_holds_nobody_up(tmp_path: Path) -> None:
    for number, odd in enumerate([*WHOLE, *ODD]):
        store = LocalStore(str(tmp_path / str(number)))
        for key in (LOCK, f"{LOCK}.unreadable"):
            store.write(key, odd)
        with hold_lock(store):
            assert read_holder(store) is not None


def test_a_holder_since_times_that_cannot_be_told_is_named_all_the_same() -> None:
    holder = parse_holder(json.dumps(RIGHT | {"since": 1e18}).encode())
    assert "9999" in str(holder)
