"""The fill value that a Zarr 2 copy needs so that xarray shows what it shows of the source. Pure.

xarray takes `fill_value` of Zarr 2 for a mask: elements of this value are shown as missing. In
Zarr 3 it takes the attribute `_FillValue` instead, encoded as `xarray.backends.zarr` does, and
`fill_value` is only what chunks that are not stored hold. So the mask becomes the fill value, and
where they differ, chunks that are not stored have to be:

| xarray sees it | its `_FillValue`           | fill_value | `_FillValue` | missing chunks  |
|----------------|----------------------------|------------|--------------|-----------------|
| no             | any or none                | as it was  | as it was    | stay missing    |
| yes            | none, fill NaN, not packed | NaN        |              | stay missing    |
| yes            | none                       | null       |              | are written out |
| yes            | a value, same as the fill  | the value  | goes         | stay missing    |
| yes            | a value, other than that   | the value  | goes         | are written out |
| yes            | out of the data type       | null       | plain number | are written out |
| yes            | not readable               | null       | as it was    | are written out |

A fill value of null leaves undefined what missing chunks hold, and bytes of variable length have
no fill value but null. A NaN masks nothing that is not missing already; but with `scale_factor` or
`add_offset` any mask changes the type of the result, and on datetime64 xarray does not apply
the mask and shows it as an attribute.
"""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefect_freight.formats.zarr.dtypes import DataType, VariableLength
from prefect_freight.formats.zarr.fill import Value, has_payload, is_nan, same_value

MASK = "_FillValue"
PACKING = ("scale_factor", "add_offset")


@dataclass(frozen=True, slots=True)
class Masking:
    """What of fill value and attributes the copy has."""

    fill: Value | None
    """The copy's fill value; null if None."""
    attributes: dict[str, Any]
    write_out: bool
    """Chunks that the source does not store must be there, full of the source's fill value."""
    notes: tuple[str, ...] = ()


def plan_masking(
    data_type: DataType, fill: Value, attributes: Mapping[str, Any], *, visible: bool
) -> Masking:
    """Return fill value and attributes of the copy, by the table above; `visible` to xarray."""
    attributes = dict(attributes)
    if not visible:
        # Zarr 2 has no fill value for them but null, which would leave missing chunks undefined.
        no_fill = data_type is VariableLength.BYTES
        return Masking(None if no_fill else fill, attributes, no_fill, _payload(fill))
    if MASK not in attributes:
        if is_nan(fill) and not any(name in attributes for name in PACKING):
            return Masking(fill, attributes, write_out=False, notes=_payload(fill))
        return Masking(None, attributes, write_out=True)
    try:
        mask = _decode(attributes[MASK], data_type)
    except (ValueError, TypeError, OverflowError, struct.error):
        note = f"xarray cannot read its {MASK} {attributes[MASK]!r} of {data_type}; it is kept"
        return Masking(None, attributes, write_out=True, notes=(note,))
    value = _exactly(mask, fill)
    if value is None:
        del attributes[MASK]
        # An attribute in JSON cannot express a complex number; and this one masks nothing.
        if not isinstance(mask, complex):
            attributes[MASK] = mask
        return Masking(None, attributes, write_out=True)
    del attributes[MASK]
    same = same_value(value, fill)
    return Masking(value, attributes, write_out=not same, notes=_payload(fill) if same else ())


def _payload(fill: Value) -> tuple[str, ...]:
    return ("Zarr 2 has one NaN: that of the fill value loses its bits",) * has_payload(fill)


def _decode(attribute: Any, data_type: DataType) -> bool | int | float | complex:
    """Read the attribute as xarray's `FillValueCoder.decode` does; raise where it raises."""
    match "" if isinstance(data_type, VariableLength) else data_type.kind:
        case "f":
            return _double(attribute)
        case "c" if isinstance(attribute, list | tuple) and len(attribute) == 2:
            return complex(_double(attribute[0]), _double(attribute[1]))
        case "b":
            return bool(attribute)
        case "i" | "u" if isinstance(attribute, int | float):
            return int(attribute)
        case _:
            raise TypeError(attribute)


def _double(attribute: Any) -> float:
    if not isinstance(attribute, str):
        raise TypeError(attribute)
    return float(struct.unpack("<d", base64.standard_b64decode(attribute))[0])


def _exactly(mask: complex, fill: Value) -> Value | None:
    """Return the mask as a value of the fill value's data type, None if there is no such value."""
    wide = np.array(mask)
    try:
        with np.errstate(over="ignore"):
            value = np.array(mask, np.asarray(fill).dtype)
    except OverflowError:
        return None
    return value if np.array_equal(value.astype(wide.dtype), wide, equal_nan=True) else None
