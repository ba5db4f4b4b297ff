"""Versions and preconditions (RFC 7644 §3.14)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ENTERPRISE, PATCH_OP, USER, Client, Reply, assert_error

RENAME = {"op": "replace", "path": "displayName", "value": "New"}
BODIES: dict[str, Any] = {
    "GET": None,
    "DELETE": None,
    "PUT": {"schemas": [USER], "userName": "ann", "displayName": "New"},
    "PATCH": {"schemas": [PATCH_OP], "Operations": [RENAME]},
}
SUCCESS = {"GET": 200, "PUT": 200, "PATCH": 200, "DELETE": 204}


def test_the_version_is_the_etag(client: Client) -> None:
    """Weak, in the header and in ``meta.version`` alike (§3.14, RFC 7643 §3.1)."""
    body = {"schemas": [USER], "userName": "ann"}
    created = client.post("/Users", body)
    path = f"/Users/{created['id']}"
    replies = [
        created,
        client.get(path),
        client.put(path, body | {"title": "x"}),
        client.patch(path, RENAME),
    ]
    for reply in replies:
        assert re.fullmatch(r'W/"[\x21\x23-\x7e]+"', reply.headers["ETag"])
        assert reply["meta"]["version"] == reply.headers["ETag"]
    (listed,) = client.get("/Users")["Resources"]
    assert listed["meta"]["version"] == replies[-1].headers["ETag"]


IF_MATCH = [
    ("{now}", True),
    ("*", True),
    ('W/"other", {now}', True),
    ('{now},W/"other"', True),
    ("{strong}", True),  # compared weakly, a deviation from RFC 9110 §13.1.1
    ("{old}", False),
    ('W/"other"', False),
    ('"other", "another"', False),
]


@pytest.mark.parametrize("verb", BODIES)
@pytest.mark.parametrize(("tags", "holds"), IF_MATCH)
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
def test_preconditions(
    client: Client, name: str, tags: str, holds: bool, verb: str
) -> None:
    """412 and nothing changed, or 304 of a GET, on every verb (§3.14)."""
    old = client.user("ann")
    path = f"/Users/{old['id']}"
    now = client.patch(path, {"op": "add", "path": "title", "value": "x"})
    tag = now.headers["ETag"]
    assert tag != old["meta"]["version"]
    sent = tags.format(now=tag, strong=tag[2:], old=old["meta"]["version"])
    reply = client.request(verb, path, BODIES[verb], {name: sent})
    if holds == (name == "If-Match"):
        assert reply.status == SUCCESS[verb], reply.content
        assert (client.get(path).json == now.json) == (verb == "GET")
        return
    if verb == "GET" and name == "If-None-Match":
        assert (reply.status, reply.content) == (304, b"")
        assert reply.headers["ETag"] == tag
    else:
        assert_error(reply, 412)
    assert client.get(path).json == now.json


@pytest.mark.parametrize("verb", BODIES)
def test_a_precondition_on_nothing(client: Client, verb: str) -> None:
    """What does not exist is 404, whatever its version should be (RFC 9110 §13.2.1)."""
    reply = client.request(verb, "/Users/x", BODIES[verb], {"If-Match": 'W/"other"'})
    assert_error(reply, 404)


@pytest.mark.parametrize(
    "change",
    [
        {"op": "add", "path": "nickName", "value": "A"},
        {"op": "add", "path": "title", "value": "T"},
        {"op": "remove", "path": "title"},
        {"op": "replace", "path": "userName", "value": "ANN"},
        {"op": "replace", "path": "password", "value": "new"},
        {"op": "add", "path": "emails", "value": [{"value": "b@x.example"}]},
        {"op": "add", "path": "emails", "value": [{"value": "A@x.example"}]},
        {"op": "replace", "path": 'emails[type eq "work"].value', "value": "c@x.test"},
        {"op": "add", "path": f"{ENTERPRISE}:division", "value": "D"},
    ],
    ids=repr,
)
def test_every_visible_change_changes_the_version(
    client: Client, change: dict[str, Any]
) -> None:
    """A password counts too, though it is never seen (§3.14)."""
    before = client.user(
        "ann",
        password="old",
        title="t",
        emails=[{"value": "a@x.example", "type": "work"}],
    )
    after = client.patch(f"/Users/{before['id']}", change)
    assert after.status == 200, after.content
    assert after.headers["ETag"] != before["meta"]["version"]


def test_computed_attributes_change_the_version_only(client: Client) -> None:
    """What follows from other resources is visible, but no modification (§3.14)."""
    boss = client.user("boss", displayName="Boss")
    managed = {"manager": {"value": boss["id"]}}
    ann = client.user("ann", displayName="Ann", **{ENTERPRISE: managed})
    inner = client.group("inner")
    outer = client.group("outer", inner["id"])
    path = {each["id"]: f"/Users/{each['id']}" for each in (boss, ann)}
    path |= {each["id"]: f"/Groups/{each['id']}" for each in (inner, outer)}

    def rename(each: dict[str, Any], name: str) -> Callable[[], Reply]:
        change = {"op": "replace", "path": "displayName", "value": name}
        return lambda: client.patch(path[each["id"]], change)

    def member(op: str, value: Any) -> Callable[[], Reply]:
        change = {"op": op, "path": "members", "value": value}
        return lambda: client.patch(path[inner["id"]], change)

    steps: list[tuple[Callable[[], Reply], list[dict[str, Any]]]] = [
        (member("add", [{"value": ann["id"]}]), [ann]),
        (rename(ann, "Ann A"), [inner]),
        (rename(boss, "The Boss"), [ann]),
        (rename(inner, "Inner"), [ann, outer]),
        (rename(outer, "Outer"), [ann]),
        (member("replace", []), [ann]),
        (lambda: client.delete(path[boss["id"]]), [ann]),
    ]
    for change, touched in steps:
        before = {each["id"]: client.get(path[each["id"]]) for each in touched}
        assert change().status in (200, 204)
        for each, old in before.items():
            new = client.get(path[each])
            assert new.json != old.json
            assert new.headers["ETag"] != old.headers["ETag"]
            assert new["meta"]["lastModified"] == old["meta"]["lastModified"]
            stale = {"If-None-Match": old.headers["ETag"]}
            assert client.request("GET", path[each], headers=stale).status == 200


def test_reading_does_not_change_the_version(client: Client) -> None:
    """Nor do other resources, projections, and refused writes (§3.14)."""
    ann = client.user("ann")
    path, tag = f"/Users/{ann['id']}", ann["meta"]["version"]
    other = client.user("bea")
    client.patch(f"/Users/{other['id']}", RENAME)
    client.group("g", other["id"])
    client.get("/Users", filter='userName eq "ann"')
    assert_error(client.put(path, {"schemas": [USER]}), 400, "invalidValue")
    assert_error(client.patch(path, RENAME | {"value": 5}), 400, "invalidValue")
    for query in ({}, {"attributes": "userName"}, {"excludedAttributes": "meta"}):
        assert client.get(path, **query).headers["ETag"] == tag
