"""Several directories in one server: tenants, configured or made by a write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
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
    assert_error,
)

import scim2_server
from scim2_server import create_app

MakeClient = Callable[..., Client]
BAD_NAMES = [
    *(
        "../x",
        "",
        "Users",
        "v2",
        "x" * 200,
        "a/b",
        "..",
        ".",
        "/a",
        "a/",
        "a\nb",
        "a\0",
    ),
    *("Groups", "Me", "Bulk", "Schemas", "ResourceTypes", "ServiceProviderConfig"),
    *(".search", "healthz"),
]
STATIC: dict[str, Any] = {"tenants": ("a", "b")}
DYNAMIC: dict[str, Any] = {"dynamic_tenants": True}
GOOD_NAMES = ["a", "gw0", "test-1", "test_users", "x" * 20]


def two(**options: Any) -> tuple[Client, Client]:
    """Serve two tenants, and make a client of each."""
    app = create_app(tenants=("a", "b"), **options)
    suffix = options.get("prefix", "/v2")
    return Client(app, f"/a{suffix}"), Client(app, f"/b{suffix}")


def dynamic(**options: Any) -> tuple[Any, Callable[[str], Client]]:
    """Serve whatever tenant is written to; answer the application and its clients."""
    app = create_app(dynamic_tenants=True, **options)
    return app, lambda name: Client(app, f"/{name}/v2")


def stored(id: str, name: str) -> dict[str, Any]:
    """Spell a user to be loaded."""
    meta = {"resourceType": "User"}
    return {"schemas": [USER], "id": id, "userName": name, "meta": meta}


def dumped(app: Any) -> dict[str, list[str]]:
    """Answer the userNames that a dump has, by tenant; empty tenants are left out."""
    dump = app.dump()
    assert isinstance(dump, dict)
    return {
        name: sorted(each.get("userName", "") for each in resources)
        for name, resources in dump.items()
        if resources
    }


# --- Isolation ------------------------------------------------------------------------


def test_tenants_share_no_resources() -> None:
    """The same names in both, and each finds its own only (RFC 7644 §6)."""
    first, second = two()
    ann = first.user("ann", externalId="e")
    other = second.user("ANN", externalId="e", title="Dr")
    group = first.group("g", ann["id"])
    assert ann["id"] != other["id"]
    assert first.get("/Users")["Resources"] == [
        first.get(f"/Users/{ann['id']}").json,
    ]
    assert second.get("/Users")["Resources"] == [other]
    assert second.get("/Groups")["totalResults"] == 0
    assert second.get("")["totalResults"] == 1
    assert first.get("")["totalResults"] == 2
    for filter in ('userName eq "ann"', 'externalId eq "e"', "meta.created pr"):
        for client, id in ((first, ann["id"]), (second, other["id"])):
            query = {"filter": filter}
            (found,) = client.get("/Users", **query)["Resources"]
            assert found["id"] == id
            body = {"schemas": [SEARCH], **query}
            assert client.post("/Users/.search", body)["Resources"] == [found]
    assert second.get("/Users", filter=f'id eq "{ann["id"]}"')["totalResults"] == 0
    assert second.get("", filter=f'id eq "{group["id"]}"')["totalResults"] == 0


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_an_id_of_another_tenant(verb: str) -> None:
    """It is 404 on every verb, and nothing is touched (RFC 7644 §6)."""
    first, second = two()
    ann = first.user("ann")
    path = f"/Users/{ann['id']}"
    title = {"op": "add", "path": "title", "value": "Dr"}
    bodies = {
        "PUT": {"schemas": [USER], "userName": "ann", "title": "Dr"},
        "PATCH": {"schemas": [PATCH_OP], "Operations": [title]},
    }
    reply = second.request(verb, path, bodies.get(verb))
    if verb == "HEAD":
        assert (reply.status, reply.content) == (404, b"")
    else:
        assert_error(reply, 404)
    assert first.get(path).json == ann
    if verb in ("PUT", "PATCH", "DELETE"):
        job = [{"method": verb, "path": path, "data": bodies.get(verb)}]
        body = {"schemas": [BULK], "Operations": job}
        (result,) = second.post("/Bulk", body)["Operations"]
        assert result["status"] == "404"
        assert first.get(path).json == ann


def test_references_to_another_tenant() -> None:
    """An id of another tenant names nothing here (RFC 7643 §2.3.7)."""
    first, second = two()
    ann = first.user("ann", displayName="Ann")
    group = second.group("g", ann["id"])
    assert group["members"] == [{"value": ann["id"]}]
    managed = second.user("bea", **{ENTERPRISE: {"manager": {"value": ann["id"]}}})
    assert managed[ENTERPRISE] == {"manager": {"value": ann["id"]}}
    assert first.get(f"/Users/{ann['id']}").json == ann
    assert first.delete(f"/Users/{ann['id']}").status == 204
    assert second.get(f"/Groups/{group['id']}").json == group


@pytest.mark.parametrize("prefix", ["/v2", "/scim/v2"])
def test_locations_carry_the_tenant(prefix: str) -> None:
    """Every URL that is told leads back to the same tenant (RFC 7643 §3.1)."""
    for client in two(prefix=prefix):
        base = f"http://localhost{client.prefix}"
        reply = client.post(
            "/Users", {"schemas": [USER], "userName": "ann", "displayName": "Ann"}
        )
        ann = reply.json
        location = f"{base}/Users/{ann['id']}"
        assert reply.headers["Location"] == location == ann["meta"]["location"]
        assert client.get(f"/Users/{ann['id']}").json == ann
        managed = client.user("bea", **{ENTERPRISE: {"manager": {"value": ann["id"]}}})
        boss = {"value": ann["id"], "$ref": location, "displayName": "Ann"}
        assert managed[ENTERPRISE] == {"manager": boss}
        group = client.group("g", ann["id"])
        assert group["members"] == [
            {"value": ann["id"], "$ref": location, "type": "User", "display": "Ann"}
        ]
        (shown,) = client.get(f"/Users/{ann['id']}")["groups"]
        assert shown["$ref"] == f"{base}/Groups/{group['id']}"
        data = {"schemas": [GROUP], "displayName": "h"}
        job = [{"method": "POST", "path": "/Groups", "bulkId": "h", "data": data}]
        (result,) = client.post("/Bulk", {"schemas": [BULK], "Operations": job})[
            "Operations"
        ]
        assert result["location"].startswith(f"{base}/Groups/")
        path = result["location"].removeprefix(base)
        assert client.get(path)["displayName"] == "h"
        for each in client.get("")["Resources"]:
            assert each["meta"]["location"].startswith(f"{base}/")


def test_schemas_and_configuration_are_shared() -> None:
    """They are those of the server, at the tenant's own URLs (RFC 7644 §4)."""
    config = {"filter": {"maxResults": 7}}
    first, second = two(service_provider_config=config)
    for path in ("/Schemas", "/ResourceTypes", "/ServiceProviderConfig"):
        one, other = first.get(path), second.get(path)
        assert one.status == 200, one.content
        assert b"http://localhost/a/v2" in one.content
        told = one.content.replace(b"http://localhost/a/", b"http://localhost/b/")
        assert told == other.content
    assert first.get("/ServiceProviderConfig")["filter"]["maxResults"] == 7


def test_what_is_deleted_in_one_stays_in_the_other() -> None:
    """Also when both have the same id (RFC 7644 §3.6)."""
    load = {"a": [stored("1", "ann")], "b": [stored("1", "ann")]}
    app = create_app(tenants=("a", "b"), resources=load)
    first, second = Client(app, "/a/v2"), Client(app, "/b/v2")
    kept = second.get("/Users/1").json
    assert first.get("/Users/1")["userName"] == kept["userName"] == "ann"
    rename = {"op": "replace", "path": "userName", "value": "bea"}
    assert first.patch("/Users/1", rename).status == 200
    assert second.get("/Users/1").json == kept
    assert first.delete("/Users/1").status == 204
    assert_error(first.get("/Users/1"), 404)
    assert second.get("/Users/1").json == kept
    assert dumped(app) == {"b": ["ann"]}


def test_me_is_one_of_the_tenant_s_own() -> None:
    """The alias leads to the user of that name there (RFC 7644 §3.11)."""
    first, second = two(me="ann")
    ann = first.user("ann")
    assert first.get("/Me").json == ann
    assert_error(second.get("/Me"), 404)
    other = second.user("ann")
    assert second.get("/Me").headers["Location"] == other["meta"]["location"]
    assert second.delete("/Me").status == 204
    assert first.get("/Me").json == ann


@pytest.mark.parametrize("dynamically", [False, True])
def test_every_tenant_is_guarded(dynamically: bool) -> None:
    """Tokens are those of the server; who has none learns nothing (RFC 7644 §2)."""
    options = DYNAMIC if dynamically else STATIC
    app = create_app(bearer_tokens=("s3cret",), **options)
    right = {"Authorization": "Bearer s3cret"}
    body = {"schemas": [USER], "userName": "ann"}
    for name in "ab":
        client = Client(app, f"/{name}/v2")
        assert_error(client.get("/Users"), 401)
        assert_error(client.post("/Users", body), 401)
        assert client.request("GET", "/Users", headers=right)["totalResults"] == 0
        assert client.post("/Users", body, right).status == 201
        assert client.get("/ServiceProviderConfig").status == 200
    reply = Client(app, "/c/v2").post("/Users", body)
    assert reply.status in ((401,) if dynamically else (401, 404))
    assert dumped(app) == {"a": ["ann"], "b": ["ann"]}


def bearer(token: str) -> dict[str, str]:
    """Spell the header of a bearer token, or none."""
    return {"Authorization": f"Bearer {token}"} if token else {}


OPENED: list[tuple[dict[str, Any], str]] = [  # options; tenant:token:status ...
    (
        {"tenants": {"acme": {"bearer_tokens": ["a"]}, "beta": {}}},
        "acme::401 acme:a:200 acme:x:401 beta::200 beta:a:200 none::401 none:a:401",
    ),
    (
        {
            "tenants": {"acme": {"bearer_tokens": ["a"]}, "beta": {}},
            "bearer_tokens": ["s"],
        },
        "acme::401 acme:a:200 acme:s:401 beta::401 beta:a:401 beta:s:200 "
        "none::401 none:a:401 none:s:404",
    ),
    (
        {
            "tenants": {
                "acme": {"user_tokens": {"ann": "a"}},
                "beta": {"bearer_tokens": ["b"], "user_tokens": None},
            }
        },
        "acme:a:200 acme:b:401 beta:b:200 beta:a:401 beta::401 none::401 none:a:401",
    ),
    (
        {"tenants": {"acme": {"bearer_tokens": []}}, "bearer_tokens": ["s"]},
        "acme::401 acme:s:200",
    ),
    ({"tenants": {"acme": {}, "beta": {}}}, "acme::200 none::404 none:x:404"),
    (
        {"tenants": {"acme": {"bearer_tokens": ["a"]}}, "dynamic_tenants": True},
        "acme::401 acme:a:200 other::200",
    ),
    (
        {
            "tenants": {"acme": {"bearer_tokens": ["a"]}},
            "dynamic_tenants": True,
            "bearer_tokens": ["s"],
        },
        "acme:a:200 acme:s:401 other::401 other:a:401 other:s:200",
    ),
]


@pytest.mark.parametrize(("options", "requests"), OPENED, ids=repr)
def test_what_opens_a_tenant(options: dict[str, Any], requests: str) -> None:
    """Its own credentials alone, or those of the server (RFC 7644 §2, §6)."""
    if "bearer_tokens" in options:  # also when it can be read only once
        options = options | {"bearer_tokens": iter(options["bearer_tokens"])}
    app = create_app(**options)
    for name, token, status in (each.split(":") for each in requests.split()):
        client = Client(app, f"/{name}/v2")
        reply = client.get("/ServiceProviderConfig")  # open, where there is a tenant
        hidden = name == "none" and "none::401" in requests
        assert (reply.status == 401) == hidden, reply.content
        for path in ("/Users", "/Schemas", "", "/Users/x/y/z"):
            reply = client.request("GET", path, headers=bearer(token))
            expected = {"200": 404} if path.endswith("z") else {}
            assert reply.status == expected.get(status, int(status)), (name, token)
            if status == "401":
                assert "Bearer" in reply.headers["WWW-Authenticate"]


def test_a_tenant_shows_its_own_authentication_schemes() -> None:
    """ServiceProviderConfig says how that tenant is opened (RFC 7643 §5)."""
    tenants = {
        "acme": {"basic_auth": {"ann": "pw"}},
        "beta": {},
        "both": {"bearer_tokens": ["b"], "basic_auth": {"ann": "pw"}},
    }
    app = create_app(tenants=tenants, bearer_tokens=["s"])
    shown = {
        "acme": ["httpbasic"],
        "beta": ["oauthbearertoken"],
        "both": ["oauthbearertoken", "httpbasic"],
    }
    for name, types in shown.items():
        config = Client(app, f"/{name}/v2").get("/ServiceProviderConfig")
        assert [each["type"] for each in config["authenticationSchemes"]] == types
    given = {"authenticationSchemes": [{"type": "oauth2", "name": "x"}]}
    app = create_app(tenants=tenants, service_provider_config=given)
    config = Client(app, "/acme/v2").get("/ServiceProviderConfig")
    assert config["authenticationSchemes"] == given["authenticationSchemes"]


def test_a_tenant_has_its_own_tolerance_and_me() -> None:
    """What it does not give is the server's (RFC 7644 §3.11)."""
    users = [stored("1", "ann"), stored("2", "bea")]
    tenants = {
        "acme": {"me": "bea", "tolerance": "strict", "accept": ["missing-schemas"]},
        "beta": {"user_tokens": {"bea": "b"}, "refuse": ["missing-schemas"]},
        "gamma": {},
    }
    resources = {name: users for name in tenants}
    app = create_app(tenants=tenants, me="ann", resources=resources)
    rename = {"op": "Add", "path": "title", "value": "Dr"}
    for name, token, subject, bare, cased in (
        ("acme", "", "bea", 201, 400),
        ("beta", "b", "bea", 400, 200),
        ("gamma", "", "ann", 201, 200),
    ):
        client = Client(app, f"/{name}/v2")
        headers = bearer(token)
        reply = client.request("GET", "/Me", headers=headers)
        assert reply["userName"] == subject
        reply = client.request("POST", "/Users", {"userName": "new"}, headers)
        assert reply.status == bare
        assert client.patch("/Users/1", rename, headers=headers).status == cased


@pytest.mark.parametrize(
    ("options", "anonymous"),
    [
        ({}, True),
        ({"bearer_tokens": ["s"]}, False),
        ({"tenants": ["acme"]}, True),
        ({"tenants": {"acme": {"bearer_tokens": ["a"]}}}, False),
        ({"tenants": {"acme": {"bearer_tokens": ["a"]}, "beta": {}}}, True),
        (
            {"tenants": {"acme": {"bearer_tokens": ["a"]}}, "dynamic_tenants": True},
            True,
        ),
        ({"tenants": ["acme"], "basic_auth": {"ann": "pw"}}, False),
    ],
    ids=repr,
)
def test_an_anonymous_server(options: dict[str, Any], anonymous: bool) -> None:
    """Only a server that asks some tenant for nothing is guarded by its Host."""
    app = create_app(hostname="127.0.0.1", **options)
    assert app.is_anonymous == anonymous
    client = Client(app, "/acme/v2")
    reply = client.request("GET", "/Users", headers={"Host": "evil.example"})
    assert (reply.status == 403) == anonymous


def test_readme_lists_the_options_of_a_tenant() -> None:
    """Those that are taken, and no others."""
    text = (Path(scim2_server.__file__).parent / "README.md").read_text()
    table = text.partition("| option of a tenant |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", table)
    assert sorted(named) == sorted(scim2_server.TenantOptions.__annotations__)


# --- Names ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:20]))
def test_bad_names(name: str) -> None:
    """They are refused at start, and are 404 in a URL whatever is asked for."""
    with pytest.raises(ValueError):
        create_app(tenants=("a", name))
    with pytest.raises((ValueError, SystemExit)):
        create_app(dynamic_tenants=True, resources={name: [stored("1", "ann")]})
    app = create_app(dynamic_tenants=True)
    client = Client(app, f"/{name}/v2")
    assert_error(client.get("/Users"), 404)
    reply = client.post("/Users", {"schemas": [USER], "userName": "ann"})
    assert_error(reply, 404)
    assert dumped(app) == {}


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_names(name: str) -> None:
    """Those that a parallel test run gives itself are served."""
    app = create_app(tenants=(name,))
    ann = Client(app, f"/{name}/v2").user("ann")
    assert ann["meta"]["location"] == f"http://localhost/{name}/v2/Users/{ann['id']}"
    assert dumped(app) == {name: ["ann"]}


@pytest.mark.parametrize("options", [{"tenants": ("a",)}, {"dynamic_tenants": True}])
@pytest.mark.parametrize("path", ["/Users", "/Users/x", "", "/Bulk", "/Me"])
def test_nothing_outside_tenants(options: dict[str, Any], path: str) -> None:
    """A server of tenants has no directory of its own: 404 (RFC 7644 §3.12)."""
    app = create_app(**options)
    client = Client(app, "/v2")
    assert_error(client.get(path), 404)
    assert_error(client.post(path, {"schemas": [USER], "userName": "ann"}), 404)
    assert dumped(app) == {}


@pytest.mark.parametrize("options", [{"tenants": ("a",)}, {}])
def test_an_unknown_tenant(options: dict[str, Any]) -> None:
    """It is 404, on reads and writes, and is not made (RFC 7644 §3.12)."""
    app = create_app(**options)
    client = Client(app, "/b/v2")
    body = {"schemas": [USER], "userName": "ann"}
    for path in ("/Users", "/Users/x", "", "/Schemas", "/ServiceProviderConfig"):
        assert_error(client.get(path), 404)
    for path in ("/Users", "/Users/.search", "/Bulk"):
        assert_error(client.post(path, body), 404)
    assert_error(client.get("/Users"), 404)
    assert app.dump() in ([], {}, {"a": []})


# --- Dynamic tenants ------------------------------------------------------------------


def test_the_first_write_makes_the_tenant() -> None:
    """From then on it is like any other."""
    app, client = dynamic()
    assert app.dump() == {}
    ann = client("new").user("ann")
    assert dumped(app) == {"new": ["ann"]}
    assert client("new").get("/Users")["Resources"] == [ann]
    assert client("other").get("/Users")["totalResults"] == 0
    assert client("other").user("ann")["id"] != ann["id"]
    assert dumped(app) == {"new": ["ann"], "other": ["ann"]}


def test_bulk_makes_the_tenant() -> None:
    """It is a write like others (RFC 7644 §3.7)."""
    app, client = dynamic()
    data = {"schemas": [USER], "userName": "ann"}
    job = [{"method": "POST", "path": "/Users", "bulkId": "x", "data": data}]
    reply = client("new").post("/Bulk", {"schemas": [BULK], "Operations": job})
    (result,) = reply["Operations"]
    assert result["status"] == "201"
    assert result["location"].startswith("http://localhost/new/v2/Users/")
    assert dumped(app) == {"new": ["ann"]}


def test_reading_makes_nothing() -> None:
    """An unknown tenant answers as an empty one, and is still unknown."""
    app, client = dynamic(me="ann")
    new = client("new")
    search = {"schemas": [SEARCH], "filter": "userName pr"}
    for _ in range(2):
        for path in ("/Users", "/Groups", ""):
            assert new.get(path)["totalResults"] == 0
            assert new.get(path, filter='id eq "x"')["totalResults"] == 0
        for path in ("/Users/.search", "/.search"):
            assert new.post(path, search)["totalResults"] == 0
        assert_error(new.get("/Users/x"), 404)
        assert_error(new.get("/Me"), 404)
        assert_error(new.get("/Robots"), 404)
        assert new.request("HEAD", "/Users").status == 200
        schema = new.get(f"/Schemas/{USER}")
        assert schema["meta"]["location"] == f"http://localhost/new/v2/Schemas/{USER}"
        assert new.get("/ServiceProviderConfig").status == 200
        assert new.get("/ResourceTypes").status == 200
    assert app.dump() == {}


def test_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit a new tenant is an error that names it; the others go on."""
    limits = [
        name
        for name, value in vars(scim2_server).items()
        if "TENANT" in name and isinstance(value, int)
    ]
    assert len(limits) == 1, "the number of tenants is a named constant"
    monkeypatch.setattr(scim2_server, limits[0], 3)
    app, client = dynamic()
    for name in "abc":
        client(name).user("ann")
    for _ in range(2):
        reply = client("d").post("/Users", {"schemas": [USER], "userName": "ann"})
        assert 400 <= reply.status < 600 and reply.status != 500
        detail = assert_error(reply, reply.status, reply.json.get("scimType"))
        assert re.search(r"\b3\b", detail)
    assert client("d").get("/Users")["totalResults"] == 0
    client("c").user("bea")
    everyone = {"a": ["ann"], "b": ["ann"], "c": ["ann", "bea"]}
    assert dumped(app) == everyone


def test_an_empty_tenant_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit a dynamic tenant without resources is forgotten, no other one."""
    monkeypatch.setattr(scim2_server, "MAX_TENANTS", 3)
    app, client = dynamic(tenants=["fixed"])
    for name in "ab":
        user = client(name).user("ann")
        if name == "a":
            assert client(name).delete(f"/Users/{user['id']}").status == 204
    client("c").user("ann")
    assert sorted(app.dump()) == ["b", "c", "fixed"]
    reply = client("d").post("/Users", {"schemas": [USER], "userName": "ann"})
    assert_error(reply, 403)
    assert client("fixed").get("/Users")["totalResults"] == 0


def test_only_what_creates_opens_a_store() -> None:
    """Paths that lead nowhere, discovery and searches make none of a builder's."""
    opened: list[str] = []

    def open_store(types: Any, tenant: str) -> scim2_server.Store:
        opened.append(tenant)
        return scim2_server.Store(types, tenant)

    app = create_app(dynamic_tenants=True, store=open_store)
    for path in (
        "/ServiceProviderConfig",
        "/Nope",
        "/Users/.search",
        "/Users/1",
        "/Me",
    ):
        Client(app, "/evil/v2").post(path, {"schemas": [SEARCH]})
    assert opened == []
    Client(app, "/good/v2").post("/users", {"schemas": [USER], "userName": "ann"})
    assert opened == ["good"]


def test_configured_and_dynamic() -> None:
    """Those that are configured are there, others come with their first write."""
    app = create_app(tenants=("a",), dynamic_tenants=True)
    Client(app, "/a/v2").user("ann")
    Client(app, "/b/v2").user("bea")
    assert dumped(app) == {"a": ["ann"], "b": ["bea"]}


# --- Dump, load and reset -------------------------------------------------------------


@pytest.mark.parametrize("dynamically", [False, True])
def test_dump_and_load(dynamically: bool) -> None:
    """An object of lists by name, that reads back as it was."""
    options = DYNAMIC if dynamically else STATIC
    app = create_app(**options)
    clients = [Client(app, f"/{name}/v2") for name in "ab"]
    for client in clients:
        ann = client.user("ann", title="Dr")
        client.group("g", ann["id"])
    before = [client.get("").json for client in clients]
    dump = app.dump()
    assert {name: len(each) for name, each in dump.items()} == {"a": 2, "b": 2}
    again = create_app(resources=dump, **options)
    assert again.dump() == dump
    after = [Client(again, f"/{name}/v2").get("").json for name in "ab"]
    assert after == before
    Client(again, "/a/v2").user("bea")
    assert [client.get("").json for client in clients] == before
    assert app.dump() == dump


def test_a_list_without_tenants() -> None:
    """A server without tenants dumps and loads a list."""
    app = create_app(resources=[stored("1", "ann"), stored("2", "bea")])
    client = Client(app)
    names = [user["userName"] for user in client.get("/Users")["Resources"]]
    assert sorted(names) == ["ann", "bea"]
    dump = app.dump()
    assert isinstance(dump, list)
    assert sorted(each["id"] for each in dump) == ["1", "2"]
    assert create_app(resources=dump).dump() == dump


def test_loading_one_of_two() -> None:
    """A tenant that the file does not name is empty."""
    first, second = two(resources={"a": [stored("1", "ann")]})
    assert first.get("/Users/1")["userName"] == "ann"
    assert second.get("")["totalResults"] == 0


@pytest.mark.parametrize(
    "resources",
    [
        {"a": [stored("1", "ann"), stored("1", "bea")]},
        {"a": [stored("1", "ann"), stored("2", "ann")]},
        {"a": [{"schemas": ["urn:x"], "id": "1"}]},
        {"a": {"1": stored("1", "ann")}},
        {"a": 5},
    ],
    ids=repr,
)
def test_what_is_not_loaded(resources: dict[str, Any]) -> None:
    """What excludes itself or is no list is refused at start."""
    with pytest.raises((ValueError, SystemExit)):
        create_app(tenants=("a", "b"), resources=resources)


@pytest.mark.parametrize("dynamically", [False, True])
def test_reset(dynamically: bool) -> None:
    """Every tenant is empty then, and can be written to again."""
    options = DYNAMIC if dynamically else STATIC
    app = create_app(**options)
    for _ in range(2):
        for name in "ab":
            client = Client(app, f"/{name}/v2")
            assert client.get("")["totalResults"] == 0
            ann = client.user("ann")
            client.group("g", ann["id"])
        assert sorted(dumped(app)) == ["a", "b"]
        app.reset()
        assert dumped(app) == {}
        for name in "ab":
            client = Client(app, f"/{name}/v2")
            assert client.get("")["totalResults"] == 0
            assert_error(client.get(f"/Users/{ann['id']}"), 404)
