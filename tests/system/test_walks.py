"""Whatever goes wrong, in whatever order: a destination that claims to be whole is whole."""

import os

import pytest
from runners import RUNNERS, Run
from walking import walks

SECONDS = float(os.environ.get("FREIGHT_WALK_SECONDS", "90"))
SEED = int(os.environ.get("FREIGHT_WALK_SEED", "1"))
"""Other walks: a number of the environment, which the message of a finding names."""


@pytest.fixture(params=RUNNERS)
def run(request: pytest.FixtureRequest) -> Run:
    """Return an export by each of the runners."""
    if request.param == "flow":
        request.getfixturevalue("prefect_server")
    return RUNNERS[request.param]


def test_a_few_walks_find_nothing() -> None:
    number, _, findings = walks(SEED, seconds=1)
    assert number
    assert not findings, "\n\n".join(findings)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 300)
def test_many_walks_find_nothing(run: Run) -> None:
    number, counts, findings = walks(SEED + 1, SECONDS, run, with_processes=True)
    assert not findings, "\n\n".join([f"{number} walks, {dict(counts)}", *findings])
