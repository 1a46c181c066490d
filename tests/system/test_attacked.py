"""Ways in which a copy was once made to lie, or somebody's object lost; each holds now."""

import shutil
from pathlib import Path

import pytest
from dying import DyingStore
from histories import History, create, data, write
from runners import export_at_once
from scripted import ScriptedStore

from prefect_freight.errors import DestinationError, FreightError, IncompleteError, TransientError
from prefect_freight.stores.urls import open_store

BASE = (create("a", 30, chunks=(1,)), create("b", 9))


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path / "repository")
    history.commit(*BASE)
    return history


def killed_after(copy: Path, writes: int) -> DyingStore:
    return DyingStore(open_store(str(copy)), writes)


def test_what_was_assumed_and_never_written_down_makes_nothing_ours(
    history: History, tmp_path: Path
) -> None:
    copy, first = tmp_path / "copy", history.repository.lookup_branch("main")
    (copy / "b").mkdir(parents=True)
    (copy / "b" / "0").write_bytes(b"mine")
    history.commit(write("a", slice(0, 3), 7))
    refused = 0
    for writes in range(2, 8):  # killed before, while and after the base is written down
        store = killed_after(copy, writes)
        with pytest.raises(FreightError):
            export_at_once(history.path, store, from_ref=first, on_existing="merge")
        (copy / ".freight" / "lock").unlink(missing_ok=True)
        if (copy / ".freight").exists() and not any((copy / ".freight").rglob("base/manifest/*")):
            with pytest.raises(DestinationError, match="b/0"):
                export_at_once(history.path, copy, from_ref="last")
            refused += 1
    assert refused
    assert (copy / "b" / "0").read_bytes() == b"mine"


@pytest.mark.parametrize("end", ["SUCCESS", "FAILURE"])
def test_somebody_elses_marker_stays(history: History, tmp_path: Path, end: str) -> None:
    marker = tmp_path / "copy" / f"EXPORT_2024_{end}"
    marker.parent.mkdir()
    marker.write_text("the export of 2024 went well")
    export_at_once(history.path, tmp_path / "copy", on_existing="merge")
    export_at_once(history.path, tmp_path / "copy", ref="main", verify="checksums")
    assert marker.read_text() == "the export of 2024 went well"


def test_nothing_is_changed_through_a_link_in_the_copy(history: History, tmp_path: Path) -> None:
    export_at_once(history.path, tmp_path / "copy")
    before = data(tmp_path / "copy" / "a")
    (tmp_path / "copy" / "n").symlink_to("a")
    history.commit(create("n", 5, chunks=(1,)))
    with pytest.raises(IncompleteError, match="symbolic link"):
        export_at_once(history.path, tmp_path / "copy", on_existing="replace")
    assert data(tmp_path / "copy" / "a") == before


def test_records_older_than_the_copy_are_not_taken_for_it(history: History, tmp_path: Path) -> None:
    copy, first = tmp_path / "copy", history.repository.lookup_branch("main")
    export_at_once(history.path, copy)
    shutil.copytree(copy / ".freight", tmp_path / "yesterday")
    history.commit(write("a", slice(0, 9), 7))
    export_at_once(history.path, copy, from_ref="last")
    shutil.rmtree(copy / ".freight")
    shutil.copytree(tmp_path / "yesterday", copy / ".freight")
    report = export_at_once(history.path, copy, ref=first)
    assert report.objects_transferred > 0
    export_at_once(history.path, tmp_path / "fresh", ref=first)
    assert data(copy) == data(tmp_path / "fresh")
    assert [path.name for path in copy.glob("EXPORT_*")] == [report.marker]


def test_another_manifest_is_not_read_by_the_diff_of_the_one_that_is_gone(
    history: History, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    export_at_once(history.path, copy)
    history.commit(write("a", slice(0, 9), 7), create("c", 9, chunks=(1,)))

    def fail(operation: str, key: str) -> None:
        if operation == "write" and key == "c/3":
            raise TransientError("not now")

    store = ScriptedStore(open_store(str(copy)), fail)
    with pytest.raises(IncompleteError):
        export_at_once(history.path, store, from_ref="last", retry_for=0)
    newest = max(copy.glob(".freight/0*"))
    (newest / "manifest" / "manifest.json").unlink()
    export_at_once(history.path, copy, from_ref="last", section_rows=2)
    export_at_once(history.path, tmp_path / "fresh")
    assert data(copy) == data(tmp_path / "fresh")
