"""Visits: exports of one state of a source after another to one place, some of them cut off."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from dying import DyingStore
from histories import data
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from layouts import LayoutCase, Subject, ship
from runners import Run

from prefect_freight.errors import FreightError
from prefect_freight.stores.urls import open_store

NEVER = 10**9
BASES = [None, "last"]
quietly = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Visit(NamedTuple):
    """One export of a walk."""

    state: int
    """Of as many as there are: others wrap around."""
    from_ref: str | None
    cut: int | None
    """After how many changes of the destination its writer is killed."""
    rounds: tuple[str, ...] = ()


def cut_off(
    run: Run, subject: Subject, copy: Path, changes: int, state: int, **options: Any
) -> bool:
    """Export until the destination was changed so often; return whether it came to an end."""
    store = DyingStore(open_store(str(copy)), changes)
    with suppress(FreightError):
        ship(run, subject, store, state, concurrency=2, **options)
    return not store.dead


def states(layout: LayoutCase, *, large: bool = False) -> st.SearchStrategy[list[list[Any]]]:
    """Return what the states after the first are made by, up to four."""
    change = layout.source.LARGE_CHANGE if large else layout.source.RANDOM_CHANGE
    return st.lists(st.lists(change, max_size=4), min_size=1, max_size=4)


def visits(layout: LayoutCase, cuts: st.SearchStrategy[int | None]) -> st.SearchStrategy[Any]:
    """Return the exports of a walk, up to five."""
    visit = st.builds(
        Visit, st.integers(0, 4), st.sampled_from(BASES), cuts, st.sampled_from([(), layout.phases])
    )
    return st.lists(visit, min_size=1, max_size=5)


def walk(
    run: Run, subject: Subject, count: int, copy: Path, visits: Sequence[Visit], **options: Any
) -> None:
    """Make the exports, of a source with so many states; what came to its end must be exact."""
    for visit in visits:
        state = visit.state % count
        store = DyingStore(open_store(str(copy)), NEVER if visit.cut is None else visit.cut)
        with nullcontext() if visit.cut is None else suppress(FreightError):
            ship(
                run,
                subject,
                store,
                state,
                from_ref=visit.from_ref,
                rounds=visit.rounds,
                concurrency=2,
                **options,
            )
        if not store.dead:
            assert data(copy) == subject.expected(state), visit
