"""What a run tells of itself, while it runs."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step of the export began."""

    text: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    """The step that began last ended well."""

    text: str


@dataclass(frozen=True, slots=True)
class Planned:
    """The manifest is written: this much is to be moved."""

    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Objects arrived (or were found to have arrived already)."""

    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user ought to know and that stops nothing."""

    text: str


Event = StepStarted | StepFinished | Planned | Moved | Notice
OnEvent = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Take an event and do nothing."""
