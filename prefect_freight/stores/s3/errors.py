"""What the errors of obstore and botocore mean, in ours.

Their texts are never passed on: an answer to a wrong signature quotes the signed request, session
token included. Nor are they searched: they name what the user named. What counts is the `Cause`.
"""

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
from prefect_freight.stores.s3.cause import Cause, read_cause

METADATA_SERVICES = {"169.254.169.254", "169.254.170.2", "fd00:ec2::254"}  # of EC2 and ECS

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
KEY_CODES = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
"""Those of them that say that the credentials are no good, whatever is asked for."""
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
CONFLICT_CODES = {"ConditionalRequestConflict", "OperationAborted"}
RETRYABLE_CODES = CONFLICT_CODES | {
    "BadDigest",  # the body was damaged on its way
    "IncompleteBody",
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
    cause = read_cause(error)
    name, status, code = cause.name, cause.status, cause.code
    # A client without keys asks the machine's metadata service, which exists on EC2 and ECS only:
    # elsewhere the network error means that credentials are missing, and a retry finds none either.
    asked_machine = cause.host in METADATA_SERVICES
    if name == "NoCredentialsError" or (asked_machine and (status or 0) < 500):
        return AccessError(
            f"{failure}: no credentials found in configuration, environment or machine. Write "
            "access_key_id and secret_access_key, or profile, or anonymous: true into a YAML file "
            "and name it with --config FILE (a source's with --source-config FILE), or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if status is None and not code:
        unanswered = _without_answer(error, cause, failure, endpoint)
        if unanswered is not None:
            return unanswered
    if (wrong_place := _of_place(cause, failure, bucket, endpoint)) is not None:
        return wrong_place
    answered = f"{endpoint} answered {' '.join(str(word) for word in (status, code) if word)}"
    if code in FULL_CODES or status == 507:
        return StorageFullError(f"{failure}: {answered}. Make room and run the same again")
    # After the codes above: the status alone does not tell, since some services answer 403 for a
    # quota that is full, too.
    denied = code in DENIED_CODES or name.startswith(("PermissionDenied", "Unauth"))
    if denied or status in (401, 403):
        # What is wrong comes first: who has mistyped a key has never heard of the object that was
        # asked for.
        what = "refused the credentials for" if code in KEY_CODES else "denied access to"
        reason, cure = code or "permission denied", CURES.get(code, DEFAULT_CURE)
        return AccessError(f"{endpoint} {what} bucket {bucket!r}: {reason} ({failure}). {cure}")
    if code in RETRYABLE_CODES or status in RETRYABLE_STATUSES:
        return TransientError(f"{failure}: {answered}")
    return _of_object(name, status, failure, answered)


def _of_place(cause: Cause, failure: str, bucket: str, endpoint: str) -> FreightError | None:
    """Return what is wrong with the address, whatever was asked for there; None if nothing is."""
    if cause.code in NO_BUCKET_CODES:
        return NoSuchBucketError(
            f"there is no bucket {bucket!r} at {endpoint} ({failure}). Create it, or check "
            "endpoint_url and region"
        )
    if cause.code in OTHER_REGION_CODES or "BareRedirect" in cause.structure:
        return ConfigError(f"{failure}: the bucket {bucket!r} is in another region. Set region")
    if cause.status == 404 and not cause.code and "ListRequest" in cause.structure:
        return no_s3_service(failure, endpoint, "answered 404 to a listing")
    if "MissingEtag" in cause.structure:
        return no_s3_service(failure, endpoint, "took an object and gave it no tag")
    return None


def no_s3_service(failure: str, endpoint: str, found: str) -> ConfigError:
    """Return the error of an address at which something else than S3 answers."""
    return ConfigError(
        f"expected an S3 service at {endpoint}, found one that {found} ({failure}). Check "
        "endpoint_url"
    )


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
    error: Exception, cause: Cause, failure: str, endpoint: str
) -> FreightError | None:
    """Return what an error means that came before S3 had answered, or None if it had."""
    name, structure = cause.name, cause.structure
    if isinstance(error, ValueError) or name == "InvalidPathError":
        return InputError(f"{failure}: the client cannot carry such a key")
    if "BadScheme" in structure:
        return ConfigError(f"{failure}: {endpoint} is not https://. Set allow_http: true to use it")
    if "Certificate" in structure:
        return ConfigError(f"{failure}: this machine does not trust the certificate of {endpoint}")
    if cause.http_kind == "Connect" or "Connect" in name:
        return TransientError(f"{failure}: no answer from {endpoint}. Is endpoint_url right?")
    if cause.http_kind == "Timeout" or "TimedOut" in structure or "Timeout" in name:
        return TransientError(f"{failure}: {endpoint} did not answer in time")
    if cause.http_kind or name.endswith(("ConnectionError", "ConnectionClosedError")):
        return TransientError(f"{failure}: the connection to {endpoint} broke")
    return None
