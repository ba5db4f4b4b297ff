"""Paging by cursor (RFC 9865)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

import pytest
from conftest import LIST, SEARCH, Client, Reply, assert_error

from scim2_server import create_app

ALPHABET = ascii_uppercase + ascii_lowercase + digits + "-_"
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+")


class Clock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now = datetime(2024, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def by_get(client: Client, path: str, **query: Any) -> Reply:
    """Query with GET."""
    return client.get(path, **query)


def by_search(client: Client, path: str, **query: Any) -> Reply:
    """Query with POST .search."""
    return client.post(f"{path}/.search", {"schemas": [SEARCH], **query})


Query = Callable[..., Reply]
verbs = pytest.mark.parametrize("ask", [by_get, by_search])


def ids(reply: Reply) -> list[str]:
    """Answer the ids on a page."""
    assert reply.status == 200, reply.content
    page = [resource["id"] for resource in reply.json.get("Resources", [])]
    assert reply["itemsPerPage"] == len(page)
    return page


def walk(ask: Query, client: Client, path: str, **query: Any) -> Iterator[Reply]:
    """Yield pages from the first to the last, whatever happens in between."""
    reply = ask(client, path, cursor="", **query)
    yield reply
    while "nextCursor" in reply.json:
        assert UNRESERVED.fullmatch(reply["nextCursor"])
        reply = ask(client, path, cursor=reply["nextCursor"], **query)
        yield reply


def serve(users: int, **options: Any) -> Client:
    """Serve users 1 to N, whose every third has no title."""
    client = Client(create_app(new_id=map(str, count(1)).__next__, **options))
    for number in range(users):
        # neither in the order of creation nor in the opposite one
        name = {"userName": f"n{number * 7 % users:02}"}
        client.user(**name, **({"title": "same"} if number % 3 else {}))
    return client


@pytest.fixture(scope="module")
def ten() -> Client:
    """Users 1 to 10, which the tests only read."""
    return serve(10)


ORDERS: list[dict[str, Any]] = [
    {},
    {"sortBy": "userName"},
    {"sortBy": "userName", "sortOrder": "descending"},
    {"sortBy": "title"},
    {"sortBy": "title", "sortOrder": "descending"},
    {"sortBy": "meta.created", "sortOrder": "descending"},
    {"sortBy": "emails.value"},
]
orders = pytest.mark.parametrize("order", ORDERS, ids=repr)


@verbs
@orders
@pytest.mark.parametrize("size", [1, 3, 5, 9, 10, 11])
def test_forwards_and_back(
    ten: Client, ask: Query, order: dict[str, Any], size: int
) -> None:
    """The pages add up to the list; each leads to its neighbours (§2)."""
    whole = ids(ask(ten, "/Users", **order))
    pages = list(walk(ask, ten, "/Users", count=size, **order))
    assert [id for page in pages for id in ids(page)] == whole
    assert [len(ids(page)) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert ids(pages[-1])
    for page in pages:
        assert (page["schemas"], page["totalResults"]) == ([LIST], 10)
    assert "previousCursor" not in pages[0].json
    page = pages[-1]
    for before in reversed(pages[:-1]):
        assert UNRESERVED.fullmatch(page["previousCursor"])
        page = ask(ten, "/Users", count=size, cursor=page["previousCursor"], **order)
        assert ids(page) == ids(before)
    assert "previousCursor" not in page.json
    if len(pages) > 1:
        after = ask(ten, "/Users", count=size, cursor=page["nextCursor"], **order)
        assert ids(after) == ids(pages[1])


@verbs
@orders
@pytest.mark.parametrize("size", [1, 3, 5])
def test_others_come_and_go(ask: Query, order: dict[str, Any], size: int) -> None:
    """Who exists throughout appears exactly once, in order, with no gap (§2)."""
    clock = Clock()
    client = serve(12, clock=clock)
    whole = ids(ask(client, "/Users", **order))
    gone: set[str] = set()
    seen: list[str] = []
    pages = walk(ask, client, "/Users", count=size, **order)
    for number, page in enumerate(pages):
        seen += ids(page)
        assert len(ids(page)) <= size
        if number > 2:
            continue
        clock.advance(1)
        ahead = [id for id in whole if id not in seen and id not in gone]
        # the last one on the page, the first one after it, and the very last
        for id in ({*seen[-1:], *ahead[:1], *ahead[-1:]} & {*whole}) - gone:
            assert client.delete(f"/Users/{id}").status == 204
            gone.add(id)
        for name in ("a", "n05x", "z"):
            client.user(f"{name}{number}", title="same", emails=[{"value": "e@x"}])
        for id in {*whole} - gone:
            change = {"op": "replace", "path": "nickName", "value": str(number)}
            assert client.patch(f"/Users/{id}", change).status == 200
    assert len(seen) == len(set(seen))
    stayed = [id for id in whole if id not in gone]
    assert stayed
    assert [id for id in seen if id in stayed] == stayed


@verbs
def test_all_others_gone(ask: Query) -> None:
    """When nothing is left the last page is empty, and has no next one (§2)."""
    client = serve(6)
    page = ask(client, "/Users", cursor="", count=4)
    for id in range(1, 7):
        client.delete(f"/Users/{id}")
    last = ask(client, "/Users", cursor=page["nextCursor"], count=4)
    assert ids(last) == []
    assert "nextCursor" not in last.json


@verbs
def test_over_all_types(ask: Query) -> None:
    """The root has cursors too (RFC 7644 §3.4.2.1)."""
    client = serve(5)
    groups = [client.group(f"g{number}")["id"] for number in range(4)]
    for order in ({}, {"sortBy": "displayName"}, {"filter": "meta.created pr"}):
        pages = list(walk(ask, client, "", count=2, **order))
        found = [id for page in pages for id in ids(page)]
        assert sorted(found) == sorted([*"12345", *groups])
        assert len(pages) == 5


@verbs
def test_with_filter_and_attributes(ten: Client, ask: Query) -> None:
    """What the query selects and shows is the same on every page (§2)."""
    query = {"filter": "title pr", "count": 4}
    shown = {by_get: "title", by_search: ["title"]}[ask]
    pages = list(walk(ask, ten, "/Users", attributes=shown, **query))
    assert [len(ids(page)) for page in pages] == [4, 2]
    for page in pages:
        assert page["totalResults"] == 6
        assert all(item["title"] == "same" for item in page["Resources"])
        assert not any("userName" in item for item in page["Resources"])


def test_when_there_is_one_page(ten: Client) -> None:
    """``nextCursor`` is omitted only to say that there are no more (§2)."""
    for query in ({}, {"count": 10}, {"count": 1_000}, {"filter": "nickName pr"}):
        reply = ten.get("/Users", cursor="", **query)
        assert len(ids(reply)) == (0 if "filter" in query else 10)
        assert not reply.json.keys() & {"nextCursor", "previousCursor"}


def test_index_paging_is_the_default(ten: Client) -> None:
    """No ``cursor``, no cursors; ``cursor`` without a value is the first page (§2)."""
    reply = ten.get("/Users", count=3)
    assert reply["startIndex"] == 1
    assert not reply.json.keys() & {"nextCursor", "previousCursor"}
    first = ten.get("/Users", cursor="", count=3)
    for query in ("cursor&count=3", "count=3&cursor", "cursor=&count=3"):
        assert ids(ten.get(f"/Users?{query}")) == ids(first)
        assert "nextCursor" in ten.get(f"/Users?{query}").json


def test_page_sizes() -> None:
    """100 when no count is given (§4, ``defaultPageSize``)."""
    pages = list(walk(by_get, serve(101), "/Users"))
    assert [len(ids(page)) for page in pages] == [100, 1]


def test_announced(client: Client) -> None:
    """What ServiceProviderConfig says of paging (§4)."""
    assert client.get("/ServiceProviderConfig")["pagination"] == {
        "cursor": True,
        "index": True,
        "defaultPaginationMethod": "index",
        "defaultPageSize": 100,
        "maxPageSize": 1_000,
        "cursorTimeout": 3_600,
    }


QUERY = {
    "filter": "userName pr",
    "sortBy": "userName",
    "attributes": "userName",
    "count": 3,
}
OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"filter": "id pr"}, "invalidCursor"),
    ({"filter": None}, "invalidCursor"),
    ({"sortBy": "id"}, "invalidCursor"),
    ({"sortBy": None}, "invalidCursor"),
    ({"sortOrder": "descending"}, "invalidCursor"),
    ({"attributes": "title"}, "invalidCursor"),
    ({"attributes": None}, "invalidCursor"),
    ({"attributes": None, "excludedAttributes": "title"}, "invalidCursor"),
    ({"count": 4}, "invalidCount"),
    ({"count": 1}, "invalidCount"),
    ({"count": 1_001}, "invalidCount"),
    ({"count": -1}, "invalidCount"),
]


@verbs
@pytest.mark.parametrize("which", ["nextCursor", "previousCursor"])
@pytest.mark.parametrize(("changes", "scim_type"), OTHERS, ids=repr)
def test_other_parameters(
    ten: Client, ask: Query, which: str, changes: dict[str, Any], scim_type: str
) -> None:
    """All parameters are those of the first query, but for the cursor (§2)."""

    def spell(query: dict[str, Any]) -> dict[str, Any]:
        lists = ("attributes", "excludedAttributes") if ask is by_search else ()
        return {
            name: value.split(",") if name in lists else value
            for name, value in query.items()
            if value is not None
        }

    first = ask(ten, "/Users", cursor="", **spell(QUERY))
    second = ask(ten, "/Users", cursor=first["nextCursor"], **spell(QUERY))
    cursor = second[which]
    reply = ask(ten, "/Users", cursor=cursor, **spell(QUERY | changes))
    assert_error(reply, 400, scim_type)
    assert ids(ask(ten, "/Users", cursor=cursor, **spell(QUERY)))


@verbs
def test_counts_of_the_first_page(ten: Client, ask: Query) -> None:
    """Up to maxPageSize: cursors cap nothing (§2.1). Below 0 is 0 (§2, Table 1)."""
    for size in (1_001, 10**9):
        reply = ask(ten, "/Users", cursor="", count=size)
        assert_error(reply, 400, "invalidCount")
    for size in (0, -1, -(10**9)):
        none = ask(ten, "/Users", cursor="", count=size)
        assert (ids(none), none["totalResults"]) == ([], 10)
        assert "nextCursor" not in none.json
    reply = ask(ten, "/Users", cursor="", count="ten")
    assert_error(reply, 400, "invalidCount")


@verbs
@pytest.mark.parametrize(
    "cursor",
    [
        *("x", "0", "1", "-1", "null", "AAAA", "....", "~", "A" * 5_000),
        *("!!", "a b", "é", "\x00", "../Users", "eyJpZCI6IjEifQ", "eyJpZCI6IjEifQ=="),
    ],
    ids=lambda text: repr(text[:9]),
)
def test_what_is_no_cursor(ten: Client, ask: Query, cursor: str) -> None:
    """400 invalidCursor, never a page (§2.1)."""
    reply = ask(ten, "/Users", cursor=cursor, count=3)
    assert "cursor" in assert_error(reply, 400, "invalidCursor").lower()


@pytest.mark.parametrize("cursor", [5, True, ["x"], {"value": "x"}])
def test_what_is_no_string(ten: Client, cursor: Any) -> None:
    """A cursor is a string (§3)."""
    reply = by_search(ten, "/Users", cursor=cursor)
    assert_error(reply, 400, reply.json.get("scimType"))


@verbs
@pytest.mark.parametrize("which", ["nextCursor", "previousCursor"])
def test_sealed(ten: Client, ask: Query, which: str) -> None:
    """A cursor changed in any place is invalidCursor (§5)."""
    query = {"sortBy": "userName", "count": 3}
    first = ask(ten, "/Users", cursor="", **query)
    second = ask(ten, "/Users", cursor=first["nextCursor"], **query)
    cursor = second[which]
    forged = {cursor[:-1], cursor[1:], cursor + "A", "A" + cursor, cursor * 2}
    forged |= {cursor + "=", cursor + "."}
    for place, letter in enumerate(cursor):
        # flip the highest bit: the lowest may be one that base64 ignores
        other = ALPHABET[ALPHABET.find(letter) ^ 32] if letter in ALPHABET else "A"
        forged.add(cursor[:place] + other + cursor[place + 1 :])
        forged.add(cursor[:place] + cursor[place + 1 :])
    for text in forged - {cursor}:
        assert_error(ask(ten, "/Users", cursor=text, **query), 400, "invalidCursor")
    assert ids(ask(ten, "/Users", cursor=cursor, **query))


def test_belongs_to_its_endpoint(make_client: Callable[..., Client]) -> None:
    """Neither another type nor another tenant takes it (§2, §5)."""
    app = make_client(tenants=("one", "two")).app
    one, two = Client(app, "/one/v2"), Client(app, "/two/v2")
    for client in (one, two):
        for number in range(4):
            client.user(f"u{number}")
            client.group(f"g{number}")
    cursor = one.get("/Users", cursor="", count=2)["nextCursor"]
    for client, path in ((one, "/Groups"), (one, ""), (two, "/Users")):
        reply = client.get(path, cursor=cursor, count=2)
        assert_error(reply, 400, "invalidCursor")
    assert len(ids(one.get("/Users", cursor=cursor, count=2))) == 2


@verbs
@pytest.mark.parametrize("which", ["nextCursor", "previousCursor"])
@pytest.mark.parametrize("timeout", [3_600, 60])
def test_expires(ask: Query, which: str, timeout: int) -> None:
    """400 expiredCursor after ``cursorTimeout`` (§2.1, §4)."""
    clock = Clock()
    configuration = {
        "pagination": {"cursor": True, "index": True, "cursorTimeout": timeout}
    }
    options = {} if timeout == 3_600 else {"service_provider_config": configuration}
    client = serve(9, clock=clock, **options)
    announced = client.get("/ServiceProviderConfig")["pagination"]
    assert announced["cursorTimeout"] == timeout
    first = ask(client, "/Users", cursor="", count=3)
    second = ask(client, "/Users", cursor=first["nextCursor"], count=3)
    clock.advance(timeout - 1)
    page = ask(client, "/Users", cursor=second[which], count=3)
    assert len(ids(page)) == 3
    clock.advance(2)
    reply = ask(client, "/Users", cursor=second[which], count=3)
    assert_error(reply, 400, "expiredCursor")
    # a cursor lasts from its own page on, not from the first one
    fresh = {"nextCursor", "previousCursor"} & page.json.keys()
    for name in fresh:
        assert ids(ask(client, "/Users", cursor=page[name], count=3))
    assert fresh


@verbs
@pytest.mark.parametrize("sort", [{}, {"sortBy": "id", "sortOrder": "descending"}])
def test_what_came_before_is_gone(ask: Query, sort: dict[str, str]) -> None:
    """An empty page says where more is: only the last one has no nextCursor (§2)."""
    client = serve(5)
    query = {"count": 2, **sort}
    first = ask(client, "/Users", cursor="", **query)
    second = ask(client, "/Users", cursor=first["nextCursor"], **query)
    for id in ids(first):
        client.delete(f"/Users/{id}")
    empty = ask(client, "/Users", cursor=second["previousCursor"], **query)
    assert (ids(empty), empty["totalResults"]) == ([], 3)
    assert "previousCursor" not in empty.json
    again = ask(client, "/Users", cursor=empty["nextCursor"], **query)
    assert ids(again) == ids(second)
    last = ask(client, "/Users", cursor=again["nextCursor"], **query)
    assert len(ids(last)) == 1 and "nextCursor" not in last.json
