"""A destination whose writer is killed."""

import threading
from collections.abc import Iterable, Iterator

import pyarrow as pa

from prefect_freight.errors import AccessError
from prefect_freight.stores import Store


class DyingStore:
    """A store that dies, as a killed process does: after some changes it does nothing any more."""

    def __init__(self, store: Store, changes: int) -> None:
        self._store, self._left = store, changes
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def dead(self) -> bool:
        return self._left < 0

    def _change(self) -> None:
        with self._lock:
            self._left -= 1
        self._live()

    def _live(self) -> None:
        if self.dead:
            raise AccessError("killed")

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self._live()
        return self._store.read(key, offset, length)

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        self._live()
        return self._store.read_tagged(key)

    def write(self, key: str, data: bytes) -> None:
        self._change()
        self._store.write(key, data)

    def write_new(self, key: str, data: bytes) -> bool:
        self._change()
        return self._store.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        self._change()
        return self._store.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        self._change()
        self._store.delete(keys)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        self._live()
        return self._store.list(prefix, without=without)
