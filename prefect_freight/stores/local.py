"""A folder of the local disk (or of anything that is mounted there)."""

import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn
from urllib.parse import quote

import pyarrow as pa

from prefect_freight.errors import (
    AccessError,
    DestinationError,
    FreightError,
    InputError,
    IntegrityError,
    NotFoundError,
    StorageFullError,
    TransientError,
)
from prefect_freight.stores import LISTING_SCHEMA

ROWS_PER_PAGE = 5_000
TEMPORARY = ".freight-tmp-"
"""Objects under way have this in front of their name. They lie beside their final place, since only
there is a rename sure to be on the same file system, and are never listed; a Zarr reader asks for
keys by name and never meets them."""
FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
MISSING = {errno.ENOENT, errno.ENOTDIR}


class LocalStore:
    """Objects as files. A write is a rename of a finished file: all of it or nothing is seen."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._numbers = itertools.count()
        self._folders: set[str] = set()

    def __repr__(self) -> str:
        return f"LocalStore({self._root!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return LocalStore, (self._root,)

    @property
    def url(self) -> str:
        """The root as a file:// URL."""
        return f"file://{quote(self._root)}"

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of a file."""
        try:
            with open(self._path(key), "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size - offset if length is None else length
                data = _read(file.fileno(), offset, size)
        except OSError as error:
            self._raise("read", key, error)
        if length is not None and len(data) != length:
            raise IntegrityError(
                f"expected {length} bytes from {offset} of {key!r} in {self.url}, found {len(data)}"
            )
        return data

    def write(self, key: str, data: bytes) -> None:
        """Write a file in place of what is there."""
        self._write(key, data, os.replace)

    def write_new(self, key: str, data: bytes) -> bool:
        """Write a file unless there is one."""
        try:
            self._write(key, data, _link)
        except FileExistsError:
            return False
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files, and the folders that this leaves empty."""
        for key in keys:
            path = self._path(key)
            try:
                os.unlink(path)
            except OSError as error:
                if error.errno not in MISSING:
                    self._raise("delete", key, error)
            self._remove_empty(os.path.dirname(path))

    def list(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the files below a folder, page by page, in the order of their names."""
        rows = self._walk(prefix.rstrip("/"))
        while page := list(itertools.islice(rows, ROWS_PER_PAGE)):
            keys, sizes = zip(*page, strict=True)
            columns = [pa.array(keys), pa.array(sizes), pa.nulls(len(page), pa.string())]
            yield pa.record_batch(columns, LISTING_SCHEMA)

    def _walk(self, folder: str) -> Iterator[tuple[str, int]]:
        try:
            with os.scandir(os.path.join(self._root, folder)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if error.errno in MISSING:
                return
            self._raise("list", folder, error)
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(key)
            elif not entry.name.startswith(TEMPORARY):
                yield key, entry.stat(follow_symlinks=False).st_size

    def _write(self, key: str, data: bytes, place: Callable[[str, str], None]) -> None:
        path = self._path(key)
        folder = os.path.dirname(path)
        unique = f"{os.getpid()}-{threading.get_ident()}-{next(self._numbers)}"
        temporary = os.path.join(folder, f"{TEMPORARY}{unique}")
        try:
            self._make_folder(folder)
            try:
                _write_file(temporary, data)
                place(temporary, path)
            finally:
                _unlink(temporary)  # gone already, unless something went wrong
        except FileExistsError:
            raise
        except OSError as error:
            self._folders.discard(folder)
            if error.errno in MISSING:  # somebody removed the folder meanwhile
                raise TransientError(f"the folder of {key!r} in {self.url} went away") from error
            self._raise("write", key, error)

    def _make_folder(self, folder: str) -> None:
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._refuse_outside(folder)
            self._folders.add(folder)

    def _refuse_outside(self, folder: str) -> None:
        root, real = os.path.realpath(self._root), os.path.realpath(folder)
        if os.path.commonpath([root, real]) != root:
            raise DestinationError(
                f"expected all folders below {self.url} to lie there, found {folder!r} to be a "
                f"symbolic link to {real!r}. Remove the link; nothing was written through it"
            )

    def _remove_empty(self, folder: str) -> None:
        while len(folder) > len(self._root):
            self._folders.discard(folder)
            try:
                os.rmdir(folder)
            except OSError:
                return
            folder = os.path.dirname(folder)

    def _path(self, key: str) -> str:
        if not key or key.startswith("/") or "\0" in key or {"", ".", ".."} & set(key.split("/")):
            raise InputError(f"expected a key that names a file below {self.url}, found {key!r}")
        return os.path.join(self._root, key)

    def _raise(self, verb: str, key: str, error: OSError) -> NoReturn:
        raise self._error(verb, key, error) from error

    def _error(self, verb: str, key: str, error: OSError) -> FreightError:
        said = f"could not {verb} {key!r} in {self.url}: {error.strerror}"
        match error.errno:
            case code if code in FULL:
                return StorageFullError(f"{said}. Make room and run the same command again")
            case code if code in DENIED:
                return AccessError(f"{said}. Check who owns the folder and may write there")
            case code if code in MISSING:
                return NotFoundError(said)
            case errno.EISDIR | errno.ENAMETOOLONG | errno.EINVAL:
                return InputError(f"{said}. A local disk cannot hold this key; export to S3")
            case _:
                return TransientError(said)


def _write_file(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _read(descriptor: int, offset: int, size: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
        data += more
    return data


def _link(temporary: str, path: str) -> None:
    os.link(temporary, path)  # unlike a rename, it fails where there is a file


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
