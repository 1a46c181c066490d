"""A destination that does what a test's script says. It implements the protocol, as ours do."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pydantic import PrivateAttr

from prefect_freight.blocks import ObjectStore
from prefect_freight.stores import Store

type Script = Callable[[str, str], None]
"""Called before an operation (its name, its key or prefix): raises what it is to raise, or acts."""
LOCK = ".freight/lock"


def by_the_book(operation: str, key: str) -> None:
    """Let everything pass."""


class ScriptedStore:
    """A store whose operations meet what the script says, and which knows what it is doing."""

    def __init__(self, store: Store, script: Script = by_the_book) -> None:
        self.inner, self.script = store, script
        self._lock = threading.Lock()
        self.changing = 0
        """Writes and deletes under way now,"""
        self.changing_at_release: int | None = None
        """and when the lock was given up last."""
        self.changes = 0
        """Writes and deletes that began."""

    @property
    def url(self) -> str:
        return self.inner.url

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self.script("read", key)
        return self.inner.read(key, offset, length)

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        self.script("read", key)
        return self.inner.read_tagged(key)

    def write(self, key: str, data: bytes) -> None:
        with self._change():
            self.script("write", key)
            self.inner.write(key, data)

    def write_new(self, key: str, data: bytes) -> bool:
        with self._change():
            return self.inner.write_new(key, data)

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        with self._change():
            self.script("replace", key)
            return self.inner.replace(key, data, tag)

    def delete(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        if LOCK in keys:
            self.changing_at_release = self.changing
        with self._change():
            for key in keys:
                self.script("delete", key)
            self.inner.delete(keys)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        self.script("list", prefix)
        return self.inner.list(prefix, without=without)

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._lock:
            self.changing += 1
            self.changes += 1
        try:
            yield
        finally:
            with self._lock:
                self.changing -= 1


class ScriptedObjectStore(ObjectStore):
    """An object store block that opens a scripted store."""

    _block_type_name = "Scripted Object Store"
    _block_type_slug = "scripted-object-store"
    _store: ScriptedStore | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, store: ScriptedStore) -> "ScriptedObjectStore":
        block = cls(url=store.url)
        block._store = store
        return block

    def open(self) -> Store:
        assert self._store
        return self._store
