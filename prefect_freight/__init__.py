"""prefect-freight: snapshots of versioned data repositories, shipped as plain copies."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_freight.exporting import export
    from prefect_freight.model import ExportReport

__all__ = ["ExportReport", "export"]


def __getattr__(name: str) -> Any:
    # Looked up on first use: `freight --help` must not wait for zarr and pyarrow.
    match name:
        case "export":
            from prefect_freight.exporting import export

            return export
        case "ExportReport":
            from prefect_freight.model import ExportReport

            return ExportReport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
