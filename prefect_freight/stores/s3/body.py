"""The body of an answer, which is waited for as long as it makes progress.

A client's limits are no help here: what suits a large object on a slow line lets a server that
sends a byte now and then hold a small one for hours.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prefect_freight.errors import TransientError

if TYPE_CHECKING:
    import obstore

SMALL_BYTES = 2**18
"""A body up to this size is not watched: it has the time of a small request, all in all."""
MIN_BYTES_PER_S = 2**12
"""Slower is no progress. Many share a line: 64 that come so slowly are two megabits a second."""


def read_body(
    answer: "obstore.GetResult",
    grace_s: float,
    failure: str,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Return the body of an answer, whole.

    Raises `TransientError`, whose message begins with `failure`, once it has taken `grace_s` and a
    second for each `MIN_BYTES_PER_S` that have come; obstore's errors as they are.
    """
    began = clock()
    first, end = answer.range
    parts, size = [], 0
    for part in answer.stream(min_chunk_size=1):  # as they come, or each would be waited for
        parts.append(part)
        size += len(part)
        seconds = clock() - began
        if seconds > grace_s + size / MIN_BYTES_PER_S and size < end - first:
            came = f"{size:,} of {end - first:,} bytes came in {seconds:.0f} s"
            raise TransientError(f"{failure}: only {came}")
    return b"".join(parts)
