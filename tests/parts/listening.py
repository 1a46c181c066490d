"""Listeners that do something while an export runs."""

from collections.abc import Callable

from prefect_freight.events import Event, StepEnded, StepStarted


def at(step: str, act: Callable[[], object]) -> Callable[[Event], None]:
    """Return a listener that does something when a step begins."""

    def listen(event: Event) -> None:
        if isinstance(event, StepStarted) and event.text.startswith(step):
            act()

    return listen


def after(step: str, act: Callable[[], object]) -> Callable[[Event], None]:
    """Return a listener that does something when a step has ended."""

    def listen(event: Event) -> None:
        if isinstance(event, StepEnded) and event.text.startswith(step):
            act()

    return listen
