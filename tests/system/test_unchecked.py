"""What no record has a checksum of is compared with the source once, or said to be unchecked."""

import json
import shutil
from pathlib import Path

import pytest
from command import freight
from folders import BASE, put
from histories import create, data, write
from moving import LAYOUTS, Moving, flip
from runners import Run, export_at_once

from prefect_freight.verifying import verify

ARRAYS = (create("a", 9), create("b", 7))
CHUNKS_OF_B = 3


@pytest.fixture(params=["zarr2", "zarr3"])
def moving(export: Run, tmp_path: Path, request: pytest.FixtureRequest) -> Moving:
    """Return a source that has moved on since another tool made a copy, one chunk of it wrong."""
    moving = Moving(tmp_path, request.param, export)
    moving.commit(*ARRAYS)
    export_at_once(moving.url, moving.copy, format=moving.format)
    shutil.rmtree(moving.copy / ".freight")
    next(moving.copy.glob("EXPORT_*")).unlink()
    flip(wrong_chunk(moving))
    assert moving.arrays
    moving.arrays.repository.create_tag("made", moving.arrays.repository.lookup_branch("main"))
    moving.commit(write("a", slice(0, 3), 5))
    return moving


def wrong_chunk(moving: Moving) -> Path:
    return moving.copy / "b" / ("1" if moving.format == "zarr2" else "c/1")


ON_THE_USERS_WORD = {"from_ref": "made", "on_existing": "merge"}


def test_an_assumed_base_is_reported_as_never_checked_and_verify_compares_it(
    moving: Moving,
) -> None:
    report = moving.export(**ON_THE_USERS_WORD)
    assert any("never checked" in note and "--source" in note for note in report.notes)
    found = verify(moving.copy)
    assert found.to_dict()["unchecked"] == 2 + CHUNKS_OF_B
    assert any("never checked" in note and "--source" in note for note in found.notes)
    compared = verify(moving.copy, source=moving.url)
    assert not compared.whole
    key = str(wrong_chunk(moving).relative_to(moving.copy))
    assert [wrong["key"] for wrong in compared.to_dict()["wrong"]] == [key]
    assert compared.to_dict()["unchecked"] == 0


@pytest.mark.parametrize("level", ["checksums", "values"])
def test_wrong_bytes_of_an_assumed_base_are_found_and_copied_anew(
    moving: Moving, level: str
) -> None:
    report = moving.export(**ON_THE_USERS_WORD, verify=level)
    assert report.whole
    assert data(moving.copy) == moving.fresh()
    assert verify(moving.copy, source=moving.url).to_dict()["unchecked"] == 0


def test_a_base_that_does_not_lie_there_is_not_believed_without_any_check(
    moving: Moving, tmp_path: Path
) -> None:
    moving.copy = tmp_path / "nothing there"
    report = moving.export(**ON_THE_USERS_WORD, verify="none")
    assert report.whole
    assert data(moving.copy) == moving.fresh()


def test_what_is_right_is_read_once(moving: Moving) -> None:
    flip(wrong_chunk(moving))
    report = moving.export(**ON_THE_USERS_WORD, verify="checksums")
    assert report.objects_transferred < len(data(moving.copy))
    assert verify(moving.copy).to_dict()["unchecked"] == 0
    moving.commit(write("a", slice(3, 6), 5))
    moving.export(from_ref="last")
    assert verify(moving.copy).to_dict()["unchecked"] == 0
    flip(wrong_chunk(moving))
    assert not verify(moving.copy).whole


def test_a_copy_that_is_whole_already_is_compared_too(moving: Moving) -> None:
    moving.export(**ON_THE_USERS_WORD)
    moving.export(verify="checksums")
    assert data(moving.copy) == moving.fresh()


def lose_checksums(moving: Moving) -> None:
    for kept in moving.copy.glob(".freight/*/manifest/*.md5"):
        kept.unlink()


@pytest.mark.parametrize("format_", LAYOUTS)
def test_checksums_that_were_lost_are_gathered_again_from_the_ledgers(
    export: Run, tmp_path: Path, format_: str
) -> None:
    moving = Moving(tmp_path, format_, export)
    moving.commit(*((put("d/x", b"1"), *BASE) if moving.objects else ARRAYS))
    moving.export()
    moving.commit(put("d/x", b"2") if moving.objects else write("a", slice(0, 3), 5))
    moving.export(from_ref="last")
    lose_checksums(moving)
    found = verify(moving.copy)
    assert (found.whole, found.to_dict()["unchecked"]) == (True, 0)
    flip(moving.chunks[0])
    assert not verify(moving.copy).whole


@pytest.mark.parametrize("format_", LAYOUTS)
def test_where_checksums_were_lost_the_source_is_read(
    export: Run, tmp_path: Path, format_: str
) -> None:
    moving = Moving(tmp_path, format_, export)
    moving.commit(*((put("d/x", b"1"), *BASE) if moving.objects else ARRAYS))
    moving.export()
    lose_checksums(moving)
    for ledger in moving.copy.glob(".freight/*/ledger"):
        shutil.rmtree(ledger)
    assert verify(moving.copy).to_dict()["unchecked"] > 0
    assert verify(moving.copy, source=moving.url).whole
    flip(moving.chunks[0])
    assert verify(moving.copy).whole
    assert not verify(moving.copy, source=moving.url).whole


@pytest.mark.usually("zarr2")
def test_the_command_says_how_many_were_never_checked(moving: Moving) -> None:
    moving.export(**ON_THE_USERS_WORD)
    done = freight("verify", moving.copy)
    assert done.returncode == 0
    assert f"but for {2 + CHUNKS_OF_B} objects that were never checked" in done.stdout
    assert json.loads(freight("verify", moving.copy, "--json").stdout)["unchecked"] == 5
    assert freight("verify", moving.copy, "--source", moving.url).returncode == 1
