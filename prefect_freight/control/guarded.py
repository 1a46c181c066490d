"""A destination that can be written only while its lock is held.

All that an export writes or deletes goes through it: objects, records, manifests, markers. So no
step has to know of the lock, and none can forget it. Each request looks at the permit before it is
sent, each attempt of a retry too; what was sent already can't be called back, and is counted.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prefect_freight.control.lease import Lease, Permit, Watch
from prefect_freight.stores import Attributes, Store
from prefect_freight.stores.wrapping import Wrapping, put


class UnderWay:
    """Counts the changes that were begun under a lock and have not ended."""

    def __init__(self) -> None:
        self._mutex, self._count = threading.Lock(), 0
        self._then: list[Callable[[], object]] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one while the body runs."""
        with self._mutex:
            self._count += 1
        try:
            yield
        finally:
            with self._mutex:
                self._count -= 1
                then, self._then = ([], self._then) if self._count else (self._then, [])
            for act in then:
                act()

    def any(self) -> bool:
        """Return whether there are any now."""
        return self._count > 0

    def afterwards(self, act: Callable[[], object]) -> None:
        """Do something as soon as there are none: now, as a rule."""
        with self._mutex:
            if self._count:
                self._then.append(act)
                return
        act()


class GuardedStore(Wrapping):
    """A store whose changes need a permit; pickled for another process, it gets one of its own."""

    def __init__(
        self, store: Store, permit: Permit, owner: str, lease: Lease, under_way: UnderWay
    ) -> None:
        super().__init__(store)
        self._permit, self._owner, self._lease = permit, owner, lease
        self._under_way = under_way

    def __reduce__(self) -> tuple[object, ...]:
        # A permit is a thread that renews, which another process has not: it looks at the lock
        # instead.
        return _watched, (self.inner, self._owner, self._lease)

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object."""
        with self._permitted():
            put(self.inner, key, data, attributes)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one."""
        with self._permitted():
            return self.inner.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag."""
        with self._permitted():
            return self.inner.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        with self._permitted():
            self.inner.delete(keys)

    @contextmanager
    def _permitted(self) -> Iterator[None]:
        # Counted before the look: whoever finds nothing under way and ends all permits can be sure
        # that nothing comes after.
        with self._under_way.one():
            self._permit.check()
            yield


def _watched(store: Store, owner: str, lease: Lease) -> GuardedStore:
    return GuardedStore(store, Watch(store, owner, lease), owner, lease, UnderWay())
