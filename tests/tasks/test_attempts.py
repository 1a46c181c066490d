"""Attempts at a unit: what they add up to, and whether another one follows."""

import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect.states import Failed

from prefect_freight.errors import AccessError, InputError, TransientError
from prefect_freight.model import Action, Failure, Outcome
from prefect_freight.tasks import Attempts, UnitIncompleteError, move_unit
from prefect_freight.tasks.retries import may_be_retried


def failure(key: str = "a/0", *, transient: bool) -> Failure:
    return Failure(key, Action.PUT, "chunks/x", "kind", "the network broke", transient)


@pytest.mark.parametrize(
    ("outcomes", "total"),
    [
        # One attempt is what it is.
        ([Outcome(5, 50, 2)], Outcome(5, 50, 2)),
        # The second skips what the first moved, which is not skipped in all.
        ([Outcome(5, 50, 2, 0, (failure(transient=True),)), Outcome(1, 10, 7)], Outcome(6, 60, 2)),
        # The first stopped before it had counted everything that was there already.
        ([Outcome(0, 0, 1), Outcome(3, 30, 4)], Outcome(3, 30, 4)),
        # A record was not written: what the first moved is moved, and counted, twice.
        ([Outcome(5, 50, 2), Outcome(5, 50, 2)], Outcome(10, 100, 2)),
        ([Outcome(deleted=3), Outcome(skipped=3, deleted=1)], Outcome(deleted=4)),
    ],
)
def test_attempts_add_up(outcomes: list[Outcome], total: Outcome) -> None:
    attempts = Attempts()
    assert [attempts.run(lambda _, outcome=outcome: outcome) for outcome in outcomes][-1] == total


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (TransientError("503"), True),
        (UnitIncompleteError(Outcome(failures=(failure(transient=True),))), True),
        # What may pass is worth another attempt; the rest fails again and is named at the end.
        (
            UnitIncompleteError(
                Outcome(failures=(failure(transient=False), failure(transient=True)))
            ),
            True,
        ),
        (UnitIncompleteError(Outcome(failures=(failure(transient=False),))), False),
        (AccessError("403"), False),
        (InputError("no such ref"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, again: bool) -> None:
    assert may_be_retried(move_unit, None, Failed(data=error)) is again  # type: ignore[arg-type]


def test_an_incomplete_unit_says_what_failed_and_travels_between_processes() -> None:
    failures = (failure("a/0", transient=True), failure("a/1", transient=True))
    error = pickle.loads(pickle.dumps(UnitIncompleteError(Outcome(7, failures=failures))))
    assert str(error) == "could not put 'a/0' and 1 more: the network broke"
    assert error.outcome.transferred == 7


def test_stopping_waits_for_the_attempt_under_way_and_allows_no_other() -> None:
    attempts, begun = Attempts(), threading.Event()

    def attempt(stopped: Callable[[], bool]) -> Outcome:
        begun.set()
        while not stopped():
            time.sleep(0.001)
        return Outcome(3)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(attempts.run, attempt)
        begun.wait(10)
        assert attempts.stop() == Outcome(3)
        assert first.done() or first.result(10) == Outcome(3)
    seen = []
    attempts.run(lambda stopped: seen.append(stopped()) or Outcome())
    assert seen == [True]


def test_in_another_process_attempts_begin_anew() -> None:
    attempts = Attempts()
    attempts.stop()
    copied = pickle.loads(pickle.dumps(attempts))
    assert copied.run(lambda stopped: Outcome(0 if stopped() else 1)) == Outcome(1)
