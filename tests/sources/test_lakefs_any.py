"""What holds of any lakeFS: the tests' own here, a real one in `make test-lakefs`."""

from collections.abc import Iterator

import pytest
from lakefs_server.remote import RemoteLake, RemoteRepository

from prefect_freight.errors import AccessError, IntegrityError, NotFoundError, RefNotFoundError
from prefect_freight.sources.lakefs.client import LakeFSClient
from prefect_freight.stores.urls import open_store

DATA = bytes(range(256))
ODD = (
    "odd/space key+%25%.txt",
    "odd/ünï/é.txt",
    "odd/../up",
    "odd//double",
    "odd/back\\slash",
    "odd/scheme://x",
    "odd/tab\tnew\nline",
    "odd/trailing/",
    "/leading",
)


@pytest.fixture
def ocean(any_lake: RemoteLake) -> RemoteRepository:
    repository = any_lake.create_repository("ocean")
    repository.put("a.txt", b"first\n", content_type="text/plain", metadata={"owner": "lab"})
    repository.put("d/x.bin", DATA)
    repository.put("d/empty", b"")
    return repository


@pytest.fixture
def client(any_lake: RemoteLake, ocean: RemoteRepository) -> Iterator[LakeFSClient]:
    with LakeFSClient(any_lake.config(), ocean.name) as client:
        yield client


def test_only_what_was_committed_is_listed(client: LakeFSClient, ocean: RemoteRepository) -> None:
    first = ocean.commit()
    ocean.put("staged", b"")
    assert client.resolve("main").id == first
    (page,) = client.list_objects(first)
    assert page["key"].to_pylist() == ["a.txt", "d/empty", "d/x.bin"]
    assert page["size"].to_pylist() == [6, 0, 256]
    assert page["content_type"][0].as_py() == "text/plain"
    assert page["metadata"].to_pylist() == ['{"owner":"lab"}', "", ""]


def test_refs_of_all_kinds(client: LakeFSClient, ocean: RemoteRepository) -> None:
    first = ocean.commit()
    ocean.create_tag("v1", first)
    ocean.create_branch("dev", first)
    ocean.put("dev", b"", branch="dev")
    second = ocean.commit(branch="dev")
    for ref in ("v1", "main", first, first[:12], "dev~1", "dev^1", "main@"):
        assert client.resolve(ref).id == first
    assert client.resolve("dev").id == second
    for ref in ("nowhere", "main^3", "main@~1", "v1@", "main~99", "..", "main$", "a b"):
        with pytest.raises(RefNotFoundError):
            client.resolve(ref)


def test_any_two_commits_are_compared(client: LakeFSClient, ocean: RemoteRepository) -> None:
    first = ocean.commit()
    ocean.put("a.txt", b"first\n", content_type="text/plain", metadata={"owner": "us"})
    ocean.put("d/x.bin", DATA)  # the same again
    ocean.put("new", b"")
    ocean.delete("d/empty")
    second = ocean.commit()
    found = [
        [(row["kind"], row["key"]) for page in client.compare(*two) for row in page.to_pylist()]
        for two in ((first, second), (second, first))
    ]
    assert found == [
        [("changed", "a.txt"), ("removed", "d/empty"), ("added", "new")],
        [("changed", "a.txt"), ("added", "d/empty"), ("removed", "new")],
    ]


@pytest.mark.parametrize("presigned", [False, True], ids=["through-lakefs", "presigned"])
def test_bytes(client: LakeFSClient, ocean: RemoteRepository, presigned: bool) -> None:
    commit = ocean.commit()
    if presigned and not client.read_storage().presigns:
        pytest.skip("its storage presigns nothing")
    read = lambda key, *part: client.read(commit, key, *part, presigned=presigned)[0]  # noqa: E731
    assert read("d/x.bin") == DATA
    assert read("d/x.bin", 3, 5) == DATA[3:8]
    assert read("d/x.bin", 250) == DATA[250:]
    assert read("d/empty") == read("d/empty", 0, 0) == b""
    with pytest.raises(IntegrityError):
        read("d/x.bin", 250, 7)
    with pytest.raises(NotFoundError):
        read("d")


def test_odd_keys(client: LakeFSClient, ocean: RemoteRepository) -> None:
    for key in ODD:
        ocean.put(key, key.encode())
    commit = ocean.commit()
    listed = [key for page in client.list_objects(commit) for key in page["key"].to_pylist()]
    assert [key for key in listed if key in ODD] == sorted(ODD)
    for key in ODD:
        assert client.read(commit, key) == client.read(commit, key, 0, len(key.encode()))
        assert client.read(commit, key)[0] == key.encode()
        below = [k for page in client.list_objects(commit, key) for k in page["key"].to_pylist()]
        assert below == [key]


@pytest.mark.slow
def test_a_long_listing(client: LakeFSClient, ocean: RemoteRepository) -> None:
    for number in range(1005):
        ocean.put(f"many/{number:04d}", b"")
    pages = list(client.list_objects(ocean.commit(), "many/"))
    assert [page.num_rows for page in pages] == [1000, 5]


def test_the_gateway_has_the_same(
    any_lake: RemoteLake, client: LakeFSClient, ocean: RemoteRepository
) -> None:
    commit = ocean.commit()
    store = open_store(f"s3://{ocean.name}/{commit}", any_lake.config())
    (page,) = client.list_objects(commit)
    listed = {row["key"]: row for p in store.list() for row in p.to_pylist()}
    for row in page.to_pylist():
        data, tag = store.read_tagged(row["key"])
        assert (data, (tag or "").strip('"')) == client.read(commit, row["key"])
        assert listed[row["key"]]["size"] == row["size"]
        assert listed[row["key"]]["etag"] == f'"{row["checksum"]}"'


def test_another_secret_is_refused(any_lake: RemoteLake, ocean: RemoteRepository) -> None:
    from dataclasses import replace

    from prefect_freight.config import Secret

    wrong = replace(any_lake.config(), secret_access_key=Secret("wrong"))
    with LakeFSClient(wrong, ocean.name) as client, pytest.raises(AccessError):
        client.resolve("main")
