"""Chunk references in the order of the grid, whatever manifest files they come from. Pure.

Icechunk gives the references of one manifest file after the other, and of each in the order of the
grid. Files that split an array along its first axis alone therefore come in order as they are; of
others, all that lies in one range of the first axis has to be sorted.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from prefect_freight.sources import ChunkRefs

Extent = Sequence[Sequence[int]]
"""(first, after the last) chunk index of a manifest file along each axis."""


def in_grid_order(all_refs: Iterable[ChunkRefs], extents: Sequence[Extent]) -> Iterator[ChunkRefs]:
    """Yield the references in the lexicographic order of their coordinates."""
    if len({tuple(map(tuple, extent[1:])) for extent in extents}) <= 1:
        yield from all_refs
        return
    gathered: list[ChunkRefs] = []
    ends = sorted({extent[0][1] for extent in extents})
    for refs in all_refs:
        rest = refs
        while len(rest.coords):
            end = next(n for n in ends if n > (gathered or [rest])[0].coords[0, 0])
            inside = int(np.searchsorted(rest.coords[:, 0] >= end, True))
            gathered += [_slice(rest, 0, inside)] if inside else []
            rest = _slice(rest, inside, len(rest.coords))
            if len(rest.coords):
                yield _sorted(gathered)
                gathered = []
    if gathered:
        yield _sorted(gathered)


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
