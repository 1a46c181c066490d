"""Trying again: the only place that does, and only for errors that may be retried."""

import random as _random
import time
from collections.abc import Callable

from prefect_freight.errors import TransientError


def retrying[T](
    operation: Callable[[], T],
    *,
    attempts: int = 6,
    base_s: float = 0.1,
    cap_s: float = 10.0,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = _random.random,
) -> T:
    """Return what `operation` returns, called again after each `TransientError`.

    Before attempt `n` it waits up to `min(cap_s, base_s * 2**n)` seconds, a random part of that
    ("full jitter"), so that many threads that failed together do not come back together. The error
    of the last attempt is raised, and any other error at once.
    """
    # An operation that retries by itself must not be given to this one: attempts would multiply.
    for attempt in range(attempts - 1):
        try:
            return operation()
        except TransientError:
            sleep(random() * min(cap_s, base_s * 2.0 ** (attempt + 1)))
    return operation()
