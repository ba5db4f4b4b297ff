"""Errors (RFC 7644 §3.12): always the same body, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import (
    BULK,
    ENTERPRISE,
    GROUP,
    PATCH_OP,
    SEARCH,
    USER,
    Client,
    Reply,
    assert_error,
)

from scim2_server import create_app

MakeClient = Callable[..., Client]
INTERNALS = (
    "Traceback",
    "pydantic",
    "scim2_models",
    "json.",
    "Error(",
    " object at 0x",
)


def assert_plain(reply: Reply, status: int, scim_type: str | None = None) -> str:
    """Check the error, that it has no other members, and that it tells no secrets."""
    detail = assert_error(reply, status, scim_type)
    expected = {"schemas", "status", "detail"} | ({"scimType"} if scim_type else set())
    assert set(reply.json) == expected
    assert not [word for word in INTERNALS if word in detail], detail
    return detail


def nested(depth: int, left: bytes, right: bytes, core: bytes = b"1") -> bytes:
    """Spell JSON of this depth."""
    return left * depth + core + right * depth


BAD_JSON: dict[str, tuple[bytes, bool]] = {
    # name: body, and whether it must be called invalidSyntax
    "nothing": (b"", True),
    "blanks": (b" \n", True),
    "an open brace": (b"{", True),
    "no quotes": (b"{userName: 'x'}", True),
    "a comma too many": (b'{"userName": "x",}', True),
    "two values": (b'{"userName": "x"} {}', True),
    "a bare word": (b"userName", True),
    "null": (b"null", True),
    "a list": (b"[]", True),
    "a list of one": (b'[{"userName": "x"}]', True),
    "a string": (b'"x"', True),
    "a number": (b"5", True),
    "not UTF-8": (b'{"userName": "\xff"}', True),
    "a control character": (b'{"userName": "a\x01b"}', True),
    "NaN": (b'{"userName": "x", "externalId": NaN}', False),
    "Infinity": (b'{"userName": "x", "nickName": -Infinity}', False),
    "beyond a double": (b'{"userName": "x", "nickName": 1e400}', False),
    "5,000 digits": (b'{"userName": "x", "nickName": %s}' % (b"9" * 5000), False),
    "a lone surrogate": (rb'{"userName": "a\ud800"}', False),
    "a lone surrogate as key": (rb'{"userName": "x", "\udc00": 1}', False),
    "deep lists": (nested(100_000, b"[", b"]"), False),
    "deep objects": (nested(100_000, b'{"a":', b"}"), False),
    "deep and open": (b'{"name":' + b"[" * 100_000, False),
    "deep inside": (
        b'{"userName": "x", "nickName": %s}' % nested(5_000, b"[", b"]"),
        False,
    ),
}
WITH_BODY = [
    ("POST", "/Users"),
    ("PUT", "/Users/{id}"),
    ("PATCH", "/Users/{id}"),
    ("POST", "/Users/.search"),
    ("POST", "/.search"),
    ("POST", "/Bulk"),
]


@pytest.mark.parametrize(("verb", "path"), WITH_BODY)
@pytest.mark.parametrize(("body", "syntax"), BAD_JSON.values(), ids=BAD_JSON)
def test_bodies_that_are_no_json_object(
    client: Client, verb: str, path: str, body: bytes, syntax: bool
) -> None:
    """400 for every verb that reads a body; nothing is changed (§3.12)."""
    before = client.user("before")
    reply = client.request(verb, path.format(id=before["id"]), body)
    assert_plain(reply, 400, "invalidSyntax" if syntax else reply["scimType"])
    assert client.get("/Users")["Resources"] == [before]


@pytest.mark.parametrize(
    "operation",
    [
        b'{"op": "replace", "path": "title", "value": NaN}',
        rb'{"op": "replace", "path": "title", "value": "\udfff"}',
        rb'{"op": "replace", "path": "titl\ud800", "value": "x"}',
        rb'{"op": "remove", "path": "emails[value eq \"\\ud800\"]"}',
        b'{"op": "replace", "path": "emails[value eq NaN].type", "value": "x"}',
        b'{"op": "replace", "path": "title", "value": %s}' % nested(900, b"[", b"]"),
        b'{"op": "remove", "path": "emails[%svalue pr%s]"}'
        % (b"(" * 20_000, b")" * 20_000),
    ],
)
def test_bad_values_in_a_patch(client: Client, operation: bytes) -> None:
    """What JSON or Unicode does not know is refused in operations too (§3.12)."""
    before = client.user("ann", emails=[{"value": "a@x.example"}])
    body = b'{"schemas": ["%s"], "Operations": [%s]}' % (PATCH_OP.encode(), operation)
    path = f"/Users/{before['id']}"
    reply = client.request("PATCH", path, body)
    assert_plain(reply, 400, reply["scimType"])
    assert client.get(path).json == before


def test_strings_that_are_unusual_but_right(client: Client) -> None:
    """Escapes, pairs of surrogates and any Unicode are kept (RFC 8259 §7)."""
    body = rb'{"schemas": ["%s"], "userName": "\ud83d\ude00\t\"\\\u00e9"}'
    reply = client.request("POST", "/Users", body % USER.encode())
    assert reply.status == 201, reply.content
    assert reply["userName"] == '\N{GRINNING FACE}\t"\\é'
    assert client.get(f"/Users/{reply['id']}").json == reply.json


NOT_THERE = [
    ("GET", "/Users/unknown"),
    ("PUT", "/Users/unknown"),
    ("PATCH", "/Users/unknown"),
    ("DELETE", "/Users/unknown"),
    ("GET", "/Robots"),
    ("POST", "/Robots"),
    ("GET", "/Robots/1"),
    ("GET", "/Users/{id}/name"),
    ("GET", "/Groups/{id}"),
    ("GET", "/Users/\x00"),
    ("GET", "/Users/a\r\nLocation: x"),
    ("GET", "/Users/{id} "),
    ("GET", "/Users/../Users/{id}"),
    ("GET", "/Users/" + "x" * 2000),
    ("GET", "/Users/\xc3\xa9"),
    ("GET", "/Schemas/urn:example:unknown"),
    ("GET", "/ResourceTypes/Robot"),
    ("GET", "/ServiceProviderConfig/x"),
]


@pytest.mark.parametrize(("verb", "path"), NOT_THERE)
def test_what_is_not_there(client: Client, verb: str, path: str) -> None:
    """404 without a scimType, and nothing reflected in a header (§3.12)."""
    before = client.user("ann")
    bodies: dict[str, Any] = {
        "PATCH": {
            "schemas": [PATCH_OP],
            "Operations": [{"op": "remove", "path": "title"}],
        },
        "POST": {"schemas": [USER], "userName": "bea"},
        "PUT": {"schemas": [USER], "userName": "bea"},
    }
    reply = client.request(verb, path.format(id=before["id"]), bodies.get(verb))
    assert_plain(reply, 404)
    assert client.get("/Users")["Resources"] == [before]


def test_a_path_that_is_not_utf_8(client: Client) -> None:
    """It names nothing (§3.12)."""
    reply = client.get("/Users/\xff")
    assert reply.status in (400, 404)
    assert_plain(reply, reply.status, reply.json.get("scimType"))


COLLECTION, RESOURCE = {"GET", "POST"}, {"GET", "PUT", "PATCH", "DELETE"}


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("PUT", "/Users", COLLECTION),
        ("PATCH", "/Users", COLLECTION),
        ("DELETE", "/Groups", COLLECTION),
        ("POST", "/Users/{id}", RESOURCE),
        ("GET", "/Bulk", {"POST"}),
        ("PUT", "/Bulk", {"POST"}),
        ("DELETE", "/.search", {"POST"}),
        ("PUT", "/Users/.search", {"POST"}),
        ("POST", "/ServiceProviderConfig", {"GET"}),
        ("PUT", "/Schemas", {"GET"}),
        ("DELETE", f"/Schemas/{USER}", {"GET"}),
        ("PATCH", "/ResourceTypes/User", {"GET"}),
    ],
)
def test_methods_that_are_not_allowed(
    client: Client, verb: str, path: str, allowed: set[str]
) -> None:
    """405, and Allow tells which are (§4, RFC 9110 §15.5.6)."""
    before = client.user("ann")
    body = None if verb in ("GET", "DELETE") else {"schemas": [USER], "userName": "x"}
    reply = client.request(verb, path.format(id=before["id"]), body)
    assert_plain(reply, 405)
    allow = {name.strip() for name in reply.headers["Allow"].split(",")}
    assert allowed <= allow <= allowed | {"HEAD", "OPTIONS"}
    assert client.get("/Users")["Resources"] == [before]


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize("path", ["/Users", "/Users/{id}", "/Schemas", "/Bulk"])
def test_methods_that_nobody_knows(client: Client, path: str) -> None:
    """405 or 501, with a SCIM body (RFC 9110 §9.1)."""
    reply = client.request("FROB", path.format(id=client.user("ann")["id"]))
    assert reply.status in (405, 501)
    assert_plain(reply, reply.status)
    assert "FROB" not in reply.headers.get("Allow", "")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/html; charset=utf-8",
        "application/xml",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ],
)
@pytest.mark.parametrize(("verb", "path"), WITH_BODY)
def test_media_types_that_are_not_read(
    client: Client, verb: str, path: str, content_type: str
) -> None:
    """415: SCIM is JSON (§3.1, §3.8)."""
    before = client.user("ann")
    body = {"schemas": [USER], "userName": "bea"}
    headers = {"Content-Type": content_type}
    reply = client.request(verb, path.format(id=before["id"]), body, headers)
    assert_plain(reply, 415)
    assert client.get("/Users")["Resources"] == [before]


def test_a_body_that_is_too_large(make_client: MakeClient) -> None:
    """413, and the limit is named (§3.7.4 for Bulk, RFC 9110 §15.5.14)."""
    client = make_client(max_body=1000)
    body = {"schemas": [USER], "userName": "x" * 1000}
    detail = assert_plain(client.post("/Users", body), 413)
    assert "1000" in detail.replace(",", "")
    assert client.get("/Users")["totalResults"] == 0
    client.user("x" * 500)


@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE", "POST"])
def test_what_is_not_implemented(client: Client, verb: str) -> None:
    """/Me of nobody is 501 (§3.11)."""
    body = None if verb in ("GET", "DELETE") else {"schemas": [USER], "userName": "x"}
    assert_plain(client.request(verb, "/Me", body), 501)


def replace(path: str, value: Any) -> dict[str, Any]:
    """Spell a PatchOp of one operation."""
    operation = {"op": "replace", "path": path, "value": value}
    return {"schemas": [PATCH_OP], "Operations": [operation]}


NAMED: list[tuple[Any, str | None, str]] = [  # a body of POST or PATCH, or a query
    ({"userName": "x", "active": "no"}, "invalidValue", "active"),
    ({"userName": "x", "title": 5}, "invalidValue", "title"),
    ({"userName": "x", "emails": [{"value": 5}]}, "invalidValue", "emails value"),
    ({"userName": "x", "roles": [{"primary": True}] * 2}, "invalidValue", "roles"),
    ({"userName": "x", ENTERPRISE: {"division": 5}}, "invalidValue", "division"),
    ({"nickName": "x"}, "invalidValue", "userName"),
    ({"userName": "ann"}, "uniqueness", "userName"),
    (replace("colour", 1), "invalidPath", "colour"),
    (replace("id", "x"), "mutability", "id"),
    (replace("title", 5), "invalidValue", "title"),
    (replace('emails[type eq "work"].value', "x"), "noTarget", "emails"),
    ({"schemas": [PATCH_OP], "Operations": [{"op": "move"}]}, "invalidSyntax", "move"),
    ('filter=usrName%20eq%20"x"', "invalidFilter", "usrName userName"),
    ('filter=password%20eq%20"x"', "sensitive", "password"),
    ("sortBy=usrName", "invalidValue", "usrName"),
    ("count=ten", "invalidValue", "count"),
    ("startIndex=1.5", "invalidValue", "startIndex"),
    ("attributes=id&excludedAttributes=meta", None, "attributes excludedAttributes"),
]


@pytest.mark.parametrize(("sent", "scim_type", "names"), NAMED)
def test_the_detail_names_what_is_at_fault(
    client: Client, sent: Any, scim_type: str | None, names: str
) -> None:
    """A client's author learns what to fix (§3.12 "detail")."""
    ann = client.user("ann")
    if isinstance(sent, str):
        reply = client.get("/Users?" + sent)
    elif "Operations" in sent:
        reply = client.request("PATCH", f"/Users/{ann['id']}", sent)
    else:
        schemas = [USER, *(name for name in sent if name.startswith("urn:"))]
        reply = client.post("/Users", {"schemas": schemas, **sent})
    status = {"uniqueness": 409, "sensitive": 403}.get(scim_type or "", 400)
    detail = assert_plain(reply, status, scim_type or reply.json.get("scimType"))
    assert all(name in detail for name in names.split()), detail
    assert client.get("/Users")["Resources"] == [ann]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/Users", {"schemas": USER, "userName": "x"}),
        ("/Users", {"schemas": [5], "userName": "x"}),
        ("/Users", {"schemas": {}, "userName": "x"}),
        ("/Groups", {"schemas": [GROUP], "displayName": "g", "members": {"a": [{}]}}),
        ("/Groups", {"schemas": [GROUP], "displayName": "g", "members": [[[]]]}),
        ("/Groups", {"schemas": [GROUP], "displayName": {"value": "g"}}),
        ("/Users/.search", {"schemas": [SEARCH], "filter": 5}),
        ("/Users/.search", {"schemas": [SEARCH], "filter": {"a": "b"}}),
        ("/Users/.search", {"schemas": [SEARCH], "count": "ten"}),
        ("/Users/.search", {"schemas": [SEARCH], "startIndex": [1]}),
        ("/Users/.search", {"schemas": [SEARCH], "sortBy": 5}),
        ("/Users/.search", {"schemas": [SEARCH], "attributes": 5}),
        ("/Users/.search", {"schemas": [SEARCH], "attributes": [5]}),
        ("/Bulk", {"schemas": [BULK]}),
        ("/Bulk", {"schemas": [BULK], "Operations": "x"}),
        ("/Bulk", {"schemas": [BULK], "Operations": {}}),
        ("/Bulk", {"schemas": [BULK], "Operations": [], "failOnErrors": "x"}),
    ],
    ids=repr,
)
def test_messages_of_the_wrong_shape(client: Client, path: str, body: Any) -> None:
    """400 in every message, never 500 (§3.12)."""
    reply = client.post(path, body)
    assert reply.status == 400, reply.content
    assert_plain(reply, 400, reply.json.get("scimType"))
    assert client.get("/Groups")["totalResults"] == 0


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"name": "x"}, "'name' must be an object, not \"x\"."),
        ({"active": "no"}, "'active' must be true or false, not \"no\"."),
        ({"active": ""}, "'active' must be true or false, not \"\"."),
        ({"active": 5}, "'active' must be true or false, not 5."),
        ({"userName": "x", "username": "y"}, "userName and username"),
        ({"username": "x", "userName": "y"}, "username and userName"),
        (
            {"name": {"familyname": "x", "familyName": "y"}},
            "name: familyname and familyName",
        ),
    ],
)
def test_details_show_what_was_sent(sent: dict[str, Any], shown: str) -> None:
    """Strings are in quotes, so that an empty one is seen, and names as they came."""
    client = Client(create_app(tolerance="strict"))
    body = {"schemas": [USER], **sent}
    if "username" not in sent:
        body["userName"] = "ann"
    assert shown in client.post("/Users", body)["detail"]


@pytest.mark.parametrize(
    ("path", "query", "status", "said", "hint"),
    [
        ("/usres", {}, 404, "(did you mean 'Users'?)", True),
        ("/Users", {"attributes": 'emails[type eq "w"]'}, 400, "in brackets", False),
        ("/Users", {"attributes": USER}, 400, "No schema declares", False),
        ("/Users", {"filter": f"{USER} pr"}, 400, "No schema declares", False),
        ("/Users", {"filter": "members pr"}, 400, "No schema declares", False),
        ("/Users", {"filter": "usernam pr"}, 400, "(did you mean 'userName'?)", True),
        ("/Users", {"filter": 'userName eq {"a":1}'}, 400, "found '{'", False),
    ],
)
def test_hints(
    path: str, query: dict[str, str], status: int, said: str, hint: bool
) -> None:
    """A hint names what may have been meant, never what was sent."""
    reply = Client(create_app(tolerance="strict")).get(path, **query)
    assert reply.status == status
    assert said in reply["detail"]
    assert ("did you mean" in reply["detail"]) is hint
