"""Measure this server, scim2-server from PyPI, and a floor (`make bench`).

Three servers run as processes of their own on loopback and answer the same requests
over four keep-alive connections, in turns (A B C A B C ...), so that a change in the
machine's speed meets all of them. The floor is a threaded HTTP/1.1 WSGI server of the
standard library that answers every request with the same user: what is left of its
rate is what SCIM costs. scim2-server 0.8.3 speaks HTTP/1.0 and closes after each
answer, so there the generator connects anew.

The load generator is this process: blocking sockets behind a selector, requests
encoded beforehand, and of an answer only the status line and the length are read. A
workload is a Python generator that yields requests and is sent the answers. What it
creates is deleted between the rounds, so every round meets the same directory.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import platform
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "0.8.3"
CONNECTIONS = 4
ROUNDS = 4
GROUP_SIZE = 50
PAGE = 100
BULK = 100
PATIENCE = 60  # seconds

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"


# === What is sent ===


def user_document(number: int, base: str, manager: str | None) -> dict[str, Any]:
    """Answer a user as a company's directory describes one, about 1.5 KB."""
    given = ("Barbara", "Mandy", "Ida", "Jörg", "Chidi", "Ana", "Wei")[number % 7]
    family = f"{('Jensen', 'Pepperidge', 'Müller', 'Okafor', 'Silva')[number % 5]}"
    family += f"-{number * 7919 % 10_007:05}"
    email = f"{given.lower()}.{number:05}@corp.example.com"
    enterprise: dict[str, Any] = {
        "employeeNumber": f"{700000 + number}",
        "costCenter": f"CC-{number % 40:04}",
        "organization": "Universal Studios International",
        "division": "Theme Park Operations",
        "department": f"Tour Operations {number % 25}",
    }
    if manager:
        enterprise["manager"] = {"value": manager, "$ref": f"{base}/Users/{manager}"}
    return {
        "schemas": [USER, ENTERPRISE],
        "userName": f"user.{number:05}@corp.example.com",
        "externalId": f"00u{number:017}",
        "name": {
            "formatted": f"Dr. {given} Jane {family}",
            "familyName": family,
            "givenName": given,
            "middleName": "Jane",
            "honorificPrefix": "Dr.",
        },
        "displayName": f"{given} {family}",
        "nickName": given[:3],
        "profileUrl": f"https://people.corp.example.com/profiles/{number:05}",
        "title": "Senior Tour Guide",
        "userType": "Employee",
        "preferredLanguage": "en-US",
        "locale": "en-US",
        "timezone": "America/Los_Angeles",
        "active": True,
        "emails": [
            {"value": email, "type": "work", "primary": True},
            {"value": f"{number:05}.{given.lower()}@home.example", "type": "home"},
        ],
        "phoneNumbers": [
            {"value": f"+1-555-555-{number % 10_000:04}", "type": "work"},
            {"value": f"+1-555-556-{number % 10_000:04}", "type": "mobile"},
        ],
        "addresses": [
            {
                "type": "work",
                "streetAddress": f"{number} Universal City Plaza",
                "locality": "Hollywood",
                "region": "CA",
                "postalCode": "91608",
                "country": "US",
            }
        ],
        ENTERPRISE: enterprise,
    }


def encode(document: Any) -> bytes:
    """Encode JSON as clients do: no spaces."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def patch_document(*operations: dict[str, Any]) -> bytes:
    """Encode a PATCH request (RFC 7644 §3.5.2)."""
    return encode({"schemas": [MESSAGES + "PatchOp"], "Operations": list(operations)})


def add_member(user: str) -> bytes:
    """Encode the PATCH that adds this user to a group."""
    return patch_document({"op": "add", "path": "members", "value": [{"value": user}]})


def remove_member(user: str) -> bytes:
    """Encode the PATCH that removes this user from a group."""
    return patch_document({"op": "remove", "path": f'members[value eq "{user}"]'})


# === The load generator ===


@dataclass(slots=True)
class Reply:
    """One answer: its status and the bytes of its body."""

    status: int
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)

    def expect(self, *statuses: int) -> Reply:
        """Stop the benchmark when the status is another: errors are not a rate."""
        if self.status not in statuses:
            raise SystemExit(f"unexpected answer: {self.status} {self.content[:500]!r}")
        return self


Script = Generator[bytes, Reply, None]
Command = Callable[[], list[str]]


@dataclass(slots=True)
class Slice:
    """The requests of one round: how many, how long, and the latency of each."""

    over: bool = False
    elapsed: float = 0.0
    busy: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def include(self, other: Slice) -> None:
        """Count another round of the same workload too."""
        self.elapsed += other.elapsed
        self.busy += other.busy
        self.latencies += other.latencies

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.elapsed

    def percentile(self, percent: int) -> float:
        """Answer the latency in milliseconds that so many requests stay under."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


class Connection:
    """One client: the script that it plays, and the socket to the server."""

    def __init__(self, port: int, script: Script) -> None:
        self.port = port
        self.script = script
        self.started = 0.0
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()
        self.head = 0
        self.wanted: int | None = None

    def send(self, request: bytes) -> None:
        self.started = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> Reply | None:
        """Read what has come; answer the reply once it is whole."""
        chunk = self.socket.recv(1 << 20)
        self.received += chunk
        if not self.head:
            self.read_head()
        missing = not self.head or len(self.received) < self.head + (self.wanted or 0)
        if chunk and (missing or self.wanted is None):
            return None
        if missing:
            raise SystemExit(f"the server hung up: {bytes(self.received[:500])!r}")
        return Reply(int(self.received[9:12]), bytes(self.received[self.head :]))

    def read_head(self) -> None:
        """Find the end of the head and the length of the body (RFC 9112 §6)."""
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        self.head = end + 4
        head = self.received[:end].lower()
        self.closes = head.startswith(b"http/1.0") or b"connection: close" in head
        before, name, after = head.partition(b"\r\ncontent-length:")
        if name:
            self.wanted = int(after.split(b"\r", 1)[0])
        elif b" 204 " in before or not self.closes:
            self.wanted = 0

    def renew(self) -> bool:
        """Make ready for the next request; tell whether the socket is a new one."""
        if self.closes:
            self.socket.close()
            self.connect()
            return True
        self.received.clear()
        self.head, self.wanted = 0, None
        return False


def ready(selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
    """Wait for answers, but not for ever."""
    events = selector.select(PATIENCE)
    if not events:
        raise SystemExit(f"no answer within {PATIENCE} seconds")
    return events


def play(port: int, seconds: float, scripts: Callable[[Slice], list[Script]]) -> Slice:
    """Play each script on a connection of its own until the time is over."""
    result = Slice()
    selector = selectors.DefaultSelector()
    connections = [Connection(port, script) for script in scripts(result)]
    gc.collect()
    gc.disable()
    busy = time.process_time()
    start = now = time.perf_counter()
    waiting = 0
    for connection in connections:
        with suppress(StopIteration):
            connection.send(next(connection.script))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            waiting += 1
    while waiting:
        for key, _ in ready(selector):
            connection = key.data
            reply = connection.receive()
            if reply is None:
                continue
            now = time.perf_counter()
            result.latencies.append(now - connection.started)
            result.over = now - start >= seconds
            try:
                request = connection.script.send(reply)
            except StopIteration:
                selector.unregister(connection.socket)
                waiting -= 1
                continue
            started = time.perf_counter()
            if connection.closes:
                selector.unregister(connection.socket)
            if connection.renew():
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(request)
            connection.started = started
    result.elapsed = now - start
    result.busy = time.process_time() - busy
    gc.enable()
    for connection in connections:
        connection.socket.close()
    return result


# === The servers ===


@dataclass
class Server:
    """A server that is running, and what was seeded in it."""

    name: str
    pid: int
    port: int
    users: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2"

    def request(
        self, method: str, path: str, body: bytes = b"", headers: str = ""
    ) -> bytes:
        """Encode a request with the headers that a usual client sends."""
        head = (
            f"{method} /v2{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"User-Agent: bench/1\r\nAccept: application/scim+json\r\n{headers}"
        )
        if body:
            head += "Content-Type: application/scim+json\r\n"
            head += f"Content-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body

    def ask(
        self, method: str, path: str, body: bytes = b"", statuses: Iterable[int] = ()
    ) -> Reply:
        """Send one request, outside any measurement, and answer its reply."""
        answers: list[Reply] = []

        def script() -> Script:
            answers.append((yield self.request(method, path, body)))

        play(self.port, 0, lambda _: [script()])
        return answers[0].expect(*(statuses or (200, 201, 204)))

    def send_all(self, requests: Iterable[bytes], *statuses: int) -> list[Reply]:
        """Send these requests over all connections, outside any measurement."""
        replies: dict[int, Reply] = {}
        numbered = iter(enumerate(requests))

        def script() -> Script:
            for number, request in numbered:
                reply = yield request
                replies[number] = reply.expect(*statuses)

        play(self.port, 0, lambda _: [script() for _ in range(CONNECTIONS)])
        return [replies[number] for number in sorted(replies)]

    def delete(self, paths: Iterable[str]) -> None:
        """Delete what a workload created."""
        self.send_all([self.request("DELETE", path) for path in paths], 204)

    def resident(self) -> int:
        """Answer the bytes of memory that the process holds."""
        status = Path(f"/proc/{self.pid}/status")
        if status.exists():
            return int(status.read_text().split("VmRSS:")[1].split()[0]) * 1024
        command = ["ps", "-o", "rss=", "-p", str(self.pid)]
        return int(subprocess.check_output(command)) * 1024

    def seed(self, count: int) -> None:
        """Create ``count`` users, each twentieth a manager, in groups of fifty."""
        for number in range(len(self.users), count):
            if number % 20 == 0:
                body = encode(user_document(number, self.base, None))
                self.users.append(self.ask("POST", "/Users", body).json()["id"])
                continue
            if number % 20 == 1:
                self.seed_team(number, min(count, number + 19))
        for first in range(len(self.groups) * GROUP_SIZE, count, GROUP_SIZE):
            members = self.users[first : first + GROUP_SIZE]
            self.groups.append(self.make_group(f"Tour Guides {first:05}", members))

    def seed_team(self, first: int, end: int) -> None:
        """Create the users of one manager, who was created last."""
        bodies = (
            encode(user_document(number, self.base, self.users[-1]))
            for number in range(first, end)
        )
        requests = [self.request("POST", "/Users", body) for body in bodies]
        replies = self.send_all(requests, 201)
        self.users += [reply.json()["id"] for reply in replies]

    def make_group(self, name: str, members: list[str]) -> str:
        """Create a group of these users and answer its id."""
        document = {
            "schemas": [GROUP],
            "displayName": name,
            "members": [{"value": member} for member in members],
        }
        created: str = self.ask("POST", "/Groups", encode(document)).json()["id"]
        return created


@contextmanager
def running(name: str, command: list[str]) -> Iterator[Server]:
    """Start a server and read its port from the line that it prints when ready."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://[^/\s]+:(\d+)", line):
                yield Server(name, process.pid, int(found[1]))
                return
        raise SystemExit(f"{name} did not start: {' '.join(command)}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def our_command() -> list[str]:
    return [sys.executable, "scim2_server.py", "--port", "0"]


def floor_command() -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), "--floor"]


def reference_python() -> Path:
    """Answer the interpreter beside scim2-server; install both when missing."""
    home = ROOT / ".venv" / f"scim2-server-{REFERENCE}"
    python = home / "bin" / "python"
    if not (home / "bin" / "scim2-server").exists():
        say(f"installing scim2-server {REFERENCE} in {home.relative_to(ROOT)}")
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", home])
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.check_call([*install, f"scim2-server=={REFERENCE}"])
    return python


def reference_command() -> list[str]:
    """Answer the reference's command line; it wants a port that is free."""
    script = reference_python().with_name("scim2-server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return [str(script), "--port", str(port)]


def serve_floor() -> None:
    """Answer every request with one user: the least that the stdlib can do."""
    from http.server import ThreadingHTTPServer
    from wsgiref.simple_server import WSGIRequestHandler

    document = user_document(1, "http://127.0.0.1/v2", "u0")
    content = encode(document | {"id": "u1", "meta": {"resourceType": "User"}})

    def application(
        environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> list[bytes]:
        if length := environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"].read(int(length))
        headers = [
            ("Content-Type", "application/scim+json"),
            ("Content-Length", str(len(content))),
        ]
        start_response("200 OK", headers)
        return [content]

    class Handler(WSGIRequestHandler):
        """One thread a connection, and one send an answer."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            self.close_connection = False
            while not self.close_connection:
                self.handle_one_request()

        def do_GET(self) -> None:
            environ = self.get_environ() | {"wsgi.input": self.rfile}
            started: list[Any] = []
            body = application(environ, lambda *head: started.extend(head))
            status, headers = started
            lines = [f"{self.protocol_version} {status}"]
            lines += [f"{name}: {value}" for name, value in headers]
            lines += [f"Date: {self.date_time_string()}", "\r\n"]
            self.wfile.write("\r\n".join(lines).encode("latin-1") + b"".join(body))

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    class FloorServer(ThreadingHTTPServer):
        request_queue_size = 128
        base_environ: ClassVar[dict[str, str]] = {}

    with FloorServer(("127.0.0.1", 0), Handler) as server:
        print(f"Serving on http://127.0.0.1:{server.server_port}/v2", flush=True)
        server.serve_forever()


# === The workloads ===


class Workload:
    """One row of the table: prepare, play a slice, restore."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.created: list[str] = []
        self.prepare()

    def prepare(self) -> None:
        """Do what is needed once, before the first round."""

    def scripts(self, part: Slice) -> list[Script]:
        """Answer a script for each connection."""
        return [self.script(part, number) for number in range(CONNECTIONS)]

    def script(self, part: Slice, number: int) -> Script:
        """Yield requests until the slice is over."""
        raise NotImplementedError

    def measure(self, seconds: float) -> Slice:
        part = play(self.server.port, seconds, self.scripts)
        self.restore()
        return part

    def restore(self) -> None:
        """Delete what the slice created."""
        self.server.delete(self.created)
        self.created.clear()

    def finish(self) -> None:
        """Undo what ``prepare`` did."""


class Cycle(Workload):
    """Send the same requests over and over, each connection its share of them."""

    requests: list[bytes]
    statuses: tuple[int, ...] = (200,)

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        shares = (self.requests[number::CONNECTIONS] for number in range(CONNECTIONS))
        self.shares = [itertools.cycle(share) for share in shares]

    def script(self, part: Slice, number: int) -> Script:
        reply = yield next(self.shares[number])
        self.check(reply.expect(*self.statuses))
        for request in self.shares[number]:
            reply = yield request
            reply.expect(*self.statuses)
            if part.over:
                return

    def check(self, reply: Reply) -> None:
        """Look closely at the first answer of each connection."""


class Get(Cycle):
    query = ""

    def prepare(self) -> None:
        users = self.server.users or ["u1"] * CONNECTIONS
        self.requests = [
            self.server.request("GET", f"/Users/{user}{self.query}") for user in users
        ]

    def check(self, reply: Reply) -> None:
        assert reply.json()["userName"]


class GetAttributes(Get):
    query = "?attributes=userName,name.familyName,emails"


class Query(Cycle):
    """Queries that must find ``found`` users."""

    found = 1

    def prepare(self) -> None:
        self.requests = [
            self.server.request("GET", f"/Users?{self.query(number)}")
            for number in range(len(self.server.users))
        ]

    def query(self, number: int) -> str:
        raise NotImplementedError

    def check(self, reply: Reply) -> None:
        answer = reply.json()
        wanted = min(self.found, len(self.server.users))
        if len(answer.get("Resources", [])) != wanted:
            raise SystemExit(f"{type(self).__name__}: {reply.content[:500]!r}")


class FilterUserName(Query):
    def query(self, number: int) -> str:
        name = user_document(number, "", None)["userName"]
        return "filter=" + quote(f'userName eq "{name}"')


class FilterExternalId(Query):
    def query(self, number: int) -> str:
        name = user_document(number, "", None)["externalId"]
        return "filter=" + quote(f'externalId eq "{name}"')


class FilterEmails(Query):
    def query(self, number: int) -> str:
        part = f".{number:05}@corp"
        return "filter=" + quote(f'emails[type eq "work" and value co "{part}"]')


class FilterLastModified(Query):
    """Ask for the thirty users that were changed last, as a delta synchronisation."""

    found = 30

    def prepare(self) -> None:
        body = patch_document({"op": "replace", "path": "nickName", "value": "Bibi"})
        for user in self.server.users[: self.found + 1]:
            self.server.ask("PATCH", f"/Users/{user}", body)
            time.sleep(0.002)  # some clocks tick in milliseconds
        first = self.server.ask("GET", f"/Users/{self.server.users[0]}").json()
        self.since = first["meta"]["lastModified"]
        super().prepare()

    def query(self, number: int) -> str:
        return "filter=" + quote(f'meta.lastModified gt "{self.since}"')


class Page(Query):
    found = PAGE
    sort = ""

    def query(self, number: int) -> str:
        pages = max(1, len(self.server.users) // PAGE)
        return f"startIndex={number % pages * PAGE + 1}&count={PAGE}{self.sort}"


class SortedPage(Page):
    sort = "&sortBy=name.familyName"


class Patch(Cycle):
    """Replace a value; of the two values sent in turn each one is a change."""

    statuses = (200, 204)

    def prepare(self) -> None:
        self.requests = [
            self.change(user, number, f"Tour Guide {turn}")
            for turn in "AB"
            for number, user in enumerate(self.server.users)
        ]

    def change(self, user: str, number: int, title: str) -> bytes:
        operation = {"op": "replace", "path": "title", "value": title}
        body = patch_document(operation)
        return self.server.request("PATCH", f"/Users/{user}", body)


class Put(Patch):
    """Replace the whole user with one that has another title."""

    def change(self, user: str, number: int, title: str) -> bytes:
        manager = None if number % 20 == 0 else self.server.users[number // 20 * 20]
        document = user_document(number, self.server.base, manager)
        body = encode(document | {"title": title})
        return self.server.request("PUT", f"/Users/{user}", body)


class Members(Workload):
    """Remove a member from a large group and add it again."""

    size = 1000
    headers = ""

    def prepare(self) -> None:
        self.group = self.server.make_group("Everyone", self.server.users[: self.size])

    def finish(self) -> None:
        self.server.delete([f"/Groups/{self.group}"])

    def script(self, part: Slice, number: int) -> Script:
        members = self.server.users[number : self.size : CONNECTIONS]
        changes = [
            self.server.request("PATCH", f"/Groups/{self.group}", body, self.headers)
            for user in members
            for body in (remove_member(user), add_member(user))
        ]
        pairs = zip(changes[::2], changes[1::2], strict=True)
        for remove, add in itertools.cycle(pairs):
            (yield remove).expect(200, 204)
            (yield add).expect(200, 204)
            if part.over:
                return


class MembersMinimal(Members):
    """The same for a client that does not want the whole group back."""

    headers = "Prefer: return=minimal\r\n"


class SmallMembers(Members):
    """The same with a group that also fits into a small directory."""

    size = 100


class Post(Workload):
    """Create users, and leave them to be deleted after the slice."""

    numbers = itertools.count(100_000)

    def script(self, part: Slice, number: int) -> Script:
        while not part.over:
            reply = yield self.create(next(self.numbers))
            self.created.append(f"/Users/{reply.expect(201).json()['id']}")

    def create(self, number: int) -> bytes:
        document = user_document(number, self.server.base, self.server.users[0])
        return self.server.request("POST", "/Users", encode(document))


class Delete(Post):
    """Delete users, as many as are created in half the time of the slice."""

    def measure(self, seconds: float) -> Slice:
        play(self.server.port, seconds / 2, self.scripts)
        requests = iter([self.server.request("DELETE", path) for path in self.created])
        self.created.clear()

        def script() -> Script:
            for request in requests:
                (yield request).expect(204)

        return play(
            self.server.port, 0, lambda _: [script() for _ in range(CONNECTIONS)]
        )


class Bulk(Post):
    """Create a hundred users in one request."""

    def script(self, part: Slice, number: int) -> Script:
        while not part.over:
            reply = yield self.create(next(self.numbers))
            for operation in reply.expect(200).json()["Operations"]:
                assert operation["status"] in ("201", 201), operation
                self.created.append(
                    "/Users/" + operation["location"].rpartition("/")[2]
                )

    def create(self, number: int) -> bytes:
        operations = [
            {
                "method": "POST",
                "path": "/Users",
                "bulkId": f"b{index}",
                "data": user_document(number * BULK + index, self.server.base, None),
            }
            for index in range(BULK)
        ]
        document = {"schemas": [MESSAGES + "BulkRequest"], "Operations": operations}
        return self.server.request("POST", "/Bulk", encode(document))


class Mix(Post):
    """Play an identity provider: match, create or update, then the group."""

    def script(self, part: Slice, number: int) -> Script:
        users = list(enumerate(self.server.users))[number::CONNECTIONS]
        groups = self.server.groups[number::CONNECTIONS] or self.server.groups
        turns = zip(itertools.cycle(users), itertools.cycle(groups), strict=True)
        for (known, user), group in turns:
            count = next(self.numbers)
            path = f"/Groups/{group}"
            (yield self.find(count)).expect(200)
            reply = (yield self.create(count)).expect(201)
            created = reply.json()["id"]
            self.created.append(f"/Users/{created}")
            (yield self.patch(path, add_member(created))).expect(200, 204)
            (yield self.find(known)).expect(200)
            change = {"op": "replace", "path": "title", "value": f"Lead {count}"}
            body = patch_document(change)
            (yield self.patch(f"/Users/{user}", body)).expect(200, 204)
            (yield self.patch(path, remove_member(created))).expect(200, 204)
            if part.over:
                return

    def find(self, number: int) -> bytes:
        name = f"user.{number:05}@corp.example.com"
        query = "filter=" + quote(f'userName eq "{name}"')
        return self.server.request("GET", f"/Users?{query}")

    def patch(self, path: str, body: bytes) -> bytes:
        return self.server.request("PATCH", path, body)


# === Odd clients ===


class OneGet(Get):
    """Ask for users over one connection, one after another."""

    def scripts(self, part: Slice) -> list[Script]:
        return [self.script(part, 0)]


@dataclass(frozen=True)
class Odd:
    """Clients that send what is valid, in a way that is laborious to serve."""

    title: str
    connections: int
    step: int  # bytes sent at once
    request: bytes
    reads: bool = True


def odd_post(framing: str, body: bytes) -> bytes:
    """Spell a POST of which a server must read the whole body."""
    head = f"POST /v2/Users HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"
    return head.encode() + body


SMALL_GET = b"GET /v2/Users?count=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
LONG_GET = (
    b"GET /v2/Users?count=0&x=%b HTTP/1.1\r\nHost: localhost\r\nX: %b\r\n\r\n"
    % (b"x" * 50_000, b"x" * 55_000)
)
IN_CHUNKS = odd_post(
    "Transfer-Encoding: chunked", b"1\r\n \r\n" * 200_000 + b"0\r\n\r\n"
)
WITH_LENGTH = odd_post("Content-Length: 200000", b" " * 200_000)
ODD = {
    "nobody": Odd("nobody else", 0, 1, b""),
    "head": Odd("a head of 105 KB, byte by byte", 1, 1, LONG_GET),
    "heads": Odd("20 of them", 20, 1, LONG_GET),
    "pipelines": Odd("20 endless pipelines", 20, 2**16, SMALL_GET * 1000),
    "unread": Odd("20 whose replies are not read", 20, 2**16, SMALL_GET * 1000, False),
    "bodies": Odd("20 bodies, byte by byte", 20, 1, WITH_LENGTH),
    "chunks": Odd("20 bodies in chunks of one byte", 20, 2**16, IN_CHUNKS),
    "chunk": Odd("a body in chunks of one byte, byte by byte", 1, 1, IN_CHUNKS),
}


def be_odd(kind: str, port: int) -> None:
    """Send the same request over and over until this process is ended."""
    odd = ODD[kind]
    selector = selectors.DefaultSelector()
    events = selectors.EVENT_WRITE | (selectors.EVENT_READ if odd.reads else 0)
    for _ in range(odd.connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, events, [0])
    print("odd", flush=True)
    while True:
        for key, event in selector.select(PATIENCE):
            sent: list[int] = key.data
            assert isinstance(key.fileobj, socket.socket)
            with suppress(BlockingIOError):
                if event & selectors.EVENT_READ and not key.fileobj.recv(2**16):
                    raise SystemExit("the server hung up")
                at = sent[0] % len(odd.request)
                sent[0] += key.fileobj.send(odd.request[at : at + odd.step])


def measure_odd(kind: str, server: Server, seconds: float) -> Slice:
    """Ask for users while other clients are odd."""
    command = [sys.executable, str(Path(__file__).resolve()), "--odd", kind]
    process = subprocess.Popen(
        [*command, "--port", str(server.port)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        part = OneGet(server).measure(seconds)
        if process.poll() is not None:
            raise SystemExit(f"the odd clients ({kind}) were not served")
        return part
    finally:
        process.kill()
        process.communicate()


# === The table ===


@dataclass(frozen=True)
class Row:
    """A workload of the table and how much faster than the reference it must be."""

    key: str
    title: str
    workload: type[Workload]
    target: float | None
    of_floor: float | None = None


EMAILS = 'emails[type eq "work" and value co ...]'
ROWS = (
    Row("get", "GET by id", Get, 10, 0.8),
    Row("attributes", "GET with `attributes=`", GetAttributes, 10),
    Row("username", "filter `userName eq`", FilterUserName, 13),
    Row("externalid", "filter `externalId eq`", FilterExternalId, 13),
    Row("emails", f"filter `{EMAILS}`", FilterEmails, 30),
    Row("modified", "filter `meta.lastModified gt`", FilterLastModified, 60),
    Row("page", "page of 100", Page, 200),
    Row("sorted", "page of 100 sorted by `name.familyName`", SortedPage, 80),
    Row("patch", "PATCH replace one attribute", Patch, 9),
    Row("members", "PATCH add and remove a member, group of 1,000", Members, 40),
    Row("minimal", "the same, `Prefer: return=minimal`", MembersMinimal, None),
    Row("put", "PUT", Put, 8),
    Row("post", "POST", Post, 7.5),
    Row("delete", "DELETE", Delete, 5),
    Row("bulk", "Bulk of 100 creates", Bulk, 9),
    Row("mix", "provisioning mix", Mix, 10),
)
GROWTH = (
    ("GET by id", Get),
    ("filter `userName eq`", FilterUserName),
    ("PATCH replace one attribute", Patch),
    ("PATCH add and remove a member, group of 100", SmallMembers),
)
OURS, THEIRS, FLOOR = "this server", f"scim2-server {REFERENCE}", "floor"


def say(line: str) -> None:
    """Print progress where it does not mix with the table."""
    print(line, file=sys.stderr, flush=True)


def interleave(workloads: dict[str, Workload], seconds: float) -> dict[str, Slice]:
    """Play the rounds A B C A B C ... and answer the sums by server."""
    results = {name: Slice() for name in workloads}
    for workload in workloads.values():
        workload.measure(seconds / 20)
    for _ in range(ROUNDS):
        for name, workload in workloads.items():
            results[name].include(workload.measure(seconds / ROUNDS))
    for workload in workloads.values():
        workload.finish()
    return results


def cell(part: Slice | None) -> str:
    """Print a rate with the latencies behind it."""
    if part is None:
        return "-"
    rate = f"{part.rate:,.0f}" if part.rate >= 20 else f"{part.rate:.1f}"
    return f"{rate} ({part.percentile(50):.2f} / {part.percentile(99):.2f})"


def ratio(part: Slice | None, other: Slice | None) -> float | None:
    return part.rate / other.rate if part and other else None


def times(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}x" if number >= 20 else f"{number:.2g}x"


def verdict(*pairs: tuple[float | None, float | None]) -> str:
    """Say whether each number that was measured reaches its target."""
    known = [got >= want for got, want in pairs if got is not None and want is not None]
    return ("yes" if all(known) else "**no**") if known else "-"


def measure_rows(
    rows: Iterable[Row], servers: dict[str, Server], seconds: float
) -> Iterator[tuple[str, ...]]:
    """Measure the workloads; yield the lines of the first table."""
    for row in rows:
        workloads = {
            name: (Get if name == FLOOR else row.workload)(server)
            for name, server in servers.items()
        }
        results = interleave(workloads, seconds)
        ours, theirs, floor = (results.get(name) for name in (OURS, THEIRS, FLOOR))
        faster, of_floor = ratio(ours, theirs), ratio(ours, floor)
        target = f"{row.target:g}x" if row.target else "-"
        if row.of_floor:
            target += f", {row.of_floor:g} of the floor"
        line = (
            row.title,
            cell(ours),
            cell(theirs),
            times(faster),
            f"{of_floor:.2f}" if of_floor else "-",
            target,
            verdict((faster, row.target), (of_floor, row.of_floor)),
        )
        load = floor.busy / floor.elapsed if floor else 0
        say(f"{' | '.join(line)} | floor {cell(floor)}, generator busy {load:.0%}")
        yield line


def measure_growth(
    small: Server, large: Server, seconds: float
) -> Iterator[tuple[str, ...]]:
    """Compare the same workload among few users and among many."""
    for title, workload in GROWTH:
        results = interleave({"few": workload(small), "many": workload(large)}, seconds)
        few, many = results["few"], results["many"]
        growth = few.rate / many.rate
        limits = ("at most 1.3x", verdict((1.3, growth)))
        line = (title, cell(few), cell(many), f"{growth:.2f}x", *limits)
        say(" | ".join(line))
        yield line


def odd_table(options: argparse.Namespace) -> str:
    """Measure a client of this server that asks beside odd ones."""
    lines = []
    with running(OURS, our_command()) as server:
        server.seed(options.users // 10)
        for kind, odd in ODD.items():
            part = measure_odd(kind, server, options.seconds)
            worst = part.percentile(99)
            limits = ("at most 100 ms", verdict((100, worst)))
            line = (odd.title, cell(part), f"{part.percentile(100):.1f}", *limits)
            lines.append(line)
            say(" | ".join(line))
    head = ("GET by id beside", "req/s of one connection", "slowest, ms")
    return table((*head, "99th percentile", "met"), *lines)


def time_command(command: list[str]) -> float:
    """Answer how long a command runs."""
    start = time.perf_counter()
    subprocess.check_call(command)
    return time.perf_counter() - start


def time_start(command: list[str]) -> float:
    """Answer how long a server takes from the command to its first answer."""
    start = time.perf_counter()
    with running("server", command) as server:
        server.ask("GET", "/ServiceProviderConfig")
        return time.perf_counter() - start


def table(*lines: tuple[str, ...]) -> str:
    """Print lines as a Markdown table; the first one is its head."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], "|---" * len(lines[0]) + "|", *rows[1:]])


def workload_table(
    commands: dict[str, Command], rows: list[Row], options: argparse.Namespace
) -> str:
    """Seed the servers side by side and measure the workloads."""
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(running(name, command()))
            for name, command in commands.items()
        }
        for server in servers.values():
            say(f"seeding {server.name} with {options.users:,} users")
            server.seed(options.users)
        servers[FLOOR] = stack.enter_context(running(FLOOR, floor_command()))
        names = (f"{name}, req/s" for name in (OURS, THEIRS))
        head = ("workload", *names, "ratio", "of the floor", "target", "met")
        return table(head, *measure_rows(rows, servers, options.seconds))


def growth_table(options: argparse.Namespace) -> str:
    """Measure this server among a tenth and among ten times as many users."""
    with (
        running(OURS, our_command()) as small,
        running(OURS, our_command()) as large,
    ):
        few, many = options.users // 10, options.users * 10
        small.seed(few)
        say(f"seeding {large.name} with {many:,} users")
        large.seed(many)
        head = ("growth", f"{few:,} users, req/s", f"{many:,} users, req/s")
        lines = measure_growth(small, large, options.seconds)
        return table((*head, "ratio", "target", "met"), *lines)


def memory_line(name: str, command: Command, users: int) -> tuple[str, ...]:
    """Measure what a user costs in memory, after everybody was read once."""
    say(f"measuring the memory of {name} with {users:,} users")
    with running(name, command()) as server:
        sizes = []
        for count in (users // 10, users):
            server.seed(count)
            for first in range(1, count, PAGE):
                server.ask("GET", f"/Users?startIndex={first}&count={PAGE}")
            sizes.append(server.resident())
        each = (sizes[1] - sizes[0]) / (users - users // 10) / 1024
        body = len(server.ask("GET", f"/Users/{server.users[-1]}").content)
    limits = ("at most 10 KiB", verdict((10, each))) if name == OURS else ("-", "-")
    title = f"memory for each of {users:,} users of {body:,} bytes, {name}"
    return (title, f"{each:.1f} KiB", *limits)


def start_line(name: str, command: Command) -> tuple[str, ...]:
    """Compare the start with the import that it contains, in turns."""
    say(f"measuring the start of {name}")
    python = str(reference_python()) if name == THEIRS else sys.executable
    bare = [python, "-c", "import scim2_models"]
    pairs = [(time_start(command()), time_command(bare)) for _ in range(6)][1:]
    start, bare_import = map(statistics.median, zip(*pairs, strict=True))
    slower = start / bare_import
    limits = ("at most 1.35x", verdict((1.35, slower))) if name == OURS else ("-", "-")
    title = f"start to first answer as a multiple of `import scim2_models`, {name}"
    return (title, f"{slower:.2f}x ({start:.2f} s / {bare_import:.2f} s)", *limits)


def report(options: argparse.Namespace) -> Iterator[str]:
    """Measure what was asked for; yield the paragraphs of the report."""
    commands: dict[str, Command] = {OURS: our_command}
    if not (ROOT / "scim2_server.py").exists():
        say("scim2_server.py is missing: the other servers are measured alone")
        del commands[OURS]
    if not options.no_reference:
        commands[THEIRS] = reference_command
    yield (
        f"Measured on {date.today()}: Python {platform.python_version()}, "
        f"{os.cpu_count()} cores ({platform.system()} {platform.machine()}), "
        f"{options.users:,} users, {CONNECTIONS} connections. In brackets the median "
        "and the 99th percentile in milliseconds; the floor is a threaded HTTP/1.1 "
        "server of the standard library that answers a fixed user. "
        f"{THEIRS} closes after each answer: its rate includes connecting anew."
    )
    if rows := [row for row in ROWS if options.only in (None, row.key)]:
        yield workload_table(commands, rows, options)
    if options.only in (None, "growth") and OURS in commands:
        yield growth_table(options)
    if options.only in (None, "odd") and OURS in commands:
        yield odd_table(options)
    lines: list[tuple[str, ...]] = []
    if options.only in (None, "memory"):
        counts = {OURS: options.users * 10, THEIRS: options.users}
        lines += [memory_line(name, commands[name], counts[name]) for name in commands]
    if options.only in (None, "start"):
        lines += [start_line(name, commands[name]) for name in commands]
    if lines:
        yield table(("process", "measured", "target", "met"), *lines)


def write(path: Path, text: str) -> None:
    """Replace what stands between the marks of the benchmark."""
    before, mark, rest = path.read_text().partition("<!-- bench -->")
    _, end, after = rest.partition("<!-- /bench -->")
    if not (mark and end):
        raise SystemExit(f"{path} has no <!-- bench --> ... <!-- /bench -->")
    path.write_text(f"{before}{mark}\n{text}\n{end}{after}")


def main() -> None:
    """Read the command line, measure, print the tables."""
    keys = [*(row.key for row in ROWS), "growth", "odd", "memory", "start"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument(
        "--seconds", type=float, default=2, help="for each workload and server"
    )
    parser.add_argument(
        "--only", choices=keys, metavar="WORKLOAD", help=", ".join(keys)
    )
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--odd", choices=ODD, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        return serve_floor()
    if options.odd:
        return be_odd(options.odd, options.port)
    if options.write and (options.only or options.no_reference):
        parser.error("--write wants a whole run")
    paragraphs = []
    for paragraph in report(options):
        print(paragraph, end="\n\n", flush=True)
        paragraphs.append(paragraph)
    if options.write:
        write(options.write, "\n\n".join(paragraphs))
    return None


if __name__ == "__main__":
    main()
