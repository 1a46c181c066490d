"""Parts of what artifacts show. Pure text; no Prefect."""

from collections.abc import Sequence

MAX_CELL = 300


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """Return text that ends neither its cell nor its line."""
    # A message may hold what a server said: lines and bars of its own would break the table.
    one_line = " ".join(text.split())
    short = one_line if len(one_line) <= MAX_CELL else one_line[: MAX_CELL - 1] + "…"
    return short.replace("|", "\\|")


def code(text: str) -> str:
    """Return text as it is, in the letters of code."""
    return f"`{text.replace('`', "'")}`"
