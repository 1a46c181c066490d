"""A real S3 server with authentication, one a session."""

from collections.abc import Iterator

import pytest
from servers import S3Server, SeaweedFS


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return the S3 server of this session (with xdist: of this worker)."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweedfs") / "server") as running:
        yield running.server
