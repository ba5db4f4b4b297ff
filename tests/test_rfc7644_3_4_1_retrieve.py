"""Retrieving one resource, and the attributes asked for (RFC 7644 §3.4.1, §3.9)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from conftest import ENTERPRISE, PATCH_OP, SEARCH, USER, Client, Reply, assert_error

BOSS = {"value": "1", "$ref": "http://localhost/v2/Users/1", "displayName": "Boss"}
EMAILS = [
    {"value": "w@x.example", "type": "work", "primary": True},
    {"value": "h@x.example", "type": "home"},
]
NAME = {"givenName": "Barbara", "familyName": "Jensen"}
WORK = {"department": "R&D", "manager": BOSS}
SHOWN: dict[str, Any] = {
    "id": "2",
    "userName": "bjensen",
    "name": NAME,
    "emails": EMAILS,
    "active": True,
    ENTERPRISE: WORK,
}


@pytest.fixture
def served(make_client: Callable[..., Client]) -> Client:
    """Serve user 1, the manager of user 2."""
    client = make_client(new_id=map(str, count(1)).__next__)
    client.user("boss", displayName="Boss")
    client.user(
        "bjensen",
        password="s3cret",
        name=NAME,
        emails=EMAILS,
        active=True,
        **{ENTERPRISE: {"department": "R&D", "manager": {"value": "1"}}},
    )
    return client


def without(*names: str) -> dict[str, Any]:
    """Answer what is shown of user 2, but for these attributes."""
    return {name: value for name, value in SHOWN.items() if name not in names}


def only(**attributes: Any) -> dict[str, Any]:
    """Answer the id, which is always returned, and these attributes."""
    return {"id": "2", **attributes}


ATTRIBUTES = [
    ("userName", only(userName="bjensen")),
    ("USERNAME", only(userName="bjensen")),
    ("id", only()),
    ("userName,active", only(userName="bjensen", active=True)),
    ("name", only(name=NAME)),
    ("name.givenName", only(name={"givenName": "Barbara"})),
    ("Name.FamilyName,name.givenName", only(name=NAME)),
    ("emails", only(emails=EMAILS)),
    ("emails.type", only(emails=[{"type": "work"}, {"type": "home"}])),
    ("emails.primary,active", None),
    (f"{USER}:userName", only(userName="bjensen")),
    (f"{USER}:name.familyName", only(name={"familyName": "Jensen"})),
    (f"{USER.upper()}:userName", only(userName="bjensen")),
    (ENTERPRISE, only(**{ENTERPRISE: WORK})),
    (f"{ENTERPRISE}:department", only(**{ENTERPRISE: {"department": "R&D"}})),
    (f"{ENTERPRISE}:manager", only(**{ENTERPRISE: {"manager": BOSS}})),
    (
        f"{ENTERPRISE}:manager.displayName,userName",
        only(userName="bjensen", **{ENTERPRISE: {"manager": {"displayName": "Boss"}}}),
    ),
    ("meta.resourceType", only(meta={"resourceType": "User"})),
    ("password", only()),
    ("nickName", only()),
    ("unheardOf", only()),
]
EXCLUDED = [
    ("emails,name", without("emails", "name")),
    ("EMAILS", without("emails")),
    ("id", without()),
    ("name.givenName", SHOWN | {"name": {"familyName": "Jensen"}}),
    ("emails.type,emails.primary", None),
    (f"{USER}:active", without("active")),
    (ENTERPRISE, without(ENTERPRISE)),
    (f"{ENTERPRISE}:manager", SHOWN | {ENTERPRISE: {"department": "R&D"}}),
    ("unheardOf", without()),
]


def shown(reply: Reply, meta: bool) -> dict[str, Any]:
    """Answer the attributes; ``meta`` tells whether that must be one of them."""
    assert reply.status == 200, reply.content
    assert USER in reply["schemas"]
    assert ("meta" in reply.json) == meta
    ignored = ("schemas", "meta") if meta else ("schemas",)
    return {name: reply[name] for name in reply.json if name not in ignored}


def test_the_whole_resource(served: Client) -> None:
    """200, the ETag of its version, and what was created (§3.4.1)."""
    reply = served.get("/Users/2")
    assert shown(reply, meta=True) == SHOWN
    assert set(reply["schemas"]) == {USER, ENTERPRISE}
    assert reply["meta"]["location"] == "http://localhost/v2/Users/2"
    assert reply.headers["ETag"] == reply["meta"]["version"]
    assert reply.headers["Content-Type"].startswith("application/scim+json")
    for path in ("/Users/3", "/Groups/2", "/Users/2/name", "/Robots/2"):
        assert_error(served.get(path), 404)


@pytest.mark.parametrize(("names", "expected"), ATTRIBUTES)
def test_attributes(served: Client, names: str, expected: Any) -> None:
    """Only the minimum set and those asked for (§3.4.2.5, §3.9, §3.10)."""
    reply = served.get("/Users/2", attributes=names)
    if names.startswith("meta."):
        assert reply.json == {"schemas": reply["schemas"], **expected}
    elif expected is None:  # an element without primary may stay, empty, or go
        assert [each for each in reply["emails"] if each] == [{"primary": True}]
        assert reply["active"] is True and "userName" not in reply.json
    else:
        assert shown(reply, meta=False) == expected
    assert reply.headers["ETag"] == served.get("/Users/2").headers["ETag"]


@pytest.mark.parametrize(("names", "expected"), EXCLUDED)
def test_excluded_attributes(served: Client, names: str, expected: Any) -> None:
    """All but these; what is returned always stays (§3.4.2.5, §3.9)."""
    expected = expected or SHOWN | {
        "emails": [{"value": "w@x.example"}, {"value": "h@x.example"}]
    }
    reply = served.get("/Users/2", excludedAttributes=names)
    assert shown(reply, meta=True) == expected


def test_meta_can_be_excluded(served: Client) -> None:
    """``meta`` is an attribute like others (RFC 7643 §3.1)."""
    reply = served.get("/Users/2", excludedAttributes="meta")
    assert shown(reply, meta=False) == SHOWN
    reply = served.get("/Users/2", excludedAttributes="meta.location,meta.version")
    assert set(reply["meta"]) == {"resourceType", "created", "lastModified"}


BODY = {"schemas": [USER], "userName": "cat", "title": "Cat", "active": True}
CHANGE = {
    "schemas": [PATCH_OP],
    "Operations": [{"op": "replace", "path": "title", "value": "Cat"}],
}
VERBS = [
    ("GET", "/Users/2", None, 200),
    ("POST", "/Users", BODY, 201),
    ("PUT", "/Users/2", BODY, 200),
    ("PATCH", "/Users/2", CHANGE, 200),
    ("GET", "/Users", None, 200),
    ("GET", "", None, 200),
]


@pytest.mark.parametrize(("verb", "path", "body", "status"), VERBS)
def test_projection_on_every_verb(
    served: Client, verb: str, path: str, body: Any, status: int
) -> None:
    """Every verb that answers with a resource takes both parameters (§3.9)."""

    def answer(**query: str) -> dict[str, Any]:
        reply = served.request(verb, path, body, **query)
        assert reply.status == status, reply.content
        if "Resources" not in reply.json:
            return dict(reply.json)
        (found,) = (user for user in reply["Resources"] if user["id"] == "2")
        return dict(found)

    first = answer(attributes="active")
    first.pop("schemas", None)  # which the RFC's own example of a list lacks
    assert first == {"id": first["id"], "active": True}
    if verb == "POST":
        served.delete(f"/Users/{first['id']}")
    rest = answer(excludedAttributes="active,meta")
    assert "userName" in rest and "active" not in rest and "meta" not in rest
    reply = served.request(verb, path, body, attributes="id", excludedAttributes="meta")
    assert_error(reply, 400, reply.json.get("scimType"))


@pytest.mark.parametrize("path", ["/Users/.search", "/.search"])
def test_projection_in_a_search_request(served: Client, path: str) -> None:
    """A SearchRequest holds both as arrays of names (§3.4.3)."""
    body = {"schemas": [SEARCH], "filter": 'userName eq "bjensen"'}
    reply = served.post(path, body | {"attributes": ["active", "name.givenName"]})
    (found,) = reply["Resources"]
    found.pop("schemas", None)
    assert found == only(active=True, name={"givenName": "Barbara"})
    reply = served.post(path, body | {"excludedAttributes": ["name", "meta"]})
    (found,) = reply["Resources"]
    found.pop("schemas", None)
    assert found == without("name")
    both = {"attributes": ["id"], "excludedAttributes": ["meta"]}
    reply = served.post(path, body | both)
    assert_error(reply, 400, reply.json.get("scimType"))


SCIM, JSON = "application/scim+json", "application/json"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", SCIM), ("*/*", SCIM), ("application/*", SCIM), ("text/html", SCIM),
        (JSON, JSON), ("Application/JSON; charset=utf-8, */*", JSON),
        (f"{JSON}, {SCIM}", SCIM), (f"{SCIM};q=0.5, {JSON}", JSON),
        (f"{SCIM}, {JSON};q=0.5", SCIM), (f"{JSON};q=0", SCIM),
        (f"{JSON};q=nan", JSON), ("application/json-patch+json", SCIM),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/Users/2", "/Users", "/Users/none", "/Schemas"])
def test_the_media_type_of_a_reply(
    served: Client, path: str, accept: str, media_type: str
) -> None:
    """Accept chooses between the two names of one format, for errors too (§3.8)."""
    reply = served.get(path, headers={"Accept": accept})
    assert reply.headers["Content-Type"] == media_type
    assert reply.headers["Vary"] == "Accept"


def test_a_reply_with_one_resource_says_where_it_is(served: Client) -> None:
    """Content-Location is meta.location (RFC 7643 §3.1)."""
    change = {"op": "replace", "path": "displayName", "value": "B"}
    for reply in (
        served.post("/Users", {"schemas": [USER], "userName": "new"}),
        served.get("/Users/2"),
        served.put("/Users/2", {"schemas": [USER], "userName": "bjensen"}),
        served.patch("/Users/2", change),
    ):
        assert reply.headers["Content-Location"] == reply["meta"]["location"]
    assert "Content-Location" not in served.get("/Users").headers
