"""A lakeFS of the tests' own; or, for what holds of any, a real one that the environment names."""

import os
from collections.abc import Iterator

import pytest
from lakefs_server.remote import RemoteLake
from lakefs_server.server import Lake

from prefect_freight.sources.lakefs import lakectl


@pytest.fixture(autouse=True)
def lakectl_as_it_was() -> Iterator[None]:
    """Have no test find the server of one before it."""
    names = (lakectl.ENDPOINT, lakectl.ACCESS_KEY_ID, lakectl.SECRET_ACCESS_KEY)
    before = {name: os.environ.get(name) for name in names}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


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
