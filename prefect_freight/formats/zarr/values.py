"""Comparing what zarr decodes of the source and of the copy, block by block."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import zarr

from prefect_freight.formats.zarr.occupied import (
    Coords,
    occupied_boxes,
    parse_chunk_keys,
    united,
)
from prefect_freight.formats.zarr.selecting import select_nodes
from prefect_freight.hierarchy.view import ZarrView
from prefect_freight.model import CONTROL_AREA, Format, Job
from prefect_freight.plan.differences import Differences
from prefect_freight.sources import ZarrSource
from prefect_freight.stores import Store

BLOCK_BYTES = 64 * 2**20
"""About how much of an array is held in memory at a time, decoded, twice."""


def compare_arrays(
    source: ZarrSource, destination: Store, job: Job, differences: Differences
) -> None:
    """Add each array of the copy of which a block decodes to other values than in the source."""
    root = source.open_zarr(job.snapshot)
    version: Literal[2, 3] = 2 if job.options.format is Format.ZARR2 else 3
    view = ZarrView(destination)
    nodes = source.read_nodes(job.snapshot)
    selected, _ = select_nodes(nodes, job.options.selection, job.snapshot)
    for path in [node.path for node in selected if node.kind == "array"]:
        try:
            array = root[path] if path else root
            copy = zarr.open_array(view, path=path, mode="r", zarr_format=version)
            refs = source.read_chunks(job.snapshot, path)
            listed = _listed(destination, path, array.ndim)
            there = chain((chunks.coords.astype(np.int64) for chunks in refs), listed)
            wrong = _first_difference(array, copy, there)
        except Exception as error:  # noqa: BLE001 - whatever keeps a reader out is a finding
            wrong = f"zarr cannot read it: {type(error).__name__}: {error}"
        if wrong:
            differences.add_wrong(path or "/", wrong)


def _listed(destination: Store, path: str, axes: int) -> Iterator[Coords]:
    """Yield the coordinates of what lies at the destination and may be chunks of an array."""
    folder = f"{path}/" if path else ""
    for page in destination.list(folder, without=f"{CONTROL_AREA}/"):
        yield parse_chunk_keys(pc.utf8_slice_codeunits(page["key"], len(folder)), axes)


def _first_difference(wanted: Any, copy: Any, there: Iterable[Coords]) -> str:
    if wanted.shape != copy.shape:
        return f"expected shape {wanted.shape}, found {copy.shape}"
    for block in _blocks(wanted, there):
        if not _same(np.asarray(wanted[block]), np.asarray(copy[block])):
            where = ", ".join(f"{part.start}:{part.stop}" for part in block)
            return f"values differ in [{where}]"
    return ""


def _blocks(array: Any, there: Iterable[Coords]) -> Iterator[tuple[slice, ...]]:
    """Yield slices of whole chunks, of about `BLOCK_BYTES` each, that hold all chunks there are."""
    # Blocks that cut chunks would have each of those decoded several times.
    chunk = [max(1, n) for n in array.shards or array.chunks]
    grid = [-(-n // step) for n, step in zip(array.shape, chunk, strict=True)]
    size = [1] * len(grid)
    room = BLOCK_BYTES // (_item_bytes(array) * max(1, math.prod(chunk)))
    for axis in reversed(range(len(grid))):
        size[axis] = max(1, min(room, grid[axis]))
        room //= size[axis]
    for box in occupied_boxes(united(there, grid), grid, size):
        yield tuple(
            slice(side.start * step, min(side.stop * step, n))
            for side, step, n in zip(box, chunk, array.shape, strict=True)
        )


def _item_bytes(array: Any) -> int:
    return max(1, array.dtype.itemsize if hasattr(array.dtype, "itemsize") else 64)


def _same(one: Any, other: Any) -> bool:
    # NaN and NaT equal themselves here; so they do not for texts, which have no such test.
    try:
        return bool(np.array_equal(one, other, equal_nan=True))
    except TypeError:
        return bool(np.array_equal(one, other))
