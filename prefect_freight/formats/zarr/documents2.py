"""What a node of a Zarr 2 store is in Zarr 3: one document instead of two. Pure.

Bytes of chunks are copied as they are. Their keys are spelled as Zarr 3 spells them by default,
`c/0/1`, whatever the source has: all readers of Zarr 3 know that encoding, and it is the one that
zarr-python writes; `v2`, which would keep the keys, is one that a reader may lack.
"""

from collections.abc import Mapping
from typing import Any

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.codecs2 import object_codec, to_v3_codecs
from prefect_freight.formats.zarr.dtypes import parse_v2_data_type, to_v3_data_type
from prefect_freight.formats.zarr.fill import (
    default_value,
    parse_v2_fill_value,
    to_v3_fill_value,
)
from prefect_freight.formats.zarr.masks2 import plan_mask_attribute
from prefect_freight.hierarchy.grid import array_shape, chunk_shape2

DIMENSIONS = "_ARRAY_DIMENSIONS"
NCZARR = "_NCZARR_ARRAY"
"""What netCDF adds to `.zarray`; xarray reads the names of dimensions from it."""
ARRAY_FIELDS = {
    *("zarr_format", "shape", "chunks", "dtype", "compressor", "fill_value", "order", "filters"),
    "dimension_separator",
}
KEYS = {"name": "default", "configuration": {"separator": "/"}}


def to_v3_array(
    document: Mapping[str, Any], attributes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the Zarr 3 document of an array, and notes on what is lost.

    Raises `UnsupportedNodeError` for what Zarr 3 cannot express.
    """
    shape, chunks = array_shape(document), chunk_shape2(document)
    data_type = parse_v2_data_type(document["dtype"], object_codec(document))
    fill = parse_v2_fill_value(document["fill_value"], data_type)
    names, rest = _dimension_names(document, attributes, len(shape))
    planned, notes = plan_mask_attribute(data_type, fill, rest, visible=names is not None)
    if fill is None:
        notes += ("its fill_value is null, so missing chunks could be anything; they are zero now",)
    notes += tuple(
        f"Zarr 3 has no field {name!r}; it is left out"
        for name in sorted(document.keys() - ARRAY_FIELDS)
    )
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": to_v3_data_type(data_type),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": KEYS,
        "fill_value": to_v3_fill_value(
            default_value(data_type) if fill is None else fill, data_type
        ),
        "codecs": to_v3_codecs(document, data_type),
        "attributes": planned,
        "storage_transformers": [],
    }
    return array | ({} if names is None else {"dimension_names": names}), list(notes)


def to_v3_group(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Zarr 3 document of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def _dimension_names(
    document: Mapping[str, Any], attributes: Mapping[str, Any], ndim: int
) -> tuple[list[str | None] | None, dict[str, Any]]:
    """Return the names of dimensions and the other attributes, None where nobody named them."""
    rest = {name: value for name, value in attributes.items() if name != DIMENSIONS}
    names = attributes.get(DIMENSIONS)
    if DIMENSIONS not in attributes:
        of_netcdf: Mapping[str, Any] = document.get(NCZARR) or {}
        names = [str(name).rpartition("/")[2] for name in of_netcdf.get("dimrefs", [])] or None
        return (names if names and len(names) == ndim else None), rest
    if not isinstance(names, list) or not all(isinstance(name, str | None) for name in names):
        raise UnsupportedNodeError(f"its attribute {DIMENSIONS} {names!r} is no list of names")
    if len(names) != ndim:
        raise UnsupportedNodeError(f"its {DIMENSIONS} {names} do not fit {ndim} dimensions")
    return names, rest
