"""Prefect tasks of prefect-freight: one for each step of an export, under the step's own name.

`definitions` has them; each calls the step, so that a flow of anybody's can call one alone.
`retries` says what Prefect tries again, `attempts` adds up what several attempts at a unit moved,
and stops them, `tally` counts what units move in other processes, `lineage` tells Prefect's assets,
`texts` is what their logs say.

Not promised: that steps called alone are an export. The order, the lock and what happens when one
fails stand in `prefect_freight.exporting`, which `prefect_freight.flows.export_repo` runs.
"""

if __name__ != "prefect_freight.tasks":
    raise ImportError(
        f"expected to be imported as prefect_freight.tasks, found {__name__!r}: a second copy of "
        "the tasks would not be known to be the same. Import prefect_freight.tasks"
    )

from prefect_freight.steps.compute_diff import read_entries
from prefect_freight.steps.move_unit import OPEN_BATCHES
from prefect_freight.tasks.attempts import Attempts, UnitIncompleteError
from prefect_freight.tasks.definitions import (
    compute_diff,
    finish,
    look_at_job,
    mark_again,
    move_unit,
    open_job,
    report_already_whole,
    require_lock,
    resolve,
    take_lock,
    verify_copy,
    write_manifest,
)
from prefect_freight.tasks.lineage import finish_of
from prefect_freight.tasks.tally import Tally

__all__ = [
    "OPEN_BATCHES",
    "Attempts",
    "Tally",
    "UnitIncompleteError",
    "compute_diff",
    "finish",
    "finish_of",
    "look_at_job",
    "mark_again",
    "move_unit",
    "open_job",
    "read_entries",
    "report_already_whole",
    "require_lock",
    "resolve",
    "take_lock",
    "verify_copy",
    "write_manifest",
]
