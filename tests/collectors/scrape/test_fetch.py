"""Asking servers: what is sent, and what is not taken."""

import asyncio
import gzip
import logging
import os
import ssl
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collectors.room import NoRoom, Room
from collectors.scrape.access import Access
from collectors.scrape.fetch import Fetched, Fetcher, FetchFailed
from tests.collectors.scrape.certificates import certificate
from tests.collectors.scrape.exposer import (
    Exposer,
    answer,
    endless,
    exposing,
    redirect,
    silence,
)

pytestmark = pytest.mark.anyio

LIMIT = 1 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> AsyncIterator[Exposer]:
    async with exposing() as exposer:
        yield exposer


async def get(url: str, *, limit: int = LIMIT, room: int = 1 << 24, **access: object) -> Fetched:
    fetcher = Fetcher(Access.model_validate(access), max_body_bytes=limit, connections=2)
    try:
        with Room(room, retry_after=1).claim() as claim:
            return await fetcher.get(url, {"accept": "text/plain"}, claim, seconds=2)
    finally:
        await fetcher.close()


async def fails(url: str, **how: object) -> FetchFailed:
    with pytest.raises(FetchFailed) as failed:
        await get(url, **how)  # type: ignore[arg-type]
    return failed.value


async def test_a_body_comes_as_it_was_sent(server: Exposer) -> None:
    server.exposes(b"a 1\n")
    got = await get(f"{server.url}/metrics?x=1")
    assert got == Fetched(b"a 1\n", "text/plain; version=0.0.4")
    assert server.asked[0].path == "/metrics?x=1"
    assert server.asked[0].headers["accept"] == "text/plain"
    assert server.asked[0].headers["accept-encoding"] == "gzip"
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_packed_body_is_unpacked(server: Exposer, name: str, pack: object) -> None:
    server.exposes(pack(b"a 1\n" * 1000), content_encoding=name)  # type: ignore[operator]
    assert (await get(f"{server.url}/metrics")).body == b"a 1\n" * 1000


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_over_the_limit_is_not_taken(server: Exposer, packed: bool) -> None:
    body = b"a 1\n" * 400_000
    if packed:
        server.exposes(gzip.compress(body), content_encoding="gzip")
    else:
        server.exposes(body)
    failed = await fails(f"{server.url}/metrics")
    assert (failed.reason, failed.answered) == ("too large", True)
    assert str(LIMIT) in str(failed)


async def test_a_body_without_end_is_given_up(server: Exposer) -> None:
    server.answers["/metrics"] = endless
    assert (await fails(f"{server.url}/metrics")).reason == "too large"


async def test_a_broken_gzip_stream_is_malformed(server: Exposer) -> None:
    server.exposes(gzip.compress(b"a 1\n" * 1000)[:-10], content_encoding="gzip")
    failed = await fails(f"{server.url}/metrics")
    assert failed.reason.startswith("malformed: gzip")
    assert failed.answered


async def test_an_encoding_that_was_not_asked_for_is_not_taken(server: Exposer) -> None:
    server.exposes(b"?", content_encoding="br")
    assert (await fails(f"{server.url}/metrics")).reason == "content encoding"


async def test_a_server_that_says_nothing_is_given_up_in_time(server: Exposer) -> None:
    server.answers["/metrics"] = silence
    failed = await fails(f"{server.url}/metrics")
    assert (failed.reason, failed.answered) == ("timeout", False)


@pytest.mark.parametrize("status", [204, 403, 404, 500, 503])
async def test_any_other_status_is_a_failure_that_tells_it(server: Exposer, status: int) -> None:
    server.answers["/metrics"] = answer(b"", status=status)
    failed = await fails(f"{server.url}/metrics")
    assert (failed.reason, failed.status, failed.answered) == (f"status {status}", status, False)


async def test_nobody_there_is_a_failure_of_the_connection(server: Exposer) -> None:
    assert (await fails("http://127.0.0.1:1/metrics")).reason == "connection"
    assert (await fails("http://no-such-host.invalid/metrics")).reason == "connection"


async def test_what_is_no_http_is_a_broken_connection(server: Exposer) -> None:
    async def garbage(_: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01\x02 hello\r\n\r\n")

    server.answers["/metrics"] = garbage
    assert (await fails(f"{server.url}/metrics")).reason == "connection broken"


async def test_a_body_that_ends_too_early_is_a_broken_connection(server: Exposer) -> None:
    server.exposes(b"a 1\n", content_length="100")
    assert (await fails(f"{server.url}/metrics")).reason == "connection broken"


async def test_redirects_are_followed_and_bounded(server: Exposer) -> None:
    server.exposes(b"a 1\n", "/there")
    server.answers["/metrics"] = redirect("/there", 301)
    server.answers["/round"] = redirect("/round")
    assert (await get(f"{server.url}/metrics")).body == b"a 1\n"
    server.asked.clear()
    assert (await fails(f"{server.url}/round")).reason == "redirect"
    assert len(server.asked) == 6
    failed = await fails(f"{server.url}/metrics", follow_redirects=False)
    assert failed.reason == "status 301"


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/"])
async def test_a_redirect_leads_to_http_only(server: Exposer, to: str) -> None:
    server.answers["/metrics"] = redirect(to)
    failed = await fails(f"{server.url}/metrics")
    assert failed.reason == "redirect"
    assert "not HTTP" in str(failed)


async def test_credentials_come_from_files_that_are_read_anew(
    server: Exposer, tmp_path: Path
) -> None:
    server.exposes(b"a 1\n")
    token = tmp_path / "token"
    fetcher = Fetcher(Access(bearer_token_file=token), max_body_bytes=LIMIT, connections=1)
    for secret in ("one", "two"):
        token.write_text(f"{secret}\n")
        with Room(LIMIT, retry_after=1).claim() as claim:
            await fetcher.get(f"{server.url}/metrics", {}, claim, seconds=2)
    await fetcher.close()
    told = [asked.headers["authorization"] for asked in server.asked]
    assert told == ["Bearer one", "Bearer two"]


async def test_each_kind_of_credentials_is_sent(server: Exposer, tmp_path: Path) -> None:
    server.exposes(b"a 1\n")
    file = tmp_path / "secret"
    file.write_text("s3cret")
    url = f"{server.url}/metrics"
    await get(url, authorization={"type": "Token", "credentials_file": file})
    await get(url, basic_auth={"username": "me", "password_file": file})
    await get(url, basic_auth={"username_file": file, "password_file": file})
    told = [asked.headers["authorization"] for asked in server.asked]
    assert told == ["Token s3cret", "Basic bWU6czNjcmV0", "Basic czNjcmV0OnMzY3JldA=="]


async def test_a_secret_that_cannot_be_read_is_a_failure_that_names_the_file(
    server: Exposer, tmp_path: Path
) -> None:
    failed = await fails(f"{server.url}/metrics", bearer_token_file=tmp_path / "nothing")
    assert failed.reason == "credentials"
    assert "nothing" in str(failed)


async def test_credentials_do_not_follow_a_redirect_elsewhere(
    server: Exposer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret")
    async with exposing() as other:
        other.exposes(b"a 1\n")
        server.answers["/metrics"] = redirect(f"{other.url}/metrics")
        await get(f"{server.url}/metrics", bearer_token_file=tmp_path / "token")
        assert "authorization" in server.asked[0].headers
        assert "authorization" not in other.asked[0].headers


async def test_headers_of_the_configuration_are_sent_to_the_named_server_alone(
    server: Exposer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    headers = {"X-Tenant": {"values": ["shop"]}, "X-Key": {"files": [tmp_path / "key"]}}
    async with exposing() as other:
        other.exposes(b"a 1\n")
        server.answers["/metrics"] = redirect("/here")
        server.answers["/here"] = redirect(f"{other.url}/metrics")
        await get(f"{server.url}/metrics", http_headers=headers)
        for asked in server.asked:
            assert (asked.headers["x-tenant"], asked.headers["x-key"]) == ("shop", "s3cret")
        assert len(server.asked) == 2
        assert "x-tenant" not in other.asked[0].headers
        assert "x-key" not in other.asked[0].headers


async def test_cookies_are_not_kept(server: Exposer) -> None:
    server.exposes(b"a 1\n", set_cookie="a=b; Path=/")
    fetcher = Fetcher(Access(), max_body_bytes=LIMIT, connections=1)
    for _ in range(2):
        with Room(LIMIT, retry_after=1).claim() as claim:
            await fetcher.get(f"{server.url}/metrics", {}, claim, seconds=2)
    await fetcher.close()
    assert "cookie" not in server.asked[1].headers


async def test_nothing_of_requests_is_logged(
    server: Exposer, caplog: pytest.LogCaptureFixture
) -> None:
    server.exposes(b"a 1\n")
    with caplog.at_level(logging.INFO):
        await get(f"{server.url}/metrics?token=s3cret")
    assert "s3cret" not in caplog.text


async def test_a_connection_is_kept_and_one_that_was_just_closed_is_no_failure() -> None:
    """The server answers one request a connection, and closes it when it is asked for another."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na 1\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
        fetcher = Fetcher(Access(), max_body_bytes=LIMIT, connections=1)
        for asked in (1, 2):
            with Room(LIMIT, retry_after=1).claim() as claim:
                got = await fetcher.get(url, {}, claim, seconds=5)
            assert got.body == b"a 1\n"
            assert connections == asked
        await fetcher.close()


async def test_a_body_needs_room(server: Exposer) -> None:
    server.exposes(b"a 1\n" * 1000)
    fetcher = Fetcher(Access(), max_body_bytes=LIMIT, connections=1)
    room = Room(5000, retry_after=1)
    with room.claim() as other:
        other.grow(4000)
        with pytest.raises(NoRoom), room.claim() as claim:
            await fetcher.get(f"{server.url}/metrics", {}, claim, seconds=2)
    await fetcher.close()
    assert room.used == 0


def serving(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


async def test_a_certificate_is_checked_against_the_named_authority(tmp_path: Path) -> None:
    files = certificate(tmp_path / "one", "127.0.0.1")
    stranger, _ = certificate(tmp_path / "two", "127.0.0.1")
    async with exposing(serving(files)) as server:
        server.exposes(b"a 1\n")
        url = f"{server.url}/metrics"
        assert (await get(url, tls_config={"ca_file": files[0]})).body == b"a 1\n"
        assert (await get(url, tls_config={"insecure_skip_verify": True})).body == b"a 1\n"
        for untrusting in ({}, {"ca_file": stranger}):
            failed = await fails(url, tls_config=untrusting)
            assert failed.reason == "connection"
            assert "CERTIFICATE_VERIFY_FAILED" in str(failed)


async def test_versions_of_tls_may_be_narrowed(tmp_path: Path) -> None:
    files = certificate(tmp_path, "127.0.0.1")
    context = serving(files)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with exposing(context) as server:
        server.exposes(b"a 1\n")
        url, ours = f"{server.url}/metrics", {"ca_file": files[0]}
        assert (await get(url, tls_config=ours | {"max_version": "TLS12"})).body == b"a 1\n"
        failed = await fails(url, tls_config=ours | {"min_version": "TLS13"})
        assert failed.reason == "connection"


async def test_a_server_may_be_known_by_another_name(tmp_path: Path) -> None:
    files = certificate(tmp_path, "kong.internal")
    async with exposing(serving(files)) as server:
        server.exposes(b"a 1\n")
        url = f"{server.url}/metrics"
        assert (await fails(url, tls_config={"ca_file": files[0]})).reason == "connection"
        known = {"ca_file": files[0], "server_name": "kong.internal"}
        assert (await get(url, tls_config=known)).body == b"a 1\n"


async def test_a_client_certificate_is_presented_and_follows_its_files(tmp_path: Path) -> None:
    files = certificate(tmp_path / "server", "127.0.0.1")
    first = certificate(tmp_path / "first", "client")
    second = certificate(tmp_path / "second", "client")
    context = serving(files)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(second[0])
    async with exposing(context) as server:
        server.exposes(b"a 1\n")
        named = {"ca_file": files[0], "cert_file": first[0], "key_file": first[1]}
        access = Access.model_validate({"tls_config": named})
        fetcher = Fetcher(access, max_body_bytes=LIMIT, connections=1)
        with Room(LIMIT, retry_after=1).claim() as claim:
            with pytest.raises(FetchFailed):
                await fetcher.get(f"{server.url}/metrics", {}, claim, seconds=2)
            for old, new in zip(first, second, strict=True):
                old.write_bytes(new.read_bytes())
                os.utime(old, ns=(1, 1))
            got = await fetcher.get(f"{server.url}/metrics", {}, claim, seconds=2)
        assert got.body == b"a 1\n"
        await fetcher.close()


async def test_files_that_are_no_certificates_are_named(server: Exposer, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    failed = await fails(f"{server.url}/metrics", tls_config={"ca_file": tmp_path / "ca.pem"})
    assert failed.reason == "credentials"
    assert "ca.pem" in str(failed)
