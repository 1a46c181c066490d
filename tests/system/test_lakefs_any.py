"""Exports from any lakeFS: the tests' own here, a real one in `make test-lakefs`."""

from pathlib import Path

import pytest
from histories import data
from lakefs_server.remote import RemoteLake

from prefect_freight import export
from prefect_freight.errors import InputError
from prefect_freight.sources.lakefs.source import LakeFSObjects

FILES = {key: key.encode() * 3 for key in ("_SUCCESS", "a", "d/_SUCCESS", "d/x y%+", "é/日本")}


@pytest.mark.parametrize("way", [None, "gateway", "presigned", "rest"])
def test_commits_come_and_go_whatever_the_way(
    any_lake: RemoteLake, tmp_path: Path, way: str | None
) -> None:
    repository, copy = any_lake.create_repository("ocean"), tmp_path / "copy"
    for key, blob in FILES.items():
        repository.put(key, blob)
    first = repository.commit()
    repository.put("a", FILES["a"], metadata={"owner": "lab"})
    repository.put("new", b"new")
    repository.delete("d/x y%+")
    second = repository.commit()
    repository.put("staged", b"")
    source = LakeFSObjects(repository.name, "", any_lake.config())

    def ship(ref: str, **options: str | None) -> tuple[int, int]:
        try:
            report = export(source, copy, ref=ref, settle_s=0, read_through=way, **options)
        except Exception as error:
            if way == "presigned" and "without presigned" in str(error):
                pytest.skip("its storage presigns nothing")
            raise
        assert report.whole
        return report.objects_transferred, report.objects_deleted

    later = {key: blob for key, blob in FILES.items() if key != "d/x y%+"} | {"new": b"new"}
    assert ship(first) == (5, 0)
    assert data(copy) == FILES
    assert ship("main", from_ref=first) == (2, 1)
    assert data(copy) == later
    assert ship(first, from_ref=second) == (2, 1)
    assert data(copy) == FILES


def test_odd_keys_are_refused_by_name(any_lake: RemoteLake, tmp_path: Path) -> None:
    repository = any_lake.create_repository("ocean")
    repository.put("plain", b"plain")
    for key in ("a//b", "a/../b", "a/", "/a", "s3://a/b", "a\\b"):
        repository.put(key, key.encode())
        repository.commit()
        source = LakeFSObjects(repository.name, "", any_lake.config())
        with pytest.raises(InputError, match="unsafe key"):
            export(source, tmp_path / "copy", settle_s=0)
        repository.delete(key)
    repository.commit()
    export(source, tmp_path / "copy", settle_s=0)
    assert data(tmp_path / "copy") == {"plain": b"plain"}
