"""Source and copy as Prefect's assets, so that its lineage tells which copy came from where.

One asset a place and not one a snapshot: a copy that is renewed each night is one thing that
changes. Which snapshot it was stands in the description of the source, and in the report, which is
the metadata of each materialization.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from prefect.assets import Asset, AssetProperties, add_asset_metadata, materialize

from prefect_freight.model import ExportReport, Job, Outcome, Plan
from prefect_freight.plan.differences import Differences
from prefect_freight.stores import Store
from prefect_freight.tasks.definitions import finish
from prefect_freight.tasks.retries import STEP

BY = "prefect-freight"
MAX_KEY = 400
"""Characters; Prefect takes 512."""


def asset_key(url: str) -> str:
    """Return the key of the asset at a path or URL.

    It is the URL itself, without the kind of source before it, and without the characters that
    Prefect refuses in a key; a digest tells apart what looks alike without them.

    >>> asset_key("icechunk+s3://bucket/weather"), asset_key("s3://bucket/a b")
    ('s3://bucket/weather', 's3://bucket/a-b-73e04c')
    """
    place = re.sub(r"^[a-z]+\+(?=[a-z0-9]+:)", "", url)
    if not re.match(r"[a-z0-9]+://", place):
        place = f"file://{Path(place).absolute()}"
    key = re.sub(r"[^\w:/.@~+=,;!$()*-]", "-", place)[:MAX_KEY]
    if key != place:
        key += f"-{hashlib.blake2b(place.encode(), digest_size=3).hexdigest()}"
    return key


def finish_of(job: Job) -> Any:
    """Return the task `finish` of a job, which tells Prefect of the copy as an asset.

    What it raises is told too, as a materialization that failed::

        report = finish_of(job)(destination, job, plan, outcome, differences)
    """
    snapshot = job.snapshot
    told = f"Snapshot {snapshot.id} of {snapshot.ref}"
    source = Asset(key=asset_key(snapshot.source), properties=AssetProperties(description=told))
    copy = Asset(
        key=asset_key(job.destination),
        properties=AssetProperties(description=f"{told}, as {job.options.format}"),
    )

    @materialize(
        copy, by=BY, asset_deps=[source], **STEP, name="finish", task_run_name="write marker"
    )
    def finish_and_tell(
        destination: Store, job: Job, plan: Plan, outcome: Outcome, differences: Differences
    ) -> ExportReport:
        report = finish.fn(destination, job, plan, outcome, differences)
        add_asset_metadata(copy, report.to_dict())
        return report

    return finish_and_tell
