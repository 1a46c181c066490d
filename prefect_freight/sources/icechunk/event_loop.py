"""One event loop in a thread of its own, for what Icechunk offers as coroutines only.

The callers are synchronous, and may themselves run under an event loop (a notebook, a Prefect
flow), where `asyncio.run` is refused.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from functools import cache

from prefect_freight.errors import TransientError


# The thread is a daemon, or a process that is done would wait for a loop that runs for ever.
@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="freight-icechunk", daemon=True).start()
    return loop


def run[T](coroutine: Coroutine[object, object, T], within_s: float) -> T:
    """Run a coroutine to its end and return its result.

    Raises `TransientError` where that is not there `within_s`: Icechunk's own time-outs do not
    count while an answer comes, however slowly.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result(within_s)
    except TimeoutError:
        future.cancel()
    raise TransientError(f"Icechunk's storage did not answer within {within_s:.0f} s")


def iterate[T](items: AsyncIterator[T], within_s: float) -> Iterator[T]:
    """Yield what an asynchronous iterator yields, each within some seconds."""

    # In a tuple, so that an item that is None is not taken for the end. StopAsyncIteration itself
    # could not be passed on: Python makes a RuntimeError of it where it leaves a coroutine.
    async def step() -> tuple[T] | None:
        try:
            return (await anext(items),)
        except StopAsyncIteration:
            return None

    while (item := run(step(), within_s)) is not None:
        yield item[0]
