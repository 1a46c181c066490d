"""Which arrays leave the view before their chunks are replaced."""

import json
from typing import Any

import pytest

from prefect_freight.formats.zarr.consolidated import without_arrays
from prefect_freight.formats.zarr.withdraw import Reading, plan_withdrawals, reading_of

ZARRAY = {"zarr_format": 2, "shape": [4], "chunks": [2], "dtype": "<i4", "fill_value": 0}


def documents(zarray: dict[str, Any], zattrs: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [("a/.zarray", json.dumps(zarray).encode()), ("a/.zattrs", json.dumps(zattrs).encode())]


@pytest.mark.parametrize(
    ("zarray", "zattrs", "readable"),
    [
        ({}, {}, True),
        ({"shape": [9]}, {}, True),  # grown
        ({"shape": [3]}, {}, False),  # shrunk: padding shows at the new edge
        ({}, {"long_name": "x"}, True),  # says nothing of values
        ({}, {"scale_factor": 2}, False),
        ({"dtype": "<f4"}, {}, False),
        ({"chunks": [3]}, {}, False),
        ({"fill_value": 1}, {}, False),  # of chunks that are missing
    ],
)
def test_what_an_old_document_can_read(
    zarray: dict[str, Any], zattrs: dict[str, Any], readable: bool
) -> None:
    old, new = reading_of(documents(ZARRAY, {})), reading_of(documents(ZARRAY | zarray, zattrs))
    assert old.can_read(new) is readable


def test_an_attribute_that_is_called_shape_is_no_shape() -> None:
    assert reading_of(documents(ZARRAY, {"shape": "round"})).shape == (4,)


READING = Reading("x", (4,))
OTHER = Reading("y", (4,))


@pytest.mark.parametrize(
    ("there", "arrays", "groups", "withdrawn"),
    [
        ({"a": {READING}}, {"a": READING}, set(), set()),
        ({"a": {READING}}, {"a": OTHER}, set(), {"a"}),
        ({"a": {READING, OTHER}}, {"a": OTHER}, set(), {"a"}),  # nobody knows which lies there
        ({"a": {READING}}, {}, set(), set()),  # deleted: it goes in the end
        ({}, {"a": READING}, set(), set()),  # new
        ({"a": {READING}}, {}, {"a"}, {"a"}),  # a group takes its place
        ({"g/a": {READING}}, {"g": READING}, set(), {"g/a"}),  # an array takes its group's place
        ({"ga": {READING}}, {"g": READING}, set(), set()),  # no folder of that array
    ],
)
def test_what_is_withdrawn(
    there: dict[str, set[Reading]],
    arrays: dict[str, Reading],
    groups: set[str],
    withdrawn: set[str],
) -> None:
    assert plan_withdrawals(there, arrays, groups) == withdrawn


def test_the_rest_of_consolidated_metadata_stays_as_it_is() -> None:
    group, shown = {"node_type": "group"}, {"a": 1, "a/b": 2, "ab": 3}
    zarr3 = group | {"consolidated_metadata": {"metadata": shown}}
    said = json.loads(without_arrays(json.dumps(zarr3).encode(), {"a"}) or b"")
    assert said == group | {"consolidated_metadata": {"metadata": {"ab": 3}}}


CONSOLIDATED = [
    {"zarr_consolidated_format": 1, "metadata": {"a/.zarray": {"shape": [1]}}},
    {"node_type": "group", "consolidated_metadata": {"metadata": {"a": {"shape": [1]}}}},
]


@pytest.mark.parametrize("document", CONSOLIDATED)
def test_what_is_cut_short_anywhere_is_no_consolidated_metadata(document: dict[str, Any]) -> None:
    data = json.dumps(document).encode()
    assert without_arrays(data, {"b"}) == data
    for length in range(len(data)):
        assert without_arrays(data[:length], {"a"}) is None


@pytest.mark.parametrize(
    "data",
    [
        *(b"null", b"1", b'"metadata"', b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b"9" * 5_000),
        *(b'{"metadata": %s}' % value for value in (b"null", b"[]", b'"x"')),
        *(b'{"node_type": "group", "consolidated_metadata": %s}' % v for v in (b"null", b"{}")),
        b'{"node_type": "array", "shape": [1]}',
        b'{"node_type": "group", "metadata": {}}',
    ],
    ids=lambda data: data[:60].decode("latin-1"),
)
def test_what_is_no_consolidated_metadata(data: bytes) -> None:
    assert without_arrays(data, {"a"}) is None
