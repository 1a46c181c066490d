"""Documents that hold anything at any place: each is planned, or refused by name."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from prefect_freight.errors import InputError
from prefect_freight.formats.zarr.consolidated import plan_consolidated
from prefect_freight.formats.zarr.documents import plan_array, plan_group
from prefect_freight.formats.zarr.withdraw import reading_of
from prefect_freight.model import Format

ARRAY: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 6],
    "data_type": "int32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0,
    "codecs": [
        {"name": "transpose", "configuration": {"order": [1, 0]}},
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "blosc", "configuration": {"cname": "lz4", "shuffle": "shuffle", "typesize": 4}},
    ],
    "attributes": {"_FillValue": "AAA=", "scale_factor": 2.0, "_ARRAY_DIMENSIONS": ["x", "y"]},
    "dimension_names": ["x", "y"],
}
GROUP: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {"title": "x"}}
RECTILINEAR = {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": [2, [3]]}}
ARRAYS = {
    "numbers": ARRAY,
    "texts": ARRAY | {"data_type": "string", "fill_value": "", "codecs": [{"name": "vlen-utf8"}]},
    "edges": ARRAY | {"chunk_grid": RECTILINEAR},
}
NUMBERS = [0, -1, 2**70, 10**400, 1.5, float("nan")]
ODD: list[Any] = [None, True, *NUMBERS, "", "x", "0x7ff", "\ud800"]
ODD += [[], [None], [[1]], ["x"], {}, {"name": "x"}, [{}]]


def changed(value: Any) -> Iterator[Any]:
    """Yield a document with one of its values replaced, by everything odd, and without it."""
    for key in value if isinstance(value, dict) else range(len(value)):
        for odd in ODD:
            one = copy.copy(value)
            one[key] = odd
            yield one
        one = copy.copy(value)
        del one[key]
        yield one
        if isinstance(value[key], dict | list):
            for below in changed(value[key]):
                one = copy.copy(value)
                one[key] = below
                yield one


@pytest.mark.parametrize("format_", [Format.ZARR2, Format.ZARR3])
@pytest.mark.parametrize("document", ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array(document: dict[str, Any], format_: Format) -> None:
    refusals = []
    for odd in changed(document):
        try:
            target = plan_array("g/a", odd, format_)
        except InputError as error:
            refusals.append(str(error))
            continue
        reading_of(target.documents)
        plan_consolidated([target], format_)
    assert len(refusals) > 20
    assert all("'g/a'" in refusal for refusal in refusals)


@pytest.mark.parametrize("format_", [Format.ZARR2, Format.ZARR3])
def test_a_group(format_: Format) -> None:
    refusals = []
    for odd in changed(GROUP):
        try:
            plan_consolidated([plan_group("g", odd, format_)], format_)
        except InputError as error:
            refusals.append(str(error))
    assert all("'g'" in refusal for refusal in refusals)
