"""After exports that were cut off anywhere, whatever is exported next is exact."""

from contextlib import suppress
from pathlib import Path

import pytest
from changes import RANDOM_CHANGE
from dying import DyingStore
from histories import Change, History, create, data, delete, resize, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listening import at
from runners import Run, export_at_once

from prefect_freight.errors import FreightError, IncompleteError
from prefect_freight.stores.urls import open_store

FORMATS = ["zarr2", "zarr3"]
BASE: tuple[Change, ...] = (create("a"), create("g/b", 7), create("g/h/c"))
NEXT: tuple[Change, ...] = (
    create("a", dtype="f8"),
    write("g/b", slice(0, 3), 9),
    delete("g/h/c"),
    create("n"),
)
OTHER: tuple[Change, ...] = (resize("g/b", 12, 4), create("n", 5, chunks=(2,)))


def cut_off(export: Run, source: Path, copy: Path, changes: int, **options: object) -> bool:
    """Export until the destination was changed so often; return whether it came to an end."""
    store = DyingStore(open_store(str(copy)), changes)
    with suppress(FreightError):
        export(source, store, concurrency=2, **options)
    return not store.dead


def fresh(source: Path, folder: Path, ref: str, format_: str = "zarr2") -> dict[str, bytes]:
    export_at_once(source, folder / f"fresh-{ref}-{format_}", ref=ref, format=format_)
    return data(folder / f"fresh-{ref}-{format_}")


@pytest.mark.parametrize("from_ref", [None, "last"])
@pytest.mark.parametrize("goal", [0, 1, 2], ids=["back", "on", "elsewhere"])
def test_after_a_difference_was_cut_off_anything_else_is_exact(
    export: Run, tmp_path: Path, goal: int, from_ref: str | None
) -> None:
    history = History(tmp_path / "repository")
    snapshots = [history.commit(*changes) for changes in (BASE, NEXT, OTHER)]
    expected = fresh(history.path, tmp_path, snapshots[goal])
    for changes in range(4, 64, 11):
        copy = tmp_path / f"copy-{changes}"
        export(history.path, copy, ref=snapshots[0])
        ended = cut_off(export, history.path, copy, changes, ref=snapshots[1], from_ref="last")
        export(history.path, copy, ref=snapshots[goal], from_ref=from_ref)
        assert data(copy) == expected, f"cut off after {changes} changes"
    assert ended, "the last one is to be late enough"


@pytest.mark.by_flow_too
def test_cut_off_again_and_again_it_comes_to_its_end(export: Run, tmp_path: Path) -> None:
    history = History(tmp_path / "repository")
    history.commit(*BASE)
    new = history.commit(*NEXT)
    copy, expected = tmp_path / "copy", fresh(history.path, tmp_path, new)
    changes = 4
    while not cut_off(export, history.path, copy, changes):
        changes += 4
        assert changes < 100
    assert changes > 20
    assert data(copy) == expected


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.lists(RANDOM_CHANGE, max_size=3), min_size=1, max_size=3),
    visits=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([None, "last"]), st.integers(0, 40)),
        min_size=1,
        max_size=4,
    ),
    goal=st.integers(0, 3),
    from_ref=st.sampled_from([None, "last"]),
    format_=st.sampled_from(FORMATS),
)
def test_any_walk_cut_off_anywhere_ends_as_a_full_export(
    export: Run,
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[list[Change]],
    visits: list[tuple[int, str | None, int]],
    goal: int,
    from_ref: str | None,
    format_: str,
) -> None:
    folder = tmp_path_factory.mktemp("walk")
    history = History(folder / "repository")
    snapshots = [history.commit(*BASE), *(history.commit(*some) for some in changes)]
    for visit, base, n in visits:
        ref = snapshots[visit % len(snapshots)]
        cut_off(export, history.path, folder / "copy", n, ref=ref, from_ref=base, format=format_)
    ref = snapshots[goal % len(snapshots)]
    export(history.path, folder / "copy", ref=ref, from_ref=from_ref, format=format_)
    assert data(folder / "copy") == fresh(history.path, folder, ref, format_)


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
    (line, _) = (tmp_path / "copy" / caught.value.report.marker).read_text().splitlines()
    key = line.split()[1]
    assert line.startswith(f"put {key} from chunks/{lost.name}: ")
    chunks = {k: v for k, v in expected.items() if k.rpartition("/")[2].isdigit()}
    assert data(tmp_path / "copy") == {k: v for k, v in chunks.items() if k != key}
