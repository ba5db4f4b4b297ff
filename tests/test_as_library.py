"""create_app under other servers, running_server in tests, Store as the seam."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import GROUP, USER, Client
from wire import PATIENCE, SERVER, Live, Wire, exchange, in_threads, message

from scim2_server import Store, create_app, running_server

JSON = "Content-Type: application/scim+json"
APPLICATION = 'from scim2_server import create_app\napp = create_app(prefix="/v2")\n'


def gunicorn(folder: Path) -> Iterator[str]:
    """Serve create_app by gunicorn: one process, many threads."""
    if not find_spec("gunicorn"):
        pytest.skip("gunicorn is not installed")
    (folder / "application.py").write_text(APPLICATION)
    path = os.pathsep.join([str(SERVER.parent), *sys.path])
    options = ["--workers", "1", "--threads", "8", "--bind", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "application:app"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stderr
        printed = ""
        while not (found := re.search(r"Listening at: (http://[\d.:]+)", printed)):
            line = process.stderr.readline()
            assert line, printed
            printed += line
        yield found[1] + "/v2"
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate()


def waitress(folder: Path) -> Iterator[str]:
    """Serve create_app by waitress, in a thread."""
    if not find_spec("waitress"):
        pytest.skip("waitress is not installed")
    from waitress import create_server

    server = create_server(create_app(), host="127.0.0.1", port=0, threads=8)

    def run() -> None:
        with contextlib.suppress(OSError):  # the select() of what is closed below
            server.run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}/v2"
    server.close()
    server.task_dispatcher.shutdown()
    thread.join(PATIENCE)


def running(folder: Path) -> Iterator[str]:
    """Serve by the module's own server, for comparison."""
    with running_server() as server:
        yield server.url


@pytest.fixture(scope="module", params=[gunicorn, waitress, running])
def url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    yield from request.param(tmp_path_factory.mktemp("application"))


def test_life_of_a_user(url: str) -> None:
    """Every verb works under every server, and Locations name the real URL."""
    live = Live(url)
    created = live.post("/Users", {"schemas": [USER], "userName": "ann"})
    location = created.headers["Location"]
    assert created.status == 201 and location.startswith(url + "/Users/")
    path = location.removeprefix(url)
    reply = live.get(path)
    assert reply.json == created.json
    assert live.request("HEAD", path).headers["ETag"] == reply.headers["ETag"]
    unchanged = live.request(
        "GET", path, headers={"If-None-Match": reply.headers["ETag"]}
    )
    assert (unchanged.status, unchanged.content) == (304, b"")
    title = {"op": "add", "path": "title", "value": "Œuvre"}
    stale = live.patch(path, title, headers={"If-Match": 'W/"stale"'})
    assert stale.status == 412
    assert live.patch(path, title)["title"] == "Œuvre"
    found = live.get("/Users", filter='title eq "Œuvre" and userName sw "A"')
    assert found["totalResults"] == 1
    replaced = {"schemas": [USER], "userName": "ann", "active": True}
    assert "title" not in live.put(path, replaced).json
    assert live.delete(path).status == 204
    assert live.get(path).status == 404
    assert live.get("/Users/a%2Fb").status == 404
    live.close()


def test_chunked_everywhere(url: str) -> None:
    """A chunked body has no CONTENT_LENGTH in WSGI, and is read all the same."""
    body = json.dumps({"schemas": [GROUP], "displayName": "chunky"}).encode()
    with Wire(url) as wire:
        for _ in range(2):
            wire.send(
                message(url, "POST", "/Groups", JSON, "Transfer-Encoding: chunked"),
                *(b"1\r\n%c\r\n" % byte for byte in body),
                b"0\r\n\r\n",
            )
            assert wire.answer()["displayName"] == "chunky"


def test_no_body_everywhere(url: str) -> None:
    """A POST without a body ends in an error, under every server."""
    assert exchange(url, "POST", "/Users", JSON).status in (400, 411)


def test_threads_everywhere(url: str) -> None:
    """Of many threads one wins a userName (RFC 7644 §3.3.1)."""

    def create() -> int:
        body = json.dumps({"schemas": [USER], "userName": "race"}).encode()
        return exchange(url, "POST", "/Users", JSON, body=body).status

    assert Counter(in_threads(*[create] * 16)) == {201: 1, 409: 15}


class Slow(Store):
    """A store that takes its time to write a user, as long as its name has seconds."""

    def write(self, type: Any, resource: Any) -> None:
        time.sleep(float(resource["userName"].partition(" ")[0]))
        super().write(type, resource)


@pytest.mark.parametrize("padding", [10, 700_000], ids=["leader", "thread"])
@pytest.mark.parametrize(("seconds", "answered"), [(0.7, True), (3.0, False)])
def test_closing_waits_for_requests(
    padding: int, seconds: float, answered: bool
) -> None:
    """Those in flight have two seconds; who only waits is ended at once."""
    body = {"schemas": [USER], "userName": f"{seconds}", "title": "x" * padding}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(store=Slow))
        idle, half, busy = (stack.enter_context(Wire(server.url)) for _ in range(3))
        idle.send(message(server.url, "GET", "/Users")).answer()
        content = json.dumps(body).encode()
        post = message(server.url, "POST", "/Users", JSON, body=content)
        half.send(post[:-5])
        busy.send(post)
        time.sleep(0.3)
        begun = time.monotonic()
        closing = threading.Thread(target=server.close)
        closing.start()
        for wire in (idle, half):
            assert wire.closed()
        assert time.monotonic() - begun < 0.6
        with pytest.raises(OSError):
            Wire(server.url).__enter__()
        if answered:
            reply = busy.answer()
            assert (reply.status, reply.headers["Connection"]) == (201, "close")
        closing.join()
        took = time.monotonic() - begun
        assert took < 1.5 if answered else 1.9 < took < 3


def test_running_servers_are_separate() -> None:
    """Two servers share nothing, and an exception inside ends them."""
    with pytest.raises(ZeroDivisionError), running_server() as one:
        with running_server() as two:
            assert one.url != two.url
            Live(one.url).user("ann")
            assert exchange(two.url, "GET", "/Users")["totalResults"] == 0
        raise ZeroDivisionError
    for server in (one, two):
        with pytest.raises(ConnectionError):
            Wire(server.url)


def test_inspect_and_reset() -> None:
    """A test reads what is stored, resets it, and loads it again."""
    with running_server() as server:
        live = Live(server.url)
        ann = live.user("ann", password="secret")
        live.group("g", ann["id"])
        dumped = server.app.dump()
        assert sorted(item["meta"]["resourceType"] for item in dumped) == [
            *("Group", "User"),
        ]
        assert "secret" not in json.dumps(dumped)
        user = live.get(f"/Users/{ann['id']}").json
        server.app.reset()
        assert server.app.dump() == []
        assert live.get("", count=0)["totalResults"] == 0
        assert live.user("ann")["id"] != ann["id"]
        live.close()
    app = create_app(resources=dumped, base_url=server.url)
    assert Client(app).get(f"/Users/{ann['id']}").json == user
    assert app.dump() == dumped


def test_clock_and_ids() -> None:
    """Time and ids are injectable, so that a test can compare whole bodies."""
    ids = map("id-{}".format, count(1))
    now = datetime(2011, 5, 13, 4, 42, 34, tzinfo=UTC)
    with running_server(clock=lambda: now, new_id=ids.__next__) as server:
        user = Live(server.url).user("ann")
        assert re.fullmatch(r"id-\d+", user["id"])
        stamp = datetime.fromisoformat(user["meta"]["created"])
        assert stamp == now
        assert user["meta"]["lastModified"] == user["meta"]["created"]


def test_store_subclass() -> None:
    """Every resource goes through the store: a subclass sees all of it."""
    calls: Counter[str] = Counter()

    def counted(name: str, method: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return method(*arguments, **options)

        return call

    methods = {
        name: counted(name, method)
        for name, method in vars(Store).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    assert len(methods) >= 4
    with running_server(store=type("Counting", (Store,), methods)) as server:
        live = Live(server.url)
        made = []
        for step in (
            lambda: made.append(live.user("ann", password="secret")),
            lambda: made.append(live.group("g", made[0]["id"])),
            lambda: live.get(f"/Users/{made[0]['id']}"),
            lambda: live.get("/Users", filter='userName eq "ann"'),
            lambda: live.get("/Users", filter="title pr"),
            lambda: live.patch(
                f"/Groups/{made[1]['id']}", {"op": "remove", "path": "members"}
            ),
            lambda: live.delete(f"/Users/{made[0]['id']}"),
        ):
            before = calls.total()
            step()
            assert calls.total() > before
        live.close()
