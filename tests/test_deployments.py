"""Behind a prefix, a proxy, a web page: where a server really stands."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
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
from wire import exchange

from scim2_server import create_app, running_server

MakeClient = Callable[..., Client]
PINNED = "https://scim.example/x/scim/v2"
PAGE = "https://console.example"


def told(value: Any) -> Iterator[str]:
    """Yield every location and ``$ref`` in a body, at any depth."""
    if isinstance(value, list):
        for each in value:
            yield from told(each)
    if isinstance(value, dict):
        for name, each in value.items():
            if name in ("location", "$ref"):
                yield each
            yield from told(each)


def tour(client: Client, headers: dict[str, str], tag: str) -> list[str]:
    """Make a little directory, and answer every URL that is told on the way."""
    urls: list[str] = []

    def ask(method: str, path: str, body: Any = None) -> Any:
        reply = client.request(method, path, body, headers)
        assert reply.status in (200, 201), reply.content
        urls.extend(told(reply.json))
        if "Location" in reply.headers:
            urls.append(reply.headers["Location"])
            assert reply["meta"]["location"] == urls[-1]
        assert (reply.status == 201) <= ("Location" in reply.headers)
        return reply.json

    ann = ask("POST", "/Users", {"schemas": [USER], "userName": f"ann{tag}"})
    bea: dict[str, Any] = {"schemas": [USER, ENTERPRISE], "userName": f"bea{tag}"}
    bea |= {ENTERPRISE: {"manager": {"value": ann["id"]}}}
    bea = ask("POST", "/Users", bea)
    members = [{"value": ann["id"]}, {"value": bea["id"]}]
    group = {"schemas": [GROUP], "displayName": "g", "members": members}
    group = ask("POST", "/Groups", group)
    ask("PUT", f"/Users/{bea['id']}", bea)
    title = {"op": "add", "path": "title", "value": "Dr"}
    patch = {"schemas": [PATCH_OP], "Operations": [title]}
    ask("PATCH", f"/Users/{bea['id']}", patch)
    data = {"schemas": [GROUP], "displayName": "h"}
    job = [{"method": "POST", "path": "/Groups", "bulkId": "h", "data": data}]
    ask("POST", "/Bulk", {"schemas": [BULK], "Operations": job})
    for path in (f"/Users/{ann['id']}", f"/Groups/{group['id']}", "/Users", "/Groups"):
        ask("GET", path)
    ask("POST", "/Users/.search", {"schemas": [SEARCH]})
    for path in ("/ServiceProviderConfig", "/ResourceTypes", "/Schemas"):
        ask("GET", path)
    assert len(urls) > 20
    return urls


# --- Prefix and base URL --------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/v2", "/scim/v2", "/scim", "/a/b/c"])
def test_prefix(make_client: MakeClient, prefix: str) -> None:
    """Locations carry it, also when it was not in the request (RFC 7643 §3.1)."""
    client = make_client(prefix=prefix)
    base = f"http://localhost{prefix}/"
    assert {url[: len(base)] for url in tour(client, {}, "1")} == {base}
    client.prefix = ""
    assert {url[: len(base)] for url in tour(client, {}, "2")} == {base}
    bare = client.get("/Users").json
    client.prefix = prefix
    assert client.get("/Users").json == bare
    client.prefix = f"{prefix}{prefix}"
    assert_error(client.get("/Users"), 404)
    client.prefix = "/other"
    assert_error(client.get("/Users"), 404)


@pytest.mark.parametrize(
    ("prefix", "asked"),
    [("/v2", "/v2"), ("/v2", ""), ("/scim/v2", "/scim/v2"), ("/scim/v2", "")],
)
@pytest.mark.parametrize("pinned", [PINNED, f"{PINNED}/"])
def test_base_url(
    make_client: MakeClient, prefix: str, asked: str, pinned: str
) -> None:
    """It is where Locations point to, whatever Host and path say (RFC 7643 §3.1)."""
    client = make_client(base_url=pinned, prefix=prefix)
    client.prefix = asked
    hosts: list[dict[str, str]] = [{}, {"Host": "other.example:81"}]
    for number, headers in enumerate(hosts):
        for url in tour(client, headers, str(number)):
            assert url.startswith(f"{PINNED}/")
            assert "//" not in url.removeprefix("https://")


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("localhost", "http://localhost/v2/"),
        ("localhost:8880", "http://localhost:8880/v2/"),
        ("127.0.0.1:8880", "http://127.0.0.1:8880/v2/"),
        ("[::1]:8880", "http://[::1]:8880/v2/"),
    ],
)
def test_host(client: Client, host: str, base: str) -> None:
    """Without a base URL Locations use the Host that was asked (RFC 7644 §3.1)."""
    urls = tour(client, {"Host": host}, "")
    assert {url[: len(base)] for url in urls} == {base}


# --- Reverse proxies ------------------------------------------------------------------


def forwarded(
    proto: str = "", host: str = "", port: str = "", prefix: str = ""
) -> dict[str, str]:
    """Spell the X-Forwarded headers that are given."""
    sent = {"Proto": proto, "Host": host, "Port": port, "Prefix": prefix}
    return {f"X-Forwarded-{name}": value for name, value in sent.items() if value}


PROXIES: list[
    tuple[dict[str, str], tuple[str, ...]]
] = [  # headers, and the bases allowed
    ({}, ("http://localhost",)),
    (forwarded("https"), ("https://localhost",)),
    (forwarded("https", "a.example"), ("https://a.example",)),
    (forwarded(host="a.example"), ("http://a.example",)),
    (forwarded("https", "a.example:8443"), ("https://a.example:8443",)),
    (forwarded("https", "a.example", "8443"), ("https://a.example:8443",)),
    (
        forwarded("https", "a.example", "443"),
        ("https://a.example", "https://a.example:443"),
    ),
    (forwarded("https", "a.example", prefix="/idm"), ("https://a.example/idm",)),
    (forwarded("https", "a.example", "8", "/i"), ("https://a.example:8/i",)),
    (forwarded("https", "[::1]:8443"), ("https://[::1]:8443",)),
    ({"Forwarded": "proto=https;host=a.example"}, ("https://a.example",)),
    (
        {"Forwarded": 'for=192.0.2.1;Proto=HTTPS;Host="a.example:8443"'},
        ("https://a.example:8443",),
    ),
    ({"Forwarded": 'for="[::1]:9";host="[::1]:8443"'}, ("http://[::1]:8443",)),
    ({"Forwarded": "for=192.0.2.1"}, ("http://localhost",)),
    ({"Forwarded": 'for="a,b";host=a.example'}, ("http://a.example",)),
    (
        {"Forwarded": 'for="a\\",host=evil.example;";host=a.example'},
        ("http://a.example",),
    ),
    (
        {"Forwarded": "host=a.example;proto=https, host=b.example"},
        ("https://a.example",),
    ),
    ({"Forwarded": 'by=_x ; Host = "b"'.replace(" = ", "=")}, ("http://b",)),
    ({"Forwarded": ";;host=a.example:81;"}, ("http://a.example:81",)),
    ({"Forwarded": 'for=1;ext="host=evil.example"'}, ("http://localhost",)),
]


@pytest.mark.parametrize(
    "headers",
    [
        {"Forwarded": "host=a.example;host=b.example"},
        {"Forwarded": "host=a.example;proto=https;HOST=a.example"},
        {"Forwarded": "proto=http;proto=https"},
        {"Forwarded": 'host="a.example'},
        {"Forwarded": 'host="a.example"b'},
        {"Forwarded": "host"},
        {"Forwarded": "host=a b"},
        {"Forwarded": "host=ann:pw@a.example"},
        {"Forwarded": 'host="a.example/x"'},
        {"Forwarded": "proto=gopher"},
        {"Forwarded": " " * 60_000 + "="},
        {"Forwarded": '"' + "\\" * 60_000},
        forwarded(prefix="/../x"),
        forwarded(prefix="/x/.."),
        forwarded(prefix="/./x"),
        forwarded(prefix="/x//y"),
        forwarded(prefix="//evil.example"),
        forwarded(prefix="/%2e%2e"),
        forwarded(prefix="x"),
    ],
    ids=lambda headers: str(headers)[:60],
)
def test_malformed_proxy_headers(
    make_client: MakeClient, headers: dict[str, str]
) -> None:
    """They are 400 and say which header, and are reflected nowhere (RFC 7239 §4)."""
    client = make_client(reverse_proxy=True)
    body = {"schemas": [USER], "userName": "ann"}
    reply = client.request("POST", "/Users", body, headers)
    detail = assert_error(reply, 400)
    assert "orwarded" in detail and "pw" not in detail
    assert "Location" not in reply.headers
    assert client.get("/Users")["totalResults"] == 0
    assert Client(create_app()).request("GET", "/Users", headers=headers).status == 200


@pytest.mark.parametrize("prefix", ["/a.b/..c", "/~x/_y", "/.well-known/scim"])
def test_prefixes_with_dots(make_client: MakeClient, prefix: str) -> None:
    """Only a segment that is nothing but one or two dots is one (RFC 3986 §3.3)."""
    client = make_client(reverse_proxy=True)
    headers = forwarded(prefix=prefix)
    created = client.post("/Users", {"schemas": [USER], "userName": "ann"}, headers)
    assert created.headers["Location"].startswith(f"http://localhost{prefix}/v2/")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("scim.example/v2", "no scheme: write http:// or https://"),
        ("localhost:8080/v2", "no scheme"),
        ("ftp://scim.example/v2", "scheme other than"),
        ("https:///v2", "no valid host"),
        ("https://scim.example:99999/v2", "no valid host and port"),
        ("https://scim.example/v2?x=1", "query"),
        ("https://scim.example/../v2", "no valid path"),
        ("https://ann:p-secret@scim.example/v2", "no valid host"),
    ],
)
def test_base_urls_that_are_none(url: str, fault: str) -> None:
    """The error says what is missing or wrong."""
    with pytest.raises(ValueError, match=re.escape(fault)) as raised:
        create_app(base_url=url)
    assert "p-secret" not in str(raised.value)


@pytest.mark.parametrize(("headers", "bases"), PROXIES, ids=repr)
def test_reverse_proxy(
    make_client: MakeClient, headers: dict[str, str], bases: tuple[str, ...]
) -> None:
    """Locations are those of the outside, if the proxy is trusted (RFC 7239 §4)."""
    client = make_client(reverse_proxy=True)
    urls = tour(client, headers, "")
    (base,) = {re.sub(r"/v2/.*", "", url) for url in urls}
    assert base in bases
    assert all(url.startswith(f"{base}/v2/") for url in urls)


@pytest.mark.parametrize(("headers", "bases"), PROXIES, ids=repr)
def test_no_reverse_proxy(
    client: Client, headers: dict[str, str], bases: tuple[str, ...]
) -> None:
    """Without the option these headers are anybody's, and ignored (RFC 7239 §8.1)."""
    assert all(
        url.startswith("http://localhost/v2/") for url in tour(client, headers, "")
    )


def test_base_url_behind_a_proxy(make_client: MakeClient) -> None:
    """What was pinned is not moved by a header (RFC 7643 §3.1)."""
    client = make_client(base_url=PINNED, reverse_proxy=True)
    headers = forwarded("http", "a.example", "81", "/idm")
    assert all(url.startswith(f"{PINNED}/") for url in tour(client, headers, ""))


# --- Web pages ------------------------------------------------------------------------

CHANGES: dict[str, tuple[str, Any]] = {
    "GET": ("/Users/{id}", None),
    "HEAD": ("/Users/{id}", None),
    "OPTIONS": ("/Users/{id}", None),
    "POST": ("/Users", {"schemas": [USER], "userName": "bea"}),
    "PUT": ("/Users/{id}", {"schemas": [USER], "userName": "bea"}),
    "PATCH": (
        "/Users/{id}",
        {
            "schemas": [PATCH_OP],
            "Operations": [{"op": "add", "path": "title", "value": "Dr"}],
        },
    ),
    "DELETE": ("/Users/{id}", None),
}
verbs = pytest.mark.parametrize("verb", CHANGES)
FOREIGN = [
    *("https://evil.example", "null", "https://localhost", "http://localhost:81"),
    *("http://localhost.evil.example", "http://evil.example:80", "http://127.0.0.1"),
    *("http://localhost@evil.example", "http://evil.example/http://localhost"),
    *("http://xlocalhost", "file://", "chrome-extension://localhost", "localhost"),
]


@verbs
@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_origins(client: Client, verb: str, origin: str) -> None:
    """403 on every verb, nothing changed, and nothing for the page to read."""
    ann = client.user("ann")
    path, body = CHANGES[verb]
    headers = {"Origin": origin}
    if verb == "OPTIONS":
        headers["Access-Control-Request-Method"] = "PATCH"
    reply = client.request(verb, path.format(id=ann["id"]), body, headers)
    if verb == "HEAD":
        assert (reply.status, reply.content) == (403, b"")
    else:
        assert_error(reply, 403)
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert client.get("/Users")["Resources"] == [ann]


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("GET", "/Users", None),
        ("GET", "/ServiceProviderConfig", None),
        ("GET", "/Schemas", None),
        ("GET", "/Robots", None),
        ("GET", "/Me", None),
        ("POST", "/Users/.search", {"schemas": [SEARCH]}),
        ("POST", "/.search", {"schemas": [SEARCH]}),
        ("POST", "/Bulk", {"schemas": [BULK], "Operations": []}),
        ("POST", "/Users", b"{"),
    ],
)
def test_foreign_origins_everywhere(
    client: Client, verb: str, path: str, body: Any
) -> None:
    """403 before anything else is looked at, on every endpoint."""
    for origin in ("https://evil.example", "null"):
        reply = client.request(verb, path, body, {"Origin": origin})
        assert_error(reply, 403)


@verbs
@pytest.mark.parametrize(
    ("options", "headers", "origin"),
    [
        ({}, {}, "http://localhost"),
        ({}, {"Host": "localhost:8880"}, "http://localhost:8880"),
        ({}, {"Host": "[::1]:8880"}, "http://[::1]:8880"),
        ({"base_url": PINNED}, {}, "https://scim.example"),
        (
            {"reverse_proxy": True},
            forwarded("https", "a.example:8443"),
            "https://a.example:8443",
        ),
        ({"cors_origins": (PAGE,)}, {}, "http://localhost"),
        ({"cors_origins": (PAGE,)}, {}, PAGE),
        ({"cors_origins": ("http://other.example:81", PAGE)}, {}, PAGE),
        ({"cors_origins": (PAGE,), "tenants": ("a",)}, {}, PAGE),
    ],
    ids=repr,
)
def test_friendly_origins(
    make_client: MakeClient,
    options: dict[str, Any],
    headers: dict[str, str],
    origin: str,
    verb: str,
) -> None:
    """The server's own and those that are named may do everything (Fetch §3.2)."""
    client = make_client(**options)
    client.prefix = "/a/v2" if "tenants" in options else "/v2"
    ann = client.user("ann")
    path, body = CHANGES[verb]
    sent = {"Origin": origin, **headers}
    reply = client.request(verb, path.format(id=ann["id"]), body, sent)
    expected = {"POST": (201,), "DELETE": (204,), "OPTIONS": (200, 204)}
    assert reply.status in expected.get(verb, (200,)), reply.content
    if origin == PAGE:
        assert reply.headers["Access-Control-Allow-Origin"] == PAGE
        assert "origin" in reply.headers["Vary"].lower()
    else:
        allowed = reply.headers.get("Access-Control-Allow-Origin")
        assert allowed in (None, origin)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://console.example", f"{PAGE}:444", f"{PAGE}.evil.example", f"{PAGE}/x"),
        *(f"{PAGE} https://evil.example", f"https://evil.example {PAGE}", "null"),
        *("https://xconsole.example", "https://x.console.example", "*", PAGE[:-1]),
    ],
)
def test_almost_named_origins(make_client: MakeClient, origin: str) -> None:
    """An origin is compared whole (RFC 6454 §5)."""
    client = make_client(cors_origins=(PAGE,))
    reply = client.request("GET", "/Users", headers={"Origin": origin})
    assert_error(reply, 403)
    assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("path", ["/Users", "/Users/x", "/Groups", "/Bulk", "/.search"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_preflight(make_client: MakeClient, path: str, method: str) -> None:
    """A named page is told what it may send, before it has a token (Fetch §3.2.2)."""
    client = make_client(cors_origins=(PAGE,), bearer_tokens=("s3cret",))
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,if-match",
    }
    reply = client.request("OPTIONS", path, headers=asked)
    assert reply.status in (200, 204), reply.content
    assert reply.headers["Access-Control-Allow-Origin"] == PAGE
    methods = re.findall(r"\w+", reply.headers["Access-Control-Allow-Methods"])
    if path in ("/Users", "/Groups") and method in ("GET", "POST"):
        assert method in methods
    if path == "/Users/x" and method != "POST":
        assert method in methods
    if path in ("/Bulk", "/.search") and method == "POST":
        assert method in methods
    allowed = reply.headers["Access-Control-Allow-Headers"].lower()
    for name in ("authorization", "content-type", "if-match"):
        assert name in allowed
    assert "origin" in reply.headers["Vary"].lower()


@pytest.mark.parametrize(
    ("verb", "path", "token", "status"),
    [
        ("GET", "/Users", "s3cret", 200),
        ("GET", "/Users", "wrong", 401),
        ("GET", "/Users/x", "s3cret", 404),
        ("PUT", "/Users", "s3cret", 405),
        ("POST", "/Users", "s3cret", 400),
        ("POST", "/Me", "s3cret", 501),
        ("GET", "/ServiceProviderConfig", "", 200),
    ],
)
def test_errors_are_readable_too(
    make_client: MakeClient, verb: str, path: str, token: str, status: int
) -> None:
    """A named page learns what went wrong (Fetch §3.2)."""
    client = make_client(cors_origins=(PAGE,), bearer_tokens=("s3cret",))
    headers = {"Origin": PAGE, "Authorization": f"Bearer {token}"}
    body = {"schemas": [USER]} if verb in ("POST", "PUT") else None
    reply = client.request(verb, path, body, headers)
    assert reply.status == status, reply.content
    assert reply.headers["Access-Control-Allow-Origin"] == PAGE
    assert "origin" in reply.headers["Vary"].lower()


def test_no_origin(make_client: MakeClient) -> None:
    """Who sends no Origin is no web page: nothing changes for it (Fetch §3.2)."""
    client = make_client(cors_origins=(PAGE,))
    reply = client.post("/Users", {"schemas": [USER], "userName": "ann"})
    assert reply.status == 201
    assert reply.headers.get("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("token", ["s3cret", "wrong", None])
def test_a_token_does_not_admit_a_page(make_client: MakeClient, token: Any) -> None:
    """Neither does the lack of one: the page gets nothing."""
    client = make_client(bearer_tokens=("s3cret",))
    headers = {"Origin": "https://evil.example"}
    right = {"Authorization": "Bearer s3cret"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = {"schemas": [USER], "userName": "ann"}
    reply = client.post("/Users", body, headers)
    assert reply.status in ((403,) if token == "s3cret" else (401, 403))
    assert_error(reply, reply.status)
    assert client.request("GET", "/Users", headers=right)["totalResults"] == 0


# --- HEAD and OPTIONS -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/Users", 200),
        ("/Users/{id}", 200),
        ("/Users/{id}?attributes=userName", 200),
        ("/Users?filter=userName%20eq%20%22ann%22", 200),
        ("", 200),
        ("/Me", 200),
        ("/ServiceProviderConfig", 200),
        ("/Schemas", 200),
        (f"/Schemas/{USER}", 200),
        ("/ResourceTypes/User", 200),
        ("/Users/unknown", 404),
        ("/Robots", 404),
        ("/Users?filter=bad", 400),
        ("/Users?count=ten", 400),
        ("/Bulk", 405),
    ],
)
def test_head(make_client: MakeClient, path: str, status: int) -> None:
    """The headers of GET, without a body (RFC 9110 §9.3.2)."""
    client = make_client(me="ann")
    ann = client.user("ann")
    target = path.format(id=ann["id"])
    got, head = client.get(target), client.request("HEAD", target)
    assert (got.status, head.status) == (status, status)
    assert head.content == b"" != got.content
    for headers in (got.headers, head.headers):
        headers.pop("Date", None)
    if head.headers.get("Content-Length") is None:
        got.headers.pop("Content-Length", None)
    assert head.headers == got.headers


def test_head_with_preconditions(client: Client) -> None:
    """304 as for GET (RFC 9110 §13.2)."""
    ann = client.user("ann")
    headers = {"If-None-Match": ann["meta"]["version"]}
    reply = client.request("HEAD", f"/Users/{ann['id']}", headers=headers)
    assert (reply.status, reply.content) == (304, b"")
    assert reply.headers["ETag"] == ann["meta"]["version"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/Users", "GET POST"),
        ("/Groups", "GET POST"),
        ("/Users/{id}", "GET PUT PATCH DELETE"),
        ("/Users/.search", "POST"),
        ("/.search", "POST"),
        ("/Bulk", "POST"),
        ("/ServiceProviderConfig", "GET"),
        ("/Schemas", "GET"),
        (f"/Schemas/{USER}", "GET"),
        ("/ResourceTypes", "GET"),
    ],
)
def test_options(client: Client, path: str, methods: str) -> None:
    """Allow tells what the endpoint takes, and nothing is done (RFC 9110 §9.3.7)."""
    ann = client.user("ann")
    reply = client.request("OPTIONS", path.format(id=ann["id"]))
    assert reply.status in (200, 204), reply.content
    allowed = set(re.findall(r"\w+", reply.headers["Allow"]))
    assert set(methods.split()) <= allowed
    assert allowed <= {*methods.split(), "HEAD", "OPTIONS"}
    assert client.get("/Users")["Resources"] == [ann]


# --- Health ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bearer_tokens": ("s3cret",)},
        {"basic_auth": {"ann": "pw"}},
        {"prefix": "/scim/v2"},
        {"tenants": ("a", "b")},
        {"dynamic_tenants": True},
        {"base_url": PINNED},
    ],
    ids=repr,
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_health(options: dict[str, Any], headers: dict[str, str]) -> None:
    """At the root, for whoever asks, and it makes nothing."""
    app = create_app(**options)
    before = app.dump()
    client = Client(app, "")
    reply = client.request("HEAD", "/healthz", headers=headers)
    assert (reply.status, reply.content) == (200, b"")
    assert "WWW-Authenticate" not in reply.headers
    assert app.dump() == before


def test_health_over_a_socket() -> None:
    """GET is 200 without a token, whatever its body is."""
    with running_server(bearer_tokens=("s3cret",), prefix="/scim/v2") as server:
        root = server.url.removesuffix("/scim/v2")
        reply = exchange(root, "GET", "/healthz")
        assert reply.status == 200
        assert exchange(server.url, "GET", "/Users").status == 401


# --- Basic authentication -------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [None, "Basic", "Basic YW5uOg==", "Basic YW5uOndyb25n", "Bearer pw"]
)
def test_basic_auth(make_client: MakeClient, wrong: str | None) -> None:
    """A user and a password admit; else 401 and a realm (RFC 7617 §2)."""
    client = make_client(basic_auth={"ann": "p:w", "bea": "other"})
    for pair in ("ann:p:w", "bea:other"):
        right = {"Authorization": "Basic " + b64encode(pair.encode()).decode()}
        assert client.request("GET", "/Users", headers=right).status == 200
    headers = {"Authorization": wrong} if wrong else {}
    reply = client.request("GET", "/Users", headers=headers)
    assert_error(reply, 401)
    assert re.search(r'\bBasic\b.*\brealm="', reply.headers["WWW-Authenticate"], re.I)
    schemes = client.get("/ServiceProviderConfig")["authenticationSchemes"]
    assert [scheme["type"] for scheme in schemes] == ["httpbasic"]
