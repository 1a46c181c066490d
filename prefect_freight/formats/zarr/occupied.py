"""Which boxes of an array hold chunks: work that follows the chunks there are, not the grid. Pure.

A box is a range of chunk coordinates along each axis. Eight bytes an axis are held for each chunk.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Coords = npt.NDArray[np.int64]
"""(n, ndim)"""
Box = tuple[range, ...]


def parse_chunk_keys(keys: pa.StringArray, axes: int) -> Coords:
    """Return the coordinates that keys below an array spell, in whatever way chunks are spelled.

    >>> parse_chunk_keys(pa.array(["c/1/2", "3.4", ".zarray", "5"]), 2).tolist()
    [[1, 2], [3, 4]]
    """
    numbers = [f"(?P<axis{n}>[0-9]{{1,18}})" for n in range(axes)]
    found = pc.extract_regex(keys, f"^(?:c[./])?{'[./]'.join(numbers)}$").drop_null()
    columns = [pc.struct_field(found, [n]).cast(pa.int64()).to_numpy() for n in range(axes)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(found), 0), np.int64)


def united(all_coords: Iterable[Coords], grid: Sequence[int]) -> Coords:
    """Return the coordinates that lie in the grid, each once and in lexicographic order.

    >>> united([np.array([[1, 2], [9, 0]]), np.array([[0, 3], [1, 2]])], (2, 4)).tolist()
    [[0, 3], [1, 2]]
    """
    together = np.concatenate([np.zeros((0, len(grid)), np.int64), *all_coords])
    for axis, count in enumerate(grid):
        together = together[together[:, axis] < count]
    together = together[np.lexsort(together.T[::-1])] if grid else together
    return together[_begins(together)]


def occupied_boxes(there: Coords, grid: Sequence[int], size: Sequence[int]) -> Iterator[Box]:
    """Yield boxes that hold all chunks that are there, and one that is not, if there is such a one.

    `there` is as `united` returns it, `size` how many chunks a box may have along each axis. A box
    with few of its chunks is divided into these, so at most half of what is looked at is missing.
    All that is missing reads as the fill value, so one of them stands for all.
    """
    of_box = there // np.array(size, np.int64)
    bounds = [*np.flatnonzero(_begins(of_box)).tolist(), len(there)]
    for first, stop in itertools.pairwise(bounds):
        corner = [int(n) * step for n, step in zip(of_box[first], size, strict=True)]
        box = _box(corner, size, grid)
        if 2 * (stop - first) >= math.prod(map(len, box)):
            yield box
        else:
            yield from (_box(chunk, (1,) * len(grid), grid) for chunk in there[first:stop].tolist())
    if len(there) < math.prod(grid):
        yield _box(_first_absent(there, grid), (1,) * len(grid), grid)


def _box(corner: Sequence[int], size: Sequence[int], grid: Sequence[int]) -> Box:
    sides = zip(corner, size, grid, strict=True)
    return tuple(range(first, min(first + n, end)) for first, n, end in sides)


def _first_absent(there: Coords, grid: Sequence[int]) -> list[int]:
    """Return the first coordinates of the grid that are not there."""
    # Those that are there begin with as many as are equal to the first of the grid.
    left = np.arange(len(there), dtype=np.int64)
    equal = np.ones(len(there), np.bool_)
    for axis in reversed(range(len(grid))):
        equal &= there[:, axis] == left % grid[axis]
        left = left // grid[axis]
    number = int(np.argmin(equal)) if not equal.all() else len(there)
    coords = []
    for count in reversed(grid):
        number, coord = divmod(number, count)
        coords.append(coord)
    return coords[::-1]


def _begins(rows: Coords) -> npt.NDArray[np.bool_]:
    """Say of each row whether it is another one than that before it."""
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return begins
