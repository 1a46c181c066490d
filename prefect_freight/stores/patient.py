"""A store that is waited for: its operations are retried here, by one patience.

An operation is retried alone: the put of an object whose answer was lost does not have the object
read again, and each has all its attempts.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from prefect_freight.errors import TransientError
from prefect_freight.model import CONTROL_AREA
from prefect_freight.patience import Patience
from prefect_freight.retry import each_retried_by
from prefect_freight.stores import Attributes, Store
from prefect_freight.stores.wrapping import Wrapping, put

PROBE = f"{CONTROL_AREA}/probe"
"""An object of no bytes, put and deleted to see whether the store takes any."""


class PatientStore(Wrapping):
    """A store whose operations wait for it; what they raise was retried as far as it may be."""

    def __init__(self, store: Store, patience: Patience) -> None:
        super().__init__(store)
        self._patience = patience
        self._was_read: str | None = None

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        data = self._patience.retrying(
            lambda: self.inner.read(key, offset, length), f"read {key}", self._read_again
        )
        self._was_read = key
        return data

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        return self._patience.retrying(
            lambda: self.inner.read_tagged(key), f"read {key}", self._read_again
        )

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object."""
        self._patience.retrying(
            lambda: put(self.inner, key, data, attributes), f"write {key}", self._put
        )

    # `write_new` and `replace` are passed on, and tried once only: the first put may have arrived.

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        gone = list(keys)
        name = f"delete {gone[0]}" if gone else ""
        # What nobody has put: an object that was deleted before may have been put again since.
        self._patience.retrying(
            lambda: self.inner.delete(gone), name, lambda: self.inner.delete([PROBE])
        )

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Return a listing, which goes on where it broke."""
        return each_retried_by(self._patience, self.inner.list(prefix, without=without))

    def _read_again(self) -> None:
        if self._was_read is None:
            raise TransientError(f"nothing was read from {self.url} up to now")
        self.inner.read(self._was_read, 0, 1)

    def _put(self) -> None:
        self.inner.write(PROBE, b"")
        self.inner.delete([PROBE])


class UnwaitingStore(Wrapping):
    """The same store for who may not wait, such as a lock: what it does is no sign of an outage.

    Once the export ends in an outage (see `Patience.end`), nothing of it is tried again either.
    """

    def __init__(self, store: Store, patience: Patience) -> None:
        super().__init__(store)
        self._patience = patience

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        return self._patience.without_waiting(lambda: self.inner.read(key, offset, length))

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        return self._patience.without_waiting(lambda: self.inner.read_tagged(key))

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object."""
        self._patience.without_waiting(lambda: put(self.inner, key, data, attributes))

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one."""
        return self._patience.without_waiting(lambda: self.inner.write_new(key, data))

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag."""
        return self._patience.without_waiting(lambda: self.inner.replace(key, data, tag))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        self._patience.without_waiting(lambda: self.inner.delete(keys))
