"""The shape of a value of JSON: whether it is what a type of ours says. Pure."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

MAX_NUMBER = 2**63


def check_shape(value: Any, shape: Any) -> None:
    """Raise `ValueError` unless a value of JSON is of a type; numbers are never negative.

    Types are those of records: of dataclasses and `TypedDict`s, which may have more fields than
    are known, of lists (or tuples), mappings, enumerations, literals and plain values.

    >>> check_shape({"a": [1, 2]}, dict[str, list[int]])
    >>> check_shape([1, "2"], list[int])
    Traceback (most recent call last):
    ValueError: expected a number, found '2'
    """
    match get_origin(shape) or shape:
        case origin if origin in (Union, UnionType):
            _check_any(value, get_args(shape))
        case origin if origin is Literal:
            _require(value in get_args(shape), f"one of {get_args(shape)}", value)
        case origin if origin in (list, tuple):
            _check_list(value, origin, get_args(shape))
        case origin if origin in (dict, Mapping):
            _require(isinstance(value, dict), "a mapping", value)
            for item in value.values():
                check_shape(item, get_args(shape)[1])
        case origin if is_dataclass(origin) or is_typeddict(origin):
            _check_fields(value, origin)
        case plain:
            _check_plain(value, plain)


def _check_any(value: Any, shapes: tuple[Any, ...]) -> None:
    for shape in shapes[:-1]:
        try:
            return check_shape(value, shape)
        except ValueError:
            continue
    return check_shape(value, shapes[-1])


def _check_list(value: Any, origin: Any, shapes: tuple[Any, ...]) -> None:
    _require(isinstance(value, list), "a list", value)
    if origin is tuple and shapes[-1] is not Ellipsis:
        _require(len(value) == len(shapes), f"{len(shapes)} values", value)
    else:
        shapes = shapes[:1] * len(value)
    for item, shape in zip(value, shapes, strict=True):
        check_shape(item, shape)


def _check_fields(value: Any, record: Any) -> None:
    _require(isinstance(value, dict), "a mapping", value)
    types, needed = _fields(record)
    _require(needed <= value.keys(), f"the fields {sorted(needed)}", value)
    for name in types.keys() & value.keys():
        check_shape(value[name], types[name])


@cache
def _fields(record: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of a record's fields, and the names of those that it must have."""
    if is_typeddict(record):
        return get_type_hints(record), record.__required_keys__
    usual = (MISSING, MISSING)
    needed = {f.name for f in fields(record) if (f.default, f.default_factory) == usual}
    return get_type_hints(record), frozenset(needed)


def _check_plain(value: Any, plain: Any) -> None:
    if plain is Any:
        return
    if plain in (int, float):
        is_number = type(value) is int or (plain is float and type(value) is float)
        is_number = is_number and math.isfinite(value) and 0 <= value < MAX_NUMBER
        _require(is_number, "a number", value)
    elif plain in (None, NoneType):
        _require(value is None, "null", value)
    elif issubclass(plain, StrEnum):
        _require(value in [*plain], f"one of {[*plain]}", value)
    else:
        _require(isinstance(value, plain), f"a {plain.__name__}", value)


def _require(holds: bool, expected: str, value: Any) -> None:
    if not holds:
        # What is nested may be nested more deeply than can be shown.
        found = type(value).__name__ if isinstance(value, list | dict) else repr(value)[:80]
        raise ValueError(f"expected {expected}, found {found}")
