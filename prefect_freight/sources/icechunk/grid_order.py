"""Chunk references in the order of the grid, whatever manifest files they come from. Pure.

Icechunk gives the references of one manifest file after the other, and of each in the order of the
grid. Files that split an array along its first axis alone therefore come in order as they are; of
others, all that lies in one range of the first axis has to be sorted.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa

from prefect_freight.errors import InternalError
from prefect_freight.sources import ChunkRefs

Extent = Sequence[Sequence[int]]
"""(first, after the last) chunk index along each axis of the chunks that a manifest file has."""
NO_MORE = (2**32, True)
"""(end, one file) of the range behind all that files tell of."""


def in_grid_order(all_refs: Iterable[ChunkRefs], extents: Sequence[Extent]) -> Iterator[ChunkRefs]:
    """Yield the references in the lexicographic order of their coordinates.

    `extents` are those of the files that they come from, in the same order. Raises `InternalError`
    if that is not so: an export would write some chunks twice and take others for missing.
    """
    if not any(extents):  # a scalar has no axis, and one chunk
        yield from all_refs
        return
    last: list[int] = []
    for refs in _by_range(all_refs, extents):
        first = refs.coords[0].tolist()
        if last and first <= last:
            raise InternalError(f"chunk {first} was listed behind {last}: not in the grid's order")
        last = refs.coords[-1].tolist()
        yield refs


def _by_range(all_refs: Iterable[ChunkRefs], extents: Sequence[Extent]) -> Iterator[ChunkRefs]:
    ranges = iter(_ranges(extents))
    end, is_one_file = next(ranges, NO_MORE)
    gathered: list[ChunkRefs] = []
    for refs in all_refs:
        rest = refs
        while len(rest.coords):
            beyond = rest.coords[:, 0] >= end
            inside = int(beyond.argmax()) if beyond.any() else len(beyond)
            if inside:
                gathered.append(_slice(rest, 0, inside))
            if gathered and (is_one_file or inside < len(beyond)):
                yield gathered[0] if is_one_file else _sorted(gathered)
                gathered = []
            rest = _slice(rest, inside, len(rest.coords))
            if len(rest.coords):
                end, is_one_file = next(ranges, NO_MORE)
    if gathered:
        yield _sorted(gathered)


def _ranges(extents: Sequence[Extent]) -> Iterator[tuple[int, bool]]:
    """Yield where ranges of the first axis end that no file reaches out of, and if one fills it.

    >>> list(_ranges([[[0, 2], [0, 4]], [[1, 3], [4, 8]], [[3, 5], [0, 4]]]))
    [(3, False), (5, True)]
    """
    firsts = [extent[0][0] for extent in extents]
    ends = list(accumulate((extent[0][1] for extent in extents), max))
    # A file tells where its chunks lie, not where they might: in a sparse array those beside it may
    # begin before it and end behind it.
    lowest_from = [*accumulate(reversed(firsts), min)][::-1]
    files = 0
    for end, lowest in zip(ends, [*lowest_from[1:], *ends[-1:]], strict=True):
        files += 1
        if end <= lowest:
            yield end, files == 1
            files = 0


def _sorted(gathered: Sequence[ChunkRefs]) -> ChunkRefs:
    coords = np.concatenate([refs.coords for refs in gathered])
    order = np.lexsort(coords.T[::-1])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    starts = np.cumsum([0, *(len(refs.coords) for refs in gathered)])
    inlined = {
        int(place[start + row]): data
        for start, refs in zip(starts, gathered, strict=False)
        for row, data in refs.inlined.items()
    }
    return ChunkRefs(
        coords[order],
        np.concatenate([refs.virtual for refs in gathered])[order],
        pa.concat_arrays([refs.locations for refs in gathered]).take(pa.array(order)),
        np.concatenate([refs.offsets for refs in gathered])[order],
        np.concatenate([refs.sizes for refs in gathered])[order],
        inlined,
    )


def _slice(refs: ChunkRefs, first: int, stop: int) -> ChunkRefs:
    return ChunkRefs(
        refs.coords[first:stop],
        refs.virtual[first:stop],
        refs.locations.slice(first, stop - first),
        refs.offsets[first:stop],
        refs.sizes[first:stop],
        {row - first: data for row, data in refs.inlined.items() if first <= row < stop},
    )
