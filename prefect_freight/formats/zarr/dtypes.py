"""Data types: from those of Zarr 3 documents to NumPy's, and on to those of Zarr 2. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np

from prefect_freight.errors import UnsupportedNodeError


class VariableLength(StrEnum):
    """Data types whose elements have no fixed size; the value is the codec that goes with each."""

    TEXT = "vlen-utf8"
    BYTES = "vlen-bytes"


FixedLength = np.dtype[Any]
DataType = FixedLength | VariableLength

PLAIN = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
VARIABLE = {
    "string": VariableLength.TEXT,
    "variable_length_bytes": VariableLength.BYTES,
    "bytes": VariableLength.BYTES,
}


def parse_named(spec: Any) -> tuple[str, Mapping[str, Any]]:
    """Return name and configuration of a Zarr 3 extension point: `"x"` or `{"name": "x", ...}`."""
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, Mapping) and isinstance(spec.get("name"), str):
        configuration = spec.get("configuration") or {}
        if isinstance(configuration, Mapping):
            return spec["name"], configuration
    raise UnsupportedNodeError(f"{spec!r} is neither a name nor an object with a name")


def parse_data_type(spec: Any) -> DataType:
    """Return the data type that `data_type` of a Zarr 3 document names, little-endian.

    Raises `UnsupportedNodeError` for data types that Zarr 2 has no name for.
    """
    name, configuration = parse_named(spec)
    if name in VARIABLE:
        return VARIABLE[name]
    match name:
        case _ if name in PLAIN:
            return np.dtype(name).newbyteorder("<")
        case "numpy.datetime64" | "numpy.timedelta64":
            return _time("M8" if "date" in name else "m8", configuration)
        case "fixed_length_utf32":
            return np.dtype(f"<U{_length(name, configuration['length_bytes'], unit=4)}")
        case "null_terminated_bytes":
            return np.dtype(f"S{_length(name, configuration['length_bytes'])}")
        case "raw_bytes":
            return np.dtype(f"V{_length(name, configuration['length_bytes'])}")
        case _ if name[:1] == "r" and name[1:].isdecimal():
            return np.dtype(f"V{_length(name, int(name[1:]), unit=8)}")
        case "struct" | "structured":
            return _struct(configuration["fields"])
        case _:
            raise UnsupportedNodeError(f"Zarr 2 has no data type {name!r}")


def to_v2_data_type(data_type: DataType) -> Any:
    """Return `dtype` of a Zarr 2 document, such as `"<f8"` or `[["x", "<i4"], ...]`."""
    if isinstance(data_type, VariableLength):
        return "|O"
    if data_type.names is None:
        return data_type.str
    return [[name, to_v2_data_type(data_type[name])] for name in data_type.names]


def to_big_endian(data_type: FixedLength) -> FixedLength:
    """Return the data type with all its numbers, those of nested structs too, big-endian."""
    return data_type.newbyteorder(">")


def _time(code: str, configuration: Mapping[str, Any]) -> FixedLength:
    # NumPy takes only `us`; writers spell it with the micro sign or the Greek letter, too.
    unit = str(configuration["unit"]).replace("μ", "u").replace("µ", "u")
    if unit == "generic":
        raise UnsupportedNodeError("Zarr 2 has no date and time type without a unit ('generic')")
    return np.dtype(f"<{code}[{int(configuration.get('scale_factor', 1))}{unit}]")


def _length(name: str, size: Any, unit: int = 1) -> int:
    if not isinstance(size, int) or size < unit or size % unit:
        raise UnsupportedNodeError(f"data type {name!r} has the impossible size {size!r}")
    return size // unit


def _struct(fields: Any) -> FixedLength:
    # `struct` lists objects, the older `structured` pairs.
    pairs = [(f["name"], f["data_type"]) if isinstance(f, Mapping) else tuple(f) for f in fields]
    types = [(name, parse_data_type(spec)) for name, spec in pairs]
    if any(isinstance(data_type, VariableLength) for _, data_type in types):
        raise UnsupportedNodeError("Zarr 2 has no struct with a field of variable length")
    if not types or not all(isinstance(name, str) and name for name, _ in types):
        raise UnsupportedNodeError("a struct needs fields, each with a name")
    return np.dtype(types)
