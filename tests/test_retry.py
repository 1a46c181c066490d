"""Trying again: what may pass, so often, so long apart."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from prefect_freight.errors import AccessError, NotFoundError, TransientError
from prefect_freight.retry import retrying

OK, AGAIN, DENIED, GONE = "ok", TransientError("again"), AccessError("no"), NotFoundError("gone")


def scripted(*attempts: str | Exception) -> tuple[Callable[[], str], list[int]]:
    """Return an operation that does what is said at each attempt, and the count of its calls."""
    calls = [0]

    def operation() -> str:
        calls[0] += 1
        done = attempts[calls[0] - 1]
        if isinstance(done, Exception):
            raise done
        return done

    return operation, calls


@pytest.mark.parametrize(
    ("attempts", "result", "count"),
    [
        ([OK], OK, 1),
        ([AGAIN, OK], OK, 2),
        ([AGAIN] * 5 + [OK], OK, 6),
        ([AGAIN] * 6 + [OK], AGAIN, 6),  # one too many
        ([DENIED, OK], DENIED, 1),  # permanent: not tried again
        ([AGAIN, GONE, OK], GONE, 2),
        ([ValueError("a bug"), OK], ValueError, 1),
    ],
)
def test_only_what_may_pass_is_tried_again(attempts, result, count) -> None:
    operation, calls = scripted(*attempts)
    if result == OK:
        assert retrying(operation, sleep=lambda _: None) == OK
    else:
        expected = result if isinstance(result, type) else type(result)
        with pytest.raises(expected):
            retrying(operation, sleep=lambda _: None)
    assert calls == [count]


def test_the_waits_double_up_to_the_cap() -> None:
    operation, _ = scripted(*[AGAIN] * 5, OK)
    waits: list[float] = []
    retrying(operation, base_s=1, cap_s=10, sleep=waits.append, random=lambda: 1.0)
    assert waits == [2, 4, 8, 10, 10]


def test_a_wait_is_a_random_part_of_its_bound() -> None:
    operation, _ = scripted(AGAIN, AGAIN, OK)
    waits: list[float] = []
    parts = iter([0.25, 0.5])
    retrying(operation, base_s=1, sleep=waits.append, random=lambda: next(parts))
    assert waits == [0.5, 2]


def test_one_attempt_is_one_call() -> None:
    operation, calls = scripted(AGAIN, OK)
    with pytest.raises(TransientError):
        retrying(operation, attempts=1)
    assert calls == [1]


def test_many_threads_count_for_themselves() -> None:
    def run(_: int) -> tuple[str, list[int]]:
        operation, calls = scripted(AGAIN, AGAIN, OK)
        return retrying(operation, sleep=lambda _: None), calls

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(run, range(100))) == [(OK, [3])] * 100
