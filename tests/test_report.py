"""The report of a client's conformance, as ``app.report()`` answers it."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from conftest import BULK, ENTERPRISE, PATCH_OP, SEARCH, USER, Client, Reply

from scim2_server import create_app

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "correct-horse-battery-staple"
TOKEN = "t0ken-of-nobody"
KEYS = {"code", "count", "refused", "first", "example", "rfc", "send_instead"}


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def tick(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


def serve(**options: Any) -> tuple[Any, Client]:
    """Serve without resources; what is made is u1, u2, ..."""
    app = create_app(new_id=map("u{}".format, count(1)).__next__, **options)
    return app, Client(app)


def send(
    client: Client,
    agent: str,
    method: str,
    path: str,
    body: Any = None,
    token: str = "",
    **query: Any,
) -> Reply:
    """Send a request under this name, unless it is empty, and with this token."""
    headers = {"User-Agent": agent} if agent else {}
    if token:
        headers["Authorization"] = token if " " in token else f"Bearer {token}"
    return client.request(method, path, body, headers, **query)


def patch(*operations: Any) -> dict[str, Any]:
    """Spell a PatchOp."""
    return {"schemas": [PATCH_OP], "Operations": [*operations]}


def by_name(app: Any) -> dict[str, Any]:
    """Answer the clients of the report by name, and check its whole shape."""
    report = app.report()
    assert json.loads(json.dumps(report)) == report
    assert report.keys() == {"clients"}
    for client in report["clients"]:
        assert client.keys() == {"client", "requests", "deviations"}
        assert client["client"] and isinstance(client["client"], str)
        assert isinstance(client["requests"], int) and client["requests"] > 0
        codes = [each["code"] for each in client["deviations"]]
        assert len(codes) == len(set(codes))
        for each in client["deviations"]:
            assert each.keys() == KEYS
            assert each["first"].keys() == {"time", "method", "path"}
            assert each["count"] + each["refused"] > 0
            assert each["example"]
            for name in ("rfc", "send_instead"):
                assert isinstance(each[name], str) and len(each[name].split()) > 3
            assert each["rfc"] != each["send_instead"]
    names = [client["client"] for client in report["clients"]]
    assert len(names) == len(set(names))
    return dict(zip(names, report["clients"], strict=True))


def counts(client: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Answer how often each code was accepted and refused."""
    return {
        each["code"]: (each["count"], each["refused"]) for each in client["deviations"]
    }


ANN = {"schemas": [USER], "userName": "ann"}
REPLACE = {"op": "Replace", "path": "title", "value": "Lead"}
FALSE = {"op": "replace", "path": "active", "value": "False"}
FAX = {"op": "replace", "path": 'phoneNumbers[type eq "fax"].value', "value": "1"}


def test_an_unused_server() -> None:
    """Nobody has sent anything."""
    app, _ = serve()
    assert app.report() == {"clients": []}


def test_one_client() -> None:
    """Requests, and by code how often, when first, and what should be sent."""
    clock = Clock()
    app, client = serve(clock=clock)
    assert send(client, "acme/1", "POST", "/Users", ANN).status == 201
    began = clock.tick()
    for _ in range(3):
        assert (
            send(client, "acme/1", "PATCH", "/Users/u1", patch(REPLACE)).status == 200
        )
        clock.tick()
    later = clock.tick()
    both = patch(REPLACE, REPLACE | {"op": "Add"}, FALSE)
    assert send(client, "acme/1", "PATCH", "/Users/u1", both).status == 200
    clock.tick()
    assert send(client, "acme/1", "PATCH", "/Users/u1", patch(FAX)).status == 400
    assert send(client, "acme/1", "GET", "/Users/nobody").status == 404
    reported = by_name(app)
    assert list(reported) == ["acme/1"]
    acme = reported["acme/1"]
    assert acme["requests"] == 7
    # a code counts once in a request, however often it is met there
    assert counts(acme) == {
        "op-case": (4, 0),
        "boolean-as-string": (1, 0),
        "replace-creates": (0, 1),
    }
    deviations = {each["code"]: each for each in acme["deviations"]}
    for code, time in (("op-case", began), ("boolean-as-string", later)):
        first = deviations[code]["first"]
        assert datetime.fromisoformat(first["time"]) == time
        assert first["time"].endswith(("Z", "+00:00"))
        assert (first["method"], first["path"]) == ("PATCH", "/v2/Users/u1")
    assert "Replace" in json.dumps(deviations["op-case"]["example"])
    assert "False" in json.dumps(deviations["boolean-as-string"]["example"])


def test_times_are_in_utc() -> None:
    """A clock elsewhere is read as the same instant."""
    oslo = START.astimezone(timezone(timedelta(hours=2)))
    app, client = serve(clock=lambda: oslo)
    send(client, "acme/1", "POST", "/Users", ANN | {"active": "True"})
    (deviation,) = by_name(app)["acme/1"]["deviations"]
    assert datetime.fromisoformat(deviation["first"]["time"]) == START
    assert deviation["first"]["time"].endswith(("Z", "+00:00"))


def test_clients_are_kept_apart() -> None:
    """Each client has its own counts, and one without deviations is listed."""
    app, client = serve()
    send(client, "acme/1", "POST", "/Users", ANN)
    for _ in range(2):
        send(client, "acme/1", "PATCH", "/Users/u1", patch(REPLACE))
    send(client, "other/2 (x; y)", "PATCH", "/Users/u1", patch(REPLACE))
    send(client, "other/2 (x; y)", "PATCH", "/Users/u1", patch(FALSE))
    send(client, "good/3", "GET", "/Users")
    send(client, "good/3", "PATCH", "/Users/u1", patch(FAX | {"path": "title"}))
    reported = by_name(app)
    assert {name: (c["requests"], counts(c)) for name, c in reported.items()} == {
        "acme/1": (3, {"op-case": (2, 0)}),
        "other/2 (x; y)": (2, {"op-case": (1, 0), "boolean-as-string": (1, 0)}),
        "good/3": (2, {}),
    }


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("strict", {"op-case": (0, 2), "boolean-as-string": (0, 1)}),
        ("standard", {"op-case": (2, 0), "boolean-as-string": (1, 0)}),
        ("lenient", {"op-case": (2, 0), "boolean-as-string": (1, 0)}),
    ],
)
def test_refused_and_accepted(level: str, expected: dict[str, tuple[int, int]]) -> None:
    """What a level refuses is counted as refused, and is no less a deviation."""
    app, client = serve(tolerance=level)
    send(client, "acme/1", "POST", "/Users", ANN)
    for operation in (REPLACE, REPLACE, FALSE):
        send(client, "acme/1", "PATCH", "/Users/u1", patch(operation))
    assert counts(by_name(app)["acme/1"]) == expected


def test_what_was_accepted_before_an_error() -> None:
    """A code that was accepted counts although the request then failed."""
    app, client = serve()
    send(client, "acme/1", "POST", "/Users", ANN)
    reply = send(client, "acme/1", "PATCH", "/Users/u1", patch(REPLACE, FAX))
    assert reply.status == 400
    assert counts(by_name(app)["acme/1"]) == {
        "op-case": (1, 0),
        "replace-creates": (0, 1),
    }


def test_a_bulk_is_one_request() -> None:
    """Its operations share the request, its path and its client."""
    app, client = serve()
    jobs = [
        {
            "method": "POST",
            "path": "/Users",
            "bulkId": str(number),
            "data": {"schemas": [USER], "userName": f"u{number}", "active": "True"},
        }
        for number in range(3)
    ]
    body = {"schemas": [BULK], "Operations": jobs}
    assert send(client, "acme/1", "POST", "/Bulk", body).status == 200
    acme = by_name(app)["acme/1"]
    assert acme["requests"] == 1
    assert counts(acme) == {"boolean-as-string": (1, 0)}
    assert acme["deviations"][0]["first"]["method"] == "POST"


def test_a_query_is_reported_by_its_path() -> None:
    """The path of a GET, and the text of its filter as the example."""
    app, client = serve()
    send(client, "acme/1", "GET", "/Users", filter='active eq "False"')
    (deviation,) = by_name(app)["acme/1"]["deviations"]
    path = deviation["first"]["path"].partition("?")[0]
    assert (deviation["first"]["method"], path) == ("GET", "/v2/Users")
    assert "False" in json.dumps(deviation["example"])


def test_names_of_clients() -> None:
    """The User-Agent, else the name of the token; never the token."""
    app, client = serve(
        bearer_tokens=[TOKEN], user_tokens={"ann": "ann-t0ken", "bea": "bea-t0ken"}
    )
    for agent, token, name in (
        ("", "ann-t0ken", "ann"),
        ("", "bea-t0ken", "bea"),
        ("acme/1", "ann-t0ken", "acme/1"),
        ("acme/1", TOKEN, "acme/1"),
    ):
        before = by_name(app).get(name, {"requests": 0})["requests"]
        assert send(client, agent, "GET", "/Users", token=token).status == 200
        assert by_name(app)[name]["requests"] == before + 1
    assert set(by_name(app)) == {"ann", "bea", "acme/1"}
    assert send(client, "", "GET", "/Users", token=TOKEN).status == 200
    (other,) = set(by_name(app)) - {"ann", "bea", "acme/1"}
    assert "t0ken" not in other
    assert "t0ken" not in json.dumps(app.report())


def test_an_anonymous_client_without_a_name() -> None:
    """It has a name in the report all the same, and one only."""
    app, client = serve()
    send(client, "", "POST", "/Users", ANN | {"active": "True"})
    send(client, "", "GET", "/Users/u1")
    (reported,) = by_name(app).values()
    assert (reported["requests"], counts(reported)) == (
        2,
        {"boolean-as-string": (1, 0)},
    )


def test_basic_credentials_are_no_name() -> None:
    """Neither the password nor its encoding is in the report."""
    pair = b64encode(f"ann:{SECRET}".encode()).decode()
    app, client = serve(basic_auth={"ann": SECRET})
    body = ANN | {"active": "True"}
    reply = send(client, "", "POST", "/Users", body, token=f"Basic {pair}")
    assert reply.status == 201, reply.content
    by_name(app)
    text = json.dumps(app.report())
    assert SECRET not in text and pair not in text


def raw(text: str) -> bytes:
    """Spell JSON whose keys need not be distinct."""
    return text.replace("USER", USER).replace("SECRET", SECRET).encode()


def secrets() -> Iterator[tuple[str, str, Any, str]]:
    """Answer requests that carry a password, and a code that each is known by."""
    new = {"schemas": [USER], "userName": "new", "password": SECRET}
    yield "POST", "/Users", new | {"active": "True"}, "boolean-as-string"
    yield "PUT", "/Users/u1", new | {"active": "True"}, "boolean-as-string"
    yield "POST", "/Users", new | {"colour": "red"}, "unknown-attribute"
    yield "POST", "/Users", new | {"schemas": []}, "missing-schemas"
    yield "POST", "/Users", new | {"emails": ["a@x.example"]}, "value-for-complex"
    extended = new | {ENTERPRISE: {"department": "x"}}
    yield "POST", "/Users", extended, "undeclared-extension"
    hidden = {"schemas": [USER], "userName": "new", "PassWord": SECRET, "x": {"y": 1}}
    yield "POST", "/Users", hidden, "unknown-attribute"
    keyed = {"schemas": [USER], "userName": "new", f"{USER}:password": SECRET}
    yield "POST", "/Users", keyed, "unknown-attribute"
    path = "/Users/u1"
    for name in ("password", "Password", f"{USER}:password"):
        yield (
            *("PATCH", path),
            patch({"op": "Replace", "path": name, "value": SECRET}),
            "op-case",
        )
        yield (
            *("PATCH", path),
            patch({"op": "add", "path": name, "value": [SECRET]}),
            "array-for-single",
        )
        yield (
            *("PATCH", path),
            patch({"op": "add", "path": name, "value": SECRET, "name": "x"}),
            "unknown-key",
        )
    value = {"password": SECRET, "name.givenName": "Ida"}
    yield "PATCH", path, patch({"op": "add", "value": value}), "path-as-key"
    value = {f"{USER}:password": SECRET}
    yield "PATCH", path, patch({"op": "replace", "value": value}), "path-as-key"
    value = {"password": [SECRET]}
    yield "PATCH", path, patch({"op": "replace", "value": value}), "array-for-single"
    operation = {"op": "Replace", "value": {"password": SECRET}}
    yield "PATCH", path, patch(operation), "op-case"
    text = '{"schemas": ["USER"], "userName": "new", "password": "x", '
    yield "POST", "/Users", raw(text + '"password": "SECRET"}'), "duplicate-json-key"
    text = '{"schemas": ["USER"], "userName": "new", "password": "SECRET", '
    yield "POST", "/Users", raw(text + '"Password": "x"}'), "duplicate-json-key"
    job = {"method": "POST", "path": "/Users", "bulkId": "1", "data": new, "note": "x"}
    yield "POST", "/Bulk", {"schemas": [BULK], "Operations": [job]}, "unknown-key"
    yield "POST", "/Bulk", {"Operations": [job]}, "missing-schemas"
    guess = f'active eq "True" and password eq "{SECRET}"'
    yield "POST", "/Users/.search", {"schemas": [SEARCH], "filter": guess}, ""
    yield "POST", "/Users/.search", {"filter": guess}, "missing-schemas"


@pytest.mark.parametrize("level", ["strict", "standard", "lenient"])
@pytest.mark.parametrize(("method", "path", "body", "code"), [*secrets()])
def test_no_secret_is_told(
    level: str, method: str, path: str, body: Any, code: str
) -> None:
    """An example shows what was wrong, and neither a password nor a token."""
    app, client = serve(tolerance=level, bearer_tokens=[TOKEN])
    assert send(client, "setup", "POST", "/Users", ANN, token=TOKEN).status == 201
    reply = send(client, "acme/1", method, path, body, token=TOKEN)
    acme = by_name(app)["acme/1"]
    assert not code or code in counts(acme), reply.content
    text = json.dumps(app.report(), ensure_ascii=False)
    for secret in (SECRET, TOKEN):
        assert secret not in text
        assert secret not in reply.content.decode()
        assert secret not in "".join(reply.headers.values())


def test_a_report_is_a_snapshot() -> None:
    """Who changes it changes nothing in the server."""
    app, client = serve()
    send(client, "acme/1", "POST", "/Users", ANN | {"active": "True"})
    before = json.dumps(app.report())
    report = app.report()
    report["clients"][0]["deviations"].clear()
    report["clients"].clear()
    assert json.dumps(app.report()) == before


@pytest.mark.parametrize("key", ["password", "pasword"])
def test_a_key_is_quoted_up_to_its_bracket(key: str) -> None:
    """What a filter in a key compares with may be a secret (RFC 7644 §7.5.2)."""
    app = create_app()
    client = Client(app)
    client.post("/Users", {"schemas": [USER], "userName": "a"})
    (user,) = client.get("/Users")["Resources"]
    change = {"op": "add", "value": {f'{key}[value eq "S3CRET"]': "x"}}
    reply = client.patch(f"/Users/{user['id']}", change)
    assert "S3CRET" not in json.dumps(app.report())
    assert b"S3CRET" not in reply.content


# --- a secret that is planted in every place of a request ---

PW = "Xq7zKw"  # letters first, so that it could be a word of a filter
NEVER = {"returned": "never", "mutability": "writeOnly"}
VAULT_URN = "urn:example:Vault"


def attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    """Spell an attribute of a schema."""
    return {"name": name, "type": kind, "multiValued": False} | more


VAULT = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
    "id": VAULT_URN,
    "name": "Vault",
    "attributes": [
        attribute("label"),
        attribute("password", uniqueness="server", returned="never"),
        attribute("pin", "integer", mutability="writeOnly"),
        attribute("open", "boolean", **NEVER),
        attribute("since", "dateTime", **NEVER),
        attribute("blob", "binary", **NEVER),
        attribute("link", "reference", referenceTypes=["Vault"], **NEVER),
        attribute(
            "keys",
            "complex",
            multiValued=True,
            subAttributes=[
                attribute("value"),
                attribute("secret", **NEVER),
                attribute("number", "decimal", returned="never"),
            ],
        ),
        attribute(
            "safe",
            "complex",
            **NEVER,
            subAttributes=[
                attribute("value"),
                attribute("code", "integer"),
                attribute("open", "boolean"),
                attribute("since", "dateTime"),
            ],
        ),
    ],
}
VAULTS = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
    "id": "Vault",
    "name": "Vault",
    "endpoint": "/Vaults",
    "schema": VAULT_URN,
}
PLACES = [
    *("password", "pin", "open", "since", "blob", "link", "safe", "safe.value"),
    *("safe.code", "safe.open", "safe.since", "keys.secret", "keys.number"),
    *("keys", "passwort", "PASSWORD", f"{VAULT_URN}:password", "pass word"),
]
WITHIN = [
    *('keys[value eq "a"].secret', 'keys[secret eq "PW"].value', "password.x"),
    *('password[value eq "PW"]', 'password[value eq "PW"', "password[value eq PW]"),
    *("password[value eq 'PW'].x", 'safe[code eq "PW"].open', 'keys[secret eq "PW"]'),
    *('keys[value eq "b" and secret eq "PW"].number', 'nope[secret eq "PW"].value'),
    *('password eq "PW"', "password = PW", "password=PW", "password(PW)", 'safe."PW"'),
    *(
        'keys["PW"]',
        "keys[PW]",
        "keys[secret PW",
        "password[PW]",
        "urn:x:password='PW'",
    ),
]
FILTERS = [
    *('password eq "PW', "password eq PW", "password eq 'PW'", "password eq 'PW"),
    *('not (password eq "PW"', 'emails[password eq "PW"]', "password eq PW x"),
    *("password eq PW'x y", "password eq PW\u00a0x y", 'password eq "PW" x', "pin PW"),
    *('keys[secret eq "PW"', 'keys[secret eq "PW"].value', "password eqPW", "pin=PW"),
    *('password eq "PW\\x"', 'password eq "a" and pin eq PW)', 'password"PW"'),
    *('label eq "a" and password eq "PW"', 'password eq("PW")', "password eq PW(x"),
    *('password eq PW"x" y', "password\teq PW", "(password eq PW", 'safe eq "PW'),
    *('passwort eq "PW"', "pass word eq PW", 'password eq "PW\u00a0" "x', "pin eq PW]"),
]
HOLDERS: list[Any] = [
    *(
        "PW",
        ["PW"],
        [["PW"]],
        {"value": "PW"},
        {"x": {"password": "PW"}},
        [{"x": "PW"}],
    ),
    *({"password": "PW"}, [{"secret": "PW"}], [{"number": ["PW"]}], {"code": "PW"}),
    *({"value": ["PW"]}, {"open": "PW", "since": "PW"}, [{"value": {"x": "PW"}}]),
    *("bulkId:PW", "../Vaults/PW", {"code": {"x": "PW"}, "value": "PW"}, "2026-PW"),
    *([{"secret": ["PW"], "value": "v"}], {"Value": "PW", "value": "PW"}, ["PW", "PW"]),
]


def planted(given: Any, secret: str) -> Any:
    """Put the secret where PW stands in the texts and filters of a JSON value."""
    if isinstance(given, dict):
        return {planted(key, secret): planted(x, secret) for key, x in given.items()}
    if isinstance(given, list):
        return [planted(x, secret) for x in given]
    return given.replace("PW", secret) if isinstance(given, str) else given


def requests_with_secrets(random: Random) -> Iterator[tuple[str, str, Any]]:
    """Return a method, a path and a body, with a secret in it, of each kind."""
    text = random.choice(FILTERS)
    key = random.choice(PLACES + WITHIN)
    value = random.choice(HOLDERS)
    if key == "keys":  # whose `value` is shown
        value = [{"secret": value, "number": value}]
    shape = value if isinstance(value, dict) else [value]  # where a name belongs
    if random.random() < 0.3:
        shape = text
    body: Any = {"schemas": [VAULT_URN], "label": "new", key: value}
    if "." in (place := random.choice(PLACES)) and ":" not in place:
        first, _, second = place.partition(".")
        inner: Any = {second: value}
        body[first] = [inner] if random.random() < 0.5 else inner
    op = random.choice(["add", "replace", "remove", "Add"])
    operation = {"op": op, "path": key, "value": value}
    if op == "remove" and random.random() < 0.5:
        del operation["value"]
    change = random.choice(
        [
            operation,
            {"op": op, "value": {key: value}},
            {"op": op, "value": {VAULT_URN: {key: value}}},
            {"op": op, "value": value},
            {"op": op, "path": text, "value": value},
            {"op": "add", "path": shape, "value": 1},
            {"op": "add", "path": "label", "value": "x", key: value},
            value,
        ]
    )
    yield "POST", "/Vaults", body
    yield "PUT", "/Vaults/u1", body
    yield "PATCH", "/Vaults/u1", patch(change)
    whole = json.dumps(body)
    cut = random.randrange(len(whole))
    yield "POST", "/Vaults", (whole[:cut] + random.choice('"{,\\x\0')).encode()
    double = (
        f'"{random.choice(PLACES[:7])}": "PW", {json.dumps(key)}: {{"secret": "PW"}}}}'
    )
    yield "POST", "/Vaults", (whole[:-1] + ", " + double).encode()
    yield "POST", "/Vaults/.search", {"schemas": [SEARCH], "filter": text}
    for name in ("filter", "sortBy", "sortOrder", "attributes", "excludedAttributes"):
        sent = random.choice([text, key])
        yield "GET", f"/Vaults?{name}={quote(sent)}", None
        search = {
            "schemas": [SEARCH],
            name: random.choice([sent, {"x": value}, [sent]]),
        }
        yield "POST", "/Vaults/.search", search
    yield "GET", f"/Vaults?password=PW&{quote(text)}&password=PW", None
    yield "POST", f"/Vaults?attributes={quote(key)}&password=PW", body
    yield "GET", f"/Vaults?password=PW&{random.choice(['count', 'x'])}=1", None
    for end in (f"?{quote(text)}", "?password=PW", f"[{text}]", f"/x?{key}=PW"):
        yield "GET", "/Vaults" + quote(end), None
        job = {"method": "DELETE", "path": "/Vaults/u1" + end}
        yield "POST", "/Bulk", {"schemas": [BULK], "Operations": [job]}
    jobs: list[Any] = [
        {"method": "POST", "bulkId": "a", "path": "/Vaults", "data": body},
        {"method": "PUT", "path": "/Vaults/u1", "data": body},
        {"method": "PATCH", "path": "/Vaults/u1", "data": patch(change)},
        {"method": "POST", "path": shape, "bulkId": {"x": value}, "data": value},
        {"method": "POST", "bulkId": "b", "path": "/Vaults", "data": value, key: 1},
    ]
    yield "POST", "/Bulk", {"schemas": [BULK], "Operations": jobs}
    yield "POST", "/Bulk", {"schemas": [BULK], "Operations": [value, value]}


@pytest.mark.parametrize("level", ["strict", "standard", "lenient"])
def test_a_planted_secret_is_told_nowhere(
    level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither reply, log nor report shows it, wherever in a request it is."""
    app, client = serve(schemas=[VAULT], resource_types=[VAULTS], tolerance=level)
    made = {"schemas": [VAULT_URN], "label": "old", "keys": [{"value": "a"}]}
    assert client.post("/Vaults", made).status == 201
    random = Random(7)
    caplog.set_level(logging.DEBUG, logger="scim2_server")
    leaks: dict[str, Any] = {}
    for _ in range(150):
        for method, path, body in requests_with_secrets(random):
            secret = random.choice([PW, "70707.5", "7070707"])
            path = path.replace("PW", secret)
            if isinstance(body, bytes):
                body = body.replace(b"PW", secret.encode())
            else:
                body = planted(body, secret)
            caplog.clear()
            reply = send(client, f"agent {method}", method, path, body)
            assert reply.status < 500, (method, path, body)
            told = {
                "reply": reply.content.decode() + "".join(reply.headers.values()),
                "log": caplog.text,
                "report": json.dumps(app.report(), ensure_ascii=False),
            }
            for where, text in told.items():
                if secret in text:
                    at = text.index(secret)
                    around = text[max(0, at - 110) : at + 60]
                    leaks.setdefault(around, (where, method, path, body))
                    if where == "report":
                        app, client = serve(
                            schemas=[VAULT], resource_types=[VAULTS], tolerance=level
                        )
                        client.post("/Vaults", made)
    assert not leaks, "\n\n".join(f"{k!r}\n  {v}" for k, v in leaks.items())
