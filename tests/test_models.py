"""scim2-models validates what is stored: its classes, and those of a builder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
import scim2_models
from conftest import BULK, ENTERPRISE, GROUP, USER, Client, assert_error
from pydantic import EmailStr, Field, TypeAdapter, field_validator, model_validator

from scim2_server import build_model, create_app, default_documents, encode

LAB = "urn:example:Lab"


class Lab(scim2_models.Extension):
    __schema__ = scim2_models.URN(LAB)
    bench: Annotated[str, Field(max_length=3)] | None = None


class Person(scim2_models.User):
    @field_validator("user_name")
    @classmethod
    def check_user_name(cls, value: str) -> str:
        return TypeAdapter(EmailStr).validate_python(value)

    @field_validator("password")
    @classmethod
    def check_password(cls, value: str) -> str:
        assert len(value) > 8, f"{value} is too short"
        return value

    @model_validator(mode="after")
    def check_titles(self) -> Person:
        if self.title and not self.nick_name:
            raise ValueError(f"who has a title has a nickName, unlike {self.user_name}")
        return self


ANN = {"schemas": [USER], "userName": "ann@example.com"}


@pytest.fixture
def builder(make_client: Callable[..., Client]) -> Client:
    return make_client(resource_types=[Person[Lab], scim2_models.Group])


def attempt(client: Client, how: str, change: dict[str, Any]) -> Any:
    """Make a change in one of the ways to write."""
    if how == "POST":
        return client.post("/Users", ANN | change)
    if how == "bulk":
        operation = {"method": "POST", "path": "/Users", "data": ANN | change}
        operation["bulkId"] = "q"
        body = {"schemas": [BULK], "Operations": [operation]}
        reply = client.post("/Bulk", body)
        (result,) = reply["Operations"]
        reply.status = int(result["status"])
        reply.json = result.get("response")
        return reply
    path = f"/Users/{client.post('/Users', ANN)['id']}"
    before = client.get(path).content
    if how == "PUT":
        reply = client.put(path, ANN | change)
    elif how == "PATCH":
        reply = client.patch(path, {"op": "replace", "value": change})
    else:
        operations = [
            {"op": "add", "path": name, "value": value}
            for name, value in change.items()
            if name != "schemas"
        ]
        reply = client.patch(path, *operations)
    if reply.status >= 400:
        assert client.get(path).content == before
    return reply


WAYS = ("POST", "PUT", "PATCH", "PATCH with paths", "bulk")
REFUSED = [
    ({"userName": "ann"}, "'userName' cannot be ann: value is not a valid email"),
    ({"title": "Lead"}, "who has a title has a nickName, unlike ann@example.com"),
    (
        {"schemas": [USER, LAB], LAB: {"bench": "B-17"}},
        f"'{LAB}:bench' must have at most 3 characters.",
    ),
    ({"password": "t1me"}, "'password' cannot be …."),
]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(("change", "detail"), REFUSED)
def test_validators_hold(
    builder: Client, how: str, change: dict[str, Any], detail: str
) -> None:
    reply = attempt(builder, how, change)
    assert detail in assert_bulk_or_error(reply)
    assert "t1me" not in json.dumps(reply.json)


def assert_bulk_or_error(reply: Any) -> str:
    assert (reply.status, reply["scimType"]) == (400, "invalidValue")
    return str(reply["detail"])


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    "change",
    [
        {"title": "Lead", "nickName": "A"},
        {"schemas": [USER, LAB], LAB: {"bench": "B-1"}},
        {"emails": [{"value": "a@corp.local"}]},
        {"profileUrl": "no URI"},
        {"photos": [{"value": "no URI"}], "emails": [{"value": "none"}]},
        {"x509Certificates": [{"value": "MIIE"}]},
    ],
)
def test_what_is_right_passes(
    builder: Client, how: str, change: dict[str, Any]
) -> None:
    """A stand-in is shown to the class where it would refuse; what is sent is kept."""
    reply = attempt(builder, how, change)
    assert reply.status in (200, 201), reply.content
    (user,) = builder.get("/Users")["Resources"]
    assert {name: user[name] for name in change if name != "schemas"} == {
        name: value for name, value in change.items() if name != "schemas"
    }


def test_load() -> None:
    types = [Person[Lab], scim2_models.Group]
    with pytest.raises(ValueError, match=r"resource 1: 'userName' cannot be ann: "):
        create_app(resource_types=types, resources=[ANN | {"userName": "ann"}])


def test_documents_follow_from_classes(builder: Client) -> None:
    found = [each["id"] for each in builder.get("/Schemas")["Resources"]]
    assert {USER, GROUP, LAB} <= set(found)
    assert ENTERPRISE not in found


def test_instances(make_client: Callable[..., Client]) -> None:
    """Schemas and resource types can be instances; a class beside them holds too."""
    kind = scim2_models.ResourceType(
        name="Person", endpoint="/People", schema_=USER, description="One of us"
    )
    group = scim2_models.Group.to_schema()
    client = make_client(schemas=[Person, group], resource_types=[kind])
    assert client.post("/People", ANN).status == 201
    reply = client.post("/People", ANN | {"userName": "bob"})
    assert "not a valid email" in assert_error(reply, 400, "invalidValue")


def test_no_class_of_a_schema() -> None:
    with pytest.raises(ValueError, match="int is not a class of a SCIM schema"):
        create_app(resource_types=[int])  # type: ignore[list-item]


NAMES = ("class", "schema", "copy", "$ref", "a-b", "a_b", "aB", "Foo", "json")


@pytest.mark.parametrize("id", ["urn:x:y", "urn:x", "http://x.example/S", "urn:a:Ä"])
def test_any_schema_has_a_class(id: str) -> None:
    """Names and ids that are none in Python, or of pydantic, do not matter."""
    attributes = [{"name": x, "type": "string"} for x in NAMES]
    types = ["User", "a b"]
    attributes += [{"name": "r", "type": "reference", "referenceTypes": types}]
    document = {"id": id, "name": "S", "attributes": attributes}
    model = build_model(encode(document))
    model.model_validate({**dict.fromkeys(NAMES, "x"), "r": "u1"}, scim_ctx=None)


def test_classes_are_built_once_and_not_at_start() -> None:
    build_model.cache_clear()
    app = create_app()
    assert build_model.cache_info().currsize == 0
    for _ in range(2):
        Client(app).post("/Users", {"schemas": [USER], "userName": "ann"})
        app = create_app(schemas=default_documents()["schemas"])
    assert build_model.cache_info().misses == 2


def test_a_patch_shows_what_it_wrote(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [{"value": f"u{n}"} for n in range(100)]
    group = client.post("/Groups", {"displayName": "g", "members": members})
    shown: list[Any] = []
    monkeypatch.setattr("scim2_server.check_model", lambda *each: shown.append(each[3]))
    new = {"op": "add", "path": "members", "value": [{"value": "u5"}, {"value": "new"}]}
    assert client.patch(f"/Groups/{group['id']}", new).status == 200
    assert shown == [{"members": [{"value": "new"}]}]
