"""Any URL that fsspec opens: Azure, Google Cloud, memory, SFTP and what else is installed."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import pyarrow as pa

from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    InputError,
    IntegrityError,
    NotFoundError,
    StorageFullError,
    TransientError,
)
from prefect_freight.stores import LISTING_SCHEMA
from prefect_freight.stores.local import DENIED, FULL

ROWS_PER_PAGE = 5_000


class FsspecStore:
    """Objects of an fsspec file system below a URL."""

    def __init__(self, url: str, config: StoreConfig) -> None:
        self._url, self._config = url.rstrip("/"), config
        self._opened: tuple[Any, str] | None = None

    def __repr__(self) -> str:
        return f"FsspecStore({self._url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return FsspecStore, (self._url, self._config)

    @property
    def url(self) -> str:
        """The root's URL."""
        return self._url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Read a file, or a range of it."""
        files, root = self._open()
        end = None if length is None else offset + length
        try:
            data: bytes = files.cat_file(f"{root}/{key}", start=offset or None, end=end)
        except Exception as error:  # noqa: BLE001 - translated
            self._raise("read", key, error)
        if length is not None and len(data) != length:
            raise IntegrityError(
                f"expected {length} bytes from {offset} of {key!r} in {self.url}, found {len(data)}"
            )
        return bytes(data)

    def write(self, key: str, data: bytes) -> None:
        """Write a file; whether a reader can see a part of it is the file system's affair."""
        files, root = self._open()
        path = f"{root}/{key}"
        try:
            if not files.async_impl:  # object stores, which fsspec reaches by coroutines, need none
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
            files.pipe_file(path, data)
        except Exception as error:  # noqa: BLE001 - translated
            self._raise("write", key, error)

    def write_new(self, key: str, data: bytes) -> bool:
        """Write a file unless there is one; two at once may both find none."""
        files, root = self._open()
        try:
            if files.exists(f"{root}/{key}"):
                return False
        except Exception as error:  # noqa: BLE001 - translated
            self._raise("look for", key, error)
        self.write(key, data)
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files, one by one."""
        files, root = self._open()
        for key in keys:
            try:
                files.rm_file(f"{root}/{key}")
            except FileNotFoundError:
                continue
            except Exception as error:  # noqa: BLE001 - translated
                self._raise("delete", key, error)

    def list(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the files below a folder."""
        rows = self._walk(prefix)
        while page := list(itertools.islice(rows, ROWS_PER_PAGE)):
            keys, sizes = zip(*page, strict=True)
            columns = [pa.array(keys), pa.array(sizes), pa.nulls(len(page), pa.string())]
            yield pa.record_batch(columns, LISTING_SCHEMA)

    def _walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        files, root = self._open()
        files.invalidate_cache()
        try:
            for _, _, found in files.walk(f"{root}/{prefix}".rstrip("/"), detail=True):
                for said in found.values():
                    yield (
                        said["name"].lstrip("/").removeprefix(f"{root.lstrip('/')}/"),
                        said["size"],
                    )
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001 - translated
            self._raise("list", prefix, error)

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            self._opened = _open(self._url, self._config)
        return self._opened

    def _raise(self, verb: str, key: str, error: Exception) -> NoReturn:
        said = f"could not {verb} {key!r} in {self.url}: {type(error).__name__}"
        code = getattr(error, "errno", None)
        if isinstance(error, FileNotFoundError):
            raise NotFoundError(f"{said}: there is no such file") from None
        if isinstance(error, PermissionError) or code in DENIED:
            raise AccessError(f"{said}: it was refused. Check storage_options") from None
        if code in FULL:
            raise StorageFullError(f"{said}. Make room and run the same command again") from None
        if isinstance(error, ValueError | TypeError | NotImplementedError):
            raise InputError(f"{said}. The file system cannot do that") from None
        raise TransientError(said) from None


def _open(url: str, config: StoreConfig) -> tuple[Any, str]:
    import fsspec

    options = {
        key: value.reveal() if isinstance(value, Secret) else value
        for key, value in (config.storage_options or {}).items()
    }
    try:
        files, root = fsspec.core.url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"expected a URL that fsspec opens, found {url.split('://')[0]}://: {error}"
        ) from None
    return files, root.rstrip("/")
