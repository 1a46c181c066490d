"""Connections to a lakeFS server, and to the stores that its presigned URLs lead to.

No credentials come into a log: httpx logs the URL of each request that a client makes, and a
presigned URL is a credential. So those are asked for through a transport of their own, which logs
nothing, follows nothing, and has no credentials of lakeFS that it could pass on.
"""

import importlib.metadata
import ssl
import threading
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit

import httpx

from prefect_freight.config import StoreConfig
from prefect_freight.sources.lakefs.errors import of_client

CONNECT_S, IDLE_S = 10.0, 60.0
KEPT_CONNECTIONS = 64
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS)
TIMEOUT = httpx.Timeout(IDLE_S, connect=CONNECT_S)


class Connection:
    """A pool of connections. The first request opens it, also after it was closed."""

    def __init__(self, config: StoreConfig) -> None:
        self._config, self._opening = config, threading.Lock()
        self._client: httpx.Client | None = None
        self._transports: dict[str | None, httpx.HTTPTransport] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return Connection, (self._config,)

    def __repr__(self) -> str:
        return f"Connection({self.endpoint!r})"

    @property
    def endpoint(self) -> str:
        """Where the server is."""
        return self._config.endpoint_url or ""

    def close(self) -> None:
        """Close all connections."""
        with self._opening:
            client, self._client = self._client, None
            transports, self._transports = self._transports, {}
        for one in (client, *transports.values()):
            if one is not None:
                one.close()

    @contextmanager
    def get(
        self, path: str, parameters: Mapping[str, str], headers: Mapping[str, str], failure: str
    ) -> Iterator[httpx.Response]:
        """Give the answer to a GET of the server, whatever its status; its body may be streamed."""
        client = self._open()

        def ask() -> httpx.Response:
            request = client.build_request("GET", path, params=parameters, headers=headers)
            return client.send(request, stream=True)

        response = translating(ask, failure, self.endpoint)
        try:
            yield response
        finally:
            response.close()

    @contextmanager
    def get_presigned(
        self, url: str, headers: Mapping[str, str], failure: str
    ) -> Iterator[httpx.Response]:
        """Give the answer to a GET of a presigned URL."""
        host = urlsplit(url).netloc.rpartition("@")[2]
        plain = {"Host": host, "User-Agent": _user_agent(), "Accept": "*/*", **headers}
        extensions = {"timeout": TIMEOUT.as_dict()}

        def ask() -> httpx.Response:
            request = httpx.Request("GET", url, headers=plain, extensions=extensions)
            return self._transport(url).handle_request(request)

        response = translating(ask, failure, host)
        try:
            yield response
        finally:
            response.close()

    def _open(self) -> httpx.Client:
        with self._opening:
            if self._client is None:
                config = self._config
                secret = config.secret_access_key.reveal() if config.secret_access_key else ""
                self._client = httpx.Client(
                    base_url=self.endpoint,
                    auth=httpx.BasicAuth(config.access_key_id or "", secret),
                    headers={"User-Agent": _user_agent(), "X-Lakefs-Client": _user_agent()},
                    verify=_trusted(),
                    limits=LIMITS,
                    timeout=TIMEOUT,
                    follow_redirects=False,
                )
                weakref.finalize(self, self._client.close)
            return self._client

    def _transport(self, url: str) -> httpx.HTTPTransport:
        proxy = _proxy_of(url)
        with self._opening:
            if proxy not in self._transports:
                transport = httpx.HTTPTransport(verify=_trusted(), limits=LIMITS, proxy=proxy)
                weakref.finalize(self, transport.close)
                self._transports[proxy] = transport
            return self._transports[proxy]


@cache
def _trusted() -> ssl.SSLContext:
    """Return whom this machine trusts; reading it anew takes longer than a request."""
    return httpx.create_ssl_context()


def _proxy_of(url: str) -> str | None:
    """Return the proxy that the environment has for a URL, as a client finds it by itself."""
    parts, proxies = urlsplit(url), urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def translating[T](call: Callable[[], T], failure: str, endpoint: str) -> T:
    """Return what a call of the client's returns; its errors become ours."""
    try:
        return call()
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError) as error:
        meant = of_client(error, failure, endpoint)
    # Raised out here, so that the library's error, which holds the request, isn't its context. (A
    # context manager could not: what it raises has what it was left by for a context.)
    raise meant


def _user_agent() -> str:
    return f"prefect-freight/{importlib.metadata.version('prefect-freight')}"
