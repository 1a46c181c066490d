"""Exports from a lakeFS whose bucket can be read itself: by its credentials, and by the block."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from command import Machine
from histories import data, tree
from lakefs_server.blockstore import BucketBlockstore
from lakefs_server.server import Lake
from servers import S3Server

from prefect_freight import export
from prefect_freight.blocks import LakeFSRepository
from prefect_freight.config import read_config
from prefect_freight.errors import AccessError, ConfigError, IncompleteError, InputError

FILES = {key: key.encode() * 3 for key in ("_SUCCESS", "a", "d/_SUCCESS", "d/x")}


class Importing(BucketBlockstore):
    """A bucket, and others that only the server may read."""

    foreign: ClassVar[dict[str, bytes]] = {}

    def get(self, address: str) -> bytes | None:
        return self.foreign[address] if address in self.foreign else super().get(address)


@pytest.fixture
def below(s3: S3Server) -> Iterator[Lake]:
    """Return a server over a real bucket, with a repository."""
    with Lake("s3", Importing(s3)) as lake:
        repository = lake.create_repository("ocean")
        for key, blob in FILES.items():
            repository.put(key, blob)
        repository.commit()
        yield lake


@pytest.fixture
def config(below: Lake, s3: S3Server, tmp_path: Path) -> Path:
    """Return the file with the credentials of both."""
    path = tmp_path / "lake.yaml"
    path.write_text(
        f"endpoint_url: {below.endpoint_url}\n"
        f"access_key_id: {below.access_key_id}\n"
        f"secret_access_key: {below.secret_access_key}\n"
        "storage:\n"
        f"  endpoint_url: {s3.endpoint_url}\n"
        f"  access_key_id: {s3.access_key_id}\n"
        f"  secret_access_key: {s3.secret_access_key}\n"
    )
    return path


def test_the_bucket_itself_is_read(below: Lake, config: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    report = export("lakefs://ocean", copy, source_config=read_config(config), settle_s=0)
    assert data(copy) == FILES
    assert "--read-through bucket" in str(report.notes)
    assert not below.count("gateway")
    assert not below.count("rest", "/objects?")


def test_what_was_imported_from_buckets_of_others_is_read_through_lakefs(
    below: Lake, config: Path, tmp_path: Path
) -> None:
    ocean = below.repositories["ocean"]
    entry = ocean.tree("main").entries["a"]
    address = "s3://not-ours/import ed/a%20b at c"
    Importing.foreign[address] = FILES["a"]
    ocean.stage("main", "imported", replace(entry, address=address))
    ocean.commit()
    export("lakefs://ocean", tmp_path / "copy", source_config=read_config(config), settle_s=0)
    assert data(tmp_path / "copy") == FILES | {"imported": FILES["a"]}


@pytest.mark.parametrize("way", ["bucket", "gateway"])
def test_changed_bytes_are_told_from_a_tag_that_only_looks_like_an_md5(
    below: Lake, config: Path, tmp_path: Path, way: str
) -> None:
    ocean, given = below.repositories["ocean"], read_config(config)
    entry = ocean.tree("main").entries["a"]
    below.blockstore.put(entry.address, b"!" * entry.size, "text/plain")
    with pytest.raises(IncompleteError, match=r"'a' of commit.*with checksum"):
        export("lakefs://ocean", tmp_path / "c", source_config=given, read_through=way, settle_s=0)


def test_a_copy_in_the_repositorys_own_namespace_is_refused(
    below: Lake, config: Path, s3: S3Server
) -> None:
    inside = f"{below.repositories['ocean'].namespace}/copy"
    with pytest.raises(InputError, match="lies inside the other"):
        export("lakefs://ocean", inside, config=s3.config(), source_config=read_config(config))


def test_refused_credentials_of_the_bucket_are_told(
    below: Lake, config: Path, tmp_path: Path
) -> None:
    given = read_config(config)
    assert given.storage is not None
    wrong = replace(given, storage=replace(given.storage, access_key_id="nobody"))
    with pytest.raises((AccessError, IncompleteError), match=r"credentials|refused|access"):
        export("lakefs://ocean", tmp_path / "copy", source_config=wrong, settle_s=0)


@pytest.mark.by_flow_too("command")
def test_the_command_takes_both_credentials_from_one_file_and_shows_none(
    exporter: Callable[[str], Machine], below: Lake, config: Path, s3: S3Server, tmp_path: Path
) -> None:
    here = exporter("one")
    report = here.run("lakefs://ocean", tmp_path / "copy", "--source-config", config)
    assert (report["format"], report["objects_transferred"]) == ("objects", 4)
    assert "--read-through bucket" in str(report["notes"])
    kept = str(report) + str({**tree(tmp_path / "copy"), **tree(tmp_path / "one")})
    for secret in (below.secret_access_key, s3.secret_access_key):
        assert secret not in kept


def test_a_block_has_what_the_file_has(config: Path, s3: S3Server) -> None:
    block = LakeFSRepository.from_yaml(config, url="lakefs://ocean/d")
    assert block.to_config() == read_config(config)
    assert block.open().url == "lakefs://ocean/d"
    assert s3.secret_access_key not in repr(block) + str(block.model_dump())
    for url in ("s3://bucket", "lakefs://Not A Repository"):
        with pytest.raises(ConfigError, match=r"lakefs://repository|repository's name"):
            LakeFSRepository.from_yaml(config, url=url)


def test_a_block_of_the_form_leaves_out_what_lakectl_knows() -> None:
    block = LakeFSRepository(url="lakefs://ocean", read_through="rest")
    assert block.to_config().read_through == "rest"
    with pytest.raises(ValueError, match="region would do nothing"):
        LakeFSRepository(url="lakefs://ocean", region="eu-west-1")
