"""A lakeFS of the tests' own; or, for what holds of any, a real one that the environment names."""

from collections.abc import Iterator

import pytest
from lakefs_server.remote import RemoteLake
from lakefs_server.server import Lake


@pytest.fixture
def lake() -> Iterator[Lake]:
    """Return a lakeFS with a blockstore that presigns, and nothing in it."""
    with Lake("s3") as running:
        yield running


@pytest.fixture
def any_lake() -> Iterator[RemoteLake]:
    """Return a lakeFS that is filled and read over HTTP only: `make test-lakefs` has a real one."""
    if (real := RemoteLake.of_environment()) is not None:
        with real:
            yield real
        return
    with Lake("s3") as running, RemoteLake.of(running) as remote:
        yield remote
