"""Modifying resources with PATCH (RFC 7644 §3.5.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import pytest
from conftest import BULK, ENTERPRISE, PATCH_OP, USER, Client, assert_error

import scim2_server
from scim2_server import Resource, ResourceType, Store

BASE = "http://localhost/v2"
NOTHING = object()


def op(name: str, path: str | None = None, value: Any = NOTHING) -> dict[str, Any]:
    """Spell one operation."""
    operation = {"op": name}
    if path is not None:
        operation["path"] = path
    return operation if value is NOTHING else operation | {"value": value}


def serve(make_client: Callable[..., Client], tolerance: str, *ids: str) -> Client:
    """Serve with these ids first, and a clock that goes on at each look."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    names = (*ids, *map(str, range(1, 1000)))
    return make_client(
        clock=(start + timedelta(seconds=tick) for tick in count()).__next__,
        new_id=iter(names).__next__,
        tolerance=tolerance,
    )


@pytest.fixture(params=["strict", "standard"])
def people(
    make_client: Callable[..., Client], request: pytest.FixtureRequest
) -> Client:
    """Serve user 1, who is nobody's business, and let the tests make user 2."""
    client = serve(make_client, request.param)
    client.user("taken", displayName="Boss")
    return client


def tidy(value: Any) -> Any:
    """Leave out ``"primary": false``, which says no more than its absence."""
    if isinstance(value, list):
        return [tidy(element) for element in value]
    if isinstance(value, dict):
        return {
            name: tidy(inner)
            for name, inner in value.items()
            if (name, inner) != ("primary", False)
        }
    return value


W, H = {"value": "w@x.test", "type": "work"}, {"value": "h@x.test", "type": "home"}
W2, N = {"value": "w2@y.test", "type": "work"}, {"value": "n@y.test", "type": "other"}
WX, HX, W2X = W | {"display": "x"}, H | {"display": "x"}, W2 | {"display": "x"}
TRUE = {"primary": True}
SMITH, ANN = {"familyName": "Smith"}, {"givenName": "Ann"}
PLAZA = {"type": "work", "streetAddress": "100 Plaza", "postalCode": "91608"}
PLAZA2 = PLAZA | {"streetAddress": "911 Plaza"}
HOUSE = {"type": "home", "streetAddress": "456 Blvd"}
DR, MR = {"title": "Dr"}, {"title": "Mr"}
SEVEN, SALES = {"employeeNumber": "7"}, {"department": "Sales"}
BOTH = SEVEN | {"department": "R&D"}
BOSS = {"value": "1", "$ref": f"{BASE}/Users/1", "displayName": "Boss"}
WORK, HOME = 'emails[type eq "work"]', 'emails[type eq "home"]'
EXT = ENTERPRISE


def emails(*values: Any) -> dict[str, Any]:
    """Spell the attributes of a user with these e-mails only."""
    return {"emails": [*values]}


def ext(values: Any) -> dict[str, Any]:
    """Spell the attributes of a user with this extension only."""
    return {ENTERPRISE: values}


ADD: list[tuple[str | None, Any, Any, Any]] = [  # path, value, before, after
    ("title", "Dr", {}, DR),
    ("title", "Dr", MR, DR),
    ("active", False, {}, {"active": False}),
    ("TITLE", "Dr", {}, DR),
    (f"{USER}:title", "Dr", {}, DR),
    (f"{USER.upper()}:Name.FamilyName", "Smith", {}, {"name": SMITH}),
    (None, emails(H) | DR, emails(W), emails(W, H) | DR),
    (None, emails(H) | {"nickname": "B"}, {}, emails(H) | {"nickName": "B"}),  # the RFC
    (None, {"name": ANN}, {"name": SMITH}, {"name": SMITH | ANN}),
    (None, {"id": "2", "schemas": [USER], "title": "Dr"}, {}, DR),
    ("name", ANN, {"name": SMITH | {"givenName": "A"}}, {"name": SMITH | ANN}),
    ("name", SMITH, {}, {"name": SMITH}),
    ("name.givenName", "Ann", {"name": SMITH}, {"name": SMITH | ANN}),
    ("name.givenName", "Ann", {}, {"name": ANN}),
    ("emails", [H, N], emails(W), emails(W, H, N)),
    ("emails", H, emails(W), emails(W, H)),
    ("emails", [H], {}, emails(H)),
    ("emails", [], emails(W), emails(W)),
    ("emails", [W, N], emails(W, H), emails(W, H, N)),
    ("emails", [W | {"type": "home"}], emails(W), emails(W, W | {"type": "home"})),
    (f"{WORK}.display", "x", emails(W, H, W2), emails(WX, H, W2X)),
    (WORK, {"display": "x"}, emails(W, H, W2), emails(WX, H, W2X)),
    ("emails", [N | TRUE], emails(W | TRUE, H), emails(W, H, N | TRUE)),
    (f"{HOME}.primary", True, emails(W | TRUE, H), emails(W, H | TRUE)),
    ("emails", [H | TRUE], emails(W | TRUE, H), emails(W, H | TRUE)),
    (f"{EXT}:department", "Sales", {}, ext(SALES)),
    (EXT, SALES, ext(BOTH), ext(BOTH | SALES)),
    (None, {EXT: SALES, "title": "Dr"}, ext(BOTH), ext(BOTH | SALES) | DR),
    (f"{EXT}:manager", {"value": "1"}, {}, ext({"manager": BOSS})),
    (f"{EXT.lower()}:Manager.Value", "1", {}, ext({"manager": BOSS})),
]
REMOVE: list[tuple[str, Any, Any]] = [  # path, before, after
    ("title", DR, {}),
    (f"{USER}:Title", DR, {}),
    ("name", {"name": SMITH}, {}),
    ("name.givenName", {"name": SMITH | ANN}, {"name": SMITH}),
    ("name.givenName", {"name": ANN}, {}),
    ("emails", emails(W, H), {}),
    (WORK, emails(W, H, W2), emails(H)),
    ('emails[type eq "work" and value ew "x.test"]', emails(W, H, W2), emails(H, W2)),
    (
        'emails[not (type eq "work" or value ew "y.test")]',
        emails(W, H, N),
        emails(W, N),
    ),
    ('emails[type eq "work" and value eq "h@x.test"]', emails(W, H), emails(W, H)),
    ("emails[primary eq true]", emails(W | TRUE, H), emails(H)),
    ("emails[value pr]", emails(W, W2), {}),
    (r'emails[display eq "a]\"b"]', emails(W, H | {"display": 'a]"b'}), emails(W)),
    (f"{WORK}.display", emails(WX, HX), emails(W, HX)),
    (f"{EXT}:department", ext(BOTH), ext(SEVEN)),
    (f"{EXT}:department", ext(SALES), {}),
    (f"{EXT}:manager", ext(SALES | {"manager": {"value": "1"}}), ext(SALES)),
    (EXT, ext(BOTH) | DR, DR),
    (f'schemas[value eq "{EXT}"]', ext(BOTH) | DR, DR),
]
REPLACE: list[tuple[str | None, Any, Any, Any]] = [  # path, value, before, after
    ("title", "Dr", MR, DR),
    ("title", "Dr", {}, DR),
    ("title", None, DR, {}),
    ("title", None, {}, {}),
    ("userName", "Babs", {}, {"userName": "Babs"}),
    ("userName", "BJENSEN", {}, {"userName": "BJENSEN"}),
    ("name", ANN, {"name": SMITH | {"givenName": "A"}}, {"name": SMITH | ANN}),
    ("name.givenName", "Ann", {"name": {"givenName": "A"}}, {"name": ANN}),
    ("name.givenName", "Ann", {}, {"name": ANN}),
    ("emails", [N], emails(W, H), emails(N)),
    ("emails", N, emails(W, H), emails(N)),
    ("emails", [N], {}, emails(N)),
    ("emails", [], emails(W), {}),
    ("emails", None, emails(W), {}),
    ("schemas", [USER], ext(BOTH) | DR, DR),
    (None, {"schemas": [USER]}, ext(BOTH) | DR, DR),
    (None, {"Schemas": [USER, EXT]}, ext(BOTH) | DR, ext(BOTH) | DR),
    (None, {"schemas": [USER]} | MR, ext(BOTH) | DR, ext(BOTH) | MR),
    ("schemas", [USER.upper(), EXT], ext(BOTH) | DR, ext(BOTH) | DR),
    (None, {"active": False}, {"active": True} | DR, {"active": False} | DR),
    (
        None,
        emails(N) | {"name": ANN},
        emails(W) | {"name": SMITH},
        emails(N) | {"name": SMITH | ANN},
    ),
    (
        None,
        {"title": None, "emails": [], "name": {"givenName": None}},
        DR | emails(W) | {"name": SMITH | ANN},
        {"name": SMITH},
    ),
    (
        None,
        emails(H | TRUE, N) | {"nickname": "Babs"},
        emails(W) | {"nickName": "B"},
        emails(H | TRUE, N) | {"nickName": "Babs"},
    ),  # the RFC
    (WORK, {"display": "x"}, emails(W, H, W2), emails(WX, H, W2X)),
    (f"{WORK}.display", "x", emails(W, H, W2), emails(WX, H, W2X)),
    (
        'addresses[type eq "work"]',
        PLAZA2,
        {"addresses": [PLAZA, HOUSE]},
        {"addresses": [PLAZA2, HOUSE]},
    ),  # the RFC
    (
        'addresses[type eq "work"].streetAddress',
        "911 Plaza",
        {"addresses": [PLAZA, HOUSE]},
        {"addresses": [PLAZA2, HOUSE]},
    ),  # the RFC
    (f'{USER}:Emails[Type eq "WORK"].Display', "x", emails(W, H), emails(WX, H)),
    (
        r'emails[type eq "h\u006fme" or display eq "]\\"].display',
        "x",
        emails(W | {"display": "]\\"}, H, N),
        emails(WX, HX, N),
    ),
    (f"{HOME}.primary", True, emails(W | TRUE, H), emails(W, H | TRUE)),
    (HOME, TRUE, emails(W | TRUE, H), emails(W, H | TRUE)),
    (f"{WORK}.primary", False, emails(W | TRUE, H), emails(W, H)),
    (f"{EXT}:department", "Sales", ext(BOTH), ext(BOTH | SALES)),
    (f"{EXT.upper()}:Department", "Sales", {}, ext(SALES)),
    (EXT, SALES, ext(BOTH), ext(BOTH | SALES)),
    (None, {EXT: SALES}, ext(BOTH), ext(BOTH | SALES)),
]
SEVERAL: list[tuple[Any, list[Any], Any]] = [  # before, operations, after
    (
        emails(W, H),
        [
            op("replace", f"{WORK}.primary", True),
            op("add", "emails", [N | TRUE]),
            op("replace", f"{HOME}.primary", True),
        ],
        emails(W, H | TRUE, N),
    ),
    (
        emails(W),
        [
            op("add", "emails", [H]),
            op("remove", WORK),
            op("replace", f"{HOME}.display", "x"),
            op("add", "title", "Mr"),
            op("replace", "title", "Dr"),
            op("add", "nickName", "B"),
            op("remove", "nickName"),
        ],
        emails(HX) | DR,
    ),
    (  # a $ref takes the place of the id that was there
        ext({"manager": {"value": "1"}}),
        [op("add", f"{EXT}:manager", {"$ref": "../Users/2"})],
        ext({"manager": {"value": "2", "$ref": f"{BASE}/Users/2"}}),
    ),
]
ROWS = [
    *(([op("add", row[0], row[1])], row[2], row[3]) for row in ADD),
    *(([op("remove", row[0])], row[1], row[2]) for row in REMOVE),
    *(([op("replace", row[0], row[1])], row[2], row[3]) for row in REPLACE),
    *((operations, before, after) for before, operations, after in SEVERAL),
]


def spelt(operations: Any) -> str:
    """Name a row by its first operation."""
    first = operations[0]
    return f"{first.get('op')} {first.get('path', first.get('value'))}"


@pytest.mark.parametrize(
    ("operations", "before", "after"),
    [pytest.param(*row, id=spelt(row[0])) for row in ROWS],
)
def test_modifications(
    people: Client, operations: list[Any], before: Any, after: Any
) -> None:
    """Every kind of target of §3.5.2.1, §3.5.2.2 and §3.5.2.3, in RFC syntax."""
    created = people.user("bjensen", **before)
    reply = people.patch("/Users/2", *operations)
    assert reply.status == 200, reply.content
    assert "Scim-Deviation" not in reply.headers
    assert reply.headers["ETag"] == reply["meta"]["version"]
    assert set(reply["schemas"]) == ({USER, ENTERPRISE} if EXT in after else {USER})
    shown = {k: v for k, v in reply.json.items() if k not in ("schemas", "meta")}
    assert tidy(shown) == tidy({"id": "2", "userName": "bjensen", **after})
    assert people.get("/Users/2").json == reply.json
    old = {k: v for k, v in created.items() if k not in ("schemas", "meta")}
    changed = tidy(shown) != tidy(old)
    for name in ("version", "lastModified"):
        assert (reply["meta"][name] != created["meta"][name]) == changed
    assert reply["meta"]["created"] == created["meta"]["created"]


NO_CHANGE: list[list[dict[str, Any]]] = [
    [op("add", "title", "Dr")],
    [op("replace", "title", "Dr")],
    [op("add", "emails", [H])],
    [op("add", "emails", W)],
    [op("replace", "emails", [W | TRUE, H])],
    [op("replace", f"{WORK}.value", "w@x.test")],
    [op("replace", WORK, {"type": "work"})],
    [op("remove", 'emails[type eq "other"]')],
    [op("remove", 'emails[type eq "other"].value')],
    [op("remove", f"{WORK}.display")],
    [op("remove", "nickName")],
    [op("remove", "phoneNumbers")],
    [op("remove", 'phoneNumbers[type eq "work"]')],
    [op("remove", f"{EXT}:division")],
    [op("add", "name", SMITH)],
    [op("replace", "name", SMITH)],
    [op("replace", value={"name": SMITH, "active": True, "title": "Dr"})],
    [op("replace", value={"id": "2", "schemas": [USER]})],
    [op("add", EXT, SALES)],
    [op("replace", f"{EXT}:department", "Sales")],
    [op("replace", "nickName", None)],
    [op("add", "nickName", "B"), op("remove", "nickName")],
    # "Unassigned" and the values that are shown are no modification (RFC 7643 §2.5).
    [op("replace", value={"groups": []})],
    [op("add", value={"groups": None, "photos": []})],
    [op("replace", "groups", [])],
    [op("replace", "id", "2")],
    [op("add", "schemas", [USER])],
    [op("replace", "schemas", [EXT.upper(), USER])],
    # An element that is there already, each part by its own case rule.
    [op("add", "emails", [{"value": "W@X.TEST", "type": "Work"}])],
    [op("add", f"{EXT}:manager", {"$ref": "../Users/1"})],
    [op("add", f"{EXT}:manager", {"$ref": f"{BASE}/Users/1"})],
    # Null is as no value.
    [op("remove", "phoneNumbers", None)],
    [op("remove", 'emails[type eq "other"]', None)],
    # A value that holds nothing says nothing of what is there.
    *(
        [op(name, *sent)]
        for name in ("add", "replace")
        for sent in (
            *(("name", {}), (EXT, {}), (f"{EXT}:manager", {}), (WORK, {})),
            *((None, {EXT: {}}), (None, {"name": {}}), (None, {})),
            *((f"{EXT}:manager", {"displayName": "X"}), ("emails", [{}])),
            *((None, {EXT: {"manager": {"displayName": "X"}}}), ("emails", {})),
        )
    ),
]


@pytest.mark.parametrize("operations", NO_CHANGE, ids=spelt)
def test_what_changes_nothing(people: Client, operations: list[Any]) -> None:
    """The version and lastModified stay as they are (§3.5.2.1, §3.14)."""
    attributes = emails(W | TRUE, H) | {"name": SMITH | ANN}
    attributes |= ext(SALES | {"manager": {"value": "1"}})
    before = people.user("bjensen", title="Dr", active=True, **attributes)
    reply = people.patch("/Users/2", *operations)
    assert reply.status == 200, reply.content
    assert reply.json == before == people.get("/Users/2").json


REFUSED: dict[str, list[dict[str, Any]]] = {
    "noTarget": [
        op("remove"),
        op("replace", 'emails[type eq "other"].value', "x@x.test"),
        op("replace", 'emails[type eq "other"]', {"value": "x@x.test"}),
        op("replace", 'phoneNumbers[type eq "work"].value', "1"),
        op("add", 'emails[value co "nobody"].display', "x"),
        op("add", 'emails[type eq "a" or type eq "b"].display', "x"),
        op("add", "emails[not (value pr)].display", "x"),
    ],
    "mutability": [
        *(op("remove", path) for path in ("userName", f"{USER}:USERNAME", "id")),
        *(op("remove", path) for path in ("meta", "groups", 'groups[value eq "x"]')),
        op("replace", "id", "other"),
        op("add", "meta.created", "2020-01-01T00:00:00Z"),
        op("replace", "meta", {"resourceType": "X"}),
        op("add", "groups", [{"value": "x"}]),
        op("add", value={"id": "other"}),
        op("replace", value={"groups": [{"value": "x"}]}),
        op("replace", value={"title": "Dr", "meta": {"version": "x"}}),
        op("replace", f"{EXT}:manager.displayName", "X"),
        *(op("remove", "schemas"), op("replace", "schemas", [EXT])),
        *(
            op("replace", value={"schemas": each})
            for each in ([EXT], ["urn:x"], [], None)
        ),
        op("remove", f'schemas[value eq "{USER}"]'),
        *(op("replace", "schemas", value) for value in (None, [])),
        *(op("replace", path, None) for path in ("userName", "id")),
    ],
    "invalidPath": [
        op("remove", 'title eq "Mr"'),
        *(
            op("replace", path, "x")
            for path in (
                "colour name.colour title.colour user_name name.familyName.first "
                f"{EXT}:colour urn:example:unknown:title .title name. name..familyName"
            ).split(" ")
        ),
        *(op("replace", WORK + tail, "x") for tail in (".colour", ".", "value", "]")),
        op("replace", 'emails[colour eq "red"].value', "x"),
        op("replace", "title title", "x"),
    ],
    "invalidFilter": [
        op("remove", f"emails[{filter}]")
        for filter in (
            *("type", "type eq", 'type is "work"', 'type eq "work" and', "type eq 5"),
            *('(type eq "work"', "type eq 'work'", "primary gt true", 'not type eq "x'),
        )
    ],
    "invalidValue": [
        op("remove", "title", "Mr"),
        op("add", "title"),
        op("replace", "title"),
        op("add", value="Dr"),
        op("replace", value=["title"]),
        *(op("replace", "title", value) for value in (5, {"value": "x"}, ["x", "y"])),
        *(op("replace", "active", value) for value in ("perhaps", 2, {})),
        *(op("replace", "name", value) for value in ("Ann", 5, {"givenName": [5]})),
        op("replace", "name.familyName", {"x": 1}),
        op("replace", "userName", ""),
        op("replace", "password", 5),
        *(op(name, "schemas", 5) for name in ("add", "replace")),
        op("replace", value={"schemas": 5}),
        *(op("add", "emails", value) for value in (5, [{"value": 5}], [[N]])),
        op("add", "emails", [N, {"value": "x", "primary": "on"}]),
        op("add", "addresses", ["Main Street"]),
        op("replace", f"{WORK}.value", 5),
        op("replace", f"{WORK}.primary", 7),
        op("replace", "emails.primary", True),
        op("add", "emails[type pr].primary", True),
        op("add", "emails[type pr]", TRUE),
        op("replace", value={"active": "perhaps"}),
        op("replace", EXT, "x"),
        op("replace", f"{EXT}:department", 5),
        op("replace", f"{EXT}:manager", {"value": "bulkId:x"}),
        op("add", "emails", [N | TRUE, W2 | TRUE]),
        op("replace", value={"emails": [N | TRUE, W2 | TRUE]}),
    ],
    "uniqueness": [
        op("replace", "userName", "TAKEN"),
        op("add", value={"userName": "taken"}),
    ],
}


@pytest.mark.parametrize(
    ("scim_type", "operation"),
    [
        pytest.param(scim_type, operation, id=f"{scim_type} {operation}")
        for scim_type, operations in REFUSED.items()
        for operation in operations
    ],
)
def test_refused_operations(
    people: Client, scim_type: str, operation: dict[str, Any]
) -> None:
    """The whole request fails and restores what was there (§3.5.2, §3.12)."""
    attributes = emails(W | TRUE, H) | MR | {"name": SMITH}
    attributes |= ext({"department": "R&D", "manager": {"value": "1"}})
    before = people.user("bjensen", **attributes)
    good = op("replace", "displayName", "changed"), op("add", "nickName", "N")
    for operations in ([operation], [*good, operation], [operation, *good]):
        reply = people.patch("/Users/2", *operations)
        assert_error(reply, 409 if scim_type == "uniqueness" else 400, scim_type)
        assert people.get("/Users/2").json == before


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Operations": []},
        {"Operations": {}},
        {"Operations": "add"},
        {"Operations": None},
        {"Operations": [5]},
        {"Operations": [[op("add", "title", "Dr")]]},
        {"Operations": [{"path": "title", "value": "Dr"}]},
        {"Operations": [op("", "title", "Dr")]},
        {"Operations": [op("move", "title", "Dr")]},
        {"Operations": [{"op": 5, "path": "title", "value": "Dr"}]},
        {"Operations": [{"op": None, "path": "title", "value": "Dr"}]},
    ],
    ids=repr,
)
def test_what_is_no_patch(people: Client, body: dict[str, Any]) -> None:
    """A body that is not a PatchOp is invalidSyntax (§3.5.2, Table 9)."""
    before = people.user("bjensen")
    body = {"schemas": [PATCH_OP]} | body
    assert_error(people.request("PATCH", "/Users/2", body), 400, "invalidSyntax")
    assert people.get("/Users/2").json == before
    assert_error(people.patch("/Users/9", op("add", "title", "Dr")), 404)
    assert_error(people.patch("/Users", op("add", "title", "Dr")), 405)


def test_operations_may_be_spelt_in_any_case(people: Client) -> None:
    """Names of attributes have no case, also in a message (RFC 7643 §2.1)."""
    people.user("bjensen")
    body = {"SCHEMAS": [PATCH_OP], "operations": [{"Op": "add", "Path": "title"}]}
    body["operations"][0]["VALUE"] = "Dr"
    assert people.request("PATCH", "/Users/2", body)["title"] == "Dr"


# --- Groups ---------------------------------------------------------------------------

BABS = "2819c223-7f76-453a-919d-413861904646"
JAMES = "08e1d05d-121c-4561-8b96-473d93df9210"
KEN = "6c5bb468-14b2-4183-baf2-06d523e03bd3"
GROUP_ID = "acbf3ae7-8463-4692-b4fd-9b4da3f908ce"


def sent(*ids: str) -> list[dict[str, Any]]:
    """Spell members as the RFC's examples do, with what is computed."""
    url = "https://example.com/v2/Users/"
    return [{"display": "sent", "$ref": url + id, "value": id} for id in ids]


B, K = (f'members[value eq "{id}"]' for id in (BABS, KEN))
B_OR_K = f'members[value eq "{BABS}" or value eq "{KEN}"]'
MEMBERS: list[tuple[list[str], list[Any], Any]] = [
    # The RFC's own examples.
    ([], [op("add", "members", sent(BABS))], [BABS]),
    ([BABS, JAMES], [op("remove", B)], [JAMES]),
    ([BABS, JAMES], [op("remove", "members")], []),
    ([BABS], [op("remove", B), op("add", "members", sent(JAMES))], [JAMES]),
    ([KEN], [op("remove", "members"), op("add", "members", sent(BABS))], [BABS]),
    ([KEN], [op("replace", "members", sent(BABS, JAMES))], [BABS, JAMES]),
    # Others; None means no change at all.
    ([BABS], [op("add", "members", sent(JAMES, BABS))], [BABS, JAMES]),
    ([], [op("add", "members", sent(BABS, BABS))], [BABS]),
    ([BABS], [op("add", "members", {"value": KEN})], [BABS, KEN]),
    ([BABS], [op("add", value={"members": sent(KEN)})], [BABS, KEN]),
    ([BABS], [op("replace", value={"members": sent(KEN), "id": GROUP_ID})], [KEN]),
    ([BABS], [op("replace", "members", [])], []),
    ([BABS, JAMES, KEN], [op("remove", B_OR_K)], [JAMES]),
    ([BABS], [op("remove", K)], None),
    ([], [op("remove", K)], None),
    ([BABS], [op("add", "members", sent(BABS))], None),
    ([BABS, KEN], [op("replace", "members", sent(BABS, KEN))], None),
    ([BABS], [op("replace", f"{B}.value", KEN)], "mutability"),
    ([BABS], [op("replace", f"{B}.display", "x")], "mutability"),
    ([BABS], [op("add", "members", [{"value": "bulkId:x"}])], "invalidValue"),
    ([BABS], [op("remove", "displayName")], "mutability"),
    ([BABS], [op("remove", "members[value]")], "invalidFilter"),
]


@pytest.mark.parametrize("tolerance", ["strict", "standard"])
@pytest.mark.parametrize(("before", "operations", "after"), MEMBERS)
def test_members(
    make_client: Callable[..., Client],
    before: list[str],
    operations: list[Any],
    after: Any,
    tolerance: str,
) -> None:
    """Members are known by value; the rest is computed (RFC 7643 §4.2)."""
    client = serve(make_client, tolerance, BABS, JAMES, KEN, GROUP_ID)
    shown = {}
    for id, name in ((BABS, "Babs Jensen"), (JAMES, "James Smith"), (KEN, "Ken")):
        client.user(name, displayName=name)
        shown[id] = {
            "value": id,
            "$ref": f"{BASE}/Users/{id}",
            "type": "User",
            "display": name,
        }
    group = client.group("TourGuides", *before)
    path = f"/Groups/{GROUP_ID}"
    reply = client.patch(path, *operations)
    if isinstance(after, str):
        assert_error(reply, 400, after)
        assert client.get(path).json == group
        return
    assert reply.status == 200, reply.content
    assert client.get(path).json == reply.json
    if after is None:
        assert reply.json == group
        return
    assert reply.json.get("members", []) == [shown[id] for id in after]
    assert reply["meta"]["version"] != group["meta"]["version"]
    for id in shown:
        groups = client.get(f"/Users/{id}").json.get("groups", [])
        assert [each["value"] for each in groups] == [GROUP_ID] * (id in after)


# --- Answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "prefer", "status"),
    [
        ({}, "return=minimal", 204),
        ({}, "respond-async, return=minimal; foo=bar", 204),
        ({}, "return=representation", 200),
        ({"attributes": "title"}, "return=minimal", 200),
    ],
)
def test_answers(
    people: Client, query: dict[str, str], prefer: str, status: int
) -> None:
    """204 on demand, but 200 when attributes are asked for (§3.5.2, RFC 7240)."""
    people.user("bjensen")
    change, headers = op("add", "title", "Dr"), {"Prefer": prefer}
    reply = people.patch("/Users/2", change, headers=headers, **query)
    now = people.get("/Users/2")
    assert reply.status == status, reply.content
    assert now["title"] == "Dr"
    assert reply.headers["ETag"] == now.headers["ETag"]
    if status == 204:
        assert reply.content == b""
    elif query:
        assert set(reply.json) == {"schemas", "id", "title"}
    else:
        assert reply.json == now.json


@pytest.mark.parametrize(
    "operation",
    [
        op("add", "password", "new"),
        op("replace", "password", "new"),
        op("replace", value={"password": "new"}),
        op("add", f"{USER}:Password", "new"),
    ],
    ids=repr,
)
def test_passwords(people: Client, operation: dict[str, Any]) -> None:
    """A password is a change, and is never shown (RFC 7643 §4.1.1, §7)."""
    before = people.user("bjensen", password="old")
    reply = people.patch("/Users/2", operation)
    assert reply.status == 200, reply.content
    assert reply["meta"].pop("version") != before["meta"].pop("version")
    assert reply["meta"].pop("lastModified") != before["meta"].pop("lastModified")
    assert reply.json == before


# --- Schemas of one's own -------------------------------------------------------------

ITEM = "urn:example:item"
KINDS = ("string", "boolean", "integer", "decimal", "dateTime", "binary", "reference")
VALUES: dict[str, list[Any]] = {
    "string": ["red", "blue"],
    "boolean": [True, False],
    "integer": [1, 2],
    "decimal": [1.5, 2.5],
    "dateTime": ["2011-05-13T04:42:34Z", "2012-05-13T04:42:34Z"],
    "binary": ["YWI=", "YWM="],
    "reference": ["https://a.example/1", "https://a.example/2"],
}


def attribute(name: str, type: str = "string", **more: Any) -> dict[str, Any]:
    """Spell an attribute of a schema."""
    return {"name": name, "type": type, **more}


def serve_items(
    make_client: Callable[..., Client], *attributes: Any, **options: Any
) -> Client:
    """Serve a resource type whose schema has these attributes."""
    schema = {"id": ITEM, "name": "Item", "attributes": [*attributes]}
    type = {"name": "Item", "endpoint": "/Items", "schema": ITEM}
    return make_client(schemas=[schema], resource_types=[type], **options)


def item(client: Client, **attributes: Any) -> str:
    """Make an item and return its path."""
    reply = client.post("/Items", {"schemas": [ITEM], **attributes})
    assert reply.status == 201, reply.content
    return f"/Items/{reply['id']}"


def body_of(client: Client, path: str) -> dict[str, Any]:
    """Return what an item shows besides its common attributes."""
    common = ("schemas", "id", "meta")
    return {k: v for k, v in client.get(path).json.items() if k not in common}


TAGS = attribute("tags", multiValued=True)
KEYS = attribute(
    "keys",
    "complex",
    multiValued=True,
    subAttributes=[
        attribute("value"),
        attribute("uses", multiValued=True),
        attribute("serial", mutability="readOnly"),
    ],
)
SPARE = {"value": "b", "uses": ["x"]}
A_KEY = 'keys[value eq "a"].uses'
OWN: list[tuple[dict[str, Any], Any]] = [  # an operation; what is there after it
    (op("add", 'tags[value eq "red"].value', "green"), ["green", "blue"]),
    (op("replace", 'tags[value eq "red"].value', "green"), ["green", "blue"]),
    (op("replace", 'tags[value eq "red"]', "BLUE"), ["blue"]),
    (op("remove", 'tags[value eq "red"].value'), ["blue"]),
    (op("remove", "tags", ["RED"]), ["blue"]),
    (op("remove", "tags", {"tags": "red"}), ["blue"]),
    (op("add", "tags", ["Red"]), ["red", "blue"]),
    (op("replace", 'tags[value eq "red"]', None), ["blue"]),
    (op("remove", "keys.uses", ["X"]), [{"value": "a", "uses": ["y"]}, {"value": "b"}]),
    (op("remove", "keys", [{"uses": ["y", "x"]}]), [SPARE]),
    (op("remove", A_KEY, "X"), [{"value": "a", "uses": ["y"]}, SPARE]),
    (op("remove", A_KEY, ["x", "y"]), [{"value": "a"}, SPARE]),
    (op("remove", A_KEY, "z"), None),
    (op("remove", 'keys[value eq "c"].uses', "x"), None),
    (op("remove", "keys", [{"value": "a", "serial": "5"}]), None),
    (op("replace", 'keys[value eq "a"]', {"serial": None}), None),
    (op("replace", "keys", [{"serial": None}, {}]), None),
    (op("replace", "keys", [None]), None),
    (op("add", "keys", [{"value": "A", "uses": ["Y", "x"]}]), None),
    (op("replace", 'keys[value eq "a"].uses', []), [{"value": "a"}, SPARE]),
    (op("replace", "keys.uses", ["z"]), [{"value": x, "uses": ["z"]} for x in "ab"]),
]


def test_what_a_refusal_says_to_send(client: Client) -> None:
    """What is missing is said to be missing, and what to send instead."""
    path = f"/Users/{client.user('ann', title='Dr')['id']}"
    detail = assert_error(client.patch(path, {"path": "title"}), 400, "invalidSyntax")
    assert "'op' is missing" in detail and '"remove"' in detail
    detail = assert_error(client.patch(path, op("remove", "title", "x")), 400, INVALID)
    assert "which has one value" in detail and "send the path alone" in detail
    one = op("remove", 'emails[type eq "work"].value', "x")
    detail = assert_error(client.patch(path, op("add", "emails", W), one), 400, INVALID)
    assert "which has one value" in detail
    job = {"schemas": [BULK], "Operations": [{"path": "/Users/1"}]}
    (result,) = client.post("/Bulk", job)["Operations"]
    assert "'method' is missing" in result["response"]["detail"]


INVALID = "invalidValue"
BOX = attribute(
    "box",
    "complex",
    subAttributes=[attribute("serial", mutability="readOnly"), attribute("a")],
)
FIXED = attribute(
    "fixed",
    "complex",
    mutability="readOnly",
    subAttributes=[attribute("serial"), attribute("a")],
)


@pytest.mark.parametrize("name", ["add", "replace"])
def test_read_only_within_complex_values(
    make_client: Callable[..., Client], name: str
) -> None:
    """Another value than is shown is refused by path and within (§3.5.2).

    "A client MUST NOT modify an attribute that has mutability "readOnly"", and
    "unassigned" and null are equivalent (RFC 7643 §2.5).
    """
    client = serve_items(make_client, KEYS, BOX, FIXED)
    path = item(client, keys=[{"value": "a"}], box={"a": "1"})
    before = client.get(path)
    sent = {"serial": "5"}
    for operation in (
        op(name, "box.serial", "5"),
        op(name, "box", sent),
        op(name, "box", {"a": "2", "SERIAL": "5"}),
        op(name, value={"box": sent}),
        op(name, "keys", [{"value": "b"} | sent]),
        op(name, "keys", sent),
        op(name, 'keys[value eq "a"]', sent),
        op(name, 'keys[value eq "a"].serial', "5"),
        op(name, "fixed", sent),
        op(name, "fixed", {"a": None} | sent),
        op(name, value={"fixed": sent}),
    ):
        detail = assert_error(client.patch(path, operation), 400, "mutability")
        assert "readOnly" in detail
        assert client.get(path).json == before.json
    for operation in (
        op(name, "box.serial", None),
        op(name, "box", {"serial": None}),
        op(name, "box", {"serial": None, "a": "1"}),
        op(name, "keys", [{"value": "a", "serial": None}]),
        op(name, "fixed.serial", None),
        op(name, "fixed", {"serial": None}),
        op(name, value={"fixed": {"serial": None, "a": None}}),
    ):
        assert client.patch(path, operation).status == 200, operation
        assert client.get(path).json == before.json
    whole = {"schemas": [ITEM], "box": {"a": "1"} | sent, "keys": [{"value": "a"}]}
    assert client.put(path, whole).status == 200  # there it is ignored (§3.5.1)


@pytest.mark.parametrize(("operation", "after"), OWN, ids=lambda row: str(row)[:60])
def test_own_attributes_with_many_values(
    make_client: Callable[..., Client], operation: dict[str, Any], after: Any
) -> None:
    """Simple elements are their `value`; None stands for no change (§3.5.2)."""
    client = serve_items(make_client, TAGS, KEYS)
    held = {
        "tags": ["red", "blue"],
        "keys": [{"value": "a", "uses": ["x", "y"]}, SPARE],
    }
    path = item(client, **held)
    before = client.get(path)
    reply = client.patch(path, operation)
    assert reply.status == 200, reply.content
    name = operation["path"][:4]
    assert body_of(client, path) == (held if after is None else held | {name: after})
    if after is None or after == held[name]:
        assert reply.json == before.json


@pytest.mark.parametrize("tolerance", ["strict", "standard", "lenient"])
def test_any_operation_on_any_schema(
    make_client: Callable[..., Client], tolerance: str
) -> None:
    """No PATCH is answered 500, and none changes another attribute (§3.12)."""
    random = Random(7644)
    for _ in range(40):
        traits = [(kind, many) for kind in (*KINDS, "complex") for many in (0, 1)]
        attributes, held = [attribute("beside")], {"beside": "stays"}
        for place, (kind, many) in enumerate(random.sample(traits, 6)):
            mutability = random.choice(("readWrite",) * 3 + ("immutable", "writeOnly"))
            more: dict[str, Any] = {"multiValued": bool(many), "mutability": mutability}
            if kind == "complex":
                more["subAttributes"] = [
                    attribute(
                        name,
                        random.choice(KINDS),
                        multiValued=random.random() < 0.3,
                        mutability=random.choice(
                            ("readWrite", "immutable", "readOnly")
                        ),
                    )
                    for name in random.sample(("value", "type", "primary", "$ref"), 2)
                ]
            attributes.append(attribute(f"a{place}", kind, **more))

        def one(attribute: dict[str, Any], whole: bool = True) -> Any:
            if whole and attribute.get("multiValued"):
                return [one(attribute, False) for _ in range(random.randint(0, 2))]
            if attribute["type"] == "complex":
                return {x["name"]: one(x) for x in attribute["subAttributes"]}
            return random.choice(VALUES[attribute["type"]])

        client = serve_items(make_client, *attributes, tolerance=tolerance)
        path = item(client, **held)
        for _ in range(60):
            chosen = random.choice(attributes[1:])
            subs = [x["name"] for x in chosen.get("subAttributes", [])] or ["value"]
            sub = random.choice(subs)
            literal = random.choice(['"red"', "true", "1", "null", '"YWI="'])
            where = random.choice(("", "", f"[{sub} eq {literal}]", f"[{sub} pr]"))
            tail = random.choice(("", f".{random.choice(subs)}"))
            values = [one(chosen), one(chosen, False), None, [], {}, "", [{}], [None]]
            values += [[[]], {sub: None}, {sub: []}, {sub: {}}, {"value": "red"}, 5]
            values += [{chosen["name"]: one(chosen)}, NOTHING]
            sent = random.choice(values)
            name = random.choice(("add", "replace", "remove"))
            operation = op(name, chosen["name"] + where + tail, sent)
            before = body_of(client, path)
            reply = client.patch(path, operation)
            assert reply.status in (200, 400, 403), (operation, reply.content)
            after = body_of(client, path)
            touched = {k for k in before | after if before.get(k) != after.get(k)}
            assert touched <= {chosen["name"]}, operation
            if reply.status != 200:
                assert not touched
            if sent == {} and name != "remove":
                assert not touched, operation


@pytest.mark.parametrize("tolerance", ["standard", "lenient"])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (EXT, {"jobCode": "7"}),
        (None, {EXT: {"jobCode": "7"}}),
        (f"{EXT}:manager", {"displayName": "X", "colour": "red"}),
        ("name", {"colour": "red"}),
        (WORK, {"verified": True}),
        ("emails", [{"verified": True}]),
        (None, {"emails": [{"verified": True}, {}]}),
    ],
)
@pytest.mark.parametrize("name", ["add", "replace"])
def test_a_value_of_which_nothing_is_known(
    make_client: Callable[..., Client], tolerance: str, name: str, path: Any, value: Any
) -> None:
    """What is dropped of a value leaves what was there (unknown-attribute)."""
    client = make_client(tolerance=tolerance)
    boss = client.user("boss")
    held = emails(W, H) | {"name": SMITH}
    held |= ext(SALES | {"manager": {"value": boss["id"]}})
    before = client.user("bjensen", **held)
    reply = client.patch(f"/Users/{before['id']}", op(name, path, value))
    assert reply.status == 200, reply.content
    assert reply.headers["Scim-Deviation"] == "unknown-attribute"
    assert reply.json == before


@pytest.mark.parametrize("name", ["add", "replace"])
@pytest.mark.parametrize("value", [{}, {"display": "B"}, {"type": "User"}])
def test_a_member_whose_value_is_not_sent(
    client: Client, name: str, value: Any
) -> None:
    """The member stays: what is computed is dropped, and nothing else was sent."""
    id = client.user("bjensen")["id"]
    group = client.group("crew", id)
    path = f"/Groups/{group['id']}"
    assert (
        client.patch(path, op(name, f'members[value eq "{id}"]', value)).json == group
    )


class Vault(Store):
    """A store that remembers which secrets it was given."""

    def keep_secrets(
        self, type: ResourceType, resource: Resource, values: Mapping[str, Any]
    ) -> None:
        """Remember the values by path."""
        GIVEN.append(dict(values))


GIVEN: list[dict[str, Any]] = []
SECRETS = (
    attribute("pin", returned="never", mutability="writeOnly"),
    attribute("code", mutability="writeOnly", required=True),
    attribute(
        "box", "complex", subAttributes=[attribute("key", returned="never"), TAGS]
    ),
    attribute("safe", "complex", returned="never", subAttributes=[attribute("key")]),
    attribute(
        "cards",
        "complex",
        multiValued=True,
        subAttributes=[attribute("type"), attribute("pin", returned="never")],
    ),
)


@pytest.mark.parametrize(
    ("operations", "given"),
    [
        ([op("remove", "pin")], {"pin": None}),
        ([op("replace", "pin", None)], {"pin": None}),
        (
            [op("add", value={"pin": None, "box": {"key": None}})],
            {"pin": None, "box.key": None},
        ),
        ([op("remove", "box")], {"box.key": None}),
        ([op("remove", "box.key")], {"box.key": None}),
        ([op("remove", "pin"), op("add", "pin", "2")], {"pin": "2"}),
        ([op("add", "pin", "2"), op("remove", "pin")], {"pin": None}),
        ([op("replace", "box", {})], None),
        ([op("replace", "safe", {})], None),
        ([op("replace", "safe", None)], {"safe": None}),
        ([op("remove", 'cards[type eq "none"]')], None),
        ([op("remove", 'cards[type eq "a"]')], None),
        ([op("remove", "cards[type pr]")], {"cards.pin": None}),
        ([op("remove", "cards", [{"type": "none"}])], None),
        ([op("remove", "code")], "mutability"),
        ([op("replace", "code", None)], "mutability"),
    ],
)
def test_the_store_learns_which_secrets_are_gone(
    make_client: Callable[..., Client], operations: list[Any], given: Any
) -> None:
    """A removed secret comes as None; one that is required stays (§3.5.2.2)."""
    client = serve_items(make_client, *SECRETS, store=Vault)
    cards = [{"type": "a", "pin": "4"}, {"type": "b", "pin": "5"}]
    path = item(client, pin="1", code="2", box={"key": "3"}, cards=cards)
    GIVEN.clear()
    reply = client.patch(path, *operations)
    if given == "mutability":
        assert_error(reply, 400, given)
    assert ([given] if isinstance(given, dict) else []) == GIVEN


def test_a_put_with_null_clears_a_secret(make_client: Callable[..., Client]) -> None:
    """One that is left out stays, as nobody can send back what is never returned."""
    client = serve_items(make_client, *SECRETS, store=Vault)
    path = item(client, pin="1", code="2")
    for sent, given in (
        ({}, {"code": "2"}),
        ({"PIN": None}, {"pin": None, "code": "2"}),
    ):
        GIVEN.clear()
        assert client.put(path, {"schemas": [ITEM], "code": "2"} | sent).status == 200
        assert [given] == GIVEN


def test_a_read_only_attribute_of_an_extension(
    make_client: Callable[..., Client],
) -> None:
    """It is refused inside the extension's object as by its path (§3.5.2)."""
    urn = "urn:example:more"
    schemas = [
        {"id": ITEM, "name": "Item", "attributes": [attribute("name")]},
        {
            "id": urn,
            "name": "More",
            "attributes": [attribute("serial", mutability="readOnly"), attribute("a")],
        },
    ]
    extended = {"schemaExtensions": [{"schema": urn, "required": False}]}
    type = {"name": "Item", "endpoint": "/Items", "schema": ITEM} | extended
    client = make_client(schemas=schemas, resource_types=[type])
    path = item(client, name="x")
    for sent in (
        op("replace", f"{urn}:serial", "5"),
        op("replace", urn, {"serial": "5"}),
        op("add", value={urn: {"a": "1", "serial": "5"}}),
    ):
        assert_error(client.patch(path, sent), 400, "mutability")
    reply = client.patch(path, op("add", value={urn: {"a": "1", "serial": None}}))
    assert reply[urn] == {"a": "1"}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_immutable_value_in_another_spelling(
    make_client: Callable[..., Client], method: str
) -> None:
    """It matches as it compares elsewhere, and the stored spelling stays (§3.5.1)."""
    held = {"owner": "Ann", "tags": ["a", "b"], "since": "2011-05-13T04:42:34Z"}
    fixed = {"mutability": "immutable"}
    client = serve_items(
        make_client,
        *(attribute("owner", **fixed), TAGS | fixed),
        attribute("since", "dateTime", **fixed),
    )
    path = item(client, **held)
    before = client.get(path).json

    def write(sent: dict[str, Any]) -> Any:
        if method == "PUT":
            return client.put(path, {"schemas": [ITEM], **sent})
        return client.patch(path, op("replace", value=sent))

    same = {"owner": "ANN", "tags": ["B", "a"], "since": "2011-05-13T06:42:34.0+02:00"}
    reply = write(same)
    assert reply.status == 200, reply.content
    assert reply.json == before
    for other in ({"owner": "Bo"}, {"tags": ["a"]}, {"since": "2012-05-13T04:42:34Z"}):
        assert_error(write(other), 400, "mutability")
    assert client.get(path).json == before


def test_many_operations(client: Client) -> None:
    """A PATCH has a limit, and below it takes time in line with its size."""
    path = f"/Users/{client.user('bjensen')['id']}"
    many = [op("add", "emails", [{"value": f"{x}@x.example"}]) for x in range(1001)]
    assert "1000" in assert_error(client.patch(path, *many), 413)
    many.pop()
    assert len(client.patch(path, *many)["emails"]) == 1000
    gone = [{"value": f"{x}@x.example"} for x in range(999)]
    assert len(client.patch(path, op("remove", "emails", gone))["emails"]) == 1


# --- many operations, many elements ---------------------------------------------------


def test_removes_in_a_row(client: Client) -> None:
    """A thousand removes by filter are carried out as one, other ones in their turn."""
    group = client.group("crew", *(f"m{number}" for number in range(3000)))
    path = f"/Groups/{group['id']}"
    removes = [
        {"op": "remove", "path": f'members[value eq "m{number}"]'}
        for number in range(997)
    ]
    add = {"op": "add", "path": "members", "value": [{"value": "m5"}]}
    last = {"op": "remove", "path": 'members[value eq "m2999"]'}
    reply = client.patch(path, *removes, add, last)
    left = [each["value"] for each in reply["members"]]
    assert left == [*(f"m{number}" for number in range(997, 2999)), "m5"]
    removes = [
        {"op": "remove", "path": f'members[value eq "{each}"]'} for each in left[:999]
    ]
    assert len(client.patch(path, *removes, last)["members"]) == len(left) - 999


def test_so_many_elements(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value filters look at a limited number of elements, and nothing is half done."""
    monkeypatch.setattr(scim2_server, "MAX_ELEMENTS", 100)
    emails = [{"value": f"e{number}@x.example"} for number in range(30)]
    user = client.user("ann", emails=emails)
    path = f"/Users/{user['id']}"
    change = {"op": "add", "path": 'emails[value ew "x.example"].type', "value": "w"}
    assert client.patch(path, *[change] * 3).status == 200
    before = client.get(path).json
    other = change | {"value": "h"}
    assert "100" in assert_error(client.patch(path, *[other] * 4), 413)
    terms = " or ".join(['value co "e" or value eq "f"'] * 2)
    other["path"] = f"emails[{terms}].type"  # each element is compared four times
    assert "each comparison" in assert_error(client.patch(path, other), 413)
    assert client.get(path).json == before
