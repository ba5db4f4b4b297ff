"""Filtering (RFC 7644 §3.4.2.2)."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from conftest import ENTERPRISE, GROUP, SEARCH, USER, Client, Reply, assert_error

import scim2_server
from scim2_server import create_app

DEVICE = "urn:example:params:scim:schemas:Device"
RESOURCE_TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"


def attribute(name: str, kind: str = "string", **characteristics: Any) -> Any:
    """Spell an attribute of a schema with the defaults of RFC 7643 §2.2."""
    return {
        "name": name,
        "type": kind,
        "multiValued": False,
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
        **characteristics,
    }


OWNER = [attribute("value"), attribute("name")]
READING = [
    attribute("kind"),
    attribute("amount", "decimal"),
    attribute("pin", returned="never", mutability="writeOnly"),
]
ATTRIBUTES = [
    attribute("serial", caseExact=True, required=True),
    attribute("label"),
    attribute("load", "integer"),
    attribute("weight", "decimal"),
    attribute("on", "boolean"),
    attribute("bought", "dateTime"),
    attribute("picture", "binary", caseExact=True),
    attribute("home", "reference", caseExact=True, referenceTypes=["external"]),
    attribute("tags", multiValued=True),
    attribute("owner", "complex", subAttributes=OWNER),
    attribute("blank", "complex", subAttributes=OWNER),
    attribute("box", "complex", subAttributes=[attribute("parts", multiValued=True)]),
    attribute("readings", "complex", multiValued=True, subAttributes=READING),
]
DEVICES = json.loads("""[
  {"serial": "a", "label": "Alpha", "load": 1, "weight": 1.5, "on": true,
   "bought": "2024-01-31T23:00:00-01:00", "picture": "AQID", "tags": ["red", "Blue"],
   "box": {"parts": ["a", "b"]}, "blank": {"value": "", "name": "x"},
   "home": "https://x.example/A", "owner": {"value": "o1", "name": "Ann"},
   "readings": [{"kind": "temp", "amount": 20, "pin": "1"},
                {"kind": "hum", "amount": 60}]},
  {"serial": "b", "label": "beta", "load": 10, "weight": 10.0, "on": false,
   "bought": "2024-02-01T00:00:00.500Z", "picture": "aQid", "tags": ["green"],
   "box": {"parts": ["c"]}, "blank": {"value": "", "name": ""},
   "home": "https://x.example/b", "readings": [{"kind": "temp", "amount": 60}]},
  {"serial": "c", "label": "gamma", "load": -2, "weight": 0.25,
   "bought": "2024-02-01T01:00:00+01:00"},
  {"serial": "z"}]""")


def serve_devices(tolerance: str = "strict") -> Client:
    """Serve a resource type with an attribute of every type."""
    device = {"id": DEVICE, "name": "Device", "attributes": ATTRIBUTES}
    kind = {"id": "Device", "name": "Device", "endpoint": "/Devices", "schema": DEVICE}
    app = create_app(
        schemas=[{"schemas": [SCHEMA], **device}],
        resource_types=[{"schemas": [RESOURCE_TYPE], **kind}],
        tolerance=tolerance,
    )
    client = Client(app)
    for device in DEVICES:
        reply = client.post("/Devices", {"schemas": [DEVICE], **device})
        assert reply.status == 201, reply.content
    return client


@pytest.fixture(scope="module")
def devices() -> Client:
    """The devices, which the tests only read."""
    return serve_devices()


PEOPLE = json.loads(r"""{
  "u0": {"userName": "Jsmith", "displayName": "J. Smith", "nickName": "Jose\u0301",
    "name": {"familyName": "O'Malley"}, "userType": "Intern", "active": false},
  "u1": {"userName": "bjensen", "externalId": "Ext-1", "password": "t1meMa$heen",
    "displayName": "Babs \"B\" Jensen", "title": "Tour Guide", "userType": "Employee",
    "name": {"familyName": "Jensen", "givenName": "Barbara"}, "active": true,
    "profileUrl": "https://login.example.com/bjensen",
    "emails": [{"value": "bjensen@example.com", "type": "work", "primary": true},
               {"value": "babs@jensen.org", "type": "home"}],
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":
      {"department": "Tours", "manager": {"value": "u0"}}},
  "u2": {"userName": "Ünal", "title": "Guide", "userType": "Contractor",
    "emails": [{"value": "unal@example.org", "type": "work"},
               {"value": "u2@example.com", "type": "home"}],
    "ims": [{"value": "x@foo.com", "type": "aim"},
            {"value": "x@bar.com", "type": "xmpp"}]},
  "u3": {"userName": "plain", "ims": [{"value": "y@foo.com", "type": "xmpp"}]}}""")
TEAMS = {"g0": ("Employees", ["u1"]), "g1": ("Guests", ["g0", "u0"])}


@pytest.fixture(scope="module")
def people() -> Client:
    """Users u0 to u3 and two nested groups, one created each day from 2024-01-01."""
    today = [0]
    names = iter([*PEOPLE, *TEAMS])

    def clock() -> datetime:
        return datetime(2024, 1, today[0], tzinfo=UTC)

    app = create_app(clock=clock, new_id=names.__next__, tolerance="strict")
    client = Client(app)
    for person in PEOPLE.values():
        today[0] += 1
        client.user(**person)
    for name, members in TEAMS.values():
        today[0] += 1
        client.group(name, *members)
    return client


def found(reply: Reply, name: str = "id") -> str:
    """Answer the sorted ids of what a query found."""
    assert reply.status == 200, reply.content
    resources = reply.json.get("Resources", [])
    assert reply["totalResults"] == reply["itemsPerPage"] == len(resources)
    return " ".join(sorted(resource[name] for resource in resources))


# attribute: operator, value -> serials; ...
BY_TYPE = """
label: eq "ALPHA" -> a; ne "ALPHA" -> b c z; co "A" -> a b c; sw "AL" -> a; pr -> a b c
label: ew "TA" -> b; gt "alpha" -> b c; ge "alpha" -> a b c; lt "BETA" -> a
label: le "BETA" -> a b; co "" -> a b c
serial: eq "a" -> a; eq "A" -> ; ne "A" -> a b c z; co "A" -> ; sw "A" -> ; ew "A" ->
serial: gt "B" -> a b c z; le "B" -> ; gt "b" -> c z
load: eq 1 -> a; ne 1 -> b c z; gt 1 -> b; ge 1 -> a b; lt 1 -> c; le -2 -> c
load: pr -> a b c
weight: eq 10 -> b; eq 1.50 -> a; eq 1e1 -> b; eq 100E-1 -> b; lt 1 -> c; ge 1.5 -> a b
on: eq true -> a; ne true -> b c z; eq false -> b; pr -> a b
bought: eq "2024-01-31T24:00:00Z" -> a c; gt "2024-01-31T24:00:00.0Z" -> b
bought: eq "2024-02-01T00:00:00Z" -> a c; eq "2024-01-31T19:00:00.000-05:00" -> a c
bought: ne "2024-02-01T00:00:00Z" -> b z; gt "2024-02-01T00:00:00Z" -> b
bought: ge "2024-02-01T00:00:00.000Z" -> a b c; lt "2024-02-01T00:00:00.5Z" -> a c
bought: le "2024-02-01T02:00:00.500+02:00" -> a b c
picture: eq "AQID" -> a; eq "aqid" -> ; pr -> a b
home: eq "https://x.example/A" -> a; eq "https://x.example/a" -> ; ew "/b" -> b
home: sw "https://x.example/" -> a b
tags: eq "BLUE" -> a; co "re" -> a b; ne "green" -> a c z; pr -> a b
owner: eq "o1" -> a; ne "o1" -> b c z; pr -> a
owner.value: sw "O" -> a
owner.name: eq "ann" -> a
readings.amount: ne 60 -> a c z; gt 50 -> a b
readings: pr -> a b
label: eq null -> z; ne null -> a b c
on: eq null -> c z
tags: eq null -> c z
owner.name: ne null -> a
"""
COMPARISONS = {
    f"{name} {comparison.strip()}": serials.strip()
    for name, _, row in (line.partition(":") for line in BY_TYPE.split("\n")[1:-1])
    for comparison, _, serials in (part.partition("->") for part in row.split("; "))
}
EXPRESSIONS = {
    # the parts of a value path match one element
    'readings.kind eq "temp" and readings.amount gt 50': "a b",
    'readings[kind eq "temp" and amount gt 50]': "b",
    'readings[kind eq "temp" or amount eq 60]': "a b",
    'readings[not (kind eq "temp")]': "a",
    "readings[amount ne 60]": "a",
    "readings[amount eq null]": "",
    # precedence: not, and, or; grouping; words in any case
    'serial eq "a" or serial eq "b" and label eq "x"': "a",
    'serial eq "b" and label eq "x" or serial eq "a"': "a",
    '(serial eq "a" or serial eq "b") and label eq "x"': "",
    'not (serial eq "a") and label pr': "b c",
    'not (serial eq "a" and label pr)': "b c z",
    'not(serial eq "a")': "b c z",
    'not (not (serial eq "a"))': "a",
    '((serial eq "a")) or (not (label pr))': "a z",
    'SERIAL EQ "a" OR Label Pr AND NOT (On Eq true)': "a b c",
    'label pr and (on pr or (load lt 0 and weight lt 1)) and serial ne "a"': "b c",
    # names with their URN
    f'{DEVICE}:label eq "beta"': "b",
    f'{DEVICE.upper()}:owner.name eq "ann"': "a",
    f"{DEVICE}:readings[amount eq 20]": "a",
    # before brackets, what has one value is a list of one (Figure 1)
    'owner[value eq "o1" and name eq "ann"]': "a",
    'owner[name eq "bob"]': "",
    "not (owner[name pr])": "b c z",
    # a simple multi-valued attribute has a `value` (§3.5.2.2)
    'tags[value eq "RED"]': "a",
    'tags[not (value co "e")]': "",
    'tags.value eq "red"': "a",
    'tags.value ne "green"': "a c z",
    "tags.value pr": "a b",
    # brackets after a sub-attribute (Figure 1: attrPath "[" valFilter "]")
    'box.parts[value eq "A"]': "a",
    'box.parts[value eq "a" and value eq "b"]': "",
    'box.parts eq "b"': "a",
    f'{DEVICE}:box.parts[value sw "c"]': "b",
    "box.parts[value pr]": "a b",
    # "a non-empty node for complex attributes" (Table 3)
    "blank pr": "a",
    "blank eq null": "b c z",
    "blank.name pr": "a",
}


@pytest.mark.parametrize(
    ("filter", "serials"), (COMPARISONS | EXPRESSIONS).items(), ids=repr
)
def test_comparison_by_type(devices: Client, filter: str, serials: str) -> None:
    """Each operator compares as the attribute's type asks (Table 3)."""
    assert found(devices.get("/Devices", filter=filter), "serial") == serials


NAMES = [item["name"] for item in ATTRIBUTES]
OPERATORS = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le")
LITERALS = ('"a"', '"2024-02-01T00:00:00Z"', "1", "2.5", "true", "null")


@pytest.mark.parametrize("name", [*NAMES, "owner.name", "readings.amount", "id"])
def test_not_is_the_complement(devices: Client, name: str) -> None:
    """A filter is true or false of each resource, else invalidFilter (Table 4)."""
    for operator, literal in [*product(OPERATORS, LITERALS), ("pr", "")]:
        text = f"{name} {operator} {literal}".rstrip()
        plain, negated, both = (
            devices.get("/Devices", filter=filter)
            for filter in (text, f"not ({text})", f"({text}) and not ({text})")
        )
        if plain.status == 200:
            matching = found(plain, "serial") + " " + found(negated, "serial")
            assert sorted(matching.split()) == ["a", "b", "c", "z"], text
            assert found(both, "serial") == "", text
        else:
            for reply in (plain, negated, both):
                assert_error(reply, 400, "invalidFilter")


DAY2 = "2024-01-02T00:00:00Z"
ON_USERS = {
    # the examples of Figure "Example Filters"
    'userName Eq "john"': "",
    'Username eq "bjensen"': "u1",
    'name.familyName co "O\'Malley"': "u0",
    'userName sw "J"': "u0",
    f'{USER}:userName sw "J"': "u0",
    "title pr": "u1 u2",
    f'meta.lastModified gt "{DAY2}"': "u2 u3",
    f'meta.lastModified ge "{DAY2}"': "u1 u2 u3",
    f'meta.lastModified lt "{DAY2}"': "u0",
    f'meta.lastModified le "{DAY2}"': "u0 u1",
    'title pr and userType eq "Employee"': "u1",
    'title pr or userType eq "Intern"': "u0 u1 u2",
    f'schemas eq "{ENTERPRISE}"': "u1",
    'userType eq "Employee" and '
    '(emails co "example.com" or emails.value co "example.org")': "u1",
    'userType ne "Employee" and not '
    '(emails co "example.com" or emails.value co "example.org")': "u0 u3",
    'userType eq "Employee" and (emails.type eq "work")': "u1",
    'userType eq "Employee" and '
    'emails[type eq "work" and value co "@example.com"]': "u1",
    'emails[type eq "work" and value co "@example.com"] or '
    'ims[type eq "xmpp" and value co "@foo.com"]': "u1 u3",
    # the parts of a value path match one and the same element
    'emails[type eq "home" and value co "@example.com"]': "u2",
    'emails.type eq "home" and emails.value co "@example.com"': "u1 u2",
    'emails[type eq "home"] and emails[value eq "unal@example.org"]': "u2",
    "emails[primary eq true]": "u1",
    "emails[primary ne true]": "u1 u2",
    'not (emails[type eq "home"])': "u0 u3",
    'emails[not (type eq "work")]': "u1 u2",
    'emails[(type eq "x" or type eq "HOME") and value ew ".org"]': "u1",
    'EMAILS[TYPE eq "home" and not (value ew ".org")] and title pr': "u2",
    f'{USER}:emails[type eq "work" and primary pr]': "u1",
    # a bare multi-valued attribute compares its value
    'emails eq "BABS@jensen.org"': "u1",
    'emails ne "bjensen@example.com"': "u0 u1 u2 u3",
    'emails.type ne "work"': "u0 u1 u2 u3",
    "emails pr": "u1 u2",
    "name pr": "u0 u1",
    "name.givenName pr": "u1",
    # common attributes
    'id eq "u1"': "u1",
    'id eq "U1"': "",
    'id ne "u1"': "u0 u2 u3",
    'id ge "u2"': "u2 u3",
    'externalId eq "Ext-1"': "u1",
    'externalId eq "ext-1"': "",
    'externalId sw "Ext" and id pr': "u1",
    "externalId eq null": "u0 u2 u3",
    "schemas pr": "u0 u1 u2 u3",
    f'schemas eq "{USER}"': "u0 u1 u2 u3",
    f'schemas eq "{GROUP}"': "",
    f'schemas ne "{USER}" and schemas co "enterprise"': "u1",
    'meta.resourceType eq "User"': "u0 u1 u2 u3",
    'meta.resourceType eq "Group"': "",
    'meta.created eq "2024-01-02T02:00:00.000+02:00"': "u1",
    'meta.created gt "2024-01-03T23:00:00-01:00"': "",
    'meta.created ge "2024-01-03T23:00:00-01:00"': "u3",
    'meta.location eq "http://localhost/v2/Users/u1"': "u1",
    'meta.location ew "/Users/u2"': "u2",
    f"{USER}:meta.version pr": "u0 u1 u2 u3",
    "active eq false": "u0",
    "active eq true": "u1",
    'profileUrl eq "https://login.example.com/bjensen"': "u1",
    'profileUrl eq "https://login.example.com/BJENSEN"': "",
    # extensions
    f'{ENTERPRISE}:department eq "tours"': "u1",
    f"{ENTERPRISE.lower()}:DEPARTMENT pr": "u1",
    f'{ENTERPRISE}:manager eq "u0"': "u1",
    f'{ENTERPRISE}:manager.value eq "u0"': "u1",
    f'{ENTERPRISE}:manager.displayName eq "j. smith"': "u1",
    f'{ENTERPRISE}:manager.$ref ew "/Users/u0"': "u1",
    f'not ({ENTERPRISE}:department eq "tours")': "u0 u2 u3",
    # computed memberships, direct and indirect
    'groups eq "g0"': "u1",
    'groups.value eq "g1"': "u0 u1",
    'groups[value eq "g1" and type eq "direct"]': "u0",
    'groups[value eq "g1" and type eq "indirect"]': "u1",
    'groups.display eq "guests"': "u0 u1",
    'groups.$ref ew "/Groups/g0"': "u1",
    "groups eq null": "u2 u3",
    # strings after NFC, case-insensitive beyond ASCII, with JSON's escapes
    'nickName eq "Jos\u00e9"': "u0",
    'nickName eq "JOSE\u0301"': "u0",
    'nickName ew "\u00c9"': "u0",
    'nickName co "e"': "",
    'userName eq "u\u0308nal"': "u2",
    'userName sw "U\u0308"': "u2",
    r'userName eq "\u00fcn\u0061l"': "u2",
    r'displayName co "\"b\""': "u1",
    'displayName co "\\\\"': "",
    r'profileUrl sw "https:\/\/"': "u1",
}
ON_GROUPS = {
    'displayName eq "EMPLOYEES"': "g0",
    'id eq "g0" and members eq "u1"': "g0",
    'id eq "g0" and members eq "u0"': "",
    'members.value eq "u0"': "g1",
    'members.value eq "U0"': "",
    'members[value eq "g0" and type eq "Group"]': "g1",
    'members[value eq "u0" and type eq "Group"]': "",
    'members.$ref ew "/Users/u1"': "g0",
    'members.display eq "j. smith"': "g1",
    "members pr": "g0 g1",
    f'{GROUP}:displayName sw "g"': "g1",
    f'meta.created gt "{DAY2}"': "g0 g1",
}


@pytest.mark.parametrize(
    ("path", "filter", "ids"),
    [("/Users", *row) for row in ON_USERS.items()]
    + [("/Groups", *row) for row in ON_GROUPS.items()],
    ids=repr,
)
def test_users_and_groups(people: Client, path: str, filter: str, ids: str) -> None:
    """The same by GET and by .search, with no departure from the RFC."""
    by_get = people.get(path, filter=filter)
    assert found(by_get) == ids
    assert "Scim-Deviation" not in by_get.headers
    by_post = people.post(f"{path}/.search", {"schemas": [SEARCH], "filter": filter})
    assert by_post.json == by_get.json


def test_version(people: Client) -> None:
    """``meta.version`` is a string, case exact (RFC 7643 §3.1)."""
    version = people.get("/Users/u1")["meta"]["version"].replace('"', '\\"')
    assert found(people.get("/Users", filter=f'meta.version eq "{version}"')) == "u1"


# where the text stops being a filter, counted from 1
COLUMNS = {
    "userName": 9,
    'userName xx "a"': 10,
    "userName eq": 12,
    "userName eq ]": 13,
    'userName pr "a"': 13,
    "(userName pr": 13,
    "userName pr)": 12,
    "userName pr and": 16,
    "userName pr and or title pr": 20,
    "userName pr xor title pr": 13,
    "userName pr title pr": 13,
    "not userName pr": 5,
    "not (userName pr": 17,
    'not not (userName eq "a")': 5,
    '"a" eq userName': 1,
    'emails[type eq "work"': 22,
    "emails[]": 8,
    "emails[type]": 12,
    'emails[type eq "a")': 19,
    'emails[type[value eq "a"]]': 12,
    'emails[type eq "work"].': 23,
    'emails type eq "work"]': 8,
    "name.": 6,
    ".familyName pr": 1,
    "name..familyName pr": 6,
    "userName pr & title pr": 13,
    "()": 2,
}


@pytest.mark.parametrize(("filter", "column"), COLUMNS.items(), ids=repr)
def test_syntax_errors_name_the_column(
    people: Client, filter: str, column: int
) -> None:
    """400 invalidFilter, the column, and what was expected there (§3.12)."""
    detail = assert_error(people.get("/Users", filter=filter), 400, "invalidFilter")
    (number,) = re.findall(r"column (\d+)", detail)
    before = filter[column - 2 : column - 1] in (" ", ".")
    assert int(number) in {column, column - before}, detail
    assert "expected" in detail


INVALID = {
    # a string that is no JSON string, a number that is no JSON number
    'userName eq "a': "",
    "userName eq 'a'": "",
    r'userName eq "\x41"': "",
    r'userName eq "\u12"': "",
    r'userName eq "\ud800"': "",
    'userName eq "a\tb"': "",
    "userName eq 01": "",
    "userName eq +1": "",
    "userName eq 1.": "",
    "userName eq NaN": "",
    "userName eq 1e400": "",
    "userName eq [1]": "",
    # deviations are refused by name at this level
    "userName eq bjensen": "unquoted-value",
    'emails[type eq "work"].value eq "a"': "path-compare",
    'active eq "true"': "boolean-as-string",
    "active eq 1": "boolean-as-number",
    'manager eq "u0"': "unqualified-attribute",
    # a value of the wrong type, an operator that the type has not
    'active eq "yes"': "active",
    "userName eq 5": "userName",
    "userName eq true": "userName",
    "userName co null": "userName",
    "userName gt null": "userName",
    "active gt true": "active",
    "active le false": "active",
    'x509Certificates.value gt "AQID"': "value",
    'meta.created gt "soon"': "created",
    'meta.created gt "2024-01-01T00:00:00+15:00"': "created",
    'meta.created gt "2024-01-01"': "created",
    "meta.created gt 5": "created",
    'emails[primary gt true and type eq "work"]': "primary",
    'title pr or emails[type eq 5] or userName eq "x"': "type",
    # an attribute that is not there, and its nearest neighbour
    'usrName eq "x"': "userName",
    'user_name eq "x"': "userName",
    "title pr or tittle pr": "title",
    'not (emials[type eq "work"])': "emails",
    'emails[typ eq "work"]': "type",
    "emails.valu pr": "value",
    'name.famlyName eq "x"': "familyName",
    "meta.lastModifid pr": "lastModified",
    f"{ENTERPRISE}:departmint pr": "department",
    f"{USER}:usrName pr": "userName",
    "urn:example:nothing:userName pr": "urn:example:nothing",
    "userName.first pr": "userName",
    "name.familyName.first pr": "",
    'members.value eq "u1"': "members",
    'userName[value eq "x"]': "userName",
    "zzzzzz pr": "zzzzzz",
}


@pytest.mark.parametrize(("filter", "named"), INVALID.items(), ids=repr)
def test_invalid_filters(people: Client, filter: str, named: str) -> None:
    """400 invalidFilter that names what is at fault (§3.4.2.2, §3.12)."""
    for reply in (
        people.get("/Users", filter=filter),
        people.post("/Users/.search", {"schemas": [SEARCH], "filter": filter}),
    ):
        assert named in assert_error(reply, 400, "invalidFilter")


SENSITIVE = [
    'password eq "t1meMa$heen"',
    "password pr",
    "PassWord eq null",
    'password ne "x"',
    'password sw "t"',
    f'{USER}:password co "t"',
    "not (password pr)",
    'userName eq "nobody" and password eq "x"',
    'userName pr or password gt "a"',
    'title pr and (userName pr and not (title pr or password ew "n"))',
    'password[value eq "x"]',
]


@pytest.mark.parametrize("filter", SENSITIVE)
@pytest.mark.parametrize("path", ["/Users", "/"])
def test_passwords_are_no_oracle(people: Client, path: str, filter: str) -> None:
    """403 sensitive, whatever the answer would be (§7.5.2)."""
    search = {"schemas": [SEARCH], "filter": filter}
    replies = [people.get(path, filter=filter)]
    replies += [people.post(f"{path.rstrip('/')}/.search", search)]
    replies += [Client(create_app()).get(path, filter=filter)]
    for reply in replies:
        assert "t1meMa$heen" not in assert_error(reply, 403, "sensitive")


@pytest.mark.parametrize(
    "filter", ['readings[pin eq "1"]', "readings.pin pr", "readings[not (pin pr)]"]
)
def test_sub_attributes_never_returned(devices: Client, filter: str) -> None:
    """What is never returned cannot be guessed in a value path either (§7.5.2)."""
    assert_error(devices.get("/Devices", filter=filter), 403, "sensitive")


ABSURD = {
    "open": "(" * 20_000,
    "balanced": "(" * 20_000 + "title pr" + ")" * 20_000,
    "not": "not (" * 20_000 + "title pr" + ")" * 20_000,
    "brackets": "emails[" * 20_000,
    "in brackets": "emails[" + "(" * 20_000 + "type pr" + ")" * 20_000 + "]",
    "and": " and ".join(["title pr"] * 5_000),
    "or": " or ".join(['userName eq "a"'] * 5_000),
    "mixed": " or ".join(["title pr and id pr"] * 2_500),
    "ands in brackets": "emails[" + " and ".join(["type pr"] * 5_000) + "]",
    "name": "a" * 100_000 + " pr",
    "dots": "a." * 20_000,
    "colons": "urn:" * 20_000 + "a pr",
    "digits": "title eq " + "9" * 20_000,
    "escapes": 'title eq "' + "\\" * 20_001 + '"',
    "spaces": "title" + " " * 50_000 + "pr",
}


@pytest.mark.parametrize("filter", ABSURD.values(), ids=ABSURD)
def test_absurd_filters(people: Client, filter: str) -> None:
    """Answered as any other, or refused: never a failure of the server's own."""
    for reply in (
        people.post("/Users/.search", {"schemas": [SEARCH], "filter": filter}),
        people.get("/Users", filter=filter),
    ):
        if reply.status == 414:
            assert_error(reply, 414)
        elif reply.status != 200:
            assert_error(reply, 400, "invalidFilter")
    assert people.get("/Users")["totalResults"] == len(PEOPLE)


REASONABLE = {
    "(" * 20 + "title pr" + ")" * 20: "u1 u2",
    "not (" * 20 + "title pr" + ")" * 20: "u1 u2",
    " and ".join(["title pr"] * 100): "u1 u2",
    " or ".join(f'id eq "u{number}"' for number in range(100)): "u0 u1 u2 u3",
}


@pytest.mark.parametrize(("filter", "ids"), REASONABLE.items())
def test_limits_leave_room(people: Client, filter: str, ids: str) -> None:
    """What a program may well send is within the limits (§3.4.2.2)."""
    assert found(people.get("/Users", filter=filter)) == ids


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("emails[primary eq false]", "some none"),
        ('emails[value eq "a@x.example" and primary eq false]', "none"),
        ("emails[primary ne true]", "some none"),
        ("emails[primary eq true]", "some"),
        ("emails.primary eq false", "some none"),
        ("emails.primary eq true", "some"),
        ("emails.primary ne true", "some none without"),
        ("emails.primary pr", "some"),
        ("not (emails.primary eq false)", "without"),
    ],
)
def test_primary_that_is_not_said(filter: str, expected: str) -> None:
    """ "If not specified, ... SHALL be assumed to be "false"" (RFC 7643 §2.4)."""
    client = Client(create_app(tolerance="strict"))
    two = [{"value": "b@x.example", "primary": True}, {"value": "c@x.example"}]
    client.user("some", emails=two)
    client.user("none", emails=[{"value": "a@x.example"}])
    client.user("without")
    names = found(client.get("/Users", filter=filter), "userName")
    assert names.split() == sorted(expected.split())


@pytest.mark.parametrize(
    ("filter", "serials"),
    [
        ('load eq "10"', "b"),
        ('load gt "1"', "b"),
        ('weight eq "1.50"', "a"),
        ('readings[amount ge "60"]', "a b"),
        ('readings[kind eq "hum" and amount eq "6e1"]', "a"),
        ('load eq "01"', None),
        ('load eq " 1"', None),
        ('load eq "one"', None),
        ('load eq "1e400"', None),
        ('load eq "NaN"', None),
        ('load eq ""', None),
    ],
)
def test_numbers_in_quotes(filter: str, serials: str | None) -> None:
    """What JSON would spell so, and nothing else (RFC 7643 §2.3.3, §2.3.4)."""
    for tolerance in ("strict", "standard", "lenient"):
        reply = serve_devices(tolerance).get("/Devices", filter=filter)
        if serials is None or tolerance != "lenient":
            assert_error(reply, 400, "invalidFilter")
        else:
            assert found(reply, "serial") == serials
            assert "number-as-string" in reply.headers["Scim-Deviation"]
        if serials is not None and tolerance != "lenient":
            assert "number-as-string" in reply["detail"]


MESSAGES = {
    "userName eq": "expected a value: a string in double quotes",
    "userName eq ": "expected a value: a string in double quotes",
    "userName": "expected an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr)",
    'userName regex "a"': "an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr), "
    "found 'regex'",
    'userName eq "a': "expected a JSON string with its closing quote",
    'emails[type eq "work"': "expected ']', 'and' or 'or', found 'the end'",
    'userName eq "a" xor title pr': """after 'userName eq "…" ': expected 'and', """
    "'or' or the end of the filter, found 'x'",
    "a" * 1001 + " pr": "expected a name of at most 1000 characters",
    "urn:" * 300 + "a pr": "expected a name of at most 1000 characters",
    'emails[typ eq "x"]': "'typ' (did you mean 'type'?) within 'emails[…]'",
    f"{ENTERPRISE}:manager.valu pr": "(did you mean 'manager.value'?)",
}


@pytest.mark.parametrize(
    ("filter", "said"), MESSAGES.items(), ids=lambda text: str(text)[:40]
)
def test_messages(people: Client, filter: str, said: str) -> None:
    """A detail tells the author of a client what to send (§3.12)."""
    reply = people.post("/Users/.search", {"schemas": [SEARCH], "filter": filter})
    assert said in assert_error(reply, 400, "invalidFilter")


@pytest.mark.parametrize("tolerance", ["strict", "standard", "lenient"])
def test_errors_quote_no_values(tolerance: str) -> None:
    """What a filter compares with can be a secret: no error shows it."""
    client = Client(create_app(tolerance=tolerance))
    values = ('"s3cr3t', '"s3cr3t" "s3cr3t"', '"x"s3cr3t"', "'s3cr3t", "'s3cr3t' x")
    for value in (*values, "s3cr3t", 's3cr3t"', "s3cr3t ]", '"s3cr3t" and'):
        for filter in (
            f"password eq {value}",
            f"not (title pr and password ne {value}",
        ):
            reply = client.get("/Users", filter=filter)
            assert reply.status in (400, 403), reply.content
            assert b"s3cr3t" not in reply.content, filter


VERSIONED = "urn:demo:lab:1.0"


@pytest.fixture
def lab() -> Client:
    """Users with an extension whose URN ends in a version."""
    field = [attribute("field"), attribute("seat", "complex", subAttributes=OWNER)]
    extra = {"id": VERSIONED, "name": "Lab", "attributes": field}
    plain = {"id": f"{VERSIONED}:other", "name": "X", "attributes": [attribute("z")]}
    core = {"id": "urn:demo:Person", "name": "P", "attributes": [attribute("nickName")]}
    kind = {"id": "P", "name": "P", "endpoint": "/People", "schema": "urn:demo:Person"}
    extensions = [{"schema": each, "required": False} for each in (extra["id"],)]
    extensions.append({"schema": plain["id"], "required": False})
    app = create_app(
        schemas=[{"schemas": [SCHEMA], **each} for each in (extra, plain, core)],
        resource_types=[
            {"schemas": [RESOURCE_TYPE], **kind, "schemaExtensions": extensions}
        ],
        new_id=iter(["p1", "p2"]).__next__,
        tolerance="strict",
    )
    client = Client(app)
    seat = {"value": "s1", "name": "Window"}
    first = {"nickName": "ann", VERSIONED: {"field": "x", "seat": seat}}
    for person in (first, {"nickName": "bob", plain["id"]: {"z": "1"}}):
        urns = ["urn:demo:Person", *(name for name in person if ":" in name)]
        assert client.post("/People", {"schemas": urns, **person}).status == 201
    return client


@pytest.mark.parametrize(
    ("filter", "ids"),
    {
        f"{VERSIONED} pr": "p1",
        f"{VERSIONED}:field pr": "p1",
        f"{VERSIONED.upper()}:FIELD eq null": "p2",
        f'{VERSIONED}:seat.name eq "window"': "p1",
        f'{VERSIONED}:seat[name eq "window" and value eq "s1"]': "p1",
        f'{VERSIONED}[field eq "x"]': "p1",
        f"{VERSIONED}:other pr": "p2",
        f'{VERSIONED}:other:z eq "1"': "p2",
    }.items(),
)
def test_a_urn_that_ends_in_a_version(lab: Client, filter: str, ids: str) -> None:
    """A name is found among the URNs that are served before it is split (§3.10)."""
    assert found(lab.get("/People", filter=filter)) == ids


def test_paths_of_a_urn_that_ends_in_a_version(lab: Client) -> None:
    """The same in `attributes` and in a PATCH path."""
    shown = lab.get("/People/p1", attributes=VERSIONED).json
    assert shown[VERSIONED]["field"] == "x"
    assert "nickName" not in shown
    for operation, left in (
        ({"op": "replace", "path": f"{VERSIONED}:field", "value": "y"}, "y"),
        ({"op": "add", "path": VERSIONED, "value": {"field": "z"}}, "z"),
        ({"op": "remove", "path": VERSIONED}, None),
    ):
        reply = lab.patch("/People/p1", operation)
        assert reply.status == 200, reply.content
        assert reply.json.get(VERSIONED, {}).get("field") == left


KELVIN = "nic\u212aName"


def test_names_are_ascii(lab: Client) -> None:
    """The Kelvin sign is not a k (RFC 7643 §2.1)."""
    schemas = ["urn:demo:Person"]
    operation = {"op": "add", "value": {KELVIN: "x"}}
    by_path = {"op": "add", "path": KELVIN, "value": "x"}
    for reply in (
        lab.post("/People", {"schemas": schemas, KELVIN: "x"}),
        lab.put("/People/p1", {"schemas": schemas, KELVIN: "x"}),
        lab.patch("/People/p1", operation),
        lab.patch("/People/p1", by_path),
        lab.get("/People", filter=f'{KELVIN} eq "ann"'),
        lab.get("/People", sortBy=KELVIN),
    ):
        assert_error(reply, 400, reply["scimType"])
    assert lab.get("/People/p1")["nickName"] == "ann"


REFS = {
    "http://localhost/v2/Users/u1": "g0",
    "http://localhost/Users/u1": "g0",
    "http://localhost/v1/Users/u1": "g0",
    "HTTP://LocalHost/v2/Users/u1": "g0",
    "/v2/Users/u1": "g0",
    "/Users/u1": "g0",
    "Users/u1": "g0",
    "../Users/u1": "g0",
    "http://localhost/v2/Groups/g0": "g1",
    "http://localhost/v2/Users/U1": "",
    "http://localhost/v2/v2/Users/u1": "",
    "http://localhost/scim/Users/u1": "",
    "https://localhost/v2/Users/u1": "",
    "http://evil.example/v2/Users/u1": "",
    "//evil.example/v2/Users/u1": "",
    "http://[/Users/u1": "",
    "u1": "",
}


@pytest.mark.parametrize(("uri", "ids"), REFS.items())
def test_references_are_compared_as_uris(people: Client, uri: str, ids: str) -> None:
    """With and without a version, absolute and relative (RFC 7643 §2.4)."""
    for filter in (f'members.$ref eq "{uri}"', f'members[$ref eq "{uri}"]'):
        assert found(people.get("/Groups", filter=filter)) == ids
    others = people.get("/Groups", filter=f'members.$ref ne "{uri}"')
    assert found(others) == ("g1" if ids == "g0" else "g0 g1")


@pytest.mark.parametrize(
    ("text", "other", "equal"),
    [
        ("ann", "\uff41\uff4e\uff4e", True),  # full width
        ("\u30ac", "\uff76\uff9e", True),  # half width
        ("a b", "a\u3000b", True),
        ("stra\u00dfe", "STRASSE", True),
        ("x\u00b2", "x2", False),  # a superscript is not a width
        ("caf\u00e9", "cafe\u0301", True),
    ],
)
def test_widths(text: str, other: str, equal: bool) -> None:
    """Where case does not matter width does not either (§5, RFC 7613 §3.2.2)."""
    client = Client(create_app(tolerance="strict"))
    assert client.user(text)["userName"] == text
    assert (
        client.get("/Users", filter=f'userName eq "{other}"')["totalResults"] == equal
    )
    reply = client.post("/Users", {"schemas": [USER], "userName": other})
    assert reply.status == (409 if equal else 201)


@pytest.mark.parametrize("marks", ["\u0315\u0300", "\u0f73\u0301", "\uff9e\u0301"])
def test_many_combining_characters(marks: str) -> None:
    """A text that is not stream-safe is compared as it is, in linear time (UAX #15)."""
    client = Client(create_app())
    text = "a" + marks * 25_000
    started = time.process_time()
    assert client.user(text)["userName"] == text
    for _ in range(2):
        search = {"schemas": [SEARCH], "filter": f'displayName eq "{text}"'[:65_000]}
        client.post("/Users/.search", search)
    assert time.process_time() - started < 3
    short = client.user("e" + "\u0301" * 30)["userName"]
    same = "\u00e9" + "\u0301" * 29
    query = {"filter": f'userName eq "{same}"'}
    assert client.get("/Users", **query)["Resources"][0]["userName"] == short


LONG = {"marks": "a" + "\u0301\u0323" * 37_500, "letters": "\u00e9" * 150_000}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("many", [1, 5])
def test_many_terms_over_long_values(text: str, many: int) -> None:
    """Each value is folded once for all terms and operations, however long it is."""
    client = Client(create_app())
    emails = [{"value": f"{text}{n}"} for n in range(many)]
    more = {"displayName": text, "title": f"b{text}", "emails": emails}
    path = f"/Users/{client.user('u', **more)['id']}"
    started = time.process_time()
    looked = ("displayName", "title", "emails.value", "emails[value", "externalId")
    for name in looked:
        end = "]" * name.count("[")
        terms = [f'{name} co "a{n}"{end}' for n in range(700)]
        search = {"schemas": [SEARCH], "filter": " or ".join(terms)[:64_000]}
        search["filter"] = search["filter"].rpartition(" or ")[0]
        assert client.post("/Users/.search", search)["totalResults"] == 0
    targets = [f'emails[value co "A{n}"]' for n in range(many, 100)]
    removes = ({"op": "remove", "path": target} for target in targets)
    assert client.patch(path, *removes).status == 200
    add = {"op": "add", "path": "emails", "value": [{"value": "x"}]}
    assert client.patch(path, *[add] * 100).status == 200
    assert time.process_time() - started < 4


def test_the_number_of_comparisons_is_limited(people: Client) -> None:
    """An `or` of `eq` of one attribute is one look-up, however long it is."""
    ids = " or ".join(f'id eq "u{n}"' for n in range(2000))
    assert found(people.get("/Users", filter=ids)).startswith("u0 u1")
    over = ("userName co", "emails.value sw", "not (title eq")
    for start in over:
        end = ")" * start.count("(")
        for op in ("or", "and"):
            terms = [f'{start} "{n}"{end}' for n in range(1001)]
            search = {"schemas": [SEARCH], "filter": f" {op} ".join(terms)}
            reply = people.post("/Users/.search", search)
            assert_error(reply, 400, "invalidFilter")
            assert "more than 1000 comparisons" in reply["detail"]


def test_caches_are_bounded(people: Client) -> None:
    """What a client sends fills no cache."""
    name = "a" * 1001
    for more in ({"attributes": [name]}, {"excludedAttributes": ["id", name]}):
        reply = people.post("/Users/.search", {"schemas": [SEARCH], **more})
        assert_error(reply, 400, "invalidValue")
    before = scim2_server.find_names.cache_info().currsize
    names = ["userName"] * 200
    search = {"schemas": [SEARCH], "attributes": names}
    assert people.post("/Users/.search", search).status == 200
    assert scim2_server.find_names.cache_info().currsize == before
    memo = scim2_server.Memo(str.upper)
    for length in (1, 1000, scim2_server.MAX_BODY, 2 * 10**6):
        for n in range(4):
            text = f"{n}" + "b" * length
            assert memo[text] == text.upper()
            assert text in memo
            held = sum(len(text) + 100 for text in memo)
            assert held == memo.size
            assert held <= scim2_server.MAX_BODY // 2 or len(memo) == 1
    assert len(memo) == 2


def test_a_primary_with_many_values() -> None:
    """It is not the `primary` of RFC 7643 §2.4, and any of its values matches."""
    flags = attribute("primary", "boolean", multiValued=True)
    schema = {"id": "urn:example:item", "name": "Item", "attributes": [flags]}
    type = {"name": "Item", "endpoint": "/Items", "schema": "urn:example:item"}
    client = Client(create_app(schemas=[schema], resource_types=[type]))
    body = {"schemas": ["urn:example:item"], "primary": [True]}
    assert client.post("/Items", body).status == 201
    for value, count in (("true", 1), ("false", 0)):
        found = client.get("/Items", filter=f"primary eq {value}")
        assert found["totalResults"] == count


def test_a_choice_of_values(client: Client) -> None:
    """`a eq 1 or a eq 2` is one look-up that keeps the rules of each comparison."""
    ann = client.user("Ann", title="x", emails=[{"value": "a@x"}])
    bob = client.user("bob", emails=[{"value": "b@x", "primary": True}])
    for text, ids in (
        ('userName eq "ANN" or userName eq "bob"', {ann["id"], bob["id"]}),
        ('title eq "X" or title eq "y"', {ann["id"]}),
        ('title eq "y" or title eq null', {bob["id"]}),
        ('emails.value eq "b@x" or emails.value eq "c@x"', {bob["id"]}),
        ('emails[value eq "B@X" or value eq "c@x"]', {bob["id"]}),
        ("emails.primary eq false or emails.primary eq false", {ann["id"]}),
        (f'id eq "{ann["id"]}" or id eq "{ann["id"].upper()}x"', {ann["id"]}),
        ('not (userName eq "ann" or userName eq "carl")', {bob["id"]}),
    ):
        found = client.get("/Users", filter=text)["Resources"]
        assert {each["id"] for each in found} == ids, text
