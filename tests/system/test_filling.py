"""Missing chunks that a Zarr 2 copy needs written out: counted exactly, and refused if too many."""

from pathlib import Path
from typing import Any

import pytest
import zarr
from click.testing import CliRunner
from histories import Change, History, tree
from runners import Run, export_at_once

from prefect_freight.cli import cli
from prefect_freight.errors import InputError
from prefect_freight.exporting import dry_run
from prefect_freight.verifying import verify


def sparse(
    name: str, shape: tuple[int, ...], chunks: tuple[int, ...] | None = None, stored: int = 0
) -> Change:
    """Return a change that creates an array without its chunks, but for the first ones `stored`.

    Its dimensions have names, so that xarray shows it and takes its fill value for a mask.
    """

    def change(root: zarr.Group) -> None:
        names = [f"{name}{axis}" for axis in range(len(shape))]
        given: dict[str, Any] = {"dtype": "i4", "fill_value": 7, "dimension_names": names}
        array = root.create_array(
            name, shape=shape, chunks=chunks or (1,) * len(shape), overwrite=True, **given
        )
        for n in range(stored):
            array[(n,) * len(shape)] = n

    return change


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


def refusal(run: Run, history: History, copy: Path, **options: Any) -> str:
    """Return why an export is refused; nothing must be left of it."""
    with pytest.raises(InputError) as caught:
        run(history.path, copy, **options)
    assert tree(copy) == {}
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "chunks", "number"),
    [
        pytest.param((2**33, 2**33), None, f"{2**66:,}", id="more than 64 bits, both axes"),
        pytest.param((2**31, 2**31), None, f"{2**62:,}", id="as many as 62 bits"),
        pytest.param((2**32, 2**32), None, f"{2**64:,}", id="none, in 64 bits"),
        pytest.param((10**13,), None, f"{10**13:,}", id="one axis"),
        pytest.param((2**33,), None, f"{2**33:,}", id="none, in 32 bits and one"),
        pytest.param((2**40,), (2**40,), f"{2**42:,} bytes", id="one chunk that no memory holds"),
    ],
)
def test_a_fill_that_no_store_could_hold_is_refused_with_its_number(
    history: History,
    tmp_path: Path,
    export: Run,
    shape: tuple[int, ...],
    chunks: tuple[int, ...] | None,
    number: str,
) -> None:
    history.commit(sparse("g/a", shape, chunks))
    said = refusal(export, history, tmp_path / "copy")
    assert number in said
    assert "'g/a'" in said
    assert "zarr3" in said


@pytest.mark.parametrize("format_", ["zarr2", "zarr3"])
@pytest.mark.parametrize(
    ("shape", "stored"),
    [
        ((2**32 - 1, 2**32 - 1), (0, 9)),
        ((2**63 - 1,), (0, 9)),
        ((2**33, 2**33, 3), ()),  # Icechunk itself stores no chunk in such a grid
    ],
)
def test_a_grid_without_fills_may_have_any_size(
    history: History,
    tmp_path: Path,
    export: Run,
    shape: tuple[int, ...],
    stored: tuple[int, ...],
    format_: str,
) -> None:
    others = (0,) * (len(shape) - 1)

    def change(root: zarr.Group) -> None:
        array = root.create_array("a", shape=shape, chunks=(1,) * len(shape), dtype="i4")
        for n in stored:
            array[(n, *others)] = n + 1

    history.commit(change)
    assert export(history.path, tmp_path / "copy", format=format_).whole
    copy = zarr.open_group(tmp_path / "copy", mode="r")["a"]
    assert copy.shape == shape
    assert [copy[(n, *others)] for n in (0, 5, 9)] == ([1, 0, 10] if stored else [0, 0, 0])


def test_what_is_stored_does_not_count(history: History, tmp_path: Path, export: Run) -> None:
    history.commit(sparse("a", (9,), stored=6))
    assert "lacks 3 of its 9" in refusal(export, history, tmp_path / "copy", max_fill_chunks=2)
    report = export(history.path, tmp_path / "copy", max_fill_chunks=3)
    assert report.whole
    assert zarr.open_array(tmp_path / "copy" / "a")[:].tolist() == [0, 1, 2, 3, 4, 5, 7, 7, 7]
    assert verify(tmp_path / "copy", source=history.path).whole


def test_an_array_that_lacks_nothing_needs_no_room(history: History, tmp_path: Path) -> None:
    history.commit(sparse("a", (4,), stored=4))
    assert export_at_once(history.path, tmp_path / "copy", max_fill_chunks=0).whole


def test_the_fills_of_all_arrays_count_together(history: History, tmp_path: Path) -> None:
    history.commit(sparse("a", (5,)), sparse("b", (5,)))
    said = refusal(export_at_once, history, tmp_path / "copy", max_fill_chunks=9)
    assert "beside 5 of other arrays" in said
    assert "--max-fill-chunks 10" in said
    assert export_at_once(history.path, tmp_path / "copy", max_fill_chunks=10).whole


def test_fills_that_lie_there_do_not_count_again(history: History, tmp_path: Path) -> None:
    history.commit(sparse("a", (8,)), sparse("b", (1,)))
    export_at_once(history.path, tmp_path / "copy")
    history.commit(sparse("b", (3,)))
    options: dict[str, Any] = {"from_ref": "last", "max_fill_chunks": 3}
    assert export_at_once(history.path, tmp_path / "copy", **options).whole


def test_a_dry_run_refuses_as_the_export_does(history: History, tmp_path: Path) -> None:
    history.commit(sparse("a", (5,)))
    with pytest.raises(InputError, match="lacks 5 of its 5"):
        dry_run(history.path, tmp_path / "copy", max_fill_chunks=4)
    assert dry_run(history.path, tmp_path / "copy", max_fill_chunks=5).rounds["chunks"]["puts"] == 5


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_the_command_line_has_the_limit_too(
    history: History, tmp_path: Path, more: list[str]
) -> None:
    history.commit(sparse("a", (5,)))
    places = ["export", str(history.path), str(tmp_path / "copy")]
    done = CliRunner().invoke(cli, [*places, "--max-fill-chunks", "4", *more])
    assert isinstance(done.exception, InputError)
    assert "lacks 5 of its 5" in str(done.exception)
    assert CliRunner().invoke(cli, [*places, "--max-fill-chunks", "5", *more]).exit_code == 0
