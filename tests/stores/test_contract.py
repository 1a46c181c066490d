"""What every store does, and what each refuses."""

import pickle
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import S3Server

from prefect_freight.config import StoreConfig
from prefect_freight.errors import InputError, IntegrityError, NotFoundError
from prefect_freight.stores import LISTING_SCHEMA, Store
from prefect_freight.stores.fsspec import FsspecStore
from prefect_freight.stores.urls import open_store

KINDS = ["local", "s3", "memory", "fsspec-file", "fsspec-s3"]
ODD_KEYS = ["a b/c", "é/ü/日本", "a%2Fb", "a%b+c", "a#b?c&d=e", "[x]{y}*", "~t", "c/0/0", ".zarray"]


def make(kind: str, request: pytest.FixtureRequest) -> Store:
    name = f"root-{secrets.token_hex(4)}"
    match kind:
        case "local":
            return open_store(str(request.getfixturevalue("tmp_path") / name))
        case "s3":
            server: S3Server = request.getfixturevalue("s3")
            return open_store(f"s3://{server.new_bucket()}/{name}", server.config())
        case "memory":
            return open_store(f"memory://{name}")
        case "fsspec-file":
            path: Path = request.getfixturevalue("tmp_path") / name
            return FsspecStore(f"file://{path}", StoreConfig())
        case "fsspec-s3":
            server = request.getfixturevalue("s3")
            options = {
                "key": server.access_key_id,
                "secret": server.secret_access_key,
                "endpoint_url": server.endpoint_url,
            }
            config = StoreConfig(storage_options=options)
            return FsspecStore(f"s3://{server.new_bucket()}/{name}", config)
    raise AssertionError(kind)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Store:
    return make(request.param, request)


def listed(store: Store, prefix: str = "") -> dict[str, int]:
    rows = [row for page in store.list(prefix) for row in page.to_pylist()]
    found = {row["key"]: row["size"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_what_was_written_is_read(store: Store) -> None:
    for data in (b"first", b"", b"second, and longer"):
        store.write("a/b/c", data)
        assert store.read("a/b/c") == data


def test_a_range_is_read_exactly(store: Store) -> None:
    store.write("k", b"0123456789")
    assert store.read("k", 2, 3) == b"234"
    assert store.read("k", 7) == b"789"
    assert store.read("k", 9, 1) == b"9"
    assert store.read("k", 4, 0) == b""
    assert store.read("k", 10) == b""


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (8, 3), (10, 1), (20, 5)])
def test_an_object_that_ends_too_early_is_an_integrity_error(store, offset, length) -> None:
    store.write("k", b"0123456789")
    with pytest.raises(IntegrityError, match="'k'"):
        store.read("k", offset, length)


@pytest.mark.parametrize("range_", [(), (0, 5), (3,), (0, 0)])
def test_a_missing_object_is_not_found(store: Store, range_: tuple[int, ...]) -> None:
    store.write("folder/k", b"1")
    for key in ("nothing", "folder/nothing", "folder"):
        with pytest.raises(NotFoundError, match=f"{key!r}.*{store.url}"):
            store.read(key, *range_)


def test_write_new_puts_once(store: Store) -> None:
    assert store.write_new("lock", b"mine")
    assert not store.write_new("lock", b"another's")
    assert store.read("lock") == b"mine"
    store.delete(["lock"])
    assert store.write_new("lock", b"another's")


def test_replacing_puts_over_what_was_read_and_over_nothing_else(store: Store) -> None:
    store.write("lock", b"one")
    _, tag = store.read_tagged("lock")
    for n in (1, 2):  # S3 finds out at the first call what the service can do
        assert store.replace("lock", b"mine %d" % n, tag)
        assert store.read("lock") == b"mine %d" % n
        assert not store.replace("lock", b"another's", tag)
        assert store.read("lock") == b"mine %d" % n
        tag = store.read_tagged("lock")[1]
    store.delete(["lock"])
    assert not store.replace("lock", b"mine", tag)
    assert not store.replace("lock", b"mine", None)
    assert listed(store) == {}


def test_of_many_who_replace_the_same_object_one_wins(store: Store) -> None:
    if isinstance(store, FsspecStore):
        pytest.skip("fsspec has no conditional put")
    for n in range(5):
        store.write("lock", b"%d" % n)
        _, tag = store.read_tagged("lock")
        with ThreadPoolExecutor(32) as pool:
            put = list(pool.map(lambda m: store.replace("lock", b"by %d" % m, tag), range(16)))  # noqa: B023
        assert sum(put) == 1
        assert store.read("lock") == b"by %d" % put.index(True)


def test_deleting_leaves_the_rest(store: Store) -> None:
    for key in ("a/b/1", "a/b/2", "a/3", "4"):
        store.write(key, b"x")
    store.delete(["a/b/1", "a/b/2", "not/there", "a"])
    assert listed(store) == {"a/3": 1, "4": 1}
    store.delete([])
    store.delete(iter(["a/3", "4"]))
    assert listed(store) == {}


def test_a_listing_has_relative_keys_and_sizes(store: Store) -> None:
    for size, key in enumerate(("a/b/c", "a/b", "ab/c", "a0", "z")):
        if key != "a/b":  # a disk has either the file or the folder
            store.write(key, b"x" * size)
    assert listed(store) == {"a/b/c": 0, "ab/c": 2, "a0": 3, "z": 4}
    assert listed(store, "a/") == {"a/b/c": 0}
    assert listed(store, "a/b/") == {"a/b/c": 0}
    assert all(page.schema == LISTING_SCHEMA for page in store.list())


def test_a_missing_root_is_empty(store: Store) -> None:
    assert listed(store) == {}
    assert listed(store, "some/folder/") == {}


def test_odd_keys_come_back_as_they_are(store: Store) -> None:
    for key in ODD_KEYS:
        store.write(key, key.encode())
    assert listed(store) == {key: len(key.encode()) for key in ODD_KEYS}
    assert [store.read(key) for key in ODD_KEYS] == [key.encode() for key in ODD_KEYS]


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/./b", "a\0b", ".."]
)
def test_a_key_that_could_leave_the_root_is_refused(store: Store, key: str) -> None:
    for act in (
        lambda: store.write(key, b"x"),
        lambda: store.write_new(key, b"x"),
        lambda: store.replace(key, b"x", "tag"),
        lambda: store.read(key),
        lambda: store.delete([key]),
    ):
        with pytest.raises(InputError):
            act()
    assert listed(store) == {}


def test_many_threads_use_one_store(store: Store) -> None:
    keys = [f"c/{n % 7}/{n}" for n in range(200)]
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda key: store.write(key, key.encode()), keys))
        assert list(pool.map(store.read, keys)) == [key.encode() for key in keys]
        assert listed(store) == {key: len(key) for key in keys}
        list(pool.map(lambda key: store.delete([key]), keys))
    assert listed(store) == {}


def test_one_of_many_writers_wins(store: Store, request: pytest.FixtureRequest) -> None:
    if isinstance(store, FsspecStore):
        pytest.skip("fsspec has no conditional put")
    with ThreadPoolExecutor(32) as pool:
        put = list(pool.map(lambda n: store.write_new("lock", b"%d" % n), range(8)))
    assert sum(put) == 1
    assert store.read("lock") == b"%d" % put.index(True)


def test_a_pickled_store_is_the_same_store(store: Store) -> None:
    store.write("k", b"before")  # its connection is open
    again = pickle.loads(pickle.dumps(store))
    assert again.url == store.url
    assert again.read("k") == b"before"


def test_a_root_with_odd_characters_is_kept_apart(s3: S3Server, tmp_path: Path) -> None:
    bucket = s3.new_bucket()
    for one, other in (
        (f"s3://{bucket}/a b/é%20", f"s3://{bucket}/a b/é "),
        (str(tmp_path / "a b" / "%20"), str(tmp_path / "a b" / " ")),
    ):
        store = open_store(one, s3.config())
        store.write("k", b"x")
        assert listed(store) == {"k": 1}
        assert listed(open_store(other, s3.config())) == {}


def test_a_large_object_goes_in_parts(s3: S3Server) -> None:
    bucket, data = s3.new_bucket(), secrets.token_bytes(2**20) * 70
    store = open_store(f"s3://{bucket}", s3.config())
    store.write("large", data)
    assert store.read("large") == data
    etag = s3.client().head_object(Bucket=bucket, Key="large")["ETag"]
    assert etag.strip('"').endswith("-3")  # S3's way to say three parts


def test_listings_come_in_pages(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    (tmp_path / "c").mkdir()
    for n in range(5_100):
        (tmp_path / "c" / str(n)).touch()
    pages: Iterator[int] = (page.num_rows for page in store.list())
    assert list(pages) == [5_000, 100]


def tags(store: Store) -> dict[str, str | None]:
    return {row["key"]: row["etag"] for page in store.list() for row in page.to_pylist()}


def test_the_tag_of_a_read_is_that_of_the_listing(store: Store) -> None:
    for key in ("a", "d/e f", "d/é"):
        store.write(key, key.encode())
    for key, tag in tags(store).items():
        assert store.read_tagged(key) == (key.encode(), tag)
        assert tag


def test_the_tag_of_an_object_changes_with_its_bytes(store: Store) -> None:
    store.write("a", b"one")
    store.write("b", b"one")
    before = tags(store)
    store.write("a", b"two")
    assert {key for key, tag in tags(store).items() if tag != before[key]} == {"a"}


def test_what_is_not_there_has_no_tag(store: Store) -> None:
    with pytest.raises(NotFoundError, match="'nothing'"):
        store.read_tagged("nothing")
