"""Prefect flows of prefect-freight."""

if __name__ != "prefect_freight.flows":
    raise ImportError(
        f"expected to be imported as prefect_freight.flows, found {__name__!r}: a second copy of "
        "the flows would not be known to be the same. Import prefect_freight.flows"
    )

from prefect_freight.flows.export import export_repo, run_export_flow

__all__ = ["export_repo", "run_export_flow"]
