"""A store that is read and written no faster than it may be (`prefect_freight.limits`)."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from prefect_freight.limits import Limits
from prefect_freight.model import CONTROL_AREA
from prefect_freight.stores import Attributes, Store
from prefect_freight.stores.wrapping import Wrapping, put

KEYS_PER_REQUEST = 1_000
"""What S3 lists, and deletes, in one."""


class LimitedStore(Wrapping):
    """A store whose every request waits for its turn.

    It lies inside of who retries, so that each attempt counts, and around who asks for the lock,
    which may be lost while a turn is waited for.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        super().__init__(store)
        self._limits = limits

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        self._limits.read(length or 0, wait=_waits(key))
        data = self.inner.read(key, offset, length)
        if length is None:
            self._limits.was_read(len(data))
        return data

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        self._limits.read(0, wait=_waits(key))
        data, tag = self.inner.read_tagged(key)
        self._limits.was_read(len(data))
        return data, tag

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object."""
        self._limits.write(len(data), wait=_waits(key))
        put(self.inner, key, data, attributes)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one."""
        self._limits.write(len(data), wait=_waits(key))
        return self.inner.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag."""
        self._limits.write(len(data), wait=_waits(key))
        return self.inner.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        gone = list(keys)
        self._limits.ask(requests_for(len(gone)))
        self.inner.delete(gone)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield objects."""
        return each_page_counted(self.inner.list(prefix, without=without), self._limits)


def _waits(key: str) -> bool:
    # A batch's record would wait behind the objects that others have begun since, and be lost with
    # an export that ends meanwhile.
    return not key.startswith(f"{CONTROL_AREA}/")


def requests_for(keys: int) -> int:
    """Return how many requests so many keys take."""
    return max(1, -(-keys // KEYS_PER_REQUEST))


def each_page_counted(pages: Iterator[pa.RecordBatch], limits: Limits) -> Iterator[pa.RecordBatch]:
    """Yield pages of a listing, whose requests wait for their turn."""
    return _Pages(pages, limits)


class _Pages(Iterator[pa.RecordBatch]):
    """No generator: one that has raised is at its end, and a listing goes on where it broke."""

    def __init__(self, pages: Iterator[pa.RecordBatch], limits: Limits) -> None:
        self._pages, self._limits = pages, limits

    def __next__(self) -> pa.RecordBatch:
        self._limits.ask()
        page = next(self._pages)
        if (more := requests_for(page.num_rows) - 1) > 0:
            self._limits.were_asked(more)
        return page
