"""What a command prints on standard output when it has ended: its result, for people.

Keys, paths and refs may hold what rich takes for markup, and lines are to be found by who searches
them: so nothing is marked up here, and no line but a table's is folded.
"""

import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from prefect_freight.control.runs import Run
from prefect_freight.control.status import RunStatus, Status
from prefect_freight.model import EVERYTHING, ExportReport, Format, Preview
from prefect_freight.plan.numbers import format_bytes, format_objects, summary_rows
from prefect_freight.plan.selection import to_text, with_selected
from prefect_freight.pruning import Pruning
from prefect_freight.verifying import Verification

WHOLE = "is whole"
TABLE_EDGES = 7
"""Columns of a table of two columns that are not text."""
NARROW = 120
"""Columns below which a table of runs would fold the ids that people copy."""


def print_preview(preview: Preview) -> None:
    """Print what an export would do on standard output."""
    console = _plain_console()
    base = f", the difference to {preview.base_snapshot}" if preview.base_snapshot else ""
    what = f"{preview.source} at {preview.ref} (snapshot {preview.snapshot})"
    what += with_selected(preview.selection)
    _say(console, f"Would export {what} to {preview.destination}{base}")
    if not preview.finished:
        _print_tables(console, preview)
    for line in _lines(preview):
        _say(console, line)


def _print_tables(console: Console, preview: Preview) -> None:
    tables = {"Round": preview.rounds}
    if preview.format != Format.OBJECTS:  # plain objects have no nodes
        tables["Array or group"] = preview.nodes
    for kind, counted in tables.items():
        table = Table()
        for name in (kind, "Puts", "Data", "Deletes"):
            table.add_column(name, justify="left" if name == kind else "right")
        for name, n in counted.items():
            if n["puts"] or n["deletes"]:
                table.add_row(
                    name or "/", f"{n['puts']:,}", format_bytes(n["bytes"]), f"{n['deletes']:,}"
                )
        console.print(table)


def _lines(preview: Preview) -> Iterator[str]:
    """Yield what is said below the tables."""
    if preview.finished:
        yield "A whole copy of it lies there already: nothing to do."
    if preview.kept:
        yield f"{format_objects(preview.kept)} of the copy would stay as they are."
    if preview.recorded:
        done = format_objects(preview.recorded)
        yield f"{done} are done already, by the unfinished export that this would resume."
    if not preview.finished:
        yield f"About {preview.put_requests:,} PUT requests. Nothing was written."
    yield from (f"note: {note}" for note in preview.notes)
    yield from (f"would replace {key}" for key in preview.replaced_keys)
    more = preview.replaced - len(preview.replaced_keys)
    if more > 0:
        yield f"and {more:,} more"


def print_status(status: Status) -> None:
    """Print the exports that a destination has seen on standard output."""
    console = _plain_console()
    _say(console, f"Exports at {status.destination}")
    if console.width < NARROW or not console.is_terminal:
        _print_runs(console, status.runs)
    else:
        console.print(_runs_table(status.runs))
    if status.holder and status.holder.is_dead:
        ended = f"Interrupted: {status.holder}, which is gone. Run the same command again to go on"
        _say(console, ended)
    elif status.holder:
        _say(console, f"Under way: {status.holder}")


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
            *([to_text(run.selection)] if selected else []),
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
            _say(console, line)


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
    console = _plain_console()
    _say(console, f"Export summary for {report.source}")
    rows = _summary_rows(report)
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
        _say(console, f"{name}: {value}")


def _summary_rows(report: ExportReport) -> list[tuple[str, str]]:
    place = [
        ("Copy", report.destination),
        ("Snapshot", f"{report.snapshot} ({report.ref}), as {report.format}"),
        *([("Selection", to_text(report.selection))] if report.selection != EVERYTHING else []),
        *([("Difference to", report.base_snapshot)] if report.base_snapshot else []),
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


def _plain_console() -> Console:
    return Console(markup=False, emoji=False, highlight=False)


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True)
