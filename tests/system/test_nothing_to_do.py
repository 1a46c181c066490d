"""An export whose copy lies there whole costs little, and puts a marker under the lock only."""

from collections.abc import Callable
from pathlib import Path

import pytest
from engine import run_engine
from folders import Folder, put
from histories import History, create, data
from proxies import proxied
from runners import Run, export_at_once
from scripted import ScriptedStore
from servers import S3Server

from prefect_freight.control.lock import hold_lock
from prefect_freight.errors import AccessError, FreightError, LockedError
from prefect_freight.stores.urls import open_store

AT_MOST = 12
"""Requests at the destination."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Return the path of a repository and two snapshots."""
    history = History(tmp_path_factory.mktemp("nothing") / "repository")
    first = history.commit(create("a", 40), create("g/b"))
    return str(history.path), first, history.commit(create("a", 30), create("c"))


@pytest.mark.parametrize("format_", ["zarr2", "zarr3", "objects"])
def test_it_costs_a_dozen_requests(
    export: Run, source: tuple[str, str, str], s3: S3Server, tmp_path: Path, format_: str
) -> None:
    folder = Folder(tmp_path / "folder")
    folder.change(*(put(f"f/{n}", b"x") for n in range(20)))
    place = folder.url if format_ == "objects" else source[0]
    with proxied(s3.endpoint_url) as proxy:
        config = s3.config(endpoint_url=proxy.endpoint_url)
        copy = open_store(f"s3://{s3.new_bucket()}/copy", config)
        export(place, copy, format=format_)
        proxy.forget()
        assert export(place, copy, format=format_).objects_transferred == 0
        assert {method for method, _ in proxy.requests} == {"GET"}
        assert proxy.requests.total() <= AT_MOST, proxy.requests


def markers(copy: Path) -> list[str]:
    return sorted(path.name for path in copy.glob("EXPORT_*"))


def test_with_its_marker_there_nothing_is_written_and_no_lock_is_taken(
    export: Run, source: tuple[str, str, str], tmp_path: Path
) -> None:
    store = ScriptedStore(open_store(str(tmp_path / "copy")))
    export(source[0], store)
    with hold_lock(store.inner):
        before = store.changes
        assert export(source[0], store).whole
    assert store.changes == before


def test_a_marker_that_was_removed_is_not_put_again_while_another_exports(
    export: Run, source: tuple[str, str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    report = export(source[0], copy)
    (copy / report.marker).unlink()
    with hold_lock(open_store(str(copy))), pytest.raises(LockedError, match="no other export"):
        export(source[0], copy)
    assert markers(copy) == []
    assert export(source[0], copy).whole
    assert markers(copy) == [report.marker]
    assert not (copy / ".freight/lock").exists()


def goes_wrong(operation: str, key: str) -> None:
    if operation == "write" and key.startswith("c/"):
        raise AccessError("may not write")


@pytest.mark.parametrize("other_ends", ["whole", "failed"])
@pytest.mark.parametrize("runner", ["plain", pytest.param("flow", marks=pytest.mark.slow)])
def test_of_two_markers_the_wrong_one_never_stays(
    request: pytest.FixtureRequest,
    source: tuple[str, str, str],
    tmp_path: Path,
    runner: str,
    other_ends: str,
) -> None:
    """Another export begins, changes all, and ends, between its look and its marker."""
    if runner == "flow":
        request.getfixturevalue("prefect_server")
    place, first, second = source
    copy = tmp_path / "copy"
    expected = tmp_path / "expected"
    export_at_once(place, copy, ref=first)
    export_at_once(place, expected, ref=first)
    store = ScriptedStore(open_store(str(copy)))
    store.script = meanwhile(lambda: other(place, copy, second, other_ends), f"EXPORT_{first}")
    (copy / f"EXPORT_{first}_SUCCESS").unlink()
    assert run_engine(runner, place, store, ref=first).whole
    assert markers(copy) == [f"EXPORT_{first}_SUCCESS"]
    assert data(copy) == data(expected)


def meanwhile(act: Callable[[], object], marker: str) -> Callable[[str, str], None]:
    """Return a script that does something once, before the marker is read."""
    done: list[str] = []

    def script(operation: str, key: str) -> None:
        if operation == "read" and key.startswith(marker) and not done:
            done.append(key)
            act()

    return script


def other(place: str, copy: Path, ref: str, ends: str) -> None:
    store = ScriptedStore(open_store(str(copy)))
    if ends == "failed":
        store.script = goes_wrong
    try:
        run_engine("plain", place, store, ref=ref)
    except FreightError:
        assert ends == "failed"
