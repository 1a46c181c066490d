"""What older versions recorded at a destination is resumed, and extended by differences."""

import shutil
from pathlib import Path

import pytest
from histories import Change, History, create, data, delete, resize, write
from recorded import entries_of
from runners import export_at_once
from unfinished import FIXTURES, Elsewhere

from prefect_freight.control.manifest import read_manifest
from prefect_freight.control.runs import read_last
from prefect_freight.control.sealed import RECORD_VERSION
from prefect_freight.control.version1 import METADATA
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify


def left_by(version: int, folder: Path) -> tuple[Path, Path]:
    """Return a repository, and what a version left unfinished of its copy."""
    shutil.copytree(FIXTURES / f"unfinished-{version}", folder / "old")
    return folder / "old" / "repository", folder / "old" / "destination"


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    return left_by(1, tmp_path)


def fresh(repository: Path, folder: Path) -> dict[str, bytes]:
    export_at_once(Elsewhere(repository), folder)
    return data(folder)


def test_a_manifest_of_version_1_has_a_section_an_array(places: tuple[Path, Path]) -> None:
    repository, copy = places
    export_at_once(Elsewhere(repository), copy)
    store = open_store(str(copy))
    last = read_last(store)
    assert last is not None
    manifest = read_manifest(store, last.area)
    assert manifest is not None
    assert manifest.version == 1
    assert [section.name for section in manifest.sections] == ["a", "g/b", METADATA]
    assert entries_of(store, manifest).keys() == data(copy).keys()


CHANGES: dict[str, tuple[Change, ...]] = {
    "nothing": (lambda root: root.attrs.put({}),),
    "a chunk": (write("a", slice(0, 3), 9),),
    "longer": (resize("a", 90, 4),),
    "shorter": (resize("a", 4),),
    "another dtype": (create("g/b", 7, dtype="f8"),),
    "one gone, one new": (delete("g/b"), create("n")),
}


@pytest.mark.usually("-3")
@pytest.mark.parametrize("section_rows", [3, 1000])
@pytest.mark.parametrize("name", CHANGES)
def test_a_copy_that_version_1_recorded_is_extended_by_a_difference(
    places: tuple[Path, Path], tmp_path: Path, name: str, section_rows: int
) -> None:
    repository, copy = places
    assert export_at_once(Elsewhere(repository), copy).resumed
    history = History(repository)
    for number, changes in enumerate((CHANGES[name], (create("last", 3),))):
        history.commit(*changes)
        report = export_at_once(
            Elsewhere(repository), copy, from_ref="last", section_rows=section_rows
        )
        assert report.base_snapshot is not None
        assert all("out of view" in note for note in report.notes)
        assert data(copy) == fresh(repository, tmp_path / f"fresh-{number}")
        assert verify(copy).whole


def test_what_version_1_left_unfinished_is_not_the_base_of_a_difference(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    repository, copy = places
    History(repository).commit(delete("g/b"), write("a", slice(0, 3), 9))
    report = export_at_once(Elsewhere(repository), copy, from_ref="last")
    assert (report.resumed, report.base_snapshot) == (False, None)
    assert data(copy) == fresh(repository, tmp_path / "fresh")


@pytest.mark.parametrize("version", [1, 2, RECORD_VERSION])
def test_what_a_version_left_unfinished_is_resumed_and_extended(
    tmp_path: Path, version: int
) -> None:
    repository, copy = left_by(version, tmp_path)
    report = export_at_once(Elsewhere(repository), copy)
    assert (report.resumed, report.objects_transferred) == (True, 4)
    History(repository).commit(resize("a", 30, 4), create("n"))
    report = export_at_once(Elsewhere(repository), copy, from_ref="last")
    assert (report.base_snapshot is not None, report.notes) == (True, ())
    assert data(copy) == fresh(repository, tmp_path / "fresh")
    assert verify(copy).to_dict()["unchecked"] == 0
