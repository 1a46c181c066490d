"""Which missing chunks are written out, and how many of them a copy may have at most.

Of an array with a fill value that the copy cannot express, each chunk of the grid is an object of
the copy. A grid is a few numbers in a document: nobody need have stored anything for it to have
more chunks than a store can hold.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.documents import TargetArray
from prefect_freight.model import Kind
from prefect_freight.sources import ChunkRefs

MAX_FILL_BYTES = 2**31 - 1
"""What the codecs of numcodecs take; the chunk is also held in memory."""
WORTH_ALLOWING = 10**9
"""More objects than that are nobody's intention."""


class Filling:
    """The fills of one copy: counted, and refused where they become too many."""

    def __init__(self, max_chunks: int) -> None:
        self._max_chunks, self._written = max_chunks, 0

    def checked(
        self, array: TargetArray, read_refs: Callable[[], Iterable[ChunkRefs]]
    ) -> TargetArray:
        """Return the array, without its fill where no chunk is missing.

        References are read only where the grid alone does not tell that there is room for all of
        it. Raises `UnsupportedNodeError` if more fills would be written than may be, with those
        that were counted before, or if the chunk is too large to be made.
        """
        if array.fill is None:
            return array
        chunks = math.prod(array.grid)  # of Python's integers, which no grid outgrows
        is_small = array.fill.size <= MAX_FILL_BYTES
        if is_small and chunks <= self._max_chunks - self._written:
            return array
        missing = chunks - sum(int(array.in_grid(refs.coords).sum()) for refs in read_refs())
        if not missing:
            return replace(array, fill=None)
        if not is_small:
            raise UnsupportedNodeError(
                f"array {array.path!r} lacks {missing:,} of its {chunks:,} chunks, which a Zarr 2 "
                f"copy needs written out, and one of them has {array.fill.size:,} bytes, more than "
                f"{MAX_FILL_BYTES:,}. Export with --format zarr3, which leaves them missing"
            )
        total = self._written + missing
        if total > self._max_chunks:
            others = f", beside {self._written:,} of other arrays" if self._written else ""
            allow = f", or allow --max-fill-chunks {total}" if total <= WORTH_ALLOWING else ""
            raise UnsupportedNodeError(
                f"array {array.path!r} lacks {missing:,} of its {chunks:,} chunks, which a Zarr 2 "
                f"copy needs written out{others}: more than the {self._max_chunks:,} of "
                f"--max-fill-chunks. Export with --format zarr3, which leaves them missing{allow}"
            )
        return array

    def count(self, entries: pa.RecordBatch) -> None:
        """Count the fills among some entries."""
        self._written += int(pc.sum(pc.equal(entries["kind"], Kind.FILL.value)).as_py() or 0)
