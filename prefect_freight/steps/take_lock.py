"""The lock as steps: what can fail of an export fails in a step, where a runner shows it.

`prefect_freight.control.lock` is all that a lock is, and who gives it up.
"""

from collections.abc import Callable

from prefect_freight.control.lock import Lock


def take_lock(take: Callable[[], None]) -> None:
    """Take the destination's lock; raises what `hold_lock` raises before its body runs.

    That is `LockedError` where another export lives, and `AccessError` where nothing may be
    written: it is the first thing that an export writes.
    """
    take()


def require_lock(lock: Lock) -> None:
    """Raise `LockedError`, which says why, if it is known that the lock is lost."""
    lock.require()
