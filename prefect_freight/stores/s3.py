"""S3 and what speaks its protocol, by obstore's synchronous calls.

obstore retries nothing here but listings, which only it can take up again where they broke.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    FreightError,
    IntegrityError,
    InputError,
    NoSuchBucketError,
    NotFoundError,
    TransientError,
)
from prefect_freight.stores import LISTING_SCHEMA

if TYPE_CHECKING:
    import obstore.store

KEYS_PER_PAGE = 5_000
SINGLE_PUT_BYTES = 64 * 2**20
PART_BYTES = 32 * 2**20
CONNECT_S, IDLE_S, REQUEST_S = 10, 30, 600
EXPIRED = ("ExpiredToken", "RequestExpired", "TokenRefreshRequired")
DENIED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "403",
    "401",
    *EXPIRED,
)
CODE = re.compile(r"<Code>(\w+)</Code>|\b(\w+)</Code>")


class S3Store:
    """Objects of a bucket under a prefix."""

    def __init__(self, bucket: str, prefix: str, config: StoreConfig) -> None:
        self._bucket, self._prefix, self._config = bucket, prefix, config
        self._opened: dict[int, obstore.store.S3Store] = {}

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return S3Store, (self._bucket, self._prefix, self._config)

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Get an object, or a range of it in one request."""
        import obstore

        if length == 0:
            return b""
        try:
            if length is None:
                data = obstore.get(self._open(), key).bytes()
                return bytes(data[offset:] if offset else data)
            data = obstore.get_range(self._open(), key, start=offset, length=length)
        except Exception as error:  # noqa: BLE001 - translated
            self._raise("read", key, error)
        if len(data) != length:
            raise IntegrityError(
                f"expected {length} bytes from {offset} of {key!r} in {self.url}, found {len(data)}"
            )
        return bytes(data)

    def write(self, key: str, data: bytes) -> None:
        """Put an object: in one request, or in parts if it is large."""
        import obstore

        large = len(data) > SINGLE_PUT_BYTES
        try:
            obstore.put(self._open(), key, data, use_multipart=large, chunk_size=PART_BYTES)
        except Exception as error:  # noqa: BLE001 - translated
            self._raise("write", key, error)

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one (If-None-Match: *)."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            obstore.put(self._open(), key, data, mode="create")
        except AlreadyExistsError:
            return False
        except Exception as error:  # noqa: BLE001 - translated
            self._raise("write", key, error)
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, up to 1,000 in a request."""
        import obstore

        named = list(keys)
        try:
            obstore.delete(self._open(), named)
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001 - translated
            self._raise("delete", named[0], error)

    def list(self, prefix: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the objects below a prefix, in the order of their keys."""
        import obstore

        stream = obstore.list(self._open(retries=8), prefix or None, chunk_size=KEYS_PER_PAGE)
        while True:
            try:
                page = next(stream, None)
            except Exception as error:  # noqa: BLE001 - translated
                self._raise("list", prefix, error)
            if page is None:
                return
            rows = {
                "key": [found["path"] for found in page],
                "size": [found["size"] for found in page],
                "etag": [found["e_tag"] for found in page],
            }
            yield pa.RecordBatch.from_pydict(rows, LISTING_SCHEMA)

    def _open(self, retries: int = 0) -> "obstore.store.S3Store":
        if retries not in self._opened:
            self._opened[retries] = _open(self._bucket, self._prefix, self._config, retries)
        return self._opened[retries]

    def _raise(self, verb: str, key: str, error: Exception) -> NoReturn:
        # obstore's text may quote signed URLs and answers: what is needed of it is taken out.
        raise self._error(verb, key, error) from None

    def _error(self, verb: str, key: str, error: Exception) -> FreightError:
        text = str(error)
        code = next((c for match in CODE.findall(text) for c in match if c), "")
        said = f"could not {verb} {key!r} in {self.url}"
        found = set(re.findall(r"\w+", text))
        name = type(error).__name__
        endpoint = self._config.endpoint_url or "AWS"
        if "NoSuchBucket" in found:
            return NoSuchBucketError(
                f"{said}: there is no bucket {self._bucket!r} at {endpoint}. Create it, or check "
                "endpoint_url and region"
            )
        if name in ("PermissionDeniedError", "UnauthenticatedError") or found & set(DENIED[:4]):
            return AccessError(
                f"{said}: {endpoint} refused it ({code or 'permission denied'}). Check "
                "access_key_id, secret_access_key, session_token and region, and what the key may do"
            )
        if isinstance(error, FileNotFoundError) or name == "NotFoundError":
            return NotFoundError(f"{said}: there is no such object")
        if name == "InvalidPathError" or isinstance(error, ValueError):
            return InputError(f"{said}: the client cannot carry such a key")
        if "Connect" in found or "dns" in found:
            return TransientError(
                f"{said}: no connection to {endpoint}. Is endpoint_url right, and the service up?"
            )
        return TransientError(f"{said}: {code or _reason(text)}")


def s3_credentials(config: StoreConfig) -> "Credentials | None":
    """Return the keys that the configuration says, or None to leave it to the environment."""
    if config.anonymous:
        return None
    if config.access_key_id and config.secret_access_key:
        return Credentials(config.access_key_id, config.secret_access_key, config.session_token)
    return _profile_credentials(config.profile) if config.profile else None


class Credentials:
    """Keys of S3, revealed for the client that signs with them."""

    def __init__(self, key: str, secret: Secret, token: Secret | None) -> None:
        self.access_key_id = key
        self._secret, self._token = secret, token

    @property
    def secret_access_key(self) -> str:
        """The secret, for a client."""
        return self._secret.reveal()

    @property
    def session_token(self) -> str | None:
        """The session's token, for a client."""
        return self._token.reveal() if self._token else None


def _profile_credentials(profile: str) -> Credentials:
    import botocore.exceptions
    import botocore.session

    try:
        found: Any = botocore.session.Session(profile=profile).get_credentials()
    except botocore.exceptions.ProfileNotFound:
        found = None
    if found is None:
        raise ConfigError(
            f"expected credentials for the profile {profile!r} in the AWS configuration, found none"
        )
    frozen = found.get_frozen_credentials()
    token = Secret(frozen.token) if frozen.token else None
    return Credentials(frozen.access_key, Secret(frozen.secret_key), token)


def _open(bucket: str, prefix: str, config: StoreConfig, retries: int) -> "obstore.store.S3Store":
    import obstore.store

    keys = s3_credentials(config)
    options: dict[str, Any] = {
        "endpoint": config.endpoint_url,
        "region": config.region or ("us-east-1" if config.endpoint_url else None),
        "virtual_hosted_style_request": config.virtual_hosted_style,
        "skip_signature": config.anonymous,
    }
    if keys:
        options |= {
            "access_key_id": keys.access_key_id,
            "secret_access_key": keys.secret_access_key,
            "session_token": keys.session_token,
        }
    return obstore.store.S3Store(
        bucket,
        prefix=prefix or None,
        client_options={
            "allow_http": bool(config.allow_http),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "read_timeout": timedelta(seconds=IDLE_S),
            "timeout": timedelta(seconds=REQUEST_S),
            "pool_max_idle_per_host": "256",
        },
        retry_config={"max_retries": retries, "retry_timeout": timedelta(minutes=3)},
        **{name: value for name, value in options.items() if value is not None},
    )


def _reason(text: str) -> str:
    status = re.search(r"status (?:code:? )?\"?(\d{3})", text)
    if status:
        return f"the server answered {status[1]}"
    return "the connection broke" if "error sending" in text or "body" in text else "it failed"
