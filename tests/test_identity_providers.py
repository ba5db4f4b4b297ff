"""What identity providers send, replayed at each level: status, state and codes.

A file of tests/clients/PROVIDER/ is one cycle of provisioning, from an empty server on:

- ``provider``, ``title``, perhaps a ``note``, and the ``userAgent`` of all requests;
- ``exchanges``, each with a ``name`` that begins with one of ``STEPS``; a ``request``:
  ``method``, ``path`` and perhaps ``query``, ``headers`` and ``body``; the ``status``
  (a list where the RFCs leave open which of two comes first); the ``deviations`` in the
  order in which a reader meets them; and, where they say something,
- ``scimType`` of an error, when it is not that of the first code that is refused;
- ``save``: names for values of the reply, which stand as ``{name}`` in what follows;
- ``reply``: attributes of the reply, and ``state``: attributes of resources afterwards,
  by path. An attribute may be a path (``members.value`` answers a list), and null is
  its absence, or that of the whole resource.

``status``, ``deviations``, ``reply`` and ``state`` are for all levels, or objects with
one value for each. What is not by level is checked where the request succeeds. Where a
level refuses the request that would save a name, the name stands for an id of nobody:
what follows then is refused too, and the file says with which status.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import Client, Reply, assert_error
from test_deviations import LEVELS, TABLE, accepted_at, assert_names, codes_of

from scim2_server import create_app

FOLDER = Path(__file__).parent / "clients"
FILES = sorted(FOLDER.rglob("*.json"))
PROVIDERS = ["entra", "jumpcloud", "okta", "onelogin", "sailpoint"]
STEPS = [
    *("test connection", "match", "create", "update", "disable", "enable"),
    *("group push", "member add", "member remove", "rename", "delete"),
]


def read(path: Path) -> dict[str, Any]:
    """Read one file."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def at(level: str, value: Any, default: Any = None) -> Any:
    """Choose the value of a level, where there is one for each."""
    if isinstance(value, dict) and value.keys() & {*LEVELS}:
        return value.get(level, default)
    return default if value is None else value


def statuses(exchange: dict[str, Any], level: str) -> list[int]:
    """Answer the statuses that an exchange may have."""
    status = at(level, exchange["status"])
    return status if isinstance(status, list) else [status]


def refused_code(exchange: dict[str, Any], level: str) -> str | None:
    """Answer the first of the codes that this level refuses."""
    codes = at(level, exchange["deviations"], [])
    return next((code for code in codes if not accepted_at(level, code)), None)


def filled(value: Any, names: dict[str, str]) -> Any:
    """Put what was saved in place of its names."""
    text = json.dumps(value)
    for name, saved in names.items():
        text = text.replace("{" + name + "}", saved)
    return json.loads(text)


def pick(value: Any, path: str) -> Any:
    """Answer the value at a path; of a list the values of its elements."""
    if path in value:
        return value[path]
    if path.startswith("urn:"):
        urn, _, path = path.rpartition(":")
        return pick(value.get(urn, {}), path)
    name, dot, rest = path.partition(".")
    inner = value.get(name)
    if not dot or inner is None:
        return inner
    if isinstance(inner, list):
        found = [pick(element, rest) for element in inner]
        return [each for each in found if each is not None] or None
    return pick(inner, rest)


def assert_attributes(resource: Any, expected: dict[str, Any]) -> None:
    """Compare these attributes; ``schemas`` is a set."""
    found = {path: pick(resource, path) for path in expected}
    for each in (found, expected):
        if "schemas" in each:
            each["schemas"] = sorted(each["schemas"])
    assert found == expected


def assert_status(exchange: dict[str, Any], level: str, reply: Reply) -> None:
    """Check the status, the scimType and the header of one reply."""
    assert reply.status in statuses(exchange, level), reply.content
    codes = at(level, exchange["deviations"], [])
    if reply.status < 400:
        assert codes_of(reply) == set(codes)
        return
    code = refused_code(exchange, level)
    if reply.status == 400 and code:
        scim_type = exchange.get("scimType", TABLE[code][1].split()[0])
        assert_names(assert_error(reply, 400, scim_type), code)
        assert codes_of(reply) == set(codes[: codes.index(code)])
    else:
        scim_type = None if reply.status == 404 else exchange.get("scimType")
        assert_error(reply, reply.status, scim_type)
        assert codes_of(reply) <= {each for each in codes if accepted_at(level, each)}


def assert_state(client: Client, state: dict[str, Any], names: dict[str, str]) -> None:
    """Read each resource and compare its attributes, or find it gone."""
    for path, expected in filled(state, names).items():
        reply = client.get(path)
        if expected is None:
            assert_error(reply, 404)
        else:
            assert reply.status == 200, (path, reply.content)
            assert_attributes(reply.json, expected)


class Replay:
    """A server, what was saved from its replies, and what its report must say."""

    def __init__(self, content: dict[str, Any], level: str, **options: Any) -> None:
        ids = map("id-{}".format, count(1))
        self.app = create_app(new_id=ids.__next__, **options)
        self.client = Client(self.app)
        self.agent, self.level = content["userAgent"], level
        names = [name for each in content["exchanges"] for name in each.get("save", {})]
        self.names = {name: f"absent-{name}" for name in names}
        self.counted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.first: dict[str, tuple[str, str]] = {}

    def run(self, exchange: dict[str, Any]) -> None:
        """Send one request and check all that its exchange says."""
        request = filled(exchange["request"], self.names)
        before = self.app.dump()
        reply = self.client.request(
            request["method"],
            request["path"],
            request.get("body"),
            {"User-Agent": self.agent} | request.get("headers", {}),
            **request.get("query", {}),
        )
        assert_status(exchange, self.level, reply)
        if reply.status >= 400:
            assert self.app.dump() == before
        else:
            for name, path in exchange.get("save", {}).items():
                self.names[name] = pick(reply.json, path)
        self.note(exchange, reply, request)
        self.check(exchange, reply)

    def check(self, exchange: dict[str, Any], reply: Reply) -> None:
        """Compare the reply and the state, where the exchange says so here."""
        succeeds = reply.status < 400
        expected = at(self.level, exchange.get("reply"), {}) if succeeds else {}
        assert_attributes(reply.json or {}, filled(expected, self.names))
        state = exchange.get("state", {})
        if succeeds or state.keys() & {*LEVELS}:
            assert_state(self.client, at(self.level, state, {}), self.names)

    def note(self, exchange: dict[str, Any], reply: Reply, request: Any) -> None:
        """Count the codes for the report."""
        refused = refused_code(exchange, self.level) if reply.status == 400 else None
        codes = codes_of(reply)
        self.counted.update(codes)
        self.refused.update({refused} - {None})
        for code in codes | ({refused} - {None}):
            self.first.setdefault(code, (request["method"], "/v2" + request["path"]))

    def assert_report(self, requests: int) -> None:
        """Compare the report with what the header and the refusals said."""
        clients = {each["client"]: each for each in self.app.report()["clients"]}
        client = clients[self.agent]
        assert client["requests"] == requests
        found = {
            each["code"]: (
                each["count"],
                each["refused"],
                (each["first"]["method"], each["first"]["path"].partition("?")[0]),
            )
            for each in client["deviations"]
        }
        assert len(found) == len(client["deviations"])
        assert found == {
            code: (self.counted[code], self.refused[code], self.first[code])
            for code in self.first
        }


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_replay(path: Path, level: str) -> None:
    """Each level answers as the file says, keeps the state, and reports the codes."""
    content = read(path)
    replay = Replay(content, level, tolerance=level)
    for exchange in content["exchanges"]:
        replay.run(exchange)
    replay.assert_report(len(content["exchanges"]))


@pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_strict_with_its_codes_accepted(path: Path) -> None:
    """With each code of the file accepted by name, strict answers as lenient does."""
    content = read(path)
    accept = {
        code
        for exchange in content["exchanges"]
        for code in at("lenient", exchange["deviations"], [])
    }
    replay = Replay(content, "lenient", tolerance="strict", accept=tuple(accept))
    for exchange in content["exchanges"]:
        replay.run(exchange)
    replay.assert_report(len(content["exchanges"]))


@pytest.mark.parametrize(
    "path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_files_agree_with_the_table(path: Path) -> None:
    """A file names its provider, steps that are known, and statuses that can be."""
    content = read(path)
    assert content["provider"] == path.parent.name
    assert content["title"] and content["userAgent"]
    for exchange in content["exchanges"]:
        name = exchange["name"]
        assert name.startswith(tuple(STEPS)), name
        for level in LEVELS:
            codes = at(level, exchange["deviations"], [])
            assert len(codes) == len(set(codes)) and set(codes) <= TABLE.keys(), name
            allowed = statuses(exchange, level)
            assert (400 in allowed) == (refused_code(exchange, level) is not None), name


@pytest.mark.parametrize("provider", PROVIDERS)
def test_cycles_are_whole(provider: str) -> None:
    """The files of each provider have every step of a cycle between them."""
    names = [
        exchange["name"]
        for path in FILES
        if path.parent.name == provider
        for exchange in read(path)["exchanges"]
    ]
    done = [step for step in STEPS if any(name.startswith(step) for name in names)]
    assert done == STEPS


def test_there_are_no_other_files() -> None:
    """Each folder is a provider named above, and every file is replayed."""
    assert sorted(path.name for path in FOLDER.iterdir()) == PROVIDERS
    assert {path.parent.name for path in FILES} == {*PROVIDERS}
