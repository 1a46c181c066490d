"""Blocks from YAML into the Prefect server.

The file::

    blocks:
      - type: store-credentials     # as those below, or zarr-store, lakefs-repository
        name: team                  # small letters, digits and dashes
        endpoint_url: ${ENDPOINT}   # what the environment has, when the file is registered
        access_key_id: ${KEY_ID}
        secret_access_key: ${SECRET}
      - type: object-store
        name: archive
        url: s3://bucket/prefix
        credentials: block:store-credentials/team   # here, or saved already: aws-credentials/…

A place may have keys of its own instead of `credentials`.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prefect.blocks.core import Block

from prefect_freight.blocks.references import TYPES, reference_to
from prefect_freight.blocks.server import asking_server
from prefect_freight.blocks.settings import PlaceBlock
from prefect_freight.blocks.store_credentials import StoreCredentials, load_credentials
from prefect_freight.config import read_yaml
from prefect_freight.errors import ConfigError

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
KNOWN: dict[str, type[PlaceBlock | StoreCredentials]] = {
    **TYPES,
    StoreCredentials.get_block_type_slug(): StoreCredentials,
}
"""What a file may describe, by the slugs of its types."""
type Find = Callable[[Any, str], Block]
"""Returns the credentials that a reference names; the second text says who refers to them."""


def register_file(path: str | os.PathLike[str]) -> list[str]:
    """Save all blocks that a YAML file describes, in place of those of the same name.

    Returns their references. Raises `ConfigError`, which names block and key and never a value,
    before anything is saved, and `ServerError` where Prefect's server does not answer.
    """
    # All are parsed before the first is saved: a file with an error in it changes nothing.
    document = read_yaml(path)
    with asking_server():
        blocks = list(parse_blocks(document, str(path)))
        # Credentials first: a place refers to them by the id that they get when they are saved.
        for name, block in sorted(blocks, key=lambda item: isinstance(item[1], PlaceBlock)):
            block.save(name, overwrite=True)
    return [reference_to(block, name) for name, block in blocks]


def parse_blocks(document: Any, where: str) -> Iterator[tuple[str, Block]]:
    """Yield name and block of each item under `blocks`."""
    if not isinstance(document, Mapping) or set(document) != {"blocks"}:
        raise ConfigError(f"expected one key 'blocks' at the top of {where}, found something else")
    items = document["blocks"]
    if not isinstance(items, list) or not items:
        raise ConfigError(f"expected a list under 'blocks' in {where}, found none")
    described: dict[str, Block] = {}

    def find(reference: Any, user: str) -> Block:
        if isinstance(reference, str) and isinstance(described.get(reference), StoreCredentials):
            return described[reference]
        return load_credentials(reference, user)

    parsed: dict[int, tuple[str, Block]] = {}
    for number, item in _credentials_first(items):
        name, block = _parse_block(item, f"block {number} of {where}", find)
        reference = reference_to(block, name)
        if reference in described:
            raise ConfigError(
                f"{where} describes {reference} twice. Give the blocks different names"
            )
        described[reference] = block
        parsed[number] = name, block
    yield from (parsed[number] for number in sorted(parsed))


def _credentials_first(items: list[Any]) -> list[tuple[int, Any]]:
    """Return items with their numbers, those that others may refer to before the others."""
    credentials = StoreCredentials.get_block_type_slug()
    return sorted(
        enumerate(items, 1),
        key=lambda item: not (isinstance(item[1], Mapping) and item[1].get("type") == credentials),
    )


def _parse_block(item: Any, where: str, find: Find) -> tuple[str, Block]:
    if not isinstance(item, Mapping):
        raise ConfigError(f"expected keys and values for {where}, found something else")
    slug, name = item.get("type"), item.get("name")
    if not isinstance(slug, str) or slug not in KNOWN:
        near = difflib.get_close_matches(str(slug), KNOWN, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"expected type {' or '.join(KNOWN)} for {where}, found {slug!r}.{hint}")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"expected a name of small letters, digits and dashes for {where}, found {name!r}"
        )
    rest = {key: value for key, value in item.items() if key not in ("type", "name")}
    known, described_at = KNOWN[slug], f"{where} ({name})"
    if issubclass(known, PlaceBlock):
        return name, known.from_mapping(rest, described_at, find)
    return name, known.from_mapping(rest, described_at)
