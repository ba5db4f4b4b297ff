"""What a service provider says of itself (RFC 7644 §4, RFC 7643 §5 to §7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import ENTERPRISE, GROUP, LIST, SEARCH, USER, Client, assert_error

from scim2_server import default_documents

MakeClient = Callable[..., Client]
BASE = "http://localhost/v2"
CORE = "urn:ietf:params:scim:schemas:core:2.0:"
CAPABILITIES: dict[str, Any] = {
    "patch": {"supported": True},
    "bulk": {"supported": True, "maxOperations": 1000, "maxPayloadSize": 10 * 2**20},
    "filter": {"supported": True, "maxResults": 1000},
    "changePassword": {"supported": True},
    "sort": {"supported": True},
    "etag": {"supported": True},
    "pagination": {
        "cursor": True,
        "index": True,
        "defaultPaginationMethod": "index",
        "defaultPageSize": 100,
        "maxPageSize": 1000,
        "cursorTimeout": 3600,
    },
}
RESOURCE_TYPES = [
    {
        "schemas": [CORE + "ResourceType"],
        "id": "User",
        "name": "User",
        "endpoint": "/Users",
        "schema": USER,
        "schemaExtensions": [{"schema": ENTERPRISE, "required": False}],
        "meta": {
            "resourceType": "ResourceType",
            "location": f"{BASE}/ResourceTypes/User",
        },
    },
    {
        "schemas": [CORE + "ResourceType"],
        "id": "Group",
        "name": "Group",
        "endpoint": "/Groups",
        "schema": GROUP,
        "meta": {
            "resourceType": "ResourceType",
            "location": f"{BASE}/ResourceTypes/Group",
        },
    },
]
ENDPOINTS = [
    "/ServiceProviderConfig",
    "/ResourceTypes",
    "/ResourceTypes/User",
    "/ResourceTypes/Group",
    "/Schemas",
    f"/Schemas/{USER}",
    f"/Schemas/{GROUP}",
    f"/Schemas/{ENTERPRISE}",
]


def test_the_service_provider_configuration(client: Client) -> None:
    """Capabilities and limits, all of them on by default (RFC 7643 §5)."""
    config = client.get("/ServiceProviderConfig").json
    assert config["schemas"] == [CORE + "ServiceProviderConfig"]
    assert {name: config[name] for name in CAPABILITIES} == CAPABILITIES
    assert config["meta"]["resourceType"] == "ServiceProviderConfig"
    assert config["meta"]["location"] == f"{BASE}/ServiceProviderConfig"


def test_a_configuration_of_one_s_own(make_client: MakeClient) -> None:
    """What is given is merged over the default (RFC 7643 §5)."""
    mine = {"documentationUri": "https://x.example/doc", "filter": {"maxResults": 7}}
    config = make_client(service_provider_config=mine).get("/ServiceProviderConfig")
    assert config["documentationUri"] == "https://x.example/doc"
    assert config["filter"] == {"supported": True, "maxResults": 7}
    assert config["bulk"] == CAPABILITIES["bulk"]


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ({"bearer_tokens": ["t"]}, ["oauthbearertoken"]),
        ({"user_tokens": {"ann": "t"}}, ["oauthbearertoken"]),
        ({"basic_auth": {"ann": "p"}}, ["httpbasic"]),
        (
            {"bearer_tokens": ["t"], "basic_auth": {"ann": "p"}},
            ["oauthbearertoken", "httpbasic"],
        ),
    ],
    ids=repr,
)
def test_authentication_schemes(
    make_client: MakeClient, options: dict[str, Any], types: list[str]
) -> None:
    """Those that are asked for, readable without them (RFC 7643 §5, RFC 7644 §4)."""
    reply = make_client(**options).get("/ServiceProviderConfig")
    assert reply.status == 200, reply.content
    schemes = reply["authenticationSchemes"]
    assert [scheme["type"] for scheme in schemes] == types
    assert all(scheme["name"] and scheme["description"] for scheme in schemes)


def test_resource_types(client: Client) -> None:
    """User and Group, in a list and by name (RFC 7643 §6)."""
    reply = client.get("/ResourceTypes")
    assert reply["schemas"] == [LIST]
    assert reply["totalResults"] == len(RESOURCE_TYPES)
    listed = {each["name"]: each for each in reply["Resources"]}
    assert set(listed) == {each["name"] for each in RESOURCE_TYPES}
    for expected in RESOURCE_TYPES:
        served = listed[str(expected["name"])]
        assert client.get(f"/ResourceTypes/{expected['name']}").json == served
        assert {name: served[name] for name in expected} == expected
        if "schemaExtensions" not in expected:
            assert not served.get("schemaExtensions")
    unknown = client.get("/ResourceTypes/Robot")
    assert "Robot" in assert_error(unknown, 404)


def test_schemas(client: Client) -> None:
    """Every schema of a resource type, in a list and by URN (RFC 7643 §7)."""
    reply = client.get("/Schemas")
    assert reply["schemas"] == [LIST]
    listed = {each["id"]: each for each in reply["Resources"]}
    assert reply["totalResults"] == len(listed) == len(reply["Resources"])
    assert {USER, GROUP, ENTERPRISE} <= set(listed)
    for urn, served in listed.items():
        assert client.get(f"/Schemas/{urn}").json == served
        assert served["schemas"] == [CORE + "Schema"]
        assert served["meta"]["resourceType"] == "Schema"
        assert served["meta"]["location"] == f"{BASE}/Schemas/{urn}"
        assert served["name"] and served["attributes"]
    about = {
        CORE + name for name in ("ServiceProviderConfig", "ResourceType", "Schema")
    }
    assert about <= set(listed), "the discovery documents have schemas too (§8.7.2)"
    names = {urn: listed[urn]["name"] for urn in (USER, GROUP, ENTERPRISE)}
    assert names[USER] == "User" and names[GROUP] == "Group"
    assert_error(client.get("/Schemas/urn:example:unknown"), 404)


def test_every_attribute_is_described(client: Client) -> None:
    """ "Service providers MUST specify the description" (RFC 7643 §7)."""
    queue = list(client.get("/Schemas")["Resources"])
    for each in queue:
        assert each["description"], each["name"]
        queue += each.get("attributes") or each.get("subAttributes") or []


def test_a_schema_of_ones_own_replaces_the_built_in_one(
    make_client: MakeClient,
) -> None:
    """Also one that describes the discovery documents."""
    mine = {"id": CORE + "Schema", "name": "Mine", "attributes": []}
    client = make_client(schemas=[*default_documents()["schemas"], mine])
    listed = [each["name"] for each in client.get("/Schemas")["Resources"]]
    assert "Mine" in listed and "Schema" not in listed


@pytest.mark.parametrize("path", ENDPOINTS)
def test_with_and_without_a_prefix(make_client: MakeClient, path: str) -> None:
    """One document under both; its location has the canonical prefix (§4)."""
    for prefix in ("/v2", "/scim/v2"):
        client = make_client(prefix=prefix)
        first = client.get(path)
        assert first.status == 200, first.content
        assert first.headers["Content-Type"].startswith("application/scim+json")
        client.prefix = ""
        assert client.get(path).json == first.json
        if "meta" in first.json:
            assert first.headers["Content-Location"] == first["meta"]["location"]
            assert first["meta"]["location"] == f"http://localhost{prefix}{path}"


@pytest.mark.parametrize(
    "path", ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"]
)
def test_queries_on_discovery(client: Client, path: str) -> None:
    """A filter is 403; sorting and paging are ignored (§4)."""
    assert_error(client.get(path, filter='name eq "User"'), 403)
    plain = client.get(path).json
    for query in (
        {"sortBy": "name", "sortOrder": "descending"},
        {"startIndex": "2", "count": "1"},
        {"count": "0"},
        {"attributes": "id", "excludedAttributes": "name"},
        {"attributes": "id"},
    ):
        assert client.get(path, **query).json == plain
    search = client.post(path + "/.search", {"schemas": [SEARCH]})
    assert_error(search, 403)


def test_discovery_is_canonical_behind_a_base_url(make_client: MakeClient) -> None:
    """Locations use the URL that was pinned (§3.1 of RFC 7643)."""
    base = "https://scim.example/x/scim/v2"
    client = make_client(base_url=base, prefix="/scim/v2")
    for path in ENDPOINTS[:2]:
        served = client.get(path).json
        for each in served.get("Resources", [served]):
            assert each["meta"]["location"].startswith(base + path)


def test_only_the_configuration_is_open(make_client: MakeClient) -> None:
    """It tells how to authenticate, so it needs no token (§4, RFC 7643 §5)."""
    client = make_client(bearer_tokens=["s3cret"])
    assert client.get("/ServiceProviderConfig").status == 200
    client.prefix = ""
    assert client.get("/ServiceProviderConfig").status == 200
    client.prefix = "/v2"
    assert_error(client.get("/Users"), 401)
    right = {"Authorization": "Bearer s3cret"}
    for path in ENDPOINTS:
        assert client.request("GET", path, headers=right).status == 200


@pytest.mark.parametrize("prefix", ["/v2", "/scim/v2", "/v10", ""])
@pytest.mark.parametrize("path", ["/Users", "/Groups/1", "/Schemas", "/Bulk", "/users"])
def test_other_versions(make_client: MakeClient, prefix: str, path: str) -> None:
    """ "The specified SCIM protocol version is not supported" (§3.13, Table 9)."""
    client = make_client(prefix=prefix)
    client.prefix = ""
    for version in ("/v1", "/V3", "/scim/v1"):
        assert_error(client.get(version + path), 400, "invalidVers")
    assert client.get(f"{prefix}/Schemas").status == 200
    for nothing in ("/v1", "/v1/Nope", "/vx/Users"):
        assert_error(client.get(nothing), 404)


def test_other_versions_of_a_tenant(make_client: MakeClient) -> None:
    """A tenant has versions too, and none is a tenant's name."""
    client = make_client(tenants=["acme"])
    client.prefix = ""
    for path in ("/acme/v1/Users", "/v1/Users", "/v1/acme/v1/Users"):
        assert_error(client.get(path), 400, "invalidVers")
    with pytest.raises(ValueError, match="v1"):
        make_client(tenants=["v1"])
