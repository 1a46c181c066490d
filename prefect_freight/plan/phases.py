"""Which phase of its round an entry belongs to: what the user wants after something else. Pure."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import InputError, OptionError

Phases = Sequence[str] | Callable[[str], int]
"""Regular expressions (RE2), in order, or a function from a key to its phase, from 0."""


def check_phases(phases: Phases) -> None:
    """Raise `OptionError`, naming the expression, if one of them is none."""
    if callable(phases):
        return
    # By the engine that will use them: RE2 refuses some of the expressions that Python takes.
    for pattern in phases:
        try:
            pc.match_substring_regex(pa.array(["a"]), pattern)
        except pa.ArrowInvalid as error:
            raise OptionError(
                f"expected regular expressions (RE2 syntax) for rounds, found {pattern!r}: {error}"
            ) from error


def plan_phases(keys: pa.Array, phases: Phases) -> npt.NDArray[np.int64]:
    """Return the phase of each key: entries of a phase move when all phases before are whole.

    A key is in the phase of the last expression that it matches anywhere, counted from 1; one that
    matches none is in phase 0. So `["_SUCCESS$"]` puts Spark's success markers after all data.

    >>> plan_phases(pa.array(["d/_SUCCESS", "d/part-0"]), ["(^|/)_SUCCESS$"]).tolist()
    [1, 0]
    """
    numbers = np.zeros(len(keys), np.int64)
    if callable(phases):
        # A call a key is the price of a function, which only callers from Python can give.
        for row, key in enumerate(keys.to_pylist()):
            phase = phases(key)
            # Not only of a wrong number: a key that no round wants would be left out in silence.
            if not isinstance(phase, int) or phase < 0:
                raise InputError(f"expected a phase from 0 for {key!r}, found {phase!r}")
            numbers[row] = phase
        return numbers
    for number, pattern in enumerate(phases, 1):
        numbers[pc.match_substring_regex(keys, pattern).to_numpy(zero_copy_only=False)] = number
    return numbers
