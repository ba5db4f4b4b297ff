"""Departures from the RFCs: accepted by name, or refused with nothing changed.

A row of ``ROWS`` is a request, the codes that it needs, and the state afterwards.
``test_rows`` sends it at each tolerance, and with its codes accepted and refused one by
one. A row without codes is no deviation: every level takes it, and says nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from conftest import (
    BULK,
    ENTERPRISE,
    GROUP,
    PATCH_OP,
    SEARCH,
    USER,
    Client,
    Reply,
    assert_error,
)
from wire import Wire, message

from scim2_server import DEVIATIONS, create_app, running_server

BASE = "http://localhost/v2"
LEVELS = ("strict", "standard", "lenient")
TABLE: dict[str, tuple[str, str]] = {  # code: accepted from, refused with
    "op-case": ("standard", "invalidSyntax"),
    "boolean-as-string": ("standard", "invalidValue invalidFilter"),
    "boolean-as-number": ("lenient", "invalidValue invalidFilter"),
    "remove-with-value": ("standard", "invalidValue"),
    "add-creates": ("standard", "noTarget"),
    "replace-creates": ("lenient", "noTarget"),
    "value-for-complex": ("standard", "invalidValue"),
    "empty-clears": ("standard", "invalidValue"),
    "path-as-key": ("standard", "invalidPath"),
    "unknown-key": ("standard", "invalidSyntax"),
    "unknown-attribute": ("standard", "invalidSyntax"),
    "unknown-path": ("lenient", "invalidPath"),
    "unqualified-attribute": ("standard", "invalidPath invalidFilter invalidValue"),
    "unknown-filter-attribute": ("lenient", "invalidFilter"),
    "unknown-schema": ("standard", "invalidSyntax"),
    "array-for-single": ("standard", "invalidValue"),
    "single-for-array": ("lenient", "invalidValue"),
    "path-compare": ("standard", "invalidFilter"),
    "unquoted-value": ("lenient", "invalidFilter"),
    "filter-spacing": ("standard", "invalidFilter invalidPath invalidValue"),
    "urn-dot": ("standard", "invalidFilter invalidPath invalidValue"),
    "value-format": ("standard", "invalidValue"),
    "number-as-string": ("lenient", "invalidValue invalidFilter"),
    "missing-schemas": ("standard", "invalidSyntax"),
    "undeclared-extension": ("standard", "invalidSyntax"),
    "dangling-reference": ("standard", "invalidValue"),
    "duplicate-json-key": ("standard", "invalidSyntax"),
    "list-as-string": ("standard", "invalidSyntax"),
    "unknown-selection": ("standard", "invalidValue"),
    "repeated-parameter": ("standard", "invalidValue"),
    "endpoint-case": ("standard", "404"),
}


def accepted_at(level: str, code: str) -> bool:
    """Say whether the table accepts this code at this level."""
    return LEVELS.index(level) >= LEVELS.index(TABLE[code][0])


# --- A small world --------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A request on the world below, its codes, and what is there afterwards."""

    codes: str
    method: str
    path: str
    body: Any = None
    after: Any = None
    look: str = ""  # the resource whose state is ``after``; without, the ids found
    before: Mapping[str, Any] = field(default_factory=dict)  # attributes of user u1
    members: tuple[str, ...] = ("u1", "u2")  # of group G1
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # scimTypes by code

    def __str__(self) -> str:
        sent = self.query if self.body is None else self.body
        if isinstance(sent, dict) and "Operations" in sent:
            sent = [sent["Operations"], *sorted(sent.keys() - {"schemas"})[1:]]
        text = f"{self.codes or 'rfc'} {self.method} {self.path} {sent}"
        return text.replace(ENTERPRISE, "ENTERPRISE").replace(USER, "USER")[:150]

    def scim_type(self, code: str) -> str:
        """Answer the scimType of a refusal of this code."""
        return self.refused.get(code) or TABLE[code][1].split()[0]


def ticking() -> Callable[[], datetime]:
    """Make a clock that goes a second ahead at each look."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return (start + timedelta(seconds=tick) for tick in count()).__next__


def serve(
    before: Mapping[str, Any] = {},
    members: tuple[str, ...] = ("u1", "u2"),
    **options: Any,
) -> tuple[Any, Client]:
    """Serve users u7, u1 and u2 and group G1; what is made later is n1, n2, ..."""
    ids = iter(["u7", "u2", "u1", "G1", *map("n{}".format, range(1, 100))])
    app = create_app(clock=ticking(), new_id=ids.__next__, **options)
    client = Client(app)
    client.user("boss", displayName="Boss")
    accounts = {"department": "Accounts"}
    client.user("bob", displayName="Bob", active=False, **{ENTERPRISE: accounts})
    client.user("ann", **before)
    client.group("crew", *members)
    return app, client


def everything(client: Client) -> dict[str, Any]:
    """Answer all resources as they are shown, by id."""
    return {each["id"]: each for each in client.get("", count=1000)["Resources"]}


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


def shown(resource: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the server itself adds."""
    added = ("schemas", "id", "meta", "groups")
    return tidy({k: v for k, v in resource.items() if k not in added})  # type: ignore


def codes_of(reply: Reply) -> set[str]:
    """Read the header of deviations, and check how it is written."""
    if "Scim-Deviation" not in reply.headers:
        return set()
    header = reply.headers["Scim-Deviation"]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*(, [a-z]+(-[a-z]+)*)*", header), header
    codes = header.split(", ")
    assert len(codes) == len(set(codes)), header
    return set(codes)


def assert_names(detail: str, code: str) -> None:
    """Check that the refusal names the code, the RFC's section and the option."""
    assert f"--accept {code}" in detail, detail
    assert re.search(r"RFC 764[34]", detail) and "§" in detail, detail


# --- Spelling rows --------------------------------------------------------------------

NOTHING = object()
IN_FILTER = dict.fromkeys(
    ("boolean-as-string", "boolean-as-number", "unqualified-attribute"), "invalidFilter"
)
EXT, MANAGER = ENTERPRISE, f"{ENTERPRISE}:manager"
W = {"type": "work", "value": "w@x.example"}
H = {"type": "home", "value": "h@x.example"}
N = {"type": "work", "value": "n@x.example"}
WORK, HOME = 'emails[type eq "work"]', 'emails[type eq "home"]'
SMITH, IDA = {"familyName": "Smith"}, {"givenName": "Ida"}
DR, LEAD = {"title": "Dr"}, {"title": "Lead"}
ADMIN, TRUE = {"value": "admin"}, {"primary": True}
SALES = {"department": "Sales"}
BOSS = {"value": "u7", "$ref": f"{BASE}/Users/u7", "displayName": "Boss"}
AFTER_BOSS = {EXT: {"manager": BOSS}}
AZURE = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
DISPLAYS = {"u2": {"display": "Bob"}, "u7": {"display": "Boss"}}


def emails(*values: Any) -> dict[str, Any]:
    """Spell the attributes of a user with these e-mails only."""
    return {"emails": [*values]}


def op(name: str, /, path: str | None = None, value: Any = NOTHING, **more: Any) -> Any:
    """Spell one operation of a PATCH."""
    operation: dict[str, Any] = {"op": name}
    if path is not None:
        operation["path"] = path
    if value is not NOTHING:
        operation["value"] = value
    return operation | more


def patch_op(*operations: Any, **more: Any) -> dict[str, Any]:
    """Spell a PatchOp."""
    return {"schemas": [PATCH_OP], "Operations": [*operations]} | more


def user(
    codes: str, before: Any, operations: Any, after: Any, refused: Any = None
) -> Row:
    """Spell a PATCH of user u1 with these attributes before and after."""
    body = operations
    if not isinstance(operations, bytes) and "schemas" not in operations:
        listed = operations if isinstance(operations, list) else [operations]
        body = patch_op(*listed)
    sent = ("PATCH", "/Users/u1", body, {"userName": "ann"} | after, "/Users/u1")
    return Row(codes, *sent, before=before, refused=refused or {})


def value(codes: str, before: Any, attributes: Any, after: Any) -> Iterator[Row]:
    """Spell a PATCH without a path, by ``add`` and by ``replace``."""
    for name in ("add", "replace"):
        yield user(codes, before, op(name, value=attributes), after)


def member(value: str) -> dict[str, Any]:
    """Spell a member as it is shown."""
    if value not in ("u1", "u2", "u7"):
        return {"value": value}
    ref = {"$ref": f"{BASE}/Users/{value}", "type": "User"}
    return {"value": value} | ref | DISPLAYS.get(value, {})


def team(displayName: str, *members: str) -> dict[str, Any]:
    """Spell a group as it is shown."""
    group: dict[str, Any] = {"displayName": displayName}
    return group | ({"members": [*map(member, members)]} if members else {})


def group(
    codes: str, operations: Any, *after: str, members: Any = ("u1", "u2"), name="crew"
) -> Row:
    """Spell a PATCH of group G1 that has these members afterwards."""
    listed = operations if isinstance(operations, list) else [operations]
    look = "/Groups/G1"
    sent = (patch_op(*listed), team(name, *after), look)
    return Row(codes, "PATCH", look, *sent, members=members)


def removal(value: Any, *after: str, codes: str = "remove-with-value") -> Row:
    """Spell a removal of members that carries a value."""
    return group(codes, op("remove", "members", value), *after)


def body(
    codes: str, attributes: Any, after: Any, schemas: Any = (USER,)
) -> Iterator[Row]:
    """Spell a POST of a new user and a PUT of user u1 with these attributes."""
    for method, path, look, name in (
        ("POST", "/Users", "/Users/n1", "new"),
        ("PUT", "/Users/u1", "/Users/u1", "ann"),
    ):
        sent = {"userName": name, **attributes}
        if schemas is not None:
            sent = {"schemas": [*schemas]} | sent
        expected = {"userName": name} | after
        yield Row(codes, method, path, sent, expected, look, LEAD | emails(H))


def group_body(
    codes: str, attributes: Any, *after: str, schemas: Any = (GROUP,)
) -> Iterator[Row]:
    """Spell a POST of a new group and a PUT of group G1."""
    for method, path, look in (
        ("POST", "/Groups", "/Groups/n1"),
        ("PUT", "/Groups/G1", "/Groups/G1"),
    ):
        sent = {"displayName": "squad", **attributes}
        if schemas is not None:
            sent = {"schemas": [*schemas]} | sent
        yield Row(codes, method, path, sent, team("squad", *after), look)


PERSON = LEAD | {
    "active": True,
    "emails": [W | TRUE, H],
    "roles": [ADMIN | TRUE],
    EXT: SALES | {"manager": {"value": "u7"}},
}


def query(
    codes: str, query: Any, ids: str, path: str = "/Users", refused: Any = IN_FILTER
) -> Iterator[Row]:
    """Spell a query, as GET and as .search, that finds these ids."""
    if isinstance(query, str):
        query = {"filter": query}
    more = {"before": PERSON, "refused": refused}
    yield Row(codes, "GET", path, None, ids, query=query, **more)
    search = {"schemas": [SEARCH], **query}
    yield Row(codes, "POST", f"{path}/.search", search, ids, **more)


def raw(text: str) -> bytes:
    """Spell JSON whose keys need not be distinct."""
    for name, urn in (("USER", USER), ("PATCHOP", PATCH_OP), ("SEARCH", SEARCH)):
        text = text.replace(f"<{name}>", f'"schemas": ["{urn}"]')
    return text.encode()


# --- The rows -------------------------------------------------------------------------

OP_CASE = [
    user("op-case", {}, op("Replace", "title", "Dr"), DR),
    user("op-case", LEAD, op("REPLACE", "title", "Dr"), DR),
    user("op-case", LEAD, op("rePlace", value=DR), DR),
    user("op-case", emails(W), op("Add", "emails", [H]), emails(W, H)),
    user("op-case", LEAD, op("Remove", "title"), {}),
    user("op-case", LEAD, [op("Remove", "title"), op("Add", "title", "Dr")], DR),
    group("op-case", op("Add", "members", [{"value": "u7"}]), "u1", "u2", "u7"),
    group("op-case", op("Remove", 'members[value eq "u1"]'), "u2"),
    group("op-case", op("Replace", "displayName", "squad"), "u1", "u2", name="squad"),
]

BOOLEANS = [
    *body("boolean-as-string", {"active": "False"}, {"active": False}),
    *body("boolean-as-string", {"active": "true"}, {"active": True}),
    *body("boolean-as-string", {"active": "TRUE"}, {"active": True}),
    *body("boolean-as-string", emails(W | {"primary": "True"}), emails(W | TRUE)),
    *body("boolean-as-number", {"active": 0}, {"active": False}),
    *body("boolean-as-number", {"active": 1}, {"active": True}),
    *body("boolean-as-number", emails(W | {"primary": 1}), emails(W | TRUE)),
    *(
        row
        for code, yes, no in (
            ("boolean-as-string", "True", "False"),
            ("boolean-as-string", "true", "fAlSe"),
            ("boolean-as-number", 1, 0),
        )
        for row in (
            user(code, {}, op("add", "active", yes), {"active": True}),
            user(
                code,
                {"active": True},
                op("replace", "active", no),
                {"active": False},
            ),
            *value(code, {"active": True}, {"active": no}, {"active": False}),
            *value(
                code,
                {},
                {"roles": [ADMIN | {"primary": yes}]},
                {"roles": [ADMIN | TRUE]},
            ),
            user(
                code,
                emails(W | TRUE, H),
                op("replace", f"{HOME}.primary", yes),
                emails(W, H | TRUE),
            ),
            user(
                code,
                {"roles": [ADMIN | TRUE, {"value": "x"}]},
                op("replace", f"roles[primary eq {json.dumps(yes)}].value", "chief"),
                {"roles": [{"value": "chief", "primary": True}, {"value": "x"}]},
                IN_FILTER,
            ),
            user(
                code,
                {"roles": [ADMIN | TRUE, {"value": "x"}]},
                op("remove", f"roles[primary eq {json.dumps(yes)}]"),
                {"roles": [{"value": "x"}]},
                IN_FILTER,
            ),
            *query(code, f"active eq {json.dumps(yes)}", "u1"),
            *query(code, f"active eq {json.dumps(no)}", "u2"),
            *query(code, f"active ne {json.dumps(yes)}", "u2 u7"),
            *query(code, f"roles[primary eq {json.dumps(yes)}]", "u1"),
            *query(code, f"emails.primary eq {json.dumps(yes)}", "u1"),
            *query(code, f"title pr and not (active eq {json.dumps(no)})", "u1"),
        )
    ),
]

REMOVALS = [
    removal([{"$ref": None, "value": "u1"}], "u2"),
    removal([{"value": "u1"}], "u2"),
    removal([{"value": "u1", "display": None, "type": None}], "u2"),
    removal([{"value": "u1", "type": "User"}], "u2"),
    removal([{"value": "u1"}, {"value": "u2"}]),
    removal([{"value": "nobody"}], "u1", "u2"),
    removal([{"value": "nobody"}, {"value": "u2"}], "u1"),
    removal([{"value": "u7"}], "u1", "u2"),
    removal([{"value": "U1"}], "u1", "u2"),
    removal({"value": "u1"}, "u2"),
    removal({"$ref": None, "value": "u2"}, "u1"),
    removal({"value": "nobody"}, "u1", "u2"),
    removal("u1", "u2"),
    removal(["u1"], "u2"),
    removal(["u2", "u1"]),
    removal(["nobody", "u1"], "u2"),
    removal("nobody", "u1", "u2"),
    removal([], "u1", "u2"),
    # The id alone names a member; what is beside it is computed.
    removal([{"value": "u2", "display": "another name"}], "u1"),
    removal([{"value": "u1", "type": "Group", "$ref": "../Users/u2"}], "u2"),
    removal([{"$ref": f"{BASE}/Users/u1"}], "u2"),
    removal({"members": [{"$ref": None, "value": "u1"}]}, "u2"),
    removal({"Members": {"value": "u1"}}, "u2"),
    removal({"members": []}, "u1", "u2"),
    removal([None, "u1"], "u2"),
    group("", op("remove", "members", None)),
    group("", op("remove", 'members[value eq "u1"]', None), "u2"),
    group(
        "op-case remove-with-value",
        op("Remove", "members", [{"$ref": None, "value": "u1"}]),
        "u2",
    ),
    group(
        "remove-with-value",
        [op("remove", "Members", ["u1"]), op("remove", f"{GROUP}:members", ["u7"])],
        "u2",
    ),
    group(
        "remove-with-value",
        [op("remove", "members", ["u1"]), op("add", "members", [{"value": "u7"}])],
        *("u2", "u7"),
    ),
    group("remove-with-value", op("remove", "members", ["u1"]), members=()),
    *(
        user("remove-with-value", emails(*held), op("remove", "emails", named), after)
        for held, named, after in (
            ((W, H), [{"value": "w@x.example"}], emails(H)),
            ((W, H), [W], emails(H)),
            ((W, H), W, emails(H)),
            ((W, H, N), [{"type": "work"}], emails(H)),
            ((W, H), [{"type": "work", "value": "h@x.example"}], emails(W, H)),
            ((W, H), [{"type": None, "value": "h@x.example"}], emails(W)),
            ((W, H), [W | {"display": "x"}], emails(W, H)),
            ((W, H), [W, H], {}),
            ((W, H), "w@x.example", emails(H)),
            ((W, H), ["h@x.example"], emails(W)),
            ((W, H), [], emails(W, H)),
            ((), [W], {}),
            ((W, H), {"emails": [W]}, emails(H)),
            ((W, H), [W | {"value": "W@X.EXAMPLE"}], emails(H)),
        )
    ),
    user(
        "remove-with-value",
        {"addresses": [{"locality": "Oslo"}, {"locality": "Rome"}]},
        op("remove", "addresses", [{"locality": "Oslo"}]),
        {"addresses": [{"locality": "Rome"}]},
    ),
]

OSLO = {"type": "work", "locality": "Oslo", "country": "NO"}
CREATES: list[tuple[str, Any, Any, Any, Any]] = [  # codes, before, path, value, after
    ("", {}, f"{WORK}.value", "n@x.example", emails(N)),
    ("", emails(H), f"{WORK}.value", "n@x.example", emails(H, N)),
    ("", emails(H | TRUE), f"{WORK}.value", "n@x.example", emails(H | TRUE, N)),
    ("", {}, f"{USER}:{WORK}.value", "n@x.example", emails(N)),
    (
        "",
        {"addresses": [{"type": "home", "formatted": "2 Side St"}]},
        'addresses[type eq "work"].formatted',
        "1 Main St",
        {
            "addresses": [
                {"type": "home", "formatted": "2 Side St"},
                {"type": "work", "formatted": "1 Main St"},
            ]
        },
    ),
    ("", {}, "roles[primary eq true].value", "admin", {"roles": [ADMIN | TRUE]}),
    (
        "boolean-as-string",
        {"roles": [{"value": "x"}]},
        'roles[primary eq "True"].value',
        "admin",
        {"roles": [{"value": "x"}, ADMIN | TRUE]},
    ),
    (
        "",
        emails(W),
        'emails[type eq "work" and primary eq true].value',
        "n@x.example",
        emails(W, N | TRUE),
    ),
    ("", {}, WORK, {"value": "n@x.example"}, emails(N)),
    (
        "",
        emails(H),
        WORK,
        {"value": "n@x.example", "display": "N"},
        emails(H, N | {"display": "N"}),
    ),
]
WHOLE = [
    ('addresses[type eq "work"].locality', "Oslo"),
    ('addresses[type eq "work"].country', "NO"),
]
CREATED = [
    *(
        user(
            f"{codes} {name}-creates".strip(),
            before,
            op(name, path, value),
            after,
            IN_FILTER,
        )
        for name in ("add", "replace")
        for codes, before, path, value, after in CREATES
    ),
    *(
        user(
            f"{name}-creates",
            {},
            [op(name, path, value) for path, value in WHOLE],
            {"addresses": [OSLO]},
        )
        for name in ("add", "replace")
    ),
    user(
        "add-creates",
        {},
        [op("add", *WHOLE[0]), op("replace", *WHOLE[1])],
        {"addresses": [OSLO]},
    ),
    user(
        "op-case add-creates",
        {},
        op("Add", f"{WORK}.value", "n@x.example"),
        emails(N),
    ),
    user(
        "op-case replace-creates",
        {},
        op("Replace", f"{WORK}.value", "n@x.example"),
        emails(N),
    ),
    user(
        "path-as-key add-creates",
        {},
        op("add", value={f"{WORK}.value": "n@x.example"}),
        emails(N),
    ),
    user(
        "path-as-key replace-creates",
        {},
        op("replace", value={f"{WORK}.value": "n@x.example"}),
        emails(N),
    ),
    # A remove never creates, and finds nothing to remove (a Choice, no deviation).
    *(
        user("", emails(H), op("remove", path), emails(H))
        for path in (WORK, f"{WORK}.value", 'roles[value eq "admin"]')
    ),
]

ONE, TWO = {"value": "a@x.example"}, {"value": "b@x.example"}
FOR_COMPLEX = [
    *(
        user("value-for-complex", before, op(name, MANAGER, "u7"), AFTER_BOSS)
        for name in ("add", "replace")
        for before in ({}, {EXT: {"manager": {"value": "u2"}}})
    ),
    *value("value-for-complex", {}, {EXT: {"manager": "u7"}}, AFTER_BOSS),
    *body("value-for-complex", {EXT: {"manager": "u7"}}, AFTER_BOSS, (USER, EXT)),
    *body("value-for-complex", {"emails": ["a@x.example"]}, emails(ONE)),
    *body("value-for-complex", {"emails": [TWO, "a@x.example"]}, emails(TWO, ONE)),
    *body("value-for-complex", {"roles": ["admin"]}, {"roles": [ADMIN]}),
    *group_body("value-for-complex", {"members": ["u7", "u1"]}, "u7", "u1"),
    *(
        user("value-for-complex", emails(W), op(name, "emails", sent), after)
        for name, sent, after in (
            ("add", [TWO, "a@x.example"], emails(W, TWO, ONE)),
            ("add", "a@x.example", emails(W, ONE)),
            ("replace", ["a@x.example", "b@x.example"], emails(ONE, TWO)),
            ("replace", "a@x.example", emails(ONE)),
        )
    ),
    *value("value-for-complex", {}, {"emails": ["a@x.example"]}, emails(ONE)),
    group("value-for-complex", op("add", "members", ["u7"]), "u1", "u2", "u7"),
    group("value-for-complex", op("add", "members", "u7"), "u1", "u2", "u7"),
    group("value-for-complex", op("replace", "members", ["u7", "u2"]), "u7", "u2"),
    user(
        "value-for-complex dangling-reference",
        {},
        op("replace", MANAGER, "nobody"),
        {EXT: {"manager": {"value": "nobody"}}},
    ),
    user("op-case value-for-complex", {}, op("Add", MANAGER, "u7"), AFTER_BOSS),
    *value("path-as-key value-for-complex", {}, {MANAGER: "u7"}, AFTER_BOSS),
]

MANAGED = {EXT: {"manager": {"value": "u7"}}}
EMPTY = [
    *(
        user("empty-clears", before, op(name, MANAGER, ""), after)
        for name in ("add", "replace")
        for before, after in (
            (MANAGED, {}),
            ({}, {}),
            ({EXT: SALES | MANAGED[EXT]}, {EXT: SALES}),
        )
    ),
    *value("empty-clears", MANAGED, {EXT: {"manager": ""} | SALES}, {EXT: SALES}),
    *body("empty-clears", {EXT: {"manager": ""} | SALES}, {EXT: SALES}, (USER, EXT)),
    user("op-case empty-clears", MANAGED, op("Replace", MANAGER, ""), {}),
    *value("path-as-key empty-clears", MANAGED, {MANAGER: ""}, {}),
    # {"value": ""} of a single reference is empty too, and so is its `value`.
    *(
        user("empty-clears", MANAGED, op(name, *sent), {})
        for name in ("add", "replace")
        for sent in ((MANAGER, {"value": ""}), (f"{MANAGER}.value", ""))
    ),
    *value("empty-clears", MANAGED, {EXT: {"manager": {"value": ""}}}, {}),
    *body(
        "empty-clears",
        {EXT: {"manager": {"value": ""}} | SALES},
        {EXT: SALES},
        (USER, EXT),
    ),
    # Every complex attribute is cleared so, with many values and without a `value` too.
    *(
        user("empty-clears", old | LEAD, operation, LEAD)
        for path, old in (
            *(("emails", emails(W, H)), ("roles", {"roles": [ADMIN]})),
            *(("name", {"name": SMITH}), ("addresses", {"addresses": [OSLO]})),
            *(("name", {}), ("emails", {}), ("addresses", {})),
        )
        for name in ("add", "replace")
        for operation in (op(name, path, ""), op(name, value={path: ""}))
    ),
    *(
        row
        for path in ("emails", "name", "addresses")
        for row in body("empty-clears", {path: ""} | DR, DR)
    ),
    user("empty-clears", emails(W, H), op("replace", WORK, ""), emails(H)),
    user("empty-clears", emails(W, H), op("add", WORK, ""), emails(H)),
    # An empty plain string is a string.
    user("", LEAD, op("replace", "title", ""), {"title": ""}),
    *value("", LEAD, {"title": ""}, {"title": ""}),
    *body("", {"title": ""}, {"title": ""}),
]

NUMBER = {EXT: {"employeeNumber": "44"}}
KEYS = [
    *(
        row
        for before, sent, after in (
            ({"name": SMITH}, {"name.givenName": "Ida"}, {"name": SMITH | IDA}),
            ({}, {"Name.GivenName": "Ida"}, {"name": IDA}),
            ({}, {f"{EXT}:employeeNumber": "44"}, NUMBER),
            ({}, {f"{EXT.lower()}:EmployeeNumber": "44"}, NUMBER),
            (
                {EXT: SALES},
                {f"{EXT}:employeeNumber": "44", f"{EXT}:division": "X"},
                {EXT: SALES | {"employeeNumber": "44", "division": "X"}},
            ),
            ({}, {f"{MANAGER}.value": "u7"}, AFTER_BOSS),
            ({}, {MANAGER: {"value": "u7"}}, AFTER_BOSS),
            (
                emails(W, H),
                {f"{WORK}.value": "q@x.example"},
                emails(W | {"value": "q@x.example"}, H),
            ),
            ({}, {f"{USER}:title": "Dr"}, DR),
            ({"name": SMITH}, {f"{USER}:name.givenName": "Ida"}, {"name": SMITH | IDA}),
            (LEAD, {"name.givenName": "Ida", "title": "Dr"}, DR | {"name": IDA}),
        )
        for row in value("path-as-key", before, sent, after)
    ),
    *(
        user(
            codes,
            {},
            op("add", value={key: "Sales", "title": "Dr"}),
            DR | after,
            {"urn-dot": "invalidPath"},
        )
        for codes, key, after in (
            ("path-as-key urn-dot", f"{EXT}.department", {EXT: SALES}),
            (
                "path-as-key unquoted-value add-creates",
                "phoneNumbers[type eq a].value",
                {"phoneNumbers": [{"type": "a", "value": "Sales"}]},
            ),
            (
                "path-as-key filter-spacing add-creates",
                'roles[ type eq "a"].value',
                {"roles": [{"type": "a", "value": "Sales"}]},
            ),
        )
    ),
    user(
        "op-case path-as-key",
        {},
        op("Add", value={"name.givenName": "Ida"}),
        {"name": IDA},
    ),
]

NEW = {"schemas": [USER], "userName": "new"}
UNKNOWN_KEY = [
    user("unknown-key", {}, patch_op(op("add", "title", "Dr"), id="u1"), DR),
    user("unknown-key", {}, patch_op(op("add", "title", "Dr"), meta={}), DR),
    user("unknown-key", {}, op("add", "title", "Dr", name="addMember"), DR),
    user("unknown-key", LEAD, op("remove", "title", id="u1"), {}),
    user("unknown-key", {}, op("add", value=DR, userName="zed"), DR),
    group(
        "unknown-key",
        op("add", "members", [{"value": "u7"}], name="addMember"),
        *("u1", "u2", "u7"),
    ),
    user("op-case unknown-key", {}, op("Add", "title", "Dr", name="x"), DR),
    *(
        Row(
            "unknown-key",
            *("POST", path, {"schemas": [SEARCH], "filter": 'id eq "u1"', **more}),
            after="u1",
        )
        for path in ("/Users/.search", "/.search")
        for more in ({"userName": "zed"}, {"id": "u2"})
    ),
    Row(
        "unknown-key",
        *("POST", "/Bulk"),
        {
            "schemas": [BULK],
            "Operations": [
                {"method": "POST", "path": "/Users", "bulkId": "1", "data": NEW}
            ],
            "id": "job",
        },
        {"userName": "new"},
        "/Users/n1",
    ),
]

ANY = {"type": "work", "locality": "Oslo"}
UNKNOWN_ATTRIBUTE = [
    *(
        row
        for sent, after in (
            ({"colour": "red"}, {}),
            ({"colour": {"name": ["red"]}, "title": "Dr"}, DR),
            ({"user_name": "zed"}, {}),
            ({"EnterpriseUser": SALES}, {}),
            ({"members": [{"value": "u7"}]}, {}),
            ({"name": IDA | {"colour": "red"}}, {"name": IDA}),
            ({"name": IDA | {"family_name": "Smith"}}, {"name": IDA}),
            (emails(W | {"colour": "red"}, H), emails(W, H)),
            ({"addresses": [ANY | {"display": "x"}]}, {"addresses": [ANY]}),
            ({"name.givenName": "Ida"}, {}),
            ({f"{WORK}.value": "q@x.example"}, {}),
            ({f"{USER}:title": "Dr"}, {}),
            ({f"{EXT}:employeeNumber": "44"}, {}),
        )
        for row in body("unknown-attribute", sent, after)
    ),
    *body("unknown-attribute", {EXT: SALES | {"x": 1}}, {EXT: SALES}, (USER, EXT)),
    *group_body("unknown-attribute", {"colour": "red"}),
    *group_body("unknown-attribute", {"userName": "zed", "members": []}),
    *group_body(
        "unknown-attribute",
        {"members": [{"value": "u7", "displayName": "Zed"}]},
        "u7",
    ),
    *(
        row
        for sent, after in (
            (DR | {"colour": "red"}, DR),
            ({"colour": "red"}, LEAD),
            ({"user_name": "zed"}, LEAD),
            ({"colour.name": "red"}, LEAD),
            (DR | {"name.colour": "red"}, DR),
            ({f"{EXT}:colour": "red"}, LEAD),
            ({f"{USER}:colour": "red"}, LEAD),
            ({EXT: SALES | {"colour": "red"}}, LEAD | {EXT: SALES}),
            ({"name": IDA | {"colour": "red"}}, LEAD | {"name": IDA}),
        )
        for row in value("unknown-attribute", LEAD, sent, after)
    ),
    user(
        "unknown-attribute",
        {"name": SMITH},
        op("replace", "name", IDA | {"given_name": "x"}),
        {"name": SMITH | IDA},
    ),
    user(
        "unknown-attribute",
        emails(W),
        op("add", "emails", [H | {"colour": "red"}]),
        emails(W, H),
    ),
    user(
        "unknown-attribute",
        emails(W, H),
        op("replace", WORK, {"display": "x", "colour": "red"}),
        emails(W | {"display": "x"}, H),
    ),
    *(
        group(
            "unknown-attribute",
            op("add", "members", [{"value": "u7", **more}]),
            *("u1", "u2", "u7"),
        )
        for more in ({"displayName": "Zed"}, {"ref": "x"}, {"colour": {"x": []}})
    ),
    group("op-case unknown-attribute", op("Replace", value={"x": 1}), "u1", "u2"),
]

PATHS = [
    *("colour", "name.colour", "user_name", "name.family_name", f"{EXT}:colour"),
    *("urn:example:unknown:title", "urn:scim:schemas:core:1.0:title"),
    *(f"{WORK}.colour", 'emails[colour eq "x"]', 'emails[colour eq "x"].value'),
    *('colour[type eq "work"].value', f"{USER}:colour"),
]
UNKNOWN_PATH = [
    *(
        user(
            "unknown-path",
            LEAD | emails(W),
            [op("replace", "title", "Dr"), operation, op("add", "nickName", "A")],
            DR | emails(W) | {"nickName": "A"},
        )
        for path in PATHS
        for operation in (op("add", path, "x"), op("replace", path, "x"))
    ),
    *(user("unknown-path", emails(W), op("remove", path), emails(W)) for path in PATHS),
    user("op-case unknown-path", LEAD, op("Replace", "colour", "x"), LEAD),
    group("unknown-path", op("add", "colour", [{"value": "u7"}]), "u1", "u2"),
    group("unknown-path", op("remove", "userName"), "u1", "u2"),
]

UNQUALIFIED = [
    *query("unqualified-attribute", 'id eq "u1" and manager eq "u7"', "u1"),
    *query("unqualified-attribute", 'id eq "u1" and manager eq "u2"', ""),
    *query("unqualified-attribute", 'manager.value eq "u7"', "u1"),
    *query("unqualified-attribute", 'manager.displayName eq "boss"', "u1"),
    *query("unqualified-attribute", 'department eq "SALES"', "u1"),
    *query("unqualified-attribute", "Department pr", "u1 u2"),
    *query("unqualified-attribute", "not (department pr)", "u7"),
    *query(
        "unqualified-attribute",
        {"sortBy": "department"},
        "u2 u1 u7",
        refused={"unqualified-attribute": "invalidValue"},
    ),
    *query(
        "unqualified-attribute",
        {"sortBy": "Department", "sortOrder": "descending"},
        "u7 u1 u2",
        refused={"unqualified-attribute": "invalidValue"},
    ),
    *(
        user("unqualified-attribute", before, operation, after)
        for before, operation, after in (
            ({}, op("add", "department", "Sales"), {EXT: SALES}),
            (NUMBER, op("replace", "department", "Sales"), {EXT: SALES | NUMBER[EXT]}),
            ({EXT: SALES}, op("remove", "department"), {}),
            ({}, op("add", "manager", {"value": "u7"}), AFTER_BOSS),
            ({}, op("replace", "Manager.Value", "u7"), AFTER_BOSS),
            (MANAGED, op("remove", "manager"), {}),
        )
    ),
    # A key of a value without path names an attribute too.
    *(
        row
        for codes, before, sent, after in (
            ("", {}, {"department": "Sales"}, {EXT: SALES}),
            ("", NUMBER, {"Department": "Sales"}, {EXT: SALES | NUMBER[EXT]}),
            ("", {}, {"department": "Sales", "title": "Dr"}, DR | {EXT: SALES}),
            ("", {}, {"manager": {"value": "u7"}}, AFTER_BOSS),
            ("", {EXT: SALES}, {"department": None}, {}),
            ("path-as-key ", {}, {"manager.value": "u7"}, AFTER_BOSS),
            ("empty-clears ", MANAGED, {"manager": ""}, {}),
        )
        for row in value(f"{codes}unqualified-attribute", before, sent, after)
    ),
    user(
        "unqualified-attribute value-for-complex",
        {},
        op("add", "manager", "u7"),
        AFTER_BOSS,
    ),
]

NOBODY, ALL = "", "u1 u2 u7"
UNKNOWN_FILTER = [
    row
    for filter, ids in (
        ('colour eq "red"', NOBODY),
        ("colour pr", NOBODY),
        ('colour ne "red"', ALL),
        ("colour eq null", ALL),
        ("not (colour pr)", ALL),
        ('colour pr or userName eq "ann"', "u1"),
        ('colour pr and userName eq "ann"', NOBODY),
        ('user_name eq "ann"', NOBODY),
        ('usrName eq "ann"', NOBODY),
        ('name.colour eq "red"', NOBODY),
        ('emails.colour eq "red"', NOBODY),
        ('emails[colour eq "red"]', NOBODY),
        ('emails[type eq "work" and not (colour pr)]', "u1"),
        (f"{EXT}:colour pr", NOBODY),
        (f"{USER}:usrName pr", NOBODY),
        ("urn:example:nothing:userName pr", NOBODY),
    )
    for row in query("unknown-filter-attribute", filter, ids)
]

UNKNOWN_SCHEMA = [
    *body("unknown-schema", DR, DR, (USER, "urn:example:x")),
    *body("unknown-schema", DR, DR, ("urn:example:x", USER)),
    *body("unknown-schema", {EXT: SALES}, {EXT: SALES}, (USER, EXT, "urn:example:x")),
    *body("unknown-schema", {"urn:example:x": {"a": 1}}, {}),
    *body("unknown-schema", {"urn:example:x": {"a": [{}]}} | DR, DR, (USER,)),
    *body("unknown-schema", {"urn:example:x": {"a": 1}}, {}, (USER, "urn:example:x")),
    *value("unknown-schema", LEAD, {"urn:example:x": {"a": 1}}, LEAD),
    *value("unknown-schema", LEAD, {"schemas": [USER, "urn:example:x"]}, LEAD),
    *value("unknown-schema", LEAD, {"schemas": ["urn:example:x"]} | DR, DR),
    user("unknown-schema", LEAD, op("add", value={"schemas": ["urn:example:x"]}), LEAD),
    user("unknown-schema", LEAD, op("add", "schemas", ["urn:example:x"]), LEAD),
    user("unknown-schema", LEAD, op("add", "schemas", "urn:example:x"), LEAD),
    *value("unknown-schema", LEAD, {"urn:example:x": {"a": 1}} | DR, DR),
    *group_body("unknown-schema", {}, schemas=(GROUP, AZURE)),
    *group_body("unknown-schema", {}, schemas=(GROUP, EXT)),
    *group_body("unknown-schema", {EXT: SALES}),
    *group_body("unknown-schema", {EXT: SALES}, schemas=(GROUP, EXT)),
    group("unknown-schema", op("replace", value={EXT: SALES}), "u1", "u2"),
    *body("unknown-schema missing-schemas", DR, DR, ("urn:example:x",)),
]

ARRAYS = [
    *(
        user("array-for-single", before, op(name, path, sent), after)
        for name in ("add", "replace")
        for before, path, sent, after in (
            ({}, "title", ["Lead"], LEAD),
            (DR, f"{USER}:Title", ["Lead"], LEAD),
            ({"active": True}, "active", [False], {"active": False}),
            ({"name": IDA}, "name.familyName", ["Smith"], {"name": IDA | SMITH}),
            ({"name": IDA}, "name", [SMITH], {"name": IDA | SMITH}),
            ({}, f"{EXT}:department", ["Sales"], {EXT: SALES}),
            ({}, MANAGER, [{"$ref": "../Users/u7", "value": "u7"}], AFTER_BOSS),
            (emails(W), f"{WORK}.display", ["x"], emails(W | {"display": "x"})),
        )
    ),
    *value("array-for-single", DR, {"title": ["Lead"]}, LEAD),
    *value("array-for-single", {}, {EXT: {"manager": [{"value": "u7"}]}}, AFTER_BOSS),
    group(
        "array-for-single",
        op("replace", "displayName", ["squad"]),
        *("u1", "u2"),
        name="squad",
    ),
    user(
        "op-case array-for-single",
        {},
        op("Add", MANAGER, [{"$ref": "../Users/u7", "value": "u7"}]),
        AFTER_BOSS,
    ),
    *body("single-for-array", {"emails": ONE}, emails(ONE)),
    *body("single-for-array", {"roles": ADMIN | TRUE}, {"roles": [ADMIN | TRUE]}),
    *body("single-for-array", {"addresses": OSLO}, {"addresses": [OSLO]}),
    *group_body("single-for-array", {"members": {"value": "u7"}}, "u7"),
    # In a PATCH one object is one element.
    user("", emails(W), op("add", "emails", H), emails(W, H)),
    user("", emails(W), op("replace", "emails", H), emails(H)),
    group("", op("add", "members", {"value": "u7"}), "u1", "u2", "u7"),
]

FILTERS = [
    *(
        row
        for filter, ids in (
            ('emails[type eq "work"].value eq "w@x.example"', "u1"),
            ('emails[type eq "work"].value eq "W@X.EXAMPLE"', "u1"),
            ('Emails[Type eq "WORK"].Value eq "w@x.example"', "u1"),
            ('emails[type eq "work"].value eq "h@x.example"', ""),
            ('emails[type eq "other"].value co "x"', ""),
            ('emails[type eq "work"].value co ".example"', "u1"),
            ('emails[type eq "home"].value sw "h@" and title pr', "u1"),
            ('not (emails[type eq "work"].value co "x")', "u2 u7"),
            ('emails[type eq "x" or type eq "home"].value eq "h@x.example"', "u1"),
            ('emails[type eq "home" or type eq "x"].value eq "w@x.example"', ""),
            (f'{USER}:emails[type eq "work"].value eq "w@x.example"', "u1"),
        )
        for row in query("path-compare", filter, ids)
    ),
    *query("path-compare", 'members[type eq "User"].value eq "u1"', "G1", "/Groups"),
    *query(
        "path-compare boolean-as-string",
        'emails[primary eq "True"].value eq "w@x.example"',
        "u1",
    ),
    *(
        row
        for filter, ids in (
            ("userName eq ann", "u1"),
            ("userName eq ANN", "u1"),
            ("userName eq nobody@x.example", ""),
            ("userName sw b", "u2 u7"),
            ("(userName eq ann)", "u1"),
            ("not (userName eq ann)", "u2 u7"),
            ("userName eq ann and title pr", "u1"),
            ("userName eq ann or userName eq bob", "u1 u2"),
            ("emails[value eq w@x.example]", "u1"),
            ("emails[(value eq w@x.example) and type eq work]", "u1"),
            ("emails[type eq work and value eq h@x.example]", ""),
            ("userName eq 'ann'", "u1"),
            ("(userName eq 'ANN') and title pr", "u1"),
            ("userName eq 'a n)n]' or userName eq 'bob'", "u2"),
            ("emails[type eq 'work' and value eq 'w@x.example']", "u1"),
            ("userName eq ''", ""),
        )
        for row in query("unquoted-value", filter, ids)
    ),
    *(
        row
        for filter, ids in (
            ('( userName eq "ann" )', "u1"),
            ('(userName eq "ann" )', "u1"),
            (' userName eq "ann"', "u1"),
            ('userName eq "ann"  ', "u1"),
            ('userName eq"ann"', "u1"),
            ("title pr and(userName pr)", "u1"),
            ('emails [type eq "work"]', "u1"),
            ('emails[ type eq "work" ]', "u1"),
            ("not ( title pr )", "u2 u7"),
        )
        for row in query("filter-spacing", filter, ids)
    ),
    # Where the grammar has one blank there may be several.
    *query("", 'userName  eq   "ann"', "u1"),
    *query("", 'title  pr  and  userName eq  "ann"  or  userName  eq "x"', "u1"),
    user("", emails(W, H), op("remove", 'emails[type  eq  "work"]'), emails(H)),
    *query("filter-spacing unquoted-value", "userName eq'ann'", "u1"),
    *query("filter-spacing path-compare", 'emails[type eq "work" ].value co "w"', "u1"),
    *(
        user("filter-spacing", emails(W, H), operation, emails(H))
        for operation in (
            op("remove", 'emails[type eq"work"]'),
            op("remove", 'emails[ type eq "work"]'),
            op("remove", 'emails[type eq "work" ]'),
        )
    ),
    *(
        user(
            "filter-spacing",
            before,
            operation,
            after,
            {"filter-spacing": "invalidPath"},
        )
        for before, operation, after in (
            (LEAD, op("remove", "title "), {}),
            (LEAD, op("replace", " title", "Dr"), DR),
            (emails(W, H), op("remove", 'emails [type eq "work"]'), emails(H)),
            (emails(W, H), op("remove", 'emails[type eq "work"] '), emails(H)),
        )
    ),
    *(
        row
        for filter, ids in (
            (f'{EXT}.department eq "SALES"', "u1"),
            (f'{EXT.upper()}.manager.value eq "u7"', "u1"),
            (f'{EXT}.manager[value eq "u7"]', "u1"),
            (f'{USER}.userName eq "ann"', "u1"),
        )
        for row in query("urn-dot", filter, ids)
    ),
    *query(
        "urn-dot",
        {"sortBy": f"{EXT}.department"},
        "u2 u1 u7",
        refused={"urn-dot": "invalidValue"},
    ),
    *(
        user("urn-dot", before, operation, after, {"urn-dot": "invalidPath"})
        for before, operation, after in (
            ({}, op("add", f"{EXT}.department", "Sales"), {EXT: SALES}),
            ({EXT: SALES}, op("remove", f"{EXT}.department"), {}),
            ({}, op("replace", f"{EXT}.manager.value", "u7"), AFTER_BOSS),
        )
    ),
    *(
        Row("number-as-string", "POST", "/Users/.search", sent, "u1", before=PERSON)
        for sent in (
            {"schemas": [SEARCH], "filter": "title pr", "count": "1"},
            {"schemas": [SEARCH], "filter": "title pr", "startIndex": "1"},
        )
    ),
    *query(
        "path-compare unquoted-value",
        'emails[type eq "work"].value eq w@x.example',
        "u1",
    ),
]

TITLE = [op("replace", "title", "Dr")]
SCHEMAS = [
    *body("missing-schemas", DR, DR, None),
    *body("missing-schemas", DR, DR, ()),
    *body("missing-schemas", {EXT: SALES} | DR, {EXT: SALES} | DR, None),
    *body("missing-schemas", {EXT: SALES}, {EXT: SALES}, (EXT,)),
    *group_body("missing-schemas", {"members": [{"value": "u7"}]}, "u7", schemas=None),
    *group_body("missing-schemas", {}, schemas=()),
    *(
        Row(
            "missing-schemas",
            *("PATCH", "/Users/u1", head | {"Operations": TITLE}),
            *({"userName": "ann"} | DR, "/Users/u1", LEAD),
        )
        for head in ({}, {"schemas": []})
    ),
    *(
        Row("missing-schemas", "POST", path, head | {"filter": 'id eq "u1"'}, "u1")
        for head in ({}, {"schemas": []})
        for path in ("/Users/.search", "/.search")
    ),
    *(
        Row(
            "missing-schemas",
            *("POST", "/Bulk"),
            head
            | {
                "Operations": [
                    {"method": "POST", "path": "/Users", "bulkId": "1", "data": NEW}
                ]
            },
            {"userName": "new"},
            "/Users/n1",
        )
        for head in ({}, {"schemas": []})
    ),
    Row(
        "op-case missing-schemas",
        *("PATCH", "/Users/u1", {"Operations": [op("Add", "title", "Dr")]}),
        *({"userName": "ann"} | DR, "/Users/u1"),
    ),
    *body("undeclared-extension", {EXT: SALES}, {EXT: SALES}),
    *body("undeclared-extension", {EXT: SALES} | DR, {EXT: SALES} | DR),
    *body("undeclared-extension", {EXT: {"manager": {"value": "u7"}}}, AFTER_BOSS),
]

LOOSE = {EXT: {"manager": {"value": "nobody"}}}
SENT = {"$ref": f"{BASE}/Users/nobody", "type": "User", "display": "Zed"}
REFERENCES = [
    *body("dangling-reference", LOOSE, LOOSE, (USER, EXT)),
    *body(
        "dangling-reference",
        {EXT: {"manager": {"value": "nobody", "$ref": "x", "displayName": "Zed"}}},
        LOOSE,
        (USER, EXT),
    ),
    *value("dangling-reference", {}, LOOSE, LOOSE),
    user("dangling-reference", {}, op("add", MANAGER, {"value": "nobody"}), LOOSE),
    user(
        "dangling-reference",
        MANAGED,
        op("replace", f"{MANAGER}.value", "nobody"),
        LOOSE,
    ),
    *group_body("dangling-reference", {"members": [{"value": "zz"}]}, "zz"),
    *group_body(
        "dangling-reference",
        {"members": [{"value": "zz", **SENT}, {"value": "u7"}]},
        *("zz", "u7"),
    ),
    group("dangling-reference", op("add", "members", {"value": "z"}), "u1", "u2", "z"),
    group("dangling-reference", op("replace", "members", [{"value": "z"}]), "z"),
    group(
        "dangling-reference",
        op("add", value={"members": [{"value": "z", **SENT}]}),
        *("u1", "u2", "z"),
    ),
]

DUPLICATES = [
    *(
        Row(
            "duplicate-json-key",
            *(method, path, raw("{<USER>, " + text + "}")),
            *(after, look, LEAD | emails(H)),
        )
        for method, path, look, name in (
            ("POST", "/Users", "/Users/n1", "new"),
            ("PUT", "/Users/u1", "/Users/u1", "ann"),
        )
        for text, after in (
            (
                f'"userName": "{name}", "title": "a", "title": "Dr"',
                {"userName": name} | DR,
            ),
            (
                f'"title": "a", "userName": "{name}", "Title": "Dr"',
                {"userName": name} | DR,
            ),
            (f'"userName": "x", "username": "{name}"', {"userName": name}),
            (
                f'"userName": "{name}", "title": "a", "ti\\u0074le": "Dr"',
                {"userName": name} | DR,
            ),
            (
                f'"userName": "{name}", "name": {{"givenName": "x", "givenName": "Ida"'
                "}",
                {"userName": name, "name": IDA},
            ),
            (
                f'"userName": "{name}", "emails": [{{"value": "x", "VALUE": '
                '"a@x.example"}, {"value": "b@x.example"}]',
                {"userName": name} | emails(ONE, TWO),
            ),
        )
    ),
    *(
        user("duplicate-json-key", LEAD, raw("{<PATCHOP>, " + text + "}"), DR)
        for text in (
            '"Operations": [], "Operations": [{"op": "add", "path": "title", '
            '"value": "Dr"}]',
            '"operations": [], "Operations": [{"op": "add", "path": "title", '
            '"value": "Dr"}]',
            '"Operations": [{"op": "remove", "op": "add", "path": "title", '
            '"value": "Dr"}]',
            '"Operations": [{"op": "add", "path": "nickName", "PATH": "title", '
            '"value": "Dr"}]',
            '"Operations": [{"op": "add", "value": {"title": "a", "Title": "Dr"}}]',
        )
    ),
    Row(
        "duplicate-json-key",
        *("POST", "/Users/.search"),
        raw('{<SEARCH>, "filter": "title pr", "filter": "userName eq \\"bob\\""}'),
        "u2",
    ),
]

UNKNOWN_NAMES = (
    *("nope", "userNam", "name.nope", "userName.x", WORK, f"{EXT}:nope", "a b", USER),
    *("urn:x:y:z", "title,nope", "nope,title,none"),
)
IN_NAMES = dict.fromkeys(("unqualified-attribute", "urn-dot"), "invalidValue")
SELECTIONS = [
    *(
        row
        for parameter in ("attributes", "excludedAttributes")
        for names in UNKNOWN_NAMES
        for row in (
            Row(
                *("unknown-selection", "GET", "/Users", None, "u1"),
                before=PERSON,
                query={"filter": "title pr", parameter: names},
            ),
            Row(
                *("unknown-selection", "POST", "/Users/.search"),
                {
                    "schemas": [SEARCH],
                    "filter": 'id eq "u1"',
                    parameter: names.split(","),
                },
                "u1",
            ),
        )
    ),
    *(
        Row(
            *(codes, method, f"/Users/u1?excludedAttributes={name}", sent),
            *({"userName": "ann"} | DR, "/Users/u1"),
            refused=IN_NAMES,
        )
        for codes, name in (
            ("unknown-selection", "nope"),
            ("unqualified-attribute", "department"),
            ("urn-dot", f"{EXT}.department"),
        )
        for method, sent in (
            ("PUT", {"schemas": [USER], "userName": "ann", "title": "Dr"}),
            ("PATCH", {"schemas": [PATCH_OP], "Operations": TITLE}),
        )
    ),
    *(
        Row(
            *(codes, "GET", "/Users", None, "u1 u2 u7"),
            query={"attributes": names},
            refused=IN_NAMES,
        )
        for codes, names in (
            ("unqualified-attribute", "title,department"),
            ("unqualified-attribute unknown-selection", "nope,department"),
            ("unqualified-attribute", "Manager.value"),
            ("urn-dot", f"{EXT}.manager"),
            ("", f"{EXT}:manager,{USER}:title,schemas,meta.location,id,externalId"),
            ("", f" title , {EXT} ,,"),
        )
    ),
    Row("", "GET", "/", None, "G1 u1 u2 u7", query={"attributes": "members,title"}),
    Row(
        "unknown-selection", "GET", "/", None, "G1 u1 u2 u7", query={"attributes": "x"}
    ),
    *(
        Row("list-as-string", "POST", "/Users/.search", sent, "u1", before=PERSON)
        for sent in (
            {"schemas": [SEARCH], "filter": "title pr", "attributes": "title, emails"},
            {"schemas": [SEARCH], "filter": "title pr", "excludedAttributes": "title"},
        )
    ),
    *(
        Row("repeated-parameter", "GET", f"/Users?{sent}", None, ids, before=PERSON)
        for sent, ids in (
            ("filter=title%20pr&filter=title%20pr&x=1", "u1"),
            ("attributes=title&attributes=emails", "u1 u2 u7"),
            ("count=x&count=100", "u1 u2 u7"),
            ("filter=userName&filter=title%20pr", "u1"),
            ("other=1&other=2", "u1 u2 u7"),
        )
    ),
    *(
        Row(
            *("repeated-parameter", method, "/Users/u1?other=1&other=", sent),
            *({"userName": "ann"} | DR, "/Users/u1"),
        )
        for method, sent in (
            ("PUT", {"schemas": [USER], "userName": "ann", "title": "Dr"}),
            ("PATCH", {"schemas": [PATCH_OP], "Operations": TITLE}),
        )
    ),
]

ENDPOINTS = [
    Row("endpoint-case", "GET", "/users", None, "u1 u2 u7"),
    Row("endpoint-case", "GET", "/GROUPS", None, "G1"),
    *(
        Row(
            "endpoint-case",
            *("POST", path, {"schemas": [SEARCH], "filter": 'userName eq "ann"'}),
            "u1",
        )
        for path in ("/uSERS/.search", "/.Search")
    ),
    Row(
        "endpoint-case",
        *("POST", "/users", {"schemas": [USER], "userName": "new"}),
        *({"userName": "new"}, "/Users/n1"),
    ),
    *(
        Row("endpoint-case", method, "/USERS/u1", sent, {"userName": "ann"} | DR, look)
        for look in ("/Users/u1",)
        for method, sent in (
            ("PUT", {"schemas": [USER], "userName": "ann"} | DR),
            ("PATCH", patch_op(op("add", "title", "Dr"))),
        )
    ),
    Row(
        "endpoint-case",
        *("POST", "/bulk"),
        {
            "schemas": [BULK],
            "Operations": [
                {
                    "method": "PATCH",
                    "path": "/Users/u1",
                    "data": patch_op(op("add", "title", "Dr")),
                }
            ],
        },
        *({"userName": "ann"} | DR, "/Users/u1"),
    ),
]

RFC = [
    # Names and URNs have no case, and a core attribute may have its URN.
    Row(
        "",
        *("POST", "/Users"),
        {
            "Schemas": [USER.upper(), EXT.lower()],
            "UserName": "new",
            "DisplayName": "New",
            "Emails": [{"Value": "a@x.example", "Primary": True}],
            EXT.upper(): {"Department": "Sales"},
        },
        {"userName": "new", "displayName": "New", **emails(ONE | TRUE), EXT: SALES},
        "/Users/n1",
    ),
    Row(
        "",
        *("PATCH", "/Users/u1"),
        {
            "Schemas": [PATCH_OP.upper()],
            "operations": [{"Op": "add", "Path": "Title", "Value": "Dr"}],
        },
        *({"userName": "ann"} | DR, "/Users/u1"),
    ),
    *(
        user("", {"name": SMITH} | emails(W), op("replace", path, sent), after)
        for path, sent, after in (
            ("DisplayName", "Ann", {"displayName": "Ann", "name": SMITH} | emails(W)),
            ("Name.GivenName", "Ida", {"name": SMITH | IDA} | emails(W)),
            (f"{USER}:name.givenName", "Ida", {"name": SMITH | IDA} | emails(W)),
            (
                f'{USER.upper()}:Emails[Type eq "Work"].Value',
                "n@x.example",
                {"name": SMITH} | emails(N),
            ),
            (
                f"{EXT.upper()}:Department",
                "Sales",
                {"name": SMITH, EXT: SALES} | emails(W),
            ),
        )
    ),
    *value("", LEAD, {"Title": "Dr", "NAME": {"GivenName": "Ida"}}, DR | {"name": IDA}),
    *query("", f'{USER}:userName eq "ann"', "u1"),
    *query("", f'{USER.upper()}:USERNAME eq "ANN"', "u1"),
    *query("", f'{EXT}:manager eq "u7"', "u1"),
    *query("", {"sortBy": f"{USER}:userName"}, "u1 u2 u7"),
    *query("", {"sortBy": f"{EXT}:department"}, "u2 u1 u7"),
    # Queries.
    *query("", 'userName eq "0b1c9d2e-6f1a-4c55-9d3f-1f8f6a0c2d77"', ""),
    *query("", 'id eq "G1" and members eq "u1"', "G1", "/Groups"),
    *query("", 'id eq "G1" and members eq "u7"', "", "/Groups"),
    *query("", {"filter": 'userName eq "ANN"', "startIndex": 1, "count": 100}, "u1"),
    # Bodies and what is readOnly in them.
    *body("", {"groups": [], "password": "t1meMa$heen"}, {}),
    *body("", {"id": 5, "meta": "x", "groups": {"value": 5}}, {}),
    *body("", {"title": None, "emails": None, "name": {"givenName": None}}, {}),
    *group_body("", {"members": []}),
    *(
        Row(
            "",
            *("POST", "/Users", {"schemas": [USER], "userName": "new"}),
            *({"userName": "new"}, "/Users/n1"),
            headers=headers,
        )
        for headers in (
            {"Content-Type": ""},
            {"Content-Type": "application/json"},
            {"Accept": "*/*"},
        )
    ),
    # PATCH.
    user(
        "",
        {"active": True},
        op("replace", value={"active": False}),
        {"active": False},
    ),
    user("", LEAD, op("replace", "title", None), {}),
    user("", LEAD | emails(W), op("replace", value={"title": None}), emails(W)),
    user(
        "",
        {"name": SMITH | IDA},
        op("replace", "name", {"familyName": "C"}),
        {"name": IDA | {"familyName": "C"}},
    ),
    *value("", LEAD, {"id": "u1", "schemas": [USER], "title": "Dr"}, DR),
    group(
        "",
        op("replace", value={"id": "G1", "displayName": "squad"}),
        *("u1", "u2"),
        name="squad",
    ),
    group("", op("add", "members", [{"value": "u1"}]), "u1", "u2"),
    group("", op("remove", 'members[value eq "u7"]'), "u1", "u2"),
    group("", op("remove", 'members[value eq "nobody"]'), "u1", "u2"),
    group("", op("remove", 'members[value eq "u1"]'), "u2"),
    group("", op("remove", "members")),
    group("", op("replace", "members", [{"value": "u7"}, {"value": "u2"}]), "u7", "u2"),
    group("", op("replace", "members", [])),
    # What is computed is dropped without a word.
    group(
        "",
        op("add", "members", [{"value": "u7", "$ref": "x", "display": "Zed"}]),
        *("u1", "u2", "u7"),
    ),
    *group_body("", {"members": [{"value": "u7", "type": "User", **SENT}]}, "u7"),
    user(
        "",
        {},
        op("add", MANAGER, {"value": "u7", "$ref": "../x", "displayName": "Zed"}),
        AFTER_BOSS,
    ),
    # Over several operations the later primary wins.
    user(
        "",
        {"roles": [{"value": "x"} | TRUE]},
        [
            op("add", "roles", [{"value": "y"} | TRUE]),
            op("add", "roles", [ADMIN | TRUE]),
        ],
        {"roles": [{"value": "x"}, {"value": "y"}, ADMIN | TRUE]},
    ),
]
CERTIFICATE = "MAMCAQE="  # SEQUENCE of an INTEGER: the outer form is what is checked
ILL_FORMED: list[tuple[str, Any]] = [
    *(("profileUrl", x) for x in ("not a uri", "http://a.example/%zz", "http://a/ü")),
    *(("locale", x) for x in ("english!", "en_US", "-en", "en-")),
    *(("preferredLanguage", x) for x in ("xx_", "en;q=high", "en,,da", "da, en-gb;q")),
    *(("timezone", x) for x in ("CET", "UTC+1 h", "Europe/", "/Oslo")),
    *(("userName", x) for x in ("a\u200bb", "a\x07b", "a\u202eb")),
    *(("addresses", [{"country": x}]) for x in ("us", "USA", "U1", "Norway")),
    *(("photos", [{"value": x}]) for x in ("my photo.png", "<x>")),
    *(
        ("x509Certificates", [{"value": x}])
        for x in ("AAAA", "MAMCAQEA", "MAMC", "MA==", "MIAA")
    ),
]
WELL_FORMED: list[tuple[str, Any]] = [
    *(("profileUrl", x) for x in ("https://a.example/x?y#z", "../me", "urn:x:y", "")),
    *(("locale", x) for x in ("de", "en-US", "zh-Hant-TW")),
    *(("preferredLanguage", x) for x in ("da, en-gb;q=0.8, en;q=0.7", "*", "en")),
    ("timezone", "America/Los_Angeles"),
    ("timezone", "America/Argentina/Buenos_Aires"),
    ("userName", "Ægir Ø.@x.example"),
    ("addresses", [{"country": "NO"}]),
    ("photos", [{"value": "https://photos.example/F"}]),
    ("x509Certificates", [{"value": CERTIFICATE}]),
    ("x509Certificates", [{"value": "MIGB" + "A" * 172}]),
]


def form_rows(codes: str, values: list[tuple[str, Any]]) -> Iterator[Row]:
    """Spell a POST, a PUT and two PATCHes of each of these attributes."""
    for name, value in values:
        after = {name: value} if value else {name: ""}
        yield from body(codes, {name: value}, after)
        kept = LEAD | emails(H) | {"userName": "ann"} | after
        for sent in (
            op("replace", name, value),
            op("replace", value={name: value}),
        ):
            message = patch_op(sent)
            before = LEAD | emails(H)
            yield Row(codes, "PATCH", "/Users/u1", message, kept, "/Users/u1", before)


FORMS = [
    *form_rows("value-format", ILL_FORMED),
    *form_rows("", WELL_FORMED),
    *body("value-format", {"title": "Dr"}, {"title": "Dr"}, (USER, USER.upper())),
    *(
        user("value-format", LEAD | {EXT: SALES}, operation, after)
        for sent in ([USER, USER], [USER, USER.upper()])
        for operation, after in (
            (op("add", "schemas", sent), LEAD | {EXT: SALES}),
            (op("replace", "schemas", sent), LEAD),
            (op("replace", value={"schemas": sent}), LEAD),
            (op("replace", value={"schemas": sent} | DR), DR | {EXT: SALES}),
        )
    ),
]
ROWS = [
    *(*OP_CASE, *BOOLEANS, *REMOVALS, *CREATED, *FOR_COMPLEX, *EMPTY, *KEYS),
    *(*UNKNOWN_KEY, *UNKNOWN_ATTRIBUTE, *UNKNOWN_PATH, *UNQUALIFIED, *UNKNOWN_FILTER),
    *(*UNKNOWN_SCHEMA, *ARRAYS, *FILTERS, *SCHEMAS, *REFERENCES, *DUPLICATES),
    *(*SELECTIONS, *ENDPOINTS, *FORMS, *RFC),
]


def settings(row: Row) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Answer the levels, and each level with codes accepted and refused by name."""
    codes = tuple(row.codes.split())
    for level in LEVELS:
        yield level, (), ()
    if codes:
        yield "strict", codes, ()
    if not all(accepted_at("standard", code) for code in codes):
        yield "standard", codes, ()
    for code in codes:
        if accepted_at("standard", code):
            yield "standard", tuple(each for each in codes if each != code), (code,)
        yield "lenient", (), (code,)


@pytest.mark.parametrize(
    ("row", "level", "accept", "refuse"),
    [
        pytest.param(
            row,
            *setting,
            id=" ".join(
                [
                    setting[0],
                    *(f"+{code}" for code in setting[1]),
                    *(f"-{code}" for code in setting[2]),
                    str(row),
                ]
            ),
        )
        for row in ROWS
        for setting in settings(row)
    ],
)
def test_rows(
    row: Row, level: str, accept: tuple[str, ...], refuse: tuple[str, ...]
) -> None:
    """Accepted by name with exactly this outcome, or refused and nothing changed."""
    app, client = serve(
        row.before, row.members, tolerance=level, accept=accept, refuse=refuse
    )
    before, dumped = everything(client), app.dump()
    reply = client.request(
        row.method, row.path, row.body, dict(row.headers), **row.query
    )
    codes = set(row.codes.split())
    taken = {each for each in codes if accepted_at(level, each)}
    taken = (taken | {*accept}) - {*refuse}
    if codes - taken:
        detail = reply.json["detail"]
        (code,) = (each for each in codes - taken if f"--accept {each}" in detail)
        expected = row.scim_type(code)
        refusal = (404, None) if expected == "404" else (400, expected)
        assert_names(assert_error(reply, *refusal), code)
        if level == "standard" and not refuse and accepted_at("lenient", code):
            assert "lenient" in detail
        assert codes_of(reply) <= taken
        assert app.dump() == dumped
        assert everything(client) == before
        return
    if row.look:
        assert_state(client, row, reply, before)
    else:
        assert reply.status == 200, reply.content
        found = [each["id"] for each in reply.json.get("Resources", [])]
        if "sortBy" not in str(row):
            found.sort()
        assert " ".join(found) == row.after
        assert reply["totalResults"] == reply["itemsPerPage"] == len(found)
        assert app.dump() == dumped
    assert codes_of(reply) == codes


def assert_state(
    client: Client, row: Row, reply: Reply, before: dict[str, Any]
) -> None:
    """Check the resource that was written, and that no other was."""
    made = row.method == "POST" and row.path.lower() != "/bulk"
    assert reply.status == (201 if made else 200), reply.content
    now = client.get(row.look)
    assert shown(now.json) == row.after
    schemas = {USER if row.look.startswith("/Users") else GROUP}
    schemas |= {name for name in row.after if name.startswith("urn:")}
    assert sorted(now["schemas"]) == sorted(schemas)
    if row.path.lower() != "/bulk":
        assert reply.json == now.json
    after = everything(client)
    written = row.look.rpartition("/")[2]
    assert after.keys() == before.keys() | {written}
    for id, resource in before.items():
        # a member is shown with its displayName
        if id != written and not ("displayName" in row.after and id == "G1"):
            assert shown(after[id]) == shown(resource)
    if written in before and shown(before[written]) != row.after:
        for name in ("version", "lastModified"):
            assert now["meta"][name] != before[written]["meta"][name]
    elif written in before:
        assert now.json == before[written]


# --- What no level accepts ------------------------------------------------------------

HELD = LEAD | {
    "name": SMITH,
    "active": True,
    "emails": [W, H],
    "roles": [ADMIN],
    EXT: {"department": "R&D", "manager": {"value": "u7"}},
}
ABSENT = "n@x.example"
LOOSE_MEMBER = {"value": "bulkId:x"}
PATCHES: dict[str, list[Any]] = {  # scimType: operations, on user u1
    "invalidValue": [
        *(
            op("replace", "active", sent)
            for sent in ("yes", "no", "on", "1", "0", "t", " true ", "", 2, -1, 0.5)
        ),
        op("add", value={"active": "yes"}),
        op("replace", f"{WORK}.primary", "on"),
        op("add", "roles", [{"value": "x", "primary": 7}]),
        op("remove", "title", "Lead"),
        op("remove", "title", ["Lead"]),
        op("remove", "active", True),
        op("remove", "name", SMITH),
        op("remove", "name.familyName", "Smith"),
        op("remove", f"{EXT}:department", "R&D"),
        op("remove", MANAGER, {"value": "u7"}),
        op("replace", MANAGER, 7),
        op("replace", MANAGER, True),
        op("add", "emails", [5]),
        op("add", "emails", [True]),
        op("replace", "name", "Ann Smith"),
        op("add", "addresses", ["1 Main St"]),
        op("replace", "title", ["Lead", "Dr"]),
        op("replace", MANAGER, [{"value": "u7"}, {"value": "u2"}]),
        op("replace", "title", {"value": "Dr"}),
        op("replace", MANAGER, LOOSE_MEMBER),
        op("add", value={EXT: {"manager": LOOSE_MEMBER}}),
        op("add", "roles", [{"value": "x"} | TRUE, {"value": "y"} | TRUE]),
        op("replace", value={"roles": [ADMIN | TRUE, {"value": "y"} | TRUE]}),
    ],
    "noTarget": [
        op(name, f"emails[{filter}].display", "x")
        for name in ("add", "replace")
        for filter in (
            *('type eq "x" or type eq "y"', 'value co "nobody"', 'value sw "n"'),
            *(
                'not (type eq "work" or type eq "home")',
                'type ne "work" and type ne "home"',
                "display pr",
                'type eq "x" and value co "n"',
            ),
        )
    ],
    "invalidPath": [
        op("replace", path, "x")
        for path in (
            "title title",
            ".title",
            "name.",
            "name..familyName",
            f"{WORK}x",
            f"{WORK}.",
            'title eq "x"',
        )
    ],
    "invalidFilter": [
        *(
            op("remove", f"emails[{filter}]")
            for filter in (
                "type",
                "type eq",
                "type eq 5",
                'primary eq "yes"',
                "primary eq 2",
                'primary eq "1"',
                'primary eq ""',
            )
        ),
    ],
    "mutability": [
        op("add", value={"id": "u2"}),
        op("replace", value={"id": 5, "title": "Dr"}),
        op("replace", value={"meta": {"resourceType": "Group"}}),
        op("replace", value={"groups": [{"value": "G2"}], "title": "Dr"}),
    ],
    "invalidSyntax": [
        op("move", "title", "Dr"),
        op("", "title", "Dr"),
        {"path": "title", "value": "Dr"},
    ],
}
BODIES: list[dict[str, Any]] = [  # of POST and PUT
    *({"active": sent} for sent in ("yes", "on", "1", "t", " true ", 2, -1, 0.5)),
    {"roles": [{"value": "x", "primary": "on"}]},
    {"title": ["Dr"]},
    {"active": [True]},
    {"name": [IDA]},
    {"name": "Ida"},
    {"addresses": ["1 Main St"]},
    {"emails": [5]},
    {EXT: {"manager": [{"value": "u7"}]}},
    {EXT: {"manager": 7}},
    {EXT: {"manager": LOOSE_MEMBER}},
    {EXT: {"department": ["Sales"]}},
    {"roles": [{"value": "x"} | TRUE, {"value": "y"} | TRUE]},
]
GROUPS: list[Any] = [  # of PATCH on a group
    op("add", "members", [LOOSE_MEMBER]),
    op("replace", "members", [{"value": "u1"}, LOOSE_MEMBER]),
    op("add", value={"members": [LOOSE_MEMBER]}),
]
QUERIES: list[tuple[str, dict[str, Any]]] = [
    *(
        ("invalidFilter", {"filter": filter})
        for filter in (
            *('active eq "yes"', 'active eq "1"', 'active eq ""', "active eq 2"),
            *("active eq -1", "active eq 0.5", 'roles[primary eq "on"]', "userName eq"),
            *("userName eq )", "(userName eq", 'emails[type eq "x"].'),
        )
    ),
    ("invalidValue", {"sortBy": "colour"}),
    ("invalidValue", {"sortBy": "name"}),
]
NEVER: list[tuple[str, str, str, Any]] = [
    *(
        (scim_type, "PATCH", "/Users/u1", patch_op(operation))
        for scim_type, operations in PATCHES.items()
        for operation in operations
    ),
    *(
        ("invalidValue", method, path, {"schemas": schemas, "userName": name} | sent)
        for sent in BODIES
        for method, path, name in (
            ("POST", "/Users", "new"),
            ("PUT", "/Users/u1", "ann"),
        )
        for schemas in [[USER, *(name for name in sent if name == EXT)]]
    ),
    *(
        ("invalidValue", "PATCH", "/Groups/G1", patch_op(operation))
        for operation in GROUPS
    ),
    *(
        ("invalidValue", method, path, {"schemas": [GROUP], "displayName": "x"} | sent)
        for sent in ({"members": [LOOSE_MEMBER]},)
        for method, path in (("POST", "/Groups"), ("PUT", "/Groups/G1"))
    ),
    *(
        (scim_type, "POST", "/Users/.search", {"schemas": [SEARCH]} | search)
        for scim_type, search in QUERIES
    ),
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("scim_type", "method", "path", "sent"), NEVER)
def test_never(level: str, scim_type: str, method: str, path: str, sent: Any) -> None:
    """Refused at every level, under no code, and nothing is changed."""
    app, client = serve(HELD, tolerance=level)
    before, dumped = everything(client), app.dump()
    reply = client.request(method, path, sent)
    detail = assert_error(reply, 400, scim_type)
    assert "--accept" not in detail
    assert codes_of(reply) == set()
    assert app.dump() == dumped
    assert everything(client) == before


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/Users/u1", op("remove", "emails", [{"type": "work", "vlaue": "x"}])),
        ("/Users/u1", op("remove", "emails", [W, {"type": "work", "vlaue": None}])),
        ("/Users/u1", op("remove", "emails", {"work": [W]})),
        ("/Groups/G1", op("remove", "members", [{"value": "u1", "vlaue": "u1"}])),
        ("/Groups/G1", op("remove", "members", [{"display": "Bob"}])),
        ("/Groups/G1", op("remove", "members", [{"type": "User"}])),
    ],
)
def test_an_item_that_would_name_too_much(level: str, path: str, sent: Any) -> None:
    """An item with an unknown name, or a reference without its id, names nothing."""
    app, client = serve({"emails": [W, H]}, tolerance=level)
    before = app.dump()
    assert_error(client.patch(path, sent), 400, "invalidValue")
    assert app.dump() == before


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sent", [[{}], [{"value": None}], [{"value": ""}]])
def test_an_item_that_names_nobody(level: str, sent: Any) -> None:
    """A removal of members never removes another member, whatever it is answered."""
    app, client = serve(tolerance=level)
    before = app.dump()
    reply = client.patch("/Groups/G1", op("remove", "members", sent))
    if reply.status != 200 or level == "strict":
        assert_error(reply, 400, "invalidValue")
    assert app.dump() == before


# --- Endpoints in another case --------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", "/serviceproviderconfig", "/ServiceProviderConfig"),
        ("GET", "/RESOURCETYPES", "/ResourceTypes"),
        ("GET", "/resourceTypes/User", "/ResourceTypes/User"),
        ("GET", f"/schemas/{GROUP}", f"/Schemas/{GROUP}"),
        ("GET", "/me", "/Me"),
        ("PATCH", "/ME", "/Me"),
        ("HEAD", "/me", "/Me"),
        ("OPTIONS", "/users/u1", "/Users/u1"),
        ("GET", "/groups/G1", "/Groups/G1"),
        ("DELETE", "/bulk", "/Bulk"),
        ("GET", "/USERS/nobody", "/Users/nobody"),
    ],
)
@pytest.mark.parametrize("token", ["", "s3cret"])
def test_endpoint_case(method: str, path: str, right: str, token: str) -> None:
    """Each answers as the endpoint does, with locations spelt right; strict has 404."""
    options: dict[str, Any] = {"bearer_tokens": [token]} if token else {}
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    ann = {"schemas": [USER], "userName": "ann", "id": "u1"}
    crew = {"schemas": [GROUP], "displayName": "crew", "id": "G1"}
    for level in ("standard", "strict"):
        app = create_app(me="ann", tolerance=level, resources=[ann, crew], **options)
        client = Client(app)
        sent = patch_op(op("add", "title", "Dr")) if method == "PATCH" else None
        expected = client.request(method, right, sent, headers)
        kept = app.dump()
        reply = client.request(method, path, sent, headers)
        assert app.dump() == kept
        if level == "standard":
            assert codes_of(reply) == {"endpoint-case"}
            del reply.headers["Scim-Deviation"]
            assert (reply.status, reply.json) == (expected.status, expected.json)
            assert reply.headers == expected.headers
        elif method == "HEAD":
            assert reply.status == 404
        else:
            assert_names(assert_error(reply, 404), "endpoint-case")


def test_endpoint_case_without_a_token() -> None:
    """ServiceProviderConfig is open in any case, and nothing else is."""
    for tenants, prefix in (((), "/v2"), (("acme",), "/acme/v2")):
        client = Client(create_app(bearer_tokens=["s3cret"], tenants=tenants), prefix)
        assert client.get("/serviceproviderconfig").status == 200
        for path in ("/users", "/Me", "/schemas", "/serviceproviderconfig/x"):
            assert_error(client.get(path), 401)


def test_endpoint_case_in_bulk() -> None:
    """The path of an operation may be spelt so too; strict refuses that operation."""
    job = [
        {
            "method": "POST",
            "path": "/users",
            "bulkId": "q",
            "data": {"schemas": [USER], "userName": "new"},
        },
        {"method": "DELETE", "path": "/GROUPS/G1"},
        {"method": "DELETE", "path": "/Users/u2"},
    ]
    body = {"schemas": [BULK], "Operations": job}
    for level, statuses in (("standard", "201 204 204"), ("strict", "404 404 204")):
        _, client = serve(tolerance=level)
        reply = client.post("/Bulk", body)
        results = reply["Operations"]
        assert " ".join(each["status"] for each in results) == statuses
        if level == "standard":
            assert codes_of(reply) == {"endpoint-case"}
            assert results[0]["location"] == f"{BASE}/Users/n1"
            assert results[1]["location"] == f"{BASE}/Groups/G1"
        else:
            assert_names(results[0]["response"]["detail"], "endpoint-case")


# --- The table and the gate -----------------------------------------------------------


def test_the_table() -> None:
    """The module's table is that of the specification, and its code is the key."""
    rows = dict(DEVIATIONS)
    assert rows.keys() == TABLE.keys()
    for code, (accepted_from, scim_types) in TABLE.items():
        row = rows[code]
        assert fields(row)[0].name == "code" and row.code == code
        assert row.accepted_from == accepted_from
        known = r"invalid[A-Z]\w+|noTarget|mutability|404"
        named = re.findall(known, str(row.scim_type))
        assert named and set(named) <= set(scim_types.split()), code
        assert scim_types.split()[0] in named or code == "unqualified-attribute"
        with pytest.raises(FrozenInstanceError):
            row.code = "other"


def test_every_code_is_tested() -> None:
    """Each code has rows of its own above, where no other takes the blame."""
    assert {row.codes for row in ROWS} >= set(DEVIATIONS)
    assert {code for row in ROWS for code in row.codes.split()} == set(DEVIATIONS)


BOTH = op("Replace", "active", "True")
GATE: list[tuple[str, tuple[str, ...], tuple[str, ...], str, str, str]] = [
    # level, accept, refuse; refused with (or no more), by code; codes in the header
    ("strict", (), (), "invalidSyntax", "op-case", ""),
    ("strict", ("op-case",), (), "invalidValue", "boolean-as-string", "op-case"),
    ("strict", ("op-case", "boolean-as-string"), (), "", "", "both"),
    ("strict", ("unknown-key",), (), "invalidSyntax", "op-case", ""),
    ("standard", (), (), "", "", "both"),
    ("standard", (), ("op-case",), "invalidSyntax", "op-case", ""),
    (
        "standard",
        *((), ("boolean-as-string",)),
        *("invalidValue", "boolean-as-string", "op-case"),
    ),
    ("standard", ("unknown-path",), ("unknown-key",), "", "", "both"),
    ("lenient", (), (), "", "", "both"),
    (
        "lenient",
        *((), ("boolean-as-string",)),
        *("invalidValue", "boolean-as-string", "op-case"),
    ),
]


@pytest.mark.parametrize(
    ("level", "accept", "refuse", "scim_type", "code", "header"), GATE
)
def test_accept_and_refuse_move_one_code(
    level: str, accept: Any, refuse: Any, scim_type: str, code: str, header: str
) -> None:
    """The level rules every other code; the first that is refused ends the request."""
    app, client = serve(tolerance=level, accept=accept, refuse=refuse)
    before = app.dump()
    reply = client.patch("/Users/u1", BOTH)
    if scim_type:
        assert_names(assert_error(reply, 400, scim_type), code)
        assert codes_of(reply) == set(header.split())
        assert app.dump() == before
    else:
        assert reply.status == 200, reply.content
        assert reply["active"] is True
        assert codes_of(reply) == {"op-case", "boolean-as-string"}


ERRORS: list[tuple[str, str, Any, int, str | None, str]] = [
    # method, path, body; status, scimType, header
    (
        *("POST", "/Users"),
        {"schemas": [USER], "userName": "BOB", "active": "True"},
        *(409, "uniqueness", "boolean-as-string"),
    ),
    (
        *("PUT", "/Users/u1"),
        {"schemas": [USER], "userName": "Bob", "emails": ["a@x.example"], "x": 1},
        *(409, "uniqueness", "value-for-complex unknown-attribute"),
    ),
    (
        *("PATCH", "/Users/u1"),
        patch_op(op("Replace", "title", "Dr"), op("Replace", "colour", "x")),
        *(400, "invalidPath", "op-case"),
    ),
    (
        *("PATCH", "/Users/u1"),
        patch_op(op("replace", "active", "True"), op("replace", "title", 5)),
        *(400, "invalidValue", "boolean-as-string"),
    ),
    (
        *("PATCH", "/Users/u1"),
        patch_op(op("Add", f"{WORK}.value", "n@x.example"), op("Remove", "userName")),
        *(400, "mutability", "op-case add-creates"),
    ),
    (
        *("PATCH", "/Groups/G1"),
        patch_op(op("Remove", "members", ["u1"]), op("add", "members", [LOOSE_MEMBER])),
        *(400, "invalidValue", "op-case remove-with-value"),
    ),
    (
        *("PATCH", "/Users/u1", patch_op(op("add", "title", 5), id="x")),
        *(400, "invalidValue", "unknown-key"),
    ),
    (
        *("POST", "/Users/.search"),
        {"schemas": [SEARCH], "userName": "x", "filter": "usrName pr"},
        *(400, "invalidFilter", "unknown-key"),
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "scim_type", "header"), ERRORS
)
def test_the_header_of_an_error(
    method: str, path: str, body: Any, status: int, scim_type: str | None, header: str
) -> None:
    """A reply lists what was accepted in its request also when it ends in an error."""
    app, client = serve(LEAD)
    before = app.dump()
    reply = client.request(method, path, body)
    assert_error(reply, status, scim_type)
    assert codes_of(reply) == set(header.split())
    assert app.dump() == before


@pytest.mark.parametrize("code", ["unusual", "op_case", "OP-CASE", ""])
def test_unknown_codes(code: str) -> None:
    """A code that the table has not is refused at start, and named."""
    for options in (
        *({"accept": (code,)}, {"refuse": ("op-case", code)}),
        *({"tenants": {"a": {name: (code,)}}} for name in ("accept", "refuse")),
    ):
        with pytest.raises(ValueError, match=f"'{code}'"):
            create_app(**options)


def test_options_that_contradict_each_other() -> None:
    """A code in both, and a level that is none, are refused at start."""
    for options in (
        {"accept": ("op-case", "unknown-key"), "refuse": ("unknown-key",)},
        {
            "tolerance": "lenient",
            "accept": ("unknown-key",),
            "refuse": ("unknown-key",),
        },
    ):
        for arguments in (options, {"tenants": {"a": options}}):
            with pytest.raises(ValueError, match="unknown-key"):
                create_app(**arguments)
    for arguments in (
        {"tolerance": "loose"},
        {"tenants": {"a": {"tolerance": "loose"}}},
    ):
        with pytest.raises(ValueError, match="loose"):
            create_app(**arguments)


TENANTS: list[tuple[dict[str, Any], dict[str, str]]] = [
    # options; the statuses of op-case and of unknown-path by tenant
    (
        {
            "tenants": {
                "a": {"tolerance": "strict"},
                "b": {},
                "c": {"tolerance": "lenient", "refuse": ("op-case",)},
                "d": {"tolerance": "strict", "accept": ("op-case",)},
                "e": {"tolerance": "standard", "accept": ("unknown-path",)},
                "f": {"tolerance": "lenient"},
            }
        },
        {
            "a": "400 400",
            "b": "200 400",
            "c": "400 200",
            "d": "200 400",
            "e": "200 200",
            "f": "200 200",
        },
    ),
    (
        {"tolerance": "lenient", "tenants": {"a": {}, "b": {"tolerance": "strict"}}},
        {"a": "200 200", "b": "400 400"},
    ),
    (
        {"tolerance": "strict", "accept": ("op-case",), "tenants": ("a", "b")},
        {"a": "200 400", "b": "200 400"},
    ),
    ({"refuse": ("op-case",), "tenants": ("a",)}, {"a": "400 400"}),
]


@pytest.mark.parametrize(("options", "expected"), TENANTS)
def test_levels_by_tenant(options: dict[str, Any], expected: dict[str, str]) -> None:
    """Each tenant has its own level and codes, else those of the server."""
    app = create_app(**options)
    for name, statuses in expected.items():
        client = Client(app, f"/{name}/v2")
        path = f"/Users/{client.user('ann')['id']}"
        replies = [
            client.patch(path, op("Replace", "title", "Dr")),
            client.patch(path, op("replace", "colour", "red")),
        ]
        assert " ".join(str(reply.status) for reply in replies) == statuses, name
        codes = ("op-case", "unknown-path")
        for reply, code in zip(replies, codes, strict=True):
            assert codes_of(reply) == ({code} if reply.status == 200 else set())


# --- Bulk -----------------------------------------------------------------------------


def post(bulkId: str, codes: str, name: str = "u", **more: Any) -> tuple[Any, str]:
    """Spell the creation of a user in a Bulk, and its codes."""
    data = {"schemas": [USER], "userName": f"{name}{bulkId}"}
    change: dict[str, Any] = more.pop("change", {})
    data = {key: each for key, each in (data | change).items() if each is not NOTHING}
    job = {"method": "POST", "path": "/Users", "bulkId": bulkId, "data": data}
    return job | more, codes


JOBS: list[tuple[Any, str]] = [
    post("1", "boolean-as-string", change={"active": "True"}),
    (
        {
            "method": "PATCH",
            "path": "/Users/u1",
            "data": patch_op(op("Replace", "title", "Dr")),
        },
        "op-case",
    ),
    post("2", "missing-schemas", change={"schemas": NOTHING}),
    post("3", "unknown-attribute", change={"colour": "red"}),
    post("4", "unknown-key", note="x"),
    (
        {
            "method": "PATCH",
            "path": "/Users/u2",
            "data": patch_op(op("replace", f"{WORK}.value", "n@x.example")),
        },
        "replace-creates",
    ),
    (
        {
            "method": "PATCH",
            "path": "/Groups/G1",
            "data": patch_op(op("remove", "members", {"value": "u1"})),
        },
        "remove-with-value",
    ),
    post("5", ""),
    (
        {
            "method": "PUT",
            "path": "/Users/u7",
            "data": {"schemas": [USER], "userName": "boss", EXT: SALES},
        },
        "undeclared-extension",
    ),
    (
        {
            "method": "POST",
            "path": "/Groups",
            "bulkId": "6",
            "data": {
                "schemas": [GROUP],
                "displayName": "new",
                "members": [{"value": "bulkId:5"}],
            },
        },
        "",
    ),
]


@pytest.mark.parametrize("accept", [(), ("op-case",), ("replace-creates",)])
@pytest.mark.parametrize("level", LEVELS)
def test_bulk(level: str, accept: tuple[str, ...]) -> None:
    """Only the operation concerned fails; the reply lists the codes of all."""
    app, client = serve(tolerance=level, accept=accept)
    body = {"schemas": [BULK], "Operations": [job for job, _ in JOBS]}
    reply = client.post("/Bulk", body)
    assert reply.status == 200, reply.content
    accepted = set()
    for (job, code), result in zip(JOBS, reply["Operations"], strict=True):
        if code and code not in accept and not accepted_at(level, code):
            response = result["response"]
            assert (result["status"], response["status"]) == ("400", "400")
            assert response["scimType"] == TABLE[code][1].split()[0]
            assert_names(response["detail"], code)
        else:
            status = ("201",) if job["method"] == "POST" else ("200", "204")
            assert result["status"] in status, result
            accepted |= {code} - {""}
    assert codes_of(reply) == accepted
    names = {each.get("userName"): each for each in everything(client).values()}
    ann, bob = client.get("/Users/u1").json, client.get("/Users/u2").json
    assert ("title" in ann) == ("op-case" in accepted)
    assert ("emails" in bob) == ("replace-creates" in accepted)
    crew = client.get("/Groups/G1")["members"]
    removed = "remove-with-value" in accepted
    assert crew == [member(id) for id in ("u1", "u2")[removed:]]
    assert ("u1" in names) == ("boolean-as-string" in accepted)
    assert "u5" in names
    (new,) = client.get("/Groups", filter='displayName eq "new"')["Resources"]
    assert [each["value"] for each in new["members"]] == [names["u5"]["id"]]
    assert len(app.dump()) == 6 + sum(
        code in accepted for _, code in JOBS[:5] if code != "op-case"
    )


def test_bulk_stops_at_refusals() -> None:
    """A refused deviation is an error that failOnErrors counts (RFC 7644 §3.7.3)."""
    _, client = serve(tolerance="strict")
    jobs = [job for job, _ in JOBS]
    reply = client.post(
        "/Bulk", {"schemas": [BULK], "failOnErrors": 2, "Operations": jobs}
    )
    assert [each["status"] for each in reply["Operations"]] == ["400", "400"]
    assert client.get("/Users", filter='userName eq "u5"')["totalResults"] == 0


# --- Projection -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ('password[value eq "x"]', "'value' within 'password[…]'"),
        ('emails[colour eq "x"]', "'colour' within 'emails[…]'"),
        ('nope[colour eq "x"]', "'nope'"),
        ("nope", "'nope'"),
        ("name.nope", "'name.nope'"),
    ],
)
def test_what_a_key_names_that_no_schema_declares(key: str, said: str) -> None:
    """The detail names the part that is unknown, not the attribute before it."""
    client = Client(create_app(tolerance="strict", new_id=lambda: "u1"))
    client.user("ann")
    reply = client.patch("/Users/u1", op("replace", value={key: "y"}))
    detail = assert_error(reply, 400, "invalidSyntax")
    assert_names(detail, "unknown-attribute")
    assert said in detail


@pytest.mark.parametrize("refuse", [(), ("unqualified-attribute",)])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("attributes", "extension"),
    [
        ("department", SALES),
        ("Department", SALES),
        ("manager", {"manager": BOSS}),
        ("manager.value", {"manager": {"value": "u7"}}),
    ],
)
def test_unqualified_attributes(
    level: str, refuse: tuple[str, ...], attributes: str, extension: Any
) -> None:
    """As with its URN, or refused in strict (RFC 7644 §3.4.2.5, §3.10)."""
    _, client = serve(PERSON, tolerance=level, refuse=refuse)
    taken = level != "strict" and not refuse
    search = {"schemas": [SEARCH], "filter": 'id eq "u1"', "attributes": [attributes]}
    replies = [
        client.get("/Users/u1", attributes=attributes),
        client.get("/Users", attributes=attributes, filter='id eq "u1"'),
        client.post("/Users/.search", search),
    ]
    for reply in replies:
        if not taken:
            assert_names(
                assert_error(reply, 400, "invalidValue"), "unqualified-attribute"
            )
            continue
        assert reply.status == 200, reply.content
        (resource,) = reply.json.get("Resources", [reply.json])
        expected = {"id": "u1", EXT: extension}
        assert {k: v for k, v in resource.items() if k != "schemas"} == expected
        assert codes_of(reply) == {"unqualified-attribute"}
        full = client.get("/Users/u1", attributes=f"{EXT}:{attributes},{USER}:title")
        assert codes_of(full) == set()
        assert full[EXT] == extension and full["title"] == "Lead"


@pytest.mark.parametrize("parameter", ["attributes", "excludedAttributes"])
def test_names_that_come_in_parts(parameter: str) -> None:
    """A list in two parameters, or in a string, is one list (RFC 7644 §3.9)."""
    _, client = serve(PERSON)
    whole = client.get("/Users/u1", **{parameter: "title,emails"})
    assert ("title" in whole.json) == (parameter == "attributes")
    parts = client.get(f"/Users/u1?{parameter}=title&{parameter}=emails")
    assert parts.json == whole.json
    sent = {"schemas": [SEARCH], "filter": 'id eq "u1"', parameter: "title, emails"}
    assert client.post("/Users/.search", sent)["Resources"] == [whole.json]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """And with nothing that stands in its brackets (RFC 7644 §7.5.2)."""
    client = serve(tolerance="strict")[1]
    near = client.get("/Users", attributes="userNam")
    assert "did you mean 'userName'" in assert_error(near, 400, "invalidValue")
    for name in ('password[value eq "s3cret"]', 'password eq "s3cret'):
        reply = client.get("/Users", attributes=name)
        assert b"s3cret" not in reply.content
        assert "'password'" in assert_error(reply, 400, "invalidValue")


# --- Details --------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_putting_back_what_was_read(level: str) -> None:
    """A whole GET body, groups and meta and all, is no deviation (Okta)."""
    app, client = serve(PERSON, tolerance=level)
    dumped = app.dump()
    for path in ("/Users/u1", "/Users/u2", "/Users/u7", "/Groups/G1"):
        before = client.get(path)
        reply = client.put(path, before.json)
        assert (reply.status, reply.json) == (200, before.json)
        assert codes_of(reply) == set()
    assert app.dump() == dumped


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["id", "meta", "groups"])
def test_read_only_values_in_a_patch(level: str, name: str) -> None:
    """In a value without path, what is shown is ignored (RFC 7644 §3.5.2)."""
    _, client = serve(PERSON, tolerance=level)
    before = client.get("/Users/u1").json
    for number, kind in enumerate(("add", "replace")):
        title = f"Dr{number}"
        same = client.get("/Users/u1").json[name]
        reply = client.patch("/Users/u1", op(kind, value={name: same, "title": title}))
        assert reply.status == 200, reply.content
        assert codes_of(reply) == set()
        assert shown(reply.json) == shown(before) | {"title": title}


CUSTOM = "urn:example:scim:schemas:Lamp"
LAMP = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
    "id": CUSTOM,
    "name": "Lamp",
    "attributes": [
        {"name": "on", "type": "boolean", "multiValued": False},
        {"name": "tags", "type": "string", "multiValued": True},
        {"name": "label", "type": "string", "multiValued": False},
        {
            "name": "bulbs",
            "type": "complex",
            "multiValued": True,
            "subAttributes": [
                {"name": "socket", "type": "string", "multiValued": False},
                {"name": "lit", "type": "boolean", "multiValued": False},
            ],
        },
    ],
}
LAMPS = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
    "id": "Lamp",
    "name": "Lamp",
    "endpoint": "/Lamps",
    "schema": CUSTOM,
}
BULBS = [{"socket": "E14", "lit": True}, {"socket": "E27", "lit": False}]
HALL = {"on": True, "tags": ["red", "blue"], "label": "hall", "bulbs": BULBS}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("code", "operation", "after"),
    [
        ("boolean-as-string", op("replace", "on", "False"), {"on": False}),
        ("boolean-as-number", op("replace", "on", 0), {"on": False}),
        (
            "boolean-as-string",
            op("replace", 'bulbs[lit eq "false"].lit', True),
            {"bulbs": [BULBS[0], BULBS[1] | {"lit": True}]},
        ),
        ("remove-with-value", op("remove", "tags", "red"), {"tags": ["blue"]}),
        ("remove-with-value", op("remove", "tags", ["blue"]), {"tags": ["red"]}),
        ("remove-with-value", op("remove", "tags", ["green"]), {}),
        (
            "remove-with-value",
            op("remove", "bulbs", {"socket": "E14"}),
            {"bulbs": BULBS[1:]},
        ),
        (
            "add-creates",
            op("add", 'bulbs[socket eq "G9" and lit eq true].lit', True),
            {"bulbs": [*BULBS, {"socket": "G9", "lit": True}]},
        ),
        ("array-for-single", op("replace", "label", ["desk"]), {"label": "desk"}),
        ("unknown-attribute", op("add", value={"colour": "red"}), {}),
        ("", op("add", "tags", "green"), {"tags": ["red", "blue", "green"]}),
    ],
)
def test_custom_schemas(level: str, code: str, operation: Any, after: Any) -> None:
    """A resource type of one's own has the same deviations, with no code."""
    app = create_app(schemas=[LAMP], resource_types=[LAMPS], tolerance=level)
    client = Client(app)
    made = client.post("/Lamps", {"schemas": [CUSTOM], **HALL}).json
    path, before = f"/Lamps/{made['id']}", app.dump()
    reply = client.patch(path, operation)
    if not code or accepted_at(level, code):
        assert reply.status == 200, reply.content
        assert codes_of(reply) == ({code} if code else set())
        assert {name: reply[name] for name in HALL} == HALL | after
        assert client.get(path).json == reply.json
    else:
        in_filter = "[lit" in operation.get("path", "")
        scim_type = "invalidFilter" if in_filter else TABLE[code][1].split()[0]
        assert_names(assert_error(reply, 400, scim_type), code)
        assert app.dump() == before


@pytest.mark.parametrize("level", LEVELS)
def test_chunked_bodies(level: str) -> None:
    """.NET sends bodies in chunks, and that is no deviation (RFC 9112 §7.1)."""
    body = json.dumps({"schemas": [USER], "userName": "chunky"}).encode()
    sent = ["Transfer-Encoding: chunked", "Accept: */*"]
    with running_server(tolerance=level) as server, Wire(server.url) as wire:
        wire.send(
            message(server.url, "POST", "/Users", *sent),
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        )
        reply = wire.answer()
    assert (reply.status, reply["userName"]) == (201, "chunky")
    assert "Scim-Deviation" not in reply.headers
