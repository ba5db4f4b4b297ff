"""Deleting resources (RFC 7644 §3.6)."""

from __future__ import annotations

import pytest
from conftest import USER, Client, assert_error


@pytest.mark.parametrize("endpoint", ["/Users", "/Groups"])
def test_a_deleted_resource_is_gone(client: Client, endpoint: str) -> None:
    """204 without a body; then every verb is 404 and no query finds it (§3.6)."""
    kept = client.user("kept")
    gone = client.user("gone") if endpoint == "/Users" else client.group("gone")
    path = f"{endpoint}/{gone['id']}"
    reply = client.delete(path)
    assert (reply.status, reply.content) == (204, b"")
    remove = {"op": "remove", "path": "externalId"}
    replies = [
        client.delete(path),
        client.get(path),
        client.put(path, gone),
        client.patch(path, remove),
    ]
    for reply in replies:
        assert_error(reply, 404)
    for query in ({}, {"filter": f'id eq "{gone["id"]}"'}):
        assert client.get(endpoint, **query)["totalResults"] == (
            endpoint == "/Users" and not query
        )
    assert client.get("/Users")["Resources"] == [kept]


def test_a_deleted_name_can_be_taken(client: Client) -> None:
    """A deleted resource is no conflict, and its id is not used again (§3.6)."""
    first = client.user("ann", externalId="e")
    assert client.delete(f"/Users/{first['id']}").status == 204
    second = client.user("ANN", externalId="e")
    assert second["id"] != first["id"]
    assert client.get("/Users", filter='userName eq "ann"')["Resources"] == [second]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/Users/unknown", 404), ("/Robots/1", 404), ("/Users", 405), ("/Groups", 405)],
)
def test_what_cannot_be_deleted(client: Client, path: str, status: int) -> None:
    """Unknown ids are 404, collections 405 (§3.6, §3.12)."""
    before = client.user("ann")
    assert_error(client.delete(path), status)
    assert client.get("/Users")["Resources"] == [before]


def test_a_deleted_member_leaves_its_groups(client: Client) -> None:
    """No group names it any more, and their versions say so (RFC 7643 §4.2)."""
    ann, bea = client.user("ann"), client.user("bea")
    inner = client.group("inner", ann["id"])
    outer = client.group("outer", bea["id"], inner["id"])
    client.delete(f"/Users/{ann['id']}")
    after = client.get(f"/Groups/{inner['id']}")
    assert "members" not in after.json
    assert after["meta"]["version"] != inner["meta"]["version"]
    client.delete(f"/Groups/{inner['id']}")
    after = client.get(f"/Groups/{outer['id']}")
    assert [member["value"] for member in after["members"]] == [bea["id"]]
    client.delete(f"/Groups/{outer['id']}")
    body = client.get(f"/Users/{bea['id']}").json
    assert "groups" not in body and body["schemas"] == [USER]
