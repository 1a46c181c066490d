"""What only exports from lakeFS have: refs that move, lost data, odd keys, ways, markers."""

from dataclasses import replace
from pathlib import Path

import pytest
from histories import data, tree
from lakefs_server.faults import Fault
from lakefs_server.repository import Repository
from lakefs_server.server import Lake
from runners import Run
from scripted import ScriptedStore
from servers import S3Server

from prefect_freight import export as export_now
from prefect_freight.errors import ConfigError, IncompleteError, InputError
from prefect_freight.exporting import dry_run
from prefect_freight.sources.lakefs import lakectl
from prefect_freight.stores.s3.client import open_botocore
from prefect_freight.stores.urls import open_store


@pytest.fixture
def ocean(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return a repository, whose server is where lakeFS's own tools find it."""
    monkeypatch.setenv(lakectl.ENDPOINT, lake.endpoint_url)
    monkeypatch.setenv(lakectl.ACCESS_KEY_ID, lake.access_key_id)
    monkeypatch.setenv(lakectl.SECRET_ACCESS_KEY, lake.secret_access_key)
    repository = lake.create_repository("ocean")
    for key in ("_SUCCESS", "a", "d/_SUCCESS", "d/x"):
        repository.put(key, key.encode() * 3)
    repository.commit()
    return repository


FILES = {key: key.encode() * 3 for key in ("_SUCCESS", "a", "d/_SUCCESS", "d/x")}


@pytest.mark.by_flow_too("moves")
def test_a_head_that_moves_and_what_is_not_committed_change_nothing(
    export: Run, ocean: Repository, lake: Lake, tmp_path: Path
) -> None:
    commit = ocean.branches["main"]
    ocean.put("staged", b"")
    report = export("lakefs://ocean", tmp_path / "copy", ref="main")
    assert (report.snapshot, report.format, report.whole) == (commit, "objects", True)
    assert data(tmp_path / "copy") == FILES
    asked = {s.request.target for s in lake.seen if "/refs/" in s.request.target}
    assert all(f"/refs/{commit}/" in target for target in asked)


@pytest.mark.parametrize("way", ["gateway", "presigned", "rest"])
def test_any_way_that_is_wanted_is_taken_and_told(
    export: Run, ocean: Repository, lake: Lake, tmp_path: Path, way: str
) -> None:
    report = export("lakefs://ocean", tmp_path / "copy", read_through=way)
    assert data(tmp_path / "copy") == FILES
    assert f"--read-through {way}" in str(report.notes)
    assert lake.count("gateway") == (4 if way == "gateway" else 0)
    assert lake.count("presigned") == (4 if way == "presigned" else 0)


def test_the_dry_run_names_the_way(ocean: Repository, tmp_path: Path) -> None:
    preview = dry_run("lakefs://ocean", tmp_path / "copy")
    assert "--read-through gateway" in str(preview.notes)
    with pytest.raises(InputError, match=r"expected read_through bucket or gateway.*'carrier'"):
        dry_run("lakefs://ocean", tmp_path / "copy", read_through="carrier")
    with pytest.raises(ConfigError, match="Set storage:"):
        dry_run("lakefs://ocean", tmp_path / "copy", read_through="bucket")


def test_only_lakefs_is_read_in_several_ways(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="for a source lakefs://"):
        dry_run(f"objects+file://{tmp_path}", tmp_path / "copy", read_through="rest")


@pytest.mark.parametrize("way", ["gateway", "presigned", "rest"])
def test_lost_data_fails_its_object_by_name_and_nothing_is_skipped(
    export: Run, ocean: Repository, tmp_path: Path, way: str
) -> None:
    ocean.lose("a")
    with pytest.raises(IncompleteError, match="could not put 'a'") as raised:
        export("lakefs://ocean", tmp_path / "copy", read_through=way)
    assert (raised.value.report.objects_failed, raised.value.report.whole) == (1, False)
    (failure,) = (tmp_path / "copy").glob("EXPORT_*_FAILURE")
    assert "/a from source lakefs://ocean" in failure.read_text()
    assert "d/x" in tree(tmp_path / "copy")
    # What vouches for the others comes in a round of its own, which has not begun.
    assert "_SUCCESS" not in data(tmp_path / "copy")


@pytest.mark.parametrize("way", ["gateway", "presigned", "rest"])
def test_bytes_that_have_not_the_checksum_fail(
    export: Run, ocean: Repository, tmp_path: Path, way: str
) -> None:
    entry = ocean.tree("main").entries["a"]
    ocean.blockstore.put(entry.address, b"bbb", "text/plain")
    with pytest.raises(IncompleteError, match=r"'a' of commit.*with checksum"):
        export("lakefs://ocean", tmp_path / "copy", read_through=way)


GIVEN = "0123456789abcdef" * 2
"""What looks like an MD5 and is that of no bytes."""


@pytest.mark.parametrize("way", ["gateway", "presigned", "rest"])
def test_a_checksum_that_is_no_md5_is_taken_where_the_storage_has_these_bytes_under_it(
    export: Run, ocean: Repository, lake: Lake, tmp_path: Path, way: str
) -> None:
    entry = ocean.put("a", b"aaa", checksum=GIVEN)
    ocean.commit()
    lake.presigned.tags[entry.address] = GIVEN
    assert export("lakefs://ocean", tmp_path / "copy", read_through=way).whole
    assert data(tmp_path / "copy") == FILES


@pytest.mark.parametrize("tag", ["", GIVEN[::-1]], ids=["no-tag", "another-tag"])
@pytest.mark.parametrize("way", ["gateway", "presigned", "rest"])
def test_and_is_refused_where_the_storage_has_not(
    export: Run, ocean: Repository, lake: Lake, tmp_path: Path, way: str, tag: str
) -> None:
    entry = ocean.put("a", b"aaa", checksum=GIVEN)
    ocean.commit()
    lake.presigned.tags[entry.address] = tag
    with pytest.raises(IncompleteError, match=f"'a' of commit.*with checksum {GIVEN}, found"):
        export("lakefs://ocean", tmp_path / "copy", read_through=way)
    assert "a" not in data(tmp_path / "copy")


@pytest.mark.parametrize(
    "key", ["x//y", "/x", "x/", "x/../y", "./x", "x\\y", "s3://x/y", "x\ny", ".freight/x"]
)
def test_a_key_that_cannot_be_kept_is_refused_before_anything_is_written(
    export: Run, ocean: Repository, tmp_path: Path, key: str
) -> None:
    ocean.put(key, b"odd")
    ocean.commit()
    with pytest.raises(InputError, match="--exclude"):
        export("lakefs://ocean", tmp_path / "copy")
    assert not any(path.is_file() for path in (tmp_path / "copy").rglob("*"))
    export("lakefs://ocean", tmp_path / "copy", include=r"^(a|d/x|_SUCCESS|d/_SUCCESS)$")
    assert data(tmp_path / "copy") == FILES


def test_a_marker_of_an_export_is_no_data(export: Run, ocean: Repository, tmp_path: Path) -> None:
    ocean.put("EXPORT_1_SUCCESS", b"")
    ocean.commit()
    with pytest.raises(InputError, match=r"own records, found 'EXPORT_1_SUCCESS'.*--exclude"):
        export("lakefs://ocean", tmp_path / "copy")
    export("lakefs://ocean", tmp_path / "copy", exclude="^EXPORT_")
    assert data(tmp_path / "copy") == FILES


def test_a_prefix_is_cut_off(export: Run, ocean: Repository, tmp_path: Path) -> None:
    export("lakefs://ocean/d", tmp_path / "copy")
    assert data(tmp_path / "copy") == {"_SUCCESS": b"d/_SUCCESS" * 3, "x": b"d/x" * 3}
    with pytest.raises(InputError, match=r"found none. If 'main' is a branch.*--ref main"):
        export("lakefs://ocean/main/d", tmp_path / "other")


MARKER = "Export completed successfully!"


def as_spark_left_it(folder: Path, commit: str, name: str) -> None:
    """Make a destination that lakeFS's own exporter filled."""
    for key, blob in FILES.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(blob)
    (folder / name.format(commit)).write_text(MARKER)


@pytest.mark.parametrize("from_ref", ["commit", "last"])
@pytest.mark.parametrize(
    "name", ["EXPORT_{}_SUCCESS", "EXPORT_{}_2026-11-21T10:00:00.000Z_SUCCESS"]
)
def test_what_lakefs_exported_is_the_base_of_a_difference(
    export: Run, ocean: Repository, tmp_path: Path, name: str, from_ref: str
) -> None:
    before = ocean.branches["main"]
    as_spark_left_it(tmp_path / "copy", before, name)
    ocean.put("new", b"new")
    ocean.delete("a")
    ocean.commit()
    base = before if from_ref == "commit" else "last"
    report = export("lakefs://ocean", tmp_path / "copy", from_ref=base)
    assert (report.objects_transferred, report.objects_deleted) == (1, 1)
    assert (report.base_snapshot, report.whole) == (before, True)
    expected = {key: blob for key, blob in FILES.items() if key != "a"} | {"new": b"new"}
    assert data(tmp_path / "copy") == expected
    assert (tmp_path / "copy" / name.format(before)).read_text() == MARKER
    assert (tmp_path / "copy" / report.marker).read_text().splitlines()[0] == MARKER


def test_without_its_marker_another_commit_is_no_base(
    export: Run, ocean: Repository, tmp_path: Path
) -> None:
    before = ocean.branches["main"]
    as_spark_left_it(tmp_path / "copy", "0" * 64, "EXPORT_{}_SUCCESS")
    ocean.put("new", b"new")
    ocean.commit()
    there = tree(tmp_path / "copy")
    with pytest.raises(InputError, match=r"not ours|empty or a copy of ours"):
        export("lakefs://ocean", tmp_path / "copy", from_ref=before)
    assert tree(tmp_path / "copy") == there


def test_a_metadata_only_change_is_exported_and_a_copy_of_equal_bytes_is_not(
    export: Run, ocean: Repository, tmp_path: Path
) -> None:
    first = export("lakefs://ocean", tmp_path / "copy")
    ocean.put("a", FILES["a"], metadata={"owner": "lab"})
    ocean.put("d/x", FILES["d/x"])
    ocean.commit()
    report = export("lakefs://ocean", tmp_path / "copy", from_ref=first.snapshot)
    assert (report.objects_transferred, report.objects_deleted) == (1, 0)


def test_content_types_and_metadata_are_in_the_copy(
    export: Run, ocean: Repository, s3: S3Server, tmp_path: Path
) -> None:
    ocean.put("page.html", b"<p>", content_type="text/html", metadata={"owner": "lab", "n": "1"})
    ocean.put("odd", b"odd", content_type="text/plain", metadata={"owner": "läb"})
    ocean.commit()
    bucket = s3.new_bucket()
    report = export(
        "lakefs://ocean", open_store(f"s3://{bucket}/copy", s3.config()), read_through="rest"
    )
    client = open_botocore(s3.config())
    page, odd, plain = (
        client.head_object(Bucket=bucket, Key=f"copy/{key}") for key in ("page.html", "odd", "a")
    )
    assert (page["ContentType"], page["Metadata"]) == ("text/html", {"owner": "lab", "n": "1"})
    assert odd["ContentType"] == "text/plain"  # what is no ASCII has no place in a header
    assert plain["Metadata"] == {}
    assert "metadata of 1 objects are not in the copy" in str(report.notes)
    assert "'odd'" in str(report.notes)


def test_what_a_disk_has_no_place_for_is_told(ocean: Repository, tmp_path: Path) -> None:
    assert "no place" not in str(dry_run("lakefs://ocean", tmp_path / "copy").notes)
    ocean.put("page.html", b"<p>", content_type="text/html")
    ocean.commit()
    assert "no place for them: 'page.html'" in str(dry_run("lakefs://ocean", tmp_path).notes)


@pytest.mark.parametrize(
    ("way", "fault"),
    [
        ("gateway", Fault(status=429, door="rest", target="objects/ls", times=2)),
        ("gateway", Fault(status=500, door="rest", target="/commits/", times=1)),
        ("gateway", Fault(status=503, door="gateway", target="/a", times=3)),
        ("gateway", Fault(cut=True, door="gateway", method="GET", times=2)),
        ("rest", Fault(status=503, door="rest", target="objects[?]path=a", times=3)),
        ("rest", Fault(cut=True, door="rest", target="objects[?]path=d/x", times=2)),
        ("presigned", Fault(status=403, door="presigned", times=1)),
        ("presigned", Fault(cut=True, door="presigned", times=2)),
    ],
    ids=["429", "500", "503", "cut", "rest-503", "rest-cut", "expired", "presigned-cut"],
)
def test_what_passes_with_time_is_tried_again(
    export: Run, ocean: Repository, lake: Lake, tmp_path: Path, way: str, fault: Fault
) -> None:
    lake.break_with(replace(fault, matched=0))
    report = export("lakefs://ocean", tmp_path / "copy", read_through=way)
    assert (report.whole, report.objects_transferred) == (True, 4)
    assert data(tmp_path / "copy") == FILES
    assert lake.faults[0].matched > (fault.times or 0)


@pytest.mark.parametrize("status", [403, 404])
def test_where_no_gateway_is_offered_objects_are_read_over_rest(
    export: Run, ocean: Repository, lake: Lake, tmp_path: Path, status: int
) -> None:
    lake.break_with(Fault(status=status, door="gateway"))
    report = export("lakefs://ocean", tmp_path / "copy")
    assert data(tmp_path / "copy") == FILES
    assert "--read-through rest" in str(report.notes)


def test_a_failed_round_keeps_the_next_from_beginning_and_a_new_run_goes_on(
    export: Run, ocean: Repository, lake: Lake, tmp_path: Path
) -> None:
    lake.break_with(Fault(status=404, door="gateway", target="/d/x$"))
    with pytest.raises(IncompleteError):
        export("lakefs://ocean", tmp_path / "copy", read_through="gateway")
    assert set(data(tmp_path / "copy")) == {"a"}
    lake.break_with()
    report = export("lakefs://ocean", tmp_path / "copy", read_through="rest")
    assert (report.resumed, report.objects_skipped, report.objects_transferred) == (True, 1, 3)
    assert data(tmp_path / "copy") == FILES
    assert not list((tmp_path / "copy").glob("EXPORT_*_FAILURE"))


def test_users_give_rounds_of_their_own(export: Run, ocean: Repository, tmp_path: Path) -> None:
    ocean.lose("d/_SUCCESS")
    with pytest.raises(IncompleteError):
        export("lakefs://ocean", tmp_path / "copy", rounds=["^a$"])
    assert set(data(tmp_path / "copy")) == {"_SUCCESS", "d/x"}


@pytest.mark.parametrize("wanted", [None, -1, "first"])
def test_a_key_that_no_round_wants_is_named(
    ocean: Repository, tmp_path: Path, wanted: object
) -> None:
    def rounds(key: str) -> int:
        return wanted if key == "d/x" else 0  # type: ignore[return-value]

    with pytest.raises(IncompleteError, match="expected a phase from 0 for 'd/x'"):
        export_now("lakefs://ocean", tmp_path / "copy", rounds=rounds)
    assert data(tmp_path / "copy") == {}


@pytest.mark.parametrize("from_ref", ["", "last"], ids=["all", "difference"])
def test_what_vouches_for_data_is_deleted_before_it(
    export: Run, ocean: Repository, tmp_path: Path, from_ref: str
) -> None:
    store = ScriptedStore(open_store(str(tmp_path / "copy")))
    export("lakefs://ocean", store)
    for key in ("_SUCCESS", "a", "d/_SUCCESS", "d/x"):
        ocean.delete(key)
    ocean.put("new", b"")
    ocean.commit()
    deleted: list[str] = []

    def script(operation: str, key: str) -> None:
        if operation == "delete" and key in FILES:
            deleted.append(key)

    store.script = script
    export("lakefs://ocean", store, **({"from_ref": from_ref} if from_ref else {}))
    assert data(tmp_path / "copy") == {"new": b""}
    assert set(deleted[:2]) == {"_SUCCESS", "d/_SUCCESS"}
    assert sorted(deleted) == sorted(FILES)
