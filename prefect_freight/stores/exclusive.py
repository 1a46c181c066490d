"""One at a time, on a local disk: for those who look before they write."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

WITHIN_S, AGAIN_S = 1.0, 0.005
NO_LOCKS_ERRNOS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextmanager
def exclusive(folder: str) -> Iterator[None]:
    """Hold a folder's advisory lock (flock), which ends with the process at the latest.

    Raises `BlockingIOError` if another holds it for `WITHIN_S`, who may have been suspended. On a
    file system without such locks nothing keeps others out.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(descriptor, time.monotonic() + WITHIN_S)
        yield
    finally:
        os.close(descriptor)  # gives it up, too


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_S)
        except OSError as error:
            if error.errno not in NO_LOCKS_ERRNOS:
                raise
            return
        else:
            return
