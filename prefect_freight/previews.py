"""What a dry run prints on standard output: tables of what would be done, and lines."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from prefect_freight.model import Format, Preview
from prefect_freight.plan.numbers import format_bytes, format_objects
from prefect_freight.plan.selection import with_selected


def print_preview(preview: Preview) -> None:
    """Print what an export would do on standard output."""
    console = Console()
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


def _say(console: Console, line: str) -> None:
    # Keys may hold what rich takes for markup, and lines are to be found by who searches them.
    console.print(line, highlight=False, soft_wrap=True, markup=False)
