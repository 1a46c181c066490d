"""What of a local disk outlives a power failure, and in which order it gets there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from histories import History, create

from prefect_freight import export
from prefect_freight.stores import Flushing
from prefect_freight.stores.urls import open_store


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return what the disk is asked for, as it is asked: (call, name)."""
    steps: list[tuple[str, str]] = []

    def logged(name: str, real: Callable[..., Any], path: Callable[..., str]) -> None:
        def call(*args: Any) -> Any:
            steps.append((name, path(*args)))
            return real(*args)

        monkeypatch.setattr(os, name, call)

    logged("fsync", os.fsync, lambda descriptor: os.readlink(f"/proc/self/fd/{descriptor}"))
    logged("replace", os.replace, lambda old, new: str(new))
    logged("unlink", os.unlink, str)
    return steps


def test_a_record_is_on_the_disk_before_its_name_and_that_before_the_next(
    tmp_path: Path, steps: list[tuple[str, str]]
) -> None:
    store = open_store(str(tmp_path / "copy"))
    store.write(".freight/runs/000001-x.json", b"{}")
    steps.clear()
    store.write(".freight/runs/000001-x.json", b"{}")
    runs = str(tmp_path / "copy" / ".freight" / "runs")
    assert [call for call, _ in steps] == ["fsync", "replace", "fsync"]
    assert [path for _, path in steps[1:]] == [f"{runs}/000001-x.json", runs]


def test_new_folders_of_records_are_on_the_disk_too(
    tmp_path: Path, steps: list[tuple[str, str]]
) -> None:
    open_store(str(tmp_path / "copy")).write(".freight/000001-x/manifest/manifest.json", b"{}")
    synced = {path for call, path in steps if call == "fsync"}
    above = ("", "copy", "copy/.freight", "copy/.freight/000001-x")
    assert synced >= {str(tmp_path / folder) for folder in above}


@pytest.mark.parametrize("key", ["a/0", ".freight/000001-x/ledger/chunks/000000/000000000.json"])
def test_data_and_what_is_moved_again_without_it_are_not_waited_for(
    tmp_path: Path, steps: list[tuple[str, str]], key: str
) -> None:
    store = open_store(str(tmp_path))
    store.write(key, b"1")
    steps.clear()
    store.write(key, b"1")
    assert [call for call, _ in steps] == ["replace"]


def test_a_marker_is_gone_from_the_disk_before_what_it_vouches_for_changes(
    tmp_path: Path, steps: list[tuple[str, str]]
) -> None:
    store = open_store(str(tmp_path))
    store.write("EXPORT_x_SUCCESS", b"1")
    steps.clear()
    store.delete(["EXPORT_x_SUCCESS"])
    gone = ("unlink", f"{tmp_path}/EXPORT_x_SUCCESS")
    assert steps == [gone, ("fsync", str(tmp_path))]


def test_the_records_say_whole_only_after_the_marker_and_that_after_all_data(
    tmp_path: Path, steps: list[tuple[str, str]]
) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a"))
    store = open_store(str(tmp_path / "copy"))
    assert isinstance(store, Flushing)
    flush = store.flush
    store.flush = lambda: (steps.append(("flush", "")), flush())[1]  # type: ignore[method-assign, func-returns-value]
    steps.clear()
    report = export(history.path, store, settle_s=0)
    named = [Path(path).name for call, path in steps if call in ("replace", "flush")]
    marker, last = named.index(report.marker), named.index("last.json")
    assert named.index(".zmetadata") < named.index("") < marker < last
