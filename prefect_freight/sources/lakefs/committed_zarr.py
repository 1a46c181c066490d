"""A Zarr store in a lakeFS repository: the objects of a commit, read as arrays."""

from dataclasses import replace

from prefect_freight.errors import InputError, NotARepositoryError
from prefect_freight.model import Format, Snapshot
from prefect_freight.sources.lakefs.source import LakeFSObjects
from prefect_freight.sources.plain_zarr.nodes import ROOTS
from prefect_freight.sources.plain_zarr.source import ZarrStoreSource


class CommittedZarrStore(ZarrStoreSource):
    """The Zarr store below a prefix, as a commit has it."""

    def __init__(self, objects: LakeFSObjects) -> None:
        super().__init__(objects)
        self._objects = objects

    def __reduce__(self) -> tuple[object, ...]:
        return CommittedZarrStore, (self._objects,)

    def reading_through(self, way: str) -> "CommittedZarrStore":
        """Return the same store, read another way."""
        return CommittedZarrStore(self._objects.reading_through(way))

    def own_format(self) -> Format:
        """Raise `InputError`: each commit may have another."""
        raise InputError(
            f"expected a format for {self.url}, which may have another in each commit. Say "
            "--format zarr2 or zarr3"
        )

    def resolve(self, ref: str) -> Snapshot:
        """Return the commit that a ref names, which has a store there.

        Raises as `LakeFSObjects.resolve`, and `NotARepositoryError` if it has none.
        """
        snapshot = self._objects.resolve(ref)
        if not any(self._objects.has(snapshot, name) for name in ROOTS):
            raise NotARepositoryError(
                f"expected a Zarr store at {self.storage_url} in {ref!r} (commit {snapshot.id}), "
                f"found none of {', '.join(ROOTS)} at its root. --format objects exports what "
                "there is"
            )
        return replace(snapshot, source=self.url)
