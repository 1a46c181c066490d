"""Credentials of a store and the YAML that they are read from.

The keys of Arraylake's configuration files (`endpoint_url`, `access_key_id`, `secret_access_key`)
work as they stand there.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from prefect_freight.errors import ConfigError

MASK = "**********"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REFERENCE = re.compile(r"\$\{([^}]*)\}")


class Secret:
    """A text that does not show itself: only `reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """How a store is reached, and with whose credentials: without any, the environment's."""

    endpoint_url: str | None = None
    """Address of the S3 service, such as http://127.0.0.1:8333; AWS without it."""
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    region: str | None = None
    anonymous: bool | None = None
    """Send requests unsigned."""
    profile: str | None = None
    """Name of a profile of the AWS configuration files."""
    virtual_hosted_style: bool | None = None
    """The bucket's name is part of the host's name and not of the path."""
    allow_http: bool | None = None
    """Allow an endpoint without TLS; an http:// endpoint implies it."""
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    """What fsspec takes, for other URLs than s3://."""
    storage: "StoreConfig | None" = None
    """Of a lakeFS server: how the bucket below it is reached."""
    read_through: str | None = None
    """Of a lakeFS server: which way objects are read."""

    def __post_init__(self) -> None:
        if self.endpoint_url is not None:
            _check_endpoint(self.endpoint_url)
        plain = (self.endpoint_url or "").startswith("http://")
        if plain and self.allow_http is None:
            # Frozen for all others; whoever writes http:// has said that it may be plain.
            object.__setattr__(self, "allow_http", True)
        if plain and self.allow_http is False:
            raise ConfigError(
                "expected allow_http: true or no such key beside an http:// endpoint_url, found "
                "false. Use an https:// endpoint_url, or remove allow_http"
            )
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ConfigError(
                "expected access_key_id and secret_access_key together, found one of them"
            )
        for name in ("access_key_id", "secret_access_key", "session_token", "region", "profile"):
            # The HTTP library would panic at it, later and without a name.
            value = getattr(self, name)
            text = value.reveal() if isinstance(value, Secret) else value or ""
            if any(c.isspace() or not c.isprintable() for c in text):
                raise ConfigError(
                    f"expected {name} without spaces and line ends, found some. (Was it read from "
                    "a file that ends in a line end?)"
                )
        if self.session_token is not None and self.access_key_id is None:
            raise ConfigError("expected access_key_id beside session_token, found none")
        # Of two ways one would be ignored without a word, and nobody knows which.
        ways = {
            "access_key_id": self.access_key_id is not None,
            "profile": self.profile is not None,
            "anonymous": bool(self.anonymous),
        }
        if sum(ways.values()) > 1:
            chosen = " and ".join(name for name, is_set in ways.items() if is_set)
            raise ConfigError(
                f"expected one of {', '.join(ways)}, found {chosen}. Remove all but one"
            )


SECRETS = {"secret_access_key", "session_token"}
BOOLEANS = {"anonymous", "virtual_hosted_style", "allow_http"}


def read_config(path: str | os.PathLike[str]) -> StoreConfig:
    """Return the configuration in a YAML file, `${NAME}` replaced by the environment's value.

    Raises `ConfigError`, which names the file and the key and never a value.
    """
    return parse_config(read_yaml(path), str(path))


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Return what a YAML file holds, `${NAME}` replaced by the environment's value."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            parsed = yaml.safe_load(file)
    except OSError as error:
        refusal = ConfigError(
            f"expected a YAML file at {path}, could not read it: {error.strerror}"
        )
    except UnicodeDecodeError:
        refusal = ConfigError(f"expected a YAML file at {path}, found something that is not UTF-8")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # The place alone: the parser's own message quotes the line, which may be a secret's.
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        refusal = ConfigError(f"expected YAML in {path}{where}, found something else")
    else:
        return expand_references(parsed, str(path))
    # Raised here, so that the parser's error, which quotes lines of the file, isn't its context.
    raise refusal


def expand_references(value: Any, where: str) -> Any:
    """Return the value with all `${NAME}` in its texts replaced by the environment's values."""
    match value:
        case str():
            return REFERENCE.sub(lambda match: _from_environment(match[1], where), value)
        case Mapping():
            return {key: expand_references(item, where) for key, item in value.items()}
        case list():
            return [expand_references(item, where) for item in value]
        case _:
            return value


def parse_config(settings: Any, where: str, beside: Sequence[str] = ()) -> StoreConfig:
    """Return the configuration in a mapping; `where` is named in errors.

    Keys of `beside` are the caller's: they are allowed and not looked at.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(f"expected keys and values in {where}, found {_kind(settings)}")
    keys = [*beside, *(f.name for f in fields(StoreConfig))]
    # A misspelled key that was ignored would leave the export to other credentials, those of the
    # environment.
    for key in settings:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            # `key:value` without a space is all one key, and its end may be a secret.
            name = str(key).partition(":")[0]
            raise ConfigError(f"unknown key {name!r} in {where}.{hint} Known: {', '.join(keys)}")
    own = {key: value for key, value in settings.items() if key not in beside}
    try:
        return StoreConfig(**{key: _parse(key, value, where) for key, value in own.items()})
    except ConfigError as error:
        if where in str(error):
            raise
        raise ConfigError(f"{error} (in {where})") from None


def _parse(key: str, value: Any, where: str) -> Any:
    if value is None:
        return None
    if key == "storage":
        return parse_config(value, f"{key} of {where}")
    expected = bool if key in BOOLEANS else Mapping if key == "storage_options" else str
    if not isinstance(value, expected):
        name = {bool: "true or false", str: "text"}.get(expected, "keys and values")
        # YAML reads digits as a number, and 0123 as another one: what was written is lost.
        number = isinstance(value, int | float) and not isinstance(value, bool)
        cure = ". Put it in quotes" if expected is str and number else ""
        raise ConfigError(f"expected {name} for {key!r} in {where}, found {_kind(value)}{cure}")
    return Secret(str(value)) if key in SECRETS else value


def _check_endpoint(url: str) -> None:
    """Refuse what is no endpoint; the text isn't quoted, since it may hold a password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("expected endpoint_url like https://host:port, found something else")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError("expected endpoint_url without credentials and query, found one with")


def _from_environment(name: str, where: str) -> str:
    if name not in os.environ:
        # Anything else may be part of a secret that happens to look so.
        shown = f"${{{name}}}" if NAME.fullmatch(name) else "a ${…}"
        raise ConfigError(f"{where} refers to {shown}, which the environment does not have")
    return os.environ[name]


def _kind(value: Any) -> str:
    names = {dict: "keys and values", list: "a list", bool: "true or false", str: "text"}
    names |= {int: "a number", float: "a number", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")
