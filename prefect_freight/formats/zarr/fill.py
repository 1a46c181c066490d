"""Fill values: read from Zarr 3 documents, spelled in Zarr 2, written as whole chunks. Pure."""

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.dtypes import DataType, FixedLength, VariableLength

Value = npt.NDArray[Any] | bytes
"""One element: a 0-d array of the fixed data type, or the bytes of text or bytes."""

SPECIAL = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


def parse_fill_value(json_value: Any, data_type: DataType) -> Value:
    """Return the value that `fill_value` of a Zarr 3 document stands for.

    Raises `UnsupportedNodeError` if it is no value of the data type.
    """
    try:
        if isinstance(data_type, VariableLength):
            return (
                _text(json_value).encode()
                if data_type is VariableLength.TEXT
                else _bytes(json_value)
            )
        return _parse(json_value, data_type)
    except (ValueError, TypeError, OverflowError, KeyError) as err:
        if isinstance(err, UnsupportedNodeError):
            raise
        raise UnsupportedNodeError(f"fill_value {json_value!r} is no value of {data_type}") from err


def to_v2_fill_value(value: Value) -> Any:
    """Return `fill_value` of a Zarr 2 document as JSON; not for bytes of variable length.

    Follows the Zarr 2 specification, "Fill value encoding": bytes and structs are base64 of the
    whole item.
    """
    if isinstance(value, bytes):
        return value.decode()
    match value.dtype.kind:
        case "f":
            return _to_json_float(float(value))
        case "c":
            return [_to_json_float(float(value.real)), _to_json_float(float(value.imag))]
        case "m" | "M":
            return int(value.view(f"{value.dtype.byteorder}i8"))
        case "S" | "V":
            return base64.standard_b64encode(value.tobytes()).decode()
        case _:
            return value.item()


def parse_v2_fill_value(json_value: Any, data_type: DataType) -> Value | None:
    """Return the value that `fill_value` of a Zarr 2 document stands for, None for null.

    Raises `UnsupportedNodeError` if it is no value of the data type.
    """
    if json_value is None:
        return None
    is_text = isinstance(data_type, VariableLength) or data_type.kind in "USV"
    # What zarr 2 wrote of objects where nobody had given a value; zarr-python 3 reads it as a text.
    if is_text and json_value == 0 and not isinstance(json_value, bool):
        return b"0" if data_type is VariableLength.TEXT else default_value(data_type)
    return parse_fill_value(json_value, data_type)


def default_value(data_type: DataType) -> Value:
    """Return what zarr-python fills with where a Zarr 2 document has null."""
    return b"" if isinstance(data_type, VariableLength) else np.zeros((), data_type)


def to_v3_fill_value(value: Value, data_type: DataType) -> Any:
    """Return `fill_value` of a Zarr 3 document as JSON, as zarr-python writes it."""
    if isinstance(value, bytes):
        text = data_type is VariableLength.TEXT
        return value.decode() if text else base64.standard_b64encode(value).decode()
    if value.dtype.names is not None:
        return {n: to_v3_fill_value(value[n], value.dtype[n]) for n in value.dtype.names}
    if value.dtype.kind == "S":  # without the zeros that pad it
        return base64.standard_b64encode(value.item()).decode()
    return to_v2_fill_value(value)


def is_nan(value: Value) -> bool:
    """Return whether the value is a float or complex NaN."""
    return not isinstance(value, bytes) and value.dtype.kind in "fc" and bool(np.isnan(value))


def same_value(one: Value, other: Value) -> bool:
    """Return whether two values of one data type have the same bits; all NaN are the same."""
    return _bits(one) == _bits(other)


def has_payload(value: Value) -> bool:
    """Return whether the value is a NaN other than the one that formats spell `NaN`."""
    return is_nan(value) and not isinstance(value, bytes) and value.tobytes() != _bits(value)


@dataclass(frozen=True, slots=True)
class FillChunk:
    """A chunk in which every element has one value, to be encoded on demand."""

    element: bytes
    """The bytes of one element, in the byte order of the stored data type."""
    count: int
    """Elements of a chunk; those at the edges of an array are as large as all others."""
    variable_length: bool
    compressor: str
    """Configuration of the numcodecs codec as JSON, `null` for none."""

    @property
    def size(self) -> int:
        """Bytes before the compressor."""
        if self.variable_length:
            return 4 + self.count * (4 + len(self.element))
        return self.count * len(self.element)

    def encode(self) -> bytes:
        """Return the chunk as it is stored: the same bytes each time."""
        return _encode(self)


def fill_chunk(value: Value, count: int, compressor: Mapping[str, Any] | None) -> FillChunk:
    """Return the chunk of `count` elements that all have the value."""
    variable_length = isinstance(value, bytes)
    element = value if isinstance(value, bytes) else value.tobytes()
    return FillChunk(element, count, variable_length, json.dumps(compressor, sort_keys=True))


# One array after the other asks for its chunk, some of them often. A chunk may have hundreds of
# megabytes, so only the last two are kept.
@lru_cache(maxsize=2)
def _encode(chunk: FillChunk) -> bytes:
    if chunk.variable_length:
        # vlen-utf8 and vlen-bytes: the count, then each element after its length.
        each = len(chunk.element).to_bytes(4, "little") + chunk.element
        raw = chunk.count.to_bytes(4, "little") + each * chunk.count
    else:
        raw = chunk.element * chunk.count
    config = json.loads(chunk.compressor)
    if config is None:
        return raw
    # numcodecs writes the time into gzip's header. But the chunk's digest is its identity, and a
    # resumed or repeated export must come to the same one.
    if config["id"] == "gzip":
        return gzip.compress(raw, config.get("level", 1), mtime=0)
    return bytes(numcodecs.get_codec(config).encode(raw))


def _parse(json_value: Any, dtype: FixedLength) -> npt.NDArray[Any]:
    match dtype.kind:
        case "f":
            return _float(json_value, dtype)
        case "c" if len(json_value) == 2:
            part = np.dtype(f"{dtype.byteorder}f{dtype.itemsize // 2}")
            return (
                np.array([_float(half, part) for half in json_value], part).view(dtype).reshape(())
            )
        case "m" | "M":
            ticks = np.iinfo(np.int64).min if json_value == "NaT" else json_value
            return _parse(ticks, np.dtype(f"{dtype.byteorder}i8")).view(dtype)
        case "V" if isinstance(json_value, Mapping):
            return _struct(json_value, dtype)
        case "S" | "V":
            whole = _bytes(json_value).ljust(dtype.itemsize, b"\0")
            return np.frombuffer(whole, dtype).reshape(())  # raises for what is too long
        case kind if _fits(json_value, kind, dtype.itemsize):
            return np.array(json_value, dtype)
    raise TypeError(json_value)


def _fits(json_value: Any, kind: str, itemsize: int) -> bool:
    """Return whether NumPy makes an element of the JSON value without changing it."""
    if kind == "b":
        return isinstance(json_value, bool)
    if kind == "U":
        return len(_text(json_value)) * 4 <= itemsize
    return _is_number(json_value) and json_value == int(json_value)


def _struct(json_value: Mapping[str, Any], dtype: FixedLength) -> npt.NDArray[Any]:
    item = np.zeros((), dtype)
    for name in dtype.names or ():
        if name in json_value:
            item[name] = _parse(json_value[name], dtype[name])
    return item


def _float(json_value: Any, dtype: FixedLength) -> npt.NDArray[Any]:
    if isinstance(json_value, str) and json_value.startswith("0x"):
        # The bits of the number, most significant first: only so a NaN's payload can be spelled.
        bits = bytes.fromhex(json_value[2:])
        return np.frombuffer(bits, dtype.newbyteorder(">")).reshape(()).astype(dtype)
    if isinstance(json_value, str):
        return np.array(SPECIAL[json_value], dtype)
    if not _is_number(json_value):
        raise TypeError(json_value)
    with np.errstate(over="ignore"):
        return np.array(json_value, dtype)


def _is_number(json_value: Any) -> bool:
    return isinstance(json_value, int | float) and not isinstance(json_value, bool)


def _text(json_value: Any) -> str:
    if not isinstance(json_value, str):
        raise TypeError(json_value)
    return json_value


def _bytes(json_value: Any) -> bytes:
    # zarr-python writes base64, the specification of raw bits a list of numbers.
    return (
        bytes(json_value)
        if isinstance(json_value, list)
        else base64.b64decode(_text(json_value), validate=True)
    )


def _to_json_float(value: float) -> float | str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _bits(value: Value) -> bytes:
    if isinstance(value, bytes) or value.dtype.kind not in "fc":
        return value if isinstance(value, bytes) else value.tobytes()
    part = value.dtype
    if part.kind == "c":
        part = np.dtype(f"{part.byteorder}f{part.itemsize // 2}")
    # All NaN get the same bits: a mask does not tell them apart, and Zarr 2 spells only one.
    parts = value.reshape(1).view(part).copy()
    parts[np.isnan(parts)] = np.nan
    return parts.tobytes()
