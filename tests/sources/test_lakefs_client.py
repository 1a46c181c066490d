"""What our client asks lakeFS for, and what it makes of the answers."""

import base64
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from lakefs_server.faults import Fault
from lakefs_server.recording import RECORDINGS, load
from lakefs_server.repository import Repository
from lakefs_server.server import Lake
from servers import free_ports

from prefect_freight.config import Secret
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    FreightError,
    InputError,
    IntegrityError,
    InternalError,
    NotARepositoryError,
    NotFoundError,
    RefNotFoundError,
    TransientError,
)
from prefect_freight.sources.lakefs.client import LakeFSClient

STATE = json.loads((RECORDINGS / "s3" / "state.json").read_text())
COMMITS: dict[str, str] = STATE["names"]
MERGE, ONE = COMMITS["merge"], COMMITS["one"]


@pytest.fixture
def ocean(lake: Lake) -> Repository:
    """The repository that was recorded."""
    return load(lake, "s3")


@pytest.fixture
def client(lake: Lake, ocean: Repository) -> Iterator[LakeFSClient]:
    with LakeFSClient(lake.config(), ocean.name) as client:
        yield client


def keys(pages: Iterator[Any]) -> list[str]:
    return [key for page in pages for key in page["key"].to_pylist()]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("main", "merge"),
        ("main@", "merge"),
        ("v1", "one"),
        (MERGE, "merge"),
        (MERGE[:12], "merge"),
        ("main~1", "two"),
        ("main^2", "side"),
        ("v2~1^1", "one"),
        ("abandoned", "abandoned"),
    ],
)
def test_a_ref_is_a_commit(client: LakeFSClient, ref: str, name: str) -> None:
    assert client.resolve(ref).id == COMMITS[name]


def test_a_head_that_moves_changes_nothing_of_a_commit(
    lake: Lake, client: LakeFSClient, ocean: Repository
) -> None:
    before = keys(client.list_objects(client.resolve("main").id))
    commit = client.resolve("main")
    lake.break_with(Fault(meanwhile=lambda: ocean.commit("meanwhile"), times=1))
    assert keys(client.list_objects(commit.id)) == before
    assert "staged.txt" not in before
    assert client.resolve("main").id != commit.id


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("mian", "Did you mean 'main'"),
        ("v1x", "Did you mean 'v1'.*It has: abandoned, dev, main, side, v1, v2"),
        ("f" * 64, "no branch, tag or commit"),
        ("main~99", "no branch"),
        ("a b/c?", "no branch"),
        ("..", "no branch"),
        ("", "no branch"),
        ("main$", "staged"),
    ],
)
def test_what_is_no_ref_is_told_with_what_there_is(
    client: LakeFSClient, ref: str, said: str
) -> None:
    with pytest.raises(RefNotFoundError, match=said):
        client.resolve(ref)


@pytest.mark.parametrize("ref", ["main^3", "main@~1", "v2@", "~1"])
def test_a_wrong_modifier_is_asked_for_twice(lake: Lake, client: LakeFSClient, ref: str) -> None:
    with pytest.raises(RefNotFoundError):
        client.resolve(ref)
    assert lake.count(target="/commits/") == 2


@pytest.mark.parametrize(("ref", "times"), [("main", 3), ("main~1", 1)])
def test_a_server_in_trouble_is_asked_again(
    lake: Lake, client: LakeFSClient, ref: str, times: int
) -> None:
    lake.break_with(Fault(status=500, target="/commits/", times=times))
    assert client.resolve(ref).id in COMMITS.values()
    assert lake.count(target="/commits/") == times + 1


def test_a_repository_that_is_not_there(lake: Lake) -> None:
    with LakeFSClient(lake.config(), "pond") as client, pytest.raises(NotARepositoryError) as none:
        client.resolve("main")
    assert "'pond'" in str(none.value)
    with pytest.raises(NotARepositoryError, match="a-z"):
        LakeFSClient(lake.config(), "No/Where")


def test_all_that_was_committed_is_listed(client: LakeFSClient) -> None:
    (page,) = client.list_objects(MERGE)
    tree = STATE["commits"][MERGE]["tree"]
    assert page["key"].to_pylist() == sorted(tree)
    for row in page.to_pylist():
        told = tree[row["key"]]
        assert (row["size"], row["checksum"]) == (told["size_bytes"], told["checksum"])
        assert (row["address"], row["content_type"]) == (
            told["physical_address"],
            told["content_type"],
        )
        assert json.loads(row["metadata"] or "{}") == told.get("metadata", {})


def test_a_listing_goes_on_to_its_end_and_from_where_it_broke(
    lake: Lake, client: LakeFSClient, ocean: Repository
) -> None:
    for number in range(2500):
        ocean.put(f"many/{number:04d}", b"")
    ocean.put("many!", b"")
    commit, all_keys = ocean.commit(), [f"many/{number:04d}" for number in range(2500)]
    lake.break_with(
        Fault(status=429, target="after=many/0999", times=1),
        Fault(cut=True, target="after=many/1999", times=1),
    )
    assert keys(client.list_objects(commit, "many/")) == all_keys
    assert lake.count(target="/objects/ls") == 5
    assert keys(client.list_objects(commit, "many/", "many/2497")) == all_keys[2498:]
    assert keys(client.compare(MERGE, commit, "many")) == ["many!", *all_keys]
    assert list(client.list_objects(commit, "nothing/")) == []


@pytest.mark.parametrize(
    ("keys_there", "pagination", "error"),
    [
        ("ab", {"has_more": True}, IntegrityError),  # and again, and again
        ("", {"has_more": True}, IntegrityError),
        ("ba", {"has_more": False}, IntegrityError),
        ("aa", {"has_more": False}, IntegrityError),
        ("ab", {}, ConfigError),
        ("ab", [], ConfigError),
    ],
)
def test_a_page_that_cannot_be_one_of_a_whole_listing_is_refused(
    lake: Lake,
    client: LakeFSClient,
    keys_there: str,
    pagination: object,
    error: type[FreightError],
) -> None:
    known = {"checksum": "0", "size_bytes": 1, "physical_address": "s3://b/a"}
    results = [{"path": key} | known for key in keys_there]
    body = json.dumps({"results": results, "pagination": pagination}).encode()
    lake.break_with(Fault(status=200, body=body, target="/objects/ls"))
    with pytest.raises(error):
        list(client.list_objects(MERGE))


@pytest.mark.parametrize(("before", "after"), [("one", "merge"), ("abandoned", "one")])
def test_any_two_commits_are_compared(client: LakeFSClient, before: str, after: str) -> None:
    trees = [STATE["commits"][COMMITS[name]]["tree"] for name in (before, after)]
    known = ("checksum", "size_bytes", "content_type", "metadata")
    left, right = ({k: [e.get(n) for n in known] for k, e in tree.items()} for tree in trees)
    expected = dict.fromkeys(left.keys() - right.keys(), "removed")
    expected |= dict.fromkeys(right.keys() - left.keys(), "added")
    expected |= {k: "changed" for k in left.keys() & right.keys() if left[k] != right[k]}
    (page,) = client.compare(COMMITS[before], COMMITS[after])
    assert dict(zip(page["key"].to_pylist(), page["kind"].to_pylist(), strict=True)) == expected
    assert page["key"].to_pylist() == sorted(expected)
    for row in page.to_pylist():
        told = {} if row["kind"] == "removed" else trees[1][row["key"]]
        assert row["checksum"] == told.get("checksum")
        assert row["content_type"] == told.get("content_type")
        assert json.loads(row["metadata"] or "{}") == told.get("metadata", {})


def test_only_a_full_id_is_listed_compared_and_read(client: LakeFSClient) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: list(client.list_objects("main")),
        lambda: list(client.compare(ONE, "main")),
        lambda: client.read("main", "a.txt"),
        lambda: client.stat(MERGE[:12], "a.txt"),
        lambda: client.presign("v1", "a.txt"),
    )
    for call in calls:
        with pytest.raises(InternalError, match="full id"):
            call()


@pytest.mark.parametrize("presigned", [False, True], ids=["through-lakefs", "presigned"])
class TestBytes:
    """What both ways of reading do."""

    @pytest.mark.parametrize(
        ("offset", "size"), [(0, None), (0, 1024), (0, 10), (1000, None), (1014, 10), (5, 0)]
    )
    def test_of_any_part(
        self, client: LakeFSClient, presigned: bool, offset: int, size: int | None
    ) -> None:
        data, tag = client.read(MERGE, "binary.bin", offset, size, presigned=presigned)
        end = None if size is None else offset + size
        assert data == (bytes(range(256)) * 4)[offset:end]
        assert presigned or tag == "b2ea9f7fcea831a4a63b213f41a8855b"

    def test_of_odd_keys(self, client: LakeFSClient, presigned: bool) -> None:
        odd = [key for key in STATE["commits"][MERGE]["tree"] if "odd" in key]
        for key in odd:
            assert client.read(MERGE, key, presigned=presigned)[0] == key.encode()
            assert client.stat(MERGE, key)["key"].to_pylist() == [key]
        assert len(odd) == 25

    def test_of_nothing(self, client: LakeFSClient, presigned: bool) -> None:
        for size in (None, 0):
            assert client.read(MERGE, "table/_SUCCESS", 0, size, presigned=presigned)[0] == b""

    @pytest.mark.parametrize(("offset", "size"), [(1020, 5), (1024, 1), (5000, 1)])
    def test_beyond_the_end_is_an_error(
        self, client: LakeFSClient, presigned: bool, offset: int, size: int
    ) -> None:
        with pytest.raises(IntegrityError, match=r"'binary\.bin'"):
            client.read(MERGE, "binary.bin", offset, size, presigned=presigned)

    def test_that_are_gone_are_named(
        self, client: LakeFSClient, ocean: Repository, presigned: bool
    ) -> None:
        ocean.lose("binary.bin", "v2")
        with pytest.raises(NotFoundError, match=r"'binary\.bin'.*data is gone"):
            client.read(MERGE, "binary.bin", presigned=presigned)
        with pytest.raises(NotFoundError, match="'nowhere'"):
            client.read(MERGE, "nowhere", presigned=presigned)

    def test_that_are_cut_short_may_be_asked_for_again(
        self, lake: Lake, client: LakeFSClient, presigned: bool
    ) -> None:
        door = "presigned" if presigned else "rest"
        lake.break_with(Fault(cut=True, door=door, times=1))
        with pytest.raises(TransientError, match=r"'binary.bin'.*broke"):
            client.read(MERGE, "binary.bin", presigned=presigned)
        assert len(client.read(MERGE, "binary.bin", presigned=presigned)[0]) == 1024

    def test_come_as_a_stream(self, lake: Lake, client: LakeFSClient, presigned: bool) -> None:
        door = "presigned" if presigned else "rest"
        lake.break_with(Fault(pause_s=0.05, door=door, target="binary.bin|/data/"))
        with client.open(MERGE, "binary.bin", presigned=presigned) as body:
            chunks = list(body.chunks)
        assert len(chunks) > 1
        assert b"".join(chunks) == bytes(range(256)) * 4

    def test_leave_the_callers_own_errors_alone(
        self, client: LakeFSClient, presigned: bool
    ) -> None:
        body = client.open(MERGE, "binary.bin", presigned=presigned)
        with pytest.raises(OSError, match="disk full"), body:
            raise OSError("disk full")


def test_a_presigned_read_has_no_credentials_of_ours(lake: Lake, client: LakeFSClient) -> None:
    client.read(MERGE, "a.txt", presigned=True)
    (seen,) = [seen for seen in lake.seen if seen.door == "presigned"]
    assert seen.status == 200
    assert not {"authorization", "x-lakefs-client", "cookie"} & seen.request.headers.keys()


@pytest.mark.parametrize(("times", "reads"), [(1, 2), (None, 2)])
def test_an_expired_address_is_taken_again_once(
    lake: Lake, client: LakeFSClient, times: int | None, reads: int
) -> None:
    lake.break_with(Fault(status=403, door="presigned", times=times))
    if times is None:
        with pytest.raises(AccessError, match="presigned"):
            client.read(MERGE, "a.txt", presigned=True)
    else:
        assert client.read(MERGE, "a.txt", presigned=True)[0] == b"second\n"
    assert lake.count("presigned") == reads
    assert lake.count(target="presign=true") == reads


def test_what_lies_below_is_told(client: LakeFSClient) -> None:
    storage = client.read_storage()
    assert (storage.kind, storage.presigns) == ("s3", True)
    assert client.read_namespace() == "s3://lake/ocean2"


def test_a_storage_without_presigned_addresses_is_told() -> None:
    with Lake("local") as lake:
        load(lake, "local")
        with LakeFSClient(lake.config(), "ocean") as client:
            assert not client.read_storage().presigns
            commit = client.resolve("main").id
            with pytest.raises(InputError, match="without presigned"):
                client.read(commit, "a.txt", presigned=True)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_be_over_soon_is_asked_again(
    lake: Lake, client: LakeFSClient, status: int
) -> None:
    lake.break_with(Fault(status=status, times=2))
    assert client.stat(MERGE, "a.txt")["size"].to_pylist() == [7]
    assert len(lake.seen) == 3
    lake.break_with(Fault(status=status, times=1))
    with pytest.raises(TransientError, match=f"answered {status}"):
        client.read(MERGE, "a.txt")  # whose caller knows whether to


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Fault(status=400), InputError, "answered 400"),
        (Fault(status=401), AccessError, "Check access_key_id and secret_access_key"),
        (Fault(status=401, message="insufficient permissions: x"), AccessError, "fs:ListObjects"),
        (Fault(status=403), AccessError, "refused it"),
        (Fault(status=404), NotFoundError, "no such thing"),
        (Fault(status=410), NotFoundError, "data is gone"),
        (Fault(status=412), InputError, "answered 412"),
        (Fault(status=308, headers={"Location": "https://x"}), ConfigError, "leads elsewhere"),
        (Fault(status=200, body=b"<html>"), ConfigError, "REST interface of lakeFS"),
        (Fault(status=200, body=b"[]"), ConfigError, "REST interface of lakeFS"),
        (Fault(status=200, body=b'{"a": {}}'), ConfigError, "REST interface of lakeFS"),
    ],
)
def test_what_stays_wrong_is_told_at_once(
    lake: Lake, client: LakeFSClient, fault: Fault, error: type[FreightError], said: str
) -> None:
    lake.break_with(replace(fault, matched=0))
    with pytest.raises(error, match=said):
        client.stat(MERGE, "a.txt")
    assert len(lake.seen) == 1


def test_a_server_that_is_not_there_may_come(lake: Lake) -> None:
    config = lake.config(endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}")
    client = LakeFSClient(config, "ocean")
    with client, pytest.raises(TransientError, match="no answer from"):
        client.read(MERGE, "a.txt")


def test_no_secret_is_logged_shown_or_in_an_error(
    lake: Lake, client: LakeFSClient, ocean: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = [repr(client), repr(client.presign(MERGE, "a.txt")), str(vars(client))]
    ocean.lose("binary.bin", "v2")
    echo = Fault(status=503, message=lake.secret_access_key, target="new/one", door="rest")
    lake.break_with(echo, Fault(cut=True, door="presigned", target="x-id", first=2, times=1))
    with caplog.at_level(logging.DEBUG):
        client.read(MERGE, "a.txt", presigned=True)
        for key in ("meta.txt", "binary.bin", "new/one.txt", "nowhere"):
            with pytest.raises(FreightError) as caught:
                client.read(MERGE, key, presigned=True)
            # The client's own errors hold the request, which has all that must not be shown.
            assert all(isinstance(one, FreightError) for one in chain(caught.value))
            shown += [f"{one!r} {one}" for one in chain(caught.value)]
        wrong = lake.config(secret_access_key=Secret("another-secret"))
        with LakeFSClient(wrong, "ocean") as stranger, pytest.raises(AccessError) as refused:
            stranger.resolve("main")
    text = "\n".join([*shown, str(refused.value), *map(str, caplog.messages), caplog.text])
    assert "httpx" in caplog.text  # it does log
    pair = f"{lake.access_key_id}:{lake.secret_access_key}"
    basic = base64.b64encode(pair.encode()).decode()
    for secret in (lake.secret_access_key, basic, "another-secret", "Signature=", "X-Amz"):
        assert secret not in text


def test_connections_are_kept_and_closed(lake: Lake, client: LakeFSClient) -> None:
    for _ in range(10):
        client.read(MERGE, "a.txt", presigned=True)
    assert len({(seen.door, seen.request.port) for seen in lake.seen}) == 2
    client.close()
    client.read(MERGE, "a.txt")  # opened anew
    assert len({seen.request.port for seen in lake.seen}) == 3


@pytest.mark.parametrize("presigned", [False, True], ids=["through-lakefs", "presigned"])
def test_proxies_are_those_of_the_environment(
    client: LakeFSClient, monkeypatch: pytest.MonkeyPatch, presigned: bool
) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{free_ports(1)[0]}")  # where there is none
    with pytest.raises(TransientError, match="no answer"):
        client.read(MERGE, "a.txt")
    client.close()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert client.read(MERGE, "a.txt", presigned=presigned)[0] == b"second\n"
    if presigned:
        monkeypatch.delenv("NO_PROXY")  # the server's client was made before
        with pytest.raises(TransientError, match="no answer"):
            client.read(MERGE, "a.txt", presigned=True)


def test_many_threads_read_at_once(client: LakeFSClient) -> None:
    tree = STATE["commits"][MERGE]["tree"]
    with ThreadPoolExecutor(16) as pool:
        data = list(pool.map(lambda key: client.read(MERGE, key)[0], [*tree] * 4))
    assert [len(one) for one in data] == [entry["size_bytes"] for entry in tree.values()] * 4


def test_it_says_who_it_is_and_goes_to_other_processes(lake: Lake, client: LakeFSClient) -> None:
    client.resolve("main")
    copy = pickle.loads(pickle.dumps(client))
    with copy:
        assert copy.read(MERGE, "a.txt")[0] == b"second\n"
    for seen in lake.seen:
        assert seen.request.headers["x-lakefs-client"].startswith("prefect-freight/")
