"""Threads that nobody has to wait for.

A call that waits for a store cannot be interrupted: Python's signal handlers run in the main
thread only, and between two of its own instructions. So whoever may be interrupted has such a call
made in another thread (`aside`) and waits for that, which can be given up. And where Python's own
pools have a process wait at its exit for all that they began, these threads end with the process.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Self


def begin[T](call: Callable[[], T], name: str = "freight-aside") -> Future[T]:
    """Have a call made in a thread of its own, in this one's context; return what becomes of it."""
    future: Future[T] = Future()
    context = copy_context()
    work = threading.Thread(
        target=_run, args=(future, lambda: context.run(call)), name=name, daemon=True
    )
    work.start()
    return future


def aside[T](call: Callable[[], T], within_s: float | None = None) -> T:
    """Return what a call returns, and raise what it raises, made in another thread.

    An interrupt is raised here at once; the call goes on, and nobody hears what becomes of it. So
    it does where it has not ended `within_s`, which raises `TimeoutError`.
    """
    return begin(call).result(within_s)


def _run(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it is the one's who waits
        future.set_exception(error)
    else:
        future.set_result(result)


class Threads:
    """A number of threads that make calls; leaving the context waits for all of these."""

    def __init__(self, count: int, name: str = "freight") -> None:
        self._count, self._name = count, name
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._calls = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def submit[T](self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Have a call made as soon as a thread is free; one thread alone may submit."""
        future: Future[T] = Future()
        self._calls.put((future, lambda: call(*args)))
        if len(self._threads) < self._count:
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def map[T](self, call: Callable[..., T], *items: Iterable[Any]) -> Iterator[T]:
        """Return what a call returns for each of the items, in their order, all begun now."""
        futures = [self.submit(call, *args) for args in zip(*items, strict=False)]
        return _results(futures)

    def finish(self) -> None:
        """Return when all calls have ended; none may follow."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (work := self._calls.get()) is not None:
            _run(*work)
            del work  # or what it holds would stay until the next one comes


def _results[T](futures: list[Future[T]]) -> Iterator[T]:
    futures.reverse()
    try:
        while futures:
            yield futures.pop().result()
    finally:
        for future in futures:  # nobody asks for them any more
            future.cancel()
