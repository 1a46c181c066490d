"""Comparing what zarr decodes of the source and of the copy, block by block."""

import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import zarr

from prefect_freight.formats.zarr.selecting import select_nodes
from prefect_freight.hierarchy.view import ZarrView
from prefect_freight.model import Format, Job
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
            wrong = _first_difference(array, copy)
        except Exception as error:  # noqa: BLE001 - whatever keeps a reader out is a finding
            wrong = f"zarr cannot read it: {type(error).__name__}: {error}"
        if wrong:
            differences.add_wrong(path or "/", wrong)


def _first_difference(wanted: Any, copy: Any) -> str:
    if wanted.shape != copy.shape:
        return f"expected shape {wanted.shape}, found {copy.shape}"
    for block in _blocks(wanted):
        if not _same(np.asarray(wanted[block]), np.asarray(copy[block])):
            where = ", ".join(f"{part.start}:{part.stop}" for part in block)
            return f"values differ in [{where}]"
    return ""


def _blocks(array: Any) -> Iterator[tuple[slice, ...]]:
    """Yield slices of whole chunks that cover the array, of about `BLOCK_BYTES` each."""
    # Blocks that cut chunks would have each of those decoded several times.
    steps = list(array.shards or array.chunks)
    item = max(1, array.dtype.itemsize if hasattr(array.dtype, "itemsize") else 64)
    for axis in reversed(range(len(steps))):
        room = BLOCK_BYTES // (item * max(1, math.prod(steps)))
        if room > 1:
            steps[axis] = min(steps[axis] * room, max(steps[axis], array.shape[axis]))
    starts = [range(0, n, step) for n, step in zip(array.shape, steps, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(
            slice(start, min(start + step, n))
            for start, step, n in zip(corner, steps, array.shape, strict=True)
        )


def _same(one: Any, other: Any) -> bool:
    # NaN and NaT equal themselves here; so they do not for texts, which have no such test.
    try:
        return bool(np.array_equal(one, other, equal_nan=True))
    except TypeError:
        return bool(np.array_equal(one, other))
