"""A folder of the local disk (or of anything that is mounted there)."""

import contextlib
import errno
import itertools
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator
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
from prefect_freight.model import CONTROL_AREA
from prefect_freight.stores import Attributes
from prefect_freight.stores.disk import MARKER, is_record, sync_file_system, sync_folder
from prefect_freight.stores.exclusive import exclusive
from prefect_freight.stores.files import (
    link_new,
    open_file,
    read_range,
    status_of,
    tag_at,
    to_tag,
    unlink,
    write_file,
)
from prefect_freight.stores.links import Links
from prefect_freight.stores.pages import Row, to_pages

TEMPORARY = f"{CONTROL_AREA}/unfinished"
"""Where objects that are being written lie, never listed. A killed run leaves them there: beside
their final place, a reader that lists a folder would find an object that is none of the copy's."""
STALE_AFTER_S = 3600
"""Age at which a temporary file counts as a killed run's; writing one object takes far less."""
FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
DENIED_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS}
MISSING_ERRNOS = {errno.ENOENT, errno.ENOTDIR}


class LocalStore:
    """Objects as files. A write is a rename of a finished file: all of it or nothing is seen.

    Symbolic links are followed as far as they stay below the root, which may be one itself, or
    below one of the `linked` folders, which may be links to anywhere. Records (the control area and
    the markers) lie on the disk when `write` returns, each before the next; other objects may not
    outlive a power failure before `flush` was called.
    """

    def __init__(self, root: str, linked: tuple[str, ...] = ()) -> None:
        self._root, self._linked = root, linked
        # With the process id, it keeps temporary names apart: of two machines on a network file
        # system, of two stores of one process, and of a process and its fork.
        self._token = secrets.token_hex(8)
        self._numbers = itertools.count()
        # Folders that were made, and folders that were seen to lie below the root: so that not
        # every object costs a `makedirs` and a `realpath`.
        self._made: set[str] = set()
        self._made_for_root: list[str] = []
        self._links = Links(root, linked, self.url)

    def __repr__(self) -> str:
        return f"LocalStore({self._root!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return LocalStore, (self._root, self._linked)

    @property
    def url(self) -> str:
        """The root as a file:// URL."""
        return f"file://{quote(self._root)}"

    def with_linked(self, *folders: str) -> "LocalStore":
        """Return the same store, of which these folders may be links to anywhere."""
        return LocalStore(self._root, folders)

    def parent(self) -> "LocalStore | None":
        """Return the folder that the root really lies in, whatever links lead to it."""
        real = os.path.realpath(self._root)
        above = os.path.dirname(real)
        return None if above == real else LocalStore(above)

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of a file."""
        path = self._path(key)
        self._links.refuse_outside(os.path.dirname(path))
        try:
            descriptor = self._open(path)
            try:
                size = os.fstat(descriptor).st_size - offset if length is None else length
                data = read_range(descriptor, offset, max(size, 0))
            finally:
                os.close(descriptor)
        except OSError as error:
            self._raise("read", key, error)
        if length is not None and len(data) != length:
            raise IntegrityError(
                f"expected {length} bytes from {offset} of {key!r} in {self.url}, found {len(data)}"
            )
        return data

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return a file's bytes, and size, time of last modification and inode as its tag."""
        path = self._path(key)
        self._links.refuse_outside(os.path.dirname(path))
        try:
            descriptor = self._open(path)
            try:
                before = os.fstat(descriptor)
                data = read_range(descriptor, 0, before.st_size)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._raise("read", key, error)
        if to_tag(before) != to_tag(after):
            raise IntegrityError(f"{key!r} in {self.url} was changed while it was read")
        return data, to_tag(after)

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:  # noqa: ARG002
        """Write a file in place of an older one."""
        self._write(key, data, os.replace)

    def write_new(self, key: str, data: bytes) -> bool:
        """Write a file unless there is one: atomically, where the file system has hard links."""
        return self._write_if(key, data, link_new)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Write a file in place of the one with this tag; atomically, where files can be locked."""

        def place(temporary: str, path: str) -> None:
            if tag is None or tag_at(path) != tag:
                raise FileExistsError
            os.replace(temporary, path)

        return self._write_if(key, data, place)

    def flush(self) -> None:
        """Return when all that was written lies on the disk, and would outlive a power failure."""
        try:
            sync_file_system(self._root)
        except OSError as error:
            self._raise("flush", "", error)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files, and the folders that this leaves empty."""
        for key in keys:
            path = self._path(key)
            folder = os.path.dirname(path)
            self._links.refuse_links(folder)
            try:
                os.unlink(path)
            except OSError as error:
                if error.errno not in MISSING_ERRNOS | {errno.EISDIR}:
                    self._raise("delete", key, error)
            # What a marker vouches for is changed next, so it must be gone before.
            if MARKER.match(key):
                self._sync(folder)
            self._remove_empty(folder)

    def _sync(self, folder: str) -> None:
        try:
            sync_folder(folder)
        except OSError as error:
            self._raise("flush", folder, error)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the files below a folder, in no order: a folder may hold millions."""
        folder = prefix.rstrip("/")
        if folder:
            self._links.refuse_outside(self._path(folder))
        return to_pages(self._walk(folder, {TEMPORARY, without.rstrip("/")}))

    def _walk(self, folder: str, skipped: Collection[str]) -> Iterator[Row]:
        try:
            listing = os.scandir(os.path.join(self._root, folder))
        except OSError as error:
            if error.errno in MISSING_ERRNOS:
                return
            self._raise("list", folder, error)
        with listing:
            for entry in listing:
                key = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False) or self._links.is_linked_folder(
                    entry, folder
                ):
                    if key not in skipped:
                        yield from self._walk(key, skipped)
                    continue
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    status = status_of(entry)
                    yield _printable(key), status.st_size, to_tag(status)

    def _write_if(self, key: str, data: bytes, place: Callable[[str, str], None]) -> bool:
        """Write a file unless `place` raises `FileExistsError`; return whether it was written."""

        def place_alone(temporary: str, path: str) -> None:
            # New files too: one that came between a look and a rename would be lost to the rename.
            with exclusive(os.path.dirname(temporary)):
                place(temporary, path)

        try:
            self._write(key, data, place_alone)
        except FileExistsError:
            return False
        return True

    def _write(self, key: str, data: bytes, place: Callable[[str, str], None]) -> None:
        path = self._path(key)
        folder = os.path.dirname(path)
        temporary = f"{self._root}/{TEMPORARY}/{self._token}-{os.getpid()}-{next(self._numbers)}"
        self._make_folder(folder, key)
        # The first write of this store is the time to look for what a killed one left.
        if self._make_folder(f"{self._root}/{TEMPORARY}", TEMPORARY):
            self._remove_stale()
        try:
            try:
                # A record is on the disk before its name is, and its name before anything that is
                # written on the strength of it.
                write_file(temporary, data, sync=is_record(key))
                place(temporary, path)
                if is_record(key):
                    sync_folder(folder)
            except BaseException:  # an interrupt too must leave no file behind
                unlink(temporary)
                raise
        except FileExistsError:
            raise  # the answer of `_write_if`, and no failure
        except OSError as error:
            # A delete in another thread or process may have removed a folder that had become empty
            # after it was made here. The retry has to make it again, so it is forgotten first.
            self._made.clear()
            if error.errno == errno.ENOENT:
                raise TransientError(f"the folder of {key!r} in {self.url} went away") from error
            self._raise("write", key, error)

    def _make_folder(self, folder: str, key: str) -> bool:
        """Make a folder unless this store has done so before; return whether it did so now."""
        if folder in self._made:
            return False
        self._links.refuse_links(folder)
        missing = list(_missing_folders(self._root))
        try:
            os.makedirs(folder, exist_ok=True)
        except FileExistsError as error:  # a file has the folder's name
            self._raise("write", key, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), error)
        except OSError as error:
            if error.errno == errno.ENOENT and not os.path.isdir(self._root):  # such as in /proc
                raise DestinationError(
                    f"expected a folder at {self.url}, or a place to make one, found that none "
                    f"can be made there: {error.strerror}. Choose another destination"
                ) from error
            self._raise("write", key, error)
        if is_record(key):
            # A new folder is a name in the one above it, which may be new as well.
            above = folder
            while len(above) >= len(self._root) and above != os.path.dirname(above):
                above = os.path.dirname(above)
                self._sync(above)
        self._made.add(folder)
        self._made_for_root = missing or self._made_for_root
        return True

    def _remove_stale(self) -> None:
        """Remove the temporary files of killed runs, and none that may still be in use."""
        with contextlib.suppress(OSError), os.scandir(f"{self._root}/{TEMPORARY}") as listing:
            for entry in listing:
                # By age and not by process: the writer may run on another machine.
                if entry.stat().st_mtime < time.time() - STALE_AFTER_S:
                    unlink(entry.path)

    def _remove_empty(self, folder: str) -> None:
        while len(folder) > len(self._root):
            # A writer may make this folder again and lose it to the `rmdir` below. Its rename then
            # fails with a `TransientError`, and the retry makes the folder once more.
            self._made.discard(folder)
            if folder == f"{self._root}/{CONTROL_AREA}":
                self._remove_temporary()
            try:
                os.rmdir(folder)
            except OSError:
                return
            folder = os.path.dirname(folder)
        # Whose export is refused finds what there was before: no folder, if there was none. One
        # that somebody else made stays, empty as it is.
        for made in self._made_for_root:
            self._made.discard(made)
            try:
                os.rmdir(made)
            except OSError:
                return
        self._made_for_root = []

    def _remove_temporary(self) -> None:
        """Remove the folder of temporary files if nothing else is left in the control area."""
        folder = f"{self._root}/{TEMPORARY}"
        with contextlib.suppress(OSError):
            if os.listdir(os.path.dirname(folder)) == [os.path.basename(folder)]:
                os.rmdir(folder)
                self._made.discard(folder)

    def _open(self, path: str) -> int:
        try:
            # No link, the common case, needs no `realpath`: the folder was looked at before.
            return open_file(path, os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        self._links.refuse_outside(path)
        return open_file(path)

    def _path(self, key: str) -> str:
        if "\0" in key or {"", ".", ".."} & set(key.split("/")):
            raise InputError(f"expected a key that names a file below {self.url}, found {key!r}")
        if f"{key}/".startswith(f"{TEMPORARY}/"):
            raise InputError(f"{key!r} is kept for files under way in {self.url}")
        return os.path.join(self._root, key)

    def _raise(self, verb: str, key: str, error: OSError, cause: OSError | None = None) -> NoReturn:
        raise self._error(verb, key, error) from cause or error

    def _error(self, verb: str, key: str, error: OSError) -> FreightError:
        failure = f"could not {verb} {key!r} in {self.url}: {error.strerror}"
        match error.errno:
            case code if code in FULL_ERRNOS:
                return StorageFullError(f"{failure}. Make room and run the same command again")
            case code if code in DENIED_ERRNOS:
                return AccessError(f"{failure}. Check who owns the folder and may write there")
            case errno.ENOTDIR if verb == "write":
                return InputError(f"{failure}. A file lies where a folder must be")
            case code if code in MISSING_ERRNOS or (code == errno.EISDIR and verb == "read"):
                return NotFoundError(failure)
            case errno.EISDIR:
                return InputError(f"{failure}. A folder lies where a file must be")
            case errno.ENAMETOOLONG | errno.EINVAL | errno.ELOOP | errno.EXDEV:
                return InputError(f"{failure}. This disk cannot hold the key; export to S3")
            case _:
                return TransientError(failure)


def _missing_folders(folder: str) -> Iterator[str]:
    """Yield the folder and those that it lies in, from below, as far as they do not exist."""
    while not os.path.lexists(folder):
        yield folder
        folder = os.path.dirname(folder)


def _printable(key: str) -> str:
    """Return a file's name as text, whatever bytes somebody gave it."""
    return key if key.isascii() else key.encode("utf-8", "backslashreplace").decode()
