"""A lakeFS of the tests' own, empty or as one was recorded."""

from collections.abc import Iterator

import pytest
from lakefs_server.server import Lake


@pytest.fixture
def lake() -> Iterator[Lake]:
    """Return a lakeFS with a blockstore that presigns, and nothing in it."""
    with Lake("s3") as running:
        yield running
