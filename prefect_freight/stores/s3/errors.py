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
NO_BUCKET_CODES = {"NoSuchBucket"}
DENIED_CODES = {
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
OTHER_REGION_CODES = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}
FULL_CODES = {
    "InsufficientStorage",
    "InsufficientStorageSpace",
    "QuotaExceeded",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
RETRYABLE_CODES = {
    "BadDigest",  # the body was damaged on its way
    "ConditionalRequestConflict",
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "XAmzContentSHA256Mismatch",
}
RETRYABLE_STATUSES = {408, 409, 425, 429}
CURES = {
    "ExpiredToken": "The credentials have expired: get new ones",
    "TokenRefreshRequired": "The credentials have expired: get new ones",
    "RequestTimeTooSkewed": "Set this machine's clock",
    "InvalidAccessKeyId": "Check access_key_id and session_token",
    "InvalidToken": "Check session_token",
    "SignatureDoesNotMatch": "Check secret_access_key",
    "AccessDenied": "Check what access_key_id may do with this bucket",
}
DEFAULT_CURE = "Check access_key_id, secret_access_key and session_token, and what they may do"


def translate_error(error: Exception, failure: str, bucket: str, endpoint: str) -> FreightError:
    """Return what an error of obstore or botocore means; `failure` begins the message."""
    status, code, text = _take_apart(error)
    name = type(error).__name__
    # A client without keys asks the machine's metadata service, which exists on EC2 and ECS only:
    # elsewhere the network error means that credentials are missing, and a retry finds none either.
    asked_machine = any(service in text for service in METADATA_SERVICES)
    if name == "NoCredentialsError" or (asked_machine and (status or 0) < 500):
        return AccessError(
            f"{failure}: no credentials found in configuration, environment or machine. Set "
            "access_key_id and secret_access_key, or profile, or anonymous: true"
        )
    if status is None and not code:
        unanswered = _without_answer(error, name, text, failure, endpoint)
        if unanswered is not None:
            return unanswered
    if code in NO_BUCKET_CODES:
        return NoSuchBucketError(
            f"{failure}: there is no bucket {bucket!r} at {endpoint}. Create it, or check "
            "endpoint_url and region"
        )
    if code in OTHER_REGION_CODES or "redirect without LOCATION" in text:
        return ConfigError(f"{failure}: the bucket {bucket!r} is in another region. Set region")
    answered = f"{endpoint} answered {' '.join(str(word) for word in (status, code) if word)}"
    if code in FULL_CODES or status == 507:
        return StorageFullError(f"{failure}: {answered}. Make room and run the same again")
    # After the codes above: the status alone does not tell, since some services answer 403 for a
    # quota that is full, too.
    denied = code in DENIED_CODES or name.startswith(("PermissionDenied", "Unauth"))
    if denied or status in (401, 403):
        reason, cure = code or "permission denied", CURES.get(code, DEFAULT_CURE)
        return AccessError(f"{failure}: {endpoint} refused it ({reason}). {cure}")
    if code in RETRYABLE_CODES or status in RETRYABLE_STATUSES:
        return TransientError(f"{failure}: {answered}")
    return _of_object(name, status, failure, answered)


def _of_object(name: str, status: int | None, failure: str, answered: str) -> FreightError:
    if status == 404 or name == "FileNotFoundError":
        return NotFoundError(f"{failure}: there is no such object")
    if status == 416:
        return IntegrityError(f"{failure}: the object ends before the first byte asked for")
    if status is not None and (400 <= status < 500 or status == 501):
        return InputError(f"{failure}: {answered}, and would do so again")
    # 5xx, and whatever nobody has met yet: a retry too many costs seconds, one too few the export.
    return TransientError(f"{failure}: {answered}")


def _without_answer(
    error: Exception, name: str, text: str, failure: str, endpoint: str
) -> FreightError | None:
    """Return what an error means that came before S3 had answered, or None if it had."""
    if isinstance(error, ValueError) or name == "InvalidPathError":
        return InputError(f"{failure}: the client cannot carry such a key")
    if "scheme is not allowed" in text or "BadScheme" in text:
        return ConfigError(f"{failure}: {endpoint} is not https://. Set allow_http: true to use it")
    if "certificate" in text.lower():
        return ConfigError(f"{failure}: this machine does not trust the certificate of {endpoint}")
    if "Connect," in text or "Connect" in name:
        return TransientError(f"{failure}: no answer from {endpoint}. Is endpoint_url right?")
    if "TimedOut" in text or "Timeout" in name:
        return TransientError(f"{failure}: {endpoint} did not answer in time")
    if "HTTP error" in text or name.endswith(("ConnectionError", "ConnectionClosedError")):
        return TransientError(f"{failure}: the connection to {endpoint} broke")
    return None


def _take_apart(error: Exception) -> tuple[int | None, str, str]:
    """Return HTTP status, S3 error code and the whole text."""
    text = str(error)
    answer = getattr(error, "response", None)  # botocore's ClientError
    if isinstance(answer, dict):
        code = str(answer.get("Error", {}).get("Code", ""))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, "" if code.isdigit() else code, text
    status_match, code_match = STATUS.search(text), CODE.search(text)
    return (
        int(status_match[1]) if status_match else None,
        next(filter(None, code_match.groups())) if code_match else "",
        text,
    )
