"""What of a local disk outlives a power failure: records always, data once they are flushed."""

import contextlib
import ctypes
import errno
import os
import re

from prefect_freight.model import CONTROL_AREA, MARKER_PATTERN

MARKER = re.compile(MARKER_PATTERN)
IN_CONTROL_AREA = re.compile(rf"{re.escape(CONTROL_AREA)}/(?![^/]+/ledger/)")
"""But for a batch's record in the ledger: where that is lost, the batch is moved again."""
NO_FOLDER_SYNC_ERRNOS = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT}
"""The file system does not sync folders, or another process has removed this one."""


def is_record(key: str) -> bool:
    """Say whether later steps rely on an object's being there: a record, or a marker."""
    return IN_CONTROL_AREA.match(key) is not None or MARKER.match(key) is not None


def sync_folder(path: str) -> None:
    """Return when the names in a folder lie on the disk; raises `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in NO_FOLDER_SYNC_ERRNOS:
                raise
        finally:
            os.close(descriptor)


def sync_file_system(path: str) -> None:
    """Return when all that was written to the file system of a path lies on the disk.

    Raises `OSError`, also for what the system could not write earlier, in the background.
    """
    sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if sync is None:  # not on Linux: then of all file systems, and without a word about errors
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if sync(descriptor):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)
