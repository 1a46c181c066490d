"""How the entries of a component are cut into sections, and when two sections are equal."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import in_stretches, inline_stretch, keys_of, stretch

from prefect_freight.model import Round
from prefect_freight.plan.sections import (
    INLINE_BYTES_PER_SECTION,
    Piece,
    TextPositions,
    cut,
    inline_bytes,
    section_content,
)

KEYS = st.sets(st.text("abc", min_size=1, max_size=4), max_size=30).map(sorted)
BOUNDS = st.sets(st.text("abc", min_size=1, max_size=4), max_size=6).map(lambda s: ["", *sorted(s)])
CONTENTS = st.lists(st.tuples(st.text("ab", max_size=2), st.text("xy", max_size=2)), max_size=8)
MIB = 2**20


@pytest.mark.parametrize(
    ("keys", "bounds", "expected"),
    [
        ("", [""], [("", "")]),  # nothing is a section too
        ("ab", [""], [("", "ab")]),
        ("abc", [""], [("", "ab"), ("c", "c")]),  # too large for one
        ("abcd", ["", "c"], [("", "ab"), ("c", "cd")]),
        ("abcd", ["", "b"], [("", "a"), ("b", "bcd")]),  # may grow to twice the size
        ("abcdefg", ["", "b"], [("", "a"), ("b", "bcde"), ("f", "fg")]),  # and not further
        ("xy", ["", "c", "d"], [("", ""), ("c", ""), ("d", "xy")]),  # bounds without entries stay
        ("ab", ["", "c", "d"], [("", "ab"), ("c", ""), ("d", "")]),
        ("ad", ["", "b", "c"], [("", "a"), ("b", ""), ("c", "d")]),
    ],
)
def test_entries_are_cut_at_inherited_bounds_and_where_there_are_too_many(
    keys: str, bounds: list[str], expected: list[tuple[str, str]]
) -> None:
    pieces = cut([stretch(keys)], bounds, max_rows=2)
    assert [(piece.start, "".join(keys_of(piece))) for piece in pieces] == expected


@settings(deadline=None)
@given(KEYS, BOUNDS, st.integers(1, 5), st.integers(1, 9))
def test_each_entry_is_in_one_piece_between_its_bounds(
    keys: list[str], bounds: list[str], max_rows: int, step: int
) -> None:
    pieces = list(cut(in_stretches(keys, step), bounds, max_rows))
    assert [key for piece in pieces for key in keys_of(piece)] == keys
    ends = [*bounds[1:], "~"]
    for piece in pieces:
        assert all(bounds[piece.bound] <= key < ends[piece.bound] for key in keys_of(piece))
        assert piece.rows <= 2 * max_rows
    assert [piece.bound for piece in pieces if piece.last] == list(range(len(bounds)))


@settings(deadline=None)
@given(st.lists(KEYS, min_size=2, max_size=6), st.integers(1, 5), st.integers(1, 9))
def test_bounds_are_only_ever_split_whatever_comes_and_goes(
    nights: list[list[str]], max_rows: int, step: int
) -> None:
    bounds = [""]
    for keys in nights:
        pieces = list(cut(in_stretches(keys, step), bounds, max_rows))
        starts = [piece.start for piece in pieces]
        assert starts == sorted(set(starts))
        assert {*bounds} <= {*starts}
        assert all(key >= piece.start for piece in pieces for key in keys_of(piece))
        bounds = starts


def test_entries_of_all_rounds_are_cut_in_one_go() -> None:
    documents, root = stretch(["1", "2", "3"], Round.DOCUMENTS), stretch(["4"], Round.ROOT)
    pieces = list(cut([documents, root], [""], 2))
    rounds = [[some.round for some in piece.stretches] for piece in pieces]
    assert rounds == [[Round.DOCUMENTS], [Round.DOCUMENTS, Round.ROOT]]


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        ([33, 33, 33], [1, 1, 1]),
        ([32, 32, 1], [2, 1]),  # exactly full
        ([65, 1], [1, 1]),  # larger than any section: alone in one
        ([1, 65, 0], [1, 1, 1]),
        ([1] * 70, [64, 6]),
    ],
)
def test_a_section_is_closed_by_its_inline_bytes(sizes: list[int], rows: list[int]) -> None:
    keys = [f"{n:02d}" for n in range(len(sizes))]
    whole = inline_stretch(keys, [bytes(size * MIB) for size in sizes])
    pieces = list(cut([whole], [""], 1000))
    assert [piece.rows for piece in pieces] == rows
    assert [key for piece in pieces for key in keys_of(piece)] == keys


def test_many_small_stretches_of_inline_bytes_are_cut_too() -> None:
    blob = bytes(INLINE_BYTES_PER_SECTION // 4)
    pieces = cut((inline_stretch([f"{n:02d}"], [blob]) for n in range(10)), [""], 1000)
    assert [piece.rows for piece in pieces] == [4, 4, 2]


def test_a_slice_counts_its_own_inline_bytes_alone() -> None:
    entries = inline_stretch(["a", "b", "c"], [b"1", b"22", b"333"]).entries
    assert inline_bytes(entries.slice(1, 1)) == 2


@settings(deadline=None)
@given(KEYS, st.text("abc", max_size=4))
def test_a_position_is_found_where_its_text_would_stand(keys: list[str], bound: str) -> None:
    positions = TextPositions(pa.array(keys, pa.string()))
    assert keys[: positions.find(bound)] == [key for key in keys if key < bound]
    assert [positions.text(row) for row in range(len(keys))] == keys


def batch(rows: list[tuple[str, str]]) -> pa.RecordBatch:
    keys, contents = ([row[n] for row in rows] for n in (0, 1))
    return pa.record_batch(
        {"key": pa.array(keys, pa.string()), "content": pa.array(contents, pa.string())}
    )


@settings(deadline=None)
@given(CONTENTS, CONTENTS, st.integers(1, 4))
def test_the_digest_tells_whether_keys_and_contents_are_equal(
    left: list[tuple[str, str]], right: list[tuple[str, str]], step: int
) -> None:
    one = section_content([batch(left)])
    other = section_content(batch(right[n : n + step]) for n in range(0, len(right), step))
    if all(content for _, content in left + right):
        assert (one == other) == (left == right)
    else:
        assert "" in (one, other)  # unknown content equals nothing


def test_a_piece_of_nothing_has_a_digest() -> None:
    (piece,) = cut([], [""], 3)
    assert piece == Piece("", (), 0, last=True)
    assert section_content([]) == section_content([batch([])]) != ""
