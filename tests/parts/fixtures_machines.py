"""Machines that the command runs on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command import Machine


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Machine]:
    """Return a function that makes a machine; what runs there ends with the test."""

    def make(name: str) -> Machine:
        one = Machine(tmp_path, name)
        request.addfinalizer(one.clean)
        return one

    return make
