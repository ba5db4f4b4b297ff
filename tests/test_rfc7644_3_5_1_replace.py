"""Replacing resources with PUT (RFC 7644 §3.5.1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from conftest import ENTERPRISE, GROUP, USER, Client, assert_error

BEFORE: dict[str, Any] = {
    "externalId": "bjensen",
    "displayName": "Babs",
    "name": {"formatted": "Ms. Barbara J Jensen III", "familyName": "Jensen"},
    "emails": [{"value": "babs@jensen.org", "type": "home"}],
    "active": False,
    ENTERPRISE: {"employeeNumber": "7", "department": "R&D"},
}


@pytest.fixture(params=["strict", "standard"])
def ticking(
    make_client: Callable[..., Client], request: pytest.FixtureRequest
) -> Client:
    """Serve with ids 1, 2, 3 and a clock that goes a second ahead at each look."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return make_client(
        clock=(start + timedelta(seconds=tick) for tick in count()).__next__,
        new_id=map(str, count(1)).__next__,
        tolerance=request.param,
    )


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({}, {}),
        ({"emails": [], "name": None}, {}),
        ({"name": {"givenName": "Barbara"}}, {"name": {"givenName": "Barbara"}}),
        ({"userName": "babs"}, {"userName": "babs"}),
        ({"userName": "BJENSEN"}, {"userName": "BJENSEN"}),
        ({"id": "other", "meta": {"created": 5}, "groups": 5}, {}),
        ({ENTERPRISE: {"department": "Sales"}}, {ENTERPRISE: {"department": "Sales"}}),
        # The RFC's own example of §3.5.1.
        (
            {
                "id": "2819c223-7f76-453a-919d-413861904646",
                "externalId": "bjensen",
                "name": {
                    "formatted": "Ms. Barbara J Jensen III",
                    "familyName": "Jensen",
                    "givenName": "Barbara",
                    "middleName": "Jane",
                },
                "roles": [],
                "emails": [{"value": "bjensen@example.com"}, {"value": "b@j.org"}],
            },
            {
                "externalId": "bjensen",
                "name": {
                    "formatted": "Ms. Barbara J Jensen III",
                    "familyName": "Jensen",
                    "givenName": "Barbara",
                    "middleName": "Jane",
                },
                "emails": [{"value": "bjensen@example.com"}, {"value": "b@j.org"}],
            },
        ),
    ],
    ids=repr,
)
def test_a_true_replacement(
    ticking: Client, sent: dict[str, Any], shown: dict[str, Any]
) -> None:
    """What is left out is gone; what is readOnly is ignored (§3.5.1)."""
    before = ticking.user("bjensen", **BEFORE)
    schemas = [USER, *(name for name in sent if name.startswith("urn:"))]
    body = {"schemas": schemas, "userName": "bjensen", **sent}
    reply = ticking.put("/Users/1", body)
    assert reply.status == 200, reply.content
    after = dict(reply.json)
    meta = after.pop("meta")
    assert after == {"schemas": schemas, "id": "1", "userName": "bjensen"} | shown
    assert meta["version"] == reply.headers["ETag"] != before["meta"]["version"]
    old, new = (
        {
            name: datetime.fromisoformat(each[name])
            for name in ("created", "lastModified")
        }
        for each in (before["meta"], meta)
    )
    assert old["lastModified"] == old["created"] == new["created"]
    assert new["lastModified"] > new["created"]
    assert meta["location"] == before["meta"]["location"]
    assert meta["resourceType"] == "User"
    assert ticking.get("/Users/1").json == reply.json
    assert "Scim-Deviation" not in reply.headers


def test_putting_back_what_was_read_changes_nothing(ticking: Client) -> None:
    """A whole GET body, groups and meta and all, is the same state (§3.5.1)."""
    boss = ticking.user("boss")
    managed = {"manager": {"value": boss["id"]}, "department": "R&D"}
    user = ticking.user("bjensen", **BEFORE | {ENTERPRISE: managed})
    ticking.group("inner", user["id"])
    ticking.group("outer", "3", boss["id"])
    for path in ("/Users/1", "/Users/2", "/Groups/3", "/Groups/4"):
        before = ticking.get(path)
        after = ticking.put(path, before.json)
        assert after.status == 200, after.content
        assert after.json == before.json
        assert "Scim-Deviation" not in after.headers


def test_replacing_the_members_of_a_group(ticking: Client) -> None:
    """Members are immutable one by one; the list is not (RFC 7643 §4.2)."""
    for name in ("a", "b", "c"):
        ticking.user(name)
    ticking.group("g", "1", "2")
    members = [{"value": "3"}, {"value": "2"}]
    body = {"schemas": [GROUP], "displayName": "h", "members": members}
    reply = ticking.put("/Groups/4", body)
    assert {member["value"] for member in reply["members"]} == {"2", "3"}
    assert "groups" not in ticking.get("/Users/1").json
    assert ticking.get("/Users/3")["groups"][0]["display"] == "h"
    assert "members" not in ticking.put("/Groups/4", body | {"members": []}).json


@pytest.mark.parametrize(
    ("path", "sent", "status", "scim_type"),
    [
        ("/Users/9", {"userName": "x"}, 404, None),
        ("/Users", {"userName": "x"}, 405, None),
        ("/Users/1", {}, 400, "invalidValue"),
        ("/Users/1", {"userName": ""}, 400, "invalidValue"),
        ("/Users/1", {"userName": "x", "active": "perhaps"}, 400, "invalidValue"),
        ("/Users/1", {"userName": "TAKEN"}, 409, "uniqueness"),
        ("/Users/1", {"userName": "x", "emails": "x@x.example"}, 400, "invalidValue"),
    ],
)
def test_what_is_not_replaced(
    ticking: Client, path: str, sent: Any, status: int, scim_type: str | None
) -> None:
    """A refused PUT changes nothing, and an unknown id is not made (§3.5.1)."""
    before = [ticking.user("bjensen", **BEFORE), ticking.user("taken")]
    reply = ticking.put(path, {"schemas": [USER], **sent})
    assert_error(reply, status, scim_type)
    everyone = ticking.get("/Users", sortBy="id")["Resources"]
    assert everyone == before
