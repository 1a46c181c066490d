"""What the user wants to move after something else."""

import pyarrow as pa
import pytest

from prefect_freight.errors import InputError
from prefect_freight.plan.phases import check_phases, plan_phases

KEYS = pa.array(["a/0", "b/0", "b/_SUCCESS", "_SUCCESS", "not_SUCCESS"])


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ([], [0, 0, 0, 0, 0]),
        (["(^|/)_SUCCESS$"], [0, 0, 1, 1, 0]),
        (["^b/", "_SUCCESS$"], [0, 1, 2, 2, 2]),  # the last that matches
        (len, [3, 3, 10, 8, 11]),  # any function of the key
    ],
)
def test_a_key_is_in_the_phase_of_the_last_expression_that_it_matches(
    phases: object, expected: list[int]
) -> None:
    assert plan_phases(KEYS, phases).tolist() == expected  # type: ignore[arg-type]


def test_a_key_that_no_round_wants_is_named() -> None:
    for wrong in (None, -1, "1"):
        with pytest.raises(InputError, match=rf"'b/0', found {wrong!r}"):
            plan_phases(KEYS, lambda key: wrong if key == "b/0" else 0)  # type: ignore[arg-type]  # noqa: B023


def test_a_wrong_expression_is_named() -> None:
    with pytest.raises(InputError, match=r"found '\['"):
        check_phases(["["])
