"""The alias of one user (RFC 7644 §3.11)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from conftest import ENTERPRISE, PATCH_OP, USER, Client, Reply, assert_error

MakeClient = Callable[..., Client]
BASE = "http://localhost/v2"
VERBS = ("GET", "PUT", "PATCH", "DELETE")
BODIES: dict[str, Any] = {
    "POST": {"schemas": [USER], "userName": "ann"},
    "PUT": {"schemas": [USER], "userName": "ann", "title": "Dr"},
    "PATCH": {
        "schemas": [PATCH_OP],
        "Operations": [{"op": "add", "path": "title", "value": "Dr"}],
    },
}


def bearer(token: str) -> dict[str, str]:
    """Spell the header of a bearer token (RFC 6750 §2.1)."""
    return {"Authorization": f"Bearer {token}"}


def basic(pair: str) -> dict[str, str]:
    """Spell the header of basic authentication (RFC 7617 §2)."""
    return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}


TOKENS = {"user_tokens": {"ann": "ann-token", "bea": "bea-token", "zed": "zed-token"}}
WORDS = {"basic_auth": {"ann": "pw", "bea": "pw"}}
ROOT = {"bearer_tokens": ["root"]}
WAYS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {  # options, headers of ann
    "me": ({"me": "ann"}, {}),
    "me in capitals": ({"me": "ANN"}, {}),
    "me and a token": ({"me": "ann", **ROOT}, bearer("root")),
    "token": (TOKENS, bearer("ann-token")),
    "token among others": (TOKENS | WORDS | ROOT, bearer("ann-token")),
    "password": (WORDS, basic("ann:pw")),
    "password among others": (TOKENS | WORDS | ROOT, basic("ann:pw")),
}


class Known(Client):
    """A client that sends these headers with every request."""

    def __init__(self, app: Callable[..., Any], headers: dict[str, str]) -> None:
        super().__init__(app)
        self.headers = headers

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        """Send a request as Client does."""
        fields = self.headers | (headers or {})
        return super().request(method, path, body, fields, **query)


@pytest.fixture(params=WAYS)
def known(make_client: MakeClient, request: pytest.FixtureRequest) -> Client:
    """Serve bea, who is user 1, and let ann, who will be user 2, speak."""
    options, headers = WAYS[request.param]
    ids = map(str, count(1))
    client = Known(make_client(new_id=ids.__next__, **options).app, headers)
    client.user("bea")
    return client


def test_every_verb_on_me(known: Client) -> None:
    """The answer is that of the user's own URL, Location included (§3.11)."""
    managed = {ENTERPRISE: {"manager": {"value": "1"}}}
    ann = known.user("ann", displayName="Ann", **managed)
    known.group("g", "2")
    path, location = "/Users/2", f"{BASE}/Users/2"
    before = known.get(path)
    assert before["id"] == ann["id"] == "2"
    got = known.get("/Me")
    assert (got.status, got.json) == (200, before.json)
    patched = known.patch("/Me", {"op": "add", "path": "title", "value": "Dr"})
    assert (patched.status, patched["title"]) == (200, "Dr")
    assert patched.json == known.get(path).json
    body = {"schemas": [USER], "userName": "ann", "displayName": "A"}
    put = known.put("/Me", body)
    assert put.status == 200
    assert put.json == known.get(path).json
    assert "title" not in put.json and ENTERPRISE not in put.json
    for reply in (got, patched, put):
        assert reply.headers["Location"] == location == reply["meta"]["location"]
        assert reply.headers["ETag"] == reply["meta"]["version"]
    gone = known.delete("/Me")
    assert (gone.status, gone.content) == (204, b"")
    assert_error(known.get(path), 404)
    assert "members" not in known.get("/Groups/3").json
    for verb in VERBS:
        assert_error(known.request(verb, "/Me", BODIES.get(verb)), 404)
    (bea,) = known.get("/Users")["Resources"]
    assert bea["userName"] == "bea"


def test_head_of_me(known: Client) -> None:
    """HEAD has the headers of GET (§3.11, RFC 9110 §9.3.2)."""
    known.user("ann")
    got, head = known.get("/Me"), known.request("HEAD", "/Me")
    assert (head.status, head.content) == (200, b"")
    for name in ("ETag", "Location", "Content-Type"):
        assert head.headers[name] == got.headers[name]


def test_nobody_is_created_at_me(known: Client) -> None:
    """POST is 501, whether there is such a user or not (§3.11)."""
    assert_error(known.post("/Me", BODIES["POST"]), 501)
    ann = known.user("ann")
    assert_error(known.post("/Me", BODIES["POST"]), 501)
    assert known.get("/Users")["totalResults"] == 2
    assert known.get("/Me").json == ann


def test_a_user_who_does_not_exist(known: Client) -> None:
    """404 in a SCIM error; who is created later is found (§3.11)."""
    before = known.get("/Users").json
    for verb in VERBS:
        assert_error(known.request(verb, "/Me", BODIES.get(verb)), 404)
    assert known.get("/Users").json == before
    ann = known.user("Ann")
    assert known.get("/Me").json == ann
    assert known.delete("/Me").status == 204
    again = known.user("ann")
    assert again["id"] != ann["id"]
    assert known.get("/Me").json == again


@pytest.mark.parametrize(
    "query",
    [
        {"attributes": "userName"},
        {"attributes": "name.givenName,meta.version"},
        {"excludedAttributes": "name,meta"},
        {"attributes": "groups"},
    ],
    ids=repr,
)
def test_projection_of_me(known: Client, query: dict[str, str]) -> None:
    """What is asked for, no more; the Location stays (§3.11, §3.9)."""
    known.user("ann", name={"givenName": "Ann", "familyName": "A"}, title="Dr")
    known.group("g", "2")
    own, got = known.get("/Users/2", **query), known.get("/Me", **query)
    assert got.json == own.json != known.get("/Users/2").json
    assert got.headers["Location"] == f"{BASE}/Users/2"
    assert got.headers["ETag"] == own.headers["ETag"]
    patched = known.request("PATCH", "/Me", BODIES["PATCH"], **query)
    assert (patched.status, patched.json) == (200, own.json)


def test_preconditions_of_me(known: Client) -> None:
    """304 and 412 as of the user's own URL (§3.11, §3.14)."""
    known.user("ann")
    now = known.get("/Me")
    tag = now.headers["ETag"]
    fresh = known.request("GET", "/Me", headers={"If-None-Match": tag})
    assert (fresh.status, fresh.content) == (304, b"")
    for verb in ("PUT", "PATCH", "DELETE"):
        headers = {"If-Match": 'W/"other"'}
        assert_error(known.request(verb, "/Me", BODIES.get(verb), headers), 412)
        assert known.get("/Me").json == now.json
    reply = known.request("PATCH", "/Me", BODIES["PATCH"], {"If-Match": tag})
    assert (reply.status, reply["title"]) == (200, "Dr")
    assert reply.headers["ETag"] != tag


@pytest.mark.parametrize(
    ("verb", "body", "status", "scim_type"),
    [
        ("PUT", {"schemas": [USER]}, 400, "invalidValue"),
        ("PUT", {"schemas": [USER], "userName": "BEA"}, 409, "uniqueness"),
        ("PATCH", {"schemas": [PATCH_OP], "Operations": 5}, 400, "invalidSyntax"),
        ("PUT", b"{", 400, "invalidSyntax"),
    ],
)
def test_bad_requests_to_me(
    known: Client, verb: str, body: Any, status: int, scim_type: str
) -> None:
    """Errors are those of the user's own URL, and nothing changes (§3.11, §3.12)."""
    known.user("ann")
    before = known.get("/Me").json
    reply = known.request(verb, "/Me", body)
    assert_error(reply, status, scim_type)
    assert reply.json == known.request(verb, "/Users/2", body).json
    assert known.get("/Me").json == before


@pytest.mark.parametrize("verb", ["POST", *VERBS])
@pytest.mark.parametrize(
    ("options", "headers"),
    [({}, {}), (ROOT, bearer("root")), (ROOT | TOKENS | WORDS, bearer("root"))],
    ids=["anonymous", "one token", "many tokens"],
)
def test_no_subject(
    make_client: MakeClient, options: dict[str, Any], headers: dict[str, str], verb: str
) -> None:
    """Who is not tied to a user has no alias: 501 (§3.11)."""
    client = Known(make_client(**options).app, headers)
    client.user("ann")
    client.user("root")
    before = client.get("/Users").json
    assert_error(client.request(verb, "/Me", BODIES.get(verb)), 501)
    assert client.get("/Users").json == before


def test_each_credential_has_its_own_subject(make_client: MakeClient) -> None:
    """Of two users each is Me to herself (§3.11)."""
    app = make_client(**TOKENS, **WORDS, **ROOT).app
    root = Known(app, bearer("root"))
    ann, bea = root.user("ann"), root.user("bea")
    for headers, user in (
        (bearer("ann-token"), ann),
        (bearer("bea-token"), bea),
        (basic("ann:pw"), ann),
        (basic("bea:pw"), bea),
    ):
        reply = Known(app, headers).get("/Me")
        assert reply.json == user
        assert reply.headers["Location"] == user["meta"]["location"]
    assert_error(Known(app, bearer("zed-token")).get("/Me"), 404)
    for headers in ({}, bearer("wrong"), basic("ann:wrong"), basic("zed:")):
        for verb in ("POST", *VERBS):
            body = BODIES.get(verb)
            assert_error(Known(app, headers).request(verb, "/Me", body), 401)
    assert Known(app, bearer("bea-token")).delete("/Me").status == 204
    assert root.get("/Users")["Resources"] == [ann]


def test_me_without_the_prefix(make_client: MakeClient) -> None:
    """The Location has the canonical prefix all the same (§3.11)."""
    client = make_client(me="ann", prefix="/scim/v2")
    ann = client.user("ann")
    client.prefix = ""
    reply = client.get("/Me")
    assert reply.json == ann
    location = f"http://localhost/scim/v2/Users/{ann['id']}"
    assert reply.headers["Location"] == location == ann["meta"]["location"]


@pytest.mark.parametrize("path", ["/Me/name", "/Me/2"])
def test_what_is_not_me(known: Client, path: str) -> None:
    """Nothing lies beneath it (§3.2, §3.11)."""
    known.user("ann")
    assert_error(known.get(path), 404)


def test_the_location_of_me_in_errors(known: Client) -> None:
    """ "In any response", and in that of a request that failed too (§3.11)."""
    known.user("ann")
    id = known.get("/Me")["id"]
    replies = [
        known.request("PUT", "/Me", {"schemas": [USER]}),
        known.patch("/Me", {"op": "add", "path": "id", "value": "5"}),
        known.patch("/Me", {"op": "add", "path": "x[", "value": "5"}),
        known.request("DELETE", "/Me", None, {"If-Match": 'W/"none"'}),
        known.post("/Me", {"schemas": [USER]}),
        known.request("OPTIONS", "/Me"),
        known.request("TRACE", "/Me"),
        known.get("/Me", attributes="title", excludedAttributes="name"),
    ]
    statuses = (400, 400, 400, 412, 501, 204, 405, 400)
    for reply, status in zip(replies, statuses, strict=True):
        assert reply.status == status
        assert reply.headers["Location"] == f"{BASE}/Users/{id}"


def test_no_location_of_nobody(client: Client) -> None:
    """Where nobody is /Me there is no location, and no other status (§3.11)."""
    for verb, status in (("OPTIONS", 204), ("TRACE", 405), ("POST", 501), ("GET", 501)):
        reply = client.request(verb, "/Me", {} if verb == "POST" else None)
        assert reply.status == status
        assert "Location" not in reply.headers
