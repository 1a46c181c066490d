"""Trying again, and only after errors that may be retried: by a count of attempts.

How long a store that does not answer at all is waited for is the matter of whoever uses it: an
export has a patience (`prefect_freight.patience`) for each of its two places.
"""

import random as _random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from prefect_freight.errors import ExhaustedError, TransientError

ATTEMPTS = 6
BASE_S, CAP_S = 0.1, 10.0


class Retries(Protocol):
    """Somebody else's rule for trying again."""

    def retrying[T](self, operation: Callable[[], T]) -> T:
        """Return what `operation` returns."""
        ...


_RULE: ContextVar[Retries | None] = ContextVar("freight_retries", default=None)


@contextmanager
def retried_by(rule: Retries) -> Iterator[None]:
    """Have `retrying` follow a rule in this thread: for what retries inside, such as a listing."""
    token = _RULE.set(rule)
    try:
        yield
    finally:
        _RULE.reset(token)


def each_retried_by[T](rule: Retries, items: Iterator[T]) -> Iterator[T]:
    """Yield items, each of which is come by as `retried_by` says; the caller's work is not."""
    while True:
        with retried_by(rule):
            item = next(items, None)
        if item is None:
            return
        yield item


def pause_before(
    attempt: int,
    random: Callable[[], float] = _random.random,
    base_s: float = BASE_S,
    cap_s: float = CAP_S,
) -> float:
    """Return the seconds to wait before the n-th attempt, from 2 on.

    A random part of `min(cap_s, base_s * 2 ** (attempt - 1))` ("full jitter"), so that many threads
    that failed together do not come back together.
    """
    return random() * min(cap_s, base_s * 2.0 ** (attempt - 1))


def retrying[T](
    operation: Callable[[], T],
    *,
    attempts: int = ATTEMPTS,
    base_s: float = BASE_S,
    cap_s: float = CAP_S,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = _random.random,
) -> T:
    """Return what `operation` returns, called again after each `TransientError`.

    The error of the last attempt is raised, and any other error at once; so is an error of what was
    retried already inside (`ExhaustedError`), or attempts would multiply.
    """
    if (rule := _RULE.get()) is not None:
        return rule.retrying(operation)
    for attempt in range(2, attempts + 1):
        try:
            return operation()
        except ExhaustedError:
            raise
        except TransientError:
            sleep(pause_before(attempt, random, base_s, cap_s))
    return operation()
