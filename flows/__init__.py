"""Prefect flows of prefect-freight.

`export` has the flow: it opens what its parameters name (`places`) and hands it to the main path,
`prefect_freight.exporting.run_export`, with Prefect's `runner`, which calls the tasks, moves units
as task runs and shows events: as log lines, as the `progress` artifact, as the `summary`. `verify`
compares a copy with its records, and shows its `findings`. `ends` has a failed run say what the
error says.

Not promised: anything beyond the main path. No order, retry or lock of an export stands here.
"""

if __name__ != "prefect_freight.flows":
    raise ImportError(
        f"expected to be imported as prefect_freight.flows, found {__name__!r}: a second copy of "
        "the flows would not be known to be the same. Import prefect_freight.flows"
    )

from prefect_freight.flows.export import export_repo, run_export_flow
from prefect_freight.flows.verify import verify_export

__all__ = ["export_repo", "run_export_flow", "verify_export"]
