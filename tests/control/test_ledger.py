"""What is recorded at a destination is believed only as far as it is true."""

import functools
import json
import shutil
from pathlib import Path

import pytest
from faulty import Fault, FaultyStore
from histories import Change, History, create, data, tree, write
from unfinished import FIXTURES, Elsewhere

from prefect_freight import export as export_settling
from prefect_freight.control.status import read_status
from prefect_freight.errors import AccessError, DestinationError, IncompleteError
from prefect_freight.model import ExportReport
from prefect_freight.stores.urls import open_store

export = functools.partial(export_settling, settle_s=0)
BASE: tuple[Change, ...] = (create("a"), create("g/b", 7))
ROWS = 600
"""Three batches of chunks."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    history = History(tmp_path_factory.mktemp("ledger") / "repository")
    history.commit(*BASE, create("rows", ROWS, chunks=(1,)))
    return history.path


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    copy = tmp_path_factory.mktemp("whole") / "copy"
    export(source, copy)
    return data(copy)


def refuse(key: str) -> Fault:
    return lambda k, _: AccessError("may not write") if k == key else None


@pytest.fixture
def unfinished(source: Path, tmp_path: Path) -> Path:
    """Return a destination where all chunks lie, and one document does not."""
    copy = tmp_path / "copy"
    with pytest.raises(IncompleteError, match="may not write"):
        export(source, FaultyStore(open_store(str(copy)), refuse("rows/.zarray")))
    return copy


def ledger(copy: Path) -> list[Path]:
    return sorted(path for path in copy.glob(".freight/*/ledger/chunks/**/*") if path.is_file())


def resume(source: Path, copy: Path, **options: object) -> tuple[ExportReport, list[str]]:
    """Export again; return the report and which chunks of `rows` were put."""
    store = FaultyStore(open_store(str(copy)), lambda *_: None)
    report = export(source, store, **options)
    return report, [key for key in store.attempts if key.startswith("rows/") and "." not in key]


def test_what_the_ledger_has_is_not_moved_again(
    source: Path, unfinished: Path, whole: dict[str, bytes]
) -> None:
    report, put = resume(source, unfinished)
    assert put == []
    assert (report.objects_transferred, report.resumed) == (1 + report.rounds["root"], True)
    assert data(unfinished) == whole


@pytest.mark.parametrize("verify", ["none", "sizes"])
def test_a_wiped_destination_whose_ledger_was_kept_is_copied_again_at_once(
    source: Path, unfinished: Path, whole: dict[str, bytes], verify: str
) -> None:
    shutil.rmtree(unfinished / "rows")
    report, put = resume(source, unfinished, verify=verify)
    assert len(put) == ROWS
    assert report.whole
    assert data(unfinished) == whole


def test_a_finished_copy_that_was_wiped_is_copied_again(
    source: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    export(source, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "rows")
    report, put = resume(source, tmp_path / "copy")
    assert len(put) == ROWS
    assert not report.resumed
    assert data(tmp_path / "copy") == whole


def test_a_base_that_lost_objects_is_found_out_and_all_is_copied_again(tmp_path: Path) -> None:
    history, copy = History(tmp_path / "repository"), tmp_path / "copy"
    history.commit(*BASE)
    export(history.path, copy)
    history.commit(write("a", slice(0, 3), 9))
    (copy / "g" / "b" / "0").unlink()
    report = export(history.path, copy, from_ref="last")
    export(history.path, tmp_path / "fresh")
    assert report.base_snapshot is None
    assert data(copy) == data(tmp_path / "fresh")


@pytest.mark.parametrize("said", [b"", b'{"format_ver', b"[]", b'{"batch": 1}', b"\x00\xff"])
def test_a_record_that_is_half_written_is_as_if_absent(
    source: Path, unfinished: Path, whole: dict[str, bytes], said: bytes
) -> None:
    ledger(unfinished)[1].write_bytes(said)
    (ledger(unfinished)[0].parent / "stranger.txt").write_bytes(b"not ours")
    assert read_status(open_store(str(unfinished))).runs[-1].run.state == "failed"
    report, put = resume(source, unfinished)
    assert len(put) == 250
    assert report.resumed
    assert data(unfinished) == whole


def test_a_record_of_a_newer_version_is_not_believed(source: Path, unfinished: Path) -> None:
    record = ledger(unfinished)[0]
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format_version": 2}))
    assert len(resume(source, unfinished)[1]) > 0


def test_of_a_manifest_that_is_damaged_no_ledger_is_believed(
    source: Path, unfinished: Path, whole: dict[str, bytes]
) -> None:
    (index,) = unfinished.glob(".freight/*/manifest/manifest.json")
    index.write_bytes(index.read_bytes()[:100])
    # Its diff names rows of it, and nobody knows whether another would have the same.
    assert resume(source, unfinished)[1]
    assert data(unfinished) == whole


def test_another_format_is_another_export_and_is_refused_there(
    source: Path, unfinished: Path
) -> None:
    before = tree(unfinished)
    with pytest.raises(DestinationError, match="found one in format zarr2"):
        export(source, unfinished, format="zarr3")
    assert tree(unfinished) == before


def test_another_snapshot_has_a_ledger_of_its_own(tmp_path: Path) -> None:
    history, copy = History(tmp_path / "repository"), tmp_path / "copy"
    a, b = history.commit(*BASE), history.commit(write("a", slice(0, 3), 9))
    broken = FaultyStore(open_store(str(copy)), refuse("a/.zarray"))
    with pytest.raises(IncompleteError):
        export(history.path, broken, ref=a)
    report = export(history.path, copy, ref=b)
    # A round that is not resumed, but begun where the other one has recorded what it put.
    assert (report.resumed, report.objects_skipped) == (False, 10)
    export(history.path, tmp_path / "fresh", ref=b)
    assert data(copy) == data(tmp_path / "fresh")


def test_the_marker_of_an_older_copy_is_gone_before_anything_moves(tmp_path: Path) -> None:
    history, copy = History(tmp_path / "repository"), tmp_path / "copy"
    history.commit(*BASE)
    old = export(history.path, copy).marker
    history.commit(write("a", slice(0, 3), 9))
    with pytest.raises(IncompleteError):
        export(history.path, FaultyStore(open_store(str(copy)), refuse("a/0")))
    (copy / old).write_text("as if the run had been killed before it took this away")
    with pytest.raises(IncompleteError):
        export(history.path, FaultyStore(open_store(str(copy)), refuse("a/0")))
    assert not (copy / old).exists()


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("unfinished-*")))
def test_what_each_version_left_unfinished_is_resumed(tmp_path: Path, name: str) -> None:
    shutil.copytree(FIXTURES / name, tmp_path / name)
    repository, copy = (tmp_path / name / part for part in ("repository", "destination"))
    report = export(Elsewhere(repository), copy)
    assert report.resumed
    assert report.objects_transferred == 1 + report.rounds["root"]
    export(repository, tmp_path / "fresh")
    assert data(copy) == data(tmp_path / "fresh")
