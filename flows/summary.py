"""What a flow run shows of an export: names, tags, artifacts. Pure text; no Prefect."""

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from prefect_freight.flows.markdown import cell, code, table
from prefect_freight.model import EVERYTHING, ExportReport, Job, Outcome, Plan
from prefect_freight.plan.numbers import format_bytes, format_duration, format_rate, summary_rows
from prefect_freight.plan.selection import to_text

MAX_FAILURES_SHOWN = 20
MAX_NAME = 40
MAX_SLUG = 80


def short_name(place: str) -> str:
    """Return the last part of a path, URL or block reference: short, and without credentials.

    >>> short_name("icechunk+s3://bucket/weather/daily"), short_name("block:object-store/archive")
    ('daily', 'archive')
    """
    if place.startswith("block:"):
        return place.rsplit("/", 1)[-1]
    parts = urlsplit(place)
    # The last part alone: users and passwords stand before the path, tokens behind it.
    last = parts.path.rstrip("/").rsplit("/", 1)[-1] or parts.hostname or "?"
    return last if len(last) <= MAX_NAME else last[: MAX_NAME - 1] + "…"


def artifact_key(prefix: str, place: str) -> str:
    """Return a key that groups the artifacts of one destination: `[a-z0-9-]` is all that may be.

    It is made of all of the destination, since many have the same last part; a digest tells apart
    what looks alike without the characters that a key cannot have.

    >>> artifact_key("export", "s3://bucket/k1/ocean")
    'export-bucket-k1-ocean'
    >>> artifact_key("export", "s3://bucket/Weather_v2.zarr")
    'export-bucket-weather-v2-zarr-3ad9bf'
    """
    parts = urlsplit(place)
    # Without user and password, which are refused later: nothing shows them before either.
    path = f"{parts.hostname or ''}/{parts.path}" if parts.scheme else place
    # Lower case and dashes are all that Prefect takes in a key.
    slug = re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")
    if slug != re.sub("/+", "-", path).strip("-") or len(slug) > MAX_SLUG:
        mark = hashlib.blake2b(path.encode(), digest_size=3).hexdigest()
        slug = f"{slug[-MAX_SLUG:].strip('-')}-{mark}".lstrip("-")
    return f"{prefix}-{slug}"


def run_tags(tags: Iterable[str], job: Job) -> list[str]:
    """Return a run's tags with those that it is looked up by: its format and its snapshot.

    Those that an earlier attempt at the same run had set are replaced, since by now the ref may
    name another snapshot.
    """
    own = {"format": job.options.format.value, "snapshot": job.snapshot.id}
    others = [tag for tag in tags if tag.partition(":")[0] not in own]
    return [*dict.fromkeys(others), *(f"{name}:{value}" for name, value in own.items())]


def plan_text(plan: Plan) -> str:
    """Return what is going to be moved, as a line."""
    return (
        f"{plan.objects:,} objects, {format_bytes(plan.bytes)}, of "
        f"{' and '.join(f'{n:,} {name}' for name, n in plan.totals.items())}, "
        f"in {len(plan.units)} units"
    )


def progress_percent(done_objects: int, plan: Plan) -> float:
    """Return how much of the plan is done, from 0 to 100."""
    return min(100.0, 100.0 * done_objects / plan.objects) if plan.objects else 100.0


def progress_text(outcome: Outcome, plan: Plan, seconds: float, *, ended: bool = False) -> str:
    """Return how far an export is after some seconds, as a line.

    Unless it has ended there, well or not, with the time that is left.
    """
    text = (
        f"{outcome.done:,} of {plan.objects:,} objects done, {format_bytes(outcome.bytes)} moved, "
        f"{format_rate(outcome.bytes, seconds)}"
    )
    if ended:
        return text
    # What an earlier run had moved took no time, and tells nothing of what is left.
    now, left = outcome.transferred + outcome.deleted, plan.objects - outcome.done
    return f"{text}, {format_duration(left * seconds / now)} left" if now and left > 0 else text


def summary_line(report: ExportReport) -> str:
    """Return what an export did, as a line."""
    return (
        f"{'Whole' if report.whole else 'Not whole'}: {report.objects_transferred:,} objects, "
        f"{format_bytes(report.bytes_transferred)} in {format_duration(report.seconds)}"
    )


def summary_markdown(report: ExportReport, outcome: Outcome, reason: str = "") -> str:
    """Return the summary of an export; of one that failed, with the reason and what failed."""
    state = "The copy is whole" if report.whole else "The copy is **not** whole"
    is_part = report.selection != EVERYTHING
    rows = [
        *summary_rows(report),
        ("Objects there already", f"{report.objects_skipped:,}"),
        ("Objects deleted", f"{report.objects_deleted:,}"),
        ("Objects failed", f"{report.objects_failed:,}"),
        ("Objects not begun", f"{report.objects_not_begun:,}"),
        ("Verified by", report.verified),
        ("Source", code(report.source)),
        ("Ref", code(report.ref)),
        ("Snapshot", code(report.snapshot)),
        *([("Difference to", code(report.base_snapshot))] if report.base_snapshot else []),
        ("Destination", code(report.destination)),
        ("Format", report.format),
        *([("Selection", code(to_text(report.selection)))] if is_part else []),
        ("Marker", code(report.marker) if report.marker else "none: it could not be written"),
    ]
    parts = [f"# Export of {code(report.ref)}", f"{state}.", table(("Stat", "Value"), rows)]
    if reason:
        parts.insert(2, f"> {cell(reason)}")
    if outcome.failures:
        parts += ["## What failed", _failures(outcome)]
    if notes := [note for note in report.notes if note != reason]:
        parts += ["## Notes", "\n".join(f"- {cell(note)}" for note in notes)]
    if not report.whole:
        parts.append("Run the same export again: it moves only what is missing.")
    return "\n\n".join(parts) + "\n"


def _failures(outcome: Outcome) -> str:
    # An artifact is read by people and held in Prefect's database, where megabytes hurt.
    shown = outcome.failures[:MAX_FAILURES_SHOWN]
    rows = [(code(f.key), f.action.value, f.message) for f in shown]
    more = outcome.failed - len(rows)
    named = "them all" if not outcome.unnamed else f"the first {len(outcome.failures):,}"
    more_text = f"\n\nand {more:,} more; the marker lists {named}" if more else ""
    return table(("Object", "Operation", "Error"), rows) + more_text
