"""Many operations in one request (RFC 7644 §3.7)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from conftest import (
    BULK,
    ENTERPRISE,
    ERROR,
    GROUP,
    PATCH_OP,
    USER,
    Client,
    assert_error,
)

from scim2_server import default_documents

MakeClient = Callable[..., Client]
Operation = dict[str, Any]
BASE = "http://localhost/v2"
BULK_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
METHODS = ("POST", "PUT", "PATCH", "DELETE")
MANAGER = f"{ENTERPRISE}:manager"
UNRESOLVED = ("400", "409")  # invalidValue, or the conflict of §3.7.1


def post(path: str, bulk_id: Any, data: Any) -> Operation:
    """Spell the creation of a resource."""
    return {"method": "POST", "path": path, "bulkId": bulk_id, "data": data}


def user(bulk_id: str, name: str, **attributes: Any) -> Operation:
    """Spell the creation of a user."""
    schemas = [USER, *(key for key in attributes if key.startswith("urn:"))]
    data = {"schemas": schemas, "userName": name, **attributes}
    return post("/Users", bulk_id, data)


def group(bulk_id: str, name: str | None, *members: str) -> Operation:
    """Spell the creation of a group, an invalid one if it has no name."""
    data: dict[str, Any] = {"schemas": [GROUP]}
    data |= {"displayName": name} if name else {}
    data |= {"members": [{"value": each} for each in members]} if members else {}
    return post("/Groups", bulk_id, data)


def managed(bulk_id: str, name: str, boss: str) -> Operation:
    """Spell the creation of a user with a manager."""
    return user(bulk_id, name, **{ENTERPRISE: {"manager": {"value": boss}}})


def patch(path: str, *operations: Operation) -> Operation:
    """Spell a modification."""
    data = {"schemas": [PATCH_OP], "Operations": list(operations)}
    return {"method": "PATCH", "path": path, "data": data}


def put(path: str, **data: Any) -> Operation:
    """Spell a replacement."""
    return {"method": "PUT", "path": path, "data": data}


def change(value: Any, path: str | None = None, op: str = "add") -> Operation:
    """Spell one operation of a modification."""
    return {"op": op, "value": value} | ({"path": path} if path else {})


def check(operation: Operation, result: Operation) -> None:
    """Check what holds for the result of any operation (§3.7, §3.7.3)."""
    known = {"method", "bulkId", "version", "location", "status", "response"}
    assert set(result) <= known
    assert isinstance(result["status"], str)
    assert re.fullmatch(r"20[014]|4\d\d|501", result["status"]), result
    if operation.get("method") in METHODS:
        assert result["method"] == operation["method"]
    if isinstance(operation.get("bulkId"), str) and operation["bulkId"]:
        assert result["bulkId"] == operation["bulkId"]
    if result["status"] < "400":
        assert result["location"].startswith(f"{BASE}/")
        result.pop("response", None)  # which is there at the server's will
        return
    assert result["response"]["schemas"] == [ERROR]
    assert result["response"]["status"] == result["status"]
    assert result["response"]["detail"]
    if operation.get("method") == "POST" and operation["path"] != "/Users/1":
        assert "location" not in result


def bulk(client: Client, *operations: Operation, **message: Any) -> list[Operation]:
    """Run a job, check every result, and answer them in the order of the request."""
    body = {"schemas": [BULK], **message, "Operations": list(operations)}
    return run(client, json.dumps(body))


def run(client: Client, body: str) -> list[Operation]:
    """Run the job that is spelled so, and check every result."""
    message = json.loads(body)
    operations = message["Operations"]
    reply = client.post("/Bulk", body.encode())
    assert reply.status == 200, reply.content
    assert reply.headers["Content-Type"].startswith("application/scim+json")
    assert set(reply.json) == {"schemas", "Operations"}
    assert reply["schemas"] == [BULK_RESPONSE]
    results: list[Operation] = reply["Operations"]
    if "failOnErrors" not in message:
        assert len(results) == len(operations)
    for operation, result in zip(operations, results, strict=False):
        check(operation, result)
    return results


def statuses(results: list[Operation]) -> list[str]:
    """Answer the statuses of these results."""
    return [result["status"] for result in results]


def path_of(result: Operation) -> str:
    """Answer the path of the resource that an operation was about."""
    path: str = result["location"].removeprefix(BASE)
    return path


def id_of(result: Operation) -> str:
    """Answer the id of the resource that an operation was about."""
    return path_of(result).rpartition("/")[2]


def shown(
    client: Client, result: Operation, kind: str, name: str = ""
) -> dict[str, Any]:
    """Spell the member that this resource is, and check that it exists."""
    path = path_of(result)
    assert path == f"/{kind}s/{id_of(result)}"
    assert client.get(path).status == 200
    named = {"display": name} if name else {}
    return {
        "value": id_of(result),
        "$ref": result["location"],
        "type": kind,
        **named,
    }


def everything(client: Client) -> Any:
    """Answer all resources, users and groups."""
    replies = [client.get(path) for path in ("/Users", "/Groups")]
    lists = [reply.json.get("Resources", []) for reply in replies]
    return [sorted(each, key=lambda resource: resource["id"]) for each in lists]


@pytest.fixture(params=["strict", "standard"])
def server(make_client: MakeClient, request: pytest.FixtureRequest) -> Client:
    """Serve user 1, who is called ann, and group 2, which is empty."""
    ids = map(str, count(1))
    client = make_client(new_id=ids.__next__, tolerance=request.param)
    client.user("ann")
    client.group("old")
    return client


# --- The RFC's examples ---------------------------------------------------------------

# The requests, character by character as §3.7.1 to §3.7.3 print them, less the margin.

CIRCLE = """\
{
  "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
  "Operations": [
    {
      "method": "POST",
      "path": "/Groups",
      "bulkId": "qwerty",
      "data": {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Group A",
        "members": [
          {
            "type": "Group",
            "value": "bulkId:ytrewq"
          }
        ]
      }
    },
    {
      "method": "POST",
      "path": "/Groups",
      "bulkId": "ytrewq",
      "data": {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Group B",
        "members": [
          {
            "type": "Group",
            "value": "bulkId:qwerty"
          }
        ]
      }
    }
  ]
}
"""
GUIDES = """\
{
  "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
  "Operations": [
    {
      "method": "POST",
      "path": "/Users",
      "bulkId": "qwerty",
      "data": {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "Alice"
      }
    },
    {
      "method": "POST",
      "path": "/Groups",
      "bulkId": "ytrewq",
      "data": {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Tour Guides",
        "members": [
          {
            "type": "User",
            "value": "bulkId:qwerty"
          }
        ]
      }
    }
  ]
}
"""
MANAGED = """\
{
  "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
  "Operations": [
    {
      "method": "POST",
      "path": "/Users",
      "bulkId": "qwerty",
      "data": {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "Alice"
      }
    },
    {
      "method": "POST",
      "path": "/Users",
      "bulkId": "ytrewq",
      "data": {
        "schemas": [
          "urn:ietf:params:scim:schemas:core:2.0:User",
          "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
        ],
        "userName": "Bob",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
          "employeeNumber": "11250",
          "manager": {
            "value": "bulkId:qwerty"
          }
        }
      }
    }
  ]
}
"""
PRINTED_FOUR = r"""
{
  "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
  "failOnErrors":1,
  "Operations":[
    {
      "method":"POST",
      "path":"/Users",
      "bulkId":"qwerty",
      "data":{
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:User"],
        "userName":"Alice"
      }
    },
    {
      "method":"PUT",
      "path":"/Users/b7c14771-226c-4d05-8860-134711653041",
      "version":"W\/\"3694e05e9dff591\"",
      "data":{
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id":"b7c14771-226c-4d05-8860-134711653041",
        "userName":"Bob"
      }
    },
    {
      "method": "PATCH",
      "path": "/Users/5d8d29d3-342c-4b5f-8683-a3cb6763ffcc",
      "version": "W/\"edac3253e2c0ef2\"",
      "data": {[
        {
            "op": "remove",
            "path": "nickName"
        },
        {
            "op": "add",
            "path": "userName",
            "value": "Dave"
        }
      ]}
    },
    {
      "method":"DELETE",
      "path":"/Users/e9025315-6bea-44e1-899c-1e07454e468b",
      "version":"W\/\"0ee8add0a938e1a\""
    }
  ]
}
"""
# What is printed is not JSON: the body of the PATCH lacks "Operations" (§3.5.2).
FOUR = PRINTED_FOUR.replace("{[", '{"Operations": [')
JOB: list[Operation] = json.loads(FOUR)["Operations"]
ALICE = "92b725cd-9465-4e7d-8c16-01f8e146b87a"
BOB, DAVE, EVE = (operation["path"].removeprefix("/Users/") for operation in JOB[1:])


def stored(id: str, name: str, **attributes: Any) -> dict[str, Any]:
    """Spell a user to be loaded."""
    return {
        "schemas": [USER],
        "id": id,
        "userName": name,
        **attributes,
        "meta": {"resourceType": "User"},
    }


@pytest.fixture
def example(make_client: MakeClient) -> Client:
    """Serve the three users that the RFC's example knows."""
    ids = iter([ALICE, *map(str, range(100))])
    three = [stored(BOB, "b"), stored(DAVE, "d", nickName="D"), stored(EVE, "e")]
    return make_client(new_id=ids.__next__, resources=three)


def test_four_operations_as_printed(example: Client) -> None:
    """The printed text is not JSON, and the answer says where (§3.12)."""
    before = everything(example)
    reply = example.post("/Bulk", PRINTED_FOUR.encode())
    line = PRINTED_FOUR[: PRINTED_FOUR.index("{[")].count("\n") + 1
    assert f"line {line}," in assert_error(reply, 400, "invalidSyntax")
    assert everything(example) == before


def test_four_operations(example: Client) -> None:
    """Every method, with versions as preconditions (§3.7.3)."""
    body = FOUR
    for operation in JOB[1:]:
        version = example.get(operation["path"])["meta"]["version"]
        printed = operation["version"][3:-1]  # W/"..."
        assert body.count(printed) == 1
        body = body.replace(printed, version[3:-1])
    results = run(example, body)
    now = {id: example.get(f"/Users/{id}") for id in (ALICE, BOB, DAVE, EVE)}
    expected: list[Operation] = [
        {
            "method": method,
            "location": f"{BASE}/Users/{id}",
            "version": now[id]["meta"]["version"],
            "status": status,
        }
        for method, id, status in (
            ("POST", ALICE, "201"),
            ("PUT", BOB, "200"),
            ("PATCH", DAVE, "200"),
        )
    ]
    expected[0]["bulkId"] = "qwerty"
    gone = f"{BASE}/Users/{EVE}"
    expected.append({"method": "DELETE", "location": gone, "status": "204"})
    assert results == expected
    for id, name in ((ALICE, "Alice"), (BOB, "Bob"), (DAVE, "Dave")):
        shown = {key: value for key, value in now[id].json.items() if key != "meta"}
        assert shown == {"schemas": [USER], "id": id, "userName": name}
    assert_error(now[EVE], 404)


@pytest.mark.parametrize("limit", [1, None])
def test_four_failures(example: Client, limit: int | None) -> None:
    """One error ends the job, if that is the limit; else all are tried (§3.7.3)."""
    example.user("alice")
    example.delete(f"/Users/{EVE}")
    before = everything(example)
    line = '  "failOnErrors":1,\n'
    assert line in FOUR
    results = run(example, FOUR if limit else FOUR.replace(line, ""))
    for result in results:
        result["response"].pop("detail")
    conflict = {"schemas": [ERROR], "scimType": "uniqueness", "status": "409"}
    expected: list[Operation] = [
        {"method": "POST", "bulkId": "qwerty", "status": "409", "response": conflict}
    ]
    expected += [
        {
            "location": f"{BASE}/Users/{id}",
            "method": method,
            "status": status,
            "response": {"schemas": [ERROR], "status": status},
        }
        for method, id, status in (
            ("PUT", BOB, "412"),
            ("PATCH", DAVE, "412"),
            ("DELETE", EVE, "404"),
        )
    ]
    assert results == expected[:limit]
    assert everything(example) == before


@pytest.mark.parametrize("turned", [False, True])
def test_a_user_and_its_group(server: Client, turned: bool) -> None:
    """The id replaces the bulkId, before or after it is known (§3.7.2)."""
    job = json.loads(GUIDES)["Operations"]
    results = bulk(server, *job[::-1]) if turned else run(server, GUIDES)
    assert statuses(results) == ["201", "201"]
    alice, guides = results[::-1] if turned else results
    assert (alice["bulkId"], guides["bulkId"]) == ("qwerty", "ytrewq")
    created = server.get(path_of(guides))
    assert created.json == {
        "schemas": [GROUP],
        "id": id_of(guides),
        "displayName": "Tour Guides",
        "members": [shown(server, alice, "User")],
        "meta": created["meta"],
    }
    assert created["meta"]["location"] == guides["location"]
    assert created["meta"]["version"] == guides["version"]
    assert server.get(path_of(alice))["groups"] == [
        {
            "value": id_of(guides),
            "$ref": guides["location"],
            "display": "Tour Guides",
            "type": "direct",
        }
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_a_user_and_its_manager(server: Client, turned: bool) -> None:
    """References in extensions are handled in the same way (§3.7.2)."""
    job = json.loads(MANAGED)["Operations"]
    results = bulk(server, *job[::-1]) if turned else run(server, MANAGED)
    assert statuses(results) == ["201", "201"]
    alice, bob = results[::-1] if turned else results
    created = server.get(path_of(bob))
    assert created[ENTERPRISE] == {
        "employeeNumber": "11250",
        "manager": {"value": id_of(alice), "$ref": alice["location"]},
    }
    assert created["userName"] == "Bob"
    assert created["meta"]["version"] == bob["version"]


def test_two_groups_that_contain_each_other(server: Client) -> None:
    """A circle is created first and linked then (§3.7.1)."""
    results = run(server, CIRCLE)
    for result in results:
        now = server.get(path_of(result))
        assert result == {
            "method": "POST",
            "bulkId": result["bulkId"],
            "location": now["meta"]["location"],
            "version": now["meta"]["version"],
            "status": "201",
        }
    first, second = results
    for outer, inner, names in ((first, second, "AB"), (second, first, "BA")):
        now = server.get(path_of(outer))
        assert now.json == {
            "schemas": [GROUP],
            "id": id_of(outer),
            "displayName": f"Group {names[0]}",
            "members": [shown(server, inner, "Group", f"Group {names[1]}")],
            "meta": now["meta"],
        }
    found = server.get("/Groups", filter='displayName sw "Group"', sortBy="displayName")
    assert found["totalResults"] == 2
    assert found["Resources"] == [server.get(path_of(each)).json for each in results]


# --- References (§3.7.1, §3.7.2) ------------------------------------------------------

X = {"value": "bulkId:x"}
BOSS = {ENTERPRISE: {"manager": X}}
BOTH = [USER, ENTERPRISE]
OLD = {"schemas": [GROUP], "displayName": "old"}
REFERRERS: list[Operation] = [
    group("g", "new", "bulkId:x"),
    post("/Groups", "g", OLD | {"members": [X | {"$ref": "bulkId:x"}]}),
    post("/Groups", "g", OLD | {"members": [X | {"type": "User", "display": "?"}]}),
    put("/Groups/2", **OLD, members=[X]),
    patch("/Groups/2", change([X], "members")),
    patch("/Groups/2", change(X, "members")),
    patch("/Groups/2", change({"members": [X]})),
    patch("/Groups/2", change([X], "members", "replace")),
    patch("/Groups/2", change("new", "displayName"), change([X], "members")),
    managed("u", "bea", "bulkId:x"),
    user("u", "bea", **{ENTERPRISE: {"manager": X | {"$ref": "bulkId:x"}}}),
    put("/Users/1", schemas=BOTH, userName="ann", **BOSS),
    patch("/Users/1", change(X, MANAGER)),
    patch("/Users/1", change("bulkId:x", f"{MANAGER}.value")),
    patch("/Users/1", change({"manager": X}, ENTERPRISE)),
    patch("/Users/1", change(BOSS, op="replace")),
]
referrers = pytest.mark.parametrize(
    "referrer", [pytest.param(each, id=json.dumps(each)[10:90]) for each in REFERRERS]
)
turns = pytest.mark.parametrize("turned", [False, True])


@referrers
@turns
def test_references_in_data(server: Client, referrer: Operation, turned: bool) -> None:
    """At any depth, of every method, forwards and backwards (§3.7.2)."""
    job = [user("x", "xena", displayName="Xena"), referrer]
    results = bulk(server, *(job[::-1] if turned else job))
    created, referring = results[::-1] if turned else results
    assert created["status"] == "201"
    new = referrer["method"] == "POST"
    assert referring["status"] == ("201" if new else "200"), referring
    if not new:
        assert path_of(referring) == referrer["path"]
    now = server.get(path_of(referring))
    assert b"bulkId" not in now.content
    assert now["meta"]["version"] == referring["version"]
    found = shown(server, created, "User", "Xena")
    if "/Groups" in referrer["path"]:
        assert now["members"] == [found]
        return
    found["displayName"] = found.pop("display")
    found.pop("type")
    assert now[ENTERPRISE] == {"manager": found}


@referrers
@turns
@pytest.mark.parametrize("bad", [user("x", "ANN"), post("/Users", "x", {})])
def test_a_referenced_operation_fails(
    server: Client, bad: Operation, referrer: Operation, turned: bool
) -> None:
    """Then the referrer is an error too, and leaves nothing behind (§3.7)."""
    before = everything(server)
    job = [bad, referrer]
    results = bulk(server, *(job[::-1] if turned else job))
    failed, referring = results[::-1] if turned else results
    assert failed["status"] == ("400" if bad["data"] == {} else "409")
    assert referring["status"] in UNRESOLVED
    if referrer["method"] != "POST":
        assert path_of(referring) == referrer["path"]
    assert everything(server) == before


@referrers
def test_references_to_nothing(server: Client, referrer: Operation) -> None:
    """A bulkId that no operation has is an error of the referrer alone (§3.7.2)."""
    before = everything(server)
    first, second, third = bulk(server, user("a", "a"), referrer, user("b", "b"))
    assert statuses([first, third]) == ["201", "201"]
    assert second["status"] in UNRESOLVED
    for created in (first, third):
        assert server.delete(path_of(created)).status == 204
    assert everything(server) == before


def test_only_what_is_created_can_be_referred_to(server: Client) -> None:
    """A bulkId stands for the new resource of a POST, in this job only (§3.7)."""
    assert statuses(bulk(server, user("x", "xena"))) == ["201"]
    before = everything(server)
    remove = patch("/Users/1", {"op": "remove", "path": "title"}) | {"bulkId": "y"}
    results = bulk(server, group("g", "g", "bulkId:x"), remove)
    assert results[0]["status"] in UNRESOLVED
    assert results[1]["status"] == "200"
    assert everything(server) == before


@pytest.mark.parametrize("bulk_id", ["a:b", "bulkId:", "1/2 3", "é\N{GRINNING FACE}"])
def test_any_string_is_a_bulk_id(server: Client, bulk_id: str) -> None:
    """It is an opaque string of the client (§3.7)."""
    job = [group("g", "g", f"bulkId:{bulk_id}"), user(bulk_id, "xena")]
    outer, created = bulk(server, *job)
    assert statuses([outer, created]) == ["201", "201"]
    assert server.get(path_of(outer))["members"] == [shown(server, created, "User")]


@turns
def test_a_reference_by_url_alone(server: Client, turned: bool) -> None:
    """A ``$ref`` becomes the location of what it stands for (§3.7.2)."""
    data = {"schemas": [GROUP], "displayName": "g", "members": [{"$ref": "bulkId:x"}]}
    job = [user("x", "xena"), post("/Groups", "g", data)]
    results = bulk(server, *(job[::-1] if turned else job))
    assert statuses(results) == ["201", "201"]
    created, outer = results[::-1] if turned else results
    now = server.get(path_of(outer))
    assert b"bulkId" not in now.content
    (member,) = now["members"]
    assert member.get("value", id_of(created)) == id_of(created)
    assert f"{BASE}/Groups/{member['$ref']}".endswith(path_of(created))


def test_what_is_no_reference_stays(server: Client) -> None:
    """A string that begins with ``bulkId:`` is one, outside references (§3.7.2)."""
    texts = {
        "userName": "bulkId:x",
        "displayName": "bulkId:x",
        "externalId": "bulkId:nope",
        "name": {"familyName": "bulkId:x"},
    }
    job = [
        post("/Users", "x", {"schemas": [USER], **texts}),
        group("g", "bulkId:x", "bulkId:x"),
        patch("/Users/1", change("bulkId:x", "title")),
    ]
    results = bulk(server, *job)
    assert statuses(results) == ["201", "201", "200"]
    created = server.get(path_of(results[0]))
    assert {name: created[name] for name in texts} == texts
    outer = server.get(path_of(results[1]))
    assert outer["displayName"] == "bulkId:x"
    assert outer["members"] == [shown(server, results[0], "User", "bulkId:x")]
    assert server.get("/Users/1")["title"] == "bulkId:x"


def test_references_in_paths(server: Client) -> None:
    """An operation may follow on a resource that is new in this job (§3.7.2)."""
    replaced = {"schemas": [USER], "userName": "yve"}
    job = [
        user("x", "xena"),
        patch("/Users/bulkId:x", change("Dr", "title")),
        user("y", "y", title="Ms"),
        put("/Users/bulkId:y", **replaced),
        user("z", "zed"),
        {"method": "DELETE", "path": "/Users/bulkId:z"},
        group("g", "g", "1"),
        patch("/Groups/bulkId:g", change([X], "members")),
    ]
    results = bulk(server, *job)
    assert statuses(results) == ["201", "200", "201", "200", "201", "204", "201", "200"]
    for created, followed in zip(results[::2], results[1::2], strict=True):
        assert created["location"] == followed["location"]
    x, y, z, g = (server.get(path_of(result)) for result in results[::2])
    assert (x["userName"], x["title"]) == ("xena", "Dr")
    assert y["userName"] == "yve" and "title" not in y.json
    assert_error(z, 404)
    assert [member["value"] for member in g["members"]] == ["1", x["id"]]
    assert [y["meta"]["version"], g["meta"]["version"]] == [
        results[3]["version"],
        results[7]["version"],
    ]


@pytest.mark.parametrize(
    "follower",
    [
        patch("/Users/bulkId:x", change("Dr", "title")),
        put("/Users/bulkId:x", schemas=[USER], userName="xena", title="Dr"),
    ],
    ids=["PATCH", "PUT"],
)
def test_forward_references_in_paths(server: Client, follower: Operation) -> None:
    """Neither does the order matter in a path (§3.7.1, §3.7.2)."""
    followed, created = bulk(server, follower, user("x", "xena"))
    assert statuses([followed, created]) == ["200", "201"]
    assert followed["location"] == created["location"]
    now = server.get(path_of(created))
    assert (now["userName"], now["title"]) == ("xena", "Dr")


@pytest.mark.parametrize("bulk_id", ["x", "nope"])
@pytest.mark.parametrize(
    "follower",
    [
        patch("/Users/bulkId:{}", change("Dr", "title")),
        put("/Users/bulkId:{}", schemas=[USER], userName="xena"),
        {"method": "DELETE", "path": "/Users/bulkId:{}"},
    ],
    ids=["PATCH", "PUT", "DELETE"],
)
@turns
def test_a_path_to_what_failed(
    server: Client, follower: Operation, bulk_id: str, turned: bool
) -> None:
    """It leads nowhere, and nothing is made or changed (§3.7.2)."""
    before = everything(server)
    job = [user("x", "ann"), follower | {"path": follower["path"].format(bulk_id)}]
    results = bulk(server, *(job[::-1] if turned else job))
    failed, followed = results[::-1] if turned else results
    assert failed["status"] == "409"
    assert followed["status"] in ("400", "404", "409")
    assert everything(server) == before


def member_names(client: Client, result: Operation) -> set[str]:
    """Name the members of a group, or the manager of a user, after checking them."""
    now = client.get(path_of(result)).json
    references = now.get("members") or [now[ENTERPRISE]["manager"]]
    names = set()
    for each in references:
        path = each["$ref"].removeprefix(BASE)
        target = client.get(path).json
        assert (target["id"], target["meta"]["location"]) == (
            each["value"],
            each["$ref"],
        )
        names.add(target.get("userName", target.get("displayName")))
    return names


CIRCLES: list[list[tuple[Operation, str]]] = [  # operations, and who is referred to
    [(group("a", "a", "bulkId:a"), "a")],
    [
        (group("a", "a", "bulkId:b"), "b"),
        (group("b", "b", "bulkId:c"), "c"),
        (group("c", "c", "bulkId:a"), "a"),
    ],
    [
        (group("a", "a", "bulkId:b", "bulkId:c", "bulkId:a", "1"), "a b c ann"),
        (group("b", "b", "bulkId:c", "bulkId:a", "bulkId:u"), "a c u"),
        (group("c", "c", "bulkId:b", "2"), "b old"),
        (managed("u", "u", "bulkId:v"), "v"),
        (managed("v", "v", "bulkId:u"), "u"),
    ],
    [(managed("u", "u", "bulkId:u"), "u")],
    [(managed("u", "u", "bulkId:v"), "v"), (managed("v", "v", "bulkId:u"), "u")],
]


@pytest.mark.parametrize("circle", CIRCLES, ids=len)
@turns
def test_circles(
    server: Client, circle: list[tuple[Operation, str]], turned: bool
) -> None:
    """Circular references of any length are resolved (§3.7.1)."""
    circle = circle[::-1] if turned else circle
    results = bulk(server, *(operation for operation, _ in circle))
    for result, (_, names) in zip(results, circle, strict=True):
        assert result["status"] == "201", result
        assert member_names(server, result) == set(names.split())
        if "/Groups/" in result["location"]:
            assert server.get(path_of(result)).headers["ETag"] == result["version"]


BROKEN: list[list[Operation]] = [
    [group("a", "a", "bulkId:b"), group("b", None, "bulkId:a")],
    [group("a", "a", "bulkId:b"), group("b", "b", "bulkId:a", "bulkId:nope")],
    [
        group("a", "a", "bulkId:b"),
        group("b", "b", "bulkId:c"),
        group("c", None, "bulkId:a"),
        group("d", "d", "bulkId:a"),
        patch("/Groups/2", change([{"value": "bulkId:d"}], "members")),
    ],
    [managed("u", "u", "bulkId:v"), managed("v", "ann", "bulkId:u")],
    [
        group("a", "a", "bulkId:b", "bulkId:u"),
        group("b", "b", "bulkId:a"),
        user("u", "ann"),
    ],
]


@pytest.mark.parametrize("circle", BROKEN, ids=[str(place) for place in range(5)])
@turns
def test_a_circle_with_an_invalid_member(
    server: Client, circle: list[Operation], turned: bool
) -> None:
    """All of it fails, nothing dangles, and the rest of the job goes on (§3.7.1)."""
    before = everything(server)
    circle = circle[::-1] if turned else circle
    results = bulk(server, user("p", "p"), *circle, user("q", "q"))
    first, *inner, last = results
    assert statuses([first, last]) == ["201", "201"]
    for result in inner:
        assert result["status"] in UNRESOLVED
    for created in (first, last):
        assert server.delete(path_of(created)).status == 204
    assert everything(server) == before
    assert statuses(bulk(server, group("a", "a"), user("u", "u"))) == ["201", "201"]


def test_a_long_chain(client: Client) -> None:
    """A thousand groups, each in the one before it, are no recursion (§3.7.1)."""
    job = [group(str(n), f"g{n}", f"bulkId:{n + 1}") for n in range(999)]
    results = bulk(client, *job, user("999", "ann"))
    assert statuses(results) == ["201"] * 1_000
    groups = client.get(path_of(results[-1]))["groups"]
    assert {each["value"]: each["type"] for each in groups} == {
        id_of(result): "direct" if result is results[-2] else "indirect"
        for result in results[:-1]
    }


def test_a_long_chain_that_breaks(client: Client) -> None:
    """An error at its end is an error of all, and no group is left (§3.7.1)."""
    job = [group(str(n), f"g{n}", f"bulkId:{n + 1}") for n in range(999)]
    results = bulk(client, *job, group("999", None))
    assert {*statuses(results)} <= {*UNRESOLVED}
    assert client.get("/Groups")["totalResults"] == 0


# --- One operation (§3.7, §3.7.3) -----------------------------------------------------

REAL = {"schemas": [USER], "userName": "new"}
TITLE = change("Dr", "title")
NO_ROUTE = ("400", "404", "405")
NO_METHOD = ("400", "405", "501")
WRONG: list[tuple[Operation, tuple[str, ...]]] = [
    ({"method": "POST", "path": "/Users", "data": REAL}, ("400",)),
    *((post("/Users", bulk_id, REAL), ("400",)) for bulk_id in ("", None, 5, ["x"])),
    *(
        ({"method": method, "path": "/Users/1", "data": REAL}, NO_METHOD)
        for method in ("GET", "HEAD", "OPTIONS", "FROB", "", None, 5, ["PUT"])
    ),
    ({"path": "/Users/1", "data": REAL}, ("400",)),
    ({"method": "GET", "path": "/Users/1"}, NO_METHOD),
    ({"method": "DELETE"}, ("400",)),
    *(({"method": "DELETE", "path": path}, ("400",)) for path in (None, 5, ["/"])),
    *(({"method": "DELETE", "path": path}, NO_ROUTE) for path in ("", "/", "/Users")),
    *((post(path, "x", REAL), NO_ROUTE) for path in ("/Users/1", "/", "", "/Users/x")),
    *((post(path, "x", REAL), NO_ROUTE) for path in ("/Bulk", "/.search", "/Schemas")),
    (post("/Users/.search", "x", {}), NO_ROUTE),
    (post("/Robots", "x", REAL), ("404",)),
    (put("/Users", **REAL), NO_ROUTE),
    (put("/Robots/1", **REAL), ("404",)),
    (put("/Users/unknown", **REAL), ("404",)),
    (put("/Groups/1", **OLD), ("404",)),
    (put("/Users/1/name", **REAL), NO_ROUTE),
    (patch("/Users/unknown", TITLE), ("404",)),
    (patch("/Users", TITLE), NO_ROUTE),
    ({"method": "DELETE", "path": "/Users/unknown"}, ("404",)),
    ({"method": "DELETE", "path": "/Users/../Users/1"}, NO_ROUTE),
    ({"method": "DELETE", "path": "/ServiceProviderConfig"}, NO_ROUTE),
    *(
        (operation | {"data": data}, ("400",))
        for operation in (post("/Users", "x", {}), put("/Users/1"), patch("/Users/1"))
        for data in (None, "x", 5, [], [REAL], {})
    ),
    ({"method": "POST", "path": "/Users", "bulkId": "x"}, ("400",)),
    ({"method": "PUT", "path": "/Users/1"}, ("400",)),
    ({"method": "PATCH", "path": "/Users/1"}, ("400",)),
    (user("x", ""), ("400",)),
    (user("x", "x", title=5), ("400",)),
    (user("x", "ANN"), ("409",)),
    (group("x", None), ("400",)),
    (patch("/Users/1", TITLE, change("x", "colour")), ("400",)),
    (patch("/Users/1", TITLE, change("x", "id")), ("400",)),
    (patch("/Users/1", TITLE, change("x", "active")), ("400",)),
    (patch("/Groups/2", change([{"value": "1"}], "members"), change(5)), ("400",)),
    *(
        (operation | {"version": version}, expected)
        for operation in (
            put("/Users/1", **REAL),
            patch("/Users/1", TITLE),
            {"method": "DELETE", "path": "/Users/1"},
        )
        for version, expected in (
            ('W/"other"', ("412",)),
            ('"other"', ("412",)),
            (5, ("400", "412")),
            (["x"], ("400", "412")),
        )
    ),
]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [pytest.param(*row, id=json.dumps(row[0])[:90]) for row in WRONG],
)
def test_what_is_wrong_with_one_operation(
    server: Client, operation: Operation, expected: tuple[str, ...]
) -> None:
    """It fails whole and alone; a job is no transaction (§3.7)."""
    before = everything(server)
    results = bulk(server, user("p", "p"), operation, user("q", "q"))
    first, wrong, last = results
    assert wrong["status"] in expected, wrong
    assert statuses([first, last]) == ["201", "201"]
    path = str(operation.get("path"))
    single = re.fullmatch(r"/(Users|Groups)/\w+", path)
    if single and operation.get("method") in METHODS[1:]:
        assert path_of(wrong) == path
    for created in (first, last):
        assert server.delete(path_of(created)).status == 204
    assert everything(server) == before


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        (user("x", "ANN"), "uniqueness"),
        (user("x", "x", title=5), "invalidValue"),
        (post("/Users", "x", {"schemas": [USER]}), "invalidValue"),
        (patch("/Users/1", change("x", "colour")), "invalidPath"),
        (patch("/Users/1", change("x", "id")), "mutability"),
        (patch("/Users/1", {"op": "remove"}), "noTarget"),
        (patch("/Users/1", change("x", "emails[type")), "invalidFilter"),
        (patch("/Users/1", {"op": "move", "path": "title"}), "invalidSyntax"),
        (put("/Users/unknown", **REAL), None),
    ],
)
def test_the_error_is_that_of_the_request(
    server: Client, operation: Operation, scim_type: str | None
) -> None:
    """``response`` is the body that the request alone would have got (§3.7.3)."""
    before = everything(server)
    (result,) = bulk(server, operation)
    alone = server.request(operation["method"], operation["path"], operation["data"])
    assert_error(alone, int(result["status"]), scim_type)
    assert result["response"].get("scimType") == scim_type
    assert result["response"] == alone.json
    assert everything(server) == before


def test_the_same_bulk_id_twice(server: Client) -> None:
    """It must be unique in the request: the second one is an error (§3.7)."""
    before = everything(server)
    job = [user("x", "one"), user("x", "two"), user("y", "three")]
    results = bulk(server, *job)
    assert statuses([results[0], results[2]]) == ["201", "201"]
    assert results[1]["status"] in ("400", "409")
    names = {each["userName"] for each in server.get("/Users")["Resources"]}
    assert names == {"ann", "one", "three"}
    for created in (results[0], results[2]):
        server.delete(path_of(created))
    assert everything(server) == before


LOCATED: list[tuple[Any, str | None]] = [  # an operation that fails, its location
    *(
        ({"method": method, "path": "/Users/1", "data": REAL}, "/Users/1")
        for method in ("FOO", "GET", "put", 5, None, ["PUT"])
    ),
    ({"path": "/Users/1"}, "/Users/1"),
    (post("/Users/1", "x", REAL), "/Users/1"),
    (post("/Users/1", None, REAL), "/Users/1"),
    (post("/Users/none", "x", REAL), None),
    (post("/Users", "x", {}), None),
    (put("/Users/none", **REAL), "/Users/none"),
    (patch("/Users/none", TITLE), "/Users/none"),
    ({"method": "PATCH", "path": "/Users/1", "data": 5}, "/Users/1"),
    ({"method": "PUT", "path": "/Groups/2", "version": 'W/"0"'}, "/Groups/2"),
    ({"method": "DELETE", "path": "/Users/1", "version": 'W/"0"'}, "/Users/1"),
    ({"method": "DELETE", "path": "/Users/bulkId:nope"}, "/Users/bulkId%3Anope"),
    ({"method": "DELETE", "path": "/Users/1/name"}, None),
    ({"method": "FOO", "path": "/Users"}, None),
    ({"method": "FOO", "path": "Users/1"}, None),
    ({"method": "FOO", "path": 5}, None),
    ({"method": "PUT", "path": "/Robots/1", "data": REAL}, None),
    (5, None),
]


@pytest.mark.parametrize(("operation", "path"), LOCATED)
def test_the_location_in_errors(
    server: Client, operation: Any, path: str | None
) -> None:
    """It is there whenever the resource is known (§3.7: "REQUIRED in a response")."""
    reply = server.post("/Bulk", {"schemas": [BULK], "Operations": [operation]})
    [result] = reply["Operations"]
    assert result["status"] >= "400"
    assert result.get("location") == (path and BASE + path)


def test_the_location_in_errors_by_bulk_id(server: Client) -> None:
    """What a bulkId stands for is known too, unless its operation failed."""
    path = "/Users/bulkId:x"
    wrong = ({"method": "FOO", "path": path}, put(path), patch(path))
    results = bulk(server, user("x", "xena"), *wrong)
    assert len({each["location"] for each in results}) == 1
    results = bulk(server, user("x", "ann"), *wrong)
    assert not any("location" in each for each in results)


@pytest.mark.parametrize("method", ["post", "Post"])
def test_methods_have_a_case(server: Client, method: str) -> None:
    """Of a method in lower case all is done or nothing (§3.7, RFC 9110 §9.1)."""
    results = bulk(server, user("x", "xena") | {"method": method}, user("y", "yve"))
    assert results[0]["status"] in ("201", *NO_METHOD)
    assert results[1]["status"] == "201"
    found = server.get("/Users", filter='userName eq "xena"')["totalResults"]
    assert found == (results[0]["status"] == "201")


def test_versions_are_preconditions(server: Client) -> None:
    """Each is compared when its operation comes to pass (§3.7, §3.14)."""
    version = server.get("/Users/1")["meta"]["version"]
    first = patch("/Users/1", TITLE) | {"version": version}
    second = patch("/Users/1", change("Ms", "title")) | {"version": version}
    last = {"method": "DELETE", "path": "/Groups/2"}
    last["version"] = server.get("/Groups/2")["meta"]["version"]
    results = bulk(server, first, second, last, last)
    assert statuses(results) == ["200", "412", "204", "404"]
    assert results[0]["version"] not in (version, None)
    now = server.get("/Users/1")
    assert (now["title"], now["meta"]["version"]) == ("Dr", results[0]["version"])
    assert_error(server.get("/Groups/2"), 404)


def test_later_operations_see_the_earlier_ones(server: Client) -> None:
    """What is independent comes to pass in the order of the request (§3.7)."""
    job = [
        user("x", "xena"),
        user("y", "XENA"),
        {"method": "DELETE", "path": "/Users/1"},
        user("z", "ann"),
        patch("/Groups/2", change("a", "displayName")),
        patch("/Groups/2", change("b", "displayName")),
    ]
    results = bulk(server, *job)
    assert statuses(results) == ["201", "409", "204", "201", "200", "200"]
    assert server.get("/Groups/2")["displayName"] == "b"
    names = [each["userName"] for each in server.get("/Users")["Resources"]]
    assert sorted(names) == ["ann", "xena"]


def test_the_version_of_what_did_not_change(server: Client) -> None:
    """A modification that changes nothing keeps the version (§3.5.2, §3.14)."""
    before = server.get("/Groups/2").json
    (result,) = bulk(server, patch("/Groups/2", change("old", "displayName")))
    assert result == {
        "method": "PATCH",
        "location": f"{BASE}/Groups/2",
        "version": before["meta"]["version"],
        "status": "200",
    }
    assert server.get("/Groups/2").json == before


# --- The job (§3.7.3, §3.7.4) ---------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, "409 201 409 201 409 201"),
        (0, "409 201 409 201 409 201"),
        (1, "409"),
        (2, "409 201 409"),
        (3, "409 201 409 201 409"),
        (4, "409 201 409 201 409 201"),
        (1_000_000, "409 201 409 201 409 201"),
    ],
)
def test_fail_on_errors(server: Client, limit: int | None, expected: str) -> None:
    """So many errors end the job; what was done before stays (§3.7.3)."""
    job = []
    for number in range(3):
        job += [user(f"bad{number}", "ann"), user(f"good{number}", f"new{number}")]
    message = {} if limit is None else {"failOnErrors": limit}
    assert statuses(bulk(server, *job, **message)) == expected.split()
    names = {each["userName"] for each in server.get("/Users")["Resources"]}
    assert names == {"ann", *(f"new{n}" for n in range(expected.count("201")))}


@pytest.mark.parametrize("limit", ["1", 1.5, True, [1], {}, -1, -(10**30)])
def test_limits_that_are_no_number(server: Client, limit: Any) -> None:
    """An integer from 0 is asked for, and nothing is done (§3.7)."""
    before = everything(server)
    body = {"schemas": [BULK], "failOnErrors": limit, "Operations": [user("x", "x")]}
    reply = server.post("/Bulk", body)
    detail = assert_error(reply, 400, "invalidSyntax")
    assert "failOnErrors" in detail and "0 for no limit" in detail
    assert everything(server) == before


def test_more_operations_than_allowed(make_client: MakeClient) -> None:
    """413, the limit is named, and nothing is done (§3.7.4)."""
    config = {"bulk": {"maxOperations": 2}}
    client = make_client(service_provider_config=config)
    job = [user(name, name) for name in "abc"]
    reply = client.post("/Bulk", {"schemas": [BULK], "Operations": job})
    detail = assert_error(reply, 413, reply.json.get("scimType"))
    assert "maxOperations" in detail and "2" in detail
    assert client.get("/Users")["totalResults"] == 0
    assert statuses(bulk(client, *job[:2])) == ["201", "201"]


def test_more_bytes_than_allowed(make_client: MakeClient) -> None:
    """413, the limit is named, and it holds for bulk requests only (§3.7.4)."""
    config = {"bulk": {"maxPayloadSize": 777}}
    client = make_client(service_provider_config=config)
    whole = json.dumps({"schemas": [BULK], "Operations": [user("x", "x")]}).encode()
    for size in (778, 10_000):
        reply = client.post("/Bulk", whole.ljust(size))
        detail = assert_error(reply, 413, reply.json.get("scimType"))
        assert "maxPayloadSize" in detail and "777" in detail
        assert client.get("/Users")["totalResults"] == 0
    assert client.post("/Bulk", whole.ljust(777)).status == 200
    assert client.get("/Users")["totalResults"] == 1
    client.user("y", displayName="y" * 1_000)


def test_the_default_limits(client: Client) -> None:
    """1,000 operations and 10 MiB (§3.7.4, RFC 7643 §5)."""
    job = [patch("/Users/x", TITLE)] * 1_001
    reply = client.post("/Bulk", {"schemas": [BULK], "Operations": job})
    detail = assert_error(reply, 413, reply.json.get("scimType"))
    assert "maxOperations" in detail and "1000" in detail.replace(",", "")
    assert set(statuses(bulk(client, *job[:1_000]))) == {"404"}
    body = json.dumps({"schemas": [BULK], "Operations": []}).encode()
    reply = client.post("/Bulk", body.ljust(10 * 2**20 + 1))
    detail = assert_error(reply, 413, reply.json.get("scimType"))
    assert str(10 * 2**20) in detail.replace(",", "")


def test_deviations(make_client: MakeClient) -> None:
    """They are those of the job, and in strict a failure of their operation (§3.7)."""
    job = [
        user("x", "x", active="True"),
        user("y", "y"),
        user("z", "z") | {"colour": "red"},
        patch("/Users/bulkId:y", change("Dr", "title", "Add")),
    ]
    client = make_client()
    reply = client.post("/Bulk", {"schemas": [BULK], "Operations": job})
    assert statuses(reply["Operations"]) == ["201", "201", "201", "200"]
    for code in ("boolean-as-string", "unknown-key", "op-case"):
        assert code in reply.headers["Scim-Deviation"]
    strict = make_client(tolerance="strict")
    results = bulk(strict, *job)
    assert statuses(results) == ["400", "201", "400", "400"]
    types = [result["response"]["scimType"] for result in (results[0], *results[2:])]
    assert types == ["invalidValue", "invalidSyntax", "invalidSyntax"]
    (only,) = strict.get("/Users")["Resources"]
    assert only["userName"] == "y" and "title" not in only


@pytest.mark.parametrize(
    "message", [{"schemas": [USER]}, {"schemas": []}, {"colour": "red"}], ids=repr
)
def test_deviations_of_the_message(
    make_client: MakeClient, message: dict[str, Any]
) -> None:
    """In strict the whole job is refused, in standard it is done (§3.7)."""
    body = {"schemas": [BULK], "Operations": [user("x", "x")], **message}
    client = make_client()
    assert statuses(client.post("/Bulk", body)["Operations"]) == ["201"]
    strict = make_client(tolerance="strict")
    assert_error(strict.post("/Bulk", body), 400, "invalidSyntax")
    assert strict.get("/Users")["totalResults"] == 0


def test_names_have_no_case(server: Client) -> None:
    """Neither have those of a message (RFC 7643 §2.1)."""
    operation = {
        "Method": "POST",
        "PATH": "/Users",
        "BulkID": "x",
        "Data": {"schemas": [USER], "USERNAME": "xena"},
    }
    reply = server.post("/Bulk", {"Schemas": [BULK], "operations": [operation]})
    assert reply.status == 200, reply.content
    (result,) = reply["Operations"]
    assert result["bulkId"] == "x"
    assert server.get(path_of(result))["userName"] == "xena"


@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE"])
def test_only_post(server: Client, verb: str) -> None:
    """The bulk endpoint takes nothing else (§3.2)."""
    body = {"schemas": [BULK], "Operations": [user("x", "x")]}
    with_body = verb in ("PUT", "PATCH")
    reply = server.request(verb, "/Bulk", body if with_body else None)
    assert_error(reply, 405)
    assert "POST" in reply.headers["Allow"]
    assert server.get("/Users")["totalResults"] == 1


# --- The order of what refers to what comes later (§3.7) ------------------------------


def test_what_waits_comes_after_what_lies_between(server: Client) -> None:
    """The name that the DELETE frees is free for the POST that the PATCH waits for."""
    results = bulk(
        server,
        patch("/Groups/2", change([X], "members")),
        {"method": "DELETE", "path": "/Users/1"},
        user("x", "ann"),
    )
    assert statuses(results) == ["200", "204", "201"]
    members = server.get("/Groups/2")["members"]
    assert [each["value"] for each in members] == [id_of(results[2])]


def test_what_is_about_one_target_stays_in_its_order(server: Client) -> None:
    """A PUT that waits for a POST does not undo the PATCH that came after it."""
    results = bulk(
        server,
        put("/Users/1", schemas=BOTH, userName="ann", title="old", **BOSS),
        patch("/Users/1", change("new", "title")),
        user("x", "xena"),
    )
    assert statuses(results) == ["200", "200", "201"]
    now = server.get("/Users/1")
    assert (now["title"], now[ENTERPRISE]["manager"]["value"]) == (
        "new",
        id_of(results[2]),
    )


def test_a_long_chain_of_what_comes_later(server: Client) -> None:
    """A thousand groups, each in the one before it."""
    job = [group(f"g{n}", f"group {n}", f"bulkId:g{n + 1}") for n in range(999)]
    results = bulk(server, *job, group("g999", "group 999"))
    assert set(statuses(results)) == {"201"}
    first = server.get(path_of(results[0]))
    assert first["members"][0]["value"] == id_of(results[1])


def test_what_depends_on_a_circle_comes_after_it(server: Client) -> None:
    """When the circle fails, what refers to it fails too, and changes nothing."""
    results = bulk(
        server,
        patch("/Groups/2", change([X], "members")),
        group("x", "A", "bulkId:y"),
        group("y", None, "bulkId:x"),
    )
    assert [status[0] for status in statuses(results)] == ["4", "4", "4"]
    assert "members" not in server.get("/Groups/2").json
    assert server.get("/Groups")["totalResults"] == 1


def test_a_circle_keeps_its_place(server: Client) -> None:
    """Its operations run as sent: the name that a later DELETE frees is not free."""
    results = bulk(
        server,
        managed("u", "ann", "bulkId:v"),
        managed("v", "v", "bulkId:u"),
        {"method": "DELETE", "path": "/Users/1"},
    )
    assert [status[0] for status in statuses(results)] == ["4", "4", "2"]


@turns
def test_a_large_circle_and_much_that_refers_into_it(
    client: Client, turned: bool
) -> None:
    """The order is found in linear time: it was 20 seconds and 1.25 GB."""
    ring = [group(f"r{n}", f"r{n}", f"bulkId:r{(n + 1) % 667}") for n in range(667)]
    rest = [group(f"x{n}", f"x{n}", f"bulkId:r{n}") for n in range(333)]
    start = time.process_time()
    results = bulk(client, *(rest + ring if turned else ring + rest))
    assert time.process_time() - start < 10
    assert {*statuses(results)} == {"201"}
    for result in (results[0], results[-1]):
        assert member_names(client, result) <= {f"r{n}" for n in range(667)}


def test_errors_are_counted_with_those_that_follow_from_them(client: Client) -> None:
    """What is undone when a circle breaks counts for failOnErrors (§3.7.1, §3.7.3)."""
    circle = [group("a", "a", "bulkId:b"), group("b", None, "bulkId:a")]
    results = bulk(client, *circle, user("u", "u"), failOnErrors=2)
    assert [status[0] for status in statuses(results)] == ["4", "4"]


# --- References that are attributes by themselves (§3.7.2, RFC 7643 §2.3.7) -----------


def boxes(make_client: MakeClient, many: bool, **options: Any) -> Client:
    """Serve users, and boxes that have a keeper, in themselves and in their label."""
    keeper = {"name": "keeper", "type": "reference", "multiValued": many}
    keeper |= {"referenceTypes": ["User"]}
    label = {"name": "label", "type": "complex", "subAttributes": [keeper]}
    link = {"name": "link", "type": "reference", "referenceTypes": ["external", "User"]}
    own = {"id": BOX, "name": "Box", "attributes": [keeper, label, link]}
    kind = {"name": "Box", "endpoint": "/Boxes", "schema": BOX}
    default = default_documents()
    return make_client(
        schemas=[*default["schemas"], own],
        resource_types=[*default["resource_types"], kind],
        new_id=map(str, count(1)).__next__,
        **options,
    )


BOX = "urn:example:Box"
manies = pytest.mark.parametrize("many", [False, True])
LINKS = ("bulkId:q", "Users/bulkId:q", f"{BASE}/Users/bulkId:q")


def box(many: bool, link: str) -> dict[str, Any]:
    """Spell a box with this reference at every place."""
    value = [link] if many else link
    return {"schemas": [BOX], "keeper": value, "label": {"keeper": value}, "link": link}


@manies
@turns
@pytest.mark.parametrize("link", LINKS)
def test_a_reference_by_itself(
    make_client: MakeClient, many: bool, turned: bool, link: str
) -> None:
    """Its bulkId becomes the id by POST, PUT and PATCH, with and without a path."""
    client = boxes(make_client, many, tolerance="strict")
    old = client.post("/Boxes", {"schemas": [BOX]})
    data = box(many, link)
    bare = {key: data[key] for key in ("keeper", "label", "link")}
    job = [user("q", "ann"), post("/Boxes", "b", data)]
    results = bulk(client, *(job[::-1] if turned else job))
    made = client.get(path_of(next(x for x in results if x["bulkId"] == "b")))
    id = id_of(next(x for x in results if x["bulkId"] == "q"))
    wanted = box(many, id)
    assert {key: made[key] for key in bare} == {key: wanted[key] for key in bare}
    for number, change_of in enumerate(
        (
            put(f"/Boxes/{old['id']}", **data),
            patch(f"/Boxes/{old['id']}", change(bare)),
            patch(f"/Boxes/{old['id']}", *(change(x, key) for key, x in bare.items())),
        )
    ):
        job = [user("q", f"u{number}"), change_of]
        results = bulk(client, *(job[::-1] if turned else job))
        assert {*statuses(results)} == {"200", "201"}
        wanted = box(many, id_of(next(x for x in results if "bulkId" in x)))
        now = client.get(f"/Boxes/{old['id']}")
        last = now["keeper"][-1:] if many else now["keeper"]
        assert (last, now["link"]) == (wanted["keeper"], wanted["link"])


@manies
@pytest.mark.parametrize("place", ["keeper", "label", "link"])
def test_a_bulk_id_outside_a_job(
    make_client: MakeClient, many: bool, place: str
) -> None:
    """It is invalidValue at every level, and for a bulkId that no POST has."""
    client = boxes(make_client, many, tolerance="lenient")
    data = {key: box(many, "bulkId:q")[key] for key in ("schemas", place)}
    assert_error(client.post("/Boxes", data), 400, "invalidValue")
    made = client.post("/Boxes", {"schemas": [BOX]})
    path = f"/Boxes/{made['id']}"
    assert_error(client.put(path, data), 400, "invalidValue")
    sent = patch(path, change(data[place], place))["data"]
    assert_error(client.patch(path, *sent["Operations"]), 400, "invalidValue")
    [result] = bulk(client, post("/Boxes", "b", data))
    assert result["response"]["scimType"] == "invalidValue"
    assert client.get(path).json == made.json


@manies
@pytest.mark.parametrize(
    "link",
    [
        *("nobody", "Users/nobody", f"{BASE}/Groups/1", "/Groups/2", "/Users/1"),
        *("/users/2", "Users/2?x=1", "mailto:x", "https://other.example/Users/2"),
    ],
)
def test_a_reference_by_itself_that_dangles(
    make_client: MakeClient, many: bool, link: str
) -> None:
    """A reference of a type of ours is looked at as a complex one is."""
    client = boxes(make_client, many)
    made = client.group("g")
    assert made["id"] == "1"
    data = {"schemas": [BOX], "keeper": [link] if many else link}
    assert client.post("/Boxes", data).status == 201
    strict = boxes(make_client, many, tolerance="strict")
    strict.group("g")
    ann = strict.user("ann")["id"]
    assert_error(strict.post("/Boxes", data), 400, "invalidValue")
    assert ann == "2"
    for fine in (ann, f"Users/{ann}"):
        data = {"schemas": [BOX], "keeper": [fine] if many else fine, "link": link}
        assert strict.post("/Boxes", data)["keeper"] == data["keeper"]
    [_, result] = bulk(
        strict, group("g", "h"), post("/Boxes", "b", box(many, "bulkId:g"))
    )
    assert result["response"]["scimType"] == "invalidValue"
