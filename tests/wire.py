"""Raw HTTP/1.1 over a socket, and processes, for the tests of a live server."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from conftest import ERROR, Client, Reply

SERVER = Path(__file__).resolve().parent.parent / "scim2_server.py"
PATIENCE = 10.0  # seconds: far beyond what any answer may need


class Headers(dict[str, str]):
    """Header fields, by name in any case (RFC 9110 §5.1)."""

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name.lower(), value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def decoded(reply: Reply) -> Reply:
    """Add the JSON of a body that says it is JSON."""
    if reply.content and "json" in reply.headers.get("Content-Type", ""):
        reply.json = json.loads(reply.content)
    return reply


class Wire:
    """One connection, on which bytes are sent and replies are read strictly."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname, parts.port), PATIENCE)
        if context:
            self.socket = context.wrap_socket(
                self.socket, server_hostname=parts.hostname
            )
        self.stream = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, *chunks: bytes) -> Wire:
        """Send these bytes; a server that has already hung up is no error here."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for chunk in chunks:
                self.socket.sendall(chunk)
        return self

    def end(self) -> Wire:
        """Close our half of the connection: no more bytes will come."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        return self

    def line(self) -> bytes:
        try:
            return self.stream.readline()
        except ConnectionResetError:
            return b""

    def reply(self, method: str = "GET") -> Reply | None:
        """Read one reply to ``method``, strictly; None at the end of the stream."""
        start = self.line()
        if not start:
            return None
        match = re.fullmatch(rb"HTTP/1\.1 ([1-5]\d\d) [ -~]*\r\n", start)
        assert match, start
        status = int(match[1])
        headers = Headers()
        while (line := self.line()) != b"\r\n":
            field = re.fullmatch(rb"([\w!#-'*+.^`|~-]+): ?([ -~\x80-\xff]*)\r\n", line)
            assert field, line
            name = field[1].decode()
            assert name not in headers, f"{name} comes twice"
            headers[name] = field[2].decode("latin-1")
        bare = method == "HEAD" or status < 200 or status in (204, 304)
        length = 0 if bare else int(headers["Content-Length"])
        content = self.stream.read(length)
        assert len(content) == length
        return decoded(Reply(status, headers, content))

    def answer(self, method: str = "GET") -> Reply:
        """Read one reply, which must come."""
        reply = self.reply(method)
        assert reply is not None, "the connection was closed without an answer"
        return reply

    def closed(self) -> bool:
        """Wait for the server to close the connection, without another byte."""
        try:
            return self.stream.read(1) == b""
        except ConnectionResetError:
            return True


def message(
    url: str, method: str, path: str, *headers: str, body: bytes = b""
) -> bytes:
    """Spell one request; ``Host`` and a needed Content-Length come by themselves."""
    parts = urlsplit(url)
    target = path if path[:1] != "/" else parts.path + path
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", *headers]
    if body and not any(line.lower().startswith("transfer-") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def exchange(
    url: str, method: str, path: str, *headers: str, body: bytes = b""
) -> Reply:
    """Send one request on a connection of its own, and read the reply."""
    with Wire(url) as wire:
        return wire.send(message(url, method, path, *headers, body=body)).answer(method)


class Live(Client):
    """The in-process client's twin over a keep-alive connection."""

    def __init__(
        self, url: str, token: str = "", context: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.prefix = parts.path
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection = (
            http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=PATIENCE, context=context
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(
                parts.hostname, parts.port, timeout=PATIENCE
            )
        )

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        """Send ``body`` (bytes as they are, else as JSON) to prefix + ``path``."""
        target = self.prefix + path
        if query:
            target += "?" + urlencode(query, quote_via=quote)
        fields = self.headers | (headers or {})
        if body is not None:
            fields = {"Content-Type": "application/scim+json"} | fields
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request(method, target, body, fields)
        response = self.connection.getresponse()
        content = response.read()
        headers = Headers()
        for name, value in response.getheaders():
            headers[name] = value
        return decoded(Reply(response.status, headers, content))

    def close(self) -> None:
        self.connection.close()


def assert_scim(reply: Reply) -> str:
    """Check that this is a success, or a SCIM error that is nobody's crash."""
    assert reply.status < 500 or reply.status in (501, 505), reply.content
    if reply.status < 400 or not reply.content:
        return ""
    assert reply.headers["Content-Type"].startswith("application/scim+json")
    assert reply["schemas"] == [ERROR]
    assert reply["status"] == str(reply.status)
    detail: str = reply["detail"]
    assert detail and "Traceback" not in detail
    return detail


def in_threads(*jobs: Callable[[], Any]) -> list[Any]:
    """Run these at once, raise what any of them raised, and answer their results."""
    start = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)
    raised: list[BaseException] = []

    def run(place: int, job: Callable[[], Any]) -> None:
        start.wait(PATIENCE)
        try:
            results[place] = job()
        except BaseException as error:
            raised.append(error)

    threads = [
        threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a request hangs"
    if raised:
        raise raised[0]
    return results


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until this holds; answer False when patience ends."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def open_files() -> int:
    """Count this process's file descriptors, where the system tells (else 0)."""
    gc.collect()
    folder = "/proc/self/fd"
    return len(os.listdir(folder)) if os.path.isdir(folder) else 0
