"""What the log of a task says of what it found."""

from prefect_freight.control.manifest import Manifest
from prefect_freight.model import Plan
from prefect_freight.plan.numbers import format_bytes


def manifest_text(manifest: Manifest) -> str:
    """Return what the copy holds, as a line."""
    rows = sum(section.rows for section in manifest.sections)
    changed = sum(section.areas[-1] == manifest.area for section in manifest.sections)
    counted = ", ".join(f"{count:,} {name}" for name, count in manifest.totals.items())
    return (
        f"The copy has {rows:,} objects ({counted}) in {len(manifest.sections):,} sections, of "
        f"which {changed:,} differ from what was recorded"
    )


def diff_text(plan: Plan) -> str:
    """Return what is to be done, as a line.

    >>> diff_text(Plan((), 0, 0, kept=7))
    'To put or delete: 0 objects, 0 B, in 0 units; kept: 7'
    """
    return (
        f"To put or delete: {plan.objects:,} objects, {format_bytes(plan.bytes)}, in "
        f"{len(plan.units):,} units; kept: {plan.kept:,}"
    )
