"""A full export by the plain loop: the copy is the snapshot, all of it and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import icechunk
import numpy as np
import pytest
import tensorstore
import xarray
import zarr
from histories import History, create, data, tree

from prefect_freight import export
from prefect_freight.errors import (
    DestinationError,
    IncompleteError,
    InputError,
    NotARepositoryError,
    RefNotFoundError,
    UnsupportedNodeError,
)

FORMATS = ["zarr2", "zarr3"]


def session_store(repository: Path, **ref: str) -> icechunk.IcechunkStore:
    storage = icechunk.local_filesystem_storage(str(repository))
    return icechunk.Repository.open(storage).readonly_session(**(ref or {"branch": "main"})).store


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("group", ["surface", "stations", "stations/readings"])
def test_xarray_shows_the_same_of_copy_and_source(
    weather: Path, tmp_path: Path, format_: str, group: str
) -> None:
    export(weather, tmp_path / "copy", format=format_)
    source = xarray.open_zarr(session_store(weather), group=group, consolidated=False)
    assert xarray.open_zarr(tmp_path / "copy", group=group).identical(source)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_dtype_reads_back_the_same(typed: Path, tmp_path: Path, format_: str) -> None:
    export(typed, tmp_path / "copy", format=format_)
    source, copy = (
        zarr.open_group(session_store(typed), mode="r"),
        zarr.open_group(tmp_path / "copy", mode="r"),
    )
    assert copy.metadata.zarr_format == int(format_[-1])
    assert sorted(copy.array_keys()) == sorted(source.array_keys())
    for name, array in source.arrays():
        np.testing.assert_array_equal(copy[name][...], array[...], err_msg=name)


@pytest.mark.parametrize(("format_", "driver"), [("zarr2", "zarr"), ("zarr3", "zarr3")])
def test_a_reader_that_is_not_python_zarr_agrees(
    weather: Path, tmp_path: Path, format_: str, driver: str
) -> None:
    export(weather, tmp_path / "copy", format=format_)
    path = str(tmp_path / "copy" / "surface" / "temperature")
    read = tensorstore.open(
        {"driver": driver, "kvstore": {"driver": "file", "path": path}}
    ).result()
    source = zarr.open_array(session_store(weather), path="surface/temperature", mode="r")
    np.testing.assert_array_equal(read.read().result(), source[...])


@pytest.mark.parametrize("format_", FORMATS)
def test_chunks_are_the_bytes_of_the_repository(
    new_repository: Callable[..., Path], tmp_path: Path, format_: str
) -> None:
    path = new_repository(
        lambda g: g.create_array("a", data=np.arange(1000), chunks=(100,)), inline_bytes=0
    )
    export(path, tmp_path / "copy", format=format_)
    chunks = {
        blob for key, blob in data(tmp_path / "copy").items() if key.rsplit("/")[-1].isdigit()
    }
    assert chunks == {file.read_bytes() for file in (path / "chunks").iterdir()}
    assert len(chunks) == 10


@pytest.mark.parametrize(("ref", "mean"), [("v1", 0.0), ("reanalysis", 0.0), ("main", 0.5)])
def test_a_ref_is_a_branch_a_tag_or_a_snapshot(
    weather: Path, tmp_path: Path, ref: str, mean: float
) -> None:
    by_name = export(weather, tmp_path / "name", ref=ref)
    by_id = export(weather, tmp_path / "id", ref=by_name.snapshot)
    assert by_id.snapshot == by_name.snapshot
    assert data(tmp_path / "id") == data(tmp_path / "name")
    first = zarr.open_array(session_store(weather, tag="v1"), path="surface/temperature", mode="r")
    copy = zarr.open_array(tmp_path / "name" / "surface/temperature", mode="r")
    assert np.mean(copy[24:30] - first[24:30]) == pytest.approx(mean, abs=1e-4)


def test_the_report_counts_what_lies_there(weather: Path, tmp_path: Path) -> None:
    report = export(weather, tmp_path / "copy")
    files = data(tmp_path / "copy")
    assert report.objects_transferred == len(files)
    assert report.bytes_transferred == sum(map(len, files.values()))
    assert report.marker == f"EXPORT_{report.snapshot}_SUCCESS"
    assert (tmp_path / "copy" / report.marker).is_file()
    assert report.verified == "sizes"
    assert not report.resumed


def test_a_whole_copy_is_not_copied_again(weather: Path, tmp_path: Path) -> None:
    first = export(weather, tmp_path / "copy")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "copy").rglob("*")}
    again = export(weather, tmp_path / "copy")
    assert (again.objects_transferred, again.objects_skipped) == (0, first.objects_transferred)
    assert again.marker == first.marker
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "copy").rglob("*")} == before


def test_a_whole_copy_gets_a_lost_marker_back(weather: Path, tmp_path: Path) -> None:
    report = export(weather, tmp_path / "copy")
    (tmp_path / "copy" / report.marker).unlink()
    assert export(weather, tmp_path / "copy").objects_transferred == 0
    assert (tmp_path / "copy" / report.marker).exists()


@pytest.mark.parametrize("verify", ["sizes", "none"])
def test_a_copy_that_lost_an_object_is_copied_again(
    weather: Path, tmp_path: Path, verify: str
) -> None:
    export(weather, tmp_path / "copy", verify=verify)
    whole = data(tmp_path / "copy")
    (tmp_path / "copy" / "surface" / "lat" / "0").unlink()
    export(weather, tmp_path / "copy", verify=verify)
    assert data(tmp_path / "copy") == whole


@pytest.mark.parametrize("format_", FORMATS)
def test_exporting_another_snapshot_over_a_copy_leaves_nothing_of_the_old(
    weather: Path, tmp_path: Path, format_: str
) -> None:
    export(weather, tmp_path / "copy", format=format_)
    report = export(weather, tmp_path / "copy", ref="v1", format=format_)  # has no stations
    export(weather, tmp_path / "fresh", ref="v1", format=format_)
    assert data(tmp_path / "copy") == data(tmp_path / "fresh")
    assert report.objects_deleted > 0
    markers = {p.name for p in (tmp_path / "copy").glob("EXPORT_*")}
    assert markers == {report.marker}


def test_an_occupied_destination_is_refused_and_left_alone(weather: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "precious").write_bytes(b"mine")
    with pytest.raises(DestinationError, match=r"'precious'.*--on-existing merge"):
        export(weather, tmp_path / "copy")
    assert tree(tmp_path / "copy") == {"precious": b"mine"}


def test_merging_keeps_what_is_there_and_says_so(weather: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "precious").write_bytes(b"mine")
    report = export(weather, tmp_path / "copy", on_existing="merge")
    assert data(tmp_path / "copy")["precious"] == b"mine"
    assert "1 object there is not ours and was left: precious" in report.notes[0]


def test_what_the_format_cannot_say_is_refused_before_anything_is_written(
    new_repository: Callable[..., Path], tmp_path: Path
) -> None:
    def write(group: zarr.Group) -> None:
        group.create_array("plain", data=np.arange(4))
        group.create_array("deep/sharded", shape=(8,), chunks=(2,), shards=(4,), dtype="i4")

    path = new_repository(write)
    with pytest.raises(UnsupportedNodeError, match=r"'deep/sharded'.*shard"):
        export(path, tmp_path / "copy")
    assert tree(tmp_path / "copy") == {}


def test_zarr3_keeps_shards_as_they_are(
    new_repository: Callable[..., Path], tmp_path: Path
) -> None:
    path = new_repository(
        lambda g: g.create_array("s", data=np.arange(64), chunks=(4,), shards=(16,))
    )
    export(path, tmp_path / "copy", format="zarr3")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "copy/s", mode="r")[:], np.arange(64))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"ref": "mian"}, RefNotFoundError, "Did you mean 'main'.*reanalysis"),
        ({"concurrency": 0}, InputError, "from 1 to 256, found 0"),
        ({"format": "zarr4"}, InputError, "zarr2 or zarr3, found 'zarr4'"),
        ({"verify": "luck"}, InputError, "none or sizes or checksums or values, found 'luck'"),
        ({"source": "nowhere"}, NotARepositoryError, "found nothing"),
        ({"destination": "{weather}/copy"}, DestinationError, "apart from the source"),
    ],
)
def test_wrong_input_says_what_was_expected_and_writes_nothing(
    weather: Path,
    tmp_path: Path,
    change: dict[str, object],
    error: type[Exception],
    said: str,
) -> None:
    before = tree(weather)
    given = {"source": str(weather), "destination": str(tmp_path / "copy")} | {
        k: v.format(weather=weather) if isinstance(v, str) else v for k, v in change.items()
    }
    with pytest.raises(error, match=said):
        export(**given)
    assert not (tmp_path / "copy").exists()
    assert tree(weather) == before


def test_other_objects_are_no_repository(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "plain" / "below")
    with pytest.raises(NotARepositoryError, match=r"zarr\.json.*no versioned repository"):
        export(tmp_path / "plain", tmp_path / "copy")


def test_an_older_name_of_zarr3_is_taken_with_a_warning(weather: Path, tmp_path: Path) -> None:
    events: list[object] = []
    report = export(weather, tmp_path / "copy", format="zarr3alpha", on_event=events.append)
    assert report.format == "zarr3"
    assert any("zarr3alpha" in str(event) for event in events)


def test_the_report_lies_at_the_destination_too(weather: Path, tmp_path: Path) -> None:
    report = export(weather, tmp_path / "copy")
    (said,) = (tmp_path / "copy" / ".freight").glob("*/report.json")
    assert json.loads(said.read_text())["snapshot"] == report.snapshot


@pytest.mark.parametrize("place", ["repository/larger/chunks", "elsewhere"])
@pytest.mark.parametrize("format_", FORMATS)
def test_chunks_of_a_repository_may_lie_behind_a_link(
    tmp_path: Path, format_: str, place: str
) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a", 40))
    export(history.path, tmp_path / "expected", format=format_)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (history.path / "chunks").rename(tmp_path / place)
    (history.path / "chunks").symlink_to(tmp_path / place)
    export(history.path, tmp_path / "copy", format=format_)
    assert data(tmp_path / "copy") == data(tmp_path / "expected")


def test_what_a_chunk_leads_to_must_lie_with_the_others(tmp_path: Path) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a", 40))
    (history.path / "chunks").rename(tmp_path / "elsewhere")
    (history.path / "chunks").symlink_to(tmp_path / "elsewhere")
    chunk = min((tmp_path / "elsewhere").iterdir())
    chunk.rename(tmp_path / "secret")
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(IncompleteError, match="found a symbolic link"):
        export(history.path, tmp_path / "copy")
