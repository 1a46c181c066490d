"""Which nodes a copy has by a selection: what is chosen, its coordinates, and the groups above."""

from typing import Any

import pytest

from prefect_freight.errors import InputError
from prefect_freight.formats.zarr.selecting import select_nodes
from prefect_freight.model import Format, Snapshot
from prefect_freight.plan.selection import plan_selection
from prefect_freight.sources import Node

SNAPSHOT = Snapshot("icechunk+memory://s", "main", "0123")


def group(path: str) -> Node:
    return Node(path, "group", {})


def array(path: str, **dimensions: int) -> Node:
    document = {"shape": [*dimensions.values()], "dimension_names": [*dimensions]}
    return Node(path, "array", document)


NODES = [
    group(""),
    group("deep"),
    group("deep/er"),
    array("deep/er/ice", t=5, y=3),
    array("deep/er/snow", t=9),
    array("land", x=4, y=3),
    group("sea"),
    array("sea/heat", t=2, x=4),
    array("sea/salt", t=2),
    array("sea/t", t=2),
    group("shore"),
    array("t", t=5),
    Node("u", "array", {"shape": [2], "dimension_names": [None]}),
    Node("v", "array", {"shape": [2]}),
    Node("w", "array", {"shape": None, "dimension_names": "x"}),
    array("x", x=4),
    array("y", y=3, x=4),
]


def kept(**options: Any) -> list[str]:
    given = {"group": None, "include": None, "exclude": None} | options
    chosen = plan_selection(given["group"], given["include"], given["exclude"], Format.ZARR3)
    nodes, _ = select_nodes(NODES, chosen, SNAPSHOT)
    return [node.path for node in nodes]


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({}, [node.path for node in NODES]),
        # Its own group's coordinate, and one that it inherits; not the `t` above, of another size.
        ({"include": ["heat"]}, ["", "sea", "sea/heat", "sea/t", "x"]),
        ({"include": ["snow"]}, ["", "deep", "deep/er", "deep/er/snow"]),
        # `y` is of two dimensions: beside an array that is its coordinate, from above it is not.
        ({"include": ["ice"]}, ["", "deep", "deep/er", "deep/er/ice", "t"]),
        ({"include": ["land"]}, ["", "land", "x", "y"]),
        ({"group": "sea"}, ["", "sea", "sea/heat", "sea/salt", "sea/t", "x"]),
        ({"group": "land"}, ["", "land", "x", "y"]),
        ({"group": "deep", "include": ["er$"]}, ["", "deep", "deep/er"]),
        # An empty group is chosen as an array is, and its attributes come.
        ({"include": ["shore"]}, ["", "shore"]),
        # Excluded by name: by what matches it and not the array that needs it.
        ({"include": ["land"], "exclude": [".", "^x$"]}, ["", "land", "y"]),
        ({"include": ["land"], "exclude": ["."]}, ["", "land", "x", "y"]),
        ({"include": ["heat"], "exclude": ["^([^s]|sh)", "^sea/"]},
         ["", "sea", "sea/heat", "sea/t"]),
        ({"exclude": ["^deep", "^t$", "^x$", "^[u-w]$"]},
         ["", "land", "sea", "sea/heat", "sea/salt", "sea/t", "shore", "y"]),
        # A group that is excluded stays for what it has; with that it goes.
        ({"exclude": ["^sea$", "^[^s]", "shore"]}, ["", "sea", "sea/heat", "sea/salt", "sea/t"]),
        ({"exclude": ["^sea", "^[^s]"]}, ["", "shore"]),
        ({"include": ["^[uvw]$"]}, ["", "u", "v", "w"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_copy_has_is_that_of_the_table(options: dict[str, Any], paths: list[str]) -> None:
    assert kept(**options) == paths


@pytest.mark.parametrize("options", [{"include": ["hat$"]}, {"exclude": ["."]}], ids=str)
def test_nothing_is_an_error_that_names_the_nearest(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"arrays and groups of icechunk\+memory.*It has: 'deep'"):
        kept(**options)


def test_an_array_that_is_the_root_is_chosen_by_its_empty_path() -> None:
    root = [array("", x=2)]
    everything = plan_selection("", ["^$"], (), Format.ZARR3)
    assert select_nodes(root, everything, SNAPSHOT)[0] == root
    with pytest.raises(InputError):
        select_nodes(root, plan_selection("", ["x"], (), Format.ZARR3), SNAPSHOT)
