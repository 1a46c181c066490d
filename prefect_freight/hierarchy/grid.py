"""Chunk grids: how many chunks an array has along each axis. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.hierarchy.named import parse_named


def grid_size(document: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the number of stored chunks along each axis of an array; () for scalars.

    `document` is of Zarr 3, or `.zarray` of Zarr 2. With shards these are the stored chunks. Raises
    `UnsupportedNodeError` for a chunk grid that is neither regular nor rectilinear (the
    zarr-extensions specification of that name).

    >>> regular = {"name": "regular", "configuration": {"chunk_shape": [2, 5]}}
    >>> grid_size({"shape": [5, 0], "chunk_grid": regular})
    (3, 0)
    """
    shape = array_shape(document)
    if document.get("zarr_format") == 2:
        return _counts(shape, chunk_shape2(document))
    name, configuration = parse_named(document["chunk_grid"])
    match name:
        case "regular":
            sizes: Sequence[Any] = regular_chunks(document)
        case "rectilinear" if configuration.get("kind") == "inline":
            sizes = configuration["chunk_shapes"]
        case _:
            raise UnsupportedNodeError(f"its chunk grid {name!r} is unknown")
    return _counts(shape, sizes)


def array_shape(document: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the array's shape."""
    shape = tuple(document["shape"])
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise UnsupportedNodeError(f"its shape {shape} is not one of lengths")
    return shape


def is_rectilinear(document: Mapping[str, Any]) -> bool:
    """Return whether chunks differ in size; zarr-python opens such arrays only when told to."""
    return "chunk_grid" in document and parse_named(document["chunk_grid"])[0] == "rectilinear"


def regular_chunks(document: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the chunk shape of a regular grid; raises `UnsupportedNodeError` for another grid."""
    name, configuration = parse_named(document["chunk_grid"])
    if name != "regular":
        raise UnsupportedNodeError(f"Zarr 2 has no chunk grid but the regular one, no {name!r}")
    return _sizes(configuration["chunk_shape"])


def chunk_shape2(document: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the chunk shape that `.zarray` of Zarr 2 says."""
    return _sizes(document["chunks"])


def _sizes(chunk_shape: Any) -> tuple[int, ...]:
    chunks = tuple(chunk_shape)
    if not all(isinstance(size, int) and size >= 0 for size in chunks):
        raise UnsupportedNodeError(f"its chunk shape {chunks} is not one of lengths")
    # Old writers give axes of length 0 chunks of length 0, by which nothing can be divided.
    return tuple(max(size, 1) for size in chunks)


def _counts(shape: Sequence[int], sizes: Sequence[Any]) -> tuple[int, ...]:
    if len(sizes) != len(shape):
        raise UnsupportedNodeError(f"shape {shape} and chunks {tuple(sizes)} differ in length")
    return tuple(_count(length, size) for length, size in zip(shape, sizes, strict=True))


def _count(length: int, size: Any) -> int:
    if isinstance(size, int):
        return -(-length // max(size, 1))
    # Edges one by one, or [edge, times]; some may lie beyond the array's end.
    edges: list[tuple[int, int]] = [
        (edge, 1) if isinstance(edge, int) else tuple(edge) for edge in size
    ]
    chunks = end = 0
    for edge, times in edges:
        needed = min(times, -(-(length - end) // edge))
        chunks, end = chunks + needed, end + needed * edge
        if end >= length:
            return chunks
    raise UnsupportedNodeError(f"its chunks {size} end before the axis of length {length} does")
