"""A real S3 server with authentication, one a session, and empty destinations."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import S3Server, SeaweedFS

from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return the S3 server of this session (with xdist: of this worker)."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweedfs") / "server") as running:
        yield running.server


@pytest.fixture(params=["local", "s3"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return an empty place: a folder, and a prefix of a bucket."""
    if request.param == "local":
        return open_store(str(tmp_path / "copy"))
    s3: S3Server = request.getfixturevalue("s3")
    return open_store(f"s3://{s3.new_bucket()}/copy", s3.config())
