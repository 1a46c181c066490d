"""What has changed between a record and what is wanted."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import md5_of, state_of

from prefect_freight.plan.join import Join

CONTENT = st.dictionaries(st.text("abc/", max_size=3), st.text("xyz", max_size=1))
"""`""` is unknown."""


def columns(contents: dict[str, str]) -> tuple[pa.Array, pa.Array]:
    return pa.array(list(contents), pa.string()), pa.array(list(contents.values()), pa.string())


def compare(join: Join, contents: dict[str, str]) -> dict[str, bytes | None]:
    """Return the kept keys with their checksums."""
    kept, checksums = join.compare(*columns(contents))
    rows = zip(contents, kept.to_pylist(), checksums.to_pylist(), strict=True)
    found = {key: (is_kept, checksum) for key, is_kept, checksum in rows}
    assert not any(checksum for is_kept, checksum in found.values() if not is_kept)
    return {key: checksum for key, (is_kept, checksum) in found.items() if is_kept}


def test_the_decision_table() -> None:
    recorded = {"same": "1", "changed": "1", "unknown": "", "gone": "1", "gone-unknown": ""}
    wanted = {"same": "1", "changed": "2", "unknown": "1", "new": "1"}
    join = Join(state_of(recorded))
    assert compare(join, wanted) == {"same": md5_of("1")}
    assert set(join.gone()["key"].to_pylist()) == {"gone", "gone-unknown"}


def test_content_that_is_unknown_on_both_sides_is_not_the_same() -> None:
    join = Join(state_of({"a": ""}))
    assert compare(join, {"a": ""}) == {}
    assert join.gone().num_rows == 0


def test_what_is_gone_keeps_the_node_that_it_belonged_to() -> None:
    join = Join(pa.concat_tables([state_of({"a/0": "1"}, "a"), state_of({"b/0": "1"}, "b")]))
    compare(join, {"a/0": "1"})
    assert join.gone().to_pylist() == [{"key": "b/0", "node": "b"}]


def test_without_a_record_nothing_is_kept_and_nothing_gone() -> None:
    join = Join(state_of({}))
    assert compare(join, {"a": "1"}) == {}
    assert join.gone().num_rows == 0


@settings(deadline=None)
@given(CONTENT, CONTENT, st.integers(1, 5), st.booleans())
def test_applying_the_changes_gives_the_target(
    recorded: dict[str, str], wanted: dict[str, str], step: int, in_order: bool
) -> None:
    if in_order:  # both sides mostly have one order, and then nothing is hashed
        recorded, wanted = dict(sorted(recorded.items())), dict(sorted(wanted.items()))
    join, copy, keys = Join(state_of(recorded)), dict(recorded), list(wanted)
    for first in range(0, len(keys), step):
        some = {key: wanted[key] for key in keys[first : first + step]}
        kept = compare(join, some)
        same = {key for key, content in some.items() if content and recorded.get(key) == content}
        assert kept == {key: md5_of(some[key]) for key in same}
        copy |= {key: content for key, content in some.items() if key not in kept}
    for key in join.gone()["key"].to_pylist():
        del copy[key]
    assert copy == wanted


@settings(deadline=None)
@given(CONTENT, st.integers(1, 5), st.data())
def test_what_is_asked_in_the_record_s_order_is_answered_like_anything_else(
    recorded: dict[str, str], step: int, draw: st.DataObject
) -> None:
    keys = list(recorded)
    mixed = draw.draw(st.permutations(keys))
    aligned, unaligned = Join(state_of(recorded)), Join(state_of(recorded))
    kept = [
        {
            key: checksum
            for first in range(0, len(order), step)
            for key, checksum in compare(
                join, {key: recorded[key] for key in order[first : first + step]}
            ).items()
        }
        for join, order in ((aligned, keys), (unaligned, mixed))
    ]
    assert kept[0] == kept[1]
    assert aligned.gone().num_rows == unaligned.gone().num_rows == 0
