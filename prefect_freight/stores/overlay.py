"""A store over which another one lies: what is written goes there, and nothing below is touched.

A dry run does all that the export would do up to the first object that moves, over an overlay.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import NotFoundError
from prefect_freight.stores import Attributes, Store
from prefect_freight.stores.wrapping import put


class Overlay:
    """Reads as the store below would after all that was done here."""

    def __init__(self, below: Store, above: Store) -> None:
        self._below, self._above = below, above
        self._written: set[str] = set()
        self._deleted: set[str] = set()

    @property
    def inner(self) -> Store:
        """The store below, which is asked for what only some can do."""
        return self._below

    @property
    def url(self) -> str:
        """That of the store below."""
        return self._below.url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of what was written here, else of what lies below."""
        return self._holder(key).read(key, offset, length)

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        return self._holder(key).read_tagged(key)

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object here."""
        put(self._above, key, data, attributes)
        self._written.add(key)
        self._deleted.discard(key)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object here unless there is one."""
        try:
            self.read(key, 0, 0)
        except NotFoundError:
            self.write(key, data)
            return True
        return False

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object here in place of the one with this tag."""
        try:
            if tag is None or self.read_tagged(key)[1] != tag:
                return False
        except NotFoundError:
            return False
        self.write(key, data)
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Have objects not be there."""
        for key in keys:
            self._deleted.add(key)
            self._written.discard(key)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield what would be there."""
        # What was written over an object below is listed once, from above.
        hidden = pa.array(sorted(self._deleted | self._written), pa.string())
        for page in self._below.list(prefix, without=without):
            yield page.filter(pc.invert(pc.is_in(page["key"], hidden)))
        for page in self._above.list(prefix, without=without):
            yield page.filter(pc.is_in(page["key"], pa.array(sorted(self._written), pa.string())))

    def _holder(self, key: str) -> Store:
        if key in self._deleted:
            raise NotFoundError(f"could not read {key!r} in {self.url}: it would be deleted")
        return self._above if key in self._written else self._below
