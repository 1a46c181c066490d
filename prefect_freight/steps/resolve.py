"""Pinning a ref: from here on an export knows a snapshot, which nobody can change."""

from prefect_freight.model import Snapshot
from prefect_freight.sources import Source


def resolve(source: Source, ref: str) -> Snapshot:
    """Return the snapshot that the ref names now; raises `RefNotFoundError` if it names none."""
    return source.resolve(ref)
