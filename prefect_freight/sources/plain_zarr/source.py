"""Zarr stores on anything that holds objects: what lies there now is the only snapshot."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from prefect_freight.errors import AccessError, FreightError, NotARepositoryError, NotFoundError
from prefect_freight.model import Format, Snapshot
from prefect_freight.retry import retrying
from prefect_freight.sources import ChunkRefs, Node, ObjectSource
from prefect_freight.sources.plain_zarr.chunk_rows import read_references
from prefect_freight.sources.plain_zarr.listed import ListedObjects, Listing
from prefect_freight.sources.plain_zarr.nodes import ROOTS, Hierarchy, read_hierarchy

KIND = "zarr+"


class ZarrStoreSource:
    """The Zarr store that the objects of a source make up.

    Its snapshots are those of the objects, and a chunk is read as it was listed or not at all.
    """

    def __init__(self, inner: ObjectSource) -> None:
        self.inner = inner  # so called where it is asked for its service
        self._read: tuple[str, Listing, Hierarchy] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"ZarrStoreSource({self.inner!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return ZarrStoreSource, (self.inner,)

    @property
    def url(self) -> str:
        """Canonical URL."""
        return f"{KIND}{self.inner.url.removeprefix('objects+')}"

    @property
    def storage_url(self) -> str:
        """URL of the place where the store's objects lie."""
        return self.inner.storage_url

    def own_format(self) -> Format:
        """Return the format that the root's document has; raises `NotARepositoryError`."""
        refused: FreightError | None = None
        for name, version in ROOTS.items():
            try:
                retrying(lambda name=name: self.inner.read(name, 0, 0))  # type: ignore[misc]
            except NotFoundError:
                continue
            except AccessError as error:  # what some services say of a key that has no object
                refused = error
                continue
            return Format.ZARR2 if version == 2 else Format.ZARR3
        if refused is not None:
            raise refused
        raise NotARepositoryError(
            f"expected a Zarr store at {self.storage_url}, found none of {', '.join(ROOTS)} at its "
            "root"
        )

    def resolve(self, ref: str) -> Snapshot:
        """Return the snapshot of the objects; raises as they do, and as `own_format`."""
        self.own_format()  # which is known before all else that lies there is
        return replace(self.inner.resolve(ref), source=self.url)

    def read_nodes(self, snapshot: Snapshot) -> list[Node]:
        """Return all arrays and groups, in the order of their paths.

        Raises `IntegrityError` if the objects are not those of the snapshot any more.
        """
        return self._look(snapshot)[1].nodes

    def read_chunks(self, snapshot: Snapshot, path: str) -> Iterator[ChunkRefs]:
        """Yield references to all chunks of an array's grid, in the order of their coordinates."""
        listing, hierarchy = self._look(snapshot)
        yield from read_references(listing, hierarchy.chunks[path])

    def open_zarr(self, snapshot: Snapshot) -> Any:
        """Return the root as zarr-python reads it, by its own documents."""
        import zarr

        from prefect_freight.hierarchy.view import ZarrView

        listing, hierarchy = self._look(snapshot)
        view = ZarrView(ListedObjects(self.inner, listing))
        if hierarchy.nodes[0].kind == "array":
            return zarr.open_array(view, mode="r", zarr_format=hierarchy.version)
        return zarr.open_group(
            view, mode="r", zarr_format=hierarchy.version, use_consolidated=False
        )

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:
        """Return exactly `size` bytes of an object, if it is still the one that was listed."""
        return self.inner.read(location, offset, size, content)

    def _look(self, snapshot: Snapshot) -> tuple[Listing, Hierarchy]:
        """List the objects, once for each snapshot that is asked for in a row."""
        with self._lock:
            if self._read is None or self._read[0] != snapshot.id:
                of_objects = replace(snapshot, source=self.inner.url)
                listing = Listing(self.inner.list_objects(of_objects))
                hierarchy = read_hierarchy(ListedObjects(self.inner, listing), listing)
                first, *others = hierarchy.nodes
                first = replace(first, notes=(*self.inner.notes(), *first.notes))
                self._read = (
                    snapshot.id,
                    listing,
                    replace(hierarchy, nodes=[first, *others]),
                )
            return self._read[1:]
