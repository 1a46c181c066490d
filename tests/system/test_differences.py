"""Exporting only what changed: afterwards the copy is that of a full export, byte for byte."""

from pathlib import Path

import pytest
from changes import BASE
from histories import History, create, data, delete, resize, write
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import (
    LAKE,
    OBJECTS,
    STORE,
    ZARR2,
    ZARR3,
    LayoutCase,
    over_changes,
    over_layouts,
    ship,
)
from runners import Run, export_at_once
from visits import quietly, states, visits, walk

from prefect_freight.errors import DestinationError
from prefect_freight.stores.local import LocalStore

FORMATS = ["zarr2", "zarr3"]
QUICK_BY_ZARR3 = {
    *("nothing", "array appended within its last chunk", "codec changed", "array deleted"),
    "one axis more",
}
QUICK_BY_ZARR2 = {
    *("chunk changed", "array resized smaller", "dtype changed", "decoding attributes changed"),
    *("array becomes a group", "group becomes an array", "chunk became missing"),
}
"""Each of these is quick by one of the formats: they have one plan, and other documents."""
QUICK_BY_STORE = {"nothing", "chunk became missing", "array deleted and created again"}
SLOW_OF_OBJECTS = {
    *("file touched", "file added", "file emptied", "many added", "many changed", "file removed"),
    "folder removed",
}
"""These are small kinds of others."""


def is_quick(layout: LayoutCase, name: str) -> bool:
    if layout is ZARR3:
        return name in QUICK_BY_ZARR3
    if layout is ZARR2:
        return name in QUICK_BY_ZARR2
    if layout is STORE:
        return name in QUICK_BY_STORE
    return name not in SLOW_OF_OBJECTS


def full(source: Path, destination: Path, ref: str, format_: str) -> dict[str, bytes]:
    export_at_once(source, destination, ref=ref, format=format_)
    return data(destination)


def markers(copy: Path) -> set[str]:
    return {path.name for path in copy.glob("EXPORT_*")}


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


@pytest.mark.by_flow_too("zarr2-dtype changed", "as it was")
@pytest.mark.by_flow_too("objects-file becomes a folder", "as it was")
@over_changes(is_quick)
@pytest.mark.parametrize(
    "full",
    [pytest.param(False, id="as it was"), pytest.param(True, id="anew", marks=pytest.mark.slow)],
)
def test_after_any_change_there_and_back_the_copy_is_that_of_a_full_export(
    export: Run, layout: LayoutCase, tmp_path: Path, name: str, full: bool
) -> None:
    subject, copy = layout.make(tmp_path, layout.source.CHANGES[name]), tmp_path / "copy"
    first = ship(export_at_once, subject, copy, 0)
    old = data(copy)
    base = None if full else subject.base(0)
    there = ship(export, subject, copy, 1, from_ref=base)
    assert data(copy) == subject.expected(1)
    assert markers(copy) == {there.marker}
    back = ship(export, subject, copy, 0, from_ref=None if full else "last")
    assert data(copy) == old
    assert markers(copy) == {back.marker}
    if back.snapshot != there.snapshot:  # or there was nothing to do
        assert back.base_snapshot == (None if full else there.snapshot)
    # lakeFS has no commit that changes nothing.
    has_empty_commits = layout not in (OBJECTS, STORE, LAKE)
    assert (first.snapshot == there.snapshot) == (not has_empty_commits and name == "nothing")


@over_layouts
def test_only_what_changed_moves(export: Run, layout: LayoutCase, tmp_path: Path) -> None:
    subject = layout.make(tmp_path, layout.source.CHANGES[layout.smallest])
    ship(export, subject, tmp_path / "copy", 0)
    report = ship(export, subject, tmp_path / "copy", 1, from_ref="last")
    assert {name: n for name, n in report.rounds.items() if n} == {layout.round: 1}
    assert (report.objects_transferred, report.objects_deleted) == (1, 0)


@over_layouts
def test_last_is_a_full_export_where_there_was_none(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    subject = layout.make(tmp_path)
    report = ship(export, subject, tmp_path / "copy", 0, from_ref="last")
    assert report.base_snapshot is None
    assert data(tmp_path / "copy") == subject.expected(0)


@over_layouts
def test_a_wrong_base_is_caught_before_anything_is_touched(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    smallest, (removal, _) = layout.source.CHANGES[layout.smallest], layout.removal
    subject, copy = (
        layout.make(tmp_path, smallest, layout.source.CHANGES[removal]),
        tmp_path / "copy",
    )
    lying = ship(export_at_once, subject, copy, 1).snapshot
    before, third = data(copy), subject.visit(2)
    with pytest.raises(DestinationError, match=f"found one of .*{lying}.*--from-ref last"):
        ship(export, subject, copy, 2, from_ref=third)
    with pytest.raises(DestinationError, match=r"no record.*leave holes.*--on-existing merge"):
        ship(export, subject, tmp_path / "none", 2, from_ref=third)
    assert data(copy) == before
    assert not (tmp_path / "none").exists()


@over_layouts
def test_there_and_back_and_there_again_copies_each_time(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    subject = layout.make(tmp_path, layout.source.CHANGES[layout.smallest])
    ship(export, subject, tmp_path / "copy", 0)
    moved = [
        ship(export, subject, tmp_path / "copy", state, from_ref="last").objects_transferred
        for state in (1, 0, 1)
    ]
    assert moved == [1, 1, 1]
    assert data(tmp_path / "copy") == subject.expected(1)


@over_layouts
def test_a_foreign_object_is_never_deleted_and_is_reported(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    removal, foreign = layout.removal
    subject, copy = layout.make(tmp_path, layout.source.CHANGES[removal]), tmp_path / "copy"
    ship(export, subject, copy, 0)
    (copy / foreign).write_bytes(b"precious")
    report = ship(export, subject, copy, 1, from_ref="last")
    assert data(copy) == subject.expected(1) | {foreign: b"precious"}
    assert foreign in str(report.notes)


def walk_anywhere(export: Run, layout: LayoutCase, folder: Path, draw: st.DataObject) -> None:
    changes = draw.draw(states(layout))
    subject = layout.make(folder, *changes)
    path = draw.draw(visits(layout, st.none()))
    walk(export, subject, 1 + len(changes), folder / "copy", path)


@settings(quietly, max_examples=2)
@given(draw=st.data())
@over_layouts
def test_any_walk_through_any_history_ends_as_a_full_export(
    export: Run, layout: LayoutCase, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    walk_anywhere(export, layout, tmp_path_factory.mktemp("walk"), draw)


@pytest.mark.slow
@settings(quietly, max_examples=40)
@given(draw=st.data())
@over_layouts
def test_any_of_many_walks_through_any_history_ends_as_a_full_export(
    layout: LayoutCase, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    walk_anywhere(export_at_once, layout, tmp_path_factory.mktemp("walk"), draw)


# What only repositories have: nodes that move, branches, refs of old snapshots.


@pytest.mark.usually("zarr2")
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


@pytest.mark.parametrize("layout", [ZARR2, ZARR3], ids=str)
def test_an_older_base_than_what_lies_there_is_caught(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    smallest = layout.source.CHANGES[layout.smallest]
    subject, copy = layout.make(tmp_path, smallest, (delete("g"),)), tmp_path / "copy"
    first, second, _ = (subject.visit(state) for state in range(3))
    ship(export_at_once, subject, copy, 1)
    before = data(copy)
    with pytest.raises(DestinationError, match=f"found one of .*{second}.*--from-ref last"):
        export(subject.url, copy, from_ref=first, **subject.options)
    with pytest.raises(DestinationError, match=r"no record.*leave holes.*--on-existing merge"):
        export(subject.url, tmp_path / "none", from_ref=first, **subject.options)
    assert data(copy) == before
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
