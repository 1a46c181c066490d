"""A destination that can be written only while its lock is held.

All that an export writes or deletes goes through it: objects, records, manifests, markers. So no
step has to know of the lock, and none can forget it. Each request looks at the permit before it is
sent, each attempt of a retry too; what was sent already can't be called back.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from prefect_freight.control.lease import Lease, Permit, Watch
from prefect_freight.stores import Store


class GuardedStore:
    """A store whose changes need a permit; pickled for another process, it gets one of its own."""

    def __init__(self, store: Store, permit: Permit, owner: str, lease: Lease) -> None:
        self._store, self._permit = store, permit
        self._owner, self._lease = owner, lease

    def __reduce__(self) -> tuple[object, ...]:
        return _watched, (self._store, self._owner, self._lease)

    @property
    def url(self) -> str:
        """That of the store."""
        return self._store.url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        return self._store.read(key, offset, length)

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        return self._store.read_tagged(key)

    def write(self, key: str, data: bytes) -> None:
        """Put an object."""
        self._permit.check()
        self._store.write(key, data)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one."""
        self._permit.check()
        return self._store.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag."""
        self._permit.check()
        return self._store.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        self._permit.check()
        self._store.delete(keys)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield objects."""
        return self._store.list(prefix, without=without)


def _watched(store: Store, owner: str, lease: Lease) -> GuardedStore:
    return GuardedStore(store, Watch(store, owner, lease), owner, lease)
