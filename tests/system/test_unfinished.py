"""After exports that were cut off anywhere, whatever is exported next is exact."""

from pathlib import Path

import pytest
from changes import BASE, NEXT
from histories import History, data
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import (
    LAKE,
    LAYOUTS,
    OBJECTS,
    STORE,
    ZARR2,
    ZARR3,
    LayoutCase,
    over_layouts,
    ship,
)
from listening import at
from runners import Run, export_at_once
from visits import BASES, Visit, cut_off, quietly, states, visits, walk

from prefect_freight.errors import IncompleteError

GOALS = {"back": 0, "on": 1, "elsewhere": 2}
CUTS = {
    ZARR2: range(4, 64, 11),
    ZARR3: range(4, 64, 11),
    OBJECTS: range(4, 154, 25),
    STORE: range(4, 64, 11),
    LAKE: range(4, 154, 25),
}
"""After how many changes of the destination; the last one is late enough."""
USUAL = {
    (ZARR2, "elsewhere", "last"),
    (ZARR3, "on", "last"),
    (OBJECTS, "back", None),
}


@pytest.mark.parametrize(
    ("layout", "goal", "from_ref"),
    [
        pytest.param(
            *case, marks=[] if case in USUAL else pytest.mark.slow, id="-".join(map(str, case))
        )
        for layout in LAYOUTS
        for goal in GOALS
        for case in [(layout, goal, base) for base in BASES]
    ],
)
def test_after_a_difference_was_cut_off_anything_else_is_exact(
    export: Run, layout: LayoutCase, tmp_path: Path, goal: str, from_ref: str | None
) -> None:
    some = layout.make(tmp_path / "first", layout.source.NEXT, layout.source.OTHER)
    for changes in CUTS[layout]:
        subject, copy = some.anew(tmp_path / str(changes)), tmp_path / f"copy-{changes}"
        ship(export, subject, copy, 0)
        ended = cut_off(export, subject, copy, changes, 1, from_ref="last")
        ship(export, subject, copy, GOALS[goal], from_ref=from_ref)
        expected = subject.expected(GOALS[goal])
        assert data(copy) == expected, f"cut off after {changes} changes"
    assert ended, "the last one is to be late enough"


@pytest.mark.usually("plain-zarr2")
@pytest.mark.usually("flow-zarr2")
@pytest.mark.usually("plain-objects")
@pytest.mark.by_flow_too("zarr2")
@over_layouts
def test_cut_off_again_and_again_it_comes_to_its_end(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    subject, copy = layout.make(tmp_path, layout.source.NEXT), tmp_path / "copy"
    changes = 4
    while not cut_off(export, subject, copy, changes, 1):
        changes += 4
        assert changes < 100
    assert changes > 20
    assert data(copy) == subject.expected(1)


ANYWHERE = st.none() | st.integers(0, 40)


def walk_anywhere(export: Run, layout: LayoutCase, folder: Path, draw: st.DataObject) -> None:
    """Export to one place, often cut off, and once more to the end."""
    changes = draw.draw(states(layout))
    subject, count = layout.make(folder, *changes), 1 + len(changes)
    last = Visit(draw.draw(st.integers(0, 4)), draw.draw(st.sampled_from(BASES)), None)
    walk(export, subject, count, folder / "copy", [*draw.draw(visits(layout, ANYWHERE)), last])


@settings(quietly, max_examples=2)
@given(draw=st.data())
@over_layouts
def test_any_walk_cut_off_anywhere_ends_as_a_full_export(
    export: Run, layout: LayoutCase, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    walk_anywhere(export, layout, tmp_path_factory.mktemp("walk"), draw)


@pytest.mark.slow
@settings(quietly, max_examples=60)
@given(draw=st.data())
@over_layouts
def test_any_of_many_walks_cut_off_anywhere_ends_as_a_full_export(
    layout: LayoutCase, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    walk_anywhere(export_at_once, layout, tmp_path_factory.mktemp("walk"), draw)


# What happens to a repository meanwhile; to folders: test_objects_meanwhile.py.


def fresh(source: Path, folder: Path, ref: str) -> dict[str, bytes]:
    export_at_once(source, folder / f"fresh-{ref}", ref=ref)
    return data(folder / f"fresh-{ref}")


@pytest.mark.parametrize("step", ["Checking", "Generating", "Copying", "Writing consolidated"])
def test_commits_while_it_runs_do_not_get_into_an_export(tmp_path: Path, step: str) -> None:
    history = History(tmp_path / "repository")
    first = history.commit(*BASE)
    expected = fresh(history.path, tmp_path, first)
    listen = at(step, lambda: history.commit(*NEXT))
    report = export_at_once(history.path, tmp_path / "copy", on_event=listen)
    assert report.snapshot == first
    assert data(tmp_path / "copy") == expected


def test_a_branch_that_is_reset_while_it_runs_changes_nothing(tmp_path: Path) -> None:
    history = History(tmp_path / "repository")
    first, second = history.commit(*BASE), history.commit(*NEXT)
    expected = fresh(history.path, tmp_path, second)
    listen = at("Checking", lambda: history.repository.reset_branch("main", first))
    assert export_at_once(history.path, tmp_path / "copy", on_event=listen).snapshot == second
    assert data(tmp_path / "copy") == expected


@pytest.mark.parametrize("step", ["Resolving", "Copying"])
def test_a_chunk_that_is_gone_is_named_and_all_others_are_copied(tmp_path: Path, step: str) -> None:
    history = History(tmp_path / "repository")
    history.commit(*BASE)
    expected = fresh(history.path, tmp_path, "main")
    lost = min((history.path / "chunks").iterdir())
    with pytest.raises(IncompleteError, match=f"chunks/{lost.name}") as caught:
        export_at_once(history.path, tmp_path / "copy", on_event=at(step, lost.unlink))
    assert caught.value.report is not None
    line, *_ = (tmp_path / "copy" / caught.value.report.marker).read_text().splitlines()
    key = line.partition("/copy/")[2].partition(" from source ")[0]
    assert f"chunks/{lost.name}: " in line
    chunks = {k: v for k, v in expected.items() if k.rpartition("/")[2].isdigit()}
    assert data(tmp_path / "copy") == {k: v for k, v in chunks.items() if k != key}
