"""Configuration is law: what is announced is what is done (RFC 7643 §5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import (
    BULK,
    GROUP,
    PATCH_OP,
    SEARCH,
    USER,
    Client,
    Reply,
    assert_error,
)

from scim2_server import create_app

MakeClient = Callable[..., Client]
TITLE = {"op": "add", "path": "title", "value": "Dr"}
PATCH_TITLE = {"schemas": [PATCH_OP], "Operations": [TITLE]}
CAPABILITIES = ("patch", "bulk", "filter", "changePassword", "sort", "etag")


def switched_off(make_client: MakeClient, *names: str, **options: Any) -> Client:
    """Serve without these capabilities, and check that this is announced."""
    config = {name: {"supported": False} for name in names}
    client = make_client(service_provider_config=config, **options)
    served = client.get("/ServiceProviderConfig").json
    for name in CAPABILITIES:
        assert served[name]["supported"] == (name not in names)
    return client


def bulk(client: Client, *operations: dict[str, Any]) -> Reply:
    """Run a job."""
    return client.post("/Bulk", {"schemas": [BULK], "Operations": list(operations)})


def search(client: Client, path: str, **query: Any) -> Reply:
    """Query with POST .search."""
    return client.post(f"{path}/.search", {"schemas": [SEARCH], **query})


def names(reply: Reply) -> list[str]:
    """Answer the userNames of a page."""
    assert reply.status == 200, reply.content
    return [user["userName"] for user in reply["Resources"]]


# --- Capabilities that are switched off -----------------------------------------------


@pytest.mark.parametrize("name", CAPABILITIES)
def test_one_capability_off(make_client: MakeClient, name: str) -> None:
    """It is announced as off, the others stay, and the limits too (§5)."""
    usual = make_client().get("/ServiceProviderConfig").json
    client = switched_off(make_client, name)
    served = client.get("/ServiceProviderConfig").json
    usual[name]["supported"] = False
    assert served[name]["supported"] is False
    for each in (*CAPABILITIES, "pagination"):
        assert served[each] == usual[each]


def test_all_capabilities_off(make_client: MakeClient) -> None:
    """What is left is what every provider must do (§5, RFC 7644 §3.2)."""
    client = switched_off(make_client, *CAPABILITIES)
    ann = client.user("ann")
    path = f"/Users/{ann['id']}"
    assert client.get(path).json == ann
    assert names(client.get("/Users")) == ["ann"]
    body = {"schemas": [USER], "userName": "ann", "title": "Dr"}
    assert client.put(path, body)["title"] == "Dr"
    assert client.delete(path).status == 204
    assert_error(client.get(path), 404)


def test_patch_off(make_client: MakeClient) -> None:
    """PATCH is 501 everywhere, also inside Bulk, and changes nothing (§5)."""
    client = switched_off(make_client, "patch", me="ann")
    ann, group = client.user("ann"), client.group("g")
    path = f"/Users/{ann['id']}"
    for target in (path, f"/Groups/{group['id']}", "/Me"):
        assert_error(client.request("PATCH", target, PATCH_TITLE), 501)
    reply = bulk(
        client,
        {"method": "PATCH", "path": path, "data": PATCH_TITLE},
        {"method": "DELETE", "path": f"/Groups/{group['id']}"},
    )
    assert [each["status"] for each in reply["Operations"]] == ["501", "204"]
    assert reply["Operations"][0]["response"]["status"] == "501"
    assert client.get(path).json == ann


def test_bulk_off(make_client: MakeClient) -> None:
    """The bulk endpoint is 501, and nothing is done (§5)."""
    client = switched_off(make_client, "bulk")
    data = {"schemas": [USER], "userName": "ann"}
    operation = {"method": "POST", "path": "/Users", "bulkId": "x", "data": data}
    assert_error(bulk(client, operation), 501)
    assert client.get("/Users")["totalResults"] == 0


@pytest.mark.parametrize("path", ["/Users", "/Groups", ""])
def test_filter_off(make_client: MakeClient, path: str) -> None:
    """A query with a filter is 501, a valid one or not; others are answered (§5)."""
    client = switched_off(make_client, "filter")
    client.user("ann")
    for filter in ('id eq "x"', "meta.created pr", "bad filter ("):
        assert_error(client.get(path, filter=filter), 501)
        assert_error(search(client, path, filter=filter), 501)
    expected = 0 if path == "/Groups" else 1
    assert client.get(path)["totalResults"] == expected
    assert search(client, path)["totalResults"] == expected


def test_filter_off_leaves_patch_alone(make_client: MakeClient) -> None:
    """A value path is part of PATCH, which is on (RFC 7644 §3.5.2)."""
    client = switched_off(make_client, "filter")
    emails = [{"value": "a@x", "type": "work"}, {"value": "b@x", "type": "home"}]
    ann = client.user("ann", emails=emails)
    remove = {"op": "remove", "path": 'emails[type eq "work"]'}
    assert client.patch(f"/Users/{ann['id']}", remove)["emails"] == emails[1:]


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("by", ["userName", "title", "noSuchAttribute", "password"])
def test_sort_off(make_client: MakeClient, by: str, order: str) -> None:
    """``sortBy`` is ignored: the order is the one without it (§5)."""
    client = switched_off(make_client, "sort")
    for name in "bdac":
        client.user(name, title=name)
    plain = client.get("/Users").json
    query = {"sortBy": by, "sortOrder": order}
    assert client.get("/Users", **query).json == plain
    assert search(client, "/Users", **query).json == plain
    page = client.get("/Users", count=2, startIndex=2, **query)
    assert page["Resources"] == plain["Resources"][1:3]


def test_etag_off(make_client: MakeClient) -> None:
    """No versions and no preconditions (§5, RFC 7644 §3.14)."""
    client = switched_off(make_client, "etag", me="ann")
    body = {"schemas": [USER], "userName": "ann"}
    created = client.post("/Users", body)
    path = f"/Users/{created['id']}"
    stale = {"If-Match": 'W/"stale"'}
    replies = [
        created,
        client.get(path),
        client.get("/Me"),
        client.request("HEAD", path),
        client.put(path, body | {"title": "Mr"}, stale),
        client.patch(path, TITLE, headers=stale),
        client.request("GET", path, headers={"If-None-Match": "*"}),
        client.request("GET", path, headers=stale),
        client.put(path, body, {"If-None-Match": "*"}),
    ]
    for reply in replies:
        assert reply.status in (200, 201), reply.content
        assert "ETag" not in reply.headers
        assert reply.json is None or "version" not in reply["meta"]
    (listed,) = client.get("/Users")["Resources"]
    assert listed == replies[-1].json
    data = body | {"displayName": "A"}
    operation = {"method": "PUT", "path": path, "version": 'W/"stale"', "data": data}
    (result,) = bulk(client, operation)["Operations"]
    assert result["status"] == "200" and "version" not in result
    assert client.get(path)["displayName"] == "A"
    assert client.delete(path, stale).status == 204


@pytest.mark.parametrize("cursor", ["", "x"])
def test_cursor_off(make_client: MakeClient, cursor: str) -> None:
    """``cursor`` is refused, on GET and .search, and index paging goes on (§5)."""
    config = {"pagination": {"cursor": False}}
    client = make_client(service_provider_config=config)
    served = client.get("/ServiceProviderConfig")["pagination"]
    assert (served["cursor"], served["index"]) == (False, True)
    for name in "abc":
        client.user(name)
    for reply in (
        client.get("/Users", cursor=cursor),
        client.get("/Users", cursor=cursor, count=1),
        client.get("", cursor=cursor),
        search(client, "/Users", cursor=cursor),
    ):
        assert reply.status in (400, 501)
        assert_error(reply, reply.status, reply.json.get("scimType"))
    page = client.get("/Users", startIndex=2, count=1, sortBy="userName")
    assert (names(page), page["totalResults"]) == (["b"], 3)
    assert "nextCursor" not in page.json


def test_cursors_by_default(make_client: MakeClient) -> None:
    """``defaultPaginationMethod`` is what a plain query gets (RFC 9865 §4)."""
    config = {"pagination": {"defaultPaginationMethod": "cursor"}}
    client = make_client(service_provider_config=config)
    served = client.get("/ServiceProviderConfig")["pagination"]
    assert served["defaultPaginationMethod"] == "cursor"
    for name in "abc":
        client.user(name)
    query = {"count": 2, "sortBy": "userName"}
    page = client.get("/Users", **query)
    assert names(page) == ["a", "b"]
    last = client.get("/Users", cursor=page["nextCursor"], **query)
    assert names(last) == ["c"] and "nextCursor" not in last.json
    assert names(client.get("/Users", startIndex=2, **query)) == ["b", "c"]


# --- Limits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "count", "size"),
    [
        ({"filter": {"maxResults": 2}}, None, 2),
        ({"filter": {"maxResults": 2}}, 1, 1),
        ({"filter": {"maxResults": 2}}, 4, 2),
        ({"filter": {"maxResults": 5}}, 9, 5),
        ({"pagination": {"defaultPageSize": 2}}, None, 2),
        ({"pagination": {"defaultPageSize": 2}}, 4, 4),
        ({"pagination": {"maxPageSize": 3}}, 4, 3),
        ({"pagination": {"maxPageSize": 3}}, None, 3),
        ({"pagination": {"maxPageSize": 4}, "filter": {"maxResults": 2}}, 9, 2),
        ({"pagination": {"maxPageSize": 2}, "filter": {"maxResults": 4}}, 9, 2),
    ],
    ids=repr,
)
def test_the_size_of_a_page(
    make_client: MakeClient, config: dict[str, Any], count: int | None, size: int
) -> None:
    """Limits cap a page and not the total, with a filter or without (§5, RFC 9865)."""
    client = make_client(service_provider_config=config)
    served = client.get("/ServiceProviderConfig").json
    for name, values in config.items():
        assert {key: served[name][key] for key in values} == values
    for name in "abcdef":
        client.user(name)
    query: dict[str, Any] = {} if count is None else {"count": count}
    query["sortBy"] = "userName"
    for extra in ({}, {"filter": "userName pr"}):
        for path in ("/Users", ""):
            replies = (
                client.get(path, **query, **extra),
                search(client, path, **query, **extra),
            )
            for reply in replies:
                assert names(reply) == [*"abcdef"[:size]]
                assert reply["itemsPerPage"] == size
                assert reply["totalResults"] == 6


def test_the_size_of_a_page_by_cursor(make_client: MakeClient) -> None:
    """Above ``maxPageSize`` a count is invalidCount (RFC 9865 §2.1)."""
    config = {"pagination": {"maxPageSize": 3, "defaultPageSize": 2}}
    client = make_client(service_provider_config=config)
    for name in "abcdef":
        client.user(name)
    order = {"sortBy": "userName"}
    page = client.get("/Users", cursor="", **order)
    assert names(page) == ["a", "b"]
    page = client.get("/Users", cursor=page["nextCursor"], **order)
    assert names(page) == ["c", "d"]
    page = client.get("/Users", cursor="", count=3, **order)
    assert names(page) == ["a", "b", "c"]
    reply = client.get("/Users", cursor="", count=4)
    assert "3" in assert_error(reply, 400, "invalidCount")


def test_the_size_of_a_job(make_client: MakeClient) -> None:
    """Both limits of Bulk are announced, and named by what they refuse (§5)."""
    config = {"bulk": {"maxOperations": 1, "maxPayloadSize": 600}}
    client = make_client(service_provider_config=config)
    served = client.get("/ServiceProviderConfig")["bulk"]
    assert served == {"supported": True, **config["bulk"]}
    operation = {"method": "DELETE", "path": "/Users/x"}
    assert bulk(client, operation).status == 200
    for job, limit in (
        ([operation] * 2, "maxOperations 1"),
        ([operation | {"path": "/Users/" + "x" * 600}], "maxPayloadSize 600"),
    ):
        reply = bulk(client, *job)
        detail = assert_error(reply, 413, reply.json.get("scimType"))
        assert all(word in detail for word in limit.split())


def test_what_is_not_given_stays(make_client: MakeClient) -> None:
    """A part of the configuration is merged over the default (§5)."""
    usual = make_client().get("/ServiceProviderConfig").json
    given = {"filter": {"maxResults": 9}, "documentationUri": "https://x.example/"}
    served = make_client(service_provider_config=given).get("/ServiceProviderConfig")
    usual["filter"]["maxResults"] = 9
    usual["documentationUri"] = "https://x.example/"
    for each in (usual, served.json):
        each.pop("meta")
    assert served.json == usual
    assert given == {
        "filter": {"maxResults": 9},
        "documentationUri": "https://x.example/",
    }


def test_two_servers_have_two_configurations(make_client: MakeClient) -> None:
    """What one is told does not change another (§5)."""
    first = make_client(service_provider_config={"patch": {"supported": False}})
    second = make_client()
    ann = second.user("ann")
    assert second.patch(f"/Users/{ann['id']}", TITLE).status == 200
    path = f"/Users/{first.user('ann')['id']}"
    assert_error(first.patch(path, TITLE), 501)


# --- What is no configuration ---------------------------------------------------------

INVALID: list[dict[str, Any]] = [
    *({name: {"supported": "maybe"}} for name in CAPABILITIES),
    *({"patch": {"supported": value}} for value in ("no", "false", 0, 5, [], {})),
    *({name: value} for name in CAPABILITIES for value in (5, "off", False)),
    *({"filter": {"maxResults": value}} for value in (-1, "ten", 1.5, True, [7])),
    *({"bulk": {"maxOperations": value}} for value in (-1, "ten", 1.5, [7])),
    *({"bulk": {"maxPayloadSize": value}} for value in (-1, "1 MiB", 1.5, [7])),
    *({"pagination": {"cursor": value}} for value in ("perhaps", 5, [])),
    *({"pagination": {"index": value}} for value in ("perhaps", 5, [])),
    *({"pagination": {"defaultPaginationMethod": value}} for value in ("pages", 5)),
    *({"pagination": {"maxPageSize": value}} for value in (-1, "ten", 1.5)),
    *({"pagination": {"defaultPageSize": value}} for value in (-1, "ten", 1.5)),
    *({"pagination": {"cursorTimeout": value}} for value in (-1, "hour", [60])),
    {"pagination": "cursor"},
    {"documentationUri": 5},
    {"authenticationSchemes": "none"},
    {"authenticationSchemes": [5]},
]


@pytest.mark.parametrize("config", INVALID, ids=repr)
def test_an_invalid_configuration(config: dict[str, Any]) -> None:
    """It is refused at start, not read in some way (§5)."""
    with pytest.raises((ValueError, SystemExit)):
        create_app(service_provider_config=config)


@pytest.mark.parametrize(
    "options",
    [
        {"tolerance": "loose"},
        {"tolerance": ""},
        {"accept": ["no-such-code"]},
        {"refuse": ["no-such-code"]},
        {"accept": ["op-case"], "refuse": ["op-case"]},
        {"base_url": "nowhere"},
        {"base_url": "ftp://x.example/v2"},
        {"max_body": -5},
        {"user_tokens": {"ann": ""}},
        {"resources": [{"schemas": ["urn:x"], "id": "1"}]},
        {"resources": [{"schemas": [USER], "id": "1"}]},
        {"resources": [{"schemas": [USER], "id": "1", "userName": 5}]},
        {"resources": [5]},
    ],
    ids=repr,
)
def test_other_invalid_options(options: dict[str, Any]) -> None:
    """Neither is anything else served that cannot be meant."""
    with pytest.raises((ValueError, SystemExit)):
        create_app(**options)


@pytest.mark.parametrize(
    "twins",
    [
        [("1", "ann"), ("1", "bea")],
        [("1", "ann"), ("2", "ANN")],
    ],
    ids=["id", "userName"],
)
def test_resources_that_exclude_each_other(twins: list[tuple[str, str]]) -> None:
    """What a client could not create is not loaded (RFC 7643 §3.1, §4.1.1)."""
    meta = {"resourceType": "User"}
    resources = [
        {"schemas": [USER], "id": id, "userName": name, "meta": meta}
        for id, name in twins
    ]
    assert create_app(resources=resources[:1]).dump()
    with pytest.raises((ValueError, SystemExit)):
        create_app(resources=resources)


def test_a_group_is_not_a_user() -> None:
    """A resource is loaded as what it says it is (RFC 7643 §3.1)."""
    resource: dict[str, Any] = {"schemas": [GROUP], "id": "1", "displayName": "g"}
    resource |= {"meta": {"resourceType": "Group"}}
    client = Client(create_app(resources=[resource]))
    assert client.get("/Groups/1")["displayName"] == "g"
    assert_error(client.get("/Users/1"), 404)
