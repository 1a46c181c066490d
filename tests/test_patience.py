"""Patience: what is waited for, how long, and who is told; with a clock that tests turn."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from prefect_freight.errors import (
    AccessError,
    ExhaustedError,
    LockedError,
    TransientError,
    UnavailableError,
)
from prefect_freight.patience import Patience
from prefect_freight.retry import ATTEMPTS, retried_by, retrying

RETRY_FOR = 300.0


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


class Down:
    """A store that is down for a time, and counts what it is asked."""

    def __init__(self, clock: Clock, seconds: float = float("inf")) -> None:
        self.clock, self.until, self.asked = clock, clock.now + seconds, 0

    def ask(self) -> str:
        self.asked += 1
        if self.clock.now < self.until:
            raise TransientError("503")
        return "an answer"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def make(clock: Clock, lines: list[str]) -> Callable[..., Patience]:
    def make(retry_for: float = RETRY_FOR) -> Patience:
        return Patience(
            "s3://b/copy",
            retry_for,
            lines.append,
            clock=lambda: clock.now,
            sleep=clock.sleep,
            random=lambda: 1.0,
        )

    return make


def test_a_store_that_is_down_is_waited_for(make, clock: Clock, lines: list[str]) -> None:
    store = Down(clock, seconds=280)
    assert make().retrying(store.ask) == "an answer"
    assert store.asked < 50
    assert "503. Waiting for s3://b/copy to answer, for up to 29" in lines[0]
    assert "answers again" in lines[-1]
    assert len(lines) == store.asked - ATTEMPTS + 1  # one for each wait, and the last


def test_it_is_given_up_when_the_time_is_over_and_later_ones_wait_no_more(make, clock) -> None:
    store, patience, began = Down(clock), make(), clock.now
    with pytest.raises(UnavailableError, match=r"503.*waited for 300 s.*--retry-for"):
        patience.retrying(store.ask)
    assert RETRY_FOR <= clock.now - began < RETRY_FOR + 1
    store.asked = 0
    with pytest.raises(UnavailableError):
        patience.retrying(store.ask)
    assert store.asked == 1


def test_whoever_is_told_of_a_wait_is_told_of_some_time(make, clock: Clock, lines) -> None:
    for tenths in range(1, 120):
        with pytest.raises((UnavailableError, ExhaustedError)) as caught:
            make(tenths / 10).retrying(Down(clock).ask)
        assert "waited for 0 s" not in str(caught.value)
    assert len(lines) > 100
    assert not [line for line in lines if "up to 0 s" in line]


def test_an_answer_begins_the_time_anew(make, clock: Clock) -> None:
    patience = make()
    for _ in range(3):
        assert patience.retrying(Down(clock, seconds=200).ask) == "an answer"


def test_a_refusal_is_an_answer(make, clock: Clock) -> None:
    patience, asked = make(), []

    def ask() -> None:
        asked.append(1)
        raise TransientError("503") if clock.now < 1100 else AccessError("denied")

    with pytest.raises(AccessError):
        patience.retrying(ask)
    assert patience.retrying(Down(clock, seconds=290).ask) == "an answer"


def test_without_time_there_are_the_immediate_attempts(make, clock: Clock, lines) -> None:
    store = Down(clock)
    with pytest.raises(ExhaustedError) as caught:
        make(0).retrying(store.ask)
    assert not isinstance(caught.value, UnavailableError)
    assert (store.asked, lines) == (ATTEMPTS, [])


def test_one_that_fails_while_others_pass_is_not_waited_for(make, clock: Clock, lines) -> None:
    patience, store = make(), Down(clock)

    def ask() -> None:
        store.ask_others = patience.retrying(lambda: None)  # another thread's, which passes
        store.ask()

    began = clock.now
    with pytest.raises(ExhaustedError):
        patience.retrying(ask, "bad")
    assert (store.asked, lines) == (ATTEMPTS, [])
    assert clock.now - began < 10


def test_one_that_met_the_end_of_an_outage_is_not_a_bad_one(make, clock: Clock) -> None:
    patience, store = make(), Down(clock)

    def ask() -> None:
        if store.asked == ATTEMPTS - 1:
            store.until = clock.now
            patience.retrying(lambda: None)  # another one is answered, before this fails once more
            store.asked += 1
            raise TransientError("503")
        store.ask()

    patience.retrying(ask)
    assert store.asked == ATTEMPTS + 1


def test_one_that_failed_so_before_is_no_sign_of_an_outage(make, clock: Clock, lines) -> None:
    patience, store = make(), Down(clock)
    with pytest.raises(ExhaustedError):
        patience.retrying(lambda: (patience.retrying(lambda: None), store.ask()), "bad")
    with pytest.raises(ExhaustedError):
        patience.retrying(store.ask, "bad")  # alone now
    assert (store.asked, lines) == (2 * ATTEMPTS, [])


def test_one_that_fails_alone_is_told_from_an_outage_by_a_probe(make, clock, lines) -> None:
    store = Down(clock)
    with pytest.raises(ExhaustedError):
        make().retrying(store.ask, "bad", lambda: "passes")
    assert (store.asked, lines) == (
        ATTEMPTS + 1,
        [],
    )  # an outage may have ended just now
    assert make().retrying(Down(clock, 100).ask, "good", Down(clock, 100).ask) == "an answer"


def test_what_retries_inside_follows_the_same_rule(make, clock: Clock) -> None:
    store = Down(clock, seconds=100)
    with retried_by(make()):
        assert retrying(store.ask) == "an answer"


def test_attempts_do_not_multiply(make, clock: Clock) -> None:
    store, patience = Down(clock), make(0)
    with pytest.raises(ExhaustedError):
        retrying(lambda: patience.retrying(store.ask))
    assert store.asked == ATTEMPTS


def test_after_a_wait_it_is_asked_whether_to_go_on_and_a_no_is_final(make, clock: Clock) -> None:
    patience, store = make(), Down(clock, seconds=100)
    patience.ask_after_waits(lambda: refuse(LockedError("taken over")))
    with pytest.raises(LockedError):
        patience.retrying(store.ask)
    assert store.asked == ATTEMPTS  # and not once after the wait
    with pytest.raises(LockedError):
        patience.retrying(lambda: "anything else")


def test_while_it_cannot_be_asked_nothing_is_tried(make, clock: Clock) -> None:
    patience, store, lock = make(), Down(clock, seconds=0), Down(clock, seconds=100)
    fails = iter([True] * ATTEMPTS)

    def ask() -> str:
        if next(fails, False):
            raise TransientError("503")
        return store.ask()

    patience.ask_after_waits(lock.ask)
    assert patience.retrying(ask) == "an answer"
    assert (store.asked, clock.now >= lock.until) == (1, True)


def refuse(error: Exception) -> None:
    raise error


@pytest.fixture
def waiting() -> Iterator[tuple[Patience, list[BaseException], list[threading.Thread]]]:
    """Return a patience for which threads wait, by the real clock."""
    told, errors = threading.Event(), []
    patience = Patience("s3://b/copy", RETRY_FOR, lambda line: told.set(), random=lambda: 0.01)

    def wait() -> None:
        try:
            patience.retrying(lambda: refuse(TransientError("503")))
        except TransientError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert told.wait(10)
    yield patience, errors, threads
    patience.end()


def test_those_who_wait_can_be_told_to_end(waiting) -> None:
    patience, errors, threads = waiting
    began = time.monotonic()
    patience.end()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began < 1
    assert len(errors) == 8
    assert not any(isinstance(error, UnavailableError) for error in errors)
