"""Faults that were found by attack, each kept from coming back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from conftest import ENTERPRISE, GROUP, PATCH_OP, USER, Client, assert_error
from test_rfc7643 import LEASE, RESOURCE_TYPES, SCHEMAS
from wire import Wire, exchange

from scim2_server import create_app, running_server

MakeClient = Callable[..., Client]
JSON = "Content-Type: application/scim+json"


def change(op: str, path: str | None = None, **value: Any) -> dict[str, Any]:
    """Spell an operation."""
    return {"op": op, **({"path": path} if path else {}), **value}


def schema(*attributes: dict[str, Any], name: str = "Thing") -> dict[str, Any]:
    """Serve one resource type with these attributes, as options of create_app."""
    urn = f"urn:example:schemas:{name}"
    spelt = [{"multiValued": False} | each for each in attributes]
    return {
        "schemas": [{"id": urn, "name": name, "attributes": spelt}],
        "resource_types": [
            {"id": name, "name": name, "endpoint": f"/{name}s", "schema": urn}
        ],
    }


# --- Requests that starve or stop a server ---


def test_spaces_in_a_header() -> None:
    """A header of 60,000 spaces costs nobody anything (RFC 9112 §5)."""
    with running_server() as server, Wire(server.url) as wire:
        began = time.monotonic()
        head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a" + b" " * 60_000
        assert wire.send(head, b"b\r\n\r\n").answer().status == 200
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("size", [50_000])
def test_many_keys_and_one_of_them_twice(client: Client, size: int) -> None:
    """Looking for the double is no work of its own (RFC 8259 §4)."""
    keys = ",".join(f'"k{number}":1' for number in range(size))
    began = time.monotonic()
    reply = client.post("/Users", b'{%s,"z":1,"z":2}' % keys.encode())
    assert_error(reply, 400, "invalidValue")
    assert time.monotonic() - began < 10


def test_many_spellings_of_one_attribute(client: Client) -> None:
    """The same in the value of a PATCH without path (RFC 7643 §2.1)."""
    name, keys = "preferredlanguage", {}
    for number in range(6_000):
        letters = zip(name, f"{number:017b}", strict=True)
        keys["".join(a.upper() if b == "1" else a for a, b in letters)] = "x"
    path = f"/Users/{client.user('ann')['id']}"
    began = time.monotonic()
    assert client.patch(path, change("replace", value=keys)).status == 200
    assert time.monotonic() - began < 10


def test_a_ring_of_many_groups(client: Client) -> None:
    """A circle of 400 groups, of which one is invalid, leaves none (§3.7.1)."""
    size = 400
    job = [
        {
            "method": "POST",
            "path": "/Groups",
            "bulkId": f"b{number}",
            "data": {
                "schemas": [GROUP],
                **({"displayName": "g"} if number else {}),
                "members": [{"value": f"bulkId:b{(number + 1) % size}"}],
            },
        }
        for number in range(size)
    ]
    body = {"schemas": [PATCH_OP.replace("PatchOp", "BulkRequest")], "Operations": job}
    reply = client.post("/Bulk", body)
    assert reply.status == 200
    assert all(int(each["status"]) >= 400 for each in reply["Operations"])
    assert client.get("/Groups")["totalResults"] == 0


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400])
def test_an_integer_beyond_a_double(client: Client, number: str) -> None:
    """It is invalidFilter, as 1e400 is (RFC 7644 §3.4.2.2)."""
    for name in ("userName", "active"):
        reply = client.get("/Users", filter=f"{name} eq {number}")
        assert_error(reply, 400, "invalidFilter")


# --- Framing and doors ---


@pytest.mark.parametrize("name", ["Content_Length", "content_length"])
def test_underscores_in_headers(name: str) -> None:
    """They do not pass for hyphens: what was cut off is not carried out."""
    body = json.dumps({"schemas": [USER], "userName": "ann"}).encode()
    with running_server() as server:
        sent = body + b"  trailing"
        reply = exchange(
            server.url, "POST", "/Users", JSON, f"{name}: {len(body)}", body=sent
        )
        assert reply.status == 400
        assert exchange(server.url, "GET", "/Users")["totalResults"] == 0


def test_an_id_like_an_open_endpoint(make_client: MakeClient) -> None:
    """Only ServiceProviderConfig itself is open (RFC 7643 §5)."""
    ann = {"schemas": [USER], "id": "ServiceProviderConfig", "userName": "ann"}
    client = make_client(bearer_tokens=["t"], resources=[ann])
    assert_error(client.get("/Users/ServiceProviderConfig"), 401)
    assert client.get("/ServiceProviderConfig").status == 200
    assert client.request("HEAD", "/ServiceProviderConfig").status == 200


def test_a_token_that_is_no_text(make_client: MakeClient) -> None:
    """A token of any bytes is compared as bytes (RFC 6750)."""
    client = make_client(bearer_tokens=[b"\xff\xfe".decode(errors="surrogateescape")])
    for header, status in (("Bearer x", 401), ("Bearer \xff\xfe", 200)):
        reply = client.request("GET", "/Users", headers={"Authorization": header})
        assert reply.status == status


def test_an_empty_password_lets_nobody_in(make_client: MakeClient) -> None:
    """Basic authentication without a password is none (RFC 7617)."""
    client = make_client(basic_auth={"u": ""})
    header = {"Authorization": "Basic dTo="}
    assert_error(client.request("GET", "/Users", headers=header), 401)


def test_refused_requests_make_no_tenants() -> None:
    """Only a write that succeeds creates a tenant (RFC 7644 §6)."""
    application = create_app(dynamic_tenants=True)
    for path, body in (
        ("/t1/v2", {"userName": ""}),
        ("/t2/v2", {"schemas": [USER]}),
        ("/t3/v2", b"{"),
    ):
        assert Client(application, path).post("/Users", body).status == 400
    assert Client(application, "/t4/v2").post("/Nope", {}).status == 404
    assert application.dump() == {}
    Client(application, "/t1/v2").user("ann")
    assert list(application.dump()) == ["t1"]


def test_line_breaks_in_paths_make_no_lines() -> None:
    """Neither the log nor the report has lines of a client's own."""
    app = create_app()
    forged = "/Users/a\nother-client: 99 requests"
    assert Client(app).request("PATCH", forged, b'{"a": 1, "a": 2}').status == 404
    [reported] = app.report()["clients"]
    assert "\n" not in reported["deviations"][0]["first"]["path"]


def test_secrets_are_in_no_detail(make_client: MakeClient) -> None:
    """Nor in the report, however they are sent (RFC 7643 §7)."""
    client = make_client(
        **schema(
            {"name": "k", "type": "complex", "multiValued": True}
            | {"subAttributes": [{"name": "value", "returned": "never"}]},
            {"name": "w", "mutability": "writeOnly"},
        )
    )
    made = client.post("/Things", {"k": ["TOPSECRET"], "w": "TOPSECRET"})
    assert made.status == 201
    assert "k" not in made.json and "w" not in made.json
    for body in ({"k": [["TOPSECRET"]]}, {"k": "TOPSECRET"}):
        assert b"TOPSECRET" not in client.post("/Things", body).content
    ann = make_client()
    path = f"/Users/{ann.user('ann')['id']}"
    reply = ann.patch(path, change("remove", "password", value="TOPSECRET"))
    assert "TOPSECRET" not in assert_error(reply, 400, "invalidValue")


# --- Versions and memberships ---


def test_versions_of_members_that_stay(client: Client) -> None:
    """A PUT in another order, or of fewer members, touches who is touched (§3.14)."""
    ids = [client.user(name)["id"] for name in "abcd"]
    group = client.group("g", *ids)

    def versions() -> list[str]:
        return [client.get(f"/Users/{id}").headers["ETag"] for id in ids]

    for members, changed in ((ids[1::-1] + ids[3:], {2}), (ids[:2] + ids[3:], set())):
        before = versions()
        body = {"schemas": [GROUP], "displayName": "g"}
        body |= {"members": [{"value": id} for id in members]}
        assert client.put(f"/Groups/{group['id']}", body).status == 200
        after = versions()
        assert {n for n in range(4) if before[n] != after[n]} == changed


def test_groups_in_one_order(make_client: MakeClient) -> None:
    """`groups` is ordered by age, whatever happened, and so is a loaded dump."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    options: dict[str, Any] = {
        "clock": (start + timedelta(seconds=tick) for tick in count()).__next__,
        "new_id": map(str, count(1)).__next__,
    }
    app = create_app(**options)
    client = Client(app)
    client.user("ann")
    for name in "abc":
        client.group(name, "1")
    for op in ("remove", "add"):
        client.patch("/Groups/2", change(op, "members", value=[{"value": "1"}]))
    shown = client.get("/Users/1")["groups"]
    assert [group["value"] for group in shown] == ["2", "3", "4"]
    assert client.get("/Users/1", attributes="groups")["groups"] == shown
    dumped = app.dump()
    assert create_app(resources=dumped).dump() == dumped


def test_members_of_two_kinds_of_group(make_client: MakeClient) -> None:
    """Each type of group shows of a member what its own schema has (RFC 7643 §4.2)."""
    from scim2_server import default_documents

    own = schema(
        {
            "name": "members",
            "type": "complex",
            "multiValued": True,
            "subAttributes": [
                {"name": "value", "type": "string"},
                {"name": "$ref", "type": "reference", "referenceTypes": ["User"]},
            ],
        },
        name="Team",
    )
    default = default_documents()
    client = make_client(**{key: default[key] + own[key] for key in own})
    ann = client.user("ann", displayName="Ann")["id"]
    group = client.group("g", ann)["id"]
    client.group("h", group)
    sent = {"members": [{"value": ann}, {"value": group}]}
    team = client.post("/Teams", sent)
    assert team["members"] == [
        {"value": ann, "$ref": f"http://localhost/v2/Users/{ann}"},
        {"value": group},
    ]


def test_what_dangles_by_our_own_doing(make_client: MakeClient) -> None:
    """Whoever changes something else is not blamed for it (RFC 7643 §2.3.7)."""
    client = make_client(tolerance="strict")
    boss = client.user("boss")["id"]
    ann = client.user("ann", **{ENTERPRISE: {"manager": {"value": boss}}})
    client.delete(f"/Users/{boss}")
    path = f"/Users/{ann['id']}"
    add = change("add", f"{ENTERPRISE}:department", value="D")
    reply = client.patch(path, add)
    assert reply.status == 200, reply.content
    assert reply[ENTERPRISE] == {"manager": {"value": boss}, "department": "D"}


def test_references_to_other_servers(client: Client) -> None:
    """A URI of another host names no member, and is not shown (RFC 7643 §2.3.7)."""
    ann = client.user("ann")["id"]
    group = client.group("g")["id"]
    ref = f"https://other.example/scim/Users/{ann}"
    add = change("add", "members", value=[{"$ref": ref}])
    first = client.patch(f"/Groups/{group}", add)
    assert "members" not in first.json
    assert first.headers["Scim-Deviation"] == "dangling-reference"
    local = change("replace", "members", value=[{"$ref": f"../Users/{ann}"}])
    [member] = client.patch(f"/Groups/{group}", local)["members"]
    assert member["value"] == ann


# --- PATCH and custom schemas ---


@pytest.mark.parametrize("op", ["add", "replace"])
def test_a_sub_attribute_of_nothing(client: Client, op: str) -> None:
    """What does not exist is added (RFC 7644 §3.5.2.1, §3.5.2.3)."""
    path = f"/Users/{client.user('ann')['id']}"
    reply = client.patch(path, change(op, "phoneNumbers.value", value="555"))
    assert reply["phoneNumbers"] == [{"value": "555"}]


COMPLEX = {
    "name": "cx",
    "type": "complex",
    "subAttributes": [
        {"name": "a", "type": "string", "required": True},
        {"name": "b", "type": "string", "mutability": "immutable"},
        {"name": "pin", "type": "string", "required": True, "returned": "never"},
    ],
}
TAGS = {"name": "tags", "type": "string", "multiValued": True, "required": True}


def test_an_immutable_sub_attribute(make_client: MakeClient) -> None:
    """It goes with nothing, and a PUT keeps it whole (RFC 7643 §2.2)."""
    client = make_client(**schema(COMPLEX, TAGS))
    sent = {"cx": {"a": "1", "b": "2", "pin": "3"}, "tags": ["x", "y"]}
    made = client.post("/Things", sent)
    path = f"/Things/{made['id']}"
    for each in (change("remove", "cx"), change("replace", "cx", value=None)):
        assert_error(client.patch(path, each), 400, "mutability")
    reply = client.put(path, {"tags": ["x"]})
    assert reply["cx"] == {"a": "1", "b": "2"}
    assert client.patch(path, change("replace", "cx.a", value="9")).status == 200
    for each in (
        change("remove", "tags"),
        change("remove", 'tags[value eq "x"]'),
        change("remove", "tags", value=["x"]),
    ):
        assert_error(client.patch(path, each), 400, "mutability")


def test_a_required_secret_is_loaded_without(make_client: MakeClient) -> None:
    """A dump has no secrets, and loads all the same (RFC 7643 §7)."""
    options = schema({"name": "pw", "required": True, "returned": "never"})
    app = create_app(**options)
    made = Client(app).post("/Things", {"pw": "x", "externalId": "e"})
    path = f"/Things/{made['id']}"
    assert Client(app).patch(path, change("remove", "externalId")).status == 200
    assert create_app(**options, resources=app.dump()).dump() == app.dump()


@pytest.mark.parametrize(
    ("filter", "found"),
    [('b eq "aaaa"', 0), ('b eq "AAAA"', 1), ('c eq "AA"', 1), ('r eq "x/A"', 0)],
)
def test_binaries_and_references_have_case(
    make_client: MakeClient, filter: str, found: int
) -> None:
    """Whatever the schema says (RFC 7643 §2.3.6, §2.3.7)."""
    names = [{"name": name, "type": "binary"} for name in "bc"]
    client = make_client(**schema(*names, {"name": "r", "type": "reference"}))
    made = client.post("/Things", {"b": "AAAA", "c": "AA", "r": "x/a"})
    assert made.status == 201, made.content
    assert client.get("/Things", filter=filter)["totalResults"] == found


@pytest.mark.parametrize(
    "attributes",
    [
        [{"type": "string"}],
        [{"name": ""}],
        [{"name": "k"}, {"name": "K"}],
        [{"name": "k", "type": "string", "subAttributes": [{"name": "z"}]}],
        [{"name": "k", "type": "complex", "subAttributes": [COMPLEX]}],
        [{"name": "k", "type": "complex", "subAttributes": [{"type": "string"}]}],
        [{"name": "k", "description": "\ud800"}],
    ],
    ids=repr,
)
def test_schemas_that_are_none(attributes: list[dict[str, Any]]) -> None:
    """Each is refused at start (RFC 7643 §7)."""
    with pytest.raises(ValueError):
        create_app(**schema(*attributes))


def test_odd_schemas(make_client: MakeClient) -> None:
    """What makes little sense is served without failing (RFC 7643 §7)."""
    odd = {"type": "complex", "uniqueness": "server"}
    subs = {"subAttributes": [{"name": "value", "type": "string"}]}
    client = make_client(
        **schema(
            {"name": "displayName", "multiValued": True} | odd | subs,
            {"name": "class", "type": "string"},
        )
    )
    sent = {"displayName": [{"value": "x"}], "class": "y"}
    for _ in range(2):
        made = client.post("/Things", sent)
        assert made.status == 201, made.content
        assert {name: made[name] for name in sent} == sent
    assert client.get("/Things", filter='displayName eq "x"')["totalResults"] == 2


def test_an_extension_without_a_name() -> None:
    """schemaExtensions name schemas (RFC 7643 §6)."""
    for broken in ([{}], [{"schema": None}], [5]):
        types = [RESOURCE_TYPES[0] | {"schemaExtensions": broken}]
        with pytest.raises(ValueError):
            create_app(schemas=SCHEMAS, resource_types=types)
    assert LEASE


def test_if_match_comes_first(client: Client) -> None:
    """412 although the client has the current version (RFC 9110 §13.2.2)."""
    ann = client.user("ann")
    headers = {"If-Match": 'W/"x"', "If-None-Match": ann["meta"]["version"]}
    reply = client.request("GET", f"/Users/{ann['id']}", headers=headers)
    assert_error(reply, 412)
    reply = client.request("GET", f"/Users/{ann['id']}", headers={"If-Match": "9"})
    assert_error(reply, 400)


@pytest.mark.parametrize(
    ("paging", "served"),
    [
        ({"index": False}, True),
        ({"cursor": False, "defaultPaginationMethod": "cursor"}, False),
        ({"cursor": False, "index": False}, False),
        ({"defaultPageSize": 9, "maxPageSize": 5}, False),
    ],
)
def test_pagination_that_is_off(paging: dict[str, Any], served: bool) -> None:
    """Without index there are cursors only (RFC 9865 §4)."""
    config = {"pagination": paging}
    if not served:
        with pytest.raises(ValueError):
            create_app(service_provider_config=config)
        return
    client = Client(create_app(service_provider_config=config))
    for name in "abc":
        client.user(name)
    assert "nextCursor" in client.get("/Users", count=2).json
    assert_error(client.get("/Users", startIndex=1), 400, "invalidValue")


def test_a_cursor_fits_into_a_url(client: Client) -> None:
    """However long the values are that it is sorted by (RFC 9865 §2)."""
    for number in range(3):
        client.user(f"u{number}", title="é" * 20_000 + str(number))
    reply = client.get("/Users", sortBy="title", count=1, cursor="")
    assert len(reply["nextCursor"]) < 8_000


def test_a_job_that_ends_in_the_middle_of_a_circle(client: Client) -> None:
    """failOnErrors leaves no reference to what is not made (RFC 7644 §3.7.1)."""

    def post(path: str, id: str, **data: Any) -> dict[str, Any]:
        return {"method": "POST", "path": path, "bulkId": id, "data": data}

    def group(id: str, *members: str) -> dict[str, Any]:
        values = [{"value": f"bulkId:{each}"} for each in members]
        return post("/Groups", id, schemas=[GROUP], displayName=id, members=values)

    job = [group("a", "b", "x"), group("b", "a"), post("/Users", "x", schemas=[USER])]
    body = {"schemas": [PATCH_OP.replace("PatchOp", "BulkRequest")], "failOnErrors": 1}
    reply = client.post("/Bulk", body | {"Operations": job})
    assert {each["status"] for each in reply["Operations"]} <= {"400", "409"}
    assert client.get("/")["totalResults"] == 0


def test_a_reference_by_url_that_is_there(client: Client) -> None:
    """It is the same as by id: no change, and no second element (RFC 7643 §2.4)."""
    ann = client.user("ann")["id"]
    ref = f"http://localhost/v2/Users/{ann}"
    members = [{"value": ann}, {"$ref": ref}]
    body = {"schemas": [GROUP], "displayName": "g", "members": members}
    made = client.post("/Groups", body)
    path = f"/Groups/{made['id']}"
    assert len(made["members"]) == 1
    assert client.put(path, body).json == made.json
    assert client.patch(path, change("add", "members", value=members[1:])).json == (
        made.json
    )


def test_what_stands_beside_a_reference(make_client: MakeClient) -> None:
    """Other sub-attributes are kept, unique, found and immutable (RFC 7643 §2.2)."""
    subs = [
        {"name": "value", "type": "string"},
        {"name": "$ref", "type": "reference", "referenceTypes": ["Team"]},
        {"name": "note", "type": "string", "uniqueness": "server"},
        {"name": "badge", "type": "string", "mutability": "immutable"},
    ]
    members = {"name": "members", "type": "complex", "multiValued": True}
    client = make_client(**schema(members | {"subAttributes": subs}, name="Team"))
    inner = client.post("/Teams", {})["id"]
    ref = f"http://localhost/v2/Teams/{inner}"
    sent = {"members": [{"$ref": ref, "note": "n1", "badge": "A"}]}
    made = client.post("/Teams", sent)
    shown = {"value": inner, "$ref": ref, "note": "n1", "badge": "A"}
    assert made["members"] == [shown]
    path = f"/Teams/{made['id']}"
    note = change("replace", f'members[value eq "{inner}"].note', value="n2")
    assert client.patch(path, note)["members"] == [shown | {"note": "n2"}]
    assert client.get("/Teams", filter='members.note eq "n2"')["totalResults"] == 1
    assert_error(
        client.post("/Teams", {"members": [{"note": "n2"}]}), 409, "uniqueness"
    )
    again = change("add", "members", value=[{"value": inner, "badge": "B"}])
    assert_error(client.patch(path, again), 400, "mutability")


def test_elements_that_become_equal(make_client: MakeClient) -> None:
    """They are one then, and a dump loads as it is (RFC 7643 §2.4)."""
    options = schema({"name": "tags", "type": "string", "multiValued": True})
    app = create_app(**options)
    made = Client(app).post("/Things", {"tags": ["a", "b"]})
    replace = change("replace", 'tags[value eq "a"]', value="b")
    assert Client(app).patch(f"/Things/{made['id']}", replace)["tags"] == ["b"]
    assert create_app(**options, resources=app.dump()).dump() == app.dump()


@pytest.mark.parametrize("second", [b"GET /v2/Users HTTP/1.1\n\n", b"G" * 70_000])
def test_a_refusal_after_head(second: bytes) -> None:
    """It has the body that its length announces (RFC 9110 §9.3.2)."""
    with running_server() as server, Wire(server.url) as wire:
        wire.send(b"HEAD /v2/Users HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.answer("HEAD").status == 200
        assert_error(wire.send(second).answer(), 414 if len(second) > 99 else 400)


def test_numbers_with_zeros_and_empty_tags(client: Client) -> None:
    """Leading zeros and empty list elements are no fault (RFC 9110 §5.6.1)."""
    ann = client.user("ann")
    reply = client.get("/Users", count="0" * 30 + "5", startIndex="0" * 30 + "1")
    assert (reply["startIndex"], reply["itemsPerPage"]) == (1, 1)
    tags = {"If-None-Match": f', "x",, {ann["meta"]["version"]}'}
    assert client.request("GET", f"/Users/{ann['id']}", headers=tags).status == 304
