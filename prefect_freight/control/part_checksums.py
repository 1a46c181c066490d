"""Checksums of the rows of a part of a manifest, in an object beside it: 16 bytes of MD5 a row.

They are known only when all has moved, so no index has their digest: a seal ends them instead. What
is not as it was written counts as never recorded, and is compared with the source when asked for.
"""

from collections.abc import Mapping

from prefect_freight.control.manifest import Part
from prefect_freight.control.sealed import seal_of
from prefect_freight.errors import NotFoundError
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

CHECKSUM_BYTES = 16
NO_CHECKSUM = bytes(CHECKSUM_BYTES)
SEAL_BYTES = 16


def checksums_key(part_key: str) -> str:
    """Return where the checksums of a part's rows lie."""
    return f"{part_key}.md5"


def put_checksums(destination: Store, area: str, part: Part, data: bytes) -> None:
    """Put the checksums of a part's rows beside it, in place of those that are there."""
    key = checksums_key(f"{area}/{part.key}")
    # Versions that gave parts no digest may read what lies beside these, and know of no seal.
    seal = bytes.fromhex(seal_of(key, data, part.digest)) if part.digest else b""
    retrying(lambda: destination.write(key, data + seal))


def add_checksums(
    destination: Store, area: str, part: Part, checksums: Mapping[int, bytes]
) -> None:
    """Put checksums, by the row of a part, beside the part, with those that are there already."""
    data = read_checksums(destination, area, part)
    for row, checksum in checksums.items():
        data[row * CHECKSUM_BYTES : (row + 1) * CHECKSUM_BYTES] = checksum
    put_checksums(destination, area, part, bytes(data))


def read_checksums(destination: Store, area: str, part: Part) -> bytearray:
    """Return the checksums of a part's rows; `NO_CHECKSUM` for those that are not known."""
    return find_checksums(destination, area, part) or no_checksums(part)


def no_checksums(part: Part) -> bytearray:
    """Return the checksums of a part of which none is known."""
    return bytearray(part.rows * CHECKSUM_BYTES)


def find_checksums(destination: Store, area: str, part: Part) -> bytearray | None:
    """Return the checksums that lie beside a part; None where none do, or others than were put."""
    key = checksums_key(f"{area}/{part.key}")
    try:
        data = retrying(lambda: destination.read(key))
    except NotFoundError:
        return None
    if part.digest:
        data, seal = data[:-SEAL_BYTES], data[-SEAL_BYTES:]
        if seal_of(key, data, part.digest) != seal.hex():
            return None
    return bytearray(data) if len(data) == part.rows * CHECKSUM_BYTES else None
