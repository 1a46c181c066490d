"""Any URL that fsspec opens: Azure, Google Cloud, memory, SFTP and what else is installed."""

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
from prefect_freight.stores.local import DENIED, FULL
from prefect_freight.stores.pages import Row, to_pages

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

    What is atomic is the file system's affair: object stores put all of an object or nothing, SFTP
    and its like show a file while it grows, and none has a conditional put here.
    """

    def __init__(self, url: str, config: StoreConfig) -> None:
        self._url, self._config = url.rstrip("/"), config
        self._opened: tuple[Any, str] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"FsspecStore({self.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return FsspecStore, (self._url, self._config)

    @property
    def url(self) -> str:
        """The root's URL."""
        return self._url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a file, or a range of it."""
        files, path = self._path(key)

        def get() -> bytes:
            if offset or length == 0:  # where file systems answer each in their own way
                found = files.info(path)
                if found["type"] == "directory":
                    raise FileNotFoundError
                if length == 0 or offset >= int(found["size"]):
                    return b""
            end = None if length is None else offset + length
            return (
                b"" if length == 0 else bytes(files.cat_file(path, start=offset or None, end=end))
            )

        data = self._call("read", key, get)
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

    def write(self, key: str, data: bytes) -> None:
        """Write a file."""
        files, path = self._path(key)

        def put() -> None:
            if not files.async_impl:  # object stores, which fsspec reaches by coroutines, need none
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
            files.pipe_file(path, data)

        self._call("write", key, put)

    def write_new(self, key: str, data: bytes) -> bool:
        """Write a file unless there is one; two at once may both find none."""
        files, path = self._path(key)
        files.invalidate_cache()
        if self._call("look for", key, lambda: files.exists(path)):
            return False
        self.write(key, data)
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files, one by one; what folders this leaves empty stay."""
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
            for found in self._list_folder(files, folder):
                name = found["name"].strip("/")
                if name == folder.strip("/"):
                    continue  # a marker that stands for the folder itself, or a file in its place
                if found["type"] == "directory":
                    if name != skipped:
                        folders.append(found["name"].rstrip("/"))
                else:
                    key = name.removeprefix(root.strip("/")).lstrip("/")
                    yield key, int(found["size"] or 0), _tag(found)

    def _list_folder(self, files: Any, folder: str) -> Sequence[dict[str, Any]]:
        def ls() -> Sequence[dict[str, Any]]:
            files.invalidate_cache()  # others may have written since, and it would grow and grow
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

    def _call[T](self, verb: str, key: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except FreightError:
            raise
        except Exception as error:  # noqa: BLE001 - translated
            known = _translate(error, f"could not {verb} {key!r} in {self.url}")
        raise known  # out here the library's error, which may quote a secret, isn't its context


def _tag(info: Mapping[str, Any]) -> str | None:
    """Return what a file system says of a file that changes when the file does."""
    named = [f"{name} {info[name]}" for name in TAGS if info.get(name) is not None]
    return ", ".join(named) or None


def _translate(error: Exception, said: str) -> FreightError:
    """Return what an error of a file system means, without its text, which may hold anything."""
    name, code = type(error).__name__, getattr(error, "errno", None)
    status = getattr(error, "status", None) or getattr(error, "status_code", None) or code
    match error:
        case FileNotFoundError() if "bucket does not exist" in str(error):
            return NoSuchBucketError(f"{said}: there is no such bucket. Create it")
        case FileNotFoundError() | NotADirectoryError() | IsADirectoryError():
            return NotFoundError(f"{said}: there is no such file")
        case PermissionError():
            return AccessError(f"{said}: it was refused. Check storage_options")
        case ImportError():
            return ConfigError(f"{said}: {error}")  # names the package to install
        case ValueError() | TypeError() | NotImplementedError():
            return InputError(f"{said}: {name}. The file system cannot do that")
    if code in DENIED or status in (401, 403) or "Credential" in name or "Auth" in name:
        return AccessError(f"{said}: {name}, it was refused. Check storage_options")
    if code in FULL:
        return StorageFullError(f"{said}. Make room and run the same command again")
    return TransientError(f"{said}: {name}")


def _open(url: str, config: StoreConfig) -> tuple[Any, str]:
    import fsspec

    options = {
        key: value.reveal() if isinstance(value, Secret) else value
        for key, value in (config.storage_options or {}).items()
    }
    try:
        files, root = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        known = ConfigError(
            f"expected a URL that fsspec opens, found {url.partition('://')[0]}://: {error}"
        )
    else:
        return files, root.rstrip("/")
    raise known
