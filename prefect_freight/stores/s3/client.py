"""Clients of S3, and the keys that they sign with."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import ConfigError

if TYPE_CHECKING:
    import obstore.store

CONNECT_S, IDLE_S = 10, 60
LARGE_PUT_S = 600
BODY_BYTES_PER_S = 2**12


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a request may take, in seconds: a client has the same ones for all of its own.

    obstore counts the time without an answer from the request's first byte, so that a body on its
    way to the server is idle time.
    """

    idle_s: float
    """Without an answer, and between two pieces of its body."""
    total_s: float
    """All of it: an answer that comes byte by byte is never idle, and would never end."""

    @classmethod
    def of_small(cls, idle_s: float) -> "Limits":
        """Return those of a request that neither takes nor brings much."""
        return cls(idle_s, 2 * idle_s)

    @classmethod
    def of_large_put(cls) -> "Limits":
        """Return those of a put whose body is so large that it alone takes its time."""
        return cls(LARGE_PUT_S, LARGE_PUT_S)

    @classmethod
    def of_body(cls, idle_s: float, size: int) -> "Limits":
        """Return those of an answer whose reader looks at how fast it comes; a size of 0 is any.

        Nobody looks at the body of a refusal, which may drip, too.
        """
        steps = (size // BODY_BYTES_PER_S // int(10 * idle_s)).bit_length()  # few clients in all
        return cls(idle_s, 10 * idle_s * 2**steps)


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


def s3_credentials(config: StoreConfig) -> Credentials | None:
    """Return the keys of the configuration, or None where the environment's are to be used."""
    if config.anonymous:
        return None
    if config.access_key_id and config.secret_access_key:
        return Credentials(config.access_key_id, config.secret_access_key, config.session_token)
    return _profile_credentials(config.profile) if config.profile else None


def _profile_credentials(profile: str) -> Credentials:
    import botocore.exceptions
    import botocore.session

    try:
        credentials: Any = botocore.session.Session(profile=profile).get_credentials()
    except botocore.exceptions.BotoCoreError:
        credentials = None
    if credentials is None:
        raise ConfigError(
            f"expected credentials for the profile {profile!r} in the AWS configuration, found none"
        )
    frozen = credentials.get_frozen_credentials()
    token = Secret(frozen.token) if frozen.token else None
    return Credentials(frozen.access_key, Secret(frozen.secret_key), token)


def _region(config: StoreConfig) -> str | None:
    """Return the region, or None to leave it to the client."""
    if config.region is None and config.profile is not None:
        import botocore.session

        session = botocore.session.Session(profile=config.profile)
        region: str | None = session.get_config_variable("region")
        if region:
            return region
    # A service that is not AWS mostly has no regions, but a signature needs one.
    return config.region or ("us-east-1" if config.endpoint_url else None)


class _Provider:
    """Gives obstore the configured keys, so that it mixes none of the environment's in.

    Beside keys that are plain arguments it would take a session token from the environment, which
    belongs to other keys; every request would be refused.
    """

    def __init__(self, config: StoreConfig) -> None:
        self._config = config

    def __call__(self) -> dict[str, Any]:
        keys = s3_credentials(self._config)
        if keys is None:
            raise ConfigError("expected credentials in the configuration, found none")
        # A profile's keys may be temporary, and an export takes hours: obstore asks again after
        # this, and botocore has renewed them by then.
        expires_at = datetime.now(UTC) + timedelta(minutes=10) if self._config.profile else None
        return {
            "access_key_id": keys.access_key_id,
            "secret_access_key": keys.secret_access_key,
            "token": keys.session_token,
            "expires_at": expires_at,
        }


def open_obstore(
    bucket: str,
    prefix: str,
    config: StoreConfig,
    limits: Limits,
    checksum: str | None = None,
) -> "obstore.store.S3Store":
    """Return obstore's client, which gives a request up that takes longer than its limits."""
    import obstore.store

    ours = s3_credentials(config) is not None
    options: dict[str, Any] = {
        "endpoint": config.endpoint_url,
        "region": _region(config),
        "virtual_hosted_style_request": config.virtual_hosted_style,
        "skip_signature": True if config.anonymous else False if ours else None,
        "credential_provider": _Provider(config) if ours else None,
        "checksum_algorithm": checksum,
    }
    return obstore.store.S3Store(
        bucket,
        prefix=prefix or None,
        client_options={
            "allow_http": bool(config.allow_http),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "read_timeout": timedelta(seconds=limits.idle_s),
            "timeout": timedelta(seconds=limits.total_s),
            # As many as may move at a time, or connections would be opened again and again.
            "pool_max_idle_per_host": "256",
        },
        # Nothing is retried below us: attempts of two layers would multiply, and a fault that is
        # not one of ours to retry would be sent again all the same.
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=limits.total_s)},
        **{name: value for name, value in options.items() if value is not None},
    )


def open_botocore(config: StoreConfig) -> Any:
    """Return botocore's client, which carries any key and is ten times slower."""
    import botocore
    import botocore.config
    import botocore.session

    keys = s3_credentials(config)
    style = "virtual" if config.virtual_hosted_style else "path"
    unsigned = {"signature_version": botocore.UNSIGNED} if config.anonymous else {}
    return botocore.session.Session(profile=config.profile).create_client(
        "s3",
        region_name=_region(config),
        endpoint_url=config.endpoint_url,
        aws_access_key_id=keys.access_key_id if keys else None,
        aws_secret_access_key=keys.secret_access_key if keys else None,
        aws_session_token=keys.session_token if keys else None,
        config=botocore.config.Config(
            s3={"addressing_style": style},
            connect_timeout=CONNECT_S,
            read_timeout=IDLE_S,
            retries={"total_max_attempts": 1},
            **unsigned,
        ),
    )
