"""An export that was left unfinished, as files: `python tests/parts/unfinished.py` makes a new one.

What each version of the control area wrote is kept in `tests/fixtures`, and must still be resumed.
Make one when `RECORD_VERSION` changes, and never change an older one.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faulty import FaultyStore
from histories import History, create, group, resize

from prefect_freight import export
from prefect_freight.control.sealed import RECORD_VERSION
from prefect_freight.errors import AccessError, IncompleteError
from prefect_freight.model import Snapshot
from prefect_freight.sources import ChunkRefs, Node
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.stores.urls import open_store

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOT_PUT = "g/b/.zarray"


class Elsewhere:
    """A repository that says that it lies where it lay when the fixture was made."""

    url = "icechunk+s3://bucket/repository"
    storage_url = "s3://bucket/repository"

    def __init__(self, path: Path) -> None:
        self._source = IcechunkSource(str(path))

    def resolve(self, ref: str) -> Snapshot:
        snapshot = self._source.resolve(ref)
        return Snapshot(self.url, snapshot.ref, snapshot.id)

    def read_nodes(self, snapshot: Snapshot) -> list[Node]:
        return self._source.read_nodes(snapshot)

    def read_chunks(self, snapshot: Snapshot, path: str) -> Iterator[ChunkRefs]:
        return self._source.read_chunks(snapshot, path)

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:
        return self._source.read(location, offset, size, content)

    def open_zarr(self, snapshot: Snapshot) -> Any:
        return self._source.open_zarr(snapshot)


def make(folder: Path) -> None:
    """Make a repository and an export of it that lacks a document, in a new folder."""
    history = History(folder / "repository")
    # Chunks that are objects and inline ones, one that is missing, an empty group.
    history.commit(
        create("a"),
        create("g/b", 7, dtype="i2", compressors=None),
        resize("a", 12),
        group("g/empty"),
    )
    destination = FaultyStore(
        open_store(str(folder / "destination")),
        lambda key, _: AccessError("may not write") if key == NOT_PUT else None,
    )
    with contextlib.suppress(IncompleteError):
        export(Elsewhere(history.path), destination)


if __name__ == "__main__":
    place = FIXTURES / f"unfinished-{RECORD_VERSION}"
    shutil.rmtree(place, ignore_errors=True)
    make(place)
    sys.stdout.write(f"{place}\n")
