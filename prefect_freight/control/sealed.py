"""Records as JSON: sealed when they are written, and looked at when they are read.

A seal ends a record: a digest of where the record lies, of what it belongs to, and of its bytes. So
a record that was cut off or changed is known to be damaged, and so is a right one that lies in the
place of another. All records but the lock's are read here, with one error for all that may be wrong
with them.

Versions up to 2 sealed nothing. What they wrote is taken if it has the shape of such a record.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_freight.control.shapes import check_shape
from prefect_freight.errors import IntegrityError, NotFoundError, UnsoundError
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

RECORD_VERSION = 3
"""Of all records since they are sealed; before, each kind had a version of its own."""
SEAL = re.compile(rb', "seal": "([0-9a-f]{32})"\}')
SEAL_BYTES = len(', "seal": ""}') + 32

Shapes = Mapping[int, Any]
"""What `check_shape` takes, by the versions that did not seal."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record that is what was written."""

    values: dict[str, Any]
    version: int
    seal: str
    """Stands for all of it; empty for an old one."""


def write_record(
    destination: Store, key: str, values: Mapping[str, Any], bound_to: str = ""
) -> str:
    """Write a record and return its seal; `bound_to` is the seal of the one that it belongs to."""
    text = json.dumps({"format_version": RECORD_VERSION, **values}).encode().removesuffix(b"}")
    seal = seal_of(key, text, bound_to)
    data = b'%s, "seal": "%s"}' % (text, seal.encode())
    retrying(lambda: destination.write(key, data))
    return seal


def read_record(destination: Store, key: str, shapes: Shapes, bound_to: str = "") -> Record | None:
    """Return a record, None where there is none.

    Raises `UnsoundError` for one that is not what was written, `IntegrityError` for one that a
    later version of prefect-freight wrote.
    """
    try:
        data = retrying(lambda: destination.read(key))
    except NotFoundError:
        return None
    place = f"{destination.url}/{key}"
    damaged = f"expected a record of an export at {place}, found {len(data)} bytes that are"
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnsoundError(f"{damaged} no JSON") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if type(version) is not int:
        raise UnsoundError(f"{damaged} none")
    sealed = SEAL.fullmatch(data, max(0, len(data) - SEAL_BYTES))
    seal = sealed[1].decode() if sealed else ""
    # A seal means the same in all versions to come, so that damage is not taken for a later one.
    if "seal" in values and (not sealed or seal_of(key, data[: sealed.start()], bound_to) != seal):
        raise UnsoundError(f"{damaged} not what was written there")
    if version > RECORD_VERSION:
        raise IntegrityError(
            f"expected a record of version {RECORD_VERSION} or before at {place}, found version "
            f"{version}. A later prefect-freight wrote it: use that one"
        )
    if not seal:
        if bound_to or version not in shapes:
            raise UnsoundError(f"{damaged} without the seal of version {version}")
        _check_old(values, shapes[version], damaged)
    return Record(values, version, seal)


def seal_of(key: str, data: bytes, bound_to: str = "") -> str:
    """Return the seal of what is recorded under a key: BLAKE2b, 128 bits, in hexadecimal.

    >>> seal_of("a", b"1") == seal_of("b", b"1")
    False
    """
    digest = hashlib.blake2b(f"{key}\n{bound_to}\n".encode(), digest_size=16)
    digest.update(data)
    return digest.hexdigest()


def _check_old(values: dict[str, Any], shape: Any, damaged: str) -> None:
    try:
        check_shape(values, shape)
    except ValueError as error:
        raise UnsoundError(f"{damaged} none: {error}") from error
