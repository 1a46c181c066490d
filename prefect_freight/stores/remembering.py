"""A store whose objects are read once: for a look at records that are written once and for all."""

from collections.abc import Callable, Iterable

from prefect_freight.stores import Attributes, Store
from prefect_freight.stores.wrapping import Wrapping, put


class Remembering(Wrapping):
    """Reads as the store below, and objects whose key is `constant` only once.

    It is for one look, of one thread: what it has read stays in memory until the look is over.
    """

    def __init__(self, store: Store, constant: Callable[[str], bool]) -> None:
        super().__init__(store)
        self._constant = constant
        self._objects: dict[str, bytes] = {}

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        if offset or length is not None or not self._constant(key):
            return self.inner.read(key, offset, length)
        if key not in self._objects:
            self._objects[key] = self.inner.read(key)
        return self._objects[key]

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object."""
        self._objects.pop(key, None)
        put(self.inner, key, data, attributes)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag."""
        self._objects.pop(key, None)
        return self.inner.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects."""
        self._objects.clear()
        self.inner.delete(keys)
