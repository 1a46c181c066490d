"""A source that is read no faster than it may be, as a store is: see `stores.limited`."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from prefect_freight.limits import Limits
from prefect_freight.model import Snapshot
from prefect_freight.sources import ChunkRefs, Node, ObjectSource, Source, ZarrSource
from prefect_freight.stores.limited import each_page_counted


class _LimitedSource[S: Source]:
    """What is common to sources of all kinds."""

    def __init__(self, source: S, limits: Limits) -> None:
        self.inner, self._limits = source, limits

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def url(self) -> str:
        """Canonical URL."""
        return self.inner.url

    @property
    def storage_url(self) -> str:
        """URL of the place where the objects lie."""
        return self.inner.storage_url

    def resolve(self, ref: str) -> Snapshot:
        """Return the snapshot that a ref names now."""
        return self.inner.resolve(ref)

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:
        """Return bytes of an object."""
        self._limits.read(size)
        return self.inner.read(location, offset, size, content)


class _LimitedZarrSource(_LimitedSource[ZarrSource]):
    """A repository, whose lists of references are read by Icechunk and not counted."""

    def read_nodes(self, snapshot: Snapshot) -> list[Node]:
        """Return all arrays and groups."""
        return self.inner.read_nodes(snapshot)

    def read_chunks(self, snapshot: Snapshot, path: str) -> Iterator[ChunkRefs]:
        """Yield the references of all chunks of an array."""
        return self.inner.read_chunks(snapshot, path)

    def open_zarr(self, snapshot: Snapshot) -> Any:
        """Return the root; what zarr reads of it is not counted."""
        return self.inner.open_zarr(snapshot)


class _LimitedObjectSource(_LimitedSource[ObjectSource]):
    """Plain objects."""

    def list_objects(self, snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
        """Yield all objects."""
        return each_page_counted(self.inner.list_objects(snapshot), self._limits)

    def notes(self) -> tuple[str, ...]:
        """Return what the last listing left out."""
        return self.inner.notes()


def limited_source(source: Source, limits: Limits) -> Source:
    """Return the source with these limits; one of an unknown kind as it is."""
    if isinstance(source, ZarrSource):
        return _LimitedZarrSource(source, limits)
    if isinstance(source, ObjectSource):
        return _LimitedObjectSource(source, limits)
    return source
