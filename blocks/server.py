"""Which Prefect server is asked, and what is said where none answers."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.settings import get_current_settings

from prefect_freight.errors import FreightError, ServerError
from prefect_freight.stores.credentials import without_credentials

CURE = (
    "Start a server (`prefect server start`), or set PREFECT_API_URL to the address of the one "
    "that is running"
)


def temporary_server() -> str:
    """Return what is said where Prefect starts a server by itself; an empty text where it doesn't.

    It does so where no address is set, for as long as a command runs.
    """
    settings = get_current_settings()
    if settings.api.url is not None:
        return ""
    return (
        "PREFECT_API_URL is not set, so Prefect starts a temporary server for this command; what "
        f"it stores is kept in {settings.home}"
    )


@contextmanager
def asking_server() -> Iterator[None]:
    """Raise `ServerError`, with the address that was tried, where Prefect's API does not answer.

    Prefect raises a variety of errors then, with the client's under them.
    """
    settings = get_current_settings()
    if settings.api.url is None and not settings.server.ephemeral.enabled:
        raise ServerError(
            "expected the address of a Prefect server in PREFECT_API_URL, found none, and a "
            f"temporary one may not be started. {CURE}"
        )
    try:
        yield
    except FreightError:
        raise
    except Exception as error:
        found = _found(error)
        if not found:
            raise
        url = settings.api.url
        where = f"at {without_credentials(url)}" if url else "of a temporary server"
        raise ServerError(f"expected Prefect's API {where}, found {found}. {CURE}") from error


def _found(error: BaseException | None) -> str:
    """Return what the client of Prefect's API met, or an empty text if it is about anything else.

    The chain is looked through, since Prefect raises errors of its own for those of the client.
    """
    while error is not None:
        match error:
            case httpx.HTTPStatusError(response=response):
                return f"an answer with status {response.status_code}"
            case httpx.TimeoutException():
                return "no answer in time"
            case httpx.TransportError() | httpx.InvalidURL() | httpx.UnsupportedProtocol():
                return f"none ({error})"
            case _:
                error = error.__cause__ or error.__context__
    return ""
