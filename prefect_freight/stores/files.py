"""Files of a local disk, one at a time: opened, read, written whole, and told apart by a tag."""

import contextlib
import errno
import os
import stat

NO_LINKS_ERRNOS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def open_file(path: str, flags: int = 0) -> int:
    """Open a file to read it; what is none, such as a pipe, is as if it were not there."""
    # Without waiting: nobody may ever write to a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # a folder has its own error when it is read
        return descriptor
    os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, "it is no file", path)


def write_file(path: str, data: bytes, *, sync: bool = False) -> None:
    """Write a file that is not there yet; with `sync` it lies on the disk then."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_range(descriptor: int, offset: int, size: int) -> bytes:
    """Return so many bytes of an open file, or as many as there are."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
        data += more
    return data


def link_new(temporary: str, path: str) -> None:
    """Give a written file its final name; raise `FileExistsError` if another has it."""
    try:
        os.link(temporary, path)  # unlike a rename, it fails where there is a file
    except OSError as error:
        if error.errno not in NO_LINKS_ERRNOS:
            raise
        # No hard links here: one of two writers still wins, but a reader may see a part.
        with open(temporary, "rb") as file:
            write_file(path, file.read(), sync=True)
    unlink(temporary)


def tag_at(path: str) -> str | None:
    """Return the tag of a file, None where there is none."""
    try:
        return to_tag(os.stat(path))
    except FileNotFoundError:
        return None


def unlink(path: str) -> None:
    """Remove a file if that can be done."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def status_of(entry: os.DirEntry[str]) -> os.stat_result:
    """Return size and times of what `read` reads: of the file that a link leads to."""
    if entry.is_symlink() and entry.is_file():
        return entry.stat()
    return entry.stat(follow_symlinks=False)  # a link to nothing is listed, and not left out


def to_tag(status: os.stat_result) -> str:
    """Return a file's tag: its size, the time of its last modification, and its inode."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"
