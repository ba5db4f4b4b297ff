"""HTTP/1.1 on a real socket (RFC 9110, RFC 9112), and what breaks servers there."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import PATCH_OP, USER, Reply, assert_error
from wire import (
    PATIENCE,
    Live,
    Wire,
    assert_scim,
    eventually,
    exchange,
    in_threads,
    message,
)

import scim2_server
from scim2_server import running_server

JSON = "Content-Type: application/scim+json"
CHUNKED = "Transfer-Encoding: chunked"
OPEN = "/ServiceProviderConfig"


def user(name: str, **attributes: Any) -> bytes:
    return json.dumps({"schemas": [USER], "userName": name, **attributes}).encode()


def chunks(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """Encode these pieces one chunk each (RFC 9112 §7.1)."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + last


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of one server for all tests that leave no trace but a few users."""
    with running_server() as server:
        yield server.url


@pytest.fixture
def fresh() -> Iterator[str]:
    with running_server() as server:
        yield server.url


def total(url: str) -> int:
    """Count the users."""
    count: int = exchange(url, "GET", "/Users?count=0")["totalResults"]
    return count


def test_smoke(url: str) -> None:
    """A reply has a Date and no Server version (RFC 9110 §6.6.1, §10.2.4)."""
    for path, status in ((OPEN, 200), ("/Users/nobody", 404), ("/Nope", 404)):
        reply = exchange(url, "GET", path)
        assert reply.status == status
        assert reply.headers["Date"].endswith("GMT")
        assert not re.search(r"\d|python|wsgi", reply.headers.get("Server", ""), re.I)


# --- what is refused with 400 and ends the connection ---


def head(*headers: str | bytes, method: str = "POST", host: bool = True) -> bytes:
    """Spell a header section as it stands, valid or not."""
    lines: list[str | bytes] = [f"{method} /v2/Users HTTP/1.1"]
    lines += ["Host: localhost"] * host + [JSON, *headers, "", ""]
    return b"\r\n".join(
        line if isinstance(line, bytes) else line.encode("latin-1") for line in lines
    )


SMUGGLED = {
    "length-negative": head("Content-Length: -1"),
    "length-plus": head("Content-Length: +5"),
    "length-underscore": head("Content-Length: 1_0"),
    "length-hex": head("Content-Length: 0x10"),
    "length-word": head("Content-Length: five"),
    "length-empty": head("Content-Length: "),
    "length-float": head("Content-Length: 5.0"),
    "length-spaced": head("Content-Length: 5 5"),
    "length-list": head("Content-Length: 5, 6"),
    "length-superscript": head(b"Content-Length: \xb2"),
    "length-no-break-space": head(b"Content-Length: \xa05"),
    "length-twice": head("Content-Length: 5", "Content-Length: 6"),
    "length-and-chunked": head("Content-Length: 5", CHUNKED) + chunks(b"{}"),
    "chunked-and-length": head(CHUNKED, "Content-Length: 5") + chunks(b"{}"),
    "chunked-twice": head("Transfer-Encoding: chunked, chunked") + chunks(b"{}"),
    "chunked-not-last": head("Transfer-Encoding: chunked, gzip") + chunks(b"{}"),
    "chunked-misspelt": head("Transfer-Encoding: xchunked") + chunks(b"{}"),
    "chunked-vertical-tab": head("Transfer-Encoding: \x0bchunked") + chunks(b"{}"),
    "identity": head("Transfer-Encoding: identity"),
    "coding-empty": head("Transfer-Encoding: "),
    "space-before-colon": head("Transfer-Encoding : chunked") + chunks(b"{}"),
    "length-space-colon": head("Content-Length : 5"),
    "no-colon": head("Content-Length 5"),
    "no-name": head(": nameless"),
    "bad-name": head("X(y): 1"),
    "bare-cr": head("X: a\rContent-Length: 5"),
    "nul": head("X: a\0b"),
    "folded-length": head("Content-Length:", " 5"),
    "folded-coding": head("Transfer-Encoding:", "\tchunked") + chunks(b"{}"),
    "size-negative": head(CHUNKED) + b"-2\r\n{}\r\n0\r\n\r\n",
    "size-plus": head(CHUNKED) + b"+2\r\n{}\r\n0\r\n\r\n",
    "size-prefixed": head(CHUNKED) + b"0x2\r\n{}\r\n0\r\n\r\n",
    "size-underscore": head(CHUNKED) + b"0_2\r\n{}\r\n0\r\n\r\n",
    "size-empty": head(CHUNKED) + b"\r\n{}\r\n0\r\n\r\n",
    "size-word": head(CHUNKED) + b"two\r\n{}\r\n0\r\n\r\n",
    "size-short": head(CHUNKED) + b"1\r\n{}\r\n0\r\n\r\n",
    "size-long": head(CHUNKED) + b"3\r\n{}\r\n0\r\n\r\n",
    "host-missing-absolute": b"GET http://localhost/v2/Users HTTP/1.1\r\n\r\n",
    "host-invalid-absolute": head("Host: a b", host=False).replace(
        b" /v2", b" http://localhost/v2"
    ),
    "host-empty-absolute": head("Host: ", host=False).replace(
        b" /v2", b" http://localhost/v2"
    ),
    "host-missing": head("Content-Length: 0", host=False),
    "host-twice": head("Host: localhost", "Content-Length: 0"),
    "host-empty": head("Host: ", "Content-Length: 0", host=False),
    "host-spaced": head("Host: local host", "Content-Length: 0", host=False),
    "host-list": head("Host: localhost, evil", "Content-Length: 0", host=False),
    "host-path": head("Host: localhost/x", "Content-Length: 0", host=False),
    "host-userinfo": head("Host: me@localhost", "Content-Length: 0", host=False),
    "host-query": head("Host: localhost?x", "Content-Length: 0", host=False),
    "host-quote": head('Host: localhost"', "Content-Length: 0", host=False),
    "host-port": head("Host: localhost:http", "Content-Length: 0", host=False),
    "host-port-range": head("Host: localhost:70000", "Content-Length: 0", host=False),
    "host-bracket": head("Host: [::1", "Content-Length: 0", host=False),
    "host-folded": head("Host: localhost", " .evil.example", host=False),
    "host-after-fold": head(" Host: localhost", host=False, method="GET"),
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED)
def test_refused_and_closed(url: str, data: bytes) -> None:
    """A message that two parsers could read differently ends here (RFC 9112 §11.2)."""
    before = total(url)
    with Wire(url) as wire:
        reply = wire.send(data, message(url, "GET", OPEN)).answer()
        assert_scim(reply)
        unknown_coding = b"ransfer-" in data  # 501 then (RFC 9112 §6.1)
        assert reply.status in ((400, 501) if unknown_coding else (400,))
        assert wire.closed(), "what follows a refused message was read"
    assert total(url) == before


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (b"GARBAGE", {400}),
        (b"GET /v2/Users", {400, 505}),  # HTTP/0.9
        (b"GET /v2/Users HTTP/0.9", {400, 505}),
        (b"GET /v2/Users HTTP/2.0", {505}),
        (b"PRI * HTTP/2.0", {400, 505}),
        (b"GET /v2/Users HTTP/1.1 more", {400}),
        (b"GET /v2/Users HTTP/1", {400}),
        (b"GET /v2/Users HTTP/1.1.1", {400}),
        (b"GET /v2/Users HTTP/+1.1", {400}),
        (b"GET /v2/Users HTTP/x.y", {400}),
        (b"GET /v2/Users http/1.1", {400}),
        (b"GET /v2/Users FTP/1.1", {400}),
        (b"GET v2/Users HTTP/1.1", {400, 404}),
        (b"GET /v2/Us\xffers HTTP/1.1", {400, 404}),
        (b"GET /v2/Us\0ers HTTP/1.1", {400, 404}),
        (b"GET /v2/Users/%zz HTTP/1.1", {400, 404}),
        (b"GET /v2/Users/%ff HTTP/1.1", {400, 404}),
        (b"GET /v2%2FUsers HTTP/1.1", {400, 404}),
        (b"GET ftp://localhost/v2/Users HTTP/1.1", {400, 404}),
        (b"GET http:///v2/Users HTTP/1.1", {400}),
        (b"GET http://a:b/v2/Users HTTP/1.1", {400}),
        (b"GET http://[/v2/Users HTTP/1.1", {400}),
        (b"GET * HTTP/1.1", {400, 404}),
        (b"CONNECT localhost:443 HTTP/1.1", {400, 405, 501}),
        (b"TRACE /v2/Users HTTP/1.1", {405, 501}),
        (b"BREW /v2/Users HTTP/1.1", {405, 501}),
        (b"get /v2/Users HTTP/1.1", {405, 501}),
        (b"G(T /v2/Users HTTP/1.1", {400, 405, 501}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {400}),  # a TLS client
        (b"SSH-2.0-OpenSSH_9.2", {400}),
    ],
)
def test_request_lines(url: str, line: bytes, statuses: set[int]) -> None:
    """A bad request line gets a status line and a SCIM error (RFC 9112 §3)."""
    with Wire(url) as wire:
        wire.send(line, b"\r\nHost: localhost\r\n\r\n").end()
        reply = wire.answer()
        assert reply.status in statuses
        assert assert_scim(reply)


# What clients that mistake the syntax send; {} is a secret.
LEAKS = (
    "GET /v2/Users?access_token={} HTTP/1.1 more\r\nHost: localhost",
    "GET /v2/Users?access_token={}\r\nHost: localhost",
    "GET v2/Users?access_token={} HTTP/1.1\r\nHost: localhost",
    "GET /v2/Users%3Faccess_token={} HTTP/1.1\r\nHost: localhost",
    "GET /v2/Users/1%3Faccess_token={} HTTP/1.1\r\nHost: localhost",
    "GET /v2/No%3Faccess_token={} HTTP/1.1\r\nHost: localhost",
    "GET /v2/Schemas/x%3Faccess_token={} HTTP/1.1\r\nHost: localhost",
    "GET http://bob:{}@localhost/ HTTP/1.1\r\nHost: localhost",
    "GET http://{}@localhost/v2/Users HTTP/1.1\r\nHost: localhost",
    "GET ftp://bob:{}@localhost/ HTTP/1.1\r\nHost: localhost",
    "GET //bob:{}@localhost/v2/Users HTTP/1.1\r\nHost: localhost",
    "GET /v2//{}@localhost/Users HTTP/1.1\r\nHost: localhost",
    "GET bob:{}@localhost HTTP/1.1\r\nHost: localhost",
    "CONNECT bob:{}@localhost:1 HTTP/1.1\r\nHost: localhost",
    "{} HTTP/1.1\r\nHost: localhost",
    "GET / HTTP/1.1\r\nHost: bob:{}@localhost",
    "GET / HTTP/1.1\r\nHost: {}@localhost",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer\r\n {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer\r\n{}",
    "GET / HTTP/1.1\r\nHost: localhost\r\n{}: x\r\n{} : x",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\nAuthorization: {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\0",
    "GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {}",
    "GET /v2/Users/1 HTTP/1.1\r\nHost: localhost\r\nIf-Match: {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://bob:{}@localhost",
    "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: bob:{}@localhost",
    "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Port: {}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Prefix: /?{}",
    "GET / HTTP/1.1\r\nHost: localhost\r\nForwarded: host={}@localhost",
    "POST /v2/Users HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\n"
    "Content-Length: 2\r\n\r\n{{}}",
    "POST /v2/Users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked"
    "\r\n\r\n{}\r\n",
)


def test_secrets_in_malformed_heads(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a reply nor the log quotes what a secret can stand in."""
    caplog.set_level("DEBUG", "scim2_server")
    chance = random.Random(9112)
    secret = "p-Secret0987"
    with running_server(reverse_proxy=True) as server:
        for case in LEAKS:
            text = case.format(*[secret] * 2)
            sent = [text]
            for _ in range(int(os.environ.get("FUZZ_ROUNDS", 8))):
                at = chance.randrange(max(0, text.find(" HTTP")), len(text))
                piece = chance.choice(" \t:\0\r\n")
                sent.append(text[:at] + piece + text[at:])
            for each in sent:
                if secret not in each:
                    continue
                with Wire(server.url) as wire:
                    wire.send(each.encode("latin-1"), b"\r\n\r\n").end()
                    told = wire.stream.read().decode("latin-1")
                assert secret.lower() not in told.lower(), (each, told)
                assert secret.lower() not in caplog.text.lower(), each
                caplog.clear()


def test_what_a_refused_header_is_called(url: str) -> None:
    """A detail names a field that this server knows, and the line of another."""
    for header, named in (
        ("Authorization : Bearer x", "line 2 (authorization)"),
        ("Authorization", "line 2 (authorization)"),
        ("X-Key : x", "line 2 "),
    ):
        assert named in assert_scim(exchange(url, "GET", OPEN, header))


def test_http_1_0(url: str) -> None:
    """HTTP/1.0 needs no Host, and no 100, and the connection ends (RFC 9112 §9.3)."""
    with Wire(url) as wire:
        wire.send(b"GET /v2/ServiceProviderConfig HTTP/1.0\r\n\r\n")
        assert wire.answer().status == 200
        assert wire.closed()


def test_empty_line_before_request(url: str) -> None:
    """An empty line before the request line is skipped (RFC 9112 §2.2)."""
    with Wire(url) as wire:
        assert wire.send(b"\r\n", message(url, "GET", OPEN)).answer().status == 200


def test_close_is_honoured(url: str) -> None:
    """``Connection: close`` ends the connection after the reply (RFC 9112 §9.6)."""
    with Wire(url) as wire:
        wire.send(message(url, "GET", OPEN, "Connection: close"))
        assert wire.answer().headers["Connection"].lower() == "close"
        assert wire.closed()


# --- Host, targets and what they are reflected in ---


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil"])
def test_foreign_host(url: str, host: str) -> None:
    """An anonymous loopback server answers to its own names only (DNS rebinding)."""
    with Wire(url) as wire:
        for method in ("GET", "POST", "OPTIONS"):
            data = f"{method} /v2/Users HTTP/1.1\r\nHost: {host}\r\n\r\n"
            reply = wire.send(data.encode()).reply(method)
            if reply is None:
                break  # the connection may end with the first refusal
            assert reply.status in (400, 403, 421)
            assert method != "GET" or "--" in assert_scim(reply)  # what admits it


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:81", "127.0.0.1", "[::1]:9"])
def test_own_hosts(url: str, host: str) -> None:
    """The Host is where Locations point to (RFC 7644 §3.1)."""
    body = user(f"own {host}")
    data = f"POST /v2/Users HTTP/1.1\r\nHost: {host}\r\n{JSON}\r\n"
    with Wire(url) as wire:
        reply = wire.send(
            data.encode(), b"Content-Length: %d\r\n\r\n" % len(body), body
        ).answer()
    assert reply.status == 201, reply.content
    base = f"http://{host}/v2/Users/"
    assert reply.headers["Location"].lower().startswith(base.lower())
    assert reply["meta"]["location"] == reply.headers["Location"]


def test_absolute_form(url: str) -> None:
    """The authority of an absolute target beats Host (RFC 9112 §3.2.2)."""
    with Wire(url) as wire:
        target = "http://localhost:81/v2/Users"
        request = message(url, "POST", target, JSON, body=user("absolute"))
        reply = wire.send(request).answer()
        assert reply.status == 201
        assert reply.headers["Location"].startswith(target)
        wire.send(message(url, "GET", "http://evil.example/v2/Users"))
        assert wire.answer().status in (400, 403, 421)


def test_options(url: str) -> None:
    """``OPTIONS *`` speaks of the server, OPTIONS of a resource (RFC 9110 §9.3.7)."""
    with Wire(url) as wire:
        assert wire.send(message(url, "OPTIONS", "*")).answer("OPTIONS").status in (
            200,
            204,
        )
        reply = wire.send(message(url, "OPTIONS", "/Users")).answer("OPTIONS")
        assert reply.status in (200, 204)
        allowed = set(re.findall(r"\w+", reply.headers["Allow"]))
        assert {"GET", "POST", "HEAD", "OPTIONS"} <= allowed
        assert "DELETE" not in allowed


@pytest.mark.parametrize(
    "path",
    [
        "/Users/x%0d%0aInjected:%20yes",
        "/Users%0d%0aInjected:%20yes",
        "/%0aInjected:%20yes/Users",
        "/Users/x%00%0d%0a%0d%0aInjected:%20yes",
        "/Users?filter=userName%20eq%20%22%0d%0aInjected:%20yes",
        "/Users?startIndex=%0d%0aInjected:%20yes",
        "/Schemas/urn:x%0d%0aInjected:%20yes",
        "/Users/.search%0d%0aInjected:%20yes",
    ],
)
def test_header_injection(url: str, path: str) -> None:
    """A decoded line break in a target never reaches a header (RFC 9110 §5.5)."""
    with Wire(url) as wire:
        for method in ("GET", "DELETE", "OPTIONS", "PATCH", "PUT", "POST"):
            reply = wire.send(message(url, method, path)).answer(method)
            assert not any(name.lower() == "injected" for name in reply.headers)
            assert_scim(reply)
            assert reply.status >= 400 or method == "OPTIONS"


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-Host: evil example",
        "X-Forwarded-Host: evil\tinjected",
        "X-Forwarded-Host: me@evil.example",
        "X-Forwarded-Host: evil.example/path",
        'X-Forwarded-Host: evil.example"><script>',
        "X-Forwarded-Host: evil.example\r\n injected: yes",
        "X-Forwarded-Proto: javascript",
        "X-Forwarded-Port: 99999",
        "X-Forwarded-Prefix: //evil.example",
        "X-Forwarded-Prefix: /a%0d%0aInjected:%20yes",
        'Forwarded: host="evil example"',
        'Forwarded: host="evil.example',
    ],
)
def test_forwarded_nonsense(header: str) -> None:
    """What a proxy says is checked before it is reflected (RFC 7239)."""
    with running_server(reverse_proxy=True) as server:
        request = message(server.url, "POST", "/Users", JSON, header, body=user("a"))
        with Wire(server.url) as wire:
            reply = wire.send(request).answer()
        assert reply.status in (201, 400)
        assert_scim(reply)
        told = json.dumps(reply.headers).lower()
        if reply.status == 201:
            told += reply.content.decode().lower()
        for word in ("evil", "injected", "javascript", "99999"):
            assert word not in told


def test_forwarded_is_ignored_without_the_option(url: str) -> None:
    """Without --reverse-proxy nobody but Host is believed."""
    request = ("X-Forwarded-Host: evil.example", "Forwarded: host=evil.example")
    reply = exchange(url, "POST", "/Users", JSON, *request, body=user("forwarded"))
    assert reply.headers["Location"].startswith(url + "/Users/")


def test_slash_in_an_id() -> None:
    """``%2F`` in an id is no path separator (RFC 3986 §2.2)."""
    ids = itertools.chain(["a/b", "a b?c#d%41", "ü€", "c"], map(str, range(99)))
    with running_server(new_id=ids.__next__) as server:
        live = Live(server.url)
        for name in ("one", "two", "three", "four"):
            created = live.user(name)
            location = created["meta"]["location"]
            path = location.removeprefix(server.url)
            assert path.isascii() and path.count("/") == 2 and " " not in path
            assert live.get(path).json == created
        assert live.get("/Users/a%2fb").status == 200
        assert live.get("/Users/a/b").status == 404
        assert live.get("/Users%2Fc").status == 404
        assert live.get("/%55sers/%63").status == 200
        live.close()


def test_bearer_token_of_any_bytes() -> None:
    """A token that is no ASCII is 401, not a crash (RFC 6750 §3.1)."""
    with running_server(bearer_tokens=("secret",)) as server:
        for value in ("Bearer \xff\xfe", "Bearer", "\xff", "Basic \xff", ""):
            reply = exchange(server.url, "GET", "/Users", f"Authorization: {value}")
            assert_error(reply, 401)
            assert "Bearer" in reply.headers["WWW-Authenticate"]
        good = exchange(server.url, "GET", "/Users", "Authorization: bearer secret")
        assert good.status == 200


def test_cross_origin() -> None:
    """A page of a named origin may read every answer, errors too (CORS)."""
    page = "https://console.example"
    with running_server(cors_origins=(page,), bearer_tokens=("secret",)) as server:
        asked = ("Access-Control-Request-Method: PATCH", f"Origin: {page}")
        wanted = "Access-Control-Request-Headers: authorization, content-type"
        reply = exchange(server.url, "OPTIONS", "/Users/x", *asked, wanted)
        assert reply.status in (200, 204)
        assert reply.headers["Access-Control-Allow-Origin"] == page
        assert "PATCH" in reply.headers["Access-Control-Allow-Methods"]
        allowed = reply.headers["Access-Control-Allow-Headers"].lower()
        assert "authorization" in allowed and "content-type" in allowed
        for path, status in ((OPEN, {200}), ("/Users", {401}), ("/Nope", {401, 404})):
            reply = exchange(server.url, "GET", path, f"Origin: {page}")
            assert reply.status in status
            assert reply.headers["Access-Control-Allow-Origin"] == page
            assert "Origin" in reply.headers["Vary"]
        foreign = exchange(server.url, "GET", OPEN, "Origin: https://evil.example")
        assert "Access-Control-Allow-Origin" not in foreign.headers


# --- bodies ---


@pytest.mark.parametrize(
    ("coding", "pieces"),
    [
        ("chunked", lambda body: chunks(body)),
        ("Chunked", lambda body: chunks(*(bytes([byte]) for byte in body))),
        ("chunked", lambda body: b'%X;x=1;y="2"\r\n' % len(body) + chunks(body)[4:]),
        ("chunked", lambda body: b"000" + chunks(body)),
        ("chunked", lambda body: chunks(body, last=b"0\r\nA: 1\r\nHost: x\r\n\r\n")),
    ],
    ids=["one", "bytes", "extensions", "zeros", "trailers"],
)
def test_chunked(fresh: str, coding: str, pieces: Any) -> None:
    """A chunked body is decoded, trailers and all (RFC 9112 §7.1)."""
    body = user("chunky", displayName="x" * 40)
    assert len(b"%x\r\n" % len(body)) == 4
    with Wire(fresh) as wire:
        wire.send(
            message(fresh, "POST", "/Users", JSON, f"Transfer-Encoding: {coding}"),
            pieces(body),
            message(fresh, "GET", "/Users"),
        )
        created = wire.answer()
        assert created.status == 201, created.content
        assert created["displayName"] == "x" * 40
        assert wire.answer()["totalResults"] == 1


def test_continue(fresh: str) -> None:
    """100 Continue comes before the body, if it is wanted (RFC 9110 §10.1.1)."""
    body = user("patient")
    expect = (JSON, "Expect: 100-continue")
    with Wire(fresh) as wire:
        for length in (f"Content-Length: {len(body)}", CHUNKED):
            wire.send(message(fresh, "POST", "/Users", *expect, length))
            assert wire.answer().status == 100
            wire.send(chunks(body) if length is CHUNKED else body)
            # the second time userName is taken
            assert wire.answer().status == (409 if length is CHUNKED else 201)
        wire.send(message(fresh, "POST", "/Users", *expect, f"Content-Length: {10**8}"))
        refused = wire.answer()
        assert refused.status == 413 and assert_scim(refused)


def test_pipelining(fresh: str) -> None:
    """Replies come in the order of the requests (RFC 9112 §9.3.2)."""
    requests = [
        ("GET", "/Users/nobody", b"", 404),
        ("POST", "/Users", user("a"), 201),
        ("HEAD", "/Users", b"", 200),
        ("POST", "/Users", user("a"), 409),
        ("GET", OPEN, b"", 200),
        ("POST", "/Users", b"{", 400),
        ("GET", "/Users?filter=userName%20eq%20%22a%22", b"", 200),
    ] * 5
    with Wire(fresh) as wire:
        wire.send(
            b"".join(
                message(fresh, method, path, JSON, body=body)
                for method, path, body, _ in requests
            )
        )
        wire.end()
        got = [wire.answer(method).status for method, *_ in requests]
        assert wire.reply() is None
    expected = [status for *_, status in requests]
    expected[8] = expected[15] = expected[22] = expected[29] = 409
    assert got == expected


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(
    ("method", "path", "headers", "statuses"),
    [
        ("POST", "/Nope", [], {404}),
        ("PUT", "/Users", [], {405}),
        ("POST", "/Users/x", [], {405}),
        ("GET", "/Users/x", [], {404}),
        ("DELETE", "/Users/x", [], {404}),
        ("PUT", "/Users/x", [], {400, 404}),
        ("PATCH", "/Users/x", [], {400, 404}),
        ("POST", "/Users", ["Content-Type: text/html"], {415}),
        ("POST", "/Users", ["Origin: https://evil.example"], {403}),
        ("POST", "/Me", [], {501}),
        ("HEAD", "/Users/x", [], {404}),
        ("BREW", "/Users", [], {405, 501}),
    ],
)
def test_unread_body(
    url: str,
    method: str,
    path: str,
    headers: list[str],
    statuses: set[int],
    framing: str,
) -> None:
    """A body that nobody read is not the next request (RFC 9112 §9.3)."""
    trap = message(url, "POST", "/Users", JSON, body=user("trapped")) * 3
    if framing == "chunked":
        data = message(url, method, path, *headers, CHUNKED) + chunks(trap)
    else:
        data = message(url, method, path, *headers, body=trap)
    with Wire(url) as wire:
        wire.send(data, message(url, "GET", "/Users?count=1", "Connection: close"))
        first = wire.answer(method)
        assert first.status in statuses
        assert_scim(first)
        if following := wire.reply():
            assert following.status == 200 and "totalResults" in following.json
            assert wire.closed()
    found = exchange(url, "GET", "/Users?filter=userName%20eq%20%22trapped%22")
    assert found["totalResults"] == 0


def test_head(url: str) -> None:
    """HEAD has the headers of GET and no body (RFC 9110 §9.3.2)."""
    with Wire(url) as wire:
        for path in (OPEN, "/Users/nobody", "/Schemas", "/Nope"):
            got = wire.send(message(url, "GET", path)).answer()
            head = wire.send(message(url, "HEAD", path)).answer("HEAD")
            assert head.status == got.status
            for name in ("Content-Length", "Content-Type"):
                assert head.headers[name] == got.headers[name]
        wire.send(message(url, "HEAD", OPEN, "Connection: close"))
        wire.answer("HEAD")
        assert wire.closed()


def test_no_content(fresh: str) -> None:
    """204 has neither body nor Content-Length, 304 no body (RFC 9110 §8.6, §15)."""
    with Wire(fresh) as wire:
        created = wire.send(
            message(fresh, "POST", "/Users", JSON, body=user("a"))
        ).answer()
        path = created.headers["Location"].removeprefix(fresh)
        etag = created.headers["ETag"]
        patch = {
            "schemas": [PATCH_OP],
            "Operations": [{"op": "add", "path": "title", "value": "x"}],
        }
        body = json.dumps(patch).encode()
        for request in (
            message(fresh, "GET", path, f"If-None-Match: {etag}"),
            message(fresh, "PATCH", path, JSON, "Prefer: return=minimal", body=body),
            message(fresh, "DELETE", path),
        ):
            reply = wire.send(request).answer()
            assert reply.status in (204, 304)
            if reply.status == 204:
                assert "Content-Length" not in reply.headers
                assert "Content-Type" not in reply.headers
            assert "Transfer-Encoding" not in reply.headers
        assert wire.send(message(fresh, "GET", path)).answer().status == 404


@pytest.mark.parametrize("headers", [[], ["Content-Length: 0"]])
def test_no_body(url: str, headers: list[str]) -> None:
    """A POST without a body is an error, and waits for nothing (RFC 9112 §6.3)."""
    with Wire(url) as wire:
        reply = wire.send(message(url, "POST", "/Users", JSON, *headers)).answer()
        assert reply.status in (400, 411)
        assert_scim(reply)
        assert wire.send(message(url, "GET", OPEN)).answer().status == 200


# --- what is cut off ---


def cut_off(url: str, path: str) -> dict[str, bytes]:
    whole = user("cut")
    operations = json.dumps(
        {
            "schemas": [PATCH_OP],
            "Operations": [{"op": "add", "path": "title", "value": "cut"}],
        }
    ).encode()
    longer = f"Content-Length: {len(whole) + 9}"
    post = message(url, "POST", "/Users", JSON, CHUNKED)
    return {
        "length": message(url, "POST", "/Users", JSON, longer) + whole,
        "patch": message(url, "PATCH", path, JSON, "Content-Length: 999") + operations,
        "no-last-chunk": post + chunks(whole, last=b""),
        "half-last-chunk": post + chunks(whole, last=b"0"),
        "half-a-chunk": post + b"%x\r\n" % (len(whole) + 1) + whole,
        "half-a-size": post + chunks(whole, last=b"1"),
        "no-blank-line": message(url, "DELETE", path)[:-2],
        "half-a-line": message(url, "DELETE", path)[:-9],
        "half-a-line-break": message(url, "DELETE", path)[:-1],
        "request-line": f"DELETE /v2{path} HTTP/1.1\r\n".encode(),
        "line-without-end": f"DELETE /v2{path} HTTP/1.1".encode(),
        "host-cut": f"DELETE /v2{path} HTTP/1.1\r\nHost: 127".encode(),
    }


@pytest.mark.parametrize("case", cut_off("http://localhost/v2", "/Users/1"))
def test_truncated(fresh: str, case: str) -> None:
    """A request that did not arrive whole is not carried out (RFC 9112 §8)."""
    created = exchange(fresh, "POST", "/Users", JSON, body=user("a"))
    path = created.headers["Location"].removeprefix(fresh)
    with Wire(fresh) as wire:
        reply = wire.send(cut_off(fresh, path)[case]).end().reply()
        if reply:
            assert 400 <= reply.status < 500
            assert_scim(reply)
            assert wire.closed()
    assert exchange(fresh, "GET", "/Users")["Resources"] == [created.json]


# --- limits ---


def padded(size: int) -> bytes:
    body = user("padded")
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_limit(framing: str) -> None:
    """A body over --max-body is 413, by a detail that names it (RFC 7644 §3.12)."""
    with running_server(max_body=2000) as server:
        url = server.url

        def send(size: int) -> Reply:
            body, coding = padded(size), [CHUNKED] if framing == "chunked" else []
            sent = chunks(body[:999], body[999:]) if coding else body
            return exchange(url, "POST", "/Users", JSON, *coding, body=sent)

        for size in (2001, 10**6):
            refused = send(size)
            assert refused.status == 413
            assert "2000" in assert_scim(refused).replace(",", "")
        assert total(url) == 0
        assert send(2000).status == 201


@pytest.mark.parametrize("framing", ["Content-Length: 60000000", CHUNKED])
def test_body_limit_by_default(url: str, framing: str) -> None:
    """60 MB are refused by their announcement, or after the first ten."""
    with Wire(url) as wire:
        wire.send(message(url, "POST", "/Users", JSON, framing))
        if framing is CHUNKED:
            piece = chunks(b" " * 2**20, last=b"")
            for _ in range(12):
                wire.send(piece)
        refused = wire.answer()
        assert refused.status == 413 and assert_scim(refused)
    assert exchange(url, "GET", OPEN).status == 200


LIMITS = {
    "path": ("GET", "/Users/" + "x" * 100_000, [], {414}),
    "query": ("GET", "/Users?" + "x" * 1_000_000, [], {414}),
    "method": ("X" * 100_000, OPEN, [], {400, 405, 414, 501}),
    "value": ("GET", OPEN, ["X: " + "x" * 100_000], {431}),
    "values": ("GET", OPEN, ["X: " + "x" * 5_000] * 99, {431}),
    "count": ("GET", OPEN, [f"X{number}: x" for number in range(2_000)], {431}),
    "name": ("GET", OPEN, ["x" * 100_000 + ": x"], {431}),
    "length": ("POST", "/Users", ["Content-Length: " + "9" * 5_000], {400, 413}),
}


@pytest.mark.parametrize(
    ("method", "path", "headers", "statuses"), LIMITS.values(), ids=LIMITS
)
def test_header_limits(
    url: str, method: str, path: str, headers: list[str], statuses: set[int]
) -> None:
    """Long targets are 414, large header sections 431 (RFC 9110 §15.5.15, RFC 6585)."""
    with Wire(url) as wire:
        reply = wire.send(message(url, method, path, *headers)).answer()
        assert reply.status in statuses
        assert assert_scim(reply)
        assert wire.closed()


def test_trailer_limit(url: str) -> None:
    """A trailer section without end is refused too (RFC 9112 §7.1.2)."""
    with Wire(url) as wire:
        wire.send(
            message(url, "POST", "/Users", JSON, CHUNKED), chunks(b"{}", last=b"")
        )
        wire.send(b"0\r\n", b"X: x\r\n" * 100_000)
        reply = wire.answer()
        assert reply.status in (400, 413, 431)
        assert_scim(reply)
        assert wire.closed()


def test_chunk_extension_limit(url: str) -> None:
    """A chunk size line without end is refused too (RFC 9112 §7.1.1)."""
    with Wire(url) as wire:
        wire.send(message(url, "POST", "/Users", JSON, CHUNKED))
        reply = wire.send(b"2;x=" + b"y" * 200_000).answer()
        assert reply.status in (400, 413, 431)
        assert_scim(reply)
        assert wire.closed()


# --- the leader ---


@pytest.fixture
def slow() -> Iterator[tuple[str, threading.Event]]:
    """A server whose POST takes until the event, and the event."""
    done = threading.Event()

    def new_id() -> str:
        assert done.wait(PATIENCE)
        return str(uuid.uuid4())

    with running_server(new_id=new_id) as server:
        yield server.url, done
        done.set()


def test_a_slow_request_holds_nobody_up(slow: tuple[str, threading.Event]) -> None:
    """The lead passes on; the slow connection is served in order, and goes on."""
    url, done = slow
    with Wire(url) as waiting, Wire(url) as other:
        assert other.send(message(url, "GET", OPEN)).answer().status == 200
        body = user("slow")
        length = f"Content-Length: {len(body)}"
        post = message(url, "POST", "/Users", JSON, length) + body
        waiting.send(post + message(url, "GET", "/Users?count=1"))
        for _ in range(3):
            assert other.send(message(url, "GET", OPEN)).answer().status == 200
        assert exchange(url, "GET", OPEN).status == 200
        waiting.send(message(url, "GET", OPEN))  # while its first request is served
        assert other.send(message(url, "GET", OPEN)).answer().status == 200
        done.set()
        assert waiting.answer().status == 201
        assert waiting.answer()["totalResults"] == 1
        assert "patch" in waiting.answer().json
        for _ in range(3):
            assert waiting.send(message(url, "GET", OPEN)).answer().status == 200


def test_many_slow_requests(slow: tuple[str, threading.Event]) -> None:
    """Each takes a lead with it, and there is always another one."""
    url, done = slow
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(url)) for _ in range(5)]
        for number, wire in enumerate(wires):
            body = user(f"slow{number}")
            length = f"Content-Length: {len(body)}"
            wire.send(message(url, "POST", "/Users", JSON, length) + body)
            assert exchange(url, "GET", OPEN).status == 200
        done.set()
        assert [wire.answer().status for wire in wires] == [201] * 5
        assert eventually(lambda: threading.active_count() <= before + 1)


@pytest.mark.parametrize(("pause", "step"), [(0.0, 1), (0.02, 1), (1.3, 3)])
def test_a_request_in_pieces(url: str, pause: float, step: int) -> None:
    """However a request is cut, it is served once (RFC 9112 §2.2)."""
    body = user(f"pieces{pause}")
    length = f"Content-Length: {len(body)}"
    whole = message(url, "POST", "/Users", JSON, length) + body
    head = whole.index(b"\r\n\r\n") + 4
    cuts = [0, 10, head - 3, head, head + 5, len(whole) - 1, len(whole)][::step]
    with Wire(url) as wire:
        for first, end in itertools.pairwise(cuts):
            wire.send(whole[first:end])
            time.sleep(pause)
        assert wire.answer().status == 201
        assert wire.send(message(url, "GET", OPEN)).answer().status == 200
    assert (
        exchange(url, "GET", f'/Users?filter=userName+eq+"pieces{pause}"')[
            "totalResults"
        ]
        == 1
    )


@pytest.mark.parametrize("size", [1_000, 60_000, 70_000, 2_000_000])
def test_requests_of_all_sizes(url: str, size: int) -> None:
    """The small ones and the large ones, in turns, on one connection."""
    with Wire(url) as wire:
        for number in range(3):
            body = user(f"size{size}.{number}", title="x" * size)
            length = f"Content-Length: {len(body)}"
            wire.send(message(url, "POST", "/Users", JSON, length) + body)
            reply = wire.answer()
            assert (reply.status, len(reply["title"])) == (201, size)
            path = f"/Users/{reply['id']}"
            assert wire.send(message(url, "GET", path)).answer().json == reply.json


def test_a_refused_client_that_stays_silent(
    hasty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may end what it sends, for a while; then its thread goes."""
    monkeypatch.setattr(scim2_server, "LINGER", 0.3)
    monkeypatch.setattr(scim2_server, "REQUEST_TIMEOUT", 30.0)
    monkeypatch.setattr(scim2_server, "IDLE_TIMEOUT", 30.0)
    assert exchange(hasty, "GET", OPEN).status == 200
    before = threading.active_count()
    with Wire(hasty) as wire:
        assert wire.send(b"bad request\r\n\r\n").answer().status == 400
        began = time.monotonic()
        assert eventually(lambda: threading.active_count() <= before)
        assert time.monotonic() - began < 8


def test_blank_lines_between_requests(url: str) -> None:
    """They are skipped (RFC 9112 §2.2), and nobody waits in a thread behind them."""
    assert exchange(url, "GET", OPEN).status == 200
    before = threading.active_count()
    with Wire(url) as wire:
        for _ in range(3):
            wire.send(message(url, "GET", OPEN) + b"\r\n")
            assert wire.answer().status == 200
            time.sleep(0.6)
        assert threading.active_count() <= before


def test_expect_of_http_1_0(url: str) -> None:
    """ "MUST ignore that expectation" (RFC 9110 §10.1.1)."""
    body = user("old")
    head = f"POST /v2/Users HTTP/1.0\r\n{JSON}\r\nExpect: 100-continue\r\n"
    with Wire(url) as wire:
        wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        time.sleep(0.1)
        assert wire.send(body).answer().status == 201


@pytest.mark.filterwarnings("error")
def test_closing_at_once() -> None:
    """A server may be closed before its threads have begun."""
    before = threading.active_count()
    for _ in range(50):
        with running_server():
            pass
    assert eventually(lambda: threading.active_count() <= before)


def test_what_waits_in_the_sent_pieces(url: str) -> None:
    """A request byte by byte is served, whoever reads it: leader or thread."""
    body = user("bytes")
    whole = message(url, "POST", "/Users", JSON, f"Content-Length: {len(body)}") + body
    with Wire(url) as wire:
        for byte in whole:
            wire.send(bytes([byte]))
            time.sleep(0.001)
        assert wire.answer().status == 201
        wire.send(message(url, "POST", "/Users", JSON, CHUNKED))
        for piece in chunks(user("chunk")):
            wire.send(bytes([piece]))
        assert wire.answer().status == 201
        assert wire.send(message(url, "GET", OPEN)).answer().status == 200


# --- what is laborious to serve ---


def test_pipelines_leave_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request of a connection is served, then the others have their turn."""
    served: list[str] = []
    ready = threading.Event()
    call = scim2_server.Application.__call__

    def note(self: Any, environ: Any, start_response: Any) -> Any:
        assert ready.wait(PATIENCE)
        served.append(environ["REQUEST_METHOD"])
        return call(self, environ, start_response)

    monkeypatch.setattr(scim2_server.Application, "__call__", note)
    monkeypatch.setattr(scim2_server.Server.serve_forever, "__defaults__", (60.0,))
    with running_server() as server, contextlib.ExitStack() as stack:
        for _ in range(10):
            wire = stack.enter_context(Wire(server.url))
            wire.send(message(server.url, "HEAD", OPEN) * 200)
        time.sleep(0.2)
        other = stack.enter_context(Wire(server.url))
        other.send(message(server.url, "GET", OPEN))
        ready.set()
        assert other.answer().status == 200
        assert served.index("GET") < 50
        assert wire.answer("HEAD").status == 200


def drip_after(start: bytes) -> float:
    """Answer the CPU seconds of 300 bytes, one by one, after this start."""
    with running_server() as server, Wire(server.url) as wire:
        wire.send(start)
        time.sleep(0.2)
        began = time.process_time()
        for _ in range(300):
            wire.send(b"x")
            time.sleep(0.001)
        wire.send(message(server.url, "GET", "*")).end()
        wire.stream.read()
        return time.process_time() - began


@pytest.mark.parametrize(
    "start",
    [
        b"GET /" + b"x" * 100,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        head("Content-Length: 70000"),
        head(CHUNKED) + b"ffff\r\n",
        head(CHUNKED) + b"1;x=",
        head(CHUNKED) + b"1\r\nx\r\n0\r\nX: ",
    ],
    ids=["line", "header", "body", "chunk", "extension", "trailer"],
)
def test_each_byte_is_looked_at_once(start: bytes) -> None:
    """The work for a byte does not grow with what came before it."""
    few, many = (drip_after(start + b"x" * size) for size in (0, 60_000))
    assert many < 2 * few + 0.02


@pytest.mark.parametrize("framing", ["Content-Length: 299999", CHUNKED])
def test_a_budget_for_unfinished_bodies(
    framing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over it a large body is 503 (RFC 9110 §15.6.4); small ones are still read."""
    monkeypatch.setattr(scim2_server, "MAX_UNFINISHED", 600_000)
    bulk = {"bulk": {"maxPayloadSize": 1}}
    almost = b" " * 299_998
    if framing is CHUNKED:
        almost = chunks(b" " * 100_000, b" " * 100_000, last=b"%x\r\n" % 99_999)
        almost += b" " * 99_998
    with (
        running_server(max_body=300_000, service_provider_config=bulk) as server,
        contextlib.ExitStack() as stack,
    ):
        url, wires = server.url, []
        for _ in range(3):
            wires.append(stack.enter_context(Wire(url)))
            wires[-1].send(message(url, "POST", "/Users", JSON, framing), almost)
            time.sleep(0.2)
        refused = wires[2].answer()
        assert refused.status == 503 and refused.headers["Retry-After"] == "1"
        assert refused["status"] == "503" and wires[2].closed()
        posted = exchange(url, "POST", "/Users", JSON, body=user("small"))
        assert posted.status == 201
        wires[0].send(b" \r\n0\r\n\r\n" if framing is CHUNKED else b" ")
        assert wires[0].answer().status == 400  # blanks are not JSON
        large = user("large", title="x" * 250_000)
        assert exchange(url, "POST", "/Users", JSON, body=large).status == 201
        wires[1].close()
        assert eventually(lambda: server.unfinished == 0)


def test_a_request_that_waits_passes_the_lead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A builder's code says so before it waits, and holds nobody up."""
    waits = threading.Event()
    leaders: list[object] = []
    call = scim2_server.Application.__call__

    def slow(self: Any, environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "DELETE":
            leaders.append(server.leader)
            environ["scim2_server.pass_lead"]()
            leaders.append(server.leader)
            assert waits.wait(PATIENCE)
        return call(self, environ, start_response)

    monkeypatch.setattr(scim2_server.Application, "__call__", slow)
    with running_server() as server, Wire(server.url) as wire:
        wire.send(message(server.url, "DELETE", "/Users/1"))
        assert exchange(server.url, "GET", OPEN).status == 200
        assert len({*leaders} - {None}) == 2
        waits.set()
        assert wire.answer().status == 404
        assert wire.send(message(server.url, "GET", OPEN)).answer().status == 200


# --- connections that do nothing ---


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that loses patience soon."""
    monkeypatch.setattr(scim2_server, "IDLE_TIMEOUT", 0.3)
    monkeypatch.setattr(scim2_server, "REQUEST_TIMEOUT", 0.5)
    with running_server() as server:
        yield server.url


STALLED = {
    "silent": b"",
    "half-a-line": b"GET /v2",
    "half-a-head": b"GET /v2/Users HTTP/1.1\r\nHost: local",
    "no-body": message(
        "http://localhost/v2", "POST", "/Users", JSON, "Content-Length: 99"
    ),
    "half-a-body": message(
        "http://localhost/v2", "POST", "/Users", JSON, "Content-Length: 999"
    )
    + user("stalled"),
    "half-a-chunk": message("http://localhost/v2", "POST", "/Users", JSON, CHUNKED)
    + chunks(user("stalled"), last=b""),
    "unread-body": message("http://localhost/v2", "POST", "/No", "Content-Length: 99"),
}


@pytest.mark.parametrize("data", STALLED.values(), ids=STALLED)
def test_stalled(hasty: str, data: bytes) -> None:
    """A connection that stalls is ended, and nothing is carried out."""
    with Wire(hasty) as wire:
        wire.send(data)
        while reply := wire.reply():
            assert reply.status in (404, 408)
            assert_scim(reply)
    assert total(hasty) == 0


def test_idle_after_a_request(hasty: str) -> None:
    """A kept connection that stays idle is ended without a word (RFC 9112 §9.5)."""
    with Wire(hasty) as wire:
        assert wire.send(message(hasty, "GET", OPEN)).answer().status == 200
        assert wire.closed()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v2/Users HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 900,
        message("http://localhost/v2", "POST", "/Users", JSON, "Content-Length: 900")
        + user("slow")
        + b" " * 900,
    ],
    ids=["head", "body"],
)
def test_drip(hasty: str, data: bytes) -> None:
    """A byte now and then does not keep a connection open for ever."""
    with Wire(hasty) as wire:
        ended = threading.Event()

        def drip() -> None:
            for byte in data:
                if ended.wait(0.05):
                    return
                wire.send(bytes([byte]))

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            reply = wire.reply()  # within the patience of the socket: 10 seconds
            assert reply is None or reply.status == 408
            assert thread.is_alive(), "the request was read to its end"
        finally:
            ended.set()
            thread.join()
    assert total(hasty) == 0


def test_a_client_that_never_reads(hasty: str) -> None:
    """A client that takes no replies holds no thread for ever."""
    assert exchange(hasty, "GET", OPEN).status == 200  # by a leader that is there
    before = threading.active_count()
    with contextlib.closing(socket.socket()) as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect(("127.0.0.1", urlsplit(hasty).port or 0))
        greedy.settimeout(0.2)
        with contextlib.suppress(OSError):
            greedy.sendall(message(hasty, "GET", "/Schemas") * 2_000)
        assert exchange(hasty, "GET", OPEN).status == 200
        assert eventually(lambda: threading.active_count() <= before)


def test_idle_connections_shut_nobody_out(url: str) -> None:
    """250 idle and 50 half-open connections, and a client is served all the while."""
    with contextlib.ExitStack() as stack:
        for number in range(300):
            wire = stack.enter_context(Wire(url))
            if number % 6 == 0:
                wire.send(b"POST /v2/Users HTTP/1.1\r\nHost: lo")
            if number % 60 == 0:
                began = time.monotonic()
                assert exchange(url, "GET", OPEN).status == 200
                assert time.monotonic() - began < 5
        live = Live(url)
        created = live.user("served")
        assert live.delete(f"/Users/{created['id']}").status == 204
        live.close()


def test_simultaneous_clients(url: str) -> None:
    """64 clients that come at once are all served (a backlog of 5 is not enough)."""
    began = time.monotonic()
    replies = in_threads(*[lambda: exchange(url, "GET", OPEN)] * 64)
    assert {reply.status for reply in replies} == {200}
    assert time.monotonic() - began < 8


def test_stopping_with_connections_open() -> None:
    """Leaving running_server ends what is open, and the port with it."""
    wires: list[Wire] = []

    def serve() -> str:
        with running_server() as server:
            wires.extend(Wire(server.url) for _ in range(3))
            assert wires[0].send(message(server.url, "GET", OPEN)).answer()
            wires[1].send(b"POST /v2/Users HTTP/1.1\r\n")
            return server.url

    [url] = in_threads(serve)
    assert all(wire.closed() for wire in wires)
    with pytest.raises(ConnectionError):
        Wire(url)
    for wire in wires:
        wire.close()


def test_errors_do_not_tell_internals(url: str) -> None:
    """No detail names a library, a file or a line of the program."""
    details = []
    bodies = [b"{", b"[]", b'{"userName": 5}', b"\xff", b'{"emails": ["\\ud800"]}']
    for body, path in itertools.product(bodies, ("/Users", "/Bulk", "/.search")):
        reply = exchange(url, "POST", path, JSON, body=body)
        assert_scim(reply)
        details.append(reply.json.get("detail", ""))
    assert not re.search(
        r"pydantic|scim2|python|traceback|\.py\b|error_type|object at 0x",
        " ".join(details),
        re.I,
    )
