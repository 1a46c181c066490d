"""What must change at a destination."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from prefect_freight.plan.join import Diff, merge_states, to_state

CONTENT = st.dictionaries(st.text("abc/", max_size=3), st.text("xyz", min_size=1, max_size=1))


def rows(said: dict[str, str | None]) -> pa.RecordBatch:
    table = to_state(pa.array(list(said), pa.string()), pa.array(list(said.values()), pa.string()))
    return pa.RecordBatch.from_pydict(table.to_pydict(), table.schema)


def keys(batch: pa.RecordBatch) -> set[str]:
    return set(batch["key"].to_pylist())


def test_the_decision_table() -> None:
    there = {"same": "1", "changed": "1", "unknown": None, "gone": "1", "gone-unknown": None}
    wanted = {"same": "1", "changed": "2", "unknown": "1", "new": "1"}
    diff = Diff(pa.Table.from_batches([rows(there)]))
    put, kept = diff.split(rows(wanted))
    assert keys(put) == {"changed", "unknown", "new"}
    assert keys(kept) == {"same"}
    assert set(diff.gone().to_pylist()) == {"gone", "gone-unknown"}


@given(CONTENT, CONTENT, st.sets(st.text("abc/", max_size=3)), st.integers(1, 5))
def test_applying_a_diff_gives_the_target(
    there: dict[str, str], wanted: dict[str, str], doubtful: set[str], step: int
) -> None:
    unknown = dict.fromkeys(doubtful)
    state = merge_states(
        [pa.Table.from_batches([rows(there)])], [pa.Table.from_batches([rows(unknown)])]
    )
    lies_there = there | dict.fromkeys(doubtful, "anything")
    diff = Diff(state)
    for start in range(0, len(wanted), step):
        put, kept = diff.split(rows(wanted).slice(start, step))
        lies_there |= {row["key"]: row["content"] for row in put.to_pylist()}
        assert keys(put) | keys(kept) == set(list(wanted)[start : start + step])
    for key in diff.gone().to_pylist():
        del lies_there[key]
    assert lies_there == wanted
