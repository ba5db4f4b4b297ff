"""Who may ask (RFC 7644 §2, RFC 6750, RFC 7617)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from conftest import BULK, PATCH_OP, SEARCH, USER, Client, assert_error

from scim2_server import create_app

MakeClient = Callable[..., Client]


def basic(pair: str) -> str:
    """Spell the header of basic authentication (RFC 7617 §2)."""
    return "Basic " + b64encode(pair.encode()).decode()


def as_header(value: str) -> str:
    """Spell a header as WSGI does, which reads its bytes as Latin-1 (PEP 3333)."""
    return value.encode().decode("latin-1")


BEARER = {"bearer_tokens": ["s3cret", "other"]}
NON_ASCII = {"bearer_tokens": ["sécret"]}
USERS = {"user_tokens": {"ann": "ann-token"}}
BASIC = {"basic_auth": {"ann": "pä:ss", "bea": ""}}
ROWS: list[tuple[dict[str, Any], str | None, bool]] = [
    ({}, None, True),
    ({}, "Bearer whatever", True),
    (BEARER, "Bearer s3cret", True),
    (BEARER, "Bearer other", True),
    (BEARER, "bearer s3cret", True),
    (BEARER, "BEARER s3cret", True),
    (BEARER, None, False),
    (BEARER, "", False),
    (BEARER, "Bearer", False),
    (BEARER, "Bearer ", False),
    (BEARER, "s3cret", False),
    (BEARER, "Bearer S3CRET", False),
    (BEARER, "Bearer s3cre", False),
    (BEARER, "Bearer s3cret2", False),
    (BEARER, "Bearer s3cret, other", False),
    (BEARER, "Token s3cret", False),
    (BEARER, "Bearer s\xe9cret", False),
    (BEARER, as_header("Bearer sécret"), False),
    (BEARER, basic("s3cret:"), False),
    (BEARER, basic("ann:s3cret"), False),
    (NON_ASCII, "Bearer secret", False),
    (NON_ASCII, None, False),
    (USERS, "Bearer ann-token", True),
    (USERS, "Bearer ann", False),
    (USERS, None, False),
    (BEARER | USERS, "Bearer ann-token", True),
    (BEARER | USERS, "Bearer s3cret", True),
    (BASIC, basic("ann:pä:ss"), True),
    (BASIC, basic("ann:pä:ss").replace("Basic", "basic"), True),
    (BASIC, basic("ann:pass"), False),
    (BASIC, basic("ann:pä"), False),
    (BASIC, basic("ann"), False),
    (BASIC, basic("zed:pä:ss"), False),
    (BASIC, basic("zed:"), False),
    (BASIC, "Basic", False),
    (BASIC, "Basic !!", False),
    (BASIC, "Basic \xe9", False),
    (BASIC, "Basic /////w==", False),
    (BASIC, "Bearer pä:ss", False),
    (BASIC, None, False),
    (BEARER | BASIC, basic("ann:pä:ss"), True),
    (BEARER | BASIC, "Bearer s3cret", True),
    (BEARER | BASIC, basic("ann:s3cret"), False),
    (BEARER | BASIC, None, False),
]


@pytest.mark.parametrize(("options", "header", "welcome"), ROWS)
def test_credentials(
    make_client: MakeClient, options: dict[str, Any], header: str | None, welcome: bool
) -> None:
    """200, or 401 with a challenge for each scheme, whatever was sent (§2)."""
    client = make_client(**options)
    headers = {} if header is None else {"Authorization": header}
    reply = client.request("GET", "/Users", headers=headers)
    if welcome:
        assert reply.status == 200, reply.content
        return
    detail = assert_error(reply, 401)
    challenge = reply.headers["WWW-Authenticate"]
    bearer = "bearer_tokens" in options or "user_tokens" in options
    assert ("Bearer" in challenge) == bearer
    assert ("Basic" in challenge) == ("basic_auth" in options)
    for secret in ("s3cret", "ann-token", "pä:ss"):
        assert secret not in challenge and secret not in detail


CHANGE = {"op": "replace", "path": "title", "value": "x"}
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/Users", None),
    ("GET", "/Users/{id}", None),
    ("GET", "/Groups", None),
    ("GET", "", None),
    ("GET", "/Me", None),
    ("POST", "/Users", {"schemas": [USER], "userName": "x"}),
    ("POST", "/Users/.search", {"schemas": [SEARCH]}),
    ("POST", "/.search", {"schemas": [SEARCH]}),
    (
        "POST",
        "/Bulk",
        {
            "schemas": [BULK],
            "Operations": [{"method": "DELETE", "path": "/Users/{id}"}],
        },
    ),
    ("PUT", "/Users/{id}", {"schemas": [USER], "userName": "x"}),
    ("PATCH", "/Users/{id}", {"schemas": [PATCH_OP], "Operations": [CHANGE]}),
    ("DELETE", "/Users/{id}", None),
    ("POST", "/Users", b"{"),
]


@pytest.mark.parametrize(("verb", "path", "body"), REQUESTS)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer w\xf6ng"])
def test_every_endpoint_is_guarded(
    make_client: MakeClient, verb: str, path: str, body: Any, header: str | None
) -> None:
    """Without a token nothing is read and nothing is changed (§2)."""
    client = make_client(bearer_tokens=["s3cret"])
    right = {"Authorization": "Bearer s3cret"}
    ann = client.post("/Users", {"schemas": [USER], "userName": "ann"}, right).json
    headers = {} if header is None else {"Authorization": header}
    reply = client.request(verb, path.format(id=ann["id"]), body, headers)
    assert_error(reply, 401)
    assert "Bearer" in reply.headers["WWW-Authenticate"]
    everyone = client.request("GET", "/Users", headers=right)
    assert everyone["Resources"] == [ann]


@pytest.mark.parametrize(
    "options",
    [
        {"bearer_tokens": [""]},
        {"bearer_tokens": ["s3cret", ""]},
        {"user_tokens": {"ann": ""}},
    ],
    ids=repr,
)
def test_an_empty_token_lets_nobody_in(options: dict[str, Any]) -> None:
    """It is refused at start, before it can open the door."""
    with pytest.raises((ValueError, SystemExit)):
        create_app(**options)


SECRET = "t1meMa-heen"
MISTAKES: list[tuple[dict[str, Any], str]] = [  # options, and what the error says
    ({"bearer_tokens": SECRET}, "bearer_tokens must be a list"),
    ({"bearer_tokens": ""}, "bearer_tokens must be a list"),
    ({"bearer_tokens": SECRET.encode()}, "bearer_tokens must be a list"),
    ({"bearer_tokens": [5]}, "bearer_tokens must be a list"),
    ({"bearer_tokens": {SECRET: "ann"}}, "bearer_tokens must be a list"),
    ({"user_tokens": [SECRET]}, "user_tokens must map"),
    ({"user_tokens": SECRET}, "user_tokens must map"),
    ({"user_tokens": {"ann": [SECRET]}}, "user_tokens must map"),
    ({"user_tokens": {"": SECRET}}, "user_tokens must map"),
    ({"basic_auth": f"ann:{SECRET}"}, "basic_auth must map"),
    ({"basic_auth": {"ann": 5}}, "basic_auth must map"),
    ({"basic_auth": {"ann:x": SECRET}}, "'ann:x' of basic_auth has a colon"),
    ({"user_tokens": {"ann": SECRET, "bob": SECRET}}, "'bob' is given twice"),
    ({"bearer_tokens": [SECRET], "user_tokens": {"ann": SECRET}}, "'ann' is given"),
    ({"bearer_tokens": [SECRET, SECRET]}, "'bearer token 2' is given twice"),
    ({"bearer_tokens": [f"{SECRET} "]}, "'bearer token 1' has blanks"),
    ({"bearer_tokens": [f"\t{SECRET}"]}, "'bearer token 1' has blanks"),
    ({"user_tokens": {"ann": f"{SECRET}\n"}}, "'ann' has blanks"),
    ({"bearer_tokens": [f"{SECRET}\0x"]}, "control characters"),
    ({"bearer_tokens": [f"Bearer {SECRET}"]}, "without it"),
    ({"user_tokens": {"ann": f"bearer {SECRET}"}}, "without it"),
]


@pytest.mark.parametrize(("options", "named"), MISTAKES, ids=repr)
@pytest.mark.parametrize("tenant", ["", "acme"])
def test_mistakes_in_credentials(
    options: dict[str, Any], named: str, tenant: str
) -> None:
    """They are refused at start, in a line without secrets, of a tenant too."""
    with pytest.raises(ValueError, match=re.escape(named)) as raised:
        create_app(**({"tenants": {tenant: options}} if tenant else options))
    assert SECRET not in str(raised.value) and tenant in str(raised.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tenants": "acme"}, "tenants"),
        ({"tenants": [5]}, "tenants"),
        ({"tenants": ["acme", "beta", "Acme"]}, "'Acme' differs from 'acme' in case"),
        ({"tenants": {"acme": {}, "ACME": {}}}, "'ACME' differs from 'acme' in case"),
        ({"tenants": ["acme", "acme"]}, "'acme' comes twice"),
        ({"tenants": {"acme": "strict"}}, "object"),
        ({"tenants": {"acme": {"tolerance": "loose"}}}, "'acme'.*'loose'"),
        ({"tenants": {"acme": {"bearer_token": ["x"]}}}, "did you mean 'bearer_tok"),
        ({"tenants": {"acme": {"colour": "x"}}}, "'colour': they are tolerance, "),
        ({"tenants": {"acme": {"accept": "op-case"}}}, "accept must be a list"),
        ({"tenants": {"acme": {"me": ["ann"]}}}, "me must be"),
        ({"me": 5}, "me must be"),
        ({"cors_origins": "https://a.example"}, "cors_origins"),
        ({"accept": "op-case"}, "accept must be a list"),
        ({"refuse": "op-case"}, "refuse must be a list"),
    ],
    ids=repr,
)
def test_mistakes_in_options(options: dict[str, Any], named: str) -> None:
    """A string is not a list of strings, and an unknown option is not ignored."""
    with pytest.raises(ValueError, match=named):
        create_app(**options)


@pytest.mark.parametrize(
    ("options", "header", "words"),
    [
        (BEARER, "s3cret", "does not begin with the word Bearer"),
        (BEARER, "Token s3cret", "does not begin with the word Bearer"),
        (BEARER | BASIC, "s3cret", "the word Bearer or Basic"),
        (BASIC, "Bearer s3cret", "does not begin with the word Basic"),
        (BEARER, "Bearer s3cre", "not valid here"),
        (BEARER, None, "is missing"),
    ],
)
def test_what_a_refusal_says(
    make_client: MakeClient, options: dict[str, Any], header: str | None, words: str
) -> None:
    """It says what was wrong with the form, and never quotes what was sent."""
    headers = {"Authorization": header} if header else {}
    reply = make_client(**options).request("GET", "/Users", headers=headers)
    detail = assert_error(reply, 401)
    assert words in detail and "s3cre" not in detail


def test_a_token_that_is_not_ascii(make_client: MakeClient) -> None:
    """It works as the UTF-8 bytes that a client sends."""
    client = make_client(**NON_ASCII)
    headers = {"Authorization": as_header("Bearer sécret")}
    assert client.request("GET", "/Users", headers=headers).status == 200


def test_a_user_token_has_a_subject(make_client: MakeClient) -> None:
    """It is the /Me of its bearer; another token has none (§3.11)."""
    client = make_client(bearer_tokens=["s3cret"], user_tokens={"ann": "ann-token"})
    right = {"Authorization": "Bearer s3cret"}
    ann = {"Authorization": "Bearer ann-token"}
    assert_error(client.request("GET", "/Me", headers=ann), 404)
    body = {"schemas": [USER], "userName": "ann"}
    created = client.post("/Users", body, right).json
    reply = client.request("GET", "/Me", headers=ann)
    assert reply.json == created
    assert_error(client.request("GET", "/Me", headers=right), 501)
