"""Sorting (RFC 7644 §3.4.2.3)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from conftest import ENTERPRISE, GROUP, SEARCH, USER, Client, assert_error
from test_rfc7644_3_4_2_2_filter import serve_devices

from scim2_server import create_app

PEOPLE = json.loads("""[
  {"userName": "delta", "externalId": "b", "title": "Boss", "nickName": "e\\u0301b",
   "name": {"familyName": "Young"},
   "emails": [{"value": "a@x", "type": "home"},
              {"value": "z@x", "type": "work", "primary": true}],
   "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":
     {"employeeNumber": "9"}},
  {"userName": "Bravo", "externalId": "B", "title": "aide", "nickName": "\\u00e9a",
   "emails": [{"value": "m@x"}],
   "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":
     {"employeeNumber": "10"}},
  {"userName": "charlie", "externalId": "a", "nickName": "f",
   "emails": [{"value": "b@x"}, {"value": "c@x", "type": "home"}]},
  {"userName": "alpha", "title": "BOSS", "name": {"familyName": "adams"}}]""")


@pytest.fixture(scope="module")
def people() -> Client:
    """Users 1 to 4, each created earlier than the one before."""
    today = [datetime(2024, 1, 9, tzinfo=UTC)]
    new_id = map(str, count(1)).__next__
    client = Client(create_app(clock=lambda: today[0], new_id=new_id))
    for person in PEOPLE:
        today[0] -= timedelta(days=1)
        client.user(**person)
    return client


# sortBy: ascending, descending (unassigned last, then first; equals as created)
ORDERS = {
    "userName": ("4 2 3 1", "1 3 2 4"),
    "USERNAME": ("4 2 3 1", "1 3 2 4"),
    f"{USER}:userName": ("4 2 3 1", "1 3 2 4"),
    "title": ("2 1 4 3", "3 1 4 2"),
    "externalId": ("2 3 1 4", "4 1 3 2"),
    "nickName": ("3 2 1 4", "4 1 2 3"),
    "id": ("1 2 3 4", "4 3 2 1"),
    "name.familyName": ("4 1 2 3", "2 3 1 4"),
    f"{USER}:Name.FamilyName": ("4 1 2 3", "2 3 1 4"),
    f"{ENTERPRISE}:employeeNumber": ("2 1 3 4", "3 4 1 2"),
    "emails": ("3 2 1 4", "4 1 2 3"),
    "emails.value": ("3 2 1 4", "4 1 2 3"),
    "meta.created": ("4 3 2 1", "1 2 3 4"),
    "meta.lastModified": ("4 3 2 1", "1 2 3 4"),
    "meta.location": ("1 2 3 4", "4 3 2 1"),
    "meta.resourceType": ("1 2 3 4", "1 2 3 4"),
    "locale": ("1 2 3 4", "1 2 3 4"),
}


@pytest.mark.parametrize(
    ("sort_by", "ascending", "descending"),
    [(name, *orders) for name, orders in ORDERS.items()],
)
def test_orders(people: Client, sort_by: str, ascending: str, descending: str) -> None:
    """By type and case, the primary or else the first of several values."""
    for order, expected in [
        ({}, ascending),
        ({"sortOrder": "ascending"}, ascending),
        ({"sortOrder": "descending"}, descending),
    ]:
        query = {"sortBy": sort_by, **order}
        listed = people.get("/Users", **query)
        assert " ".join(user["id"] for user in listed["Resources"]) == expected
        searched = people.post("/Users/.search", {"schemas": [SEARCH], **query})
        assert searched.json == listed.json
        pages = [
            people.get("/Users", startIndex=index, count=1, **query)["Resources"]
            for index in range(1, 5)
        ]
        assert " ".join(page[0]["id"] for page in pages) == expected


@pytest.mark.parametrize(
    ("sort_by", "ascending", "descending"),
    [
        ("load", "c a b z", "z b a c"),
        ("weight", "c a b z", "z b a c"),
        ("bought", "a c b z", "z b a c"),
        ("label", "a b c z", "z c b a"),
        ("tags", "b a c z", "c z a b"),
        ("owner.name", "a b c z", "b c z a"),
    ],
)
def test_orders_by_type(sort_by: str, ascending: str, descending: str) -> None:
    """Numbers as numbers, dateTimes as instants, simple values by the first."""
    devices = serve_devices()
    for order, expected in (("ascending", ascending), ("descending", descending)):
        reply = devices.get("/Devices", sortBy=sort_by, sortOrder=order)
        assert " ".join(item["serial"] for item in reply["Resources"]) == expected


def test_an_order_alone_changes_nothing(people: Client) -> None:
    """``sortOrder`` is the order in which ``sortBy`` is applied."""
    reply = people.get("/Users", sortOrder="descending")
    assert sorted(user["id"] for user in reply["Resources"]) == ["1", "2", "3", "4"]


def test_over_all_types(client: Client) -> None:
    """A type that lacks the attribute has no value there (§3.4.2.1)."""
    client.group("Mike")
    client.user("zulu", displayName="alfa")
    client.user("yankee")
    client.group("Lima")
    for sort_by, expected in [
        ("displayName", ["alfa", "Lima", "Mike", None]),
        ("userName", [None, "alfa", "Mike", "Lima"]),
        (f"{GROUP}:displayName", ["Lima", "Mike", "alfa", None]),
    ]:
        resources = client.get("/", sortBy=sort_by)["Resources"]
        assert [item.get("displayName") for item in resources] == expected, sort_by


REFUSED = [
    ("sortBy=usrName", "invalidValue", "userName"),
    ("sortBy=name", "invalidValue", "name"),
    ("sortBy=meta", "invalidValue", "meta"),
    ("sortBy=emails.valu", "invalidValue", "value"),
    ("sortBy=name.familyName.x", "invalidValue", ""),
    ("sortBy=userName%20eq", "invalidValue", ""),
    ("sortBy=members.value", "invalidValue", "members"),
    (f"sortBy={ENTERPRISE}:nope", "invalidValue", "nope"),
    (f"sortBy={USER}x:userName", "invalidValue", "userName"),
    ("sortBy=userName&sortOrder=up", "invalidValue", "sortOrder"),
    ("sortBy=password", "sensitive", "password"),
    (f"sortBy={USER}:PASSWORD", "sensitive", ""),
]


@pytest.mark.parametrize(("query", "scim_type", "named"), REFUSED)
def test_refused_orders(people: Client, query: str, scim_type: str, named: str) -> None:
    """An unknown or complex attribute; a password is no oracle (§7.5.2)."""
    status = 403 if scim_type == "sensitive" else 400
    sent = dict(part.split("=") for part in query.replace("%20", " ").split("&"))
    for reply in (
        people.get(f"/Users?{query}"),
        people.post("/Users/.search", {"schemas": [SEARCH], **sent}),
        people.get(f"/Users?{query}&cursor="),
    ):
        assert named in assert_error(reply, status, scim_type)
