"""Exporting only what changed: afterwards the copy is that of a full export, byte for byte."""

from pathlib import Path

import pytest
import zarr
from changes import BASE, CHANGES, RANDOM_CHANGE
from histories import Change, History, create, data, delete, resize, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runners import Run, export_at_once

from prefect_freight.errors import DestinationError
from prefect_freight.stores.local import LocalStore

FORMATS = ["zarr2", "zarr3"]


def full(source: Path, destination: Path, ref: str, format_: str) -> dict[str, bytes]:
    export_at_once(source, destination, ref=ref, format=format_)
    return data(destination)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


@pytest.mark.by_flow_too("dtype changed", "zarr2")
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_there_and_back_equals_a_full_export(
    export: Run, history: History, tmp_path: Path, name: str, format_: str
) -> None:
    old = history.commit(*BASE)
    new = history.commit(*CHANGES[name])
    copy = tmp_path / "copy"
    expected_old = full(history.path, copy, old, format_)
    expected_new = full(history.path, tmp_path / "fresh", new, format_)
    export(history.path, copy, ref=new, from_ref=old, format=format_)
    assert data(copy) == expected_new
    back = export(history.path, copy, ref=old, from_ref="last", format=format_)
    assert data(copy) == expected_old
    assert back.base_snapshot == new


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(("old", "new"), [("a", "renamed"), ("g", "moved"), ("g/h", "h")])
def test_moved_nodes_take_their_chunks_along(
    export: Run, history: History, tmp_path: Path, format_: str, old: str, new: str
) -> None:
    before = history.commit(*BASE)
    after = history.move(old, new)
    full(history.path, tmp_path / "copy", before, format_)
    export(history.path, tmp_path / "copy", ref=after, from_ref=before, format=format_)
    assert data(tmp_path / "copy") == full(history.path, tmp_path / "fresh", after, format_)


def test_only_what_changed_moves(export: Run, history: History, tmp_path: Path) -> None:
    history.commit(*BASE)
    export(history.path, tmp_path / "copy")
    history.commit(write("a", slice(0, 3), 9))
    report = export(history.path, tmp_path / "copy", from_ref="last")
    assert report.rounds["chunks"] == 1
    assert (report.objects_transferred, report.objects_deleted) == (1, 0)


def test_snapshots_of_two_branches_need_no_common_history(
    export: Run, history: History, tmp_path: Path
) -> None:
    base = history.commit(*BASE)
    history.repository.create_branch("other", base)
    left = history.commit(write("a", slice(0, 3), 9), create("left"))
    right = history.commit(resize("a", 4), delete("g"), branch="other")
    full(history.path, tmp_path / "copy", left, "zarr2")
    export(history.path, tmp_path / "copy", ref="other", from_ref="main")
    assert data(tmp_path / "copy") == full(history.path, tmp_path / "fresh", right, "zarr2")


def test_last_is_a_full_export_where_there_was_none(
    export: Run, history: History, tmp_path: Path
) -> None:
    history.commit(*BASE)
    report = export(history.path, tmp_path / "copy", from_ref="last")
    assert report.base_snapshot is None
    assert zarr.open_array(tmp_path / "copy/a", mode="r")[0] == 1


def test_a_wrong_base_is_caught_before_anything_is_touched(
    export: Run, history: History, tmp_path: Path
) -> None:
    first = history.commit(*BASE)
    second = history.commit(write("a", slice(0, 3), 9))
    history.commit(delete("g"))
    before = full(history.path, tmp_path / "copy", second, "zarr2")
    with pytest.raises(DestinationError, match=f"found one of .*{second}.*--from-ref last"):
        export(history.path, tmp_path / "copy", from_ref=first)
    with pytest.raises(DestinationError, match=r"no record.*leave holes.*--on-existing merge"):
        export(history.path, tmp_path / "none", from_ref=first)
    assert data(tmp_path / "copy") == before
    assert not (tmp_path / "none").exists()


def test_merging_takes_the_users_word_for_the_base(
    export: Run, history: History, tmp_path: Path
) -> None:
    first = history.commit(*BASE)
    second = history.commit(write("a", slice(0, 3), 9), delete("g/h"), create("n"))
    for key, blob in full(history.path, tmp_path / "first", first, "zarr2").items():
        path = tmp_path / "copy" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob)
    report = export(history.path, tmp_path / "copy", from_ref=first, on_existing="merge")
    assert data(tmp_path / "copy") == full(history.path, tmp_path / "fresh", second, "zarr2")
    assert report.rounds["chunks"] < 5
    assert any("word" in note for note in report.notes)


def test_there_and_back_and_there_again_copies_each_time(
    export: Run, history: History, tmp_path: Path
) -> None:
    a, b = history.commit(*BASE), history.commit(write("a", slice(0, 3), 9))
    export(history.path, tmp_path / "copy", ref=a)
    moved = [
        export(history.path, tmp_path / "copy", ref=ref, from_ref="last").objects_transferred
        for ref in (b, a, b)
    ]
    assert moved == [1, 1, 1]
    assert data(tmp_path / "copy") == full(history.path, tmp_path / "fresh", b, "zarr2")


def test_a_foreign_object_is_never_deleted_and_is_reported(
    export: Run, history: History, tmp_path: Path
) -> None:
    history.commit(*BASE)
    export(history.path, tmp_path / "copy")
    (tmp_path / "copy" / "g" / "mine").write_bytes(b"precious")
    history.commit(delete("g"))
    report = export(history.path, tmp_path / "copy", from_ref="last")
    assert (tmp_path / "copy" / "g" / "mine").read_bytes() == b"precious"
    assert "g/mine" in report.notes[0]


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.lists(st.lists(RANDOM_CHANGE, max_size=3), min_size=1, max_size=4),
    visits=st.lists(st.integers(0, 4), min_size=2, max_size=4),
    format_=st.sampled_from(FORMATS),
)
def test_any_walk_through_any_history_ends_as_a_full_export(
    export: Run,
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[list[Change]],
    visits: list[int],
    format_: str,
) -> None:
    folder = tmp_path_factory.mktemp("walk")
    history = History(folder / "repository")
    snapshots = [history.commit(*BASE), *(history.commit(*some) for some in changes)]
    for number, visit in enumerate(visits):
        ref = snapshots[visit % len(snapshots)]
        export(history.path, folder / "copy", ref=ref, from_ref="last", format=format_)
        fresh = full(history.path, folder / f"fresh-{number}", ref, format_)
        assert data(folder / "copy") == fresh


def test_the_user_says_which_chunks_come_last(history: History, tmp_path: Path) -> None:
    history.commit(*BASE)
    order: list[str] = []

    class Watched(LocalStore):
        def write(self, key: str, data: bytes) -> None:
            order.append(key)
            super().write(key, data)

    export_at_once(history.path, Watched(str(tmp_path / "copy")), rounds=["^a/", "^g/h/"])
    chunks = [key.rpartition("/")[0] for key in order if key[-1].isdigit() and key[0] != "."]
    assert chunks == sorted(chunks, key=["g/b", "a", "g/h/c"].index)
    assert data(tmp_path / "copy") == full(history.path, tmp_path / "fresh", "main", "zarr2")
