"""Querying by POST .search and at the root (RFC 7644 §3.4.2.1, §3.4.3)."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from conftest import ENTERPRISE, GROUP, LIST, SEARCH, USER, Client, assert_error

from scim2_server import create_app


@pytest.fixture(scope="module")
def served() -> Client:
    """Users 1 to 3 and groups 4 and 5, which the tests only read."""
    client = Client(create_app(new_id=map(str, count(1)).__next__))
    client.user("asmith", displayName="Smith, A", title="Chief", password="s3cret")
    client.user("bsmith", displayName="Smith, B", **{ENTERPRISE: {"division": "X"}})
    client.user("cjones", displayName="Jones, C", emails=[{"value": "c@x.example"}])
    client.group("Smiths", "1", "2")
    client.group("All", "4", "3")
    return client


QUERIES: list[tuple[dict[str, Any], str]] = [
    ({}, "1 2 3 4 5"),
    ({"filter": 'displayName sw "smith"'}, "1 2 4"),
    ({"filter": 'displayName sw "smith"', "startIndex": 1, "count": 10}, "1 2 4"),
    ({"filter": 'userName sw "b"'}, "2"),
    ({"filter": 'userName ne "asmith"'}, "2 3 4 5"),
    ({"filter": 'not (userName eq "asmith")'}, "2 3 4 5"),
    ({"filter": "userName eq null"}, "4 5"),
    ({"filter": "userName pr"}, "1 2 3"),
    ({"filter": "members pr or title pr"}, "1 4 5"),
    ({"filter": 'members.value eq "3" or emails co "c@"'}, "3 5"),
    ({"filter": 'members[type eq "Group"]'}, "5"),
    ({"filter": 'meta.resourceType eq "Group"'}, "4 5"),
    ({"filter": 'meta.resourceType eq "User" and not (title pr)'}, "2 3"),
    ({"filter": f'schemas eq "{GROUP}"'}, "4 5"),
    ({"filter": f'{ENTERPRISE}:division eq "x"'}, "2"),
    ({"filter": f'{USER}:displayName sw "smith"'}, "1 2"),
    ({"filter": f'{GROUP}:displayName sw "smith"'}, "4"),
    ({"filter": 'id eq "4"'}, "4"),
    ({"filter": 'id eq "nothing"'}, ""),
    ({"sortBy": "displayName"}, "5 3 1 2 4"),
    ({"sortBy": "displayName", "sortOrder": "descending"}, "4 2 1 3 5"),
    ({"sortBy": "displayName", "startIndex": 2, "count": 2}, "3 1"),
    ({"sortBy": "displayName", "count": 0}, ""),
]


def in_query(search: dict[str, Any]) -> dict[str, Any]:
    """Spell a SearchRequest as query parameters."""
    return {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in search.items()
    }


@pytest.mark.parametrize(("search", "ids"), QUERIES, ids=repr)
def test_root(served: Client, search: dict[str, Any], ids: str) -> None:
    """Over all types; what one of them lacks has no value there (§3.4.2.1)."""
    reply = served.post("/.search", {"schemas": [SEARCH], **search})
    assert reply.status == 200, reply.content
    assert reply.headers["Content-Type"].startswith("application/scim+json")
    assert reply["schemas"] == [LIST]
    resources = reply.json.get("Resources", [])
    found = [resource["id"] for resource in resources]
    assert (found if "sortBy" in search else sorted(found)) == ids.split()
    assert reply["itemsPerPage"] == len(found)
    if "count" not in search:
        assert reply["totalResults"] == len(found)
    for path in ("", "/"):
        assert served.get(path, **in_query(search)).json == reply.json
    for resource in resources:
        kind = resource["meta"]["resourceType"]
        assert served.get(f"/{kind}s/{resource['id']}").json == resource


@pytest.mark.parametrize(
    "search",
    [search for search, _ in QUERIES if "members" not in str(search)]
    + [
        {"attributes": ["userName"]},
        {"attributes": ["userName", "emails.value", f"{ENTERPRISE}:division"]},
        {"excludedAttributes": ["emails", "name"], "filter": "emails pr"},
        {"attributes": ["password"]},
    ],
    ids=repr,
)
def test_types(served: Client, search: dict[str, Any]) -> None:
    """POST .search below a type answers what GET answers there (§3.4.3)."""
    reply = served.post("/Users/.search", {"schemas": [SEARCH], **search})
    if f"{GROUP}:" in str(search):
        assert_error(reply, 400, "invalidFilter")
    else:
        assert reply.status == 200
        kinds = {item["id"] in "123" for item in reply.json.get("Resources", [])}
        assert kinds <= {True}
    assert served.get("/Users", **in_query(search)).json == reply.json
    assert b"s3cret" not in reply.content


def test_the_example(served: Client) -> None:
    """The request of the RFC's own figure, all of the answer (§3.4.3)."""
    search = {
        "schemas": [SEARCH],
        "attributes": ["displayName", "userName"],
        "filter": 'displayName sw "smith"',
        "startIndex": 1,
        "count": 10,
    }
    reply = served.post("/.search", search)
    for resource in reply["Resources"]:
        resource.pop("schemas", None)
    reply.json["Resources"].sort(key=lambda resource: resource["id"])
    assert reply.json == {
        "schemas": [LIST],
        "totalResults": 3,
        "itemsPerPage": 3,
        "startIndex": 1,
        "Resources": [
            {"id": "1", "userName": "asmith", "displayName": "Smith, A"},
            {"id": "2", "userName": "bsmith", "displayName": "Smith, B"},
            {"id": "4", "displayName": "Smiths"},
        ],
    }


@pytest.mark.parametrize(
    "search",
    [
        {"Schemas": [SEARCH], "Filter": 'userName eq "asmith"', "ATTRIBUTES": ["id"]},
        {"schemas": [SEARCH.upper()], "filter": 'id eq "1"', "attributes": ["id"]},
        {"schemas": [SEARCH], "filter": 'id eq "1"', "attributes": ["ID"], "count": 1},
        {"schemas": [SEARCH], "filter": 'id eq "1"', "attributes": [f"{USER}:id"]},
    ],
    ids=repr,
)
def test_names_in_any_case(served: Client, search: dict[str, Any]) -> None:
    """Names and URNs are case-insensitive in messages too (RFC 7643 §2.1)."""
    reply = served.post("/Users/.search", search)
    assert reply.status == 200, reply.content
    assert "Scim-Deviation" not in reply.headers
    (found,) = reply["Resources"]
    assert found.keys() <= {"id", "schemas"}
    assert found["id"] == "1"


REFUSED: list[tuple[str, dict[str, Any], int, str | None]] = [
    ("/Users/.search", {"filter": 'usrName eq "x"'}, 400, "invalidFilter"),
    ("/.search", {"filter": "userName"}, 400, "invalidFilter"),
    ("/.search", {"filter": "userName eq 5"}, 400, "invalidFilter"),
    ("/.search", {"filter": "password pr"}, 403, "sensitive"),
    ("/.search", {"sortBy": "password"}, 403, "sensitive"),
    ("/.search", {"sortBy": "usrName"}, 400, "invalidValue"),
    ("/.search", {"sortBy": "name"}, 400, "invalidValue"),
    ("/Groups/.search", {"filter": "userName pr"}, 400, "invalidFilter"),
    ("/Users/.search", {"attributes": ["id"], "excludedAttributes": ["x"]}, 400, None),
    ("/Users/.search", {"attributes": 5}, 400, "invalidSyntax"),
    ("/Users/.search", {"attributes": ["id", 5]}, 400, "invalidSyntax"),
    ("/Users/.search", {"filter": ["userName pr"]}, 400, "invalidSyntax"),
    ("/Nothing/.search", {}, 404, None),
]


@pytest.mark.parametrize(("path", "search", "status", "scim_type"), REFUSED, ids=repr)
def test_refused(
    served: Client, path: str, search: Any, status: int, scim_type: str | None
) -> None:
    """The errors of a query, whichever way it comes (§3.4.3)."""
    reply = served.post(path, {"schemas": [SEARCH], **search})
    scim_types = {scim_type}
    if scim_type == "invalidSyntax":
        scim_types |= {"invalidValue", "invalidFilter"}
    assert reply.json.get("scimType") in scim_types, reply.content
    assert_error(reply, status, reply.json.get("scimType"))


@pytest.mark.parametrize(
    ("filter", "count"),
    [
        ("foo pr", 0),
        ('foo eq "x" or userName eq "asmith"', 1),
        ('emails[foo eq "x"]', 0),
        ('foo[bar eq "x"]', 0),
        ("not (foo pr)", 5),
        ("foo eq null", 5),
        ('foo ne "x"', 5),
        ("foo ne null", 0),
        ("foo gt null", 0),
    ],
)
def test_no_type_has_it(served: Client, filter: str, count: int) -> None:
    """Over several types it is "as if there is no attribute value" (§3.4.2.1)."""
    for reply in (
        served.get("/", filter=filter),
        served.post("/.search", {"schemas": [SEARCH], "filter": filter}),
    ):
        assert reply.status == 200, reply.content
        assert reply["totalResults"] == count
        assert "Scim-Deviation" not in reply.headers


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b"null", b"\xff"])
def test_no_search_request(served: Client, body: bytes) -> None:
    """A body that is no JSON object is invalidSyntax (§3.12)."""
    for path in ("/.search", "/Users/.search"):
        assert_error(served.post(path, body), 400, "invalidSyntax")


def test_a_search_creates_nothing(served: Client) -> None:
    """POST .search is a query: 200, no Location, no new resource (§3.4.3)."""
    reply = served.post("/Users/.search", {"schemas": [SEARCH], "userName": "new"})
    assert reply.status == 200
    assert "Location" not in reply.headers
    assert served.get("/")["totalResults"] == 5
