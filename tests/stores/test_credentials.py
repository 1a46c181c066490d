"""Credentials in paths and URLs: found in every link of a chain, however they are spelled."""

import pytest

from prefect_freight.config import MASK
from prefect_freight.errors import ConfigError
from prefect_freight.sources.kinds import open_source
from prefect_freight.stores.credentials import refuse_credentials, without_credentials
from prefect_freight.stores.urls import open_store

HIDDEN = "hush-hush-0123456789"
SECRET = [
    "ftp:///me:HIDDEN@host/x",
    "//me:HIDDEN@host/x",
    "sftp://me;pw=HIDDEN@host/x",
    "ftp://u:HIDDEN@host/x",
    "s3://HIDDEN@bucket",
    "s3a://key:HIDDEN@bucket/x",
    "gs://HIDDEN@bucket/x",
    "https://host/x?sig=HIDDEN",
    "https://host/x#HIDDEN",
    "simplecache::ftp://u:HIDDEN@host/x",
    "simplecache::ftp://u:HIDDEN@host",
    "simplecache::s3://HIDDEN@bucket/x",
    "filecache::simplecache::ftp://u:HIDDEN@host/x",
    "zip://inner/x::ftp://u:HIDDEN@host/a.zip",
    "zip://x::https://host/a.zip?token=HIDDEN",
    "zip://x::https://host/a.zip#HIDDEN",
    "ftp://u:HIDDEN@host/a.zip::simplecache",
    "https://proxy/ftp://u:HIDDEN@host/x",
    "https://proxy/ftp%3A%2F%2Fu%3AHIDDEN%40host/x",
    "https://proxy/ftp%253A%252F%252Fu%253AHIDDEN%2540host/x",
    "https://proxy/ftp%2525253A%2525252F%2525252Fu%2525253AHIDDEN%25252540host/x",
    "https://proxy/https://host/%23HIDDEN",
    "https://proxy/https%3A//host/x%3Fx%3DHIDDEN",
    "https://proxy/x?url=ftp://u:HIDDEN@host/x",
    "https://proxy/x;password=HIDDEN",
    "https://proxy/x%3Fpassword%3DHIDDEN",
    "memory://x;AccountKey=HIDDEN",
    "ftp://u%3AHIDDEN@host/x",
    "ftp://u:HIDDEN%40host/x",
    "ftp://u:/HIDDEN@host/x::memory://u:p@x",
    "ftp://u:HIDDEN/HIDDEN@host/x",
    "ftp://u:HIDDEN?HIDDEN@host/x",
    "ftp://u:HIDDEN#HIDDEN@host/x",
    "ftp://u:HIDDEN::HIDDEN@host/x",
    "ftp://u:HI@HIDDEN@host/x",
    "FTP://u:HIDDEN@host/x",
    "ftp://[::1]:21/x::ftp://u:HIDDEN@[::1]:21/x",
    "ftp:/u:HIDDEN@host/x",
    "u:HIDDEN@host/x",
    "simplecache::u:HIDDEN@host/x",
    "unknown+ftp://u:HIDDEN@host/x",
    "icechunk+s3://HIDDEN@bucket/x",
    "objects+simplecache::ftp://u:HIDDEN@host/x",
    "icechunk+zip://x::ftp://u:HIDDEN@host/x",
]
HARMLESS = [
    "/data/a:b@c/x",
    "./a:b@c/x",
    "data/a@b",
    "copy",
    "C:/data",
    "file:///data/a%3Fb%23c",
    "file:///data/a:b@c",
    "s3://bucket/prefix/a:b@c/token=3",
    "s3://bucket/a::b",
    "icechunk+s3://bucket/weather",
    "sftp://user@host/x",
    "sftp://user@host:22/x",
    "ftp://[::1]:21/x",
    "http://127.0.0.1:8333/x",
    "abfs://container@account.dfs.core.windows.net/x",
    "simplecache::s3://bucket/x",
    "zip://inner/x::s3://bucket/a.zip",
    "memory://place/x",
    "block:object-store/archive",
]


@pytest.mark.parametrize("url", SECRET)
def test_a_secret_is_refused_by_all_who_open_places(url: str) -> None:
    for check in (refuse_credentials, open_store, open_source):
        place = url.replace("HIDDEN", HIDDEN)
        if check is open_store:
            place = place.removeprefix("icechunk+").removeprefix("objects+")
        with pytest.raises(ConfigError, match="without credentials") as caught:
            check(place)
        assert HIDDEN not in f"{caught.value!r} {caught.value.__context__!r}"
    assert without_credentials(url) == MASK


@pytest.mark.parametrize("url", HARMLESS)
def test_what_is_no_secret_passes(url: str) -> None:
    refuse_credentials(url)
    assert without_credentials(url) == url
