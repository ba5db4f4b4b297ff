"""Random bodies, paths, filters and raw HTTP: a SCIM error each, never a crash.

A run of ``make test`` tries the same few hundred inputs every time; with FUZZ_SECONDS
in the environment (``make fuzz``) each test goes on with fresh ones for so long.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from conftest import (
    BULK,
    ENTERPRISE,
    GROUP,
    LIST,
    PATCH_OP,
    SEARCH,
    USER,
    Client,
    Reply,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import Live, Wire, assert_scim, eventually, message, open_files

from scim2_server import create_app, running_server

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
JSON = "Content-Type: application/scim+json"


def fuzz(check: Callable[..., None], examples: int, **strategies: Any) -> None:
    """Run ``check`` on so many examples, or on fresh ones until time is up."""
    bounds = settings(
        max_examples=examples,
        derandomize=not SECONDS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    end = time.monotonic() + SECONDS
    while True:
        bounds(given(**strategies)(check))()
        if time.monotonic() >= end:
            return


@pytest.fixture
def live() -> Iterator[Live]:
    """A client of a server that must be healthy, and leave nothing, afterwards."""
    threads, files = threading.active_count(), open_files()
    with running_server(me="ann", max_body=10**6) as server:
        live = Live(server.url)
        ann = live.user("ann", name={"familyName": "A"}, emails=[{"value": "a@x"}])
        group = live.group("g", ann["id"])
        busy = threading.active_count()
        yield live
        live.close()
        live.post("/Users", {"schemas": [USER], "userName": "ann"})
        live.request("DELETE", f"/Groups/{group['id']}")
        created = live.user("healthy", title="yes")
        assert live.get(f"/Users/{created['id']}").json == created
        assert live.get("/Users", filter='userName eq "healthy"')["totalResults"] == 1
        assert live.delete(f"/Users/{created['id']}").status == 204
        assert eventually(lambda: threading.active_count() <= busy), "a thread leaks"
        live.close()
    assert eventually(lambda: threading.active_count() <= threads), "a thread leaks"
    assert eventually(lambda: open_files() <= files), "a file descriptor leaks"


# --- what is sent ---

URNS = [USER, GROUP, ENTERPRISE, PATCH_OP, LIST, SEARCH, BULK, "urn:x", USER.upper()]
NAMES = [
    *("schemas", "id", "externalId", "meta", "userName", "displayName", "name"),
    *("familyName", "emails", "value", "type", "primary", "display", "$ref", "members"),
    *("groups", "active", "password", "manager", "x509Certificates", "roles", "title"),
    *("Operations", "op", "path", "method", "bulkId", "data", "version", "location"),
    *("failOnErrors", "filter", "sortBy", "sortOrder", "startIndex", "count", "cursor"),
    *("attributes", "excludedAttributes", "USERNAME", "user_name", "name.familyName"),
    *(ENTERPRISE, f"{ENTERPRISE}:manager", f"{USER}:userName", "", "nope", "emails."),
]
WORDS = [
    *(
        "",
        " ",
        "a@x",
        "work",
        "True",
        "0",
        "\0",
        "\ud800",
        "é",
        "e\u0301",
        "\U0001f600",
    ),
    *("bulkId:1", "bulkId:", "/Users", "/Users/bulkId:1", "POST", "PATCH", "add"),
    *("remove", "Replace", "2011-05-13T04:42:34Z", "9999-12-31T24:00:00Z"),
]
OPERATORS = ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr", "EQ", "in", ""]

names = st.sampled_from(NAMES) | st.text(max_size=4)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.sampled_from(WORDS + URNS)
    | st.text(max_size=6)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5)
    ),
    max_leaves=12,
)
literals = st.sampled_from(
    [
        *(
            '"a"',
            '"\\u0041"',
            '"\\ud800"',
            '"\\"',
            "1",
            "-1e400",
            "NaN",
            "true",
            "TRUE",
        ),
        *("null", '"2011-05-13T04:42:34Z"', '"', "a@x", "", '""', "1" * 5000, '"\0"'),
    ]
)
paths = st.recursive(
    st.sampled_from(NAMES) | st.text("aU:.[]$-_/ ", max_size=8),
    lambda inner: st.tuples(inner, inner, inner).map(
        lambda parts: "{}[{} eq {}]".format(*parts)
    ),
    max_leaves=4,
)
filters = st.recursive(
    st.tuples(paths, st.sampled_from(OPERATORS), literals).map(" ".join),
    lambda inner: (
        st.tuples(inner, st.sampled_from([" and ", " or ", " ", ") ("]), inner).map(
            "".join
        )
        | inner.map("({})".format)
        | inner.map("not ({})".format)
        | inner.map("not({}".format)
        | st.tuples(paths, inner).map(lambda parts: "{}[{}]".format(*parts))
    ),
    max_leaves=8,
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "Add", "move"])},
    optional={"path": paths | filters, "value": values, "name": values},
)
jobs = st.fixed_dictionaries(
    {"method": st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "GET", ""])},
    optional={
        "path": st.sampled_from(["/Users", "/Groups", "/Users/bulkId:1", "/Nope", "x"]),
        "bulkId": st.sampled_from(["1", "2", ""]) | values,
        "data": st.dictionaries(names, values, max_size=4) | values,
        "version": values,
    },
)
resources = st.fixed_dictionaries(  # nearly right
    {"schemas": st.just([USER]), "userName": st.text(max_size=5)},
    optional={
        "displayName": leaves,
        "active": leaves,
        "name": st.dictionaries(names, leaves, max_size=2),
        "emails": st.lists(st.fixed_dictionaries({"value": leaves, "primary": leaves})),
        "members": st.lists(st.fixed_dictionaries({"value": leaves})),
        ENTERPRISE: st.fixed_dictionaries({"manager": leaves, "department": leaves}),
    },
)
bodies = st.one_of(
    resources,
    values,
    st.dictionaries(names, values, max_size=8).map({"schemas": [USER]}.__or__),
    st.lists(operations, max_size=4).map(
        lambda ops: {"schemas": [PATCH_OP], "Operations": ops}
    ),
    st.lists(jobs, max_size=4).map(lambda ops: {"schemas": [BULK], "Operations": ops}),
    st.fixed_dictionaries(
        {"schemas": st.just([SEARCH])},
        optional={
            "filter": filters | values,
            "sortBy": paths | values,
            "count": values,
            "startIndex": values,
            "attributes": st.lists(paths) | values,
            "cursor": values,
        },
    ),
)
edits = st.lists(  # a place (per mille of the whole), how much goes, what comes
    st.tuples(
        st.integers(0, 1000),
        st.integers(0, 6),
        st.binary(max_size=3)
        | st.sampled_from([b"\r\n", b"\r", b"\n", b"\r\n\r\n", b":", b" ", b"\0", b"%"])
        | st.sampled_from([b'"', b"\\", b"{", b"[[[[", b",", b"0\r\n\r\n", b"\xff"]),
    ),
    max_size=4,
)
endpoints = st.sampled_from(
    [
        *("/Users", "/Groups", "/Users/{}", "/Groups/{}", "/Me", "/Bulk", "/.search"),
        *("/Users/.search", "/Groups/.search", "/Schemas", "/", ""),
    ]
)
methods = st.sampled_from(["POST", "PUT", "PATCH", "POST", "PATCH", "DELETE", "GET"])


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, gone, come in edits:
        at = place * len(data) // 1000
        data = data[:at] + come + data[at + gone :]
    return data


def some_id(live: Live, endpoint: str) -> str:
    """Fill the ``{}`` of an endpoint with an id that exists, if there is one."""
    if "{}" not in endpoint:
        return endpoint
    found = live.get(endpoint.removesuffix("/{}"), count=1).json["Resources"]
    return endpoint.format(found[0]["id"] if found else "nobody")


# --- the tests ---


def test_bodies(live: Live) -> None:
    """Whatever JSON, and what is nearly JSON, on every endpoint (RFC 7644 §3.12)."""

    def check(method: str, path: str, body: Any, edits: Any) -> None:
        data = edited(json.dumps(body).encode(), edits)
        reply = live.request(method, some_id(live, path), data)
        assert_scim(reply)
        assert reply.status != 501 or path == "/Me"

    fuzz(check, 400, method=methods, path=endpoints, body=bodies, edits=st.just([]))
    fuzz(check, 150, method=methods, path=endpoints, body=bodies, edits=edits)


def test_patches(live: Live) -> None:
    """Whatever operations, on a user and on a group (RFC 7644 §3.5.2)."""

    def check(path: str, operations: list[Any]) -> None:
        target = some_id(live, path)
        before = live.get(target).json
        reply = live.patch(target, *operations)
        assert_scim(reply)
        if reply.status >= 400:
            assert live.get(target).json == before, "half a PATCH is left"
        else:
            assert reply.json == live.get(target).json

    endpoints = st.sampled_from(["/Users/{}", "/Groups/{}"])
    fuzz(check, 300, path=endpoints, operations=st.lists(operations, max_size=4))


def test_queries(live: Live) -> None:
    """Whatever filter, order, projection and page (RFC 7644 §3.4.2)."""

    def check(path: str, query: dict[str, str]) -> None:
        text = {name: value.encode(errors="replace") for name, value in query.items()}
        reply = live.get(path, **text)
        assert_scim(reply)
        assert reply.status in (200, 400, 403, 414, 501)
        if reply.status == 200 and "totalResults" in reply.json:
            assert len(reply.json.get("Resources", [])) <= reply["totalResults"]

    query = st.fixed_dictionaries(
        {"filter": filters},
        optional={
            "sortBy": paths,
            "sortOrder": st.sampled_from(["ascending", "DESCENDING", "up"]),
            "attributes": paths,
            "excludedAttributes": paths,
            "count": st.integers().map(str) | st.text(max_size=3),
            "startIndex": st.integers().map(str) | st.sampled_from(["٣", "1e3", ""]),
            "cursor": st.text(max_size=9),
        },
    )
    places = st.sampled_from(["/Users", "/Users", "/Groups", "", "/Schemas"])
    fuzz(check, 400, path=places, query=query)


def test_paths(live: Live) -> None:
    """Whatever path, by every method (RFC 7644 §3.2)."""
    pieces = st.sampled_from(
        [
            *("Users", "Groups", "v2", "Me", "Bulk", ".search", "Schemas", "healthz"),
            *("%2e%2e", "..", ".", "%2F", "%00", "%0d%0a", "%ff", "%", "%zz", "?", "&"),
            *(
                "=",
                "#",
                ";",
                "//evil.example",
                "\\",
                "~",
                "*",
                quote(USER),
                USER,
                "User",
            ),
        ]
    )
    verbs = ["GET", "PUT", "PATCH", "DELETE", "POST", "HEAD", "OPTIONS", "TRACE", "X"]

    def check(method: str, path: str) -> None:
        reply = live.request(method, path)
        assert_scim(reply)
        assert reply.status != 501 or method in ("TRACE", "X") or "Me" in path

    targets = st.lists(pieces | st.just("/"), max_size=7).map("".join).map("/".__add__)
    fuzz(check, 400, method=st.sampled_from(verbs), path=targets)


def test_raw_http(live: Live) -> None:
    """Whatever bytes: whole replies only, and nothing unasked (RFC 9112 §2.2)."""
    url = f"http://{live.connection.host}:{live.connection.port}{live.prefix}"
    body = json.dumps({"schemas": [USER], "userName": "raw"}).encode()
    chunked = b"%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(body), body)
    requests = [
        message(url, "GET", "/Users?filter=userName%20eq%20%22a%22", "Accept: */*"),
        message(url, "POST", "/Users", JSON, body=body),
        message(url, "POST", "/Users", JSON, "Transfer-Encoding: chunked") + chunked,
        message(url, "POST", "/Users", JSON, "Expect: 100-continue", body=body),
        message(url, "OPTIONS", "*", "Connection: keep-alive, x"),
        message(url, "GET", "http://localhost/v2/Users?attributes=a", "Origin: null"),
        message(url, "DELETE", "/Users/nobody", 'If-Match: W/"1", "2"'),
    ]

    def check(data: list[bytes], edits: Any) -> None:
        with Wire(url) as wire:
            wire.send(edited(b"".join(data), edits)).end()
            while head := wire.line():
                assert re.match(rb"HTTP/1\.[01] \d{3} ", head), head
                status, length = int(head[9:12]), -1
                assert status < 500 or status in (501, 505), head
                while (line := wire.line()).strip():
                    if line.lower().startswith(b"content-type:"):
                        assert status < 400 or b"application/scim+json" in line
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if status not in (100, 204, 304):
                    content = wire.stream.read(length)
                    assert len(content) == length
                    if content:
                        json.loads(content)

    some = st.lists(st.sampled_from(requests), min_size=1, max_size=3)
    fuzz(check, 300, data=some, edits=edits)


NASTY = {
    "deep-arrays": b"[" * 200_000,
    "deep-objects": b'{"name":' * 100_000,
    "deep-whole": b'{"schemas":' + b"[" * 900 + b"]" * 900 + b"}",
    "digits": b'{"schemas": [], "active": ' + b"9" * 20_000 + b"}",
    "exponent": b'{"userName": "e", "title": 1e999999999}',
    "nan": b'{"userName": "n", "x": NaN, "y": -Infinity}',
    "lone-surrogate": b'{"userName": "\\ud800"}',
    "latin-1": '{"userName": "é"}'.encode("latin-1"),
    "utf-16": '{"userName": "é"}'.encode("utf-16"),
    "overlong": b'{"userName": "\xc0\xaf"}',
    "mark": b'\xef\xbb\xbf{"userName": "bom"}',
    "many-keys": json.dumps({f"k{number}": 1 for number in range(60_000)}).encode(),
    "many-schemas": json.dumps({"schemas": [USER] * 20_000}).encode(),
    "many-emails": json.dumps({"emails": [{"value": "a"}] * 40_000}).encode(),
    "many-operations": json.dumps({"Operations": [{}] * 100_000}).encode(),
    "not-an-object": b'"userName"',
    "two-objects": b'{"userName": "a"}{"userName": "b"}',
    "nothing": b"   ",
}


@pytest.mark.parametrize("body", NASTY.values(), ids=NASTY)
def test_nasty_bodies(live: Live, body: bytes) -> None:
    """Known killers of JSON readers: an answer soon, and never a crash."""
    began = time.monotonic()
    for method, path in (
        *(("POST", "/Users"), ("PATCH", "/Me"), ("PUT", "/Me")),
        *(("POST", "/Bulk"), ("POST", "/.search")),
    ):
        assert_scim(live.request(method, path, body))
    assert time.monotonic() - began < 25


@pytest.mark.parametrize(
    "text",
    [
        "(" * 20_000,
        "(" * 9_999 + "title pr" + ")" * 9_999,
        "not (" * 9_999,
        " and ".join(["title pr"] * 5_000),
        " or ".join(['userName eq "a"'] * 2_000),
        "emails[" * 9_999,
        "a." * 20_000,
        'userName eq "' + "\\" * 20_001,
        'userName co "' + "a" * 40_000 + '"',
        "title eq " + "1" * 40_000,
    ],
    ids=lambda text: text[:9],
)
def test_absurd_filters(live: Live, text: str) -> None:
    """20,000 parentheses are an error within a second (RFC 7644 §3.4.2.2)."""
    began = time.monotonic()
    search = {"schemas": [SEARCH], "filter": text}
    assert_scim(live.post("/Users/.search", search))
    assert_scim(live.patch("/Me", {"op": "remove", "path": f"emails[{text}]"}))
    assert_scim(live.patch("/Me", {"op": "remove", "path": text}))
    assert_scim(live.get("/Users", filter=text))
    assert time.monotonic() - began < 8


# --- schemas of one's own, in process ---

LAB, ANNEX = "urn:demo:Lab", "urn:demo:annex:1.0"
VALUES: dict[str, list[Any]] = {
    "string": ["a", "A", "b", "é", "", "bulkId:x", "1", "2"],
    "boolean": [True, False],
    "decimal": [0, 1.5, 1, 1.0, -2],
    "integer": [0, 1, 2],
    "dateTime": ["2011-05-13T04:42:34Z", "2011-05-13T06:42:34.000+02:00"],
    "binary": ["YQ==", "YWI="],
    "reference": ["urn:a", "https://a.example/B", "1", "/Labs/1", "../Labs/3"],
}


def some_attribute(random: Random, name: str, below: bool) -> dict[str, Any]:
    """Make an attribute with random characteristics (RFC 7643 §7)."""
    kinds = [*VALUES, *([] if below else ["complex"] * 4)]
    made: dict[str, Any] = {
        "name": name,
        "type": random.choice(kinds),
        "multiValued": random.random() < (0.1 if below else 0.5),
        "caseExact": random.random() < 0.5,
        "required": random.random() < 0.1,
        "mutability": random.choice(
            ["readWrite"] * 5 + ["immutable", "readOnly", "writeOnly"]
        ),
        "returned": random.choice(["default"] * 4 + ["always", "request"]),
        "uniqueness": "none" if below else random.choice(["none"] * 5 + ["server"]),
    }
    if made["mutability"] == "writeOnly":
        made |= {"returned": "never", "required": False}
    if made["type"] == "reference":
        made["referenceTypes"] = random.choice([["external"], ["uri"], ["Lab"]])
    if made["type"] == "complex":
        made["uniqueness"] = "none"
        names = random.sample(["value", "type", "primary", "x", "y"], 3)
        made["subAttributes"] = [some_attribute(random, sub, True) for sub in names]
        for sub in made["subAttributes"]:
            if sub["name"] == "primary":
                sub.update(type="boolean", multiValued=False)
                sub.pop("referenceTypes", None)
        if random.random() < 0.3:  # a reference to a resource (§2.4)
            plain = {"multiValued": False, "mutability": "readWrite"}
            plain |= {"returned": "default", "required": False}
            shared = {"value": "string", "$ref": "reference", "type": "string"}
            made["subAttributes"] = [
                some_attribute(random, sub, True)
                | plain
                | {"type": kind, "referenceTypes": ["Lab"]}
                for sub, kind in shared.items()
            ]
    return made


def some_value(random: Random, attribute: dict[str, Any], one: bool = False) -> Any:
    """Make a value of an attribute's type; `one` element if it has many."""
    if attribute["multiValued"] and not one:
        return [
            some_value(random, attribute, True) for _ in range(random.randint(0, 3))
        ]
    if random.random() < 0.04:
        return random.choice([None, 5, "x", {}, [], {"value": "a"}])
    if attribute["type"] == "complex":
        some = [x for x in attribute["subAttributes"] if random.random() < 0.7]
        return {sub["name"]: some_value(random, sub) for sub in some}
    return random.choice(VALUES[attribute["type"]])


class World:
    """A server of random schemas, whose replies are checked one by one."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.core = [some_attribute(random, name, False) for name in "abcdef"]
        self.annex = [some_attribute(random, name, False) for name in "gh"]
        documents = [
            {"id": urn, "name": urn[9:], "attributes": attributes}
            for urn, attributes in ((LAB, self.core), (ANNEX, self.annex))
        ]
        extensions = [{"schema": ANNEX, "required": False}]
        kind = {"name": "Lab", "endpoint": "/Labs", "schema": LAB}
        app = create_app(
            schemas=documents,
            resource_types=[kind | {"schemaExtensions": extensions}],
            new_id=map(str, count(1)).__next__,
            tolerance=random.choice(["standard", "lenient"]),
        )
        self.client = Client(app)
        paths = [
            prefix + name
            for prefix, attributes in (("", self.core), (f"{ANNEX}:", self.annex))
            for one in attributes
            for name in (
                one["name"],
                *(
                    f"{one['name']}.{sub['name']}"
                    for sub in one.get("subAttributes", ())
                ),
            )
        ]
        self.everything = ",".join(["meta", *paths])
        whole = [*self.core, *self.annex]
        whole += [sub for each in whole for sub in each.get("subAttributes", ())]
        self.has_secrets = any(each["returned"] == "never" for each in whole)

    def get(self, path: str) -> dict[str, Any]:
        """Show all of a resource, what is returned on request too."""
        reply = self.client.get(path, attributes=self.everything)
        assert reply.status == 200, reply.content
        body: dict[str, Any] = reply.json
        return body

    def resource(self) -> dict[str, Any]:
        body: dict[str, Any] = {"schemas": [LAB, ANNEX], ANNEX: {}}
        for target, attributes in ((body, self.core), (body[ANNEX], self.annex)):
            for each in attributes:
                if each["required"] or self.random.random() < 0.7:
                    target[each["name"]] = some_value(self.random, each)
        return body

    def operation(self) -> dict[str, Any]:
        """Make one operation of a PATCH, with a path or without."""
        random = self.random
        urn, attributes = random.choice([("", self.core)] * 3 + [(ANNEX, self.annex)])
        target = random.choice(attributes)
        path = f"{urn}:{target['name']}" if urn else target["name"]
        made: dict[str, Any] = {"op": random.choice(["add", "replace", "remove"])}
        if made["op"] != "remove" and random.random() < 0.2:
            value = {target["name"]: some_value(random, target)}
            return made | {"value": {urn: value} if urn else value}
        subs = target.get("subAttributes")
        if subs and target["multiValued"] and random.random() < 0.5:
            sub = random.choice(subs)
            literal = "true" if sub["type"] == "boolean" else '"a"'
            path += random.choice(
                [f"[{sub['name']} pr]", f"[{sub['name']} eq {literal}]"]
            )
        leaf = target
        if subs and random.random() < 0.4:
            leaf = random.choice(subs)
            path += f".{leaf['name']}"
        made["path"] = path
        if made["op"] != "remove" or random.random() < 0.2:
            made["value"] = some_value(random, leaf, random.random() < 0.3)
        return made

    def check(self, path: str, before: dict[str, Any], reply: Reply, note: Any) -> None:
        """Check that a write did what its status says, and no more."""
        told = json.dumps([self.core, self.annex, before, note], ensure_ascii=False)
        assert reply.status < 500, (reply.content, told)
        now = self.get(path)
        if reply.status >= 400:
            assert now == before, ("a refusal changed something", now, told)
            return
        bare = [{k: v for k, v in x.items() if k != "meta"} for x in (before, now)]
        same_version = before["meta"]["version"] == now["meta"]["version"]
        if bare[0] != bare[1]:
            assert not same_version, ("changed, with the old version", now, told)
        elif not self.has_secrets:
            assert same_version, ("a new version of the same", now, told)
        again = self.client.put(path, now)
        if not self.has_secrets:
            assert again.status == 200, ("not accepted as shown", again.content, told)
        after = self.get(path)
        assert after == now, ("a PUT of what is shown changes it", now, after, told)

    def check_target(self, before: Any, after: Any, operation: Any, note: Any) -> None:
        """Check that an operation changed nothing outside its target."""
        path = operation.get("path") or next(iter(operation["value"]))
        urn, name = (
            (ANNEX, path[len(ANNEX) + 1 :]) if path.startswith(ANNEX) else ("", path)
        )
        name = re.split(r"[.\[]", name)[0]
        for each in {*before, *after} - {"meta", "schemas", urn or name}:
            assert before.get(each) == after.get(each), (each, before, after, note)
        if urn and name:
            inner = [x.get(urn, {}) for x in (before, after)]
            for each in {*inner[0], *inner[1]} - {name}:
                assert inner[0].get(each) == inner[1].get(each), (
                    each,
                    before,
                    after,
                    note,
                )
        else:
            inner = [before, after]
        if selected := re.search(r"\[(\w+) ", path):
            bare = [
                [
                    {k: v for k, v in x.items() if k != "primary"}
                    for x in each.get(name, ())
                ]
                for each in inner
            ]
            for each in bare[0]:  # what lacks the sub-attribute is not selected
                assert selected[1] in (*each, "primary") or each in bare[1], (
                    *(each, before, after, note),
                )

    def check_undo(self, path: str) -> None:
        """Add what is not there, and remove it: the resource is as it was."""
        before = self.get(path)
        urn, attributes = self.random.choice([("", self.core), (ANNEX, self.annex)])
        attribute = self.random.choice(attributes)
        name = attribute["name"]
        place = f"{urn}:{name}" if urn else name
        if name in (before.get(urn, {}) if urn else before):
            return
        value = some_value(self.random, attribute)
        added = {"op": "add", "path": place, "value": value}
        if self.client.patch(path, added).status == 200:
            removed = self.client.patch(path, {"op": "remove", "path": place})
            if attribute["mutability"] == "immutable" or attribute["required"]:
                return
            if removed.status != 200:  # something immutable within
                assert removed.json["scimType"] == "mutability", (added, removed)
                return
            after = self.get(path)
            assert {**after, "meta": 0} == {**before, "meta": 0}, (after, before, added)


def run_world(seed: int) -> None:
    """Create, modify and replace resources of one random schema."""
    world = World(Random(seed))
    ids = []
    for _ in range(4):
        reply = world.client.post("/Labs", world.resource())
        assert reply.status < 500, (seed, reply.content)
        if reply.status == 201:
            ids.append(f"/Labs/{reply['id']}")
    for path in ids:
        for _ in range(12):
            if world.random.random() < 0.15:
                world.check_undo(path)
            before = world.get(path)
            if world.random.random() < 0.15:
                body = world.resource()
                world.check(path, before, world.client.put(path, body), [seed, body])
                continue
            operations = [
                world.operation() for _ in range(world.random.choice([1, 1, 3]))
            ]
            note = [seed, operations]
            reply = world.client.patch(path, *operations)
            world.check(path, before, reply, note)
            if len(operations) == 1 and reply.status == 200:
                world.check_target(before, world.get(path), operations[0], note)


def test_schemas_of_ones_own() -> None:
    """What a reply says is what was done, on any schema (RFC 7644 §3.5)."""
    end = time.monotonic() + SECONDS
    for seed in count() if SECONDS else range(60):
        run_world(seed)
        if SECONDS and time.monotonic() >= end:
            return
