"""What the command line shows while it works: a live display on a terminal, else plain lines.

All of it goes to standard error, so that standard output holds the result alone.
"""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from prefect_freight.events import Event, Moved, Notice, Planned, StepEnded, StepStarted
from prefect_freight.plan.numbers import format_bytes, format_duration, format_rate

REFRESH_S = 0.1
BESIDE = 14
"""Columns of a live line that are not text: the spinner, gaps, and a short bar."""
PLAIN_LINE_EVERY_S = 10.0
LEAVE_WITHIN_S = 2.0
"""How long what was told last has to be shown at the end."""


class Progressing:
    """Counts what moved; a display asks for it when it draws. Threads may count at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began: float | None = None
        self.objects = self.bytes = self.total_objects = self.total_bytes = 0

    def planned(self, event: Planned) -> None:
        """Take what is to be moved."""
        # Anew: a copy that was found unsound is planned, and moved, a second time.
        self.objects = self.bytes = 0
        self.total_objects, self.total_bytes = event.objects, event.bytes
        self._began = self._clock()

    def moved(self, event: Moved) -> None:
        """Take what arrived."""
        with self._lock:
            self.objects += event.objects
            self.bytes += event.bytes

    def text(self, room: int = 1000) -> str:
        """Return objects, bytes, rate and time left: as much of it as `room` characters hold."""
        seconds = self._clock() - self._began if self._began is not None else 0.0
        done = self.objects / self.total_objects if self.total_objects else 0.0
        left = f"{format_duration(seconds / done - seconds)} left" if done else ""
        # What is left of a plan that is done is the verification, whose time nobody knows.
        left = "" if done >= 1 else left
        objects = f"{self.objects:,}/{self.total_objects:,} objects"
        size = f"{format_bytes(self.bytes)}/{format_bytes(self.total_bytes)}"
        rate = format_rate(self.bytes, seconds)
        ways = ((objects, size, rate, left), (objects, rate, left), (objects, left), (objects,))
        texts = ["  ".join(filter(None, way)) for way in ways]
        return next((text for text in texts if len(text) <= room), texts[-1])


class LiveDisplay:
    """For terminals: a tick for each step that is done, and a bar for what moves."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = Progressing()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[counts]}", markup=False),
            console=console,
        )
        self._bar: TaskID | None = None
        self._drawn_at = 0.0
        self._text = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None and not self._count.total_objects:
            self._progress.remove_task(self._bar)  # nothing was to be moved
        elif self._bar is not None:
            self._draw("Moved")
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case StepStarted(text):
                self._start(text)
            case StepEnded(text):
                self._draw(text)
                self._say("[green]✓[/]", text)
            case Notice(text):
                self._say("[yellow]![/]", text)
            case Planned():
                self._count.planned(event)
            case Moved():
                self._count.moved(event)
                # A thousand objects a second would spend their time on drawing.
                if time.monotonic() - self._drawn_at > REFRESH_S:
                    self._draw()

    def _say(self, sign: str, text: str) -> None:
        # A key or a path in it may look like markup; taken for it, it would end the display.
        self._console.print(f"{sign} {escape(text)}", highlight=False, emoji=False, soft_wrap=True)

    def _start(self, text: str) -> None:
        if self._bar is None:
            self._bar = self._progress.add_task(text, total=None, counts="")
        self._draw(text)

    def _draw(self, text: str | None = None) -> None:
        self._drawn_at = time.monotonic()
        total = self._count.total_objects or None
        self._text = text or self._text
        if self._bar is not None:
            room = self._console.width - len(self._text) - BESIDE
            counts = self._count.text(room) if total else ""
            self._progress.update(
                self._bar,
                total=total,
                completed=self._count.objects,
                counts=counts,
                description=text,
                refresh=text is not None,
            )


class PlainLines:
    """For everything that is no terminal: a line for each step, and one now and then between."""

    def __init__(self) -> None:
        self._count = Progressing()
        self._printed_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Write an event's line, if it has one."""
        match event:
            case StepEnded(text):
                self._say(f"done: {text}")
            case Notice(text):
                self._say(f"note: {text}")
            case Planned():
                self._count.planned(event)
                self._printed_at = time.monotonic()
            case Moved():
                self._count.moved(event)
                if time.monotonic() - self._printed_at > PLAIN_LINE_EVERY_S:
                    self._say(self._count.text())
            case _:
                pass

    def _say(self, text: str) -> None:
        self._printed_at = time.monotonic()
        # At once, since who reads a pipe or a log wants to know now that it still moves.
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the command line's own output


class Aside:
    """Shows events in a thread of its own: a terminal that takes nothing (Ctrl-S) stops no export.

    A display that fails is over, and what is told after that is shown nowhere.
    """

    def __init__(self, display: LiveDisplay | PlainLines) -> None:
        self._display = display
        self._changed = threading.Condition()
        self._waiting: list[Event | None] = []
        # Not waited for at the process's end: it may hang in a write.
        self._thread = threading.Thread(target=self._show, name="freight-display", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._append(None)
        self._thread.join(LEAVE_WITHIN_S)

    def __call__(self, event: Event) -> None:
        """Have an event shown."""
        self._append(event)

    def _append(self, event: Event | None) -> None:
        with self._changed:
            last = self._waiting[-1] if self._waiting else None
            if isinstance(event, Moved) and isinstance(last, Moved):
                # A million of them may come while nothing can be shown.
                self._waiting[-1] = Moved(last.objects + event.objects, last.bytes + event.bytes)
            else:
                self._waiting.append(event)
            self._changed.notify()

    def _show(self) -> None:
        with suppress(Exception), self._display:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting)
                    events, self._waiting = self._waiting, []
                for event in events:
                    if event is None:
                        return
                    self._display(event)


def open_display() -> Aside:
    """Return the display that standard error can show."""
    console = Console(stderr=True)
    return Aside(LiveDisplay(console) if console.is_terminal else PlainLines())
