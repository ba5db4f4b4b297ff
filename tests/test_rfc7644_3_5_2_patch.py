"""Modifying resources with PATCH (RFC 7644 §3.5.2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from conftest import ENTERPRISE, PATCH_OP, USER, Client, assert_error

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
