"""A source that is waited for, as a store is: see `prefect_freight.stores.patient`."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from prefect_freight.errors import TransientError
from prefect_freight.model import Snapshot
from prefect_freight.patience import Patience
from prefect_freight.retry import each_retried_by, retried_by
from prefect_freight.sources import ChunkRefs, Node, ObjectSource, Source, ZarrSource


class _PatientSource[S: Source]:
    """What is common to sources of all kinds."""

    def __init__(self, source: S, patience: Patience) -> None:
        self.inner, self._patience = source, patience
        self._was_read: str | None = None

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
        with retried_by(self._patience):
            return self.inner.resolve(ref)

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:
        """Return bytes of an object."""
        data = self._patience.retrying(
            lambda: self.inner.read(location, offset, size, content),
            f"read {location}",
            self._read_again,
        )
        # Something that is known to be there, for asking whether the store still answers.
        self._was_read = location
        return data

    def _read_again(self) -> None:
        if self._was_read is None:
            raise TransientError(f"nothing was read from {self.storage_url} up to now")
        self.inner.read(self._was_read, 0, 1)


class PatientZarrSource(_PatientSource[ZarrSource]):
    """A repository that is waited for."""

    def read_nodes(self, snapshot: Snapshot) -> list[Node]:
        """Return all arrays and groups."""
        with retried_by(self._patience):
            return self.inner.read_nodes(snapshot)

    def read_chunks(self, snapshot: Snapshot, path: str) -> Iterator[ChunkRefs]:
        """Yield the references of all chunks of an array."""
        return each_retried_by(self._patience, self.inner.read_chunks(snapshot, path))

    def open_zarr(self, snapshot: Snapshot) -> Any:
        """Return the root; what zarr reads of it is not waited for."""
        with retried_by(self._patience):
            return self.inner.open_zarr(snapshot)


class PatientObjectSource(_PatientSource[ObjectSource]):
    """Plain objects that are waited for."""

    def list_objects(self, snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
        """Yield all objects."""
        return each_retried_by(self._patience, self.inner.list_objects(snapshot))

    def notes(self) -> tuple[str, ...]:
        """Return what the last listing left out."""
        return self.inner.notes()


def patient_source(source: Source, patience: Patience) -> Source:
    """Return the source, waited for; one of an unknown kind as it is."""
    if isinstance(source, ZarrSource):
        return PatientZarrSource(source, patience)
    if isinstance(source, ObjectSource):
        return PatientObjectSource(source, patience)
    return source
