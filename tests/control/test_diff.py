"""The diff is read as it was written."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryStore
from tables import stretch

from prefect_freight.control.diff import Diff, DiffWriter, read_diff
from prefect_freight.control.manifest import Manifest
from prefect_freight.errors import IntegrityError, UnsoundError
from prefect_freight.model import Round
from prefect_freight.plan.batches import BATCHES_PER_PHASE

AREA = ".freight/000001-x"
ADDED = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([Round.CHUNKS, Round.DOCUMENTS, Round.DELETES]),
        st.integers(0, 600),
        st.integers(0, 2),
    ),
    max_size=8,
)


def write(store: MemoryStore, added: Sequence[tuple[str, Round, int, int]]) -> Diff:
    writer = DiffWriter(store, Manifest(AREA, (), (), {"arrays": 2}, ("a note",)))
    for number, (name, round_, rows, phase) in enumerate(added):
        keys = [f"{number}/{row}" for row in range(rows)]
        writer.add(name, round_, stretch(keys).entries, phase)
    return writer.close(7)


@settings(deadline=None)
@given(ADDED)
def test_each_entry_is_in_one_batch_of_its_round_and_phase(
    added: list[tuple[str, Round, int, int]],
) -> None:
    store = MemoryStore()
    diff = write(store, added)
    assert read_diff(store, AREA) == diff
    assert diff.plan.objects == sum(rows for _, _, rows, _ in added)
    keys = [
        (unit.round, unit.phase, key)
        for unit in diff.plan.units
        for _, batch in diff.read_batches(store, unit, range(unit.first, unit.stop))
        for key in batch["key"].to_pylist()
    ]
    assert sorted(keys) == sorted(
        (round_, phase, f"{number}/{row}")
        for number, (_, round_, rows, phase) in enumerate(added)
        for row in range(rows)
    )


@settings(deadline=None)
@given(ADDED)
def test_slices_tell_what_each_row_belongs_to(added: list[tuple[str, Round, int, int]]) -> None:
    store = MemoryStore()
    for part, table in write(store, added).read(store, ["key"]):
        assert [rows.first for rows in part.slices] == [0, *(r.stop for r in part.slices[:-1])]
        assert part.slices[-1].stop == table.num_rows
        for rows in part.slices:
            for key in table["key"].to_pylist()[rows.first : rows.stop]:
                assert added[int(key.split("/")[0])][0] == rows.name


def test_batches_of_each_phase_have_numbers_of_their_own() -> None:
    diff = write(MemoryStore(), [("a", Round.CHUNKS, 300, phase) for phase in (0, 1)])
    assert [part.first_batch for part in diff.parts] == [0, BATCHES_PER_PHASE]
    assert [len(part.batches) for part in diff.parts] == [2, 2]


def test_a_diff_tells_what_its_manifest_does() -> None:
    plan = write(MemoryStore(), []).plan
    assert (plan.totals, plan.kept, plan.notes) == ({"arrays": 2}, 7, ("a note",))


def test_without_a_whole_index_there_is_no_diff() -> None:
    assert read_diff(MemoryStore(), AREA) is None
    with pytest.raises(UnsoundError, match="found 1 bytes that are no JSON"):
        read_diff(MemoryStore({f"{AREA}/diff/diff.json": b"{"}), AREA)


def test_a_later_version_is_named() -> None:
    store = MemoryStore({f"{AREA}/diff/diff.json": b'{"format_version": 9}'})
    with pytest.raises(IntegrityError, match="found version 9"):
        read_diff(store, AREA)
