"""Data types: from those of Zarr 3 documents to NumPy's, and on to those of Zarr 2. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.hierarchy.named import parse_named


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
FIXED = {"U": "fixed_length_utf32", "S": "null_terminated_bytes", "V": "raw_bytes"}
VARIABLE = {
    "string": VariableLength.TEXT,
    "variable_length_bytes": VariableLength.BYTES,
    "bytes": VariableLength.BYTES,
}


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


def parse_v2_data_type(spec: Any, object_codec: str | None) -> DataType:
    """Return the data type that `dtype` of a Zarr 2 document names, in its byte order.

    Raises `UnsupportedNodeError` for data types that Zarr 3 has no name for.
    """
    if isinstance(spec, list):
        struct: FixedLength = np.dtype([_v2_field(item) for item in spec])
        return struct
    try:
        data_type: FixedLength = np.dtype(spec)
    except TypeError as err:
        raise UnsupportedNodeError(f"its data type {spec!r} is unknown") from err
    if data_type.kind == "O":
        if object_codec not in set(VariableLength):
            raise UnsupportedNodeError(
                f"Zarr 3 has no counterpart for objects that are stored by {object_codec!r}"
            )
        return VariableLength(object_codec)
    if not isinstance(spec, str) or data_type.subdtype is not None or not data_type.itemsize:
        raise UnsupportedNodeError(f"Zarr 3 has no data type {spec!r}")
    return data_type


def to_v3_data_type(data_type: DataType) -> Any:
    """Return `data_type` of a Zarr 3 document, such as `"float64"` or `{"name": "struct", ...}`.

    Raises `UnsupportedNodeError` for what Zarr 3 has no name for.
    """
    if isinstance(data_type, VariableLength):
        return "string" if data_type is VariableLength.TEXT else "variable_length_bytes"
    if data_type.names is not None:
        fields = [
            {"name": name, "data_type": to_v3_data_type(data_type[name])}
            for name in data_type.names
        ]
        return {"name": "struct", "configuration": {"fields": fields}}
    match data_type.kind:
        case _ if data_type.name in PLAIN:
            return data_type.name
        case "M" | "m":
            unit, scale = np.datetime_data(data_type)
            name = "numpy.datetime64" if data_type.kind == "M" else "numpy.timedelta64"
            return {"name": name, "configuration": {"unit": unit, "scale_factor": scale}}
        case "U" | "S" | "V":
            configuration = {"length_bytes": data_type.itemsize}
            return {"name": FIXED[data_type.kind], "configuration": configuration}
        case _:
            raise UnsupportedNodeError(f"Zarr 3 has no data type {data_type.str!r}")


def endian_of(data_type: FixedLength) -> Literal["little", "big"] | None:
    """Return the order of an element's bytes, None where that is no question.

    Raises `UnsupportedNodeError` for structs of both orders, of which Zarr 3 has one.
    """
    orders = {*_orders(data_type)} - {"|"}
    if len(orders) > 1:
        raise UnsupportedNodeError("Zarr 3 has one byte order for all fields of a struct")
    if not orders:
        return None
    return "big" if orders == {">"} else "little"


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


def _v2_field(item: Any) -> tuple[str, FixedLength]:
    if len(item) != 2:
        raise UnsupportedNodeError(f"Zarr 3 has no arrays within structs, such as {item!r}")
    data_type = parse_v2_data_type(item[1], None)
    if isinstance(data_type, VariableLength):
        raise UnsupportedNodeError("Zarr 3 has no struct with a field of variable length")
    return item[0], data_type


def _orders(data_type: FixedLength) -> Iterator[str]:
    if data_type.names is None:
        # As numpy spells it in a document, where this machine's own order has no sign of its own.
        yield data_type.str[0]
    else:
        for name in data_type.names:
            yield from _orders(data_type[name])
