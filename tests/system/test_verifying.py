"""Verification: during the export, and later on its own from the manifest that lies there."""

import functools
import json
import shlex
import shutil
from pathlib import Path

import pytest
import zarr
from command import freight
from histories import History, create, write
from runners import Run

from prefect_freight import export
from prefect_freight.errors import InputError
from prefect_freight.stores import Store
from prefect_freight.verifying import verify

ship = functools.partial(export, settle_s=0)


@pytest.mark.parametrize("level", ["checksums", "values"])
def test_an_export_may_verify_checksums_or_values(
    weather: Path, destination: Store, level: str
) -> None:
    assert ship(weather, destination, verify=level).verified == level


def test_what_changed_since_is_found_and_named(weather: Path, destination: Store) -> None:
    ship(weather, destination)
    assert verify(destination, source=weather, values=True).whole
    flipped = bytearray(destination.read("surface/temperature/0.0.0"))
    flipped[len(flipped) // 2] ^= 1
    destination.write("surface/temperature/0.0.0", bytes(flipped))
    destination.delete(["surface/lat/0"])
    destination.write("surface/foreign", b"mine")
    found = verify(destination).to_dict()
    assert [wrong["key"] for wrong in found["wrong"]] == ["surface/temperature/0.0.0"]
    assert found["missing"] == ["surface/lat/0"]
    assert found["foreign"] == ["surface/foreign"]
    assert not found["whole"]


@pytest.mark.parametrize("format_", ["zarr2", "zarr3"])
def test_values_of_a_sparse_array_are_compared_chunk_by_chunk(
    tmp_path: Path, export: Run, format_: str
) -> None:
    history, size = History(tmp_path / "repository"), 2**32 - 1

    def change(root: zarr.Group) -> None:
        array = root.create_array("a", shape=(size, size), chunks=(1, 1), dtype="i4")
        array[0, 0], array[7, 7] = 1, 2

    history.commit(change)
    copy, (c, joint) = tmp_path / "copy", {"zarr2": ("", "."), "zarr3": ("c/", "/")}[format_]
    assert export(history.path, copy, format=format_, verify="values").whole
    assert verify(copy, source=history.path, values=True).whole
    stale = copy / "a" / f"{c}9{joint}9"
    stale.parent.mkdir(exist_ok=True)
    shutil.copy(copy / "a" / f"{c}7{joint}7", stale)
    found = verify(copy, source=history.path, values=True).differences.lines()
    assert any("values differ in [9:10, 9:10]" in line for line in found)
    (copy / "a" / f"{c}0{joint}0").unlink()
    found = verify(copy, source=history.path, values=True).differences.lines()
    assert any("values differ in [0:1, 0:1]" in line for line in found)


def test_checksums_outlive_incremental_exports(tmp_path: Path, destination: Store) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a", 40), create("b", 9))
    ship(history.path, destination)
    for value in (7, 8):
        history.commit(write("a", slice(0, 3), value))
        ship(history.path, destination, from_ref="last")
    assert verify(destination, source=history.path, values=True).whole
    for key in ("a/5", "b/1"):  # kept in a changed array; of an array that never changed
        blob = destination.read(key)
        destination.write(key, blob[:-1] + bytes([blob[-1] ^ 1]))
    assert [key for key, _ in verify(destination).differences.wrong_keys] == ["a/5", "b/1"]


def test_a_copy_of_another_snapshot_is_not_the_sources(tmp_path: Path) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a", 40))
    report = ship(history.path, tmp_path / "copy")
    other = History(tmp_path / "other")
    other.commit(create("a", 40, dtype="f8"))
    assert verify(tmp_path / "copy", source=history.path).whole
    with pytest.raises(Exception, match=report.snapshot):
        verify(tmp_path / "copy", source=other.path)


def test_a_place_that_we_never_exported_to_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no record of any"):
        verify(tmp_path)


def test_the_command_exits_with_one_and_names_what_is_wrong(weather: Path, tmp_path: Path) -> None:
    ship(weather, tmp_path / "copy")
    assert freight("verify", tmp_path / "copy").returncode == 0
    (tmp_path / "copy" / "surface" / "lat" / "0").unlink()
    done = freight("verify", tmp_path / "copy")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "missing surface/lat/0")
    assert json.loads(freight("verify", tmp_path / "copy", "--json").stdout)["whole"] is False


def test_objects_beside_a_copy_make_it_no_less_whole(weather: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ship(weather, copy)
    (copy / "notes.txt").write_text("mine")
    done = freight("verify", copy)
    assert (done.returncode, "Not ours, beside it: 1 object" in done.stdout) == (0, True)
    assert json.loads(freight("verify", copy, "--json").stdout)["foreign"] == ["notes.txt"]


@pytest.mark.parametrize("damage", ["cut", "changed", "stray"])
def test_what_verify_says_at_the_end_mends_the_copy(
    weather: Path, tmp_path: Path, damage: str
) -> None:
    copy = tmp_path / "copy"
    ship(weather, copy)
    chunk = next(path for path in sorted(copy.rglob("*.*.*")) if ".freight" not in path.parts)
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] if damage == "cut" else content[:-1] + b"?")
    if damage == "stray":  # beside it, what a reader would take for a chunk
        (chunk.parent / "999.0.0").write_bytes(content)
    found = verify(copy)
    assert found.cure.startswith("Mend it by: freight ")
    command = shlex.split(found.cure.removeprefix("Mend it by: freight "))
    assert freight(*command).returncode == 0
    assert chunk.read_bytes() == content
    assert verify(copy).whole
    assert not verify(copy).cure


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_a_copy_is_known_without_the_pointer_to_its_run(
    weather: Path, tmp_path: Path, content: bytes | None
) -> None:
    copy = tmp_path / "copy"
    ship(weather, copy, ref="v1")
    pointer = copy / ".freight" / "last.json"
    pointer.unlink() if content is None else pointer.write_bytes(content)
    assert verify(copy).whole
    report = ship(weather, copy, from_ref="last")
    assert report.base_snapshot is not None
    assert verify(copy, source=weather).whole
