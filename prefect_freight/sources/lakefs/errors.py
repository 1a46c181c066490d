"""What answers of lakeFS mean, in our errors.

Their texts are never passed on: whatever stands between us and the server may quote the request,
credentials included. What counts is the status, and for two of them how the text begins.
"""

import json

import httpx

from prefect_freight.errors import (
    AccessError,
    ConfigError,
    FreightError,
    InputError,
    IntegrityError,
    NotFoundError,
    TransientError,
)

RETRYABLE = {408, 425, 429}
PERMISSIONS = (
    "fs:ReadRepository, fs:ReadBranch, fs:ReadTag, fs:ReadCommit, fs:ListObjects, fs:ReadObject"
)


def of_answer(response: httpx.Response, failure: str, endpoint: str) -> FreightError:
    """Return what an answer means that is no success, and whose body was read."""
    try:
        message = str(json.loads(response.content)["message"])
    except (ValueError, LookupError, TypeError):
        message = ""
    return _of_status(response.status_code, message, failure, endpoint)


def _of_status(status: int, message: str, failure: str, endpoint: str) -> FreightError:
    answered = f"{failure}: {endpoint} answered {status}"
    match status:
        case 401 if message.startswith("insufficient permissions"):
            return AccessError(
                f"{failure}: access_key_id may not do it. An export needs {PERMISSIONS}"
            )
        case 401:
            return AccessError(
                f"{failure}: {endpoint} does not know these credentials. Check access_key_id and "
                "secret_access_key"
            )
        case 403:
            return AccessError(f"{failure}: {endpoint} refused it. Check what access_key_id may do")
        case 404:
            return NotFoundError(f"{failure}: there is no such thing")
        case 410:
            return NotFoundError(
                f"{failure}: lakeFS knows it, but its data is gone. Restore it, or export a commit "
                "that has it no more"
            )
        case 416:
            return IntegrityError(f"{failure}: the object ends before the first byte asked for")
    if 300 <= status < 400:
        return ConfigError(f"{answered}, which leads elsewhere. Set endpoint_url to where it leads")
    if status in RETRYABLE or (status >= 500 and status != 501):
        return TransientError(answered)
    return InputError(f"{answered}, and would do so again")


def of_client(error: Exception, failure: str, endpoint: str) -> FreightError:
    """Return what an error means that came without an answer, or in the middle of one."""
    # By its class, never by its text, which names what was asked for.
    match error:
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | UnicodeError():
            return InputError(f"{failure}: the client cannot ask for it")
        case httpx.ConnectError() if _is_certificate(error):
            return ConfigError(
                f"{failure}: this machine does not trust the certificate of {endpoint}"
            )
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return TransientError(f"{failure}: no answer from {endpoint}. Is endpoint_url right?")
        case httpx.TimeoutException():
            return TransientError(f"{failure}: {endpoint} did not answer in time")
    return TransientError(f"{failure}: the connection to {endpoint} broke")


def _is_certificate(error: BaseException | None) -> bool:
    import ssl

    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
