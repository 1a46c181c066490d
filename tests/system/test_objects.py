"""Plain objects: the copy is what lies at the source, whatever came between the exports."""

import functools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dying import DyingStore
from folders import BASE, FILE_CHANGES, RANDOM_FILE_CHANGE, FileChange, Folder, overwrite, put
from histories import data, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runners import Run, export_at_once

from prefect_freight.errors import FreightError
from prefect_freight.exporting import run_export
from prefect_freight.model import ExportReport, Format, Options
from prefect_freight.runner import PlainRunner
from prefect_freight.sources.kinds import open_source
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

BASES = [None, "last"]
PHASES = [(), (r"(^|/)_SUCCESS$", "^d/")]


def usually(*names: str) -> list[object]:
    """Return the names of all changes; those that are not named are slow tests."""
    return [
        pytest.param(name, marks=[] if name in names else pytest.mark.slow) for name in FILE_CHANGES
    ]


def by(export: Run) -> Run:
    """Return the same runner's export of plain objects."""
    return functools.partial(export, format="objects")


def fresh(folder: Folder, destination: Path) -> dict[str, bytes]:
    """Return what an uninterrupted export to an empty place makes: all of the files."""
    by(export_at_once)(folder.url, destination)
    assert data(destination) == tree(folder.path)
    return data(destination)


def cut_off(export: Run, folder: Folder, copy: Path, changes: int, **options: object) -> bool:
    """Export until the destination was changed so often; return whether it came to an end."""
    store = DyingStore(open_store(str(copy)), changes)
    with suppress(FreightError):
        by(export)(folder.url, store, concurrency=2, **options)
    return not store.dead


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "source")
    folder.change(*BASE)
    return folder


@pytest.mark.by_flow_too("file becomes a folder", "last")
@pytest.mark.parametrize("from_ref", ["last", pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILE_CHANGES)
def test_after_any_change_the_copy_is_that_of_a_fresh_export(
    export: Run, folder: Folder, tmp_path: Path, name: str, from_ref: str | None
) -> None:
    first = by(export)(folder.url, tmp_path / "copy")
    folder.change(*FILE_CHANGES[name])
    second = by(export)(folder.url, tmp_path / "copy", from_ref=from_ref)
    assert data(tmp_path / "copy") == fresh(folder, tmp_path / "fresh")
    assert {path.name for path in (tmp_path / "copy").glob("EXPORT_*")} == {second.marker}
    assert (first.snapshot == second.snapshot) == (name == "nothing")


def test_only_what_changed_moves(export: Run, folder: Folder, tmp_path: Path) -> None:
    by(export)(folder.url, tmp_path / "copy")
    folder.change(overwrite("a"), put("n", b"new"), *FILE_CHANGES["folder removed"])
    report = by(export)(folder.url, tmp_path / "copy", from_ref="last")
    assert (report.objects_transferred, report.objects_deleted) == (2, 2)
    assert (report.rounds["objects"], report.rounds["deletes"]) == (2, 2)


@pytest.mark.parametrize("from_ref", BASES)
@pytest.mark.parametrize("name", usually("folder and file change places", "odd names"))
def test_after_a_difference_was_cut_off_anything_else_is_exact(
    export: Run, tmp_path: Path, name: str, from_ref: str | None
) -> None:
    for changes in range(4, 154, 25):
        folder, copy = Folder(tmp_path / f"source-{changes}"), tmp_path / f"copy-{changes}"
        folder.change(*BASE)
        by(export)(folder.url, copy)
        folder.change(*FILE_CHANGES[name])
        ended = cut_off(export, folder, copy, changes, from_ref="last")
        folder.change(*FILE_CHANGES["file of the same size and time"])
        by(export)(folder.url, copy, from_ref=from_ref)
        assert data(copy) == tree(folder.path), f"cut off after {changes} changes"
    assert ended, "the last one is to be late enough"


def test_cut_off_again_and_again_it_comes_to_its_end(
    export: Run, folder: Folder, tmp_path: Path
) -> None:
    changes = 4
    while not cut_off(export, folder, tmp_path / "copy", changes):
        changes += 5
        assert changes < 100
    assert changes > 20
    assert data(tmp_path / "copy") == fresh(folder, tmp_path / "fresh")


WALK = st.lists(
    st.tuples(
        st.lists(RANDOM_FILE_CHANGE, max_size=4),
        st.sampled_from(BASES),
        st.none() | st.integers(0, 40),
        st.sampled_from(PHASES),
    ),
    min_size=1,
    max_size=5,
)
"""Changes, the base of the export after them, where that is cut off if it is, and its phases."""
Step = tuple[list[FileChange], str | None, int | None, tuple[str, ...]]


def walk(export: Run, root: Path, steps: list[Step], from_ref: str | None) -> None:
    """Export after each step, some of them cut off, and compare with a fresh export at the end."""
    folder, copy = Folder(root / "source"), root / "copy"
    folder.change(*BASE)
    for changes, base, limit, rounds in steps:
        folder.change(*changes)
        if limit is None:
            by(export)(folder.url, copy, from_ref=base, rounds=rounds)
            assert data(copy) == tree(folder.path)
        else:
            cut_off(export, folder, copy, limit, from_ref=base, rounds=rounds)
    by(export)(folder.url, copy, from_ref=from_ref)
    assert data(copy) == fresh(folder, root / "fresh")


def export_in_small_sections(
    source: str,
    destination: str | Path | Store,
    *,
    format: str,  # noqa: A002 - the option's name
    **options: Any,
) -> ExportReport:
    """Export with sections of a few objects, which differences split and leave empty."""
    store = open_store(str(destination)) if isinstance(destination, str | Path) else destination
    runner = PlainRunner(options.pop("concurrency", 8))
    chosen = Options(Format(format), settle_s=0, section_rows=3, keep_runs=2, **options)
    return run_export(open_source(source), store, "main", chosen, runner)


any_walk = given(steps=WALK, from_ref=st.sampled_from(BASES))
quietly = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(quietly, max_examples=6)
@any_walk
def test_any_walk_cut_off_anywhere_ends_as_a_fresh_export(
    export: Run,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[Step],
    from_ref: str | None,
) -> None:
    walk(export, tmp_path_factory.mktemp("walk"), steps, from_ref)


@settings(quietly, max_examples=6)
@any_walk
def test_any_walk_over_many_sections_ends_as_a_fresh_export(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], from_ref: str | None
) -> None:
    walk(export_in_small_sections, tmp_path_factory.mktemp("walk"), steps, from_ref)


@pytest.mark.slow
@settings(quietly, max_examples=60)
@any_walk
def test_any_of_many_walks_over_many_sections_ends_as_a_fresh_export(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], from_ref: str | None
) -> None:
    walk(export_in_small_sections, tmp_path_factory.mktemp("walk"), steps, from_ref)


@pytest.mark.parametrize(
    "name", usually("many added", "file removed", "file becomes a folder", "folder becomes a file")
)
def test_over_many_sections_any_change_there_and_back_is_exact(
    folder: Folder, tmp_path: Path, name: str
) -> None:
    ship = functools.partial(export_in_small_sections, format="objects", from_ref="last")
    for number, changes in enumerate(((), FILE_CHANGES[name], BASE, FILE_CHANGES[name])):
        folder.change(*changes)
        ship(folder.url, tmp_path / "copy")
        assert data(tmp_path / "copy") == tree(folder.path), f"after change {number}"


@pytest.mark.slow
@settings(quietly, max_examples=60)
@any_walk
def test_any_of_many_walks_cut_off_anywhere_ends_as_a_fresh_export(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], from_ref: str | None
) -> None:
    walk(export_at_once, tmp_path_factory.mktemp("walk"), steps, from_ref)
