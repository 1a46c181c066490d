"""A destination that can be written only while its lock is held.

All that an export writes or deletes goes through it: objects, records, manifests, markers. So no
step has to know of the lock, and none can forget it. Each request looks at the permit before it is
sent, each attempt of a retry too; what was sent already can't be called back.
"""

from collections.abc import Iterable

from prefect_freight.control.lease import Lease, Permit, Watch
from prefect_freight.stores import Store
from prefect_freight.stores.wrapping import Wrapping


class GuardedStore(Wrapping):
    """A store whose changes need a permit; pickled for another process, it gets one of its own."""

    def __init__(self, store: Store, permit: Permit, owner: str, lease: Lease) -> None:
        super().__init__(store)
        self._permit, self._owner, self._lease = permit, owner, lease

    def __reduce__(self) -> tuple[object, ...]:
        # A permit is a thread that renews, which another process has not: it looks at the lock
        # instead.
        return _watched, (self.inner, self._owner, self._lease)

    def write(self, key: str, data: bytes) -> None:
        """Put an object."""
        self._permit.check()
        self.inner.write(key, data)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one."""
        self._permit.check()
        return self.inner.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag."""
        self._permit.check()
        return self.inner.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        self._permit.check()
        self.inner.delete(keys)


def _watched(store: Store, owner: str, lease: Lease) -> GuardedStore:
    return GuardedStore(store, Watch(store, owner, lease), owner, lease)
