"""What a run tells of itself, while it runs.

Whoever listens shows them: the command line as a bar and lines, Prefect's runner as log lines,
artifacts and tags. Nothing that an export does depends on what becomes of an event: whoever tells
does so through `tolerant`.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from prefect_freight.model import ExportReport, Job, Outcome, Plan, Snapshot


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step of the export began."""

    text: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    """The step that began last ended well."""

    text: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The ref is pinned: this snapshot is exported, whatever becomes of the ref."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Opened:
    """The destination was looked at: this is the export, which may lie there whole already."""

    job: Job


@dataclass(frozen=True, slots=True)
class Planned:
    """Manifest and diff are written: this much is to be moved."""

    job: Job
    plan: Plan

    @property
    def objects(self) -> int:
        """How many objects are put or deleted."""
        return self.plan.objects

    @property
    def bytes(self) -> int:
        """How many bytes are put."""
        return self.plan.bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """Objects arrived (or were found to have arrived already)."""

    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class UnitEnded:
    """A unit's work is over, well or not."""

    total: Outcome
    """What all units up to now came to together."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user ought to know and that stops nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The export is over, and the destination says so; of a refused one nothing is told."""

    report: ExportReport
    outcome: Outcome
    reason: str = ""
    """Why the copy is not whole."""
    on_request: bool = False
    """Somebody ended it, by an interrupt or by cancelling the run."""


Event = StepStarted | StepEnded | Resolved | Opened | Planned | Moved | UnitEnded | Notice | Ended
OnEvent = Callable[[Event], None]
type Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


def ignore_event(event: Event) -> None:
    """Take an event and do nothing."""


def tolerant(on_event: OnEvent, log: Logger | None = None) -> OnEvent:
    """Return a listener that passes events on and raises nothing but what interrupts.

    That the listener failed is logged once, however often it does. An interrupt is no failure of
    the listener's, though it may hit there.
    """
    return on_event if isinstance(on_event, _Tolerant) else _Tolerant(on_event, log)


class _Tolerant:
    def __init__(self, on_event: OnEvent, log: Logger | None) -> None:
        self._on_event = on_event
        self._log = log or logging.getLogger("prefect_freight")
        self._logged = False

    def __call__(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - whatever somebody's listener raises
            if self._logged:
                return
            self._logged = True  # first: the log may lead to the same listener
            with suppress(Exception):
                self._log.warning(
                    "what listens to this export failed, which goes on (this is said once): %s: %s",
                    type(error).__name__,
                    error,
                )
