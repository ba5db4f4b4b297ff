"""Creating resources (RFC 7644 §3.3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from conftest import ENTERPRISE, GROUP, USER, Client, Reply, assert_error

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BASE = "http://localhost/v2"


@pytest.fixture(params=["strict", "standard", "lenient"])
def fixed(make_client: Callable[..., Client], request: pytest.FixtureRequest) -> Client:
    """Serve with ids 1, 2, 3 and a clock that stands still."""
    return make_client(
        clock=lambda: NOW, new_id=map(str, count(1)).__next__, tolerance=request.param
    )


def dated(resource: dict[str, Any]) -> dict[str, Any]:
    """Read the dates of ``meta``, whichever way they are spelt."""
    meta = dict(resource["meta"])
    for name in ("created", "lastModified"):
        meta[name] = datetime.fromisoformat(meta[name])
    return resource | {"meta": meta}


def meta(reply: Reply, type: str, id: str) -> dict[str, Any]:
    """Spell the ``meta`` of a resource that was created at NOW (RFC 7643 §3.1)."""
    return {
        "resourceType": type,
        "created": NOW,
        "lastModified": NOW,
        "location": f"{BASE}/{type}s/{id}",
        "version": reply.headers["ETag"],
    }


RFC_EXAMPLE: dict[str, Any] = json.loads("""{
"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
"userName": "bjensen", "externalId": "bjensen", "name": {
 "formatted": "Ms. Barbara J Jensen III", "familyName": "Jensen",
 "givenName": "Barbara"}}""")
# RFC 7643 §8.3, with the country of erratum 5990 and a certificate of five bytes.
FULL_USER: dict[str, Any] = json.loads(r"""{
"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User",
 "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
"externalId": "701984", "userName": "bjensen@example.com", "name": {
 "formatted": "Ms. Barbara J Jensen, III", "familyName": "Jensen",
 "givenName": "Barbara", "middleName": "Jane", "honorificPrefix": "Ms.",
 "honorificSuffix": "III"},
"displayName": "Babs Jensen", "nickName": "Babs",
"profileUrl": "https://login.example.com/bjensen", "emails": [
 {"value": "bjensen@Example.COM", "type": "work", "primary": true},
 {"value": "babs@corp.local", "type": "home"}],
"addresses": [{"type": "work", "streetAddress": "100 Universal City Plaza",
 "locality": "Hollywood", "region": "CA", "postalCode": "91608", "country": "US",
 "formatted": "100 Universal City Plaza\nHollywood, CA 91608 USA"},
 {"type": "home", "streetAddress": "456 Hollywood Blvd"}],
"phoneNumbers": [{"value": "555-555-5555", "type": "work"},
 {"value": "tel:555-555-4444", "type": "mobile"}],
"ims": [{"value": "someaimhandle", "type": "aim"}],
"photos": [{"value": "https://photos.example.com/F", "type": "photo"}],
"userType": "Employee", "title": "Tour Guide", "preferredLanguage": "en-US",
"locale": "en-US", "timezone": "America/Los_Angeles", "active": true,
"entitlements": [{"value": "e1"}],
"roles": [{"value": "r1", "display": "R\u00f4le \ud83d\ude00", "primary": false}],
"x509Certificates": [{"value": "MAMCAQE="}],
"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
 "employeeNumber": "701984", "costCenter": "4130",
 "organization": "Universal Studios", "division": "Theme Park",
 "department": "Tour Operations"}}""")


@pytest.mark.parametrize(
    "sent",
    [{"schemas": [USER], "userName": "x"}, RFC_EXAMPLE, FULL_USER],
    ids=["least", "RFC 7644 §3.3", "RFC 7643 §8.3"],
)
def test_a_user_comes_back_as_it_was_sent(fixed: Client, sent: dict[str, Any]) -> None:
    """201, Location, ETag and the whole resource, values unchanged (§3.3)."""
    reply = fixed.post("/Users", sent)
    assert reply.status == 201, reply.content
    assert reply.headers["Content-Type"].startswith("application/scim+json")
    assert reply.headers["Location"] == f"{BASE}/Users/1"
    assert dated(reply.json) == {**sent, "id": "1", "meta": meta(reply, "User", "1")}
    assert "Scim-Deviation" not in reply.headers
    assert fixed.get("/Users/1").json == reply.json
    assert fixed.get("/Users")["Resources"] == [reply.json]


def test_references_are_computed(fixed: Client) -> None:
    """Members and managers get $ref, type and display (RFC 7643 §4.1.2, §4.2, §4.3)."""
    fixed.user("boss", displayName="The Boss")
    fixed.user("plain")
    fixed.group("inner")
    managed = fixed.user("ann", **{ENTERPRISE: {"manager": {"value": "1"}}})
    assert managed[ENTERPRISE]["manager"] == {
        "value": "1",
        "$ref": f"{BASE}/Users/1",
        "displayName": "The Boss",
    }
    sent = [
        {"value": "1", "display": "sent", "$ref": "https://x.example/1"},
        {"value": "2", "type": "User"},
        {"value": "3"},
    ]
    body = {"schemas": [GROUP], "displayName": "outer", "members": sent}
    reply = fixed.post("/Groups", body)
    assert dated(reply.json) == {
        "schemas": [GROUP],
        "id": "5",
        "displayName": "outer",
        "members": [
            {
                "value": "1",
                "$ref": f"{BASE}/Users/1",
                "type": "User",
                "display": "The Boss",
            },
            {"value": "2", "$ref": f"{BASE}/Users/2", "type": "User"},
            {
                "value": "3",
                "$ref": f"{BASE}/Groups/3",
                "type": "Group",
                "display": "inner",
            },
        ],
        "meta": meta(reply, "Group", "5"),
    }
    assert fixed.get("/Users/1")["groups"] == [
        {"value": "5", "$ref": f"{BASE}/Groups/5", "display": "outer", "type": "direct"}
    ]


@pytest.mark.parametrize(
    "sent",
    [
        {"Schemas": [USER], "UserName": "ann", "NAME": {"GivenName": "A"}},
        {"schemas": [USER.upper()], "userName": "ann", "name": {"givenName": "A"}},
        {
            "schemas": [USER],
            "userName": "ann",
            "name": {"givenName": "A", "familyName": None},
            "emails": [],
            "groups": [],
            "password": "s3cret",
        },
    ],
    ids=["PascalCase", "URN in capitals", "null and empty"],
)
def test_spellings_of_one_user(fixed: Client, sent: dict[str, Any]) -> None:
    """Names of attributes and URNs of schemas have no case (RFC 7643 §2.1)."""
    reply = fixed.post("/Users", sent)
    assert reply.status == 201, reply.content
    assert dated(reply.json) == {
        "schemas": [USER],
        "id": "1",
        "userName": "ann",
        "name": {"givenName": "A"},
        "meta": meta(reply, "User", "1"),
    }


@pytest.mark.parametrize(
    "content_type",
    [
        "application/scim+json",
        "application/scim+json; charset=utf-8",
        "Application/SCIM+JSON;charset=UTF-8",
        "application/json",
        "",
    ],
)
def test_media_types_of_a_body(fixed: Client, content_type: str) -> None:
    """Also application/json, and no type at all (§3.8)."""
    reply = fixed.post("/Users", RFC_EXAMPLE, {"Content-Type": content_type})
    assert reply.status == 201, reply.content
    assert "Scim-Deviation" not in reply.headers


@pytest.mark.parametrize(
    ("path", "body", "status", "scim_type"),
    [
        ("/Users", {"schemas": [USER]}, 400, "invalidValue"),
        ("/Users", {"schemas": [USER], "userName": "ANN"}, 409, "uniqueness"),
        ("/Groups", {"schemas": [GROUP]}, 400, "invalidValue"),
        (
            "/Groups",
            {"schemas": [GROUP], "displayName": "g", "members": [{"value": 5}]},
            400,
            "invalidValue",
        ),
        (
            "/Groups",
            {
                "schemas": [GROUP],
                "displayName": "g",
                "members": [{"value": "bulkId:x"}],
            },
            400,
            "invalidValue",
        ),
        ("/Users/unknown", {"schemas": [USER], "userName": "x"}, 405, None),
        ("/Users/1", {"schemas": [USER], "userName": "x"}, 405, None),
        ("/Robots", {"schemas": [USER], "userName": "x"}, 404, None),
    ],
)
def test_what_is_not_created(
    fixed: Client, path: str, body: dict[str, Any], status: int, scim_type: str | None
) -> None:
    """A refused create leaves everything as it was (§3.3, §3.12)."""
    before = fixed.user("ann")
    reply = fixed.post(path, body)
    assert_error(reply, status, scim_type)
    assert fixed.get("/Users")["Resources"] == [before]
    assert fixed.get("/Groups")["totalResults"] == 0


def test_ids_are_distinct_and_not_reused(client: Client) -> None:
    """An id is unique over all resources and stays so (RFC 7643 §3.1)."""
    ids = set()
    for number in range(20):
        created = client.user(f"user{number}")
        group = client.group("same name")
        ids |= {created["id"], group["id"]}
        assert client.delete(f"/Users/{created['id']}").status == 204
    assert len(ids) == 40 and "bulkId" not in ids
