"""Plain objects that change while they are exported: named, and nothing wrong is called whole."""

import functools
import os
import time
from pathlib import Path

import pytest
from folders import BASE, FileChange, Folder, overwrite, put, remove, rename
from histories import data, tree
from listening import after, at
from runners import export_at_once
from scripted import ScriptedStore

from prefect_freight.errors import IncompleteError
from prefect_freight.events import Event
from prefect_freight.stores.urls import open_store

ship = functools.partial(export_at_once, format="objects")
PART_WAY = 3


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "source")
    folder.change(*BASE)
    return folder


def markers(copy: Path) -> set[str]:
    return {path.name.rpartition("_")[2] for path in copy.glob("EXPORT_*")}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (put("d/x", b"other"), "has changed since"),
        (put("d/x", b"longer than it was"), "has changed since"),
        (overwrite("d/x"), "has changed since"),  # of the same size and the same time
        (rename("a", "d/x2"), "could not put 'a'"),
        (remove("d/x"), "could not read 'd/x'"),
        (put("d/x/y", b"below"), "could not read 'd/x'"),
    ],
)
@pytest.mark.parametrize("step", ["Copying", pytest.param("Computing", marks=pytest.mark.slow)])
def test_what_changed_before_its_turn_is_named_and_all_else_is_copied(
    folder: Folder, tmp_path: Path, step: str, change: FileChange, found: str
) -> None:
    before = tree(folder.path)
    with pytest.raises(IncompleteError, match=found) as caught:
        ship(folder.url, tmp_path / "copy", on_event=at(step, lambda: folder.change(change)))
    assert caught.value.report is not None
    assert caught.value.report.objects_failed == 1
    (line, _) = (tmp_path / "copy" / caught.value.report.marker).read_text().splitlines()
    key = line.partition("/copy/")[2].partition(" from source ")[0]
    assert f"/{key} from source {key}: " in line
    assert data(tmp_path / "copy") == {k: v for k, v in before.items() if k != key}


@pytest.mark.parametrize("from_ref", [None, "last"])
def test_the_next_export_after_such_a_failure_is_exact(
    folder: Folder, tmp_path: Path, from_ref: str | None
) -> None:
    copy = tmp_path / "copy"
    ship(folder.url, copy)
    folder.change(put("d/x", b"new"), put("n", b"new"))
    listen = at("Copying", lambda: folder.change(put("n", b"newer"), remove("a")))
    with pytest.raises(IncompleteError):
        ship(folder.url, copy, from_ref="last", on_event=listen)
    assert markers(copy) == {"FAILURE"}
    ship(folder.url, copy, from_ref=from_ref)
    assert markers(copy) == {"SUCCESS"}
    assert data(copy) == tree(folder.path)


@pytest.mark.parametrize("change", [put("n", b"new"), remove("a"), overwrite("a")])
@pytest.mark.parametrize("step", ["Checking", "Generating"])
def test_another_listing_than_that_of_the_snapshot_ends_the_export(
    folder: Folder, tmp_path: Path, step: str, change: FileChange
) -> None:
    copy = tmp_path / "copy"
    with pytest.raises(IncompleteError, match=r"as they were when the export began.*again"):
        ship(folder.url, copy, on_event=at(step, lambda: folder.change(change)))
    assert data(copy) == {}
    assert markers(copy) == {"FAILURE"}
    ship(folder.url, copy)
    assert data(copy) == tree(folder.path)
    assert markers(copy) == {"SUCCESS"}


@pytest.mark.parametrize("step", ["Computing", "Copying", "Verifying", "Writing the marker"])
def test_what_is_added_after_the_listing_waits_for_the_next_export(
    folder: Folder, tmp_path: Path, step: str
) -> None:
    before, copy = tree(folder.path), tmp_path / "copy"
    ship(folder.url, copy, on_event=at(step, lambda: folder.change(put("n", b"new"))))
    assert data(copy) == before
    report = ship(folder.url, copy, from_ref="last")
    assert (report.objects_transferred, report.objects_deleted) == (1, 0)
    assert data(copy) == tree(folder.path)


def test_what_changed_after_its_turn_is_found_where_values_are_compared(
    folder: Folder, tmp_path: Path
) -> None:
    listen = after("Copying", lambda: folder.change(overwrite("d/x")))
    assert ship(folder.url, tmp_path / "by sums", verify="checksums", on_event=listen).whole
    listen = after("Copying", lambda: folder.change(overwrite("d/x")))
    with pytest.raises(IncompleteError, match=r"d/x.*has changed since"):
        ship(folder.url, tmp_path / "by values", verify="values", on_event=listen)


def test_a_source_that_is_written_to_all_the_time_never_gives_a_wrong_copy(
    folder: Folder, tmp_path: Path
) -> None:
    turns = 0

    def write_meanwhile(operation: str, key: str) -> None:
        nonlocal turns
        if operation == "write" and not key.startswith((".freight", "EXPORT_")):
            turns += 1
            if turns == PART_WAY:
                folder.change(*(overwrite(f"many/{n:03d}") for n in range(20)))

    store = ScriptedStore(open_store(str(tmp_path / "copy")), write_meanwhile)
    before = tree(folder.path)
    with pytest.raises(IncompleteError, match="has changed since"):
        ship(folder.url, store, concurrency=1)
    for key, blob in data(tmp_path / "copy").items():
        assert blob == before[key]


def test_objects_that_a_reader_has_just_opened_stay_for_a_while(
    folder: Folder, tmp_path: Path
) -> None:
    ship(folder.url, tmp_path / "copy")
    folder.change(remove("a"), put("n", b"new"))
    times: list[float] = []
    copying = after("Copying", lambda: times.append(time.monotonic()))
    deletes = at("Deleting", lambda: times.append(time.monotonic()))

    def listen(event: Event) -> None:
        copying(event)
        deletes(event)

    ship(folder.url, tmp_path / "copy", from_ref="last", settle_s=0.4, on_event=listen)
    copied, deleting = times
    assert deleting - copied >= 0.4


def test_a_file_touched_while_it_is_read_is_not_taken_for_the_listed_one(
    folder: Folder, tmp_path: Path
) -> None:
    listen = at("Copying", lambda: os.utime(folder.path / "a", ns=(1, 1)))
    with pytest.raises(IncompleteError, match=r"'a'.*has changed since"):
        ship(folder.url, tmp_path / "copy", on_event=listen)
