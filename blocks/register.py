"""Blocks from YAML into the Prefect server.

The file::

    blocks:
      - type: object-store          # a slug: icechunk-repository, lakefs-repository too
        name: archive               # small letters, digits and dashes
        url: s3://bucket/prefix
        endpoint_url: ${ENDPOINT}   # what the environment has, when the file is registered
        access_key_id: ${KEY_ID}
        secret_access_key: ${SECRET}
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_freight.blocks.references import TYPES, reference_to
from prefect_freight.blocks.settings import PlaceBlock
from prefect_freight.config import read_yaml
from prefect_freight.errors import ConfigError

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def register_file(path: str | os.PathLike[str]) -> list[str]:
    """Save all blocks that a YAML file describes, in place of those of the same name.

    Returns their references. Raises `ConfigError`, which names block and key and never a value,
    before anything is saved.
    """
    # All are parsed before the first is saved: a file with an error in it changes nothing.
    blocks = list(parse_blocks(read_yaml(path), str(path)))
    for name, block in blocks:
        block.save(name, overwrite=True)
    return [reference_to(block, name) for name, block in blocks]


def parse_blocks(document: Any, where: str) -> Iterator[tuple[str, PlaceBlock]]:
    """Yield name and block of each item under `blocks`."""
    if not isinstance(document, Mapping) or set(document) != {"blocks"}:
        raise ConfigError(f"expected one key 'blocks' at the top of {where}, found something else")
    items = document["blocks"]
    if not isinstance(items, list) or not items:
        raise ConfigError(f"expected a list under 'blocks' in {where}, found none")
    references = set()
    for number, item in enumerate(items, 1):
        name, block = _parse_block(item, f"block {number} of {where}")
        reference = reference_to(block, name)
        if reference in references:
            raise ConfigError(
                f"{where} describes {reference} twice. Give the blocks different names"
            )
        references.add(reference)
        yield name, block


def _parse_block(item: Any, where: str) -> tuple[str, PlaceBlock]:
    if not isinstance(item, Mapping):
        raise ConfigError(f"expected keys and values for {where}, found something else")
    slug, name = item.get("type"), item.get("name")
    if not isinstance(slug, str) or slug not in TYPES:
        near = difflib.get_close_matches(str(slug), TYPES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"expected type {' or '.join(TYPES)} for {where}, found {slug!r}.{hint}")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"expected a name of small letters, digits and dashes for {where}, found {name!r}"
        )
    rest = {key: value for key, value in item.items() if key not in ("type", "name")}
    return name, TYPES[slug].from_mapping(rest, f"{where} ({name})")
