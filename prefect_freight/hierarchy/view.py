"""A store of ours as zarr-python reads one: to look at a copy with the eyes of a reader."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Protocol

import pyarrow as pa
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    SuffixByteRequest,
)
from zarr.abc.store import (
    Store as ZarrStore,
)
from zarr.core.buffer import Buffer, BufferPrototype

from prefect_freight.errors import InternalError, NotFoundError
from prefect_freight.retry import retrying


class Objects(Protocol):
    """What is read of a store."""

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object."""
        ...

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield objects below a prefix."""
        ...


class ZarrView(ZarrStore):
    """Read-only; raises our errors, and gives None for a key that has no object."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, store: Objects) -> None:
        super().__init__(read_only=True)
        self._store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZarrView) and other._store is self._store

    __hash__ = ZarrStore.__hash__

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key, or None."""
        try:
            # In a thread: our stores are synchronous, and would stop zarr's event loop, which reads
            # many chunks at once.
            data = await asyncio.to_thread(lambda: retrying(lambda: self._store.read(key)))
        except NotFoundError:
            return None
        return prototype.buffer.from_bytes(_part(data, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return the bytes of several keys."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Return whether a key has an object."""
        return bool(await asyncio.to_thread(self._has_object, key))

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse."""
        raise InternalError(f"the view of a copy is read-only: {key!r}, {len(value)} bytes")

    async def delete(self, key: str) -> None:
        """Refuse."""
        raise InternalError(f"the view of a copy is read-only: {key!r}")

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield all keys below a prefix."""
        for page in self._store.list(prefix):
            for key in page["key"].to_pylist():
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below a prefix."""
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        seen: set[str] = set()
        async for key in self.list_prefix(below):
            name = key.removeprefix(below).partition("/")[0]
            if name not in seen:
                seen.add(name)
                yield name

    def _has_object(self, key: str) -> bool:
        try:
            retrying(lambda: self._store.read(key))
        except NotFoundError:
            return False
        return True


def _part(data: bytes, byte_range: Any) -> bytes:
    match byte_range:
        case RangeByteRequest(start, end):
            return data[start:end]
        case OffsetByteRequest(offset):
            return data[offset:]
        case SuffixByteRequest(suffix):
            return data[-suffix:]
        case _:
            return data
