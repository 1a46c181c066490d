"""Where a lakeFS server is and who we are there: as given, or as lakeFS's own tools are told.

The order is that of `lakectl`: what was given (a block, YAML), the environment's variables, the
file. The two keys are taken together from one of these, never one from here and one from there.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from prefect_freight.config import Secret, StoreConfig, read_yaml
from prefect_freight.errors import ConfigError

ENDPOINT = "LAKECTL_SERVER_ENDPOINT_URL"
ACCESS_KEY_ID = "LAKECTL_CREDENTIALS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"  # noqa: S105 - a variable's name
CONFIG_FILE = "LAKECTL_CONFIG_FILE"
DEFAULT_FILE = "~/.lakectl.yaml"
API_PATH = "/api/v1"
USED = {
    *("endpoint_url", "access_key_id", "secret_access_key", "allow_http"),
    *("storage", "read_through"),
}

WHERE = (
    f"endpoint_url, access_key_id and secret_access_key in the configuration or the block, "
    f"{ENDPOINT}, {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} in the environment, or {DEFAULT_FILE}"
)


def find_lakefs(
    given: StoreConfig | None = None, environment: Mapping[str, str] = os.environ
) -> StoreConfig:
    """Return the address of the server's root and both keys: its gateway is reached by them too.

    Raises `ConfigError`, which names what is missing and never a value.
    """
    given = given or StoreConfig()
    _refuse_ignored(given)
    found = [given, _of_environment(environment)]
    if not _has_all(*found):
        found.append(_of_file(environment))
    endpoint = next((one.endpoint_url for one in found if one.endpoint_url), None)
    keys = next((one for one in found if one.access_key_id), None)
    if endpoint is None or keys is None:
        missing = "the address of a lakeFS server" if endpoint is None else "its access keys"
        raise ConfigError(f"expected {missing}, found none. Set {WHERE}")
    return StoreConfig(
        endpoint_url=_root(endpoint),
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
    )


def _has_all(*places: StoreConfig) -> bool:
    return any(one.endpoint_url for one in places) and any(one.access_key_id for one in places)


def _refuse_ignored(given: StoreConfig) -> None:
    for field in fields(StoreConfig):
        if field.name not in USED and getattr(given, field.name) not in (None, False):
            raise ConfigError(
                f"{field.name} would do nothing for lakeFS: remove it. A server is reached by "
                "endpoint_url, access_key_id and secret_access_key"
            )


def _of_environment(environment: Mapping[str, str]) -> StoreConfig:
    names = (ENDPOINT, ACCESS_KEY_ID, SECRET_ACCESS_KEY)
    return _config([environment.get(name) for name in names], "the environment (LAKECTL_…)")


def _of_file(environment: Mapping[str, str]) -> StoreConfig:
    told = environment.get(CONFIG_FILE)
    path = os.path.expanduser(told or DEFAULT_FILE)
    if not told and not os.path.exists(path):
        return StoreConfig()
    settings = read_yaml(path)
    server, credentials = (_part(settings, name) for name in ("server", "credentials"))
    keys = [credentials.get(name) for name in ("access_key_id", "secret_access_key")]
    return _config([server.get("endpoint_url"), *keys], path)


def _part(settings: Any, name: str) -> Mapping[str, Any]:
    # The file holds much more, and is its own tool's: what we don't know is none of our business.
    part = settings.get(name) if isinstance(settings, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _config(values: Sequence[Any], where: str) -> StoreConfig:
    endpoint, key, secret = (str(value) if value else None for value in values)
    try:
        return StoreConfig(
            endpoint_url=endpoint,
            access_key_id=key,
            secret_access_key=Secret(secret) if secret else None,
        )
    except ConfigError as error:
        raise ConfigError(f"{error} (in {where})") from None


def _root(endpoint: str) -> str:
    """Return the address without the path of the REST interface, which some have with it.

    >>> _root("http://127.0.0.1:8000/api/v1/")
    'http://127.0.0.1:8000'
    """
    return endpoint.rstrip("/").removesuffix(API_PATH).rstrip("/")
