"""Which names are chosen: zarr 2's rule, and what is said of expressions that choose nothing."""

from typing import Any

import pytest

from prefect_freight.errors import InputError
from prefect_freight.model import Format, Selection, Snapshot
from prefect_freight.plan.selection import Chooser, plan_selection, to_text

NAMES = ["a", "a/b", "a/bc", "ab", "c/a"]
SNAPSHOT = Snapshot("objects+memory://s", "main", "0123")


def selection(**options: Any) -> Selection:
    given = {"group": None, "include": None, "exclude": None} | options
    return plan_selection(given["group"], given["include"], given["exclude"], Format.ZARR2)


def chooser(**options: Any) -> Chooser:
    return Chooser(selection(**options), SNAPSHOT, "objects")


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, NAMES),
        # Anywhere in the name, as `re.search` does.
        ({"exclude": ["b"]}, ["a", "c/a"]),
        ({"exclude": ["^a$", "^c"]}, ["a/b", "a/bc", "ab"]),
        # What is to be included is, whatever excludes it; what neither names stays.
        ({"exclude": ["^a"], "include": ["bc"]}, ["a/bc", "c/a"]),
        ({"exclude": [".*"], "include": ["b$"]}, ["a/b", "ab"]),
        ({"exclude": ["zz"], "include": ["bc"]}, NAMES),
        # Alone it is all that there is, unlike in zarr 2, where it does nothing.
        ({"include": ["bc"]}, ["a/bc"]),
        ({"include": "b$"}, ["a/b", "ab"]),
        # A group is a path, and no text that others may begin with.
        ({"group": "a"}, ["a", "a/b", "a/bc"]),
        ({"group": "/a/b/"}, ["a/b"]),
        ({"group": "/"}, NAMES),
        ({"group": "a", "include": ["^a/b"]}, ["a/b", "a/bc"]),
        ({"group": "a", "exclude": ["c"]}, ["a", "a/b"]),
        # Whatever Python's expressions can, such as looking ahead.
        ({"include": ["^a(?!/)"]}, ["a", "ab"]),
    ],
    ids=str,
)
def test_what_is_chosen_is_that_of_the_table(options: dict[str, Any], chosen: list[str]) -> None:
    flags = chooser(**options).choose(NAMES)
    assert [name for name, flag in zip(NAMES, flags, strict=True) if flag] == chosen


def test_one_selection_has_one_record_however_it_is_spelled() -> None:
    assert selection(include=["b", "a", "b"]) == selection(include=("a", "b"))
    assert selection(group="g/") == selection(group="/g")
    assert selection(group="", include=[], exclude=()) == Selection()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ["a", "b(c"]}, r"include, found 'b\(c': missing \).*position 1, at '\(c'"),
        ({"exclude": ["*"]}, r"exclude, found '\*': nothing to repeat at position 0"),
        ({"include": [""]}, r"include, found ''.*'\.\*'"),
        ({"exclude": [None]}, r"exclude, found None"),
    ],
    ids=str,
)
def test_a_wrong_expression_is_named_with_the_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        selection(**options)


def test_plain_objects_have_no_groups() -> None:
    with pytest.raises(InputError, match=r"no group for format objects.*include '\^a/b/'"):
        plan_selection("a/b", (), (), Format.OBJECTS)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"include": ["^temprature$"]}, "none that is selected. Did you mean 's/temperature'?"),
        ({"include": [r"s/temp\.rature"]}, "Did you mean 's/temperature'?"),
        ({"include": ["zzz"]}, "none that is selected. It has: 's', 's/temperature', 's/rain'"),
        ({"exclude": ["."]}, "expected --exclude . to select objects of .*none that is selected"),
        ({"group": "t"}, "no 't'. It has"),
        ({"group": "s/temperatur"}, "Did you mean 's/temperature'?"),
        ({"group": "s", "include": ["^t"]}, "--group s --include '^t' to select"),
    ],
    ids=str,
)
def test_where_nothing_is_chosen_the_nearest_names_are_told(
    options: dict[str, Any], found: str
) -> None:
    one = chooser(**options)
    one.choose(["s", "s/temperature", "s/rain"])
    with pytest.raises(InputError) as caught:
        one.require_any()
    for part in found.split(".*"):
        assert part in str(caught.value)


def test_a_source_without_names_is_left_as_it_is_unless_some_are_wanted() -> None:
    chooser(exclude=["a"]).require_any()
    with pytest.raises(InputError, match="It has: nothing"):
        chooser(include=["a"]).require_any()


def test_expressions_that_match_nothing_are_told() -> None:
    one = chooser(include=["^a", "snow"], exclude=["c", "ice"])
    one.choose(NAMES[:2])
    one.choose(NAMES[2:])
    one.require_any()
    assert one.notes == (
        "--include snow matches none of the 5 objects",
        "--exclude ice matches none of the 5 objects",
    )


@pytest.mark.parametrize(
    ("user", "stays"),
    [
        (["air"], False),
        # What the array was included in spite of is no reason to leave its coordinate out;
        (["latent"], True),
        # but another one needs it, too, and was not excluded.
        (["air", "latent"], False),
    ],
)
def test_what_is_needed_stays_unless_it_is_excluded_by_its_own_name(
    user: list[str], stays: bool
) -> None:
    assert chooser(exclude=["lat"], include=["latent"]).needs("lat", user) == stays
    assert chooser(exclude=[".*"], include=user).needs("lat", user)


def test_it_is_shown_as_the_command_line_takes_it() -> None:
    one = selection(group="g h", include=["b.*", "-a"], exclude=["c"])
    assert to_text(one) == "--group 'g h' --include=-a --include 'b.*' --exclude c"
