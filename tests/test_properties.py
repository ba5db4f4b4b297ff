"""Random schemas, resources and requests, and what holds for every reply to them.

A run of ``make test`` tries the same few hundred worlds every time; with FUZZ_SECONDS
in the environment (``make fuzz``) each test goes on with fresh ones for so long.
"""

from __future__ import annotations

import json
import os
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from itertools import count, pairwise
from random import Random
from typing import Any

from conftest import BULK, PATCH_OP, Client, Reply

from scim2_server import create_app

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
TOLERANCES = ("strict", "standard", "lenient")
ITEM = "urn:example:item"
MORE = "urn:example:more:1.0"
OWN = [
    {
        "name": "Item",
        "endpoint": "/Items",
        "schema": ITEM,
        "schemaExtensions": [{"schema": MORE, "required": False}],
    }
]
Document = dict[str, Any]
VALUES: dict[str, list[Any]] = {
    "string": ["red", "blue", "Grün", "Gru\u0308n", 'a "b\\" c', "x.y@z.example", "7"],
    "boolean": [True, False],
    "integer": [0, 1, -2, 10**20],
    "decimal": [0.5, 1, -2.25, 1e20],
    "dateTime": ["2011-05-13T04:42:34Z", "2012-05-13T04:42:34.25+02:00"],
    "binary": ["YWI=", "YWM=", ""],
    "reference": ["https://a.example/1", "https://a.example/2"],
}
SPECIAL = {  # attributes of which RFC 7643 §4.1 restricts the form
    "country": ["DE", "FR"],
    "locale": ["de-DE", "en"],
    "preferredLanguage": ["de", "en-US"],
    "timezone": ["Europe/Berlin"],
    "x509Certificates.value": ["MAMCAQE=", "MAMCAQI="],
}
UNKNOWN = "colour"
NOTHING = object()


def seeds(examples: int) -> Iterator[int]:
    """Yield so many seeds, or fresh ones until time is up."""
    yield from range(0 if SECONDS else examples)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield Random().randrange(examples, 2**32)


# --- schemas ---


def some_attribute(random: Random, name: str, depth: int = 0) -> Document:
    """Make up an attribute, with every characteristic of RFC 7643 §7."""
    kinds = [*VALUES, *(["complex"] * 5 if depth == 0 else [])]
    kind = random.choice(kinds)
    made: Document = {
        "name": name,
        "type": kind,
        "description": "x",
        "multiValued": random.random() < (0.25 if depth else 0.5),
        "required": random.random() < 0.08,
        "caseExact": random.random() < 0.5,
        "mutability": random.choice(
            ["readWrite"] * 6 + ["immutable", "readOnly", "writeOnly"]
        ),
        "returned": random.choice(["default"] * 6 + ["always", "request", "never"]),
        "uniqueness": random.choice(["none"] * 12 + ["server", "global"]),
    }
    if kind == "reference":
        made["referenceTypes"] = ["external"]
    if kind == "complex":
        some = random.sample(
            ["value", "type", "primary", "display", "colours", "size"],
            random.randint(1, 4),
        )
        made["subAttributes"] = [some_attribute(random, x, 1) for x in some]
        for sub in made["subAttributes"]:
            if sub["name"] == "primary" and random.random() < 0.8:
                sub |= {"type": "boolean", "multiValued": False, "uniqueness": "none"}
        if random.random() < 0.25:
            made["subAttributes"] = reference_parts(random)
    return made


def reference_parts(random: Random) -> list[Document]:
    """Spell the sub-attributes of a reference to an item."""
    ref = {"name": "$ref", "type": "reference", "referenceTypes": ["Item"]}
    fixed = random.choice(["readWrite", "immutable"])
    parts = [{"name": "value", "type": "string", "mutability": fixed}, ref]
    more = [{"name": x, "type": "string"} for x in ("type", "display", "note")]
    return parts + random.sample(more, random.randint(0, 3))


def some_schemas(random: Random) -> list[Document]:
    """Make up a schema and an extension."""
    names = [f"a{number}" for number in range(random.randint(2, 5))]
    more = ["a0", "b1", "b2"][: random.randint(1, 3)]  # the core has an "a0" too
    return [
        {
            "id": urn,
            "name": urn[-4:],
            "attributes": [some_attribute(random, x) for x in n],
        }
        for urn, n in ((ITEM, names), (MORE, more))
    ]


# --- what a schema says ---

Chain = tuple[Document, ...]


class World:
    """A server, one of its resource types, and a few resources of it."""

    def __init__(self, random: Random, tolerance: str, own: bool = True) -> None:
        self.random = random
        self.seed = 0
        self.log: list[Any] = []
        ids = (f"id{number}" for number in count())
        options: Document = {"tolerance": tolerance, "new_id": ids.__next__}
        if own:
            options |= {"schemas": some_schemas(random), "resource_types": OWN}
        self.client = Client(create_app(**options))
        types = self.client.get("/ResourceTypes").json["Resources"]
        self.type = random.choice(types)
        found = self.client.get("/Schemas").json["Resources"]
        schemas = {x["id"]: x for x in found}
        self.core = [x for x in schemas[self.type["schema"]]["attributes"]]
        self.core = [x for x in self.core if x["name"] not in ("id", "meta")]
        self.core += [{"name": "externalId", "type": "string", "caseExact": True}]
        self.extensions = [
            {
                "name": x["schema"],
                "type": "complex",
                "extension": True,
                "subAttributes": schemas[x["schema"]]["attributes"],
            }
            for x in self.type.get("schemaExtensions", [])
        ]
        self.attributes = self.core + self.extensions
        self.ids: list[str] = []
        self.endpoint = self.type["endpoint"]
        self.beside: list[str] = []
        if not own:
            for name in "ab":
                self.beside.append(self.client.user(name)["id"])

    def chains(self) -> list[Chain]:
        """Return every attribute of a resource, and what is above it."""
        result: list[Chain] = []
        for one in self.attributes:
            result.append((one,))
            for two in one.get("subAttributes", []):
                result.append((one, two))
                for three in two.get("subAttributes", []):
                    result.append((one, two, three))
        return result

    def value(self, attribute: Document, above: str = "") -> Any:
        """Make up a value of an attribute: all elements of one with many values."""
        if not attribute.get("multiValued"):
            return self.element(attribute, above)
        some = [
            self.element(attribute, above) for _ in range(self.random.randint(1, 3))
        ]
        some = [x for n, x in enumerate(some) if x not in some[:n]]
        if any(isinstance(x, dict) and x.get("primary") is True for x in some):
            for x in some[1:]:
                x.pop("primary", None)
            some[0] |= {"primary": True} if "primary" in some[0] else {}
            some = [x for n, x in enumerate(some) if x and x not in some[:n]]
        return some or [self.element(attribute, above)]

    def element(self, attribute: Document, above: str = "") -> Any:
        """Make up one value of an attribute."""
        if attribute["type"] != "complex":
            name = attribute["name"]
            known = SPECIAL.get(f"{above}.{name}") or SPECIAL.get(name)
            known = known or VALUES[attribute["type"]]
            if name == "$ref":
                known = VALUES["reference"]
            return self.random.choice(known)
        known = self.ids + self.beside
        if refers(attribute):
            extra = {"note": "n"} if self.random.random() < 0.3 else {}
            names = [x["name"] for x in attribute["subAttributes"]]
            extra = {k: x for k, x in extra.items() if k in names}
            return {"value": self.random.choice(known), **extra} if known else {}
        subs = attribute["subAttributes"]
        some = self.random.sample(subs, self.random.randint(1, len(subs)))
        some += [x for x in subs if x.get("required") and x not in some]
        return {
            x["name"]: self.value(x, attribute["name"])
            for x in some
            if not refers(x) or known
        }

    def resource(self) -> Document:
        """Make up a whole resource."""
        body: Document = {}
        for one in self.attributes:
            if one.get("required") or self.random.random() < 0.6:
                body[one["name"]] = self.value(one)
        unassigned = [name for name, value in body.items() if value in ({}, [], [{}])]
        for name in unassigned:
            del body[name]
        if body.get("userName"):
            body["userName"] = f"u{self.random.randrange(10**9)}"
        extended = [x["name"] for x in self.extensions if x["name"] in body]
        return {"schemas": [self.type["schema"], *extended], **body}

    def send(self, method: str, path: str, body: Any = None) -> Reply:
        """Send a request, which never fails by the server's fault."""
        reply = self.client.request(method, path, body)
        self.log.append((method, path, body, reply.status, reply.content))
        assert reply.status < 500, self.story()
        return reply

    def create(self) -> tuple[Document, Reply]:
        """Send a POST."""
        body = self.resource()
        reply = self.send("POST", self.endpoint, body)
        if reply.status == 201:
            self.ids.append(reply["id"])
        return body, reply

    def patch(self, id: str, *operations: Any) -> Reply:
        """Send a PATCH."""
        body = {"schemas": [PATCH_OP], "Operations": [*operations]}
        return self.send("PATCH", f"{self.endpoint}/{id}", body)

    def view(self, id: str) -> Document:
        """Return all that can be shown of a resource."""
        names = ["schemas", "id", "meta"]
        for chain in self.chains():
            names.append(spelt(chain))
        query = {"attributes": ",".join(names)}
        reply = self.client.get(f"{self.endpoint}/{id}", **query)
        assert reply.status == 200, reply.content
        shown: Document = reply.json
        return shown

    def story(self) -> str:
        """Return what to look at when a property does not hold."""
        schema = json.dumps([slim(x) for x in self.attributes])
        last = "\n".join(map(str, self.log[-4:]))
        return f"\nseed {self.seed}: {schema}\n{last}"


def slim(attribute: Document) -> Document:
    """Leave out what an attribute does not need to say."""
    default: Document = {
        "description": attribute.get("description"),
        "multiValued": False,
        "required": False,
    }
    default |= {"mutability": "readWrite", "returned": "default", "uniqueness": "none"}
    result = {k: x for k, x in attribute.items() if default.get(k, NOTHING) != x}
    if "subAttributes" in result:
        result["subAttributes"] = [slim(x) for x in result["subAttributes"]]
    return result


def spelt(chain: Chain) -> str:
    """Spell the path of an attribute (RFC 7644 §3.5.2, Figure 7)."""
    first, *rest = chain
    names = ".".join(x["name"] for x in rest)
    if first.get("extension"):
        return first["name"] + (f":{names}" if names else "")
    return ".".join(x["name"] for x in chain)


def has(chain: Iterable[Document], **marks: tuple[str, ...]) -> bool:
    """Return whether an attribute, one above it or one in it has such a mark."""
    return any(
        x.get(name) in values or has(x.get("subAttributes", []), **marks)
        for x in chain
        for name, values in marks.items()
    )


def refers(attribute: Document) -> bool:
    """Return whether its `value` is the id of a resource."""
    subs = {x["name"]: x for x in attribute.get("subAttributes", [])}
    return {"value", "$ref"} <= {*subs} and bool(
        {*subs["$ref"].get("referenceTypes", [])} & {"Item", "User", "Group"}
    )


def is_secret(chain: Iterable[Document]) -> bool:
    """Return whether a value, or a part of it, is not kept."""
    return has(chain, mutability=("writeOnly",)) or has(chain, returned=("never",))


def is_hidden(chain: Iterable[Document]) -> bool:
    """Return whether an attribute itself, or one above it, is not kept."""
    return any(
        x.get("mutability") == "writeOnly" or x.get("returned") == "never"
        for x in chain
    )


def at(view: Any, chain: Chain) -> Any:
    """Return what a resource shows at a path, without lists."""
    for each in chain:
        view = view.get(each["name"]) if isinstance(view, dict) else None
    return view


def key(attribute: Document, value: Any) -> Any:
    """Return a key that two simple values share when a filter finds them equal."""
    if isinstance(value, str):
        exact = attribute.get("caseExact") or attribute["type"] != "string"
        return unicodedata.normalize("NFC", value if exact else value.casefold())
    return value


def bare(view: Document) -> Document:
    """Return a resource without what follows from the rest of it."""
    return {k: x for k, x in view.items() if k not in ("schemas", "meta", "id")}


def make_world(seed: int, tolerance: str) -> World:
    """Make the world of a seed: most have schemas of their own, some the built-in."""
    world = World(Random(seed), tolerance, seed % 5 != 0)
    world.seed = seed
    for _ in range(3):
        world.create()
    return world


def worlds(examples: int) -> Iterator[World]:
    """Yield worlds with resources in them, at every tolerance."""
    for seed in seeds(examples):
        world = make_world(seed, TOLERANCES[seed % 3])
        if world.ids:
            yield world


def pairs(examples: int) -> Iterator[tuple[World, World]]:
    """Yield two worlds that are the same."""
    for seed in seeds(examples):
        pair = [make_world(seed, TOLERANCES[seed % 3]) for _ in range(2)]
        if pair[0].ids:
            yield pair[0], pair[1]


# --- what holds ---


def test_what_is_posted_is_shown_and_found() -> None:
    """What a POST stores is what GET and filters show (RFC 7644 §3.3, §3.4.2)."""
    for world in worlds(25):
        sent, reply = world.create()
        if reply.status != 201:
            continue
        view = world.view(reply["id"])
        plain = world.client.get(f"{world.endpoint}/{reply['id']}").json
        assert {*plain} <= {*view}, world.story()
        for chain in world.chains():
            leaf = chain[-1]
            if leaf["type"] == "complex" or is_hidden(chain):
                continue
            if has(chain[:1], mutability=("readOnly",)) or is_computed(chain):
                continue
            value, shown = at(sent, chain), at(view, chain)
            if value is not None and not any(x.get("multiValued") for x in chain[:-1]):
                expected = {key(leaf, x) for x in listed(value)}
                found = {key(leaf, x) for x in listed(shown)}
                assert found == expected, (spelt(chain), world.story())
        check_filters(world, view)


def check_filters(world: World, view: Document) -> None:
    """Check that each simple value finds the resource that shows it."""
    for chain in world.chains():
        if chain[-1]["type"] == "complex" or is_hidden(chain):
            continue
        for value in every(view, chain):
            text = f"{spelt(chain)} eq {json.dumps(value)}"
            reply = world.client.get(world.endpoint, filter=text)
            assert reply.status == 200, (text, reply.content, world.story())
            found = [x["id"] for x in reply.json.get("Resources", [])]
            assert view["id"] in found, (text, world.story())


def test_what_is_shown_can_be_put_back() -> None:
    """A PUT of all that is shown changes nothing (RFC 7644 §3.5.1)."""
    for world in worlds(25):
        id = world.random.choice(world.ids)
        view = world.view(id)
        reply = world.send("PUT", f"{world.endpoint}/{id}", view)
        if any(x.get("required") and is_secret([x]) for x in everything(world)):
            continue  # a secret that must be sent
        assert reply.status == 200, world.story()
        assert world.view(id) == view, world.story()
        for operation in ("add", "replace"):
            value = {k: x for k, x in view.items() if k != "meta"}
            part = {"op": operation, "value": value}
            reply = world.patch(id, part)
            assert reply.status == 200, world.story()
            assert world.view(id) == view, world.story()


def everything(world: World) -> list[Document]:
    """Return every attribute."""
    return [x[-1] for x in world.chains()]


def is_computed(chain: Chain) -> bool:
    """Return whether the server works it out from a reference."""
    return any(
        refers(x) and y["name"] in ("$ref", "type", "display")
        for x, y in pairwise(chain)
    )


def listed(value: Any) -> list[Any]:
    """Return the elements of what may be one value."""
    return [] if value is None else value if isinstance(value, list) else [value]


def every(value: Any, chain: Chain) -> list[Any]:
    """Return all simple values at a path."""
    values = [value]
    for each in chain:
        values = [y for x in values for y in listed(x.get(each["name"]))]
    return values


def test_a_patch_changes_its_target_only() -> None:
    """Nothing half done, nothing beside the target, versions that tell (§3.5.2)."""
    for world in worlds(50):
        for _ in range(12):
            check_patch(world)


def check_patch(world: World) -> None:
    """Send one operation with a path, and check what became of the resource."""
    random = world.random
    id = random.choice(world.ids)
    before = world.view(id)
    chain = random.choice(world.chains())
    operation, condition = some_operation(world, chain, before)
    reply = world.patch(id, operation)
    after = world.view(id)
    if reply.status >= 400:
        assert after == before, world.story()
        return
    assert reply.status == 200, world.story()
    assert reply["meta"] == after["meta"], world.story()
    if "-creates" in reply.headers.get("Scim-Deviation", ""):
        chain, condition = chain[: many(chain)], None
    changed = bare(after) != bare(before)
    if changed or not is_secret(chain):
        same = after["meta"]["version"] == before["meta"]["version"]
        assert same is not changed, world.story()
    assert beside(before, chain) == beside(after, chain), world.story()
    if operation.get("value", NOTHING) in ({}, [{}], {UNKNOWN: "x"}):
        assert operation["op"] == "remove" or after == before, world.story()
    if condition:
        check_elements(world, chain, before, after, condition)


def beside(view: Document, chain: Chain) -> dict[str, str]:
    """Return a resource without what is at a path."""
    rest = deepcopy(bare(view))
    strip(rest, chain)
    return {k: folded(x) for k, x in rest.items() if x not in ({}, [])}


def strip(value: Document, chain: Chain) -> None:
    """Take away what is at a path, and objects that are empty then."""
    first, *rest = chain
    name = first["name"]
    if not rest or name not in value or refers(first):
        value.pop(name, None)
        return
    for each in listed(value[name]):
        strip(each, tuple(rest))
        each.pop("primary", None)
    if isinstance(value[name], list):
        value[name] = [*{folded(x): x for x in value[name] if x}.values()]
    if value[name] in ({}, []):
        del value[name]


def folded(value: Any) -> str:
    """Return a key that elements share when they differ in case at most."""
    if isinstance(value, dict):
        return str(sorted((k, folded(x)) for k, x in value.items()))
    if isinstance(value, list):
        return str(sorted(map(folded, value)))
    return unicodedata.normalize("NFC", str(value).casefold())


Condition = Callable[[Any], bool]


def some_operation(
    world: World, chain: Chain, view: Document
) -> tuple[Document, Condition | None]:
    """Make up an operation at a path, perhaps on selected elements only."""
    random = world.random
    path, condition = spelt(chain), None
    top = next((x for x in chain if x.get("multiValued")), None)
    if top and random.random() < 0.5:
        place = chain.index(top) + 1
        found = some_filter(world, chain[:place], view)
        if found:
            text, condition = found
            rest = "".join("." + x["name"] for x in chain[place:])
            path = f"{spelt(chain[:place])}[{text}]{rest}"
    op = random.choice(["add", "replace", "remove"])
    operation: Document = {"op": op, "path": path}
    if op != "remove" or random.random() < 0.25:
        operation["value"] = some_value(world, chain, view)
    return operation, condition


def some_value(world: World, chain: Chain, view: Document) -> Any:
    """Make up what an operation sends: mostly right, often odd."""
    leaf, random = chain[-1], world.random
    above = chain[-2]["name"] if len(chain) > 1 else ""
    right = world.value(leaf, above)
    subs = [x["name"] for x in leaf.get("subAttributes", [])] or ["value"]
    odd = [
        *(None, [], {}, [{}], [None], "", 5, True, {UNKNOWN: "x"}, [[]], [""]),
        *({subs[0]: None}, {subs[-1]: {}}, {subs[0]: []}, {leaf["name"]: right}),
        *({"value": "red"}, [{"value": "red"}, {"value": "RED"}], [right]),
        *({x: None for x in subs}, world.value(random.choice(world.chains())[-1])),
    ]
    near = [right, right, world.element(leaf, above), at(view, chain)]
    return random.choice(near if random.random() < 0.6 else odd)


def some_filter(
    world: World, chain: Chain, view: Document
) -> tuple[str, Condition] | None:
    """Make up a filter of elements, and the same as a function."""
    leaf, random = chain[-1], world.random
    subs = [x for x in leaf.get("subAttributes", []) if not is_hidden([x])]
    if leaf["type"] != "complex":
        subs = [leaf | {"name": "value", "multiValued": False}]
    if not subs:
        return None
    sub = random.choice(subs)
    name = sub["name"]
    flag = sub if name == "primary" and sub["type"] == "boolean" else None

    def values(element: Any) -> list[Any]:
        if not isinstance(element, dict):
            element = {"value": element}
        assumed = False if sub == flag else None  # RFC 7643 §2.4
        return listed(element.get(name, assumed))

    if random.random() < 0.2:
        return f"{name} pr", lambda x: any(y != "" for y in values(x))
    elements = [y for x in listed(at(view, chain)) for y in values(x)]
    value = random.choice(elements) if elements else world.element(sub, leaf["name"])
    wanted = key(sub, value)
    text = f"{name} eq {json.dumps(value)}"
    if random.random() < 0.15:
        return f"not ({text})", lambda x: all(key(sub, y) != wanted for y in values(x))
    return text, lambda x: any(key(sub, y) == wanted for y in values(x))


def many(chain: Chain) -> int:
    """Return the length of a chain up to its first attribute with many values."""
    return next(n for n, x in enumerate(chain, 1) if x.get("multiValued"))


def check_elements(
    world: World, chain: Chain, before: Document, after: Document, condition: Condition
) -> None:
    """Check that the elements that do not match are there, in order, as they were."""
    place = many(chain)
    old, new = (listed(at(x, chain[:place])) for x in (before, after))
    settled = [
        {k: y for k, y in x.items() if k != "primary"} if isinstance(x, dict) else x
        for x in new
    ]
    for element in old:
        if not condition(element):
            if isinstance(element, dict):
                element = {k: x for k, x in element.items() if k != "primary"}
            assert element in settled, world.story()


def test_many_ways_to_say_the_same() -> None:
    """A path or none, one PATCH or two, in a Bulk job or not: one result (§3.5.2)."""
    for world, twin in pairs(25):
        for _ in range(8):
            id = world.random.choice(world.ids)
            chain = world.random.choice(world.chains())
            operation, _ = some_operation(world, chain, world.view(id))
            ways = [way for way in WAYS if (way(world, chain, operation))]
            if not ways:
                continue
            said = world.random.choice(ways)(world, chain, operation)
            first = world.patch(id, operation)
            second = twin.patch(id, said)
            told = world.story() + twin.story()
            assert first.status == second.status, told
            assert bare(world.view(id)) == bare(twin.view(id)), told


def without_path(world: World, chain: Chain, operation: Document) -> Document | None:
    """Say it without a path."""
    if "[" in operation["path"] or operation["op"] == "remove" or len(chain) > 2:
        return None
    value, op = operation["value"], operation["op"]
    if len(chain) == 2 and not chain[0].get("extension"):
        return None
    for each in reversed(chain):
        value = {each["name"]: value}
    return {"op": op, "value": value}


def within_object(world: World, chain: Chain, operation: Document) -> Document | None:
    """Say it of the complex attribute above."""
    if "[" in operation["path"] or operation["op"] == "remove" or len(chain) < 2:
        return None
    above = chain[-2]
    if above.get("multiValued") or refers(above):
        return None
    if any(x.get("multiValued") for x in chain[:-1]):
        return None
    value = {chain[-1]["name"]: operation["value"]}
    return {"op": operation["op"], "path": spelt(chain[:-1]), "value": value}


def in_capitals(world: World, chain: Chain, operation: Document) -> Document | None:
    """Say it in capitals: names and URNs have no case (RFC 7643 §2.1)."""
    path, bracket, rest = operation["path"].partition("[")
    return operation | {"path": path.upper() + bracket + rest}


def with_urn(world: World, chain: Chain, operation: Document) -> Document | None:
    """Say it with the URN of the core schema (RFC 7644 §3.10)."""
    if chain[0].get("extension") or chain[0]["name"] == "externalId":
        return None
    return operation | {"path": f"{world.type['schema']}:{operation['path']}"}


WAYS = [without_path, within_object, in_capitals, with_urn]


def test_one_patch_or_many_or_a_bulk_job() -> None:
    """Operations in one PATCH, in one each, in Bulk: one result (§3.5.2, §3.7)."""
    for world, twin in pairs(20):
        for _ in range(5):
            id = world.random.choice(world.ids)
            view = world.view(id)
            operations = [
                some_operation(world, world.random.choice(world.chains()), view)[0]
                for _ in range(world.random.randint(1, 3))
            ]
            replies = [world.patch(id, each) for each in operations]
            if all(each.status == 200 for each in replies):
                data = {"schemas": [PATCH_OP], "Operations": operations}
                path = f"{world.endpoint}/{id}"
                job = {"method": "PATCH", "path": path, "data": data}
                body = {"schemas": [BULK], "Operations": [job]}
                reply = twin.send("POST", "/Bulk", body)
                assert reply["Operations"][0]["status"] == "200", twin.story()
            else:
                for each, first in zip(operations, replies, strict=True):
                    second = twin.patch(id, each)
                    assert first.status == second.status, twin.story()
            told = world.story() + twin.story()
            assert bare(world.view(id)) == bare(twin.view(id)), told


def test_a_tolerance_changes_no_meaning() -> None:
    """What is accepted without a deviation is the same at every tolerance."""
    for seed in seeds(25):
        strict, *others = [make_world(seed, each) for each in TOLERANCES]
        if not strict.ids or strict.ids != others[0].ids:
            continue
        for _ in range(8):
            id = strict.random.choice(strict.ids)
            chain = strict.random.choice(strict.chains())
            operation, _ = some_operation(strict, chain, strict.view(id))
            first = strict.patch(id, operation)
            for other in others if first.status == 200 else ():
                reply = other.patch(id, operation)
                told = strict.story() + other.story()
                assert reply.status == 200, told
                assert "Scim-Deviation" not in reply.headers, told
                assert bare(other.view(id)) == bare(strict.view(id)), told


def test_what_is_done_is_done() -> None:
    """The same operation again changes nothing (RFC 7644 §3.5.2.1 to §3.5.2.3)."""
    for world in worlds(25):
        for _ in range(8):
            id = world.random.choice(world.ids)
            chain = world.random.choice(world.chains())
            operation, _ = some_operation(world, chain, world.view(id))
            if "[" in operation["path"] or is_secret(chain):
                continue
            if world.patch(id, operation).status != 200:
                continue
            before = world.view(id)
            assert world.patch(id, operation).status == 200, world.story()
            after = world.view(id)
            assert after == before, world.story()


def test_what_is_added_can_be_removed() -> None:
    """A remove of what an add has added restores what was there (§3.5.2.2)."""
    for world in worlds(25):
        for _ in range(8):
            id = world.random.choice(world.ids)
            chain = world.random.choice(world.chains())
            if is_secret(chain) or has(chain, mutability=("readOnly",)):
                continue
            if any(x.get("multiValued") for x in chain[:-1]):
                continue
            path, before = spelt(chain), world.view(id)
            old, leaf = at(before, chain), chain[-1]
            value = world.element(leaf, chain[-2]["name"] if chain[1:] else "")
            add = {"op": "add", "path": path, "value": value}
            if world.patch(id, add).status != 200:
                continue
            new = at(world.view(id), chain)
            remove = {"op": "remove", "path": path}
            if old is not None:
                if not leaf.get("multiValued") or listed(new)[:-1] != old:
                    continue
                if any(includes(x, value) for x in old):
                    continue
                remove["value"] = [value]
            reply = world.patch(id, remove)
            if reply.status == 200:
                assert bare(world.view(id)) == bare(before), world.story()
            else:
                assert (
                    leaf.get("required")
                    or "value" in remove
                    or has(chain, mutability=("immutable",), required=(True,))
                ), world.story()


def includes(element: Any, value: Any) -> bool:
    """Return whether a remove of this value removes this element too."""
    if not isinstance(value, dict):
        return folded(element) == folded(value)
    return all(folded(element.get(k)) == folded(x) for k, x in value.items())


def test_a_put_is_what_a_post_is() -> None:
    """A PUT leaves what a POST of the same would make, or nothing (§3.5.1)."""
    for world, twin in pairs(20):
        for _ in range(3):
            id = world.random.choice(world.ids)
            before, body = world.view(id), world.resource()
            put = world.send("PUT", f"{world.endpoint}/{id}", body)
            post = twin.send("POST", world.endpoint, body)
            after = world.view(id)
            told = world.story() + twin.story()
            assert put.status == 200 or after == before, told
            if post.status == 201:
                fixed = has(world.attributes, mutability=("immutable",))
                if put.status == 200 and not fixed and id not in str(body):
                    assert bare(after) == bare(twin.view(post["id"])), told
                twin.client.delete(f"{world.endpoint}/{post['id']}")
            reply = twin.send("PUT", f"{world.endpoint}/{id}", body)
            assert reply.status == put.status, told


def test_a_version_tells_whether_a_resource_changed() -> None:
    """Also of the others that show something of it (RFC 7644 §3.14)."""
    for world in worlds(25):
        before = everyone(world)
        for _ in range(8):
            id = world.random.choice([*world.ids])
            chain = world.random.choice(world.chains())
            turn = world.random.random()
            if turn < 0.1 and len(world.ids) > 1:
                world.send("DELETE", f"{world.endpoint}/{id}")
                world.ids.remove(id)
            elif turn < 0.3:
                world.send("PUT", f"{world.endpoint}/{id}", world.resource())
            elif turn < 0.4:
                world.create()
            else:
                operation, _ = some_operation(world, chain, world.view(id))
                world.patch(id, operation)
            after = everyone(world)
            for other in {*before} & {*after}:
                old, new = before[other], after[other]
                same = old["meta"]["version"] == new["meta"]["version"]
                hidden = other == id and is_secret(world.attributes)
                assert not same or old == new, (old, new, world.story())
                changed = bare(old) != bare(new)
                assert same or changed or hidden, (old, new, world.story())
            before = after


def everyone(world: World) -> dict[str, Document]:
    """Return what is shown of all resources, by id, and that it is shown alike."""
    names = ",".join(["meta", *map(spelt, world.chains())])
    shown = world.client.get(world.endpoint, attributes=names).json
    found = {x["id"]: x for x in shown.get("Resources", [])}
    for each in world.client.get("/").json.get("Resources", []):
        found.setdefault(each["id"], each)
    return found
