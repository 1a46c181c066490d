"""A store that is waited for: its operations are retried here, by one patience.

An operation is retried alone: the put of an object whose answer was lost does not have the object
read again, and each has all its attempts.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from prefect_freight.errors import TransientError
from prefect_freight.model import CONTROL_AREA
from prefect_freight.patience import Patience
from prefect_freight.retry import retried_by
from prefect_freight.stores import Store

PROBE = f"{CONTROL_AREA}/probe"
"""An object of no bytes, put and deleted to see whether the store takes any."""


class PatientStore:
    """A store whose operations wait for it; what they raise was retried as far as it may be."""

    def __init__(self, store: Store, patience: Patience) -> None:
        self._store, self._patience = store, patience
        self._was_read: str | None = None

    def __repr__(self) -> str:
        return repr(self._store)

    @property
    def url(self) -> str:
        """The root of the store."""
        return self._store.url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        data = self._patience.retrying(
            lambda: self._store.read(key, offset, length), f"read {key}", self._read_again
        )
        self._was_read = key
        return data

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        return self._patience.retrying(
            lambda: self._store.read_tagged(key), f"read {key}", self._read_again
        )

    def write(self, key: str, data: bytes) -> None:
        """Put an object."""
        self._patience.retrying(lambda: self._store.write(key, data), f"write {key}", self._put)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one; once only, since the first put may have arrived."""
        return self._store.write_new(key, data)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        gone = list(keys)
        name = f"delete {gone[0]}" if gone else ""
        # What nobody has put: an object that was deleted before may have been put again since.
        self._patience.retrying(
            lambda: self._store.delete(gone), name, lambda: self._store.delete([PROBE])
        )

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield a listing, which goes on where it broke."""
        pages = self._store.list(prefix, without=without)
        while True:
            with retried_by(self._patience):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def _read_again(self) -> None:
        if self._was_read is None:
            raise TransientError(f"nothing was read from {self.url} up to now")
        self._store.read(self._was_read, 0, 1)

    def _put(self) -> None:
        self._store.write(PROBE, b"")
        self._store.delete([PROBE])


class UnwaitingStore:
    """The same store for who may not wait, such as a lock: what it does is no sign of an outage.

    Once the export ends in an outage (see `Patience.end`), nothing of it is tried again either.
    """

    def __init__(self, store: Store, patience: Patience) -> None:
        self._store, self._patience = store, patience

    @property
    def url(self) -> str:
        """The root of the store."""
        return self._store.url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        return self._patience.without_waiting(lambda: self._store.read(key, offset, length))

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        return self._patience.without_waiting(lambda: self._store.read_tagged(key))

    def write(self, key: str, data: bytes) -> None:
        """Put an object."""
        self._patience.without_waiting(lambda: self._store.write(key, data))

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one."""
        return self._patience.without_waiting(lambda: self._store.write_new(key, data))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        self._patience.without_waiting(lambda: self._store.delete(keys))

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield a listing."""
        return self._store.list(prefix, without=without)
