"""What a listing takes of memory does not grow with it."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from prefect_freight.exporting import dry_run
from prefect_freight.model import SECTION_ROWS, Snapshot
from prefect_freight.sources import OBJECT_SCHEMA

ROWS = 3 * SECTION_ROWS
PER_PAGE = 5_000


class Listed:
    """Objects that are nowhere; notes how much Arrow holds while they are listed."""

    url = storage_url = endpoint = "memory://listed"

    def __init__(self) -> None:
        self.listed = self.held = 0
        """Bytes: of all pages, and the most that was held at a time."""

    def resolve(self, ref: str) -> Snapshot:
        return Snapshot(self.url, ref, "a" * 64)

    def list_objects(self, snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
        before = pa.total_allocated_bytes()
        for first in range(0, ROWS, PER_PAGE):
            keys = [f"data/part-{number:09d}.parquet" for number in range(first, first + PER_PAGE)]
            sizes, content = [1] * PER_PAGE, [f"{key}:1" for key in keys]
            locations = [f"lakefs://ocean/{snapshot.id}/{key}" for key in keys]
            columns = [keys, sizes, content, locations, [None] * PER_PAGE]
            arrays = [pa.array(c, f.type) for c, f in zip(columns, OBJECT_SCHEMA, strict=True)]
            page = pa.record_batch(arrays, OBJECT_SCHEMA)
            self.listed += page.nbytes
            yield page
            self.held = max(self.held, pa.total_allocated_bytes() - before)

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:
        raise NotImplementedError

    def notes(self) -> tuple[str, ...]:
        return ()


@pytest.mark.slow
def test_one_section_of_a_long_listing_is_held_at_a_time(tmp_path: Path) -> None:
    source = Listed()
    preview = dry_run(source, tmp_path / "copy")
    assert preview.rounds["objects"]["puts"] == ROWS
    # A section is a third of the listing; its entries have a few columns more.
    assert source.held < source.listed * 2 / 3, source.held / source.listed
