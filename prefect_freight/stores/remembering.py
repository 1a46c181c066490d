"""A store whose objects are read once: for a look at records that are written once and for all."""

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from prefect_freight.stores import Store


class Remembering:
    """Reads as the store below, and objects whose key is `constant` only once.

    It is for one look, of one thread: what it has read stays in memory until the look is over.
    """

    def __init__(self, below: Store, constant: Callable[[str], bool]) -> None:
        self._below, self._constant = below, constant
        self._objects: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        """That of the store below."""
        return self._below.url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        if offset or length is not None or not self._constant(key):
            return self._below.read(key, offset, length)
        if key not in self._objects:
            self._objects[key] = self._below.read(key)
        return self._objects[key]

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag."""
        return self._below.read_tagged(key)

    def write(self, key: str, data: bytes) -> None:
        """Put an object."""
        self._objects.pop(key, None)
        self._below.write(key, data)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one."""
        return self._below.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag."""
        self._objects.pop(key, None)
        return self._below.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        self._objects.clear()
        self._below.delete(keys)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield objects."""
        return self._below.list(prefix, without=without)
