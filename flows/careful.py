"""A flow that lets no credentials into Prefect's hands.

Prefect stores the parameters of a flow run before the flow's first line runs, and where one of them
is wrong it logs them all. What a form or a deployment gives has been stored by then: the schema of
the parameters refuses the plain cases at the server, and what is left is refused unquoted.
"""

import logging
from pathlib import PurePath
from typing import Any, cast

from prefect import Flow
from prefect.flows import logger

from prefect_freight.errors import ConfigError
from prefect_freight.stores.credentials import refuse_credentials

PLACES = ("source", "destination")
"""Parameters that are a path, a URL or a block."""


class CarefulFlow[**P, R](Flow[P, R]):
    """A flow whose places are looked at before Prefect hears of them."""

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return what Prefect stores; raises `ConfigError` if a place holds credentials."""
        for name in PLACES:
            match parameters.get(name):
                case str() | PurePath() as place:
                    refuse_credentials(str(place))
                case dict() as fields if "$ref" not in fields:
                    # Prefect would store them as they are, a key in the open among them.
                    raise ConfigError(
                        f"expected a path, a URL, a block or a reference to one as {name}, found "
                        f"keys and values. Make a block of them, such as ObjectStore(url=…)"
                    )
        # Prefect calls this before it creates the run, which nothing else of ours precedes.
        return super().serialize_parameters(parameters)

    def with_options(self, **options: Any) -> "CarefulFlow[P, R]":
        """Return this flow with other options, as careful as before."""
        changed = super().with_options(**options)
        changed.__class__ = CarefulFlow  # Prefect makes a plain one, whatever it was
        return cast("CarefulFlow[P, R]", changed)


def careful[**P, R](flow: Flow[P, R]) -> CarefulFlow[P, R]:
    """Return a flow as a careful one."""
    flow.__class__ = CarefulFlow
    logger.addFilter(_Unquoted(flow.name))
    return cast("CarefulFlow[P, R]", flow)


def refuse_stored_credentials(*places: object) -> None:
    """Return if no place holds credentials; the error says what to do, since Prefect has them."""
    for place in places:
        try:
            if isinstance(place, str):
                refuse_credentials(place)
        except ConfigError as error:
            raise ConfigError(
                f"{error}. Prefect has stored them as a parameter of this run: delete the run, and "
                "change the password or key"
            ) from None


class _Unquoted(logging.Filter):
    """Takes the parameters out of what Prefect logs where one of them is wrong."""

    def __init__(self, flow_name: str) -> None:
        super().__init__()
        self._begins = f"Parameter validation failed for flow {flow_name!r}"

    def filter(self, record: logging.LogRecord) -> bool:
        if record.getMessage().startswith(self._begins):
            record.msg, record.args = self._begins, ()
        return True
