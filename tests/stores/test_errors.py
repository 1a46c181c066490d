"""What stores say when they are refused, and what they keep to themselves."""

import errno
import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers import S3Server, free_ports

from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    DestinationError,
    FreightError,
    InputError,
    NoSuchBucketError,
    NotFoundError,
    StorageFullError,
    TransientError,
)
from prefect_freight.stores import Store
from prefect_freight.stores.fsspec import FsspecStore
from prefect_freight.stores.s3.client import Timeouts, open_obstore
from prefect_freight.stores.urls import open_store

HIDDEN = "hush-hush-0123456789"
TOKEN = "hush-hush-token-0123456789"

ACTS: dict[str, Callable[[Store], object]] = {
    "write": lambda store: store.write("k", b"x"),
    "write_new": lambda store: store.write_new("new", b"x"),
    "read": lambda store: store.read("k"),
    "range": lambda store: store.read("k", 0, 1),
    "delete": lambda store: store.delete(["k"]),
    "list": lambda store: list(store.list()),
}
act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())


def chain(error: BaseException | None) -> str:
    """Return all that an error and those behind it say."""
    texts = []
    while error is not None:
        texts.append(f"{error} {error!r} {error.args}")
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.fixture(scope="session")
def bucket(s3: S3Server) -> str:
    bucket = s3.new_bucket()
    open_store(f"s3://{bucket}", s3.config()).write("k", b"x")
    return bucket


@act
@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"secret_access_key": Secret(HIDDEN)}, "Check secret_access_key"),
        ({"access_key_id": f"nobody-{HIDDEN}"}, "Check access_key_id"),
        ({"session_token": Secret(TOKEN)}, "Check access_key_id and session_token"),
    ],
)
def test_wrong_keys_are_refused_with_the_cure(s3, bucket, change, cure, act) -> None:
    store = open_store(f"s3://{bucket}", s3.config(**change))
    with pytest.raises(
        AccessError, match=f"refused the credentials for bucket '{bucket}'.*{cure}"
    ) as caught:
        act(store)
    for hidden in (HIDDEN, TOKEN, s3.secret_access_key):
        assert hidden not in chain(caught.value) + repr(store) + str(store) + store.url


@act
def test_who_says_nothing_is_refused(s3: S3Server, bucket: str, act) -> None:
    config = s3.config(access_key_id=None, secret_access_key=None, anonymous=True)
    with pytest.raises(AccessError, match="denied access to bucket"):
        act(open_store(f"s3://{bucket}", config))


@pytest.mark.parametrize("name", ["write", "write_new", "delete"])
def test_who_may_only_read_is_refused_a_change(s3: S3Server, bucket: str, name: str) -> None:
    store = open_store(f"s3://{bucket}", s3.readonly_config())
    with pytest.raises(AccessError, match="AccessDenied"):
        ACTS[name](store)
    assert store.read("k") == b"x"


@act
def test_a_missing_bucket_is_named(s3: S3Server, act) -> None:
    with pytest.raises(NoSuchBucketError, match=f"'no-such-bucket' at {s3.endpoint_url}.*Create"):
        act(open_store("s3://no-such-bucket/p", s3.config()))


@act
def test_nobody_answers(s3: S3Server, act) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    store = open_store("s3://bucket", s3.config(endpoint_url=endpoint))
    with pytest.raises(TransientError, match=f"no answer from {endpoint}.*endpoint_url right"):
        act(store)


def test_the_environments_keys_are_not_mixed_in(s3, bucket, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert open_store(f"s3://{bucket}", s3.config()).read("k") == b"x"


def test_without_keys_the_environments_are_used(s3, bucket, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_access_key)
    config = StoreConfig(endpoint_url=s3.endpoint_url)
    assert open_store(f"s3://{bucket}", config).read("k") == b"x"


@pytest.fixture
def profiles(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write AWS's credentials file with one profile, `work`."""
    path = tmp_path / "credentials"
    path.write_text(
        f"[work]\nregion = eu-west-3\naws_access_key_id = {s3.access_key_id}\n"
        f"aws_secret_access_key = {s3.secret_access_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.mark.usefixtures("profiles")
def test_a_profiles_keys_are_used(s3: S3Server, bucket: str) -> None:
    config = StoreConfig(endpoint_url=s3.endpoint_url, profile="work")
    assert open_store(f"s3://{bucket}", config).read("k") == b"x"


@pytest.mark.usefixtures("profiles")
def test_a_profiles_region_is_used_unless_one_is_said() -> None:
    for region, used in ((None, "eu-west-3"), ("us-west-2", "us-west-2")):
        client = open_obstore(
            "bucket", "", StoreConfig(profile="work", region=region), Timeouts.of_small(60)
        )
        assert client.config["region"] == used


@pytest.mark.usefixtures("profiles")
def test_a_missing_profile_is_named(s3: S3Server, bucket: str) -> None:
    config = StoreConfig(endpoint_url=s3.endpoint_url, profile="play")
    with pytest.raises(ConfigError, match="profile 'play'"):
        open_store(f"s3://{bucket}", config).read("k")


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{HIDDEN}@bucket/prefix",
        f"s3://{HIDDEN}@bucket/prefix",
        f"s3://bucket/prefix?X-Amz-Signature={HIDDEN}",
        f"https://host/path?sig={HIDDEN}",
        f"sftp://user:{HIDDEN}@host/path",
        f"file:///path#{HIDDEN}",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="without credentials") as caught:
        open_store(url)
    assert HIDDEN not in chain(caught.value)


@pytest.mark.parametrize(
    ("url", "config", "said"),
    [
        ("s3://", StoreConfig(), "no bucket"),
        ("s3://bucket/a//b", StoreConfig(), "a//b"),
        ("file://host/path", StoreConfig(), "host"),
        ("", StoreConfig(), "empty"),
        ("memory://x", StoreConfig(region="r"), "region would do nothing"),
        ("s3://b", StoreConfig(storage_options={"a": 1}), "storage_options would do nothing"),
    ],
)
def test_an_impossible_place_is_refused(url: str, config: StoreConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_store(url, config)


def test_a_url_that_no_file_system_opens_is_refused() -> None:
    with pytest.raises(ConfigError, match="nowhere://"):
        open_store("nowhere://x").read("k")


def test_options_of_a_file_system_stay_hidden() -> None:
    options = {"secret": Secret(HIDDEN), "key": HIDDEN}
    store = FsspecStore("nowhere://x", StoreConfig(storage_options=options))
    with pytest.raises(ConfigError) as caught:
        store.read("k")
    assert HIDDEN not in chain(caught.value) + repr(store) + repr(options["secret"])


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("~/x/../y", "file://{home}/y"),
        ("/a b/ü", "file:///a%20b/%C3%BC"),
        ("file:///a%20b/", "file:///a%20b"),
        ("file://localhost/a", "file:///a"),
        ("s3://bucket/p/q/", "s3://bucket/p/q"),
        ("s3a://bucket", "s3://bucket"),
        ("memory://x/", "memory://x"),
        ("abfs://container@account/x", "abfs://container@account/x"),
    ],
)
def test_urls_have_one_spelling(said, url, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store(said).url == url.format(home=tmp_path)


@pytest.fixture
def linked(tmp_path: Path) -> Iterator[tuple[Store, Path]]:
    """Return a store with links out of its root and inside it, and the folder outside."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_text("theirs")
    (root / "inside").mkdir(parents=True)
    (root / "inside" / "file").write_text("ours")
    (root / "out").symlink_to(outside)
    (root / "out-file").symlink_to(outside / "file")
    (root / "in").symlink_to(root / "inside")
    (root / "in-file").symlink_to(root / "inside" / "file")
    yield open_store(str(root)), outside
    assert sorted(p.name for p in outside.rglob("*")) == ["file", "folder"]
    assert (outside / "file").read_text() == "theirs"


@pytest.mark.parametrize("key", ["out/file", "out/new", "out/folder/new/deep"])
def test_a_link_out_of_the_root_is_not_followed(linked, key: str) -> None:
    store, outside = linked
    for act in (
        lambda: store.write(key, b"x"),
        lambda: store.write_new(key, b"x"),
        lambda: store.read(key),
        lambda: store.delete([key]),
        lambda: list(store.list("out/")),
    ):
        with pytest.raises(DestinationError, match=f"symbolic link.*{outside}"):
            act()


def test_a_file_that_is_a_link_is_replaced_and_never_written_through(linked) -> None:
    store, _ = linked
    with pytest.raises(DestinationError, match="symbolic link"):
        store.read("out-file")
    store.write("out-file", b"ours now")
    assert store.read("out-file") == b"ours now"


def test_links_inside_the_root_are_followed(linked) -> None:
    store, _ = linked
    assert store.read("in/file") == store.read("in-file") == b"ours"
    for change in (lambda: store.write("in/new", b"x"), lambda: store.delete(["in/file"])):
        with pytest.raises(DestinationError, match="nothing was changed through it"):
            change()
    assert store.read("inside/file") == b"ours"


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    open_store(str(tmp_path / "root")).write("a/b", b"x")
    assert (tmp_path / "real" / "a" / "b").read_bytes() == b"x"


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let the kernel refuse to make a file longer than this (EFBIG), which is what it can refuse
    without a disk of our own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_no_room_is_said_and_leaves_the_old_object_and_nothing_else(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write("k", b"old")
    with files_up_to(1000), pytest.raises(StorageFullError, match=r"'k'.*Make room"):
        store.write("k", b"x" * 2000)
    assert store.read("k") == b"old"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / "k"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EACCES, AccessError),
        (errno.EROFS, AccessError),
        (errno.EIO, TransientError),
        (errno.ESTALE, TransientError),
        (errno.ENAMETOOLONG, InputError),
    ],
)
def test_the_kernels_errors_have_their_class(tmp_path, monkeypatch, code, expected) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    store = open_store(str(tmp_path))
    store.write("k", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)  # what a disk does that isn't ours to make do it
        with pytest.raises(expected, match="could not write 'k'") as caught:
            store.write("k", b"new")
    assert isinstance(caught.value.__cause__, OSError)
    assert store.read("k") == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_folder_of_somebody_else_is_an_access_error(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(AccessError, match="Check who owns the folder"):
        open_store(str(tmp_path / "theirs")).write("k", b"x")


def test_a_file_where_a_folder_must_be_is_no_passing_trouble(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write("a", b"x")
    store.write("b/c", b"x")
    for key in ("a/b", "a/b/c"):
        with pytest.raises(InputError, match="A file lies where a folder must be"):
            store.write(key, b"x")
        with pytest.raises(NotFoundError):
            store.read(key)
    with pytest.raises(InputError, match="A folder lies where a file must be"):
        store.write("b", b"x")


def test_a_name_that_is_too_long_is_refused(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    with pytest.raises(InputError, match="export to S3"):
        open_store(str(tmp_path)).write("x" * 300, b"x")
    with pytest.raises(InputError, match="1024 bytes"):
        open_store(f"s3://{bucket}/prefix", s3.config()).write("é" * 510, b"x")


def test_a_file_with_bytes_for_a_name_does_not_break_a_listing(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"theirs-\xff"), "wb"):
        keys = [key for page in open_store(str(tmp_path)).list() for key in page["key"].to_pylist()]
    assert keys == ["theirs-\\udcff"]


def test_what_a_killed_run_left_is_neither_listed_nor_kept(tmp_path: Path) -> None:
    folder = tmp_path / ".freight" / "unfinished"
    folder.mkdir(parents=True)
    (folder / "old").touch()
    (folder / "young").touch()
    os.utime(folder / "old", (0, 0))
    store = open_store(str(tmp_path))
    assert list(store.list()) == []
    store.write("k", b"x")
    assert [p.name for p in folder.iterdir()] == ["young"]  # another run may be writing it


def test_errors_survive_pickling(s3: S3Server) -> None:
    with pytest.raises(FreightError) as caught:
        open_store("s3://no-such-bucket", s3.config()).read("k")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (NoSuchBucketError, str(caught.value))


def test_where_no_folder_can_be_made_is_told_so() -> None:
    with pytest.raises(DestinationError, match=r"/proc/x\.zarr.*none can be made.*Choose another"):
        open_store("/proc/x.zarr").write("k", b"x")


def test_a_host_that_does_not_exist_is_told_with_a_question() -> None:
    with pytest.raises(TransientError, match=r"no host of that name was found. Is the address"):
        open_store("http://no-such-host.invalid/copy").read("k")
