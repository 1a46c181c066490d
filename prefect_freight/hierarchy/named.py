"""Extension points of Zarr 3, which have a name. Pure."""

from collections.abc import Mapping
from typing import Any

from prefect_freight.errors import UnsupportedNodeError


def parse_named(spec: Any) -> tuple[str, Mapping[str, Any]]:
    """Return name and configuration of a Zarr 3 extension point: `"x"` or `{"name": "x", ...}`."""
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, Mapping) and isinstance(spec.get("name"), str):
        configuration = spec.get("configuration") or {}
        if isinstance(configuration, Mapping):
            return spec["name"], configuration
    raise UnsupportedNodeError(f"{spec!r} is neither a name nor an object with a name")
