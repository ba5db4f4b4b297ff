"""Paging by index (RFC 7644 §3.4.2.4)."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from conftest import LIST, SEARCH, Client, assert_error

from scim2_server import create_app


def serve(users: int, **options: Any) -> Client:
    """Serve users 1 to N, named after their ids."""
    client = Client(create_app(new_id=map(str, count(1)).__next__, **options))
    for number in range(1, users + 1):
        client.user(f"user{number:04}", title="even" if number % 2 == 0 else "odd")
    return client


@pytest.fixture(scope="module")
def seven() -> Client:
    """Users 1 to 7."""
    return serve(7)


@pytest.fixture(scope="module")
def many() -> Client:
    """More users than fit in the largest page."""
    return serve(1_002)


# startIndex and count as sent: startIndex answered, ids
PAGES: list[tuple[dict[str, int], int, str]] = [
    ({}, 1, "1 2 3 4 5 6 7"),
    ({"startIndex": 1}, 1, "1 2 3 4 5 6 7"),
    ({"startIndex": 3}, 3, "3 4 5 6 7"),
    ({"count": 3}, 1, "1 2 3"),
    ({"startIndex": 1, "count": 3}, 1, "1 2 3"),
    ({"startIndex": 4, "count": 3}, 4, "4 5 6"),
    ({"startIndex": 7, "count": 3}, 7, "7"),
    ({"startIndex": 8, "count": 3}, 8, ""),
    ({"startIndex": 999, "count": 3}, 999, ""),
    ({"startIndex": 0, "count": 2}, 1, "1 2"),
    ({"startIndex": -5, "count": 2}, 1, "1 2"),
    ({"count": 0}, 1, ""),
    ({"count": -1}, 1, ""),
    ({"startIndex": 2, "count": 0}, 2, ""),
    ({"count": 7}, 1, "1 2 3 4 5 6 7"),
    ({"count": 1_001}, 1, "1 2 3 4 5 6 7"),
    ({"count": 10**30}, 1, "1 2 3 4 5 6 7"),
]


@pytest.mark.parametrize(("query", "start", "ids"), PAGES, ids=repr)
def test_pages(seven: Client, query: dict[str, int], start: int, ids: str) -> None:
    """The whole answer, by GET and by .search, on the type and the root (Table 6)."""
    for reply in (
        seven.get("/Users", sortBy="userName", **query),
        seven.get("/", sortBy="userName", **query),
        seven.post(
            "/Users/.search", {"schemas": [SEARCH], "sortBy": "userName", **query}
        ),
    ):
        assert reply.status == 200, reply.content
        resources = reply.json.pop("Resources", [])
        assert " ".join(user["id"] for user in resources) == ids
        assert reply.json == {
            "schemas": [LIST],
            "totalResults": 7,
            "startIndex": start,
            "itemsPerPage": len(ids.split()),
        }


def test_pages_of_a_filter(seven: Client) -> None:
    """``totalResults`` counts the matches, not the page nor the store."""
    reply = seven.get("/Users", filter='title eq "odd"', startIndex=2, count=2)
    assert [user["id"] for user in reply["Resources"]] == ["3", "5"]
    assert (reply["totalResults"], reply["itemsPerPage"]) == (4, 2)
    reply = seven.get("/Users", filter='title eq "none"', count=2)
    assert (reply["totalResults"], reply["itemsPerPage"]) == (0, 0)
    assert not reply.json.get("Resources")


@pytest.mark.parametrize("size", range(1, 9))
def test_pages_add_up(seven: Client, size: int) -> None:
    """Without ``sortBy`` the order is the same from page to page."""
    pages = [
        seven.get("/Users", startIndex=start, count=size).json.get("Resources", [])
        for start in range(1, 9, size)
    ]
    whole = seven.get("/Users")["Resources"]
    assert [user for page in pages for user in page] == whole


@pytest.mark.parametrize("name", ["startIndex", "count"])
@pytest.mark.parametrize(
    "value",
    ["ten", "1.5", "1e1", "", " ", "0x1", "1_0", "٣", "²", "None", "1,2", "--1", "NaN"],
)
def test_what_is_no_integer(seven: Client, name: str, value: str) -> None:
    """400 invalidValue that names the parameter (§3.4.2.4, §3.12)."""
    reply = seven.get("/Users", **{name: value})
    assert name in assert_error(reply, 400, "invalidValue")
    reply = seven.post("/Users/.search", {"schemas": [SEARCH], name: value})
    assert name in assert_error(reply, 400, reply.json.get("scimType"))


@pytest.mark.parametrize("name", ["startIndex", "count"])
@pytest.mark.parametrize("value", [True, 1.5, [1], {"value": 1}])
def test_what_is_no_integer_in_a_body(seven: Client, name: str, value: Any) -> None:
    """A SearchRequest's numbers are JSON numbers (§3.4.3)."""
    reply = seven.post("/Users/.search", {"schemas": [SEARCH], name: value})
    assert name in assert_error(reply, 400, reply.json.get("scimType"))


def test_absurd_numbers(seven: Client) -> None:
    """Five thousand digits are no failure of the server's own."""
    for name in ("startIndex", "count"):
        reply = seven.get("/Users", **{name: "9" * 5_000})
        if reply.status != 200:
            assert_error(reply, 400, "invalidValue")


def test_default_and_largest_page(many: Client) -> None:
    """100 when no count is given, 1,000 at most (§3.4.2.4)."""
    for query, start, size in [
        ({}, 1, 100),
        ({"startIndex": 1_001}, 1_001, 2),
        ({"count": 1_000}, 1, 1_000),
        ({"count": 1_001}, 1, 1_000),
        ({"startIndex": 2, "count": 5_000}, 2, 1_000),
        ({"startIndex": 3, "count": 5_000}, 3, 1_000),
        ({"startIndex": 4, "count": 5_000}, 4, 999),
    ]:
        reply = many.get("/Users", attributes="id", **query)
        assert len(reply["Resources"]) == reply["itemsPerPage"] == size, query
        assert (reply["totalResults"], reply["startIndex"]) == (1_002, start)


def test_the_configuration_caps_a_page() -> None:
    """``filter.maxResults`` is what the server does (RFC 7643 §5)."""
    configuration = {"filter": {"supported": True, "maxResults": 5}}
    client = serve(7, service_provider_config=configuration)
    assert client.get("/ServiceProviderConfig")["filter"]["maxResults"] == 5
    for query in ({}, {"count": 7}, {"filter": "title pr"}):
        reply = client.get("/Users", **query)
        assert (reply["totalResults"], reply["itemsPerPage"]) == (7, 5)
