"""The verification of a copy as a flow: `prefect_freight.verifying`, run by Prefect."""

from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from prefect.utilities.annotations import quote
from pydantic import BeforeValidator

from prefect_freight.blocks import IcechunkRepository, ObjectStore, ZarrStore
from prefect_freight.errors import IntegrityError
from prefect_freight.flows.careful import careful, refuse_stored_credentials
from prefect_freight.flows.ends import ending_plainly
from prefect_freight.flows.export import Place, as_text
from prefect_freight.flows.findings import (
    verification_line,
    verification_markdown,
    verification_message,
)
from prefect_freight.flows.places import open_given_source, open_given_store, place_of
from prefect_freight.flows.progress import unimportant
from prefect_freight.flows.summary import artifact_key, short_name
from prefect_freight.sources import Source
from prefect_freight.stores import Store
from prefect_freight.stores.credentials import without_credentials
from prefect_freight.tasks.retries import STEP
from prefect_freight.verifying import Verification
from prefect_freight.verifying import verify as run_verify


def _run_name() -> str:
    destination = without_credentials(place_of(flow_run.parameters["destination"]))
    return f"verify {short_name(destination)}"


@task(**STEP, task_run_name="verify")
def verify(destination: Store, source: Source | None, values: bool) -> Verification:
    """Return what lies at the destination, compared with what should."""
    return run_verify(destination, source=source, values=values)


@careful
@ending_plainly
@flow(name="verify-export", flow_run_name=_run_name)
def verify_export(
    destination: Annotated[ObjectStore | Place, BeforeValidator(as_text)],
    source: Annotated[
        IcechunkRepository | ZarrStore | ObjectStore | Place | None, BeforeValidator(as_text)
    ] = None,
    values: bool = False,
) -> Verification:
    """Compare a copy with its manifest: keys, sizes and every object's checksum.

    The run fails if the copy is not whole, and its message says what was found and what mends it.
    What was found is the artifact `verify-…`, of a whole copy too. Nothing is written at the
    destination, and no lock is taken.

    Args:
        destination: Where the copy lies: a saved Object Store block, a path, s3://bucket/prefix,
            any fsspec URL, or block:object-store/NAME.
        source: Compare the manifest with this repository's snapshot too, and objects that nothing
            recorded a checksum of with the source's bytes. None compares with what was recorded.
        values: Decode source and copy, and compare the values.
    """
    refuse_stored_credentials(source, destination)
    opened = None if source is None else open_given_source(source)
    # Quoted: or Prefect would look for futures in them.
    compare: Any = verify
    verification: Verification = compare(
        quote(open_given_store(destination)), quote(opened), values
    )
    _show(verification)
    if not verification.whole:
        raise IntegrityError(verification_message(verification))
    return verification


def _show(verification: Verification) -> None:
    log, line = get_run_logger(), verification_line(verification)
    if verification.whole:
        log.info("%s", line)
    else:
        log.error("%s", line)
    with unimportant(log, "findings"):
        create_markdown_artifact(
            verification_markdown(verification),
            key=artifact_key("verify", verification.destination),
            description=line,
        )
