"""What the errors of obstore and botocore mean, in ours.

Their texts are never passed on: an answer to a wrong signature quotes the signed request, session
token included. What is taken out of them is the status, S3's error code and the kind of failure.
"""

import re

from prefect_freight.errors import (
    AccessError,
    ConfigError,
    FreightError,
    InputError,
    IntegrityError,
    NoSuchBucketError,
    NotFoundError,
    StorageFullError,
    TransientError,
)

STATUS = re.compile(r"non-2xx status code: (\d{3})")
CODE = re.compile(
    r"<Code>(\w+)</Code>|\(code: (\w+)\)"
)  # of an answer; of one key of a bulk delete
METADATA_SERVICES = ("//169.254.169.254/", "//169.254.170.2/", "//[fd00:ec2::254]/")  # EC2, ECS

# S3's codes (API reference, "Error responses") that a status alone would put into a wrong class.
NO_BUCKET = {"NoSuchBucket"}
DENIED = {
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}
FULL = {
    "InsufficientStorage",
    "InsufficientStorageSpace",
    "QuotaExceeded",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
PASSING = {
    "BadDigest",  # the body was damaged on its way
    "ConditionalRequestConflict",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "XAmzContentSHA256Mismatch",
}
PASSING_STATUS = {408, 409, 425, 429}
CURES = {
    "ExpiredToken": "The credentials have expired: get new ones",
    "TokenRefreshRequired": "The credentials have expired: get new ones",
    "RequestTimeTooSkewed": "Set this machine's clock",
    "InvalidAccessKeyId": "Check access_key_id and session_token",
    "InvalidToken": "Check session_token",
    "SignatureDoesNotMatch": "Check secret_access_key",
    "AccessDenied": "Check what access_key_id may do with this bucket",
}
CURE = "Check access_key_id, secret_access_key and session_token, and what they may do"


def translate_error(error: Exception, said: str, bucket: str, endpoint: str) -> FreightError:
    """Return what an error of obstore or botocore means; `said` begins the message."""
    status, code, text = _take_apart(error)
    name = type(error).__name__
    asked_machine = any(service in text for service in METADATA_SERVICES)
    if name == "NoCredentialsError" or (asked_machine and (status or 0) < 500):
        return AccessError(
            f"{said}: no credentials found in configuration, environment or machine. Set "
            "access_key_id and secret_access_key, or profile, or anonymous: true"
        )
    if status is None and not code:
        known = _without_answer(error, name, text, said, endpoint)
        if known is not None:
            return known
    if code in NO_BUCKET:
        return NoSuchBucketError(
            f"{said}: there is no bucket {bucket!r} at {endpoint}. Create it, or check "
            "endpoint_url and region"
        )
    if code in REGION or "redirect without LOCATION" in text:
        return ConfigError(f"{said}: the bucket {bucket!r} is in another region. Set region")
    answered = f"{endpoint} answered {' '.join(str(word) for word in (status, code) if word)}"
    if code in FULL or status == 507:
        return StorageFullError(f"{said}: {answered}. Make room and run the same again")
    if code in DENIED or status in (401, 403) or name.startswith(("PermissionDenied", "Unauth")):
        reason = code or "permission denied"
        return AccessError(f"{said}: {endpoint} refused it ({reason}). {CURES.get(code, CURE)}")
    if code in PASSING or status in PASSING_STATUS:
        return TransientError(f"{said}: {answered}")
    return _of_object(name, status, said, answered)


def _of_object(name: str, status: int | None, said: str, answered: str) -> FreightError:
    if status == 404 or name == "FileNotFoundError":
        return NotFoundError(f"{said}: there is no such object")
    if status == 416:
        return IntegrityError(f"{said}: the object ends before the first byte asked for")
    if status is not None and (400 <= status < 500 or status == 501):
        return InputError(f"{said}: {answered}, and would do so again")
    return TransientError(f"{said}: {answered}")


def _without_answer(
    error: Exception, name: str, text: str, said: str, endpoint: str
) -> FreightError | None:
    """Return what an error means that came before S3 had answered, or None if it had."""
    if isinstance(error, ValueError) or name == "InvalidPathError":
        return InputError(f"{said}: the client cannot carry such a key")
    if "scheme is not allowed" in text or "BadScheme" in text:
        return ConfigError(f"{said}: {endpoint} is not https://. Set allow_http: true to use it")
    if "certificate" in text.lower():
        return ConfigError(f"{said}: this machine does not trust the certificate of {endpoint}")
    if "Connect," in text or "Connect" in name:
        return TransientError(f"{said}: no answer from {endpoint}. Is endpoint_url right?")
    if "TimedOut" in text or "Timeout" in name:
        return TransientError(f"{said}: {endpoint} did not answer in time")
    if "HTTP error" in text or name.endswith(("ConnectionError", "ConnectionClosedError")):
        return TransientError(f"{said}: the connection to {endpoint} broke")
    return None


def _take_apart(error: Exception) -> tuple[int | None, str, str]:
    """Return HTTP status, S3 error code and the whole text."""
    text = str(error)
    answer = getattr(error, "response", None)  # botocore's ClientError
    if isinstance(answer, dict):
        code = str(answer.get("Error", {}).get("Code", ""))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, "" if code.isdigit() else code, text
    status_said, code_said = STATUS.search(text), CODE.search(text)
    return (
        int(status_said[1]) if status_said else None,
        next(filter(None, code_said.groups())) if code_said else "",
        text,
    )
