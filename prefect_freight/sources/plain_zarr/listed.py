"""A listing of many objects, kept on the local disk, for being asked again and again."""

import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import NotFoundError
from prefect_freight.hierarchy.document_names import DOCUMENT_NAMES, DOCUMENT_PATTERN
from prefect_freight.sources import OBJECT_SCHEMA, ObjectSource
from prefect_freight.stores import LISTING_SCHEMA


class Listing:
    """All objects of a snapshot, in the order of their keys."""

    def __init__(self, pages: Iterable[pa.RecordBatch]) -> None:
        self.documents: dict[str, int] = {}
        """Keys that documents of either format may have, and their sizes."""
        self.rows = 0
        self._firsts: list[str] = []
        self._lock = threading.Lock()
        with tempfile.NamedTemporaryFile(prefix="freight-", suffix=".arrow") as file:
            with pa.ipc.new_file(file.name, OBJECT_SCHEMA) as writer:
                for page in pages:
                    if page.num_rows:
                        self._take(page)
                        writer.write_batch(page)
            # The file has no name from here on, so it goes with the process, however that ends.
            self._pages = pa.ipc.open_file(pa.memory_map(file.name))

    def _take(self, page: pa.RecordBatch) -> None:
        self.rows += page.num_rows
        self._firsts.append(page["key"][0].as_py())
        named = page.filter(pc.match_substring_regex(page["key"], DOCUMENT_PATTERN))
        sizes = zip(named["key"].to_pylist(), named["size"].to_pylist(), strict=True)
        self.documents |= dict(sizes)

    def below(self, folder: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows (`OBJECT_SCHEMA`) whose keys begin with `folder`, which ends in `/`."""
        # Keys that begin alike stand together; they may begin in the middle of a page.
        for number in range(max(bisect_right(self._firsts, folder) - 1, 0), len(self._firsts)):
            first = self._firsts[number]
            if first > folder and not first.startswith(folder):
                return
            with self._lock:
                page = self._pages.get_batch(number)
            page = page.filter(pc.starts_with(page["key"], folder)) if folder else page
            if page.num_rows:
                yield page

    def find(self, key: str) -> tuple[int, str, str] | None:
        """Return size, identity and location of an object, None if there is none."""
        number = bisect_right(self._firsts, key) - 1
        if number < 0:
            return None
        with self._lock:
            page = self._pages.get_batch(number)
        row = pc.index(page["key"], key).as_py()
        if row < 0:
            return None
        size, content, location = (page[n][row].as_py() for n in ("size", "content", "location"))
        return size, content, location

    def without_documents(self, folder: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows below a node's folder but the node's own documents."""
        own = pa.array([folder + name for name in DOCUMENT_NAMES], pa.string())
        for page in self.below(folder):
            yield page.filter(pc.invert(pc.is_in(page["key"], own)))


class ListedObjects:
    """The objects of a listing as a store to read from; each as it was listed, or not at all."""

    def __init__(self, source: ObjectSource, listing: Listing) -> None:
        self.url = source.storage_url
        self._source, self._listing = source, listing

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object; raises as `Source.read` does."""
        listed = self._listing.find(key)
        if listed is None:
            raise NotFoundError(f"no object {key!r} in {self.url}")
        size, content, location = listed
        length = size - offset if length is None else length
        return self._source.read(location, offset, length, content)

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the objects below a prefix."""
        for page in self._listing.below(prefix):
            kept = pc.invert(pc.starts_with(page["key"], without)) if without else None
            page = page if kept is None else page.filter(kept)
            columns = [page["key"], page["size"], page["content"]]
            yield pa.RecordBatch.from_arrays(columns, schema=LISTING_SCHEMA)
