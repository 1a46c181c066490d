"""A destination that fails as a test says. It implements the protocol; nothing is patched."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
from pydantic import PrivateAttr

from prefect_freight.blocks import ObjectStore
from prefect_freight.stores import Store

type Fault = Callable[[str, int], Exception | None]
"""What a write of a key meets at its n-th attempt, from 1."""


class FaultyStore:
    """A store whose writes fail as a function of key and attempt says."""

    def __init__(self, store: Store, fault: Fault) -> None:
        self._store, self._fault = store, fault
        self._lock = threading.Lock()
        self.attempts: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return self._store.url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._store.read(key, offset, length)

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        return self._store.read_tagged(key)

    def write(self, key: str, data: bytes) -> None:
        with self._lock:
            self.attempts[key] += 1
            attempt = self.attempts[key]
        if error := self._fault(key, attempt):
            raise error
        self._store.write(key, data)

    def write_new(self, key: str, data: bytes) -> bool:
        return self._store.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        return self._store.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        self._store.delete(keys)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        return self._store.list(prefix, without=without)


class FaultyObjectStore(ObjectStore):
    """An object store block that opens a faulty store."""

    _block_type_name = "Faulty Object Store"
    _block_type_slug = "faulty-object-store"
    _fault: Fault = PrivateAttr()
    _opened: FaultyStore | None = PrivateAttr(default=None)

    def failing(self, fault: Fault) -> "FaultyObjectStore":
        self._fault = fault
        return self

    def open(self) -> Store:
        self._opened = self._opened or FaultyStore(super().open(), self._fault)
        return self._opened

    @property
    def attempts(self) -> Counter[str]:
        assert self._opened
        return self._opened.attempts
