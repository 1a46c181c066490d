"""A store that is down for a while is waited for; an object that fails alone is not."""

import json
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fixtures_faults import read_copy
from folders import Folder, put
from histories import History, create, data, tree
from proxies import Fault, Rule, proxied
from runners import Run
from scripted import LOCK, Script, ScriptedStore
from servers import S3Server

from prefect_freight import export as export_plainly
from prefect_freight.control.holder import Holder
from prefect_freight.control.lock import LEASE
from prefect_freight.errors import (
    IncompleteError,
    InputError,
    StorageFullError,
    TransientError,
)
from prefect_freight.events import Event, Notice
from prefect_freight.retry import ATTEMPTS
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.stores.patient import PROBE
from prefect_freight.stores.urls import open_store

CHUNKS, THREADS, NTH = 300, 8, 100
NO_PROCESS = 2**22 + 1


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> str:
    history = History(tmp_path_factory.mktemp("outages") / "repository")
    history.commit(create("a", CHUNKS, chunks=(1,)))
    return str(history.path)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = Folder(tmp_path_factory.mktemp("outages") / "objects")
    folder.change(*(put(f"a/{n}", b"%d" % n) for n in range(CHUNKS)))
    return folder.url


@pytest.fixture
def store(tmp_path: Path) -> ScriptedStore:
    return ScriptedStore(open_store(str(tmp_path / "copy")))


class Outage:
    """From the n-th object on nothing is answered, until so many requests have failed."""

    def __init__(self, failing: int, operations: str = ".*", n: int = NTH) -> None:
        self.left, self._operations, self._n = failing, operations, n
        self.began = threading.Event()
        self._lock, self._puts = threading.Lock(), 0

    def __call__(self, operation: str, key: str) -> None:
        with self._lock:
            self._puts += operation == "write" and key.startswith("a/")
            if self._puts < self._n or self.left <= 0:
                return
            if re.fullmatch(self._operations, operation):
                self.left -= 1
                self.began.set()
                raise TransientError("503")


def always(operation: str, key: str) -> Script:
    """Return a script in which one operation on one key fails for ever."""

    def script(now: str, on: str) -> None:
        if (now, on) == (operation, key):
            raise TransientError("500")

    return script


FAILING = THREADS * ATTEMPTS
"""As many as made all that is under way fail, when nothing was waited for."""
LAYOUTS = {"zarr2": "array", "zarr3": "array", "objects": "objects"}


@pytest.mark.usually("plain-zarr2-all")
@pytest.mark.by_flow_too("zarr2", "all")
@pytest.mark.parametrize(
    "operations", ["all", pytest.param("write", marks=pytest.mark.slow)], ids=["all", "write"]
)
@pytest.mark.parametrize(
    "layout",
    ["zarr2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zarr3", "objects"))],
)
def test_an_outage_is_outlived(
    export: Run,
    store: ScriptedStore,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    layout: str,
    operations: str,
) -> None:
    source = request.getfixturevalue(LAYOUTS[layout])
    outage = Outage(FAILING, ".*" if operations == "all" else operations)
    store.script = outage
    report = export(source, store, format=layout, concurrency=THREADS)
    assert (report.whole, report.objects_failed, outage.left) == (True, 0, 0)
    export_plainly(source, tmp_path / "clean", format=layout)
    assert data(tmp_path / "copy") == data(tmp_path / "clean")


def test_an_outage_that_lasts_too_long_ends_the_export_once_it_has(
    export: Run, store: ScriptedStore, array: str
) -> None:
    store.script = outage = Outage(10**6)
    with pytest.raises(IncompleteError, match=r"503.*was waited for 3 s") as caught:
        export(array, store, concurrency=THREADS, retry_for=3.0)
    report = caught.value.report
    assert report is not None
    assert 10**6 - outage.left < 2 * FAILING + 64 + 100
    # What was under way failed, what never was has not: it is not begun.
    assert report.objects_not_begun > 0
    planned = sum(report.rounds.values())
    done = report.objects_transferred + report.objects_failed + report.objects_not_begun
    assert done == planned
    outage.left = 0
    again = export(array, store)
    assert (again.whole, again.resumed) == (True, True)


@pytest.mark.parametrize("threads", [1, pytest.param(THREADS, marks=pytest.mark.slow)])
def test_an_object_that_fails_while_others_pass_is_not_waited_for(
    export: Run, store: ScriptedStore, array: str, threads: int, tmp_path: Path
) -> None:
    store.script = always("write", "a/7")
    with pytest.raises(IncompleteError, match=r"could not put 'a/7': 500$|'a/7': 500\.") as caught:
        export(array, store, concurrency=threads)
    report = caught.value.report
    assert report is not None
    assert (report.objects_failed, report.objects_transferred) == (1, CHUNKS - 1)
    assert not (tmp_path / "copy" / PROBE).exists()


@pytest.mark.slow
def test_one_that_fails_alone_at_the_end_is_not_waited_for_either(
    store: ScriptedStore, array: str
) -> None:
    store.script, notices = always("write", ".zmetadata"), []
    with pytest.raises(IncompleteError, match=r"could not put '.zmetadata': 500"):
        export_plainly(array, store, settle_s=0, on_event=noticed(notices))
    assert notices == []


def test_each_wait_is_told(store: ScriptedStore, array: str, tmp_path: Path) -> None:
    store.script, notices = Outage(FAILING), []
    export_plainly(array, store, settle_s=0, concurrency=THREADS, on_event=noticed(notices))
    place = re.escape(f"file://{tmp_path / 'copy'}")
    assert re.fullmatch(rf"503\. Waiting for {place} to answer, for up to 29\d s more", notices[0])
    assert re.fullmatch(rf"{place} answers again, after \d+ s", notices[-1])


def noticed(notices: list[str]) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    return listen


def when_all_wait(outage: Outage, act: Callable[[], object]) -> None:
    """Do something, in a thread, once nobody has asked the store for anything for a while."""

    def watch() -> None:
        outage.began.wait(60)
        left = None
        while left != outage.left:
            left = outage.left
            time.sleep(1)
        act()

    threading.Thread(target=watch, daemon=True).start()


def test_an_interrupt_ends_a_wait_at_once(
    export: Run, store: ScriptedStore, array: str, tmp_path: Path
) -> None:
    store.script = outage = Outage(10**6)
    pressed = []

    def press() -> None:
        pressed.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    when_all_wait(outage, press)
    with pytest.raises(KeyboardInterrupt):
        export(array, store, concurrency=THREADS)
    assert time.monotonic() - pressed[0] < 5  # and not 300
    outage.left = 0
    assert export(array, store).whole


@pytest.mark.slow
def test_a_lock_that_was_taken_over_meanwhile_ends_it_and_nothing_more_is_written(
    export: Run, store: ScriptedStore, array: str, tmp_path: Path
) -> None:
    store.script = outage = Outage(10**6)
    thief = json.dumps(asdict(replace(Holder.this(), user="thief", pid=NO_PROCESS))).encode()
    there: list[dict[str, bytes]] = []

    def take_over() -> None:
        store.inner.write(LOCK, thief)
        there.append(tree(tmp_path / "copy"))
        outage.left = 0

    when_all_wait(outage, take_over)
    with pytest.raises(IncompleteError, match="taken over by thief"):
        export(array, store, concurrency=THREADS)
    assert tree(tmp_path / "copy") == there[0]


@pytest.mark.slow
def test_an_outage_longer_than_the_lease_leaves_the_lock_ours(
    export: Run, store: ScriptedStore, array: str
) -> None:
    store.script = outage = Outage(10**6)
    ends = LEASE.lease_s + 10
    threading.Thread(
        target=lambda: (outage.began.wait(), time.sleep(ends), setattr(outage, "left", 0)),
        daemon=True,
    ).start()
    report = export(array, store, concurrency=THREADS)
    assert report.whole
    assert report.seconds > LEASE.lease_s


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET_BEFORE])
@pytest.mark.parametrize("key", ["^copy/", "^repository/"], ids=["destination", "source"])
def test_an_outage_of_a_server_is_outlived(
    export: Run, s3: S3Server, many: str, many_copy: dict[str, bytes], fault: Fault, key: str
) -> None:
    with proxied(s3.endpoint_url, Rule(fault, key=key, first=600, times=500)) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        store = open_store(f"s3://{s3.new_bucket()}/copy", config)
        source = IcechunkSource(many, config)
        report = export(source, store, retry_for=120.0)
        assert proxy.faults[fault] > 100
    assert report.whole
    assert read_copy(open_store(store.url, s3.config())) == many_copy


def test_a_full_store_is_not_waited_for(store: ScriptedStore, array: str) -> None:
    notices: list[str] = []

    def full(operation: str, key: str) -> None:
        if operation == "write" and key.startswith("a/"):
            raise StorageFullError("no room")

    store.script = full
    with pytest.raises(IncompleteError, match="no room") as caught:
        export_plainly(array, store, settle_s=0, on_event=noticed(notices))
    report = caught.value.report
    assert report is not None
    assert notices == []
    # Each thread may have met it once.
    assert report.objects_failed <= 64
    assert report.objects_not_begun == sum(report.rounds.values()) - report.objects_failed
    assert report.notes == (f"{report.objects_not_begun:,} objects were not begun",)
    marker = store.inner.read(report.marker).decode()
    assert marker.endswith(
        f"no room. What was moved is recorded; run the same command again to "
        f"move the rest\n{report.notes[0]}\n"
    )


def test_a_time_below_nothing_is_refused(store: ScriptedStore, array: str) -> None:
    with pytest.raises(InputError, match="expected retry_for of 0 seconds or more, found -1"):
        export_plainly(array, store, retry_for=-1)
