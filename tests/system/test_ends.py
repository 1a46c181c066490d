"""However an export ends, it ends in the same way under both runners."""

import functools
import itertools
import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from histories import History, create, data
from scripted import LOCK, Script, ScriptedObjectStore, ScriptedStore, by_the_book

from prefect_freight import ExportReport, export
from prefect_freight.control.holder import Holder
from prefect_freight.control.runs import read_runs
from prefect_freight.errors import (
    AccessError,
    IncompleteError,
    InputError,
    LockedError,
    StorageFullError,
)
from prefect_freight.flows import export_repo
from prefect_freight.steps.move_unit import GIVE_UP_AFTER
from prefect_freight.stores.urls import open_store

CHUNKS, THREADS, NTH = 300, 4, 100
"""Two batches; what goes wrong does so at the n-th chunk."""
UNIT = 4000
"""Objects of a unit at least."""
NO_PROCESS = 2**22 + 1
type Run = Callable[..., ExportReport]


@pytest.fixture(params=["plain", "prefect"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return a function that exports by one of the runners."""
    if request.param == "plain":
        return functools.partial(export, concurrency=THREADS, settle_s=0)
    request.getfixturevalue("prefect_server")

    def by_flow(source: Path | str, store: ScriptedStore, **options: str) -> ExportReport:
        report: ExportReport = export_repo(
            str(source), ScriptedObjectStore.of(store), concurrency=THREADS, **options
        )
        return report

    return by_flow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    history = History(tmp_path_factory.mktemp("ends") / "repository")
    history.commit(create("a", CHUNKS, chunks=(1,)), create("g/b"))
    return history.path


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    copy = tmp_path_factory.mktemp("whole") / "copy"
    export(source, copy)
    return data(copy)


@pytest.fixture
def store(tmp_path: Path) -> ScriptedStore:
    return ScriptedStore(open_store(str(tmp_path / "copy")))


def is_chunk(operation: str, key: str) -> bool:
    return operation == "write" and key.startswith("a/") and key[2:].isdigit()


def at_chunk(n: int, act: Callable[[bool], None]) -> Script:
    """Return a script that acts at the n-th chunk and all that follow; it is told which it is."""
    numbers = itertools.count(1)

    def script(operation: str, key: str) -> None:
        if is_chunk(operation, key) and (number := next(numbers)) >= n:
            act(number == n)

    return script


def refusing(wrong: Callable[[str, str], bool], error: Exception) -> Callable[..., Script]:
    def script(operation: str, key: str) -> None:
        if wrong(operation, key):
            raise error

    return lambda store: script


def failing(error: Exception) -> Callable[[ScriptedStore], Script]:
    def act(first: bool) -> None:
        raise error

    return lambda store: at_chunk(NTH, act)


def stealing(store: ScriptedStore) -> Script:
    """Somebody takes the lock over, and is killed."""
    thief = json.dumps(asdict(replace(Holder.this(), user="thief", pid=NO_PROCESS))).encode()
    return at_chunk(NTH, lambda first: store.inner.write(LOCK, thief) if first else None)


def interrupting(store: ScriptedStore) -> Script:
    """Somebody presses Ctrl-C; what is under way takes its time."""

    def act(first: bool) -> None:
        if first:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.05)

    return at_chunk(NTH, act)


def late(operation: str, key: str) -> Callable[[ScriptedStore], Script]:
    """An operation is found impossible once chunks have moved."""

    def make(store: ScriptedStore) -> Script:
        moving = threading.Event()

        def script(now: str, on: str) -> None:
            if is_chunk(now, on):
                moving.set()
            if moving.is_set() and (now, on) == (operation, key):
                raise InputError("cannot be asked that")

        return script

    return make


@dataclass(frozen=True)
class End:
    """What goes wrong, and what comes of it."""

    name: str
    script: Callable[[ScriptedStore], Script]
    error: type[BaseException]
    cause: type[BaseException] | None
    line: str
    """Of the marker of the failure; empty where none may be put."""
    state: str = "failed"
    """Of the run's record."""


ENDS = [
    End("gone", failing(AccessError("expired")), IncompleteError, IncompleteError, "expired"),
    End("full", failing(StorageFullError("no room")), IncompleteError, IncompleteError, "no room"),
    # The run is the thief's now: nothing is said of it.
    End("lost lock", stealing, IncompleteError, LockedError, "", "open"),
    End("interrupt", interrupting, KeyboardInterrupt, None, "interrupted when "),
    End(
        "ledger",
        refusing(
            lambda operation, key: operation == "write" and "/ledger/" in key,
            AccessError("may not record"),
        ),
        IncompleteError,
        IncompleteError,
        "may not record",
    ),
    End("late input", late("list", ""), IncompleteError, InputError, "cannot be asked that"),
    End(
        "marker",
        refusing(
            lambda operation, key: operation == "write" and key.endswith("_SUCCESS"),
            AccessError("may not mark"),
        ),
        IncompleteError,
        AccessError,
        "may not mark",
    ),
]


@pytest.mark.usually("plain")
@pytest.mark.usually("prefect-gone")
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
def test_an_export_that_fails_says_so_and_the_next_one_ends_whole(
    run: Run,
    store: ScriptedStore,
    source: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    end: End,
) -> None:
    copy = tmp_path / "copy"
    store.script = end.script(store)
    with pytest.raises(end.error) as caught:
        run(source, store)
    nothing_moves(store)
    cause = caught.value.__cause__
    assert cause is None if end.cause is None else isinstance(cause, end.cause)
    markers = [marker.read_text() for marker in copy.glob("EXPORT_*_FAILURE")]
    assert [end.line in marker for marker in markers] == ([True] if end.line else [])
    assert not list(copy.glob("EXPORT_*_SUCCESS"))
    assert [record.state for record in read_runs(store.inner)] == [end.state]
    assert (copy / LOCK).exists() == (end.name == "lost lock")
    ends_whole(run, store, source, copy, whole)


def nothing_moves(store: ScriptedStore) -> None:
    """Nothing moved when the lock was given up, and nothing has begun since."""
    assert store.changing_at_release in (0, None)
    assert store.changing == 0
    changes = store.changes
    time.sleep(0.2)
    assert store.changes == changes


def ends_whole(
    run: Run, store: ScriptedStore, source: Path, copy: Path, whole: dict[str, bytes]
) -> None:
    store.script = by_the_book
    report = run(source, store)
    assert report.whole
    assert data(copy) == whole
    assert [marker.name for marker in copy.glob("EXPORT_*")] == [report.marker]
    assert read_runs(store.inner)[-1].state == "whole"
    assert not (copy / LOCK).exists()


@pytest.mark.parametrize("wrong", ["gone", "ledger"])
def test_nothing_that_vouches_for_what_is_not_done_is_put(
    run: Run, store: ScriptedStore, source: Path, tmp_path: Path, wrong: str
) -> None:
    store.script = next(end for end in ENDS if end.name == wrong).script(store)
    with pytest.raises(IncompleteError):
        run(source, store)
    assert all(key.rpartition("/")[2].isdigit() for key in data(tmp_path / "copy"))


def test_what_moved_before_an_interrupt_is_counted_and_not_moved_again(
    run: Run, store: ScriptedStore, source: Path, tmp_path: Path
) -> None:
    store.script = interrupting(store)
    with pytest.raises(KeyboardInterrupt):
        run(source, store)
    (written,) = (tmp_path / "copy").glob(".freight/*/report.json")
    moved = json.loads(written.read_text())["objects_transferred"]
    assert NTH - THREADS <= moved == len(data(tmp_path / "copy"))
    store.script = by_the_book
    report = run(source, store)
    assert (report.resumed, report.objects_skipped) == (True, moved)


def test_an_unsound_record_leads_to_one_more_attempt_that_trusts_nothing(
    run: Run, store: ScriptedStore, source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    refuse = refusing(lambda _, key: key == "a/.zarray", AccessError("may not write"))
    store.script = refuse(store)
    with pytest.raises(IncompleteError, match="may not write"):
        run(source, store)
    (copy / "a" / "7").unlink()
    store.script = by_the_book
    report = run(source, store)
    assert report.objects_transferred == len(whole)
    assert data(copy) == whole
    assert [record.state for record in read_runs(store.inner)] == ["unsound", "whole"]
    assert [marker.name for marker in copy.glob("EXPORT_*")] == [report.marker]


def test_an_export_that_is_refused_leaves_nothing(
    run: Run, store: ScriptedStore, tmp_path: Path
) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("sharded", 8, chunks=(2,), shards=(4,)))
    with pytest.raises(InputError, match="shard"):
        run(history.path, store)
    assert [path for path in (tmp_path / "copy").rglob("*") if path.is_file()] == []


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose files are three units."""
    folder = tmp_path_factory.mktemp("units") / "a"
    folder.mkdir()
    for number in range(3 * UNIT):
        (folder / str(number)).touch()
    return folder.parent


@pytest.mark.parametrize(
    ("error", "most"),
    [
        # Each thread may have failed once more before it saw that the unit had given up.
        (AccessError("expired"), GIVE_UP_AFTER + THREADS),
        (StorageFullError("no room"), THREADS + 1),
    ],
)
def test_where_nothing_works_any_more_no_other_unit_is_begun(
    run: Run, store: ScriptedStore, units: Path, error: Exception, most: int
) -> None:
    tried: list[str] = []

    def script(operation: str, key: str) -> None:
        if is_chunk(operation, key):
            tried.append(key)
            raise error

    store.script = script
    with pytest.raises(IncompleteError, match=str(error)):
        run(f"objects+file://{units}", store, format="objects")
    nothing_moves(store)
    assert len(tried) <= 2 * most  # Prefect has two units under way, and the third is not begun
