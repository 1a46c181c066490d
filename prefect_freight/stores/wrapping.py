"""Stores over other stores: what one does not do itself, the store below does."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from prefect_freight.stores import Attributes, Store


class Wrapping:
    """A store that passes everything on to the one below, `inner`."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def url(self) -> str:
        """That of the store below."""
        return self.inner.url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        return self.inner.read(key, offset, length)

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        return self.inner.read_tagged(key)

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object."""
        put(self.inner, key, data, attributes)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one."""
        return self.inner.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag."""
        return self.inner.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        self.inner.delete(keys)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield objects."""
        return self.inner.list(prefix, without=without)


def put(store: Store, key: str, data: bytes, attributes: Attributes | None) -> None:
    """Put an object; a store of somebody's own need not know of attributes."""
    if attributes:
        store.write(key, data, attributes)
    else:
        store.write(key, data)


def innermost[T](place: T) -> T:
    """Return the store, or source, below all others: it is asked for what only some can do."""
    # By the attribute and not by the class: tests and users wrap stores of their own.
    while (inner := getattr(place, "inner", None)) is not None:
        place = inner
    return place
