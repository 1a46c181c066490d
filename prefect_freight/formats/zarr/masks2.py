"""The attribute `_FillValue` that a Zarr 3 copy of a Zarr 2 array needs for xarray. Pure.

The other way round than `masks`: xarray takes `fill_value` of Zarr 2 for a mask, and in Zarr 3 the
attribute `_FillValue` alone, which it encodes by the type.

| xarray sees it | fill_value | its `_FillValue` | the copy's     | then xarray shows         |
|----------------|------------|------------------|----------------|---------------------------|
| no             | any        | any or none      | as it was      |                           |
| yes            | a number   | any or none      | the fill value | what it showed            |
| yes            | null       | a number         | that number    | what it showed            |
| yes            | null       | none             |                | what it showed            |
| yes            | no number  | any or none      |                | what was masked, as it is |

xarray has no mask in Zarr 3 for times, texts, bytes and structs, and does not open an array that
says one; a note tells where such a mask goes.
"""

import base64
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from prefect_freight.formats.zarr.dtypes import DataType, VariableLength
from prefect_freight.formats.zarr.fill import Value, to_v2_fill_value
from prefect_freight.formats.zarr.masks import MASK

NUMBERS = "biufc"
NO_MASK = "xarray takes {mask!r} in Zarr 2 for missing, and in Zarr 3 knows no mask of this type"


def plan_mask_attribute(
    data_type: DataType, fill: Value | None, attributes: Mapping[str, Any], *, visible: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the attributes of the copy, and notes; `visible` to xarray."""
    planned = {name: value for name, value in attributes.items() if name != MASK}
    if not visible:
        return dict(attributes), ()
    if fill is None and MASK not in attributes:
        return planned, ()
    if isinstance(data_type, VariableLength) or data_type.kind not in NUMBERS:
        if fill is not None and _is_nat(fill):
            return planned, ()  # what is missing anyway
        mask = attributes[MASK] if fill is None else _as_json(fill)
        return planned, (NO_MASK.format(mask=mask),)
    value: Any
    try:
        value = np.asarray(np.array(attributes[MASK], data_type) if fill is None else fill)
    except (ValueError, TypeError, OverflowError):
        value = None
    # A cast that changes the number would mask another one.
    changes = fill is None and data_type.kind in "biu"
    if value is None or (changes and value.item() != attributes[MASK]):
        note = f"its {MASK} {attributes[MASK]!r} is no value of {data_type}; it is left out"
        return planned, (note,)
    return planned | {MASK: _encoded(value)}, ()


def _is_nat(fill: Value) -> bool:
    return not isinstance(fill, bytes) and fill.dtype.kind in "mM" and bool(np.isnat(fill))


def _as_json(fill: Value) -> Any:
    return fill.decode(errors="replace") if isinstance(fill, bytes) else to_v2_fill_value(fill)


def _encoded(value: Any) -> Any:
    """Return a number as `xarray.backends.zarr.FillValueCoder` encodes it."""
    match value.dtype.kind:
        case "b":
            return bool(value)
        case "i" | "u":
            return int(value)
        case "c":
            return [_double(float(value.real)), _double(float(value.imag))]
        case _:
            return _double(float(value))


def _double(value: float) -> str:
    return base64.standard_b64encode(struct.pack("<d", value)).decode()
