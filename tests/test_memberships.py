"""A directory that is consistent: members, groups, managers (RFC 7643 §4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from conftest import BULK, ENTERPRISE, GROUP, SEARCH, USER, Client, Reply, assert_error

from scim2_server import create_app, default_documents

MakeClient = Callable[..., Client]
BASE = "http://localhost/v2"
MANAGER = f"{ENTERPRISE}:manager"


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    """Serve with ids 1, 2, 3 and a clock that goes on at each look."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return make_client(
        clock=(start + timedelta(seconds=tick) for tick in count()).__next__,
        new_id=map(str, count(1)).__next__,
    )


def in_group(id: str, display: str, type: str = "direct") -> dict[str, Any]:
    """Spell an element of a user's ``groups``."""
    return {
        "value": id,
        "$ref": f"{BASE}/Groups/{id}",
        "display": display,
        "type": type,
    }


def member(id: str, display: str | None = None, type: str = "User") -> dict[str, Any]:
    """Spell an element of a group's ``members``."""
    shown = {"value": id, "$ref": f"{BASE}/{type}s/{id}", "type": type}
    return shown | ({"display": display} if display else {})


def groups(client: Client, id: str) -> list[Any]:
    """Answer the groups of a user, in the order of their ids."""
    found = client.get(f"/Users/{id}").json.get("groups", [])
    return sorted(found, key=lambda each: int(each["value"]))


def members(client: Client, id: str) -> list[Any]:
    """Answer the members of a group."""
    found: list[Any] = client.get(f"/Groups/{id}").json.get("members", [])
    return found


def add(client: Client, group: str, *ids: str) -> Reply:
    """Make these resources members of a group."""
    value = [{"value": id} for id in ids]
    reply = client.patch(
        f"/Groups/{group}", {"op": "add", "path": "members", "value": value}
    )
    assert reply.status == 200, reply.content
    return reply


def remove(client: Client, group: str, id: str) -> Reply:
    """End the membership of a resource in a group."""
    operation = {"op": "remove", "path": f'members[value eq "{id}"]'}
    reply = client.patch(f"/Groups/{group}", operation)
    assert reply.status == 200, reply.content
    return reply


def rename(client: Client, path: str, name: str | None) -> None:
    """Give another ``displayName``, or none."""
    operation = {"op": "replace", "path": "displayName", "value": name}
    assert client.patch(path, operation).status == 200


def paths(client: Client, filter: str, endpoint: str = "/Users") -> set[str]:
    """Answer the ids that a filter finds, the same by GET and by .search."""
    reply = client.get(endpoint, filter=filter)
    assert reply.status == 200, reply.content
    body = {"schemas": [SEARCH], "filter": filter}
    assert client.post(f"{endpoint}/.search", body).json == reply.json
    ids = {each["id"] for each in reply.json.get("Resources", [])}
    assert reply["totalResults"] == len(ids)
    return ids


# --- User.groups (§4.1.2) -------------------------------------------------------------


def test_direct_and_indirect_groups(client: Client) -> None:
    """A user is in the groups that contain its groups, three deep (§4.1.2)."""
    client.user("ann")
    client.user("bea")
    client.group("inner", "1")
    client.group("middle", "3", "2")
    client.group("outer", "4")
    client.group("apart")
    assert groups(client, "1") == [
        in_group("3", "inner"),
        in_group("4", "middle", "indirect"),
        in_group("5", "outer", "indirect"),
    ]
    assert groups(client, "2") == [
        in_group("4", "middle"),
        in_group("5", "outer", "indirect"),
    ]
    listed = {each["id"]: each for each in client.get("/Users")["Resources"]}
    for id in ("1", "2"):
        assert listed[id] == client.get(f"/Users/{id}").json
    for id in ("3", "4", "5", "6"):
        assert "groups" not in client.get(f"/Groups/{id}").json


def test_each_group_once(client: Client) -> None:
    """Who is a member in two ways is so directly, and once (§4.1.2)."""
    client.user("ann")
    client.group("inner", "1")
    client.group("other", "1")
    client.group("outer", "2", "3", "1")
    client.group("top", "2", "3", "4")
    client.group("twice", "1", "1")
    assert groups(client, "1") == [
        in_group("2", "inner"),
        in_group("3", "other"),
        in_group("4", "outer"),
        in_group("5", "top", "indirect"),
        in_group("6", "twice"),
    ]
    remove(client, "4", "1")
    assert groups(client, "1")[2] == in_group("4", "outer", "indirect")


def test_cycles(client: Client) -> None:
    """Groups that contain each other, or themselves, end somewhere (§4.2)."""
    client.user("ann")
    client.user("bea")
    client.group("g3", "1")
    client.group("g4", "3", "2")
    client.group("g5", "4")
    client.group("g6", "1")
    for group, inner in (("3", "4"), ("6", "6"), ("3", "3"), ("4", "5")):
        add(client, group, inner)
    assert groups(client, "1") == [
        in_group("3", "g3"),
        in_group("4", "g4", "indirect"),
        in_group("5", "g5", "indirect"),
        in_group("6", "g6"),
    ]
    assert groups(client, "2") == [
        in_group("3", "g3", "indirect"),
        in_group("4", "g4"),
        in_group("5", "g5", "indirect"),
    ]
    assert members(client, "6") == [member("1"), member("6", "g6", "Group")]
    assert paths(client, 'groups.value eq "5"') == {"1", "2"}
    assert paths(client, 'members.value eq "6"', "/Groups") == {"6"}
    rename(client, "/Groups/3", "new")
    assert groups(client, "2")[0] == in_group("3", "new", "indirect")
    assert client.delete("/Groups/4").status == 204
    assert groups(client, "1") == [in_group("3", "new"), in_group("6", "g6")]
    assert groups(client, "2") == []
    assert members(client, "3") == [member("1"), member("3", "new", "Group")]
    assert client.delete("/Groups/6").status == 204
    assert client.delete("/Groups/3").status == 204
    assert groups(client, "1") == []


def test_a_long_cycle(client: Client) -> None:
    """A thousand groups in a ring are read, changed and taken apart (§4.2)."""
    client.user("ann")
    for number in range(1_000):
        client.group(f"g{number}", str(number + 1))
    add(client, "2", "1001")
    shown = groups(client, "1")
    assert shown == [
        in_group(str(number), f"g{number - 2}", "indirect" if number > 2 else "direct")
        for number in range(2, 1_002)
    ]
    assert client.delete("/Groups/500").status == 204
    assert len(groups(client, "1")) == 498
    assert client.delete("/Users/1").status == 204
    # the ring is open now: 2 contains 1001, that contains 1000, down to 501
    assert members(client, "2") == [member("1001", "g999", "Group")]
    assert members(client, "501") == []


def test_deleting_a_user(client: Client) -> None:
    """It is a member of nothing any more, and all else stays (§4.2)."""
    client.user("ann")
    client.user("bea")
    client.group("one", "1", "2")
    client.group("two", "1")
    client.group("three", "2")
    before = {id: client.get(f"/Groups/{id}").json for id in ("3", "4", "5")}
    assert client.delete("/Users/1").status == 204
    assert members(client, "3") == [member("2")]
    assert "members" not in client.get("/Groups/4").json
    for id in ("3", "4"):
        now = client.get(f"/Groups/{id}")
        assert now.headers["ETag"] != before[id]["meta"]["version"]
    assert client.get("/Groups/5").json == before["5"]
    assert paths(client, 'members.value eq "1"', "/Groups") == set()
    # whoever gets the name is not the one who had it
    client.user("ann")
    assert groups(client, "6") == []


def test_deleting_a_group(client: Client) -> None:
    """It is in no group and no user's groups, and cuts what it joined (§4.1.2)."""
    client.user("ann")
    client.user("bea")
    client.group("inner", "1")
    client.group("middle", "3")
    client.group("outer", "4", "2")
    versions = {id: client.get(f"/Users/{id}").headers["ETag"] for id in "12"}
    assert client.delete("/Groups/4").status == 204
    assert groups(client, "1") == [in_group("3", "inner")]
    assert members(client, "5") == [member("2")]
    assert client.get("/Users/1").headers["ETag"] != versions["1"]
    assert client.get("/Users/2").headers["ETag"] == versions["2"]
    assert paths(client, 'groups.value eq "4"') == set()
    assert paths(client, 'groups.value eq "5"') == {"2"}
    assert paths(client, 'members.value eq "4"', "/Groups") == set()


def test_renames(client: Client) -> None:
    """Display values are those of today (§4.1.2, §4.2, §4.3)."""
    client.user("ann", displayName="Ann")
    client.user("bea", **{ENTERPRISE: {"manager": {"value": "1"}}})
    client.group("inner", "1")
    client.group("outer", "3")
    rename(client, "/Users/1", "Ann B")
    rename(client, "/Groups/3", "In")
    rename(client, "/Groups/4", "Out")
    assert groups(client, "1") == [
        in_group("3", "In"),
        in_group("4", "Out", "indirect"),
    ]
    assert members(client, "3") == [member("1", "Ann B")]
    assert members(client, "4") == [member("3", "In", "Group")]
    boss = {"value": "1", "$ref": f"{BASE}/Users/1", "displayName": "Ann B"}
    assert client.get("/Users/2")[ENTERPRISE] == {"manager": boss}
    assert paths(client, 'members.display eq "Ann"', "/Groups") == set()
    assert paths(client, 'groups.display eq "outer"') == set()
    assert paths(client, f'{MANAGER}.displayName eq "ann b"') == {"2"}
    rename(client, "/Users/1", None)
    assert members(client, "3") == [member("1")]
    del boss["displayName"]
    assert client.get("/Users/2")[ENTERPRISE] == {"manager": boss}


def test_no_display_name(client: Client) -> None:
    """It is absent, and no other name stands in for it (§4.2, §4.3)."""
    names = {"nickName": "A", "name": {"formatted": "Ann"}, "title": "Dr"}
    client.user("ann", **names)
    client.user("bea", **{ENTERPRISE: {"manager": {"value": "1"}}})
    client.group("g", "1")
    assert members(client, "3") == [member("1")]
    boss = {"value": "1", "$ref": f"{BASE}/Users/1"}
    assert client.get("/Users/2")[ENTERPRISE] == {"manager": boss}
    assert paths(client, "members.display pr", "/Groups") == set()
    assert paths(client, f"{MANAGER}.displayName pr") == set()


SENT: list[dict[str, Any]] = [
    {"value": "1"},
    {"value": "1", "type": "User"},
    {"value": "1", "type": "Group"},
    {"value": "1", "type": "Robot"},
    {"value": "1", "display": "sent"},
    {"value": "1", "$ref": f"{BASE}/Groups/1"},
    {"value": "1", "$ref": "https://x.example/9", "display": "sent", "type": "Group"},
    {"VALUE": "1", "Type": "user"},
]


@pytest.mark.parametrize("sent", SENT, ids=repr)
def test_what_is_computed_is_not_taken(client: Client, sent: dict[str, Any]) -> None:
    """Of a member that is here only ``value`` counts, however it is sent (§4.2)."""
    client.user("ann", displayName="Ann")
    client.group("old")
    body = {"schemas": [GROUP], "displayName": "g", "members": [sent]}
    add_it = {"op": "add", "path": "members", "value": [sent]}
    empty = {"schemas": [GROUP], "displayName": "g"}
    for send in (
        lambda: client.post("/Groups", body),
        lambda: client.put("/Groups/2", body),
        lambda: client.put("/Groups/2", empty) and client.patch("/Groups/2", add_it),
    ):
        reply = send()
        assert reply.status in (200, 201), reply.content
        assert reply["members"] == [member("1", "Ann")]
        assert client.get(f"/Groups/{reply['id']}").json == reply.json
    assert groups(client, "1") == [in_group("2", "g"), in_group("3", "g")]


def test_replacing_the_members(client: Client) -> None:
    """PUT makes the members those that it names, in this order (§4.2)."""
    for name in ("ann", "bea", "cis"):
        client.user(name)
    client.group("g", "1", "2")
    body = client.get("/Groups/4").json
    assert client.put("/Groups/4", body).json == body
    body["members"] = [{"value": "3"}, {"value": "2"}]
    assert client.put("/Groups/4", body)["members"] == [member("3"), member("2")]
    assert [groups(client, id) for id in "123"] == [
        [],
        [in_group("4", "g")],
        [in_group("4", "g")],
    ]
    del body["members"]
    assert "members" not in client.put("/Groups/4", body).json
    assert [groups(client, id) for id in "123"] == [[], [], []]


def test_a_refused_change_of_members(client: Client) -> None:
    """Neither the group nor any user is touched (RFC 7644 §3.5.2)."""
    for name in ("ann", "bea"):
        client.user(name)
    client.group("g", "1")
    before = client.get("").json
    operations = [
        {"op": "add", "path": "members", "value": [{"value": "2"}]},
        {"op": "remove", "path": 'members[value eq "1"]'},
        {"op": "remove", "path": "displayName"},
    ]
    assert_error(client.patch("/Groups/3", *operations), 400, "mutability")
    body = {"schemas": [GROUP], "members": [{"value": "2"}]}
    assert_error(client.put("/Groups/3", body), 400, "invalidValue")
    assert_error(client.post("/Groups", body), 400, "invalidValue")
    assert client.get("").json == before


# --- Filters --------------------------------------------------------------------------


@pytest.fixture
def nested(client: Client) -> Client:
    """Serve ann 1 and bea 2, cis 3 apart, group 4 in group 5, and their manager ann."""
    client.user("ann", displayName="Ann A")
    below = {ENTERPRISE: {"manager": {"value": "1"}}}
    client.user("bea", displayName="Bea", **below)
    client.user("cis", **below)
    client.group("Tour Guides", "1")
    client.group("Employees", "4", "2")
    client.group("Nobody")
    return client


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ('groups.value eq "4"', "1"),
        ('groups.value eq "5"', "1 2"),
        ('groups.value eq "6"', ""),
        ('groups.value eq "x"', ""),
        ('groups eq "5"', "1 2"),
        ('groups.value eq "4" and groups.value eq "5"', "1"),
        ('groups.value eq "4" or groups.display eq "employees"', "1 2"),
        ('groups.display eq "Tour Guides"', "1"),
        ('groups.display sw "emp"', "1 2"),
        ('groups.type eq "indirect"', "1"),
        ('groups.type eq "direct"', "1 2"),
        ('groups[value eq "5" and type eq "direct"]', "2"),
        ('groups[value eq "5" and type eq "indirect"]', "1"),
        ('groups[value eq "4" and type eq "indirect"]', ""),
        ('groups[display co "guides" or type eq "indirect"]', "1"),
        (f'groups.$ref eq "{BASE}/Groups/4"', "1"),
        ("groups pr", "1 2"),
        ("not (groups pr)", "3"),
        ('not (groups.value eq "4")', "2 3"),
        ('userName eq "bea" and groups.value eq "5"', "2"),
        ('userName eq "cis" and groups.value eq "5"', ""),
        (f'{MANAGER}.value eq "1"', "2 3"),
        (f'{MANAGER} eq "1"', "2 3"),
        (f'{MANAGER}.displayName eq "ann a"', "2 3"),
        (f'{MANAGER}.$ref eq "{BASE}/Users/1"', "2 3"),
        (f'{MANAGER}.value eq "2"', ""),
        (f"not ({MANAGER} pr)", "1"),
    ],
)
def test_filters_of_users(nested: Client, filter: str, found: str) -> None:
    """What is derived can be asked for like anything else (RFC 7644 §3.4.2.2)."""
    assert paths(nested, filter) == set(found.split())


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ('members.value eq "1"', "4"),
        ('members.value eq "2"', "5"),
        ('members.value eq "4"', "5"),
        ('members.value eq "3"', ""),
        ('members eq "1"', "4"),
        ('id eq "5" and members eq "2"', "5"),
        ('id eq "5" and members eq "1"', ""),
        ('members.value eq "2" and members.value eq "4"', "5"),
        ('members.display eq "ann a"', "4"),
        ('members.display co "e"', "5"),
        ('members.display pr and not (members.display sw "Bea")', "4"),
        ('members.type eq "Group"', "5"),
        ('members.type eq "User"', "4 5"),
        ('members[type eq "Group" and display eq "Tour Guides"]', "5"),
        ('members[type eq "User" and display eq "Tour Guides"]', ""),
        ('members[value eq "2" and type eq "User"]', "5"),
        (f'members.$ref eq "{BASE}/Users/2"', "5"),
        ("members pr", "4 5"),
        ("not (members pr)", "6"),
    ],
)
def test_filters_of_groups(nested: Client, filter: str, found: str) -> None:
    """So can members, by each of their sub-attributes (RFC 7644 §3.4.2.2)."""
    assert paths(nested, filter, "/Groups") == set(found.split())


def test_filters_follow_changes(nested: Client) -> None:
    """What is found is what is shown, after every kind of change (§4.1.2, §4.2)."""

    def agrees() -> None:
        users = nested.get("/Users")["Resources"]
        for group in nested.get("/Groups")["Resources"]:
            id = group["id"]
            inside = {
                user["id"]
                for user in users
                if id in [each["value"] for each in user.get("groups", [])]
            }
            assert paths(nested, f'groups.value eq "{id}"') == inside
            for each in group.get("members", []):
                query = f'members.value eq "{each["value"]}"'
                assert id in paths(nested, query, "/Groups")

    agrees()
    add(nested, "6", "5", "3")
    agrees()
    assert paths(nested, 'groups.value eq "6"') == {"1", "2", "3"}
    remove(nested, "5", "4")
    agrees()
    assert paths(nested, 'groups.value eq "6"') == {"2", "3"}
    nested.put("/Groups/6", {"schemas": [GROUP], "displayName": "Some"})
    agrees()
    assert paths(nested, 'groups.value eq "6"') == set()
    nested.delete("/Groups/5")
    agrees()
    assert paths(nested, "groups pr") == {"1"}
    nested.delete("/Users/1")
    agrees()
    assert paths(nested, "groups pr") == set()


# --- Versions (RFC 7644 §3.14) --------------------------------------------------------


def test_versions_of_those_who_are_touched(nested: Client) -> None:
    """A user's version changes with its groups, and only then (RFC 7644 §3.14)."""

    def step(change: Callable[[], Any], touched: str) -> None:
        before = {id: nested.get(f"/Users/{id}") for id in "123"}
        change()
        for id, old in before.items():
            new = nested.get(f"/Users/{id}")
            assert (new.headers["ETag"] != old.headers["ETag"]) == (id in touched)
            assert new["meta"]["lastModified"] == old["meta"]["lastModified"]
            if id not in touched:
                assert new.json == old.json

    step(lambda: add(nested, "6", "5"), "12")
    step(lambda: add(nested, "6", "5", "4"), "")
    step(lambda: add(nested, "4", "3"), "3")
    step(lambda: add(nested, "6", "3"), "3")  # it was so indirectly
    step(lambda: rename(nested, "/Groups/6", "All"), "123")
    step(lambda: rename(nested, "/Groups/6", "All"), "")
    step(lambda: remove(nested, "6", "5"), "2")
    step(lambda: remove(nested, "6", "5"), "")
    step(lambda: nested.delete("/Groups/5"), "123")
    step(lambda: nested.delete("/Groups/6"), "13")
    step(lambda: nested.group("new", "2"), "2")
    # bulk is a writer like others
    data = {"schemas": [GROUP], "displayName": "b", "members": [{"value": "1"}]}
    job = [{"method": "POST", "path": "/Groups", "bulkId": "b", "data": data}]
    body = {"schemas": [BULK], "Operations": job}
    step(lambda: nested.post("/Bulk", body), "1")


def test_preconditions_of_those_who_are_touched(nested: Client) -> None:
    """Who read a user before its groups changed is told so (RFC 7644 §3.14)."""
    stale = nested.get("/Users/1").headers["ETag"]
    add(nested, "6", "4")
    title = {"op": "add", "path": "title", "value": "Dr"}
    assert_error(nested.patch("/Users/1", title, headers={"If-Match": stale}), 412)
    headers = {"If-None-Match": stale}
    reply = nested.request("GET", "/Users/1", headers=headers)
    assert (reply.status, len(reply["groups"])) == (200, 3)


# --- Managers (§4.3) ------------------------------------------------------------------


def test_managers(client: Client) -> None:
    """Of a manager that is here only ``value`` counts (§4.3)."""
    client.user("ann", displayName="Ann")
    client.user("bea")
    sent = {"value": "1", "$ref": "https://x.example/9", "displayName": "sent"}
    body: dict[str, Any] = {"schemas": [USER, ENTERPRISE], "userName": "cis"}
    body |= {ENTERPRISE: {"manager": sent}}
    created = client.post("/Users", body)
    ann = {"value": "1", "$ref": f"{BASE}/Users/1", "displayName": "Ann"}
    assert created[ENTERPRISE] == {"manager": ann}
    assert "Scim-Deviation" not in created.headers
    change = {"op": "replace", "path": MANAGER, "value": {"value": "2"}}
    bea = {"value": "2", "$ref": f"{BASE}/Users/2"}
    assert client.patch("/Users/3", change)[ENTERPRISE] == {"manager": bea}
    body[ENTERPRISE] = {"manager": {"value": "3"}}
    own = {"value": "3", "$ref": f"{BASE}/Users/3"}
    assert client.put("/Users/3", body)[ENTERPRISE] == {"manager": own}
    assert paths(client, f'{MANAGER}.value eq "3"') == {"3"}
    assert client.delete("/Users/3").status == 204


def test_deleting_a_manager(nested: Client) -> None:
    """Nothing is shown of whom does not exist but the value, if that (§4.3)."""
    assert nested.delete("/Users/1").status == 204
    shown = nested.get("/Users/2").json.get(ENTERPRISE, {}).get("manager")
    assert shown in (None, {"value": "1"})
    assert paths(nested, f"{MANAGER}.displayName pr") == set()
    # and what is shown may be sent back
    body = nested.get("/Users/2").json
    assert nested.put("/Users/2", body).json == body


# --- References to nothing (§2.3.7) ---------------------------------------------------

DANGLING: list[dict[str, Any]] = [
    {"value": "nobody"},
    {"value": "nobody", "$ref": f"{BASE}/Users/nobody"},
    {"value": "nobody", "$ref": "../Users/nobody", "type": "User", "display": "N"},
]


def writes(sent: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Spell every way to write a member or a manager."""
    users: dict[str, Any] = {"schemas": [USER, ENTERPRISE], "userName": "new"}
    users |= {ENTERPRISE: {"manager": {k: sent[k] for k in sent if k == "value"}}}
    body = {"schemas": [GROUP], "displayName": "g", "members": [{"value": "1"}, sent]}
    patch_op = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

    def patch(path: str | None, value: Any) -> dict[str, Any]:
        operation = {"op": "add", "value": value} | ({"path": path} if path else {})
        return {"schemas": [patch_op], "Operations": [operation]}

    return [
        ("POST", "/Groups", body),
        ("PUT", "/Groups/2", body),
        ("PATCH", "/Groups/2", patch("members", [sent])),
        ("PATCH", "/Groups/2", patch(None, {"members": [sent]})),
        ("POST", "/Users", users),
        ("PUT", "/Users/1", users | {"userName": "ann"}),
        ("PATCH", "/Users/1", patch(MANAGER, {"value": sent.get("value")})),
        ("PATCH", "/Users/1", patch(f"{MANAGER}.value", sent.get("value"))),
    ]


@pytest.mark.parametrize("way", range(8))
@pytest.mark.parametrize("sent", DANGLING, ids=len)
def test_dangling_references(
    make_client: MakeClient, sent: dict[str, Any], way: int
) -> None:
    """Kept as the value alone, and said so; refused in strict (§2.3.7)."""
    verb, path, body = writes(sent)[way]
    for tolerance in ("standard", "lenient", "strict"):
        ids = map(str, count(1))
        client = make_client(new_id=ids.__next__, tolerance=tolerance)
        client.user("ann")
        client.group("old", "1")
        before = client.get("").json
        reply = client.request(verb, path, body)
        if tolerance == "strict":
            assert_error(reply, 400, "invalidValue")
            assert client.get("").json == before
            continue
        assert reply.status in (200, 201), reply.content
        assert "dangling-reference" in reply.headers["Scim-Deviation"]
        if "/Groups" in path:
            assert reply["members"] == [member("1"), {"value": "nobody"}]
            found = paths(client, 'members.value eq "nobody"', "/Groups")
        else:
            assert reply[ENTERPRISE] == {"manager": {"value": "nobody"}}
            found = paths(client, f'{MANAGER}.value eq "nobody"')
        assert found == {reply["id"]}
        assert client.get(reply["meta"]["location"].removeprefix(BASE)).json == (
            reply.json
        )


def test_removing_a_dangling_member(client: Client) -> None:
    """It can be removed like others (RFC 7644 §3.5.2.2)."""
    client.user("ann")
    client.group("g", "1", "nobody")
    assert members(client, "2") == [member("1"), {"value": "nobody"}]
    assert remove(client, "2", "nobody")["members"] == [member("1")]


# --- Many members ---------------------------------------------------------------------


def test_a_group_of_two_thousand(make_client: MakeClient) -> None:
    """It is made and read whole; one comes and one goes, the others stay (§4.2)."""
    users = [
        {
            "schemas": [USER],
            "id": str(number),
            "userName": f"u{number}",
            "displayName": f"U {number}",
            "meta": {"resourceType": "User"},
        }
        for number in range(2_001)
    ]
    client = make_client(resources=users, new_id=iter(["g", "h"]).__next__)
    ids = [str(number) for number in range(2_000)]
    created = client.group("g", *ids)
    whole = [member(id, f"U {id}") for id in ids]
    assert created["members"] == whole
    assert client.get("/Groups/g").json == created
    client.group("outer", "g")
    added = add(client, "g", "2000")
    assert added["members"] == [*whole, member("2000", "U 2000")]
    removed = remove(client, "g", "1000")
    kept = [each for each in added["members"] if each["value"] != "1000"]
    assert removed["members"] == kept
    now = client.get("/Groups/g")
    assert now.json == removed.json
    versions = {created["meta"]["version"], added.headers["ETag"], now.headers["ETag"]}
    assert len(versions) == 3
    for id, inside in (("0", True), ("1000", False), ("2000", True)):
        user = client.get(f"/Users/{id}").json
        assert ("groups" in user) == inside
        if inside:
            found = {each["value"]: each["type"] for each in user["groups"]}
            assert found == {"g": "direct", "h": "indirect"}
        assert paths(client, f'members.value eq "{id}"', "/Groups") == (
            {"g"} if inside else set()
        )
    reply = client.get("/Users", filter='groups.value eq "g"', count=5)
    assert (reply["totalResults"], reply["itemsPerPage"]) == (2_000, 5)
    bare = client.get("/Groups/g", excludedAttributes="members").json
    assert bare == {key: now[key] for key in now.json if key != "members"}
    assert client.delete("/Users/0").status == 204
    assert client.get("/Groups/g")["members"] == kept[1:]
    assert client.delete("/Groups/g").status == 204
    assert paths(client, "groups pr") == set()


# --- `$ref` (RFC 7643 §2.3.7, §2.4; RFC 3986 §5) ---

OURS = (
    *("Users/1", "/v2/Users/1", "../Users/1", "/Users/1", "../v3/Users/1"),
    *("./Users/1", "Users/../Users/%31", "//localhost/v2/Users/1"),
    *(f"{BASE}/Users/1", "http://localhost/Users/1", "http://localhost/v1/Users/1"),
    *("HTTP://LOCALHOST/v2/Users/1", "http://localhost:80/v2/Users/1"),
)
OTHERS = (
    *("//evil.example/v2/Users/1", "mailto:Users/1", "http:/v2/Users/1"),
    *("http:Users/1", "http:///v2/Users/1", "///v2/Users/1", "urn:x:Users/1"),
    *("https://localhost/v2/Users/1", "http://localhost:81/v2/Users/1"),
    *("http://bob@localhost/v2/Users/1", "http://localhost/b/v2/Users/1"),
    *("Users/1?x=1", "Users/1#x", "Users/1/name", "Users", "1", "http://[/Users/1"),
    *(
        "users/x/1",
        "v2/Users/1",
        "\tUsers/1",
        "https://evil.example/Users/1",
    ),
)


def of_members(op: str, value: Any) -> dict[str, Any]:
    """Spell a change of members."""
    return {"op": op, "path": "members", "value": value}


@pytest.mark.parametrize("ref", OURS)
def test_a_reference_by_any_uri_of_ours(client: Client, ref: str) -> None:
    """A member is created, added and removed by it, and found by it."""
    client.user("ann")
    group = {"schemas": [GROUP], "displayName": "g"}
    made = client.post("/Groups", group | {"members": [{"$ref": ref}]})
    assert [each["value"] for each in made["members"]] == ["1"]
    assert paths(client, f'members.$ref eq "{ref}"', "/Groups") == {made["id"]}
    path = f"/Groups/{made['id']}"
    again = client.patch(path, of_members("add", [{"$ref": ref}]))
    assert again.json == made.json
    gone = client.patch(path, of_members("remove", [{"$ref": ref}]))
    assert "members" not in gone.json


@pytest.mark.parametrize("ref", OTHERS)
def test_a_reference_by_the_uri_of_another(client: Client, ref: str) -> None:
    """It names no resource here: it finds and removes nothing, and is not kept."""
    client.user("ann")
    sent = {"schemas": [GROUP], "displayName": "g", "members": [{"value": "1"}]}
    made = client.post("/Groups", sent)
    path, value = f"/Groups/{made['id']}", [{"$ref": ref}]
    assert paths(client, f"members.$ref eq {json.dumps(ref)}", "/Groups") == set()
    kept = client.patch(path, of_members("remove", value))
    assert kept.json == made.json
    added = client.patch(path, of_members("add", value))
    assert added["members"] == made["members"]


NAMELESS = (
    *("none", "/users/1", "/Users/1/x", "/v2/Users/1?x=1", f"{BASE}/Users/1?x=1"),
    *("/Me", "/Boxes/none", "mailto:x", "//evil.example/v2/Users/1", "/Users/none"),
    *("/Groups/none", "/Groups/1", "/Users/2"),
)


@pytest.mark.parametrize("ref", NAMELESS)
@pytest.mark.parametrize("way", range(6))
def test_a_ref_alone_that_dangles(make_client: MakeClient, ref: str, way: int) -> None:
    """It is not shown, and said so; refused in strict, at every form (§2.3.7)."""
    verb, path, body = writes({"$ref": ref})[way]
    for tolerance in ("standard", "strict"):
        ids = map(str, count(1))
        client = make_client(new_id=ids.__next__, tolerance=tolerance)
        client.user("ann")
        client.group("old", "1")
        before = client.get("").json
        if ENTERPRISE in body:
            body[ENTERPRISE] = {"manager": {"$ref": ref}}
        reply = client.request(verb, path, body)
        if tolerance == "strict":
            assert_error(reply, 400, "invalidValue")
            assert client.get("").json == before
            continue
        assert reply.status in (200, 201), reply.content
        assert "dangling-reference" in reply.headers["Scim-Deviation"]
        assert "$ref" not in str(reply.json.get("members", [])[1:])
        assert ENTERPRISE not in reply.json
        assert ENTERPRISE not in reply["schemas"]
        location = reply["meta"]["location"].removeprefix(BASE)
        assert client.get(location).json == reply.json


def test_a_ref_that_may_be_external(make_client: MakeClient) -> None:
    """It is data where referenceTypes names more than what is served (§2.3.7)."""
    ref = {"name": "$ref", "type": "reference", "referenceTypes": ["User", "external"]}
    subs = [{"name": "value", "type": "string"}, ref]
    boss = {"name": "boss", "type": "complex", "subAttributes": subs}
    default = default_documents()
    own = {"id": "urn:x:Team", "name": "Team", "attributes": [boss]}
    kind = {"name": "Team", "endpoint": "/Teams", "schema": own["id"]}
    client = make_client(
        schemas=[*default["schemas"], own],
        resource_types=[*default["resource_types"], kind],
        tolerance="strict",
    )
    body = {"schemas": [own["id"]], "boss": {"$ref": "https://other.example/a/b"}}
    assert client.post("/Teams", body)["boss"] == body["boss"]


def test_a_required_reference_that_dangles(make_client: MakeClient) -> None:
    """What is dropped does not stand for what is required (RFC 7643 §2.2)."""
    documents = default_documents()
    group = next(each for each in documents["schemas"] if each["id"] == GROUP)
    next(x for x in group["attributes"] if x["name"] == "members")["required"] = True
    client = make_client(
        schemas=documents["schemas"], resource_types=documents["resource_types"]
    )
    body = {"schemas": [GROUP], "displayName": "g", "members": [{"$ref": "x"}]}
    assert_error(client.post("/Groups", body), 400, "invalidValue")


def test_a_reference_into_another_tenant() -> None:
    """What lies below another base is not ours, though the host is (RFC 7644 §6)."""
    app = create_app(tenants=("a", "b"), new_id=map(str, count(1)).__next__)
    client = Client(app, "/a/v2")
    ann = client.user("ann")["id"]
    group = {"schemas": [GROUP], "displayName": "g"}
    for place in ("/b/v2", "../../b/v2", "http://localhost/b/v2", "/v2", ""):
        value = [{"$ref": f"{place}/Users/{ann}"}]
        assert "members" not in client.post("/Groups", group | {"members": value}).json
    for place in ("/a/v2", "..", "/a", "http://localhost/a"):
        value = [{"$ref": f"{place}/Users/{ann}"}]
        [member] = client.post("/Groups", group | {"members": value})["members"]
        assert member["value"] == ann


def test_a_url_that_gets_a_value(client: Client) -> None:
    """A `$ref` that dangles does not come with a `value` (RFC 7643 §2.4)."""
    manager = f"{ENTERPRISE}:manager"
    ann = client.user("ann", **{ENTERPRISE: {"manager": {"$ref": "urn:x:boss"}}})
    path = f"/Users/{ann['id']}"
    client.patch(path, {"op": "add", "path": f"{manager}.value", "value": "nobody"})
    shown = client.get(path).json
    assert shown[ENTERPRISE] == {"manager": {"value": "nobody"}}
    assert client.put(path, shown).json == shown


def test_what_stands_beside_a_reference_changes(client: Client) -> None:
    """The reference itself stays as it was (RFC 7644 §3.5.2)."""
    held = {"manager": {"value": "later"}, "department": "a"}
    ann = client.user("ann", **{ENTERPRISE: held})
    path = f"/Users/{ann['id']}"
    change = {"op": "remove", "path": f"{ENTERPRISE}:department"}
    reply = client.patch(path, change)
    assert reply[ENTERPRISE] == {"manager": {"value": "later"}}
    assert "Scim-Deviation" not in reply.headers
