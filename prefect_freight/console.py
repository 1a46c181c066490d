"""What the command line shows while it works: a live display on a terminal, else plain lines.

All of it goes to standard error, so that standard output holds the result alone.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table

from prefect_freight.control.runs import Run
from prefect_freight.control.status import RunStatus, Status
from prefect_freight.events import Event, Moved, Notice, Planned, StepEnded, StepStarted
from prefect_freight.model import EVERYTHING, ExportReport
from prefect_freight.plan.numbers import (
    format_bytes,
    format_duration,
    format_objects,
    format_rate,
    summary_rows,
)
from prefect_freight.plan.selection import to_text, with_selected
from prefect_freight.pruning import Pruning
from prefect_freight.verifying import Verification

REFRESH_S = 0.1
BESIDE = 14
"""Columns of a live line that are not text: the spinner, gaps, and a short bar."""
WHOLE = "is whole"
PLAIN_LINE_EVERY_S = 10.0
LEAVE_WITHIN_S = 2.0
"""How long what was told last has to be shown at the end."""
TABLE_EDGES = 7
"""Columns of a table of two columns that are not text."""
NARROW = 120
"""Columns below which a table of runs would fold the ids that people copy."""


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
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[counts]}"),
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
                self._console.print(f"[green]✓[/] {text}", highlight=False, soft_wrap=True)
            case Notice(text):
                self._console.print(f"[yellow]![/] {text}", highlight=False, soft_wrap=True)
            case Planned():
                self._count.planned(event)
            case Moved():
                self._count.moved(event)
                # A thousand objects a second would spend their time on drawing.
                if time.monotonic() - self._drawn_at > REFRESH_S:
                    self._draw()

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


def print_status(status: Status) -> None:
    """Print the exports that a destination has seen on standard output."""
    console = Console()
    console.print(f"Exports at {status.destination}", highlight=False, soft_wrap=True)
    if console.width < NARROW or not console.is_terminal:
        _print_runs(console, status.runs)
    else:
        console.print(_runs_table(status.runs))
    if status.holder and status.holder.is_dead:
        ended = f"Interrupted: {status.holder}, which is gone. Run the same command again to go on"
        console.print(ended, highlight=False, soft_wrap=True)
    elif status.holder:
        console.print(f"Under way: {status.holder}", highlight=False, soft_wrap=True)


def print_pruning(pruning: Pruning) -> None:
    """Print what was removed, or would be, on standard output, a line per run."""
    for one in pruning.found:
        what = "" if one.recorded else ", left by a run without a record"
        print(f"{one.area}: {format_objects(one.objects)}, {format_bytes(one.bytes)}{what}")  # noqa: T201
    done = "Removed" if pruning.removed else "Would remove"
    runs = "1 run" if len(pruning.found) == 1 else f"{len(pruning.found):,} runs"
    print(  # noqa: T201 - the command line's own output
        f"{done} the records of {runs} at {pruning.destination}: "
        f"{format_objects(pruning.objects)}, {format_bytes(pruning.bytes)}."
    )


def _runs_table(runs: Sequence[RunStatus]) -> Table:
    table = Table()
    names = ["", "Run", "State", "Ref", "Snapshot", "Format", "Progress", "Began (UTC)", "By"]
    selected = any(run_status.run.selection != EVERYTHING for run_status in runs)
    for name in [*names, "Selection"] if selected else names:
        table.add_column(name, overflow="fold")
    for run_status in runs:
        run, current = run_status.run, "current" if run_status.is_current else ""
        table.add_row(
            current, str(run.sequence), run.state, run.ref, run.snapshot, run.format,
            _progress(run_status), _began(run), _who(run),
            *([escape(to_text(run.selection))] if selected else []),
        )  # fmt: skip
    return table


def _print_runs(console: Console, runs: Sequence[RunStatus]) -> None:
    """Print lines, for narrow terminals, files and other programs, where no table is readable."""
    for run_status in runs:
        run = run_status.run
        current = ", current" if run_status.is_current else ""
        head = f"Run {run.sequence}, {run.state}{current}: {run.ref} as {run.format}"
        progress = f"{_progress(run_status)} objects"
        for line in (
            head,
            f"  snapshot {run.snapshot}",
            f"  {progress}, began {_began(run)} UTC",
            f"  by {_who(run)}",
            *([f"  {to_text(run.selection)}"] if run.selection != EVERYTHING else []),
        ):
            console.print(line, highlight=False, soft_wrap=True, markup=False)


def _progress(run_status: RunStatus) -> str:
    if run_status.objects is None:
        return "-"
    return f"{run_status.done:,}/{run_status.objects:,}"


def _began(run: Run) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(run.started_at))


def _who(run: Run) -> str:
    return f"{run.user}@{run.host}"


def print_verification(verification: Verification) -> None:
    """Print what a verification found on standard output, a line per object."""
    for line in verification.differences.lines():
        print(line)  # noqa: T201 - the command line's own output
    for key in verification.differences.foreign_keys:
        print(f"foreign {key}")  # noqa: T201
    for note in verification.notes:
        print(f"note: {note}")  # noqa: T201
    copy = f"the copy of {verification.ref} (snapshot {verification.snapshot})"
    copy += with_selected(verification.selection)
    unchecked = verification.differences.unchecked
    whole = (
        f"{WHOLE}, but for {format_objects(unchecked)} that were never checked"
        if unchecked
        else WHOLE
    )
    verdict = whole if verification.whole else "is not whole"
    # They are told and change no verdict: `merge` lets others write beside the copy.
    beside = verification.differences.foreign
    others = f" Not ours, beside it: {format_objects(beside)}." if beside else ""
    print(f"By {verification.level}, {copy} at {verification.destination} {verdict}.{others}")  # noqa: T201
    if verification.cure:
        print(verification.cure)  # noqa: T201


def print_summary(report: ExportReport) -> None:
    """Print the summary of an export on standard output: a table where one fits, else lines."""
    console = Console()
    console.print(f"Export summary for {report.source}", highlight=False, soft_wrap=True)
    rows = _rows(report)
    # Marker and snapshot are what people copy: a table that folds them is worse than none. A path
    # may be longer than any terminal.
    longest_value = max(len(value) for name, value in rows if name != "Copy")
    longest_name = max(len(name) for name, _ in rows)
    if console.is_terminal and longest_name + longest_value + TABLE_EDGES <= console.width:
        table = Table()
        table.add_column("Stat")
        table.add_column("Value", overflow="fold")
        for name, value in rows:
            table.add_row(name, value)
        console.print(table)
        return
    for name, value in rows:
        console.print(f"{name}: {value}", highlight=False, soft_wrap=True, markup=False)


def _rows(report: ExportReport) -> list[tuple[str, str]]:
    place = [
        ("Copy", report.destination),
        ("Snapshot", f"{report.snapshot} ({report.ref}), as {report.format}"),
        *([("Selection", to_text(report.selection))] if report.selection != EVERYTHING else []),
        ("Difference to", report.base_snapshot or "nothing: all of it"),
        ("Marker", report.marker),
    ]
    more = {
        "Objects there already": report.objects_skipped,
        "Objects deleted": report.objects_deleted,
        "Objects failed": report.objects_failed,
        "Objects not begun": report.objects_not_begun,
    }
    counts = [(name, f"{n:,}") for name, n in more.items() if n]
    return [*summary_rows(report), *counts, *place]
