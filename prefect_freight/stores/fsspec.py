"""Any URL that fsspec opens: Azure, Google Cloud, memory, SFTP and what else is installed."""

import datetime
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    FreightError,
    InputError,
    IntegrityError,
    NoSuchBucketError,
    NotFoundError,
    StorageFullError,
    TransientError,
)
from prefect_freight.retry import retrying
from prefect_freight.stores import Attributes
from prefect_freight.stores.local import DENIED_ERRNOS, FULL_ERRNOS
from prefect_freight.stores.locations import parent_url
from prefect_freight.stores.pages import Row, to_pages
from prefect_freight.threads import aside

NO_BUCKET_CODES = {"NoSuchBucket", "ContainerNotFound"}
LIMIT_S = 600.0
"""For an operation: not every file system has time-outs of its own."""
MIN_BYTES_PER_S = 2**16
"""Bytes have as much more time."""
TAGS = (
    "ETag",
    "etag",
    "md5Hash",
    "generation",
    "mtime",
    "LastModified",
    "last_modified",
    "created",
)
"""Names that file systems have for what tells a file from an earlier one of its name."""


class FsspecStore:
    """Objects of an fsspec file system below a URL.

    What is atomic depends on the file system: object stores put all of an object or nothing, SFTP
    and its like show a file while it grows, and none has a conditional put here. An operation that
    takes longer than `limit_s`, and than its bytes may take, has failed, and is left to itself.
    """

    def __init__(self, url: str, config: StoreConfig, limit_s: float = LIMIT_S) -> None:
        self._url, self._config, self._limit_s = url.rstrip("/"), config, limit_s
        self._opened: tuple[Any, str] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"FsspecStore({self.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return FsspecStore, (self._url, self._config, self._limit_s)

    @property
    def url(self) -> str:
        """The root's URL."""
        return self._url

    def parent(self) -> "FsspecStore | None":
        """Return the folder above."""
        above = parent_url(self._url)
        return None if above is None else FsspecStore(above, self._config, self._limit_s)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a file, or a range of it."""
        files, path = self._path(key)

        def get() -> bytes:
            # File systems differ in how they answer for an empty range and for one that begins
            # behind the end, so they are asked for neither.
            if offset or length == 0:
                info = files.info(path)
                if info["type"] == "directory":
                    raise FileNotFoundError
                if length == 0 or offset >= int(info["size"]):
                    return b""
            end = None if length is None else offset + length
            return (
                b"" if length == 0 else bytes(files.cat_file(path, start=offset or None, end=end))
            )

        data = self._call("read", key, get, length or 0)
        if length is not None and len(data) != length:
            raise IntegrityError(
                f"expected {length} bytes from {offset} of {key!r} in {self.url}, found {len(data)}"
            )
        return data

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Read a file between two looks at it."""
        files, path = self._path(key)

        def info() -> str | None:
            files.invalidate_cache()
            return _tag(files.info(path))

        before = self._call("look at", key, info)
        data = self.read(key)
        after = self._call("look at", key, info)
        if before != after:
            raise IntegrityError(f"{key!r} in {self.url} was changed while it was read")
        return data, after

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:  # noqa: ARG002
        """Write a file."""
        files, path = self._path(key)

        def put() -> None:
            if not files.async_impl:  # object stores, which fsspec reaches by coroutines, need none
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
            files.pipe_file(path, data)

        self._call("write", key, put, len(data))

    def write_new(self, key: str, data: bytes) -> bool:
        """Write a file unless there is one; two callers at once may both find none."""
        files, path = self._path(key)
        # fsspec remembers listings: without this, a lock of another process would be unseen here.
        files.invalidate_cache()
        if self._call("look for", key, lambda: files.exists(path)):
            return False
        self.write(key, data)
        return True

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Write a file in place of the one with this tag; two callers at once may both do so."""
        try:
            _, current = self.read_tagged(key)
        except (NotFoundError, IntegrityError):  # gone, or changed while it was looked at
            return False
        if tag is None or current != tag:
            return False
        self.write(key, data)
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files, one by one; folders that this leaves empty stay."""
        for key in keys:
            files, path = self._path(key)
            try:
                self._call("delete", key, lambda: files.rm_file(path))  # noqa: B023 - called now
            except NotFoundError:
                continue

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the files below a folder, asking for one folder after the other.

        A folder that cannot be listed is an error; fsspec's own `walk` would leave it out.
        """
        return to_pages(self._walk(prefix, without))

    def _walk(self, prefix: str, without: str) -> Iterator[Row]:
        files, root = self._open()
        start = f"{root}/{prefix}".rstrip("/")
        skipped = f"{root}/{without}".strip("/") if without else None
        folders = [start]
        while folders:
            folder = folders.pop()
            for info in self._list_folder(files, folder):
                name = info["name"].strip("/")
                if name == folder.strip("/"):
                    continue  # a marker that stands for the folder itself, or a file in its place
                if info["type"] == "directory":
                    if name != skipped:
                        folders.append(info["name"].rstrip("/"))
                else:
                    key = name.removeprefix(root.strip("/")).lstrip("/")
                    yield key, int(info["size"] or 0), _tag(info)

    def _list_folder(self, files: Any, folder: str) -> Sequence[dict[str, Any]]:
        def ls() -> Sequence[dict[str, Any]]:
            # Another process may have written since the last listing; and the cache of a large
            # destination would keep every file's record in memory.
            files.invalidate_cache()
            return tuple(files.ls(folder, detail=True))

        try:
            return retrying(lambda: self._call("list", folder, ls))
        except NotFoundError:
            return ()

    def _path(self, key: str) -> tuple[Any, str]:
        if "\0" in key or {"", ".", ".."} & set(key.split("/")):
            raise InputError(f"expected a key that names a file below {self.url}, found {key!r}")
        files, root = self._open()
        return files, f"{root}/{key}"

    def _open(self) -> tuple[Any, str]:
        with self._lock:
            if self._opened is None:
                self._opened = self._call("open", "", lambda: _open(self._url, self._config))
            return self._opened

    def _call[T](self, verb: str, key: str, call: Callable[[], T], size: int = 0) -> T:
        try:
            return aside(call, self._limit_s + size / MIN_BYTES_PER_S)
        except FreightError:
            raise
        except Exception as error:  # noqa: BLE001 - translated
            translated = _translate(error, f"could not {verb} {key!r} in {self.url}")
        # Raised out here, so that the library's error, which may quote a secret, isn't its context.
        raise translated


def _tag(info: Mapping[str, Any]) -> str | None:
    """Return what a file system tells of a file that changes when the file does."""
    # A listing may give as a number what `info` gives as a date.
    values = {
        name: value.timestamp() if isinstance(value, datetime.datetime) else value
        for name in TAGS
        if (value := info.get(name)) is not None
    }
    return ", ".join(f"{name} {value}" for name, value in values.items()) or None


def _translate(error: Exception, failure: str) -> FreightError:
    """Return what an error of a file system means; `failure` begins the message.

    The error's own text is left out: it may hold anything, a secret too.
    """
    name, code = type(error).__name__, getattr(error, "errno", None)
    status = getattr(error, "status", None) or getattr(error, "status_code", None) or code
    match error:
        case FileNotFoundError() if _code_behind(error) in NO_BUCKET_CODES:
            return NoSuchBucketError(f"{failure}: there is no such bucket. Create it")
        case FileNotFoundError() | NotADirectoryError() | IsADirectoryError():
            return NotFoundError(f"{failure}: there is no such file")
        case PermissionError():
            return AccessError(f"{failure}: it was refused. Check storage_options")
        case TimeoutError():
            return TransientError(f"{failure}: it did not answer in time")
        case ImportError():
            return ConfigError(f"{failure}: {error}")  # names the package to install
        case ValueError() | TypeError() | NotImplementedError():
            return InputError(f"{failure}: {name}. The file system cannot do that")
    if code in DENIED_ERRNOS or status in (401, 403) or "Credential" in name or "Auth" in name:
        return AccessError(f"{failure}: {name}, it was refused. Check storage_options")
    if code in FULL_ERRNOS:
        return StorageFullError(f"{failure}. Make room and run the same command again")
    return _of_connection(error, failure)


def _of_connection(error: Exception, failure: str) -> TransientError:
    # By the names of their classes: which client there is depends on what is installed.
    name = type(error).__name__
    if isinstance(error, socket.gaierror) or "DNS" in name:
        return TransientError(f"{failure}: no host of that name was found. Is the address right?")
    if isinstance(error, ConnectionRefusedError) or "Connector" in name or "ConnectError" in name:
        return TransientError(f"{failure}: no answer from there. Is the address right?")
    return TransientError(f"{failure}: {name}")


def _code_behind(error: Exception) -> str:
    """Return the code of the service's answer that an error was made of, "" if it has none."""
    answer = getattr(error.__cause__, "response", None)  # botocore's, behind those of s3fs
    if isinstance(answer, dict):
        return str(answer.get("Error", {}).get("Code", ""))
    return str(getattr(error.__cause__, "error_code", ""))  # Azure's


def _open(url: str, config: StoreConfig) -> tuple[Any, str]:
    import fsspec

    options = {
        key: value.reveal() if isinstance(value, Secret) else value
        for key, value in (config.storage_options or {}).items()
    }
    try:
        files, root = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        # Of the two that name what is missing; any other may quote storage_options.
        tells = isinstance(error, ImportError) or str(error).startswith("Protocol not known")
        refusal = ConfigError(
            f"expected a URL that fsspec opens, found {url.partition('://')[0]}://: "
            f"{error if tells else type(error).__name__}"
        )
    else:
        return files, root.rstrip("/")
    raise refusal  # out here, as in `_call`
