"""A store in memory: quick, counted, and a model of what other stores do."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from prefect_freight.errors import IntegrityError, NotFoundError
from prefect_freight.stores.pages import to_pages


class MemoryStore:
    """Objects in a dictionary; counts what it is asked for, by verb and key (or prefix)."""

    url = "memory://store"

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.requests: Counter[tuple[str, str]] = Counter()
        self.written = 0
        """Bytes of all writes."""
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Start counting anew."""
        self.requests.clear()
        self.written = 0

    def count(self, verb: str) -> int:
        """Return how many requests of a kind there were."""
        return sum(n for (one, _), n in self.requests.items() if one == verb)

    def data(self) -> dict[str, bytes]:
        """Return the copy alone: without the control area and the markers."""
        own = (".freight", "EXPORT_")
        return {key: blob for key, blob in self.objects.items() if not key.startswith(own)}

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self._count("read", key)
        if key not in self.objects:
            raise NotFoundError(f"no object {key!r}")
        blob = self.objects[key]
        end = len(blob) if length is None else offset + length
        if end > len(blob):
            raise IntegrityError(f"{key!r} ends at {len(blob)}")
        return blob[offset:end]

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        blob = self.read(key)
        return blob, _tag(blob)

    def write(self, key: str, data: bytes) -> None:
        self._count("write", key)
        self.written += len(data)
        self.objects[key] = data

    def write_new(self, key: str, data: bytes) -> bool:
        with self._lock:
            if key in self.objects:
                return False
            self.objects[key] = b""
        self.write(key, data)
        return True

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        with self._lock:
            if key not in self.objects or _tag(self.objects[key]) != tag:
                return False
            self.objects[key] = data
        return True

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._count("delete", key)
            self.objects.pop(key, None)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        self._count("list", prefix)
        rows = [
            (key, len(blob), _tag(blob))
            for key, blob in list(self.objects.items())
            if key.startswith(prefix) and not (without and key.startswith(without))
        ]
        yield from to_pages(rows)

    def _count(self, verb: str, key: str) -> None:
        with self._lock:
            self.requests[verb, key] += 1


def _tag(blob: bytes) -> str:
    return hashlib.md5(blob).hexdigest()
