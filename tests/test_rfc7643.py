"""What a resource may hold: schemas, characteristics, custom schemas (RFC 7643)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ENTERPRISE, GROUP, USER, Client, Reply, assert_error

from scim2_server import create_app, default_documents

MakeClient = Callable[..., Client]
DEVICE = "urn:example:scim:schemas:core:1.0:Device"
LEASE = "urn:example:scim:schemas:extension:lease:1.0:Device"


# --- The built-in schemas (§8.7.1) ----------------------------------------------------

PLURAL = "*(display primary type value)"
SHAPES = {  # the name, * if it has many values, and its sub-attributes
    USER: "userName, displayName, nickName, profileUrl, title, userType, "
    "preferredLanguage, locale, timezone, active, password, name(familyName formatted "
    "givenName honorificPrefix honorificSuffix middleName), addresses*(country "
    "formatted locality postalCode primary region streetAddress type), groups*("
    f"$ref display type value), emails{PLURAL}, phoneNumbers{PLURAL}, ims{PLURAL}, "
    f"photos{PLURAL}, "
    f"entitlements{PLURAL}, roles{PLURAL}, x509Certificates{PLURAL}",
    GROUP: "displayName, members*($ref display type value)",
    ENTERPRISE: "employeeNumber, costCenter, organization, division, department, "
    "manager($ref displayName value)",
}
DEFAULTS = {
    "multiValued": False,
    "required": False,
    "caseExact": False,
    "mutability": "readWrite",
    "returned": "default",
    "uniqueness": "none",
}


def characteristics(attributes: list[Any], above: str = "") -> dict[str, Any]:
    """Map the path of each attribute to its characteristics (§2.2 has defaults)."""
    found: dict[str, Any] = {}
    for attribute in attributes:
        path = above + attribute["name"]
        found[path] = {
            "type": attribute["type"],
            **{name: attribute.get(name, value) for name, value in DEFAULTS.items()},
        }
        found |= characteristics(attribute.get("subAttributes") or [], path + ".")
    return found


@pytest.mark.parametrize("urn", SHAPES)
def test_attributes_of_a_built_in_schema(client: Client, urn: str) -> None:
    """Exactly the attributes of the RFC; common ones are not listed (§3.1, §8.7.1)."""
    shapes = set()
    for each in client.get(f"/Schemas/{urn}")["attributes"]:
        subs = sorted(sub["name"] for sub in each.get("subAttributes") or [])
        inner = f"({' '.join(subs)})" if subs else ""
        shapes.add(each["name"] + "*" * each["multiValued"] + inner)
    assert shapes == set(SHAPES[urn].split(", "))


@pytest.mark.parametrize(
    ("urn", "path", "expected"),
    [
        (USER, "userName", {"required": True, "uniqueness": "server"}),
        (USER, "userName", {"caseExact": False, "type": "string"}),
        (USER, "password", {"mutability": "writeOnly", "returned": "never"}),
        (USER, "active", {"type": "boolean"}),
        (USER, "profileUrl", {"type": "reference"}),
        (USER, "photos.value", {"type": "reference"}),
        (USER, "x509Certificates.value", {"type": "binary"}),
        (USER, "emails.primary", {"type": "boolean", "mutability": "readWrite"}),
        (USER, "groups", {"mutability": "readOnly", "multiValued": True}),
        (USER, "groups.value", {"mutability": "readOnly"}),
        (GROUP, "displayName", {"required": True}),
        (GROUP, "members.value", {"mutability": "immutable"}),
        (GROUP, "members.$ref", {"mutability": "immutable", "type": "reference"}),
        (GROUP, "members.type", {"mutability": "immutable"}),
        (GROUP, "members.display", {"mutability": "readOnly"}),
        (ENTERPRISE, "manager", {"type": "complex", "multiValued": False}),
        (ENTERPRISE, "manager.value", {"required": False}),
        (ENTERPRISE, "manager.$ref", {"required": False, "type": "reference"}),
        (ENTERPRISE, "manager.displayName", {"mutability": "readOnly"}),
    ],
)
def test_characteristics_of_a_built_in_attribute(
    client: Client, urn: str, path: str, expected: dict[str, Any]
) -> None:
    """The characteristics of §8.7.1, errors in them corrected (§4.2, §4.3)."""
    found = characteristics(client.get(f"/Schemas/{urn}")["attributes"])[path]
    assert {name: found[name] for name in expected} == expected


# --- Types and required attributes (§2.2, §2.3) ---------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        {"userName": 5},
        {"userName": ""},
        {"userName": None},
        {"userName": ["ann"]},
        {"nickName": 5},
        {"title": True},
        {"title": {"value": "x"}},
        {"displayName": ["x"]},
        {"active": "maybe"},
        {"active": "yes"},
        {"active": "t"},
        {"active": 2},
        {"active": 1},
        {"name": "Ann"},
        {"name": ["Ann"]},
        {"name": {"givenName": 5}},
        {"name": {"givenName": {"first": "Ann"}}},
        {"addresses": ["Main Street"]},
        {"addresses": [{"type": 5}]},
        {"emails": [5]},
        {"emails": [{"value": 5}]},
        {"emails": [[{"value": "a@x.example"}]]},
        {"emails": [{"value": "a@x.example", "primary": "on"}]},
        {"profileUrl": 5},
        {"x509Certificates": [{"value": "!!"}]},
        {"x509Certificates": [{"value": 5}]},
        {ENTERPRISE: "x"},
        {ENTERPRISE: {"employeeNumber": 5}},
        {ENTERPRISE: {"manager": {"value": 5}}},
        {
            "emails": [
                {"value": "a@x.example", "primary": True},
                {"value": "b@x.example", "primary": True},
            ]
        },
    ],
    ids=repr,
)
def test_values_of_the_wrong_type(client: Client, attributes: dict[str, Any]) -> None:
    """A wrong type, or two primary values, is invalidValue and nothing changes (§2)."""
    before = client.user("before")
    location = f"/Users/{before['id']}"
    schemas = [USER, *(name for name in attributes if name.startswith("urn:"))]
    body = {"schemas": schemas, "userName": "ann"} | attributes
    for reply in (client.post("/Users", body), client.put(location, body)):
        detail = assert_error(reply, 400, "invalidValue")
        assert next(iter(attributes)).rpartition(":")[2].lower() in detail.lower()
    assert client.get("/Users")["Resources"] == [before]


@pytest.mark.parametrize(
    ("endpoint", "schema", "name"),
    [("/Users", USER, "userName"), ("/Groups", GROUP, "displayName")],
)
def test_a_required_attribute(
    client: Client, endpoint: str, schema: str, name: str
) -> None:
    """Missing is invalidValue, and the detail names the attribute (§2.2)."""
    reply = client.post(endpoint, {"schemas": [schema], "externalId": "x"})
    assert name in assert_error(reply, 400, "invalidValue")


@pytest.mark.parametrize(
    "attributes",
    [
        {"nickName": None},
        {"emails": []},
        {"emails": None},
        {"name": None},
        {"name": {"givenName": None}},
        {ENTERPRISE: None},
        {ENTERPRISE: {"department": None}},
        {"externalId": None},
    ],
    ids=repr,
)
def test_null_and_the_empty_array_are_unassigned(
    client: Client, attributes: dict[str, Any]
) -> None:
    """Unassigned, null and the empty array are one state (§2.5)."""
    body = {"schemas": [USER, ENTERPRISE], "userName": "ann", **attributes}
    created = client.post("/Users", body)
    assert created.status == 201, created.content
    assert set(created.json) == {"schemas", "id", "userName", "meta"}
    assert created["schemas"] == [USER]
    name = next(iter(attributes))
    if not name.startswith("urn:"):
        assert client.get("/Users", filter=f"{name} pr")["totalResults"] == 0


@pytest.mark.parametrize(
    "sent",
    [
        {"id": 5},
        {"id": "mine"},
        {"meta": "x"},
        {"meta": {"resourceType": "Group", "version": 'W/"mine"', "created": "never"}},
        {"groups": 5},
        {"groups": []},
        {"groups": [{"value": "g1"}]},
    ],
    ids=repr,
)
def test_read_only_attributes_are_ignored(client: Client, sent: dict[str, Any]) -> None:
    """Whatever its type, what is readOnly is not read (§2.2, RFC 7644 §3.3)."""
    created = client.user("ann", **sent)
    assert created["id"] not in ("mine", 5)
    assert created["meta"]["resourceType"] == "User"
    assert created["meta"]["version"] != 'W/"mine"'
    assert "groups" not in created
    reply = client.put(f"/Users/{created['id']}", {**created, **sent})
    assert reply.status == 200 and reply.json == created


def test_a_password_is_never_returned(client: Client) -> None:
    """No verb and no parameter shows an attribute that is returned never (§2.2)."""
    secret = "correct horse"
    created = client.user("ann", password=secret)
    path = f"/Users/{created['id']}"
    body = {"schemas": [USER], "userName": "ann", "password": secret + "!"}
    replace = {"op": "replace", "path": "password", "value": secret + "?"}
    replies = [
        client.get(path),
        client.get(path, attributes="password"),
        client.get(path, excludedAttributes="userName"),
        client.get("/Users", attributes="userName,password"),
        client.put(path, body, attributes="password"),
        client.patch(path, replace),
        client.patch(path, replace, attributes="password"),
        client.post("/Users/.search", {"attributes": ["password"]}),
        client.post("/Users", body | {"userName": "bea"}, attributes="password"),
    ]
    for reply in replies:
        assert reply.status in (200, 201), reply.content
        assert b"correct horse" not in reply.content
        assert b'"password"' not in reply.content
    assert "password" not in created


@pytest.mark.parametrize("taken", ["bjørn", "BJØRN", "Bjørn"])
@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH"])
def test_a_user_name_is_unique_without_regard_to_case(
    client: Client, verb: str, taken: str
) -> None:
    """A second bearer of a unique value is 409 uniqueness, and nothing changes."""
    first, second = client.user("Bjørn"), client.user("Bea", nickName="B")
    body = {"schemas": [USER], "userName": taken}
    path = f"/Users/{second['id']}"
    if verb == "PATCH":
        reply = client.patch(
            path,
            {"op": "replace", "path": "nickName", "value": "X"},
            {"op": "replace", "path": "userName", "value": taken},
        )
    else:
        reply = client.request(verb, "/Users" if verb == "POST" else path, body)
    assert "userName" in assert_error(reply, 409, "uniqueness")
    everyone = sorted(client.get("/Users")["Resources"], key=lambda each: each["id"])
    assert everyone == sorted([first, second], key=lambda each: each["id"])


def test_a_unique_value_is_free_again(client: Client) -> None:
    """One's own value is no conflict, and renaming and deleting free the old one."""
    created = client.user("ann")
    path = f"/Users/{created['id']}"
    for name in ("ann", "ANN", "anna"):
        assert client.put(path, {"schemas": [USER], "userName": name}).status == 200
    client.user("ann")
    assert client.delete(path).status == 204
    client.user("Anna")


def test_schemas_lists_what_is_there(client: Client) -> None:
    """`schemas` names the schemas of the attributes that are present (§3)."""
    created = client.user("ann", **{ENTERPRISE.upper(): {"Department": "R&D"}})
    assert set(created["schemas"]) == {USER, ENTERPRISE}
    assert created[ENTERPRISE] == {"department": "R&D"}
    path = f"/Users/{created['id']}"
    gone = client.patch(path, {"op": "remove", "path": f"{ENTERPRISE}:department"})
    assert gone["schemas"] == [USER] and ENTERPRISE not in gone.json
    back = client.patch(
        path, {"op": "add", "path": f"{ENTERPRISE}:division", "value": "1"}
    )
    assert set(back["schemas"]) == {USER, ENTERPRISE}
    assert back[ENTERPRISE] == {"division": "1"}


# --- Custom schemas (§3.2, §3.3, §6, §7) ----------------------------------------------


def complete(each: dict[str, Any]) -> dict[str, Any]:
    """Say of an attribute that it has one value, as §7 requires."""
    return {"multiValued": False, **each} if "type" in each else each


SCHEMAS: list[dict[str, Any]] = json.loads(
    """[
{"id": "urn:example:scim:schemas:core:1.0:Device", "name": "Device",
 "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
 "description": "A thing with a plug", "attributes": [
  {"name": "serial", "type": "string", "required": true, "caseExact": true,
   "mutability": "immutable", "uniqueness": "server"},
  {"name": "label", "type": "string", "uniqueness": "server"},
  {"name": "weight", "type": "decimal"}, {"name": "ports", "type": "integer"},
  {"name": "bought", "type": "dateTime"}, {"name": "on", "type": "boolean"},
  {"name": "picture", "type": "binary", "caseExact": true},
  {"name": "site", "type": "reference", "caseExact": true,
   "referenceTypes": ["external"]},
  {"name": "tags", "type": "string", "multiValued": true},
  {"name": "owner", "type": "string", "mutability": "immutable"},
  {"name": "checksum", "type": "string", "mutability": "readOnly"},
  {"name": "secret", "type": "string", "mutability": "writeOnly", "returned": "never"},
  {"name": "note", "type": "string", "returned": "request"},
  {"name": "asset", "type": "string", "returned": "always"},
  {"name": "location", "type": "complex", "subAttributes": [
   {"name": "room", "type": "string", "required": true},
   {"name": "floor", "type": "integer"}]},
  {"name": "readings", "type": "complex", "multiValued": true, "subAttributes": [
   {"name": "type", "type": "string"}, {"name": "value", "type": "decimal"},
   {"name": "primary", "type": "boolean"}]}]},
{"id": "urn:example:scim:schemas:extension:lease:1.0:Device", "name": "Lease",
 "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
 "description": "Who lends it", "attributes": [
  {"name": "contract", "type": "string", "required": true, "caseExact": true,
   "uniqueness": "global"},
  {"name": "ends", "type": "dateTime"}]}]""",
    object_hook=complete,
)
RESOURCE_TYPES: list[dict[str, Any]] = json.loads("""[
{"id": "Device", "name": "Device", "endpoint": "/Devices",
 "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
 "description": "Things with plugs",
 "schema": "urn:example:scim:schemas:core:1.0:Device",
 "schemaExtensions": [{"required": false,
  "schema": "urn:example:scim:schemas:extension:lease:1.0:Device"}]}]""")
DEVICES: list[dict[str, Any]] = json.loads("""[
{"serial": "a1", "label": "Laptop", "weight": 1.5, "ports": 3, "on": true,
 "bought": "2020-01-01T00:30:00.100+02:00", "picture": "Zm9v",
 "site": "https://x.example/a1", "tags": ["red", "fast"], "owner": "ann",
 "location": {"room": "101", "floor": 1},
 "readings": [{"type": "cpu", "value": 50.5}, {"type": "fan", "value": 20.5}],
 "urn:example:scim:schemas:extension:lease:1.0:Device":
  {"contract": "C1", "ends": "2030-01-01T00:00:00Z"}},
{"serial": "A1", "label": "Phone", "weight": 0.2, "ports": 1, "on": false,
 "bought": "2019-12-31T23:00:00Z", "tags": ["blue"],
 "readings": [{"type": "cpu", "value": 20.5}, {"type": "fan", "value": 50.5}],
 "urn:example:scim:schemas:extension:lease:1.0:Device": {"contract": "c1"}},
{"serial": "z9"}]""")


def device(client: Client, attributes: dict[str, Any], **query: Any) -> Reply:
    """Create a device."""
    schemas = [DEVICE, LEASE] if LEASE in attributes else [DEVICE]
    return client.post("/Devices", {"schemas": schemas, **attributes}, **query)


@pytest.fixture(params=["strict", "standard"])
def devices(make_client: MakeClient, request: pytest.FixtureRequest) -> Client:
    """Serve the three devices, and nothing else."""
    client = make_client(
        schemas=SCHEMAS, resource_types=RESOURCE_TYPES, tolerance=request.param
    )
    for attributes in DEVICES:
        created = device(client, attributes)
        assert created.status == 201, created.content
        assert {
            name: value
            for name, value in created.json.items()
            if name not in ("schemas", "id", "meta")
        } == attributes
        assert created["meta"]["resourceType"] == "Device"
        assert created["meta"]["location"].endswith(f"/v2/Devices/{created['id']}")
    return client


def by_serial(client: Client, serial: str) -> dict[str, Any]:
    """Answer the one device with this serial number."""
    (found,) = client.get("/Devices", filter=f'serial eq "{serial}"')["Resources"]
    resource: dict[str, Any] = found
    return resource


def test_discovery_of_custom_schemas(devices: Client) -> None:
    """What was configured is what is announced; it replaces the built-in (§6, §7)."""
    for document in SCHEMAS:
        served = devices.get(f"/Schemas/{document['id']}").json
        assert served["name"] == document["name"]
        assert served["description"] == document["description"]
        assert characteristics(served["attributes"]) == characteristics(
            document["attributes"]
        )
    (served,) = devices.get("/ResourceTypes")["Resources"]
    location = served.pop("meta")["location"]
    assert [served] == RESOURCE_TYPES
    assert location.endswith("/v2/ResourceTypes/Device")
    assert_error(devices.get("/Users"), 404)
    assert_error(devices.get(f"/Schemas/{USER}"), 404)


@pytest.mark.parametrize(
    ("filter", "serials"),
    [
        ('serial eq "a1"', "a1"),
        ('label eq "LAPTOP"', "a1"),
        ('label ne "laptop"', "A1 z9"),
        ("weight gt 1", "a1"),
        ("weight le 0.2", "A1"),
        ("ports ge 1 and ports lt 3", "A1"),
        ('bought lt "2019-12-31T22:45:00Z"', "a1"),
        ('bought eq "2019-12-31T22:30:00.1Z"', "a1"),
        ('site sw "https://"', "a1"),
        ('picture eq "Zm9v"', "a1"),
        ("on eq true", "a1"),
        ("on eq false", "A1"),
        ("not (on pr)", "z9"),
        ('tags eq "BLUE"', "A1"),
        ('tags co "as"', "a1"),
        ('readings[type eq "cpu" and value gt 40]', "a1"),
        ('readings.type eq "cpu" and readings.value gt 40', "a1 A1"),
        ('location.room eq "101"', "a1"),
        (f'{LEASE}:contract eq "C1"', "a1"),
        (f'{LEASE}:ends gt "2029-01-01T00:00:00Z"', "a1"),
        (f'{DEVICE}:label sw "ph"', "A1"),
        (f'{DEVICE}:location.room eq "101"', "a1"),
        (f'schemas eq "{LEASE}"', "a1 A1"),
        ('meta.resourceType eq "Device"', "a1 A1 z9"),
    ],
)
def test_filters_on_custom_attributes(
    devices: Client, filter: str, serials: str
) -> None:
    """Filters compare by the type that the schema declares (§2.3, RFC 7644 §3.4.2)."""
    reply = devices.get("/Devices", filter=filter)
    assert reply.status == 200, reply.content
    found = {resource["serial"] for resource in reply["Resources"]}
    assert found == set(serials.split())
    assert reply["totalResults"] == len(found)


@pytest.mark.parametrize(
    ("filter", "status", "scim_type"),
    [
        ('secret eq "x"', 403, "sensitive"),
        ('serial pr or secret sw "x"', 403, "sensitive"),
        ("on gt true", 400, "invalidFilter"),
        ('picture lt "Zm9v"', 400, "invalidFilter"),
        ('weight eq "heavy"', 400, "invalidFilter"),
        ("label eq 5", 400, "invalidFilter"),
        ('bought gt "soon"', 400, "invalidFilter"),
        ('colour eq "red"', 400, "invalidFilter"),
        (f'{LEASE}:colour eq "red"', 400, "invalidFilter"),
    ],
)
def test_refused_filters_on_custom_attributes(
    devices: Client, filter: str, status: int, scim_type: str
) -> None:
    """A wrong type, an unknown name and a secret are refused (RFC 7644 §7.5.2)."""
    assert_error(devices.get("/Devices", filter=filter), status, scim_type)


@pytest.mark.parametrize(
    "attributes",
    [
        {"serial": "Z9"},
        {"ports": -5},
        {"weight": 2.5e3},
        {"weight": -0.25, "on": False},
        {"bought": "2011-08-01T18:29:49"},
        {"bought": "2011-08-01T18:29:49.100-05:00"},
        {"bought": "2011-08-01T24:00:00Z"},
        {"bought": "2011-08-01T24:00:00.000+14:00"},
        {"bought": "9999-12-31T24:00:00"},
        {"bought": "2011-08-01T00:00:00-13:59"},
        {"location": {"room": "1", "floor": 2}},
        {LEASE: {"contract": "C2"}},
    ],
    ids=repr,
)
def test_creating_with_custom_attributes(
    devices: Client, attributes: dict[str, Any]
) -> None:
    """Values come back as they were sent (§2.3)."""
    reply = device(devices, {"serial": "n"} | attributes)
    assert reply.status == 201, reply.content
    assert {name: reply[name] for name in attributes} == attributes
    assert devices.get(f"/Devices/{reply['id']}").json == reply.json


def test_base64_without_padding(devices: Client) -> None:
    """Its padding is added rather than asked for (§2.3.6)."""
    reply = device(devices, {"serial": "n", "picture": "Zg"})
    assert reply["picture"].rstrip("=") == "Zg"


@pytest.mark.parametrize(
    "attributes",
    [
        {"serial": None, "label": "n"},
        {"ports": "5"},
        {"ports": 5.5},
        {"ports": True},
        {"weight": "2.5"},
        {"weight": "NaN"},
        {"weight": False},
        {"bought": "2011-08-01"},
        {"bought": "2011-08-01T24:00:01Z"},
        {"bought": "2011-08-01T24:00:00.1Z"},
        {"bought": "2011-08-01T25:00:00Z"},
        {"bought": "2011-08-01T00:00:00+15:00"},
        {"bought": "2011-08-01T00:00:00+14:01"},
        {"bought": "2011-08-01T00:00:00-05:60"},
        {"bought": 1312223389},
        {"bought": "yesterday"},
        {"picture": "!!"},
        {"on": "on"},
        {"tags": ["a", 5]},
        {"tags": [{"value": "a"}]},
        {"readings": [{"value": "hot"}]},
        {"location": {"floor": 1}},
        {LEASE: {"ends": "2030-01-01T00:00:00Z"}},
        {"serial": "a1"},
        {"label": "LAPTOP"},
        {LEASE: {"contract": "C1"}},
    ],
    ids=repr,
)
def test_refused_custom_attributes(devices: Client, attributes: dict[str, Any]) -> None:
    """Types, required and uniqueness come from the documents (§2.2, §2.3)."""
    taken = ({"serial": "a1"}, {"label": "LAPTOP"}, {LEASE: {"contract": "C1"}})
    reply = device(devices, {"serial": "n"} | attributes)
    if attributes in taken:
        assert_error(reply, 409, "uniqueness")
    else:
        assert_error(reply, 400, "invalidValue")
    assert devices.get("/Devices")["totalResults"] == len(DEVICES)


@pytest.mark.parametrize(
    ("operation", "path", "value", "after"),
    [
        ("add", "tags", ["green"], ["red", "fast", "green"]),
        ("add", "tags", ["red"], ["red", "fast"]),
        ("remove", "tags", None, None),
        ("replace", "tags", ["green"], ["green"]),
        ("replace", "weight", 2.25, 2.25),
        ("replace", "location", {"floor": 2}, {"room": "101", "floor": 2}),
        ("replace", "location.room", "102", {"room": "102", "floor": 1}),
        (
            "replace",
            'readings[type eq "cpu"].value',
            1.5,
            [{"type": "cpu", "value": 1.5}, {"type": "fan", "value": 20.5}],
        ),
        ("remove", "readings[value gt 40]", None, [{"type": "fan", "value": 20.5}]),
        ("remove", f"{LEASE}:ends", None, {"contract": "C1"}),
        ("remove", LEASE, None, None),
        (
            "replace",
            f"{LEASE}:contract",
            "C2",
            {"contract": "C2", "ends": "2030-01-01T00:00:00Z"},
        ),
        ("replace", "serial", "b2", "mutability"),
        ("remove", "serial", None, "mutability"),
        ("replace", "owner", "bea", "mutability"),
        ("remove", "owner", None, "mutability"),
        ("replace", "checksum", "x", "mutability"),
        ("remove", "location.room", None, "mutability"),
        ("add", "ports", "3", "invalidValue"),
        ("replace", "bought", "2020-01-01", "invalidValue"),
        ("replace", 'readings[type eq "gpu"].value', 1.5, "noTarget"),
        ("remove", 'readings[value gt "x"]', None, "invalidFilter"),
        ("replace", "colour", "red", "invalidPath"),
        ("replace", f"{LEASE}:contract", "c1", "uniqueness"),
        ("replace", "label", "PHONE", "uniqueness"),
    ],
)
def test_patching_custom_attributes(
    devices: Client, operation: str, path: str, value: Any, after: Any
) -> None:
    """PATCH obeys the characteristics of the documents (RFC 7644 §3.5.2)."""
    before = by_serial(devices, "a1")
    change = {"op": operation, "path": path}
    if operation != "remove":
        change["value"] = value
    reply = devices.patch(f"/Devices/{before['id']}", change)
    if isinstance(after, str):
        assert_error(reply, 409 if after == "uniqueness" else 400, after)
        assert by_serial(devices, "a1") == before
        return
    assert reply.status == 200, reply.content
    name = LEASE if path.startswith(LEASE) else path.split("[")[0].split(".")[0]
    assert reply.json.get(name) == after
    untouched = {"schemas", "meta", name}
    assert {each: reply[each] for each in reply.json if each not in untouched} == {
        each: before[each] for each in before if each not in untouched
    }


@pytest.mark.parametrize(
    ("sent", "status", "owner"),
    [
        ({"serial": "a1", "owner": "ann"}, 200, "ann"),
        ({"serial": "a1"}, 200, "ann"),
        ({"serial": "a1", "owner": "bea"}, 400, None),
        ({"serial": "b2", "owner": "ann"}, 400, None),
    ],
    ids=repr,
)
def test_replacing_keeps_or_refuses_the_immutable(
    devices: Client, sent: dict[str, Any], status: int, owner: str | None
) -> None:
    """An immutable value must match, and one left out is kept (RFC 7644 §3.5.1)."""
    before = by_serial(devices, "a1")
    reply = devices.put(f"/Devices/{before['id']}", {"schemas": [DEVICE], **sent})
    if status == 400:
        assert_error(reply, 400, "mutability")
        assert by_serial(devices, "a1") == before
    else:
        assert reply.status == 200, reply.content
        assert set(reply.json) == {"schemas", "id", "meta", "serial", "owner"}
        assert reply["owner"] == owner


def test_an_immutable_attribute_without_value_can_be_added(devices: Client) -> None:
    """A client may add a value where there was none (RFC 7644 §3.5.2)."""
    path = f"/Devices/{by_serial(devices, 'z9')['id']}"
    add = {"op": "add", "path": "owner", "value": "ann"}
    assert devices.patch(path, add)["owner"] == "ann"
    assert_error(devices.patch(path, add | {"value": "bea"}), 400, "mutability")
    path = f"/Devices/{by_serial(devices, 'A1')['id']}"
    sent = {"schemas": [DEVICE], "serial": "A1", "owner": "bea"}
    assert devices.put(path, sent)["owner"] == "bea"


def test_returned_of_custom_attributes(devices: Client) -> None:
    """Always, never, request and default, on every verb (§7 "returned")."""
    sent = {"serial": "n", "label": "l", "secret": "s", "note": "n", "asset": "a"}
    created = device(devices, sent)
    path = f"/Devices/{created['id']}"

    def shown(reply: Reply) -> set[str]:
        assert reply.status in (200, 201), reply.content
        return set(reply.json) - {"schemas", "id", "meta"}

    assert shown(created) == {"serial", "label", "asset", "note"}
    assert shown(devices.get(path)) == {"serial", "label", "asset"}
    assert shown(devices.get(path, attributes="note,secret")) == {"note", "asset"}
    assert shown(devices.get(path, attributes="label")) == {"label", "asset"}
    hidden = devices.get(path, excludedAttributes="asset,label")
    assert shown(hidden) == {"serial", "asset"}
    change = {"op": "replace", "path": "label", "value": "m"}
    assert shown(devices.patch(path, change)) == {"serial", "label", "asset"}
    change = {"op": "replace", "path": "note", "value": "m"}
    patched = devices.patch(path, change)
    assert shown(patched) == {"serial", "label", "asset", "note"}
    (listed,) = devices.get("/Devices", filter='label eq "m"')["Resources"]
    assert "note" not in listed and "secret" not in listed


BOX_URN = "urn:example:scim:schemas:core:1.0:Box"


@pytest.mark.parametrize(
    ("attributes", "parts"),
    [
        ("cpl", {"a"}), ("cpl.b", {"b"}), ("cpl,cpl.b", {"a", "b"}),
        ("cpl.b,cpl", {"a", "b"}), ("cpl.a", {"a"}),
        ("box", {"y"}), ("box.z", {"y", "z"}), ("box.z,box", {"y", "z"}),
        ("name", {"y"}),
    ],
)  # fmt: skip
def test_what_is_named_is_shown_beside_its_parent(
    make_client: MakeClient, attributes: str, parts: set[str]
) -> None:
    """A part returned on request is shown when it is named (§7, RFC 7644 §3.9)."""
    hidden = {"type": "string", "returned": "request"}
    cpl = [{"name": "a", "type": "string"}, {"name": "b", **hidden}]
    box = [{"name": "y", "type": "string"}, {"name": "z", **hidden}]
    schema = complete(
        {
            "id": BOX_URN,
            "name": "Box",
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "description": "A box",
            "attributes": [
                complete({"name": "cpl", "type": "complex", "subAttributes": cpl}),
                complete(
                    {
                        "name": "box",
                        "type": "complex",
                        "returned": "always",
                        "subAttributes": box,
                    }
                ),
            ],
        }
    )
    for attribute in schema["attributes"]:
        attribute["subAttributes"] = [complete(p) for p in attribute["subAttributes"]]
    boxes = RESOURCE_TYPES[0] | {
        "id": "Box", "name": "Box", "endpoint": "/Boxes", "schema": BOX_URN,
        "schemaExtensions": [],
    }  # fmt: skip
    client = make_client(schemas=[schema], resource_types=[boxes])
    sent = {"cpl": {"a": "1", "b": "2"}, "box": {"y": "3", "z": "4"}}
    created = client.post("/Boxes", {"schemas": [BOX_URN], **sent})
    got = client.get(f"/Boxes/{created['id']}", attributes=attributes)
    assert {*got.json.get("cpl", {}), *got.json["box"]} == parts | {"y"}


@pytest.mark.parametrize("digits", [309, 400])
@pytest.mark.parametrize("tolerance", ["strict", "standard", "lenient"])
@pytest.mark.parametrize("attribute", ["weight", "ports"])
def test_a_number_beyond_a_double(
    make_client: MakeClient, attribute: str, digits: int, tolerance: str
) -> None:
    """One that no double can hold is refused, decimal or integer (§2.3.3, §2.3.4)."""
    client = make_client(
        schemas=SCHEMAS, resource_types=RESOURCE_TYPES, tolerance=tolerance
    )
    old = device(client, {"serial": "o", "weight": 1, "ports": 10**308})
    path = f"/Devices/{old['id']}"
    value = 10**digits
    sent = {"serial": "n", attribute: value}
    operation = {"op": "replace", "path": attribute, "value": value}
    for reply in (
        device(client, sent),
        client.patch(path, operation),
        client.patch(path, {"op": "add", "value": {attribute: value}}),
        client.get("/Devices", filter=f"{attribute} eq {value}"),
    ):
        assert reply.status == 400
        assert "a number that a double can hold" in reply["detail"]
    assert_error(device(client, sent), 400, "invalidValue")
    assert client.get(path)["ports"] == 10**308


def test_a_required_extension(make_client: MakeClient) -> None:
    """A resource of the type must then include the extension (§6)."""
    extensions = [{"schema": LEASE, "required": True}]
    required = [RESOURCE_TYPES[0] | {"schemaExtensions": extensions}]
    client = make_client(schemas=SCHEMAS, resource_types=required)
    assert device(client, {"serial": "n"}).status == 400
    assert device(client, {"serial": "n", LEASE: {"contract": "c"}}).status == 201


# --- what is required of a client (§2.2) ----------------------------------------------


def test_what_the_server_provides_is_not_required() -> None:
    """`required` asks nothing of a client where the server gives the value."""
    default = default_documents()
    for schema in default["schemas"]:
        for attribute in schema["attributes"]:
            for sub in attribute.get("subAttributes") or []:
                if sub["name"] in ("$ref", "display", "displayName", "type"):
                    sub["required"] = attribute["name"] in ("manager", "members")
    serial = {"name": "serial", "type": "string", "mutability": "readOnly"}
    default["schemas"][0]["attributes"].append(serial | {"required": True})
    client = Client(create_app(**{name: default[name] for name in GIVEN}))
    boss = client.user("boss")
    report = client.user("ann", **{ENTERPRISE: {"manager": {"value": boss["id"]}}})
    group = client.group("crew", boss["id"])
    assert client.put(f"/Users/{report['id']}", report).status == 200
    remove = {"op": "remove", "path": f'members[value eq "{boss["id"]}"]'}
    assert client.patch(f"/Groups/{group['id']}", remove).status == 200


GIVEN = ("schemas", "resource_types")


@pytest.mark.parametrize("level", ["strict", "standard", "lenient"])
def test_addresses_have_a_primary(make_client: MakeClient, level: str) -> None:
    """The users of §8.2 have it, though the schema of §8.7.1 does not declare it."""
    client = make_client(tolerance=level)
    work = {"type": "work", "locality": "Hollywood", "primary": True}
    user = client.user("ann", addresses=[work])
    assert user["addresses"] == [work]
    home = {"type": "home", "locality": "Oslo", "primary": True}
    add = {"op": "add", "value": {"addresses": [home]}}
    patched = client.patch(f"/Users/{user['id']}", add)
    assert patched["addresses"] == [work | {"primary": False}, home]


def test_elements_that_differ_in_a_secret_alone(
    make_client: Callable[..., Client],
) -> None:
    """They are one element: what is shown can be sent back (§2.4, §7)."""
    secret = {"name": "code", "type": "string", "multiValued": False}
    secret |= {"mutability": "writeOnly", "returned": "never"}
    kind = {"name": "type", "type": "string", "multiValued": False}
    keys = {"name": "keys", "type": "complex", "multiValued": True}
    schema = {"id": "urn:demo:Safe", "name": "Safe"}
    schema["attributes"] = [keys | {"subAttributes": [kind, secret]}]
    types = [{"name": "Safe", "endpoint": "/Safes", "schema": "urn:demo:Safe"}]
    client = make_client(schemas=[schema], resource_types=types)
    sent = [{"type": "a", "code": "1"}, {"type": "a", "code": "2"}]
    body = {"schemas": ["urn:demo:Safe"], "keys": [*sent, {"type": "b"}]}
    shown = client.post("/Safes", body).json
    assert shown["keys"] == [{"type": "a"}, {"type": "b"}]
    path = f"/Safes/{shown['id']}"
    assert client.put(path, shown).json == shown


# --- uniqueness "global" (§7) ---------------------------------------------------------


def coded(*uniqueness: str) -> Client:
    """Serve a resource type for each, with an attribute `code` that is so unique."""
    kinds = [f"Kind{number}" for number in range(len(uniqueness))]
    return Client(
        create_app(
            schemas=[
                {
                    "id": f"urn:x:{kind}",
                    "name": kind,
                    "attributes": [
                        {"name": "code", "type": "string", "uniqueness": unique}
                    ],
                }
                for kind, unique in zip(kinds, uniqueness, strict=True)
            ],
            resource_types=[
                {"name": kind, "endpoint": f"/{kind}", "schema": f"urn:x:{kind}"}
                for kind in kinds
            ],
        )
    )


def test_global_uniqueness_is_across_resource_types() -> None:
    """Two types that both say "global" share their values; "server" is one type's."""
    client = coded("global", "global", "server")

    def post(kind: int, code: str) -> Reply:
        body = {"schemas": [f"urn:x:Kind{kind}"], "code": code}
        return client.post(f"/Kind{kind}", body)

    assert post(0, "a").status == 201
    assert_error(post(1, "A"), 409, "uniqueness")
    assert post(2, "a").status == 201
    assert_error(post(2, "a"), 409, "uniqueness")
    made = post(1, "b").json
    change = {"op": "replace", "path": "code", "value": "a"}
    assert_error(client.patch(f"/Kind1/{made['id']}", change), 409, "uniqueness")
    made["code"] = "a"
    assert_error(client.put(f"/Kind1/{made['id']}", made), 409, "uniqueness")


# --- names that the server itself reads (§4.1.1, §4.2) --------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "integer"},
        {"multiValued": True},
        {"type": "complex", "subAttributes": [{"name": "value", "type": "string"}]},
        {"returned": "request"},
        {"returned": "never"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["userName", "displayName"])
def test_odd_names(name: str, changes: dict[str, Any]) -> None:
    """/Me and `display` use one string that may be shown; any other is only data."""
    default = default_documents()
    attributes = default["schemas"][0]["attributes"]
    next(each for each in attributes if each["name"] == name).update(changes)
    client = Client(create_app(me="ann", **{key: default[key] for key in GIVEN}))
    simple: Any = 5 if changes.get("type") == "integer" else "ann"
    value: Any = {"value": "ann"} if changes.get("type") == "complex" else simple
    value = [value] if changes.get("multiValued") else value
    body = {"schemas": [USER], "userName": "bob", name: value}
    user = client.post("/Users", body)
    assert user.status == 201, user.content
    member = client.group("crew", user["id"])["members"][0]
    assert "display" not in member
    assert client.get("/Me").status in (200, 404)
    assert client.get("/Users", sortBy=name).status in (200, 400, 403)
    change = {"op": "replace", "path": "title", "value": "x"}
    assert client.patch(f"/Users/{user['id']}", change).status == 200


@pytest.mark.parametrize(
    ("kind", "value"),
    [("boolean", False), ("integer", 0), ("decimal", 0.0), ("string", "")],
)
def test_what_looks_like_nothing_is_a_value(
    make_client: MakeClient, kind: str, value: Any
) -> None:
    """False, zero and an empty string are found, and unique, like others (§2.5)."""
    attribute = {"name": "code", "type": kind, "uniqueness": "server"}
    schema = {"id": "urn:example:item", "name": "Item", "attributes": [attribute]}
    type = {"name": "Item", "endpoint": "/Items", "schema": "urn:example:item"}
    client = make_client(schemas=[schema], resource_types=[type])
    body = {"schemas": ["urn:example:item"], "code": value}
    created = client.post("/Items", body)
    assert created.status == 201
    found = client.get("/Items", filter=f"code eq {json.dumps(value)}")
    assert found["Resources"] == [created.json]
    assert_error(client.post("/Items", body), 409, "uniqueness")
    assert client.delete(f"/Items/{created['id']}").status == 204
    assert client.post("/Items", body).status == 201


@pytest.mark.parametrize("name", ["displayName", "externalId"])
def test_an_empty_name_is_found(client: Client, name: str) -> None:
    """An indexed attribute whose value is "" is compared like any other."""
    created = client.user("bjensen", **{name: ""})
    client.user("other", **{name: "x"})
    assert client.get("/Users", filter=f'{name} eq ""')["Resources"] == [created]


# --- returned "request" (§7) ----------------------------------------------------------

LAB = "urn:demo:lab:1.0"


@pytest.fixture
def lab() -> Client:
    """A client of a server with attributes that are returned on request."""
    hidden = {"type": "string", "returned": "request"}
    subs = [{"name": "plain", "type": "string"}, {"name": "note"} | hidden]
    attributes = [
        {"name": "plain", "type": "string"},
        *({"name": name} | hidden for name in ("first", "second")),
        {"name": "box", "type": "complex", "subAttributes": subs},
        {"name": "boxes", "type": "complex", "multiValued": True}
        | {"subAttributes": subs},
    ]
    default = default_documents()
    default["schemas"].append({"id": LAB, "name": "Lab", "attributes": attributes})
    default["resource_types"][0]["schemaExtensions"].append({"schema": LAB})
    return Client(create_app(**{name: default[name] for name in GIVEN}))


FULL = {
    "plain": "p",
    "first": "1",
    "second": "2",
    "box": {"plain": "b", "note": "n"},
    "boxes": [{"plain": "c", "note": "m"}],
}
SHOWN = {"plain": "p", "box": {"plain": "b"}, "boxes": [{"plain": "c"}]}


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"path": f"{LAB}:plain", "value": "q"}, {"plain": "q"}),
        ({"path": f"{LAB}:first", "value": "q"}, {"first": "q"}),
        ({"value": {LAB: {"first": "q"}}}, {"first": "q"}),
        ({"value": {f"{LAB}:second": "q"}}, {"second": "q"}),
        ({"path": f"{LAB}:box.plain", "value": "q"}, {"box": {"plain": "q"}}),
        ({"path": f"{LAB}:box", "value": {"plain": "q"}}, {"box": {"plain": "q"}}),
        (
            {"path": f"{LAB}:box.note", "value": "q"},
            {"box": {"plain": "b", "note": "q"}},
        ),
        (
            {"path": f"{LAB}:box", "value": {"NOTE": "q"}},
            {"box": {"plain": "b", "note": "q"}},
        ),
        (
            {"path": f'{LAB}:boxes[plain eq "c"].note', "value": "q"},
            {"boxes": [{"plain": "c", "note": "q"}]},
        ),
        ({"path": "title", "value": "q"}, {}),
    ],
    ids=repr,
)
def test_what_is_written_is_returned(
    lab: Client, change: dict[str, Any], shown: dict[str, Any]
) -> None:
    """A reply shows what the request wrote, and hides the rest that is on request."""
    user = lab.user("ann", **{LAB: FULL})
    assert user[LAB] == FULL
    path = f"/Users/{user['id']}"
    assert lab.get(path)[LAB] == SHOWN
    reply = lab.patch(path, {"op": "replace", **change})
    assert reply.status == 200, reply.content
    assert reply[LAB] == SHOWN | shown
    body = {"schemas": [USER, LAB], "userName": "ann", LAB: {"first": "1", "box": {}}}
    assert lab.put(path, body)[LAB] == {"first": "1"}


# --- documents that differ from the RFC's (§3.1, §6, §8.7) ----------------------------


def built_in(urn: str, name: str, sub: str | None, /, **changes: Any) -> dict[str, Any]:
    """Return the built-in documents with one attribute changed or added."""
    default = default_documents()
    found = next(each for each in default["schemas"] if each["id"] == urn)
    for each, key in ((name, "attributes"), (sub, "subAttributes")):
        if each is not None:
            named = [x for x in found[key] if x["name"] == each]
            if not named:
                named = [{"name": each, "multiValued": False}]
                found[key] += named
            found = named[0]
    found.update(changes)
    return {given: default[given] for given in GIVEN}


@pytest.mark.parametrize(
    ("urn", "name", "sub", "changes"),
    [
        (USER, "groups", None, {"multiValued": False}),
        *((GROUP, "members", x, {"multiValued": True}) for x in ("value", "display")),
        *((GROUP, "members", x, {"type": "integer"}) for x in ("$ref", "type")),
        *((GROUP, "members", x, {"returned": "never"}) for x in ("$ref", "display")),
    ],
)
def test_odd_references(
    make_client: MakeClient, urn: str, name: str, sub: str | None, changes: Any
) -> None:
    """Only what is one string, and can be shown, is worked out; no request fails."""
    client = make_client(**built_in(urn, name, sub, **changes))
    user = client.user("ann", displayName="Ann")
    many = sub == "value" and "multiValued" in changes
    members = [{"value": [user["id"]] if many else user["id"]}]
    group = client.group("crew", members=members)
    if urn == GROUP and sub != "value":
        assert sub not in group["members"][0]
    query: dict[str, str]
    for query in (
        {},
        {"attributes": "groups.value,members.value"},
        {"excludedAttributes": "groups.display,members.display"},
        {"filter": f'members.value eq "{user["id"]}"'},
        {"filter": f'groups.value eq "{group["id"]}"'},
    ):
        assert client.get("", **query).status == 200
    assert client.put(f"/Groups/{group['id']}", group).status == 200
    assert client.delete(f"/Users/{user['id']}").status == 204


PART = {"name": "part", "type": "string", "multiValued": False, "required": True}


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({"required": True, "subAttributes": [PART | {"mutability": "readOnly"}]}, {}),
        (
            {
                "mutability": "readOnly",
                "subAttributes": [PART, PART | {"name": "b", "required": False}],
            },
            {"box": {"b": "x"}},
        ),
    ],
)
def test_what_only_the_server_can_fill_is_not_required(
    make_client: MakeClient, changes: dict[str, Any], stored: dict[str, Any]
) -> None:
    """A complex attribute of readOnly parts, and a part of a readOnly one (§2.2)."""
    options = built_in(USER, "box", None, type="complex", **changes)
    old = {"schemas": [USER], "id": "1", "userName": "ann", **stored}
    client = make_client(**options, resources=[old])
    new = {"schemas": [USER], "userName": "ann"}
    assert client.put("/Users/1", new).status == 200
    assert client.post("/Users", new | {"userName": "bob"}).status == 201


def test_what_a_schema_says_of_the_external_id(make_client: MakeClient) -> None:
    """It may be required or unique, as the schema that is served says (§3.1)."""
    rule = {"type": "string", "required": True, "uniqueness": "server"}
    client = make_client(**built_in(USER, "externalId", None, **rule))
    user = {"schemas": [USER], "userName": "ann"}
    assert_error(client.post("/Users", user), 400, "invalidValue")
    assert client.post("/Users", user | {"externalId": "x"}).status == 201
    twin = {"schemas": [USER], "userName": "bob", "externalId": "X"}
    assert_error(client.post("/Users", twin), 409, "uniqueness")
    with pytest.raises(ValueError, match="externalId"):
        make_client(**built_in(USER, "externalId", None, type="integer"))


def test_resource_types_are_found_by_id(make_client: MakeClient) -> None:
    """The id is often the name of the type, but need not be (§6)."""
    options = {given: default_documents()[given] for given in GIVEN}
    options["resource_types"][0]["id"] = "people"
    client = make_client(**options)
    for each in client.get("/ResourceTypes")["Resources"]:
        path = f"/ResourceTypes/{each['id']}"
        assert each["meta"]["location"].endswith(path)
        assert client.get(path).json == each
    for key in ("id", "name"):
        options["resource_types"][1][key] = options["resource_types"][0][key].upper()
        with pytest.raises(ValueError, match=f"one {key}"):
            make_client(**options)
        options["resource_types"][1][key] = "Group"


def test_what_is_served_can_be_given(make_client: MakeClient) -> None:
    """The schemas that a server lists can be served again, those of §8.7.2 too."""
    served = make_client().get("/Schemas")["Resources"]
    assert make_client(schemas=served).get("/Schemas")["Resources"] == served
