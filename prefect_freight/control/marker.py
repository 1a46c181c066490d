"""The marker at the destination's root: its name says that the copy is whole, or that it is not."""

import re
from collections.abc import Sequence

from prefect_freight.control.data import list_markers
from prefect_freight.control.runs import Run
from prefect_freight.errors import NotFoundError, StorageFullError
from prefect_freight.model import EVERYTHING, Action, Failure, Job, Outcome
from prefect_freight.plan.numbers import format_bytes, format_objects
from prefect_freight.plan.selection import to_text
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

COMPLETED = "Export completed successfully!"
"""All that lakeFS's own exporter writes into a marker of success;"""
SUCCESS_TEXT = "Export of"
"""how ours goes on, and began before it had that line."""
LAKEFS_MARKER = re.compile(r"EXPORT_([0-9a-f]{64})(?:_[^/]+)?_SUCCESS")
"""Newer releases of lakeFS's exporter put a time between."""


def write_success(destination: Store, job: Job, outcome: Outcome) -> str:
    """Put the marker of a whole copy, in place of that of an earlier attempt; return its key."""
    selection = job.options.selection
    # Its name is that of all of the snapshot.
    part = f"It holds what {to_text(selection)} selects.\n" if selection != EVERYTHING else ""
    text = (
        f"{COMPLETED}\n"
        f"{SUCCESS_TEXT} {job.snapshot.source} at {job.snapshot.ref} (snapshot {job.snapshot.id}) "
        f"as {job.options.format} is whole.\n{part}"
        f"{format_objects(outcome.transferred)} transferred, {format_bytes(outcome.bytes)}; "
        f"{outcome.skipped:,} there already, {outcome.deleted:,} deleted.\n"
    )
    # In this order: a process killed in between leaves no marker, which claims nothing. The other
    # way round it would leave both.
    retrying(lambda: destination.delete([job.failure_marker]))
    return _write(destination, job.marker, text)


def write_failure(destination: Store, job: Job, outcome: Outcome, lines: Sequence[str]) -> str:
    """Put the marker of a failed export; return its key.

    It has a line per failed operation that the outcome names, as lakeFS's own exporter words it,
    how many more failed, and then `lines`; only the first of all where there is no room for more.
    """
    failed = [_failed_line(destination, failure) for failure in outcome.failures]
    if outcome.unnamed:
        failed.append(f"and {outcome.unnamed:,} more failed")
    text_lines = [line.replace("\n", " ") for line in [*failed, *lines]]
    # The success marker may have been written, if what failed is the very last step.
    retrying(lambda: destination.delete([job.marker]))
    try:
        return _write(destination, job.failure_marker, "\n".join([*text_lines, ""]))
    except StorageFullError:
        # A full disk often has room for a small object still, and a failure that leaves no marker
        # looks like an export that is under way.
        left = outcome.failed + len(lines) - 1
        more = f"and {left:,} more\n" if left else ""
        return _write(destination, job.failure_marker, f"{text_lines[0]}\n{more}")


def is_marked(destination: Store, job: Job) -> bool:
    """Return whether the marker of a whole copy lies there."""
    try:
        retrying(lambda: destination.read(job.marker))
    except NotFoundError:
        return False
    return True


def withdraw_markers(destination: Store, runs: Sequence[Run], *, look: bool = False) -> None:
    """Remove the markers of earlier runs: from now on the copy that they call whole may change.

    With `look`, or where no record tells of which snapshots they are, also all others of ours that
    lie there: records may have been lost, or be older than the copy.
    """
    keys = {f"EXPORT_{run.snapshot}_{end}" for run in runs for end in ("SUCCESS", "FAILURE")}
    # A listing costs a request for a thousand objects, so only where records do not tell.
    if look or any(run.is_damaged for run in runs):
        keys.update(key for key in list_markers(destination) if _is_ours(destination, key))
    if keys:
        retrying(lambda: destination.delete(sorted(keys)))


def _is_ours(destination: Store, key: str) -> bool:
    """Say whether an object that is called like a marker of success is one."""
    try:
        text = retrying(lambda: destination.read(key)).decode(errors="replace")
    except NotFoundError:
        return False
    return text.removeprefix(f"{COMPLETED}\n").startswith(SUCCESS_TEXT)


def failed_markers(destination: Store) -> list[str]:
    """Return the markers of failed exports, sorted."""
    return sorted(key for key in list_markers(destination) if key.endswith("_FAILURE"))


def exported_by_lakefs(destination: Store) -> list[str]:
    """Return the commits of which lakeFS's own exporter left a marker of success, sorted."""
    commits = set()
    for key in list_markers(destination):
        match = LAKEFS_MARKER.fullmatch(key)
        if match and not _is_ours(destination, key):
            commits.add(match[1])
    return sorted(commits)


def _failed_line(destination: Store, failure: Failure) -> str:
    file = f"{destination.url}/{failure.key}"
    if failure.action is Action.DELETE:
        return f"Unable to delete file {file}: {failure.message}"
    return f"Unable to copy file {file} from source {failure.location}: {failure.message}"


def _write(destination: Store, key: str, text: str) -> str:
    retrying(lambda: destination.write(key, text.encode()))
    return key
