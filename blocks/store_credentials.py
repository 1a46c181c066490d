"""Credentials apart from places: one block of them opens many."""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self, Union

from prefect.blocks.core import Block
from prefect.exceptions import ObjectNotFound
from pydantic import model_validator

from prefect_freight.blocks.others import PACKAGES, installed_types, to_config
from prefect_freight.blocks.store_keys import StoreKeys, fields_of
from prefect_freight.config import StoreConfig, parse_config, read_yaml
from prefect_freight.errors import ConfigError

SCHEME = "block:"


class StoreCredentials(StoreKeys):
    """Credentials of a store, for as many places as are there.

    Example:
        Load a saved block and open a place with it:
        ```python
        from prefect_freight.blocks import StoreCredentials, ObjectStore

        credentials = StoreCredentials.load("BLOCK_NAME")
        store = ObjectStore(url="s3://bucket/prefix", credentials=credentials).open()
        ```
    """

    _block_type_name = "Store Credentials"
    _block_type_slug = "store-credentials"

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        self.to_config()
        return self

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Self:
        """Return the block that a YAML file describes, which is what `freight --config` takes."""
        return cls.from_mapping(read_yaml(path), str(path))

    @classmethod
    def from_mapping(cls, settings: Any, where: str) -> Self:
        """Return the block that keys and values describe; `where` is named in errors."""
        return cls(**fields_of(parse_config(settings, where)))


_CLASSES: list[type[Block]] = [StoreCredentials, *installed_types()]
TYPES = {block.get_block_type_slug(): block for block in _CLASSES}
"""Types of credentials that places take, by their slugs."""
if TYPE_CHECKING:
    type Credentials = Block
else:
    # Prefect makes the form's choice of saved blocks from the types in the annotation.
    Credentials = Union[tuple(TYPES.values())]  # noqa: UP007


def parse_credentials(given: Any) -> Block:
    """Return a block of credentials as it is, or of the keys and values that Prefect gives of one.

    Those of a saved place come without their type if a form has saved them. So their type is the
    one whose fields they are; where nothing is said, the environment's credentials are meant, by
    whatever type.
    """
    if isinstance(given, Block) and isinstance(given, tuple(TYPES.values())):
        return given
    if not isinstance(given, Mapping):
        # Not quoted: somebody may have written a secret there.
        raise ConfigError(f"expected {_expected()} as credentials, found something else")
    slug = given.get("block_type_slug")
    if slug is not None:
        if slug not in TYPES:
            raise ConfigError(f"expected {_expected()}, found {_unknown(str(slug))}")
        return TYPES[slug].model_validate(given)
    for block in TYPES.values():
        required = {name for name, field in block.model_fields.items() if field.is_required()}
        if required <= given.keys() <= block.model_fields.keys():
            return block.model_validate(given)
    # Not the first that would take them: prefect's blocks take any keys, and some look for
    # credentials on the network while they are made.
    raise ConfigError(f"expected {_expected()} as credentials, found fields of none of them")


def load_credentials(reference: Any, where: str) -> Block:
    """Return the saved credentials that `block:<type-slug>/<name>` names.

    Raises `ConfigError` for a type that is not known here, and for a block that nobody saved.
    """
    slug, slash, name = str(reference).removeprefix(SCHEME).partition("/")
    is_text = isinstance(reference, str) and reference.startswith(SCHEME)
    if not is_text or not slash or not name:
        # Not quoted: somebody may have written a secret there.
        raise ConfigError(
            f"expected {SCHEME}<type-slug>/<name> for 'credentials' in {where}, found another form"
        )
    if slug not in TYPES:
        raise ConfigError(f"expected {_expected()} for {where}, found {_unknown(slug)}")
    try:
        return TYPES[slug].load(name)  # type: ignore[return-value]
    except (ValueError, ObjectNotFound) as error:
        if not isinstance(error.__cause__ or error, ObjectNotFound):
            raise
        raise ConfigError(
            f"no block {reference!r}, which {where} refers to, is saved at the Prefect server or "
            "stands in the file. Save it in Prefect's UI, or describe it in the same file"
        ) from error


def config_for(own: StoreConfig, credentials: Block, url: str) -> StoreConfig:
    """Return a place's own settings and those of its credentials, for a store at a URL.

    Raises `ConfigError` where they contradict each other.
    """
    if isinstance(credentials, StoreCredentials):
        shared = credentials.to_config()
    else:
        shared = to_config(credentials, url)
    together: dict[str, Any] = {}
    for field in fields(StoreConfig):
        ours, theirs = getattr(own, field.name), getattr(shared, field.name)
        if field.name == "storage_options" and ours is not None and theirs is not None:
            both = ours.keys() & theirs.keys()
            together[field.name] = {**theirs, **ours}
        else:
            both = {field.name} if None not in (ours, theirs) and ours != theirs else set()
            together[field.name] = theirs if ours is None else ours
        if both:
            # One of them would do nothing, and nobody could tell which.
            raise ConfigError(
                f"expected {' and '.join(sorted(both))} in the place or in its credentials, found "
                "it in both. Remove one"
            )
    return StoreConfig(**together)


def _expected() -> str:
    return " or ".join(f"{SCHEME}{slug}" for slug in TYPES)


def _unknown(slug: str) -> str:
    package = PACKAGES.get(slug)
    hint = f", of a package that is not installed here. Run: pip install {package}"
    return f"{SCHEME}{slug}{hint if package else ''}"
