#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["scim2-models>=0.12.3,<0.13"]
# ///
"""A SCIM 2.0 service provider in one file (RFC 7643, RFC 7644, RFC 9865).

scim2-models says what a resource may hold (RFC 7643); this file says what a service
provider does with it (RFC 7644). Run it, copy it, or read it from top to bottom beside
the RFC: nothing is used before it is explained.

Part I. The data
1. Errors (RFC 7644 §3.12): StatusException, error_body
2. Deviations from the RFCs, and their one gate: DEVIATIONS, Gate
3. Schemas and resource types (RFC 7643 §2.2, §6, §7): Attribute, ResourceType
4. Values (RFC 7643 §2.3 to §2.5): read_value

Part II. The languages
5. Filters and paths, syntax (RFC 7644 §3.4.2.2): parse_filter, parse_path
6. Filters and sorting, meaning (RFC 7644 §3.4.2): compile_filter, sort_key
7. Resources in a request (RFC 7643 §3): read_resource, check_models
8. PATCH (RFC 7644 §3.5.2): apply_patch
9. Representations (RFC 7644 §3.4.2.5, §3.9; RFC 7643 §7): represent

Part III. The service provider
10. The store, where a builder puts a database: Store
11. The directory, its ties and versions (RFC 7643 §4): Directory
12. Operations (RFC 7644 §3.3 to §3.6): create_resource, modify_resource
13. Cursors (RFC 9865): seal_cursor, open_cursor
14. Queries (RFC 7644 §3.4.2, §3.4.3): query_resources
15. Bulk (RFC 7644 §3.7): execute_bulk
16. Discovery (RFC 7644 §4): read_configuration, discovery_documents

Part IV. The wire
17. Requests and replies (RFC 7644 §3.1, §3.8, §3.14): Request, Reply
18. Who may ask (RFC 7644 §2): authenticate
19. Where the server is, and who may write to it: find_origin, check_page
20. Routes (RFC 7644 §3.2): ROUTES, handle
21. The WSGI application: Application, create_app
22. The HTTP server (RFC 9112): Server, running_server

Part V. The test double
23. What clients did wrong: Journal
24. Dump and load: dump_resources, load_resources

Part VI. The command line
25. Options, files and signals: build_parser, main

The journey of a PATCH: `Connection` reads its bytes from the socket and calls the WSGI
application; `Application` finds out who asks, and of which directory; `ROUTES` lead to
`patch_resource`, which reads the operations from JSON; `modify_resource` takes the lock
and the stored resource and lets `apply_patch` make a new one: each path is parsed by
`parse_path`, found in the schema by `resolve`, and each value read by `read_value`.
`Directory.save` gives it a version, swaps it into the `Store` and touches all that
shows something of it; `Directory.render` turns it into JSON, and the bytes go back.
"""

from __future__ import annotations

import argparse
import base64
import bisect
import contextlib
import difflib
import errno
import gc
import hashlib
import heapq
import hmac
import ipaddress
import itertools
import json
import logging
import math
import operator
import os
import re
import secrets
import selectors
import signal
import socket
import sys
import tempfile
import threading
import time
import unicodedata
import uuid
from collections.abc import (
    Callable,
    Collection,
    Container,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache, partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, TypedDict, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urljoin, urlsplit
from weakref import WeakValueDictionary

try:
    import scim2_models
except ImportError:
    sys.exit("scim2_server needs scim2-models: python3 -m pip install scim2-models")

from pydantic import Base64Bytes, EmailStr, TypeAdapter, ValidationError
from scim2_models import (
    ConflictException,
    ExpiredCursorException,
    ForbiddenException,
    InvalidCountException,
    InvalidCursorException,
    InvalidFilterException,
    InvalidPathException,
    InvalidSyntaxException,
    InvalidValueException,
    InvalidVersionException,
    MutabilityException,
    NoTargetException,
    NotFoundException,
    NotImplementedException,
    PayloadTooLargeException,
    PreconditionFailedException,
    SCIMException,
    UniquenessException,
)

if TYPE_CHECKING:
    import ssl

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__version__ = "0.1.0"

CORE = "urn:ietf:params:scim:schemas:core:2.0:"
MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
USER, GROUP = CORE + "User", CORE + "Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MEDIA_TYPE = "application/scim+json"

# Limits of what a request may ask; each error names the one that it met.
MAX_BODY = 10 * 2**20  # bytes; 413
MAX_DEPTH = 64  # of JSON: a resource needs five
MAX_FILTER_LENGTH = 64 * 1024  # characters
MAX_TERMS = 1000  # comparisons of a filter; an `or` of `eq` is one
MAX_NAME = 1000  # characters of an attribute's name
MAX_NESTING = 32  # parentheses and brackets of a filter
MAX_OPERATIONS = 1000  # of one PATCH; 413
MAX_ELEMENTS = 1_000_000  # that the value filters of one PATCH look at; 413
MAX_ATTRIBUTES = 500  # names in attributes or excludedAttributes
MAX_TARGET = 64 * 1024  # bytes of the request line; 414
MAX_HEAD = 64 * 1024  # bytes of all headers; 431
MAX_HEADERS = 100  # header fields; 431
MAX_TENANTS = 1000  # that --dynamic-tenants creates
MAX_UNFINISHED = 64 * 2**20  # bytes of large bodies that arrive at once; 503
MAX_CONNECTIONS = 900  # open at once; the longest idle one makes room
IDLE_TIMEOUT = 60.0  # seconds between two requests of a connection
REQUEST_TIMEOUT = 30.0  # seconds from the first byte of a request to its last
STOP_TIMEOUT = 2.0  # seconds in which a server that stops ends the requests in flight

logger = logging.getLogger("scim2_server")

Resource = dict[str, Any]
"""A stored JSON object (RFC 7643 §3). It is never changed, only replaced by another."""


# ##### Part I. The data #####


# === 1. Errors (RFC 7644 §3.12): StatusException, error_body ===
#
# Errors are raised as exceptions of scim2-models. The class determines the status and
# the scimType; `detail` tells the author of a client what to fix.
# `Application.answer` turns every exception into a reply.


class StatusException(SCIMException):
    """An error without scimType, for statuses that scim2-models does not cover."""

    def __init__(
        self, status: int, detail: str, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(detail=detail, headers=list(headers))
        self.status = status


class SensitiveException(scim2_models.SensitiveException):
    """A request that would disclose a secret: 403 (RFC 7644 §7.5.2).

    Erratum 6893 (Verified): the status in the example there is 403 too.
    """

    status = 403


def error_body(error: SCIMException) -> Resource:
    """Return the JSON of an error (RFC 7644 §3.12).

    >>> body = error_body(InvalidPathException(detail="'nme' is not an attribute."))
    >>> body["status"], body["scimType"], body["detail"]
    ('400', 'invalidPath', "'nme' is not an attribute.")
    """
    body = {"schemas": [MESSAGES + "Error"], "status": str(error.status)}
    if error.scim_type:
        body["scimType"] = error.scim_type
    return body | {"detail": error.detail}


CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def clip(value: object, length: int = 60) -> str:
    """Return a value from a request, shortened for an error detail.

    The content of an object or array is left out, because it can include a secret.
    """
    if value and isinstance(value, (dict, list)):
        return "{…}" if isinstance(value, dict) else "[…]"
    plain = value is None or isinstance(value, (bool, int, float, list, dict))
    text = json.dumps(value) if plain else str(value)
    text = text[: length + 1].encode("utf-8", "replace").decode()
    text = CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    return text if len(text) <= length else text[: length - 1] + "…"


def clip_name(name: str, length: int = 60) -> str:
    """Return a name for an error detail, cut where a value could begin.

    >>> clip_name('emails[type eq "work"]')
    'emails'
    """
    return clip(re.split(r"""[\[\s"'(=]""", name, maxsplit=1)[0], length)


CREDENTIALS = re.compile(
    r"""[^/:]*:[^/]*@|(?:^/|(?<=//))[^/]*@|(?:[?=\["\s]|%(?:3[DF]|5B|2[02])).*""",
    re.S | re.I,
)


def clip_path(path: str) -> str:
    """Return a path for an error detail, without query and userinfo.

    >>> clip_path("/Users?access_token=5")
    '/Users…'
    """
    return clip(CREDENTIALS.sub("…", path), 200)


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint with the most similar known name, or an empty string."""
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower()[:100], by_lower, 1, cutoff)
    return f" (did you mean '{by_lower[found[0]]}'?)" if found else ""


# === 2. Deviations from the RFCs, and their one gate: DEVIATIONS, Gate ===
#
# Identity providers in use send requests that the RFCs do not allow. The code that
# detects such a deviation calls `Gate.meet` with its code in this table. The gate
# records it for the `Scim-Deviation` header of the reply, or rejects it with the
# scimType of the table. Nothing else in this file is lenient. Entra ID sends:
#
#   {"op": "Replace", "path": "active", "value": "False"}
#
# By default the reply is 200 with `Scim-Deviation: op-case, boolean-as-string`. With
# --tolerance strict it is 400.


@dataclass(frozen=True, slots=True)
class Deviation:
    """A deviation from the RFCs: what it is, who sends it, and who accepts it."""

    code: str
    rfc: str
    sent_by: str
    accepted_from: str  # the least tolerance that accepts it
    scim_type: str  # of the rejection, or its status if it has no scimType
    meaning: str
    send_instead: str


TABLE = """
op-case | RFC 7644 §3.5.2 | Entra ID | standard | invalidSyntax
  | `op` is not in lower case
  | "add", "remove" or "replace"
boolean-as-string | RFC 7643 §2.3.2 | Entra ID | standard | invalidValue
  | a boolean comes as a string
  | true or false, without quotes
boolean-as-number | RFC 7643 §2.3.2 | small connectors | lenient | invalidValue
  | a boolean comes as 0 or 1
  | true or false, as in JSON
number-as-string | RFC 7643 §2.3.3, §2.3.4 | small connectors | lenient | invalidValue
  | a number comes as a string
  | the number, without quotes
value-format | RFC 7643 §2.3.7, §4.1 | many | standard | invalidValue
  | a string is not in the format that the RFC requires
  | a value in that format
remove-with-value | RFC 7644 §3.5.2.2 | Entra ID, JumpCloud | standard | invalidValue
  | a remove names what to remove in `value`
  | a path with a filter, as in members[value eq "2819c223"]
add-creates | RFC 7644 §3.5.2.1 | Entra ID | standard | noTarget
  | an add whose value filter matches nothing creates the element it describes
  | an add of the whole element to the attribute
replace-creates | RFC 7644 §3.5.2.3 | Entra ID | lenient | noTarget
  | a replace whose value filter matches nothing creates the element it describes
  | an add of the whole element to the attribute
value-for-complex | RFC 7643 §2.3.8 | Entra ID | standard | invalidValue
  | a complex attribute comes as its bare value
  | an object, as in {"value": "2819c223"}
empty-clears | RFC 7643 §2.5 | Entra ID | standard | invalidValue
  | a complex attribute is cleared with ""
  | a remove operation, or null
path-as-key | RFC 7644 §3.5.2 | Entra ID | standard | invalidPath
  | the value of an operation without path has paths for keys
  | an operation with that path, or nested objects
unknown-key | RFC 7644 §3.1 | Entra ID | standard | invalidSyntax
  | a message has a member that the RFC does not define
  | the message without it
unknown-attribute | RFC 7643 §3 | Entra ID, others | standard | invalidSyntax
  | a resource has an attribute that no schema declares
  | the resource without it, or a schema that declares it
unknown-path | RFC 7644 §3.5.2 | old mappings | lenient | invalidPath
  | the path of an operation names an attribute that no schema declares
  | the path of an attribute that /Schemas lists
unqualified-attribute | RFC 7644 §3.10 | Entra ID | standard | invalidFilter
  | an attribute of an extension comes without its URN
  | the URN of the extension, a colon, and the name
unknown-filter-attribute | RFC 7644 §3.4.2.1 | scripts | lenient | invalidFilter
  | a filter names an attribute that no schema declares
  | an attribute that /Schemas lists
unknown-schema | RFC 7643 §3 | Entra ID | standard | invalidSyntax
  | a request names a schema that the resource type does not have
  | only schemas that /ResourceTypes lists
array-for-single | RFC 7643 §7 | Entra ID | standard | invalidValue
  | an operation gives a single-valued attribute an array of one
  | the value itself, without brackets
single-for-array | RFC 7643 §2.4 | small connectors | lenient | invalidValue
  | a multi-valued attribute comes as one value instead of an array
  | an array of one element
path-compare | RFC 7644 §3.4.2.2 | Entra ID | standard | invalidFilter
  | a filter compares a sub-attribute after the brackets
  | both conditions inside, as in emails[type eq "work" and value eq "a@b"]
unquoted-value | RFC 7644 §3.4.2.2 | docs, scripts | lenient | invalidFilter
  | a filter has a string without quotes, or in single ones
  | the string in double quotes, as in JSON
filter-spacing | RFC 7644 §3.4.2.2 | scripts | standard | invalidFilter
  | a filter or path has blanks where the grammar has none, or none after an operator
  | blanks on both sides of an operator (one is enough), and nowhere else
urn-dot | RFC 7644 §3.10 | Microsoft's samples | standard | invalidFilter
  | a dot joins an attribute to the URN of its schema
  | the URN, a colon, and the name
missing-schemas | RFC 7643 §3 | OneLogin, scripts | standard | invalidSyntax
  | `schemas` is missing, or lacks its own URN
  | the URN of the message or resource in `schemas`
undeclared-extension | RFC 7643 §3 | scripts | standard | invalidSyntax
  | a resource has attributes of an extension that `schemas` does not name
  | the URN of the extension in `schemas`
dangling-reference | RFC 7643 §2.3.7 | many | standard | invalidValue
  | a reference names a resource that does not exist on this server
  | the id of a resource that exists
duplicate-json-key | RFC 7644 §3.8 | hand-made JSON | standard | invalidSyntax
  | one JSON object has the same key twice
  | each key once, in one spelling
list-as-string | RFC 7644 §3.4.3 | scripts, samples | standard | invalidSyntax
  | a list of attributes in a SearchRequest comes as a string
  | an array of strings
unknown-selection | RFC 7644 §3.9 | samples | standard | invalidValue
  | `attributes` or `excludedAttributes` has a name that no schema declares
  | only attributes that /Schemas lists, without brackets
repeated-parameter | RFC 7644 §3.4.2 | scripts | standard | invalidValue
  | a URL has the same parameter twice
  | each parameter once, with commas between the names of a list
endpoint-case | RFC 7644 §3.2 | scripts, samples | standard | 404
  | an endpoint is written in another case
  | the endpoint as RFC 7644 or /ResourceTypes spells it
"""
DEVIATIONS = {
    fields[0]: Deviation(*fields)
    for row in re.split(r"\n(?! )", TABLE.strip())
    if (fields := re.split(r"\s+\| | \| ", row))
}
TOLERANCES = ("strict", "standard", "lenient")
REFUSALS: dict[str, type[SCIMException]] = {
    each.scim_type: each
    for each in (
        *(InvalidFilterException, InvalidPathException, InvalidSyntaxException),
        *(InvalidValueException, NoTargetException),
    )
} | {"404": NotFoundException}


def accepted_codes(
    tolerance: str, accept: Iterable[str] = (), refuse: Iterable[str] = ()
) -> frozenset[str]:
    """Return the codes that a tolerance accepts, plus `accept` and minus `refuse`.

    Raises ValueError for an unknown tolerance or code, or a code in both.
    """
    if tolerance not in TOLERANCES:
        known = ", ".join(TOLERANCES)
        raise ValueError(f"unknown tolerance '{tolerance}': it is one of {known}")
    accept, refuse = set(accept), set(refuse)
    for code in sorted(accept | refuse):
        if code not in DEVIATIONS:
            hint = nearest(code, DEVIATIONS) or f": they are {', '.join(DEVIATIONS)}"
            raise ValueError(f"unknown deviation '{clip(code)}'{hint}")
    if both := accept & refuse:
        raise ValueError(f"'{min(both)}' is both accepted and refused")
    level = TOLERANCES.index(tolerance)
    codes = {
        code
        for code, row in DEVIATIONS.items()
        if TOLERANCES.index(row.accepted_from) <= level
    }
    return frozenset((codes | accept) - refuse)


class Gate:
    """The deviations of one request: tolerated ones are recorded, others rejected.

    >>> gate = Gate(accepted_codes("standard"))
    >>> gate.meet("op-case", "'Add'")
    >>> gate.met
    {'op-case': "'Add'"}
    """

    __slots__ = ("accepted", "base", "met", "promised", "refused", "resolve_bulk_id")

    def __init__(self, accepted: frozenset[str] = frozenset(), base: str = "") -> None:
        self.accepted = accepted
        self.base = base  # the base URL of the resources
        self.met: dict[str, str] = {}  # code: the first example
        self.refused: dict[str, str] = {}
        # In a bulk job (section 15): ids of resources to come, and the resolver.
        self.promised: set[str] = set()
        self.resolve_bulk_id: Callable[[str], str | None] = lambda bulk_id: None

    def meet(
        self, code: str, example: str, error: type[SCIMException] | None = None
    ) -> None:
        """Record this deviation, or reject it.

        `example` says what was found and where, without secrets. `error` replaces the
        exception of the table where the deviation occurs in another syntax.
        """
        if code in self.accepted:
            self.met.setdefault(code, example)
            return
        self.refused.setdefault(code, example)
        row = DEVIATIONS[code]
        admit = f"--accept {code}"
        if row.accepted_from == "lenient":
            admit += " or --tolerance lenient"
        raise (error or REFUSALS[row.scim_type])(
            detail=f"{example}: {row.meaning} ({code}, {row.rfc}). "
            f"Send {row.send_instead}, or start the server with {admit}."
        )

    def join(self, other: Gate) -> None:
        """Add the deviations of one part of the request to those of the whole."""
        self.met = other.met | self.met
        self.refused = other.refused | self.refused


# === 3. Schemas and resource types (RFC 7643 §2.2, §6, §7): Attribute, ResourceType ===
#
# The characteristics of an attribute decide how it is validated, filtered, changed and
# returned. They are compiled once, from the schemas that are served. An extension is a
# complex attribute whose name is its URN (RFC 7643 §3.3).


def lower(name: str) -> str:
    """Return a name in lower case, if it is ASCII.

    Names are ASCII (RFC 7643 §2.1). `str.lower` turns the Kelvin sign into "k".
    """
    return name.lower() if name.isascii() else name


class Attributes(dict[str, "Attribute"]):
    """Attributes by lower-case name: names are case-insensitive (RFC 7643 §2.1)."""

    @cached_property
    def exact(self) -> dict[str, Attribute]:
        """The attributes by name as the schema spells it, as most clients do."""
        return {each.name: each for each in self.values()}

    def find(self, name: str) -> Attribute | None:
        """Return the attribute of this name in any case, or None."""
        return self.exact.get(name) or self.get(lower(name))

    @cached_property
    def plain(self) -> dict[str, str]:
        """The names of the attributes that accept any single string.

        Most values belong to these attributes. One look-up here validates them.
        """
        return {
            each.name: each.name
            for each in self.values()
            if each.type in ("string", "reference")
            and not (each.multi_valued or each.computed or each.links or each.form)
            and each.mutability != "readOnly"
        }


class Form(NamedTuple):
    """A syntax that RFC 7643 requires of a string: its name and a test for it."""

    name: str
    is_met: Callable[[str], object]


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """An attribute and its characteristics (RFC 7643 §2.2, §7)."""

    name: str
    path: str  # as filters and errors spell it
    type: str = "string"
    multi_valued: bool = False
    required: bool = False
    """Whether a client must send it. False if the server provides it."""
    case_exact: bool = False
    mutability: str = "readWrite"
    returned: str = "default"
    uniqueness: str = "none"
    attributes: Attributes = field(default_factory=Attributes)
    """The sub-attributes."""
    refers: tuple[str, ...] = ()
    """The names of the resource types whose ids `value` can hold."""
    links: Mapping[str, str] = field(default_factory=dict)
    """The referenceTypes of a URI, with their endpoints, if any is served here."""
    form: Form | None = None
    """The syntax that RFC 7643 requires of its strings, if any."""
    computed: bool = False
    """Whether the server computes it from other resources or the request."""
    # Derived from the fields above:
    marks: frozenset[str] = field(init=False)
    """The mutability, returned and "required" of it and its sub-attributes."""
    is_complex: bool = field(init=False)
    is_text: bool = field(init=False)
    """Whether it holds a single string that is not secret."""
    is_secret: bool = field(init=False)
    """Whether it is never returned, or writeOnly (RFC 7643 §7)."""

    def __post_init__(self) -> None:
        secret = self.returned == "never" or self.mutability == "writeOnly"
        is_string = self.type in ("string", "reference")
        marks = {self.mutability, self.returned, *["required"] * self.required}
        marks |= {"never"} if secret else set()
        if secret:  # so are its sub-attributes
            within = [*self.attributes.values()]
            for each in within:  # the loop extends this list
                object.__setattr__(each, "marks", each.marks | {"never"})
                within += each.attributes.values()
        marks = marks.union(*(each.marks for each in self.attributes.values()))
        for name, value in (
            ("marks", frozenset(marks)),
            ("is_complex", self.type == "complex"),
            ("is_text", is_string and not self.multi_valued and not secret),
            ("is_secret", secret),
        ):
            object.__setattr__(self, name, value)


Chain = tuple[Attribute, ...]
"""The path to an attribute: extension (if any), attribute, sub-attribute (if any)."""


Model = type[scim2_models.Resource[Any]] | type[scim2_models.Extension]
"""A schema as a class of scim2-models."""
MODELS = scim2_models.Resource, scim2_models.Extension


@dataclass(frozen=True, slots=True, eq=False)
class ResourceType:
    """A resource type and the attributes of its schemas (RFC 7643 §6)."""

    name: str
    endpoint: str
    schema: str
    extensions: Attributes  # by URN in lower case
    attributes: Attributes  # common, core, and the extensions by URN
    marked: Mapping[str, tuple[Attribute, ...]]  # the attributes with each mark
    unique: tuple[Chain, ...]
    indexed: tuple[Chain, ...]  # `Store` has an index of each
    references: tuple[Chain, ...]  # complex attributes whose `value` is an id
    links: tuple[Chain, ...]  # stand-alone references to resources only
    documents: Mapping[str, Mapping[str, Any]]
    """The schemas: the core schema under "", the extensions by URN."""
    classes: Mapping[str, Model]
    """The schemas given as scim2-models classes, under the same keys."""

    # Derived from the fields above:
    members: Attribute | None = field(init=False)
    """The attribute that makes it a group (RFC 7643 §4.2)."""
    groups: Attribute | None = field(init=False)
    """The attribute that lists the groups it is a member of (RFC 7643 §4.1.2)."""
    user_name: Attribute | None = field(init=False)
    """The attribute by which /Me finds a user (RFC 7644 §3.11)."""
    display_name: Attribute | None = field(init=False)
    """The attribute that references display. Every client may read it."""

    def __post_init__(self) -> None:
        members, groups = map(self.attributes.get, ("members", "groups"))
        is_group = members and members.refers and members.multi_valued
        object.__setattr__(self, "members", members if is_group else None)
        is_member = groups and groups.computed
        object.__setattr__(self, "groups", groups if is_member else None)
        for ours, name, returned in (
            ("user_name", "username", ("default", "always", "request")),
            ("display_name", "displayname", ("default", "always")),
        ):
            found = self.attributes.get(name)
            is_usable = found and found.is_text and found.returned in returned
            object.__setattr__(self, ours, found if is_usable else None)


COMMON: list[dict[str, Any]] = json.loads("""[
{"name": "schemas", "type": "string", "multiValued": true, "returned": "always"},
{"name": "id", "type": "string", "caseExact": true, "mutability": "readOnly",
 "returned": "always"},
{"name": "externalId", "type": "string", "caseExact": true},
{"name": "meta", "type": "complex", "mutability": "readOnly", "subAttributes": [
 {"name": "resourceType", "type": "string", "caseExact": true},
 {"name": "created", "type": "dateTime"}, {"name": "lastModified", "type": "dateTime"},
 {"name": "location", "type": "reference", "caseExact": true, "computed": true},
 {"name": "version", "type": "string", "caseExact": true, "computed": true}]}]""")
"""The attributes of every resource (RFC 7643 §3, §3.1)."""
MARKS = ("required", "readOnly", "immutable", "never", "request", "always")
TYPES = (
    *("string", "boolean", "decimal", "integer"),
    *("dateTime", "binary", "reference", "complex"),
)
CHARACTERISTICS: dict[str, tuple[str, tuple[Any, ...]]] = {
    # name in the schema: (name in `Attribute`, values with the default first)
    "type": ("type", TYPES),
    "multiValued": ("multi_valued", (False, True)),
    "required": ("required", (False, True)),
    "caseExact": ("case_exact", (False, True)),
    "mutability": ("mutability", ("readWrite", "readOnly", "immutable", "writeOnly")),
    "returned": ("returned", ("default", "always", "never", "request")),
    "uniqueness": ("uniqueness", ("none", "server", "global")),
}
COMPUTED = ("$ref", "type", "display", "displayname")
"""The sub-attributes computed from a `value` that is the id of a resource."""


def compile_attributes(
    documents: Iterable[Mapping[str, Any]] | None, above: str, types: Mapping[str, str]
) -> Attributes:
    """Compile attributes by their names; `types` are endpoints by name."""
    compiled = (compile_attribute(each, above, types) for each in documents or [])
    return Attributes((each.name.lower(), each) for each in compiled)


def is_closed(attribute: Attribute) -> bool:
    """Return whether a URI may only name resources of types that are served here."""
    return bool(attribute.links) and all(attribute.links.values())


def compile_attribute(
    document: Mapping[str, Any], above: str, types: Mapping[str, str]
) -> Attribute:
    """Compile an attribute and its sub-attributes.

    >>> attribute = compile_attribute({"name": "nick", "returned": "request"}, "", {})
    >>> attribute.type, attribute.mutability, attribute.returned
    ('string', 'readWrite', 'request')

    Raises ValueError if a characteristic has a value that RFC 7643 §7 does not define.
    """
    name = str(document["name"])
    path, subs = above + name, document.get("subAttributes")
    values: dict[str, Any] = {}
    for key, (ours, known) in CHARACTERISTICS.items():
        values[ours] = document.get(key, known[0])
        if values[ours] not in known:
            raise ValueError(f"attribute '{path}' has no {key} '{values[ours]}'")
    below = compile_attributes(subs, path + (":" if ":" in name else "."), types)
    refers: tuple[str, ...] = ()
    if all(each in below and below[each].is_text for each in ("value", "$ref")):
        ref = next(x for x in subs or [] if x["name"].lower() == "$ref")
        refers = tuple(x for x in ref.get("referenceTypes") or [] if x in types)
    for each in COMPUTED if refers else ():
        if each in below and below[each].is_text:
            below[each] = replace(below[each], computed=True, required=False)
    links = {x: types.get(x, "") for x in document.get("referenceTypes") or []}
    if values["type"] != "reference" or not any(links.values()):
        links = {}
    if values["type"] == "reference":
        values["form"] = URI
    if values["type"] in ("binary", "reference"):
        values["case_exact"] = True  # RFC 7643 §2.3.6, §2.3.7
    read_only = values["mutability"] == "readOnly"
    given = [x for x in below.values() if x.mutability != "readOnly" and not x.computed]
    if read_only or (below and not given):
        values["required"] = False  # the server provides it (§2.2)
        below = Attributes((x, replace(y, required=False)) for x, y in below.items())
    derived = path == "groups" and read_only and values["multi_valued"] and bool(refers)
    return Attribute(
        name=sys.intern(name),
        path=path,
        attributes=below,
        refers=refers,
        links=links,
        computed=derived or "computed" in document,
        **values,
    )


def is_printable(text: str) -> bool:
    """Return whether a text has no control, format or surrogate characters."""
    if text.isascii():
        return text.isprintable()
    return not {"Cc", "Cf", "Cs"}.intersection(map(unicodedata.category, text))


def is_der_sequence(text: str) -> bool:
    """Return whether base64 holds one DER SEQUENCE whose length is right.

    >>> is_der_sequence("MAMCAQE="), is_der_sequence("AAAA")
    (True, False)
    """
    try:
        content = base64.b64decode(text)
    except ValueError:
        return False
    head, size = content[:2], content[1] if len(content) > 1 else -1
    if size > 0x80:  # the length of the length
        head, size = content[: size - 0x80 + 2], size - 0x80
        size = int.from_bytes(head[2:]) if len(head) == size + 2 else -1
    return content[:1] == b"0" and size != 0x80 and len(content) == len(head) + size


def matching(pattern: str) -> Callable[[str], object]:
    """Return a test whether a whole text matches the pattern."""
    return re.compile(pattern, re.A).fullmatch


LANGUAGE = "[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*"
RANGE = rf"(?:\*|{LANGUAGE})(?:\s*;\s*q=[01](?:\.[0-9]{{0,3}})?)?"
URI = Form(
    "a URI (RFC 7643 §2.3.7)",
    matching(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*"),
)
FORMS: dict[tuple[str, str], Form] = {
    # By schema and path (RFC 7643 §4.1). Only the syntax is validated: a list of
    # countries or time zones would go out of date.
    # Errata 5990, 5991: ISO 3166-1 codes are capitals.
    (USER, "userName"): Form("without control and format characters", is_printable),
    (USER, "locale"): Form("a language tag such as en-US", matching(LANGUAGE)),
    (USER, "preferredLanguage"): Form(
        "as in Accept-Language, such as en-US, en;q=0.9",
        matching(rf"{RANGE}(?:\s*,\s*{RANGE})*"),
    ),
    (USER, "timezone"): Form(
        "an Area/City such as America/Los_Angeles",
        matching("[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)+"),
    ),
    (USER, "addresses.country"): Form("two capitals such as US", matching("[A-Z]{2}")),
    (USER, "x509Certificates.value"): Form("a DER certificate", is_der_sequence),
}


def with_forms(schema: str, attributes: Attributes) -> Attributes:
    """Return the attributes of a schema with their forms added."""
    found = Attributes(attributes)
    for each in attributes.values():
        form = FORMS.get((schema, each.path), each.form)
        inner = with_forms(schema, each.attributes)
        found[each.name.lower()] = replace(each, form=form, attributes=inner)
    return found


RESERVED = {
    *("me", "bulk", "healthz", ".search"),
    *("schemas", "resourcetypes", "serviceproviderconfig"),
}
"""Endpoints that are given away: by RFC 7644 §3.2, and `healthz` by this server."""


def compile_types(
    schemas: Iterable[Mapping[str, Any]],
    types: Sequence[Mapping[str, Any]],
    classes: Mapping[str, Model],
) -> dict[str, ResourceType]:
    """Compile resource types, by name, from the documents of both (RFC 7643 §6, §7).

    `classes` are the schemas that were given as such, by their ids in lower case.

    Raises ValueError when a document is invalid or names what is not there.
    """
    by_urn: dict[str, Mapping[str, Any]] = {}
    for each in schemas:
        if each["id"].lower() in by_urn:
            raise ValueError(f"two schemas have the id {clip(each['id'], 200)}")
        by_urn[each["id"].lower()] = each
        compile_attributes(each.get("attributes"), "", {})  # also of one not in use
    names = {str(each["name"]): str(each["endpoint"]) for each in types}
    compiled = {}
    for document in types:
        compiled[document["name"]] = compile_type(document, by_urn, names, classes)
    endpoints = [each.endpoint.lower() for each in compiled.values()]
    for endpoint in endpoints:
        is_path = re.fullmatch(r"/(?!\.\.?$)[a-z0-9._~-]+", endpoint)
        if not is_path or endpoint[1:] in RESERVED or endpoints.count(endpoint) > 1:
            raise ValueError(
                f"the endpoint '{endpoint}' is taken, or is not a path such as /Users"
            )
    for key in ("id", "name"):
        seen = {str(each.get(key) or each["name"]).lower() for each in types}
        if len(seen) < len(types):
            raise ValueError(f"two resource types have one {key} (case is ignored)")
    return compiled


def compile_type(
    document: Mapping[str, Any],
    schemas: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    classes: Mapping[str, Model],
) -> ResourceType:
    """Compile one resource type (RFC 7643 §6)."""

    def schema(urn: str) -> Mapping[str, Any]:
        if urn.lower() in schemas:
            return schemas[urn.lower()]
        kind = document["name"]
        raise ValueError(
            f"resource type '{kind}' needs schema {urn}, which is not served: add it "
            "(--schema default adds the built-in ones)"
        )

    core = schema(document["schema"])
    documents, extended = {"": core}, []
    for extension in document.get("schemaExtensions") or []:
        found = schema(extension["schema"])
        documents[str(found["id"])] = found
        required = bool(extension.get("required"))
        one = {"name": found["id"], "type": "complex", "required": required}
        extended.append(one | {"subAttributes": found.get("attributes")})
    extensions = compile_attributes(extended, "", names)
    declared = core.get("attributes") or []
    # A schema may redefine externalId, if it remains a single string (§3.1).
    attributes = compile_attributes([*COMMON, *declared], "", names)
    attributes = with_forms(str(core["id"]), attributes)
    if again := {x["name"].lower() for x in declared} & {"schemas", "id", "meta"}:
        raise ValueError(
            f"schema {core['id']} declares '{min(again)}': leave it out, every "
            "resource has it (RFC 7643 §3.1)"
        )
    attributes |= extensions
    if not attributes["externalid"].is_text:
        raise ValueError(f"schema {core['id']}: 'externalId' must be one string")
    chains = list(walk(attributes))
    references = tuple(c for c in chains if c[-1].refers and not c[0].computed)
    unique = tuple(
        c for c in chains if c[-1].uniqueness != "none" and not c[-1].is_complex
    )
    named = [attributes[x] for x in ("externalid", "displayname") if x in attributes]
    return ResourceType(
        name=document["name"],
        endpoint=document["endpoint"],
        schema=str(core["id"]),
        extensions=extensions,
        attributes=attributes,
        marked={
            mark: tuple(each for each in attributes.values() if mark in each.marks)
            for mark in MARKS
        },
        unique=unique,
        indexed=(
            *unique,
            *((x,) for x in named if (x,) not in unique and x.type == "string"),
            *((*chain, chain[-1].attributes["value"]) for chain in references),
        ),
        references=references,
        links=tuple(c for c in chains if is_closed(c[-1]) and not c[-1].computed),
        documents=documents,
        classes={
            name: classes[each["id"].lower()]
            for name, each in documents.items()
            if each["id"].lower() in classes
        },
    )


def walk(attributes: Mapping[str, Attribute], above: Chain = ()) -> Iterator[Chain]:
    """Yield the chain of every attribute and sub-attribute."""
    for attribute in attributes.values():
        yield (*above, attribute)
        yield from walk(attribute.attributes, (*above, attribute))


CORRECTIONS: list[tuple[str, str, dict[str, Any], str]] = [
    # schema, attribute, characteristics, reason
    (ENTERPRISE, "manager.value", {"required": False}, "a client may send $ref alone"),
    (ENTERPRISE, "manager.$ref", {"required": False}, "the server computes it"),
    (USER, "addresses.primary", {}, "stays: §8.7.1 has none, the users of §8.2 do"),
    (GROUP, "members.display", {"mutability": "readOnly"}, "the server computes it"),
    (GROUP, "members.display", {"description": "The name of the member."}, "§7"),
    (GROUP, "displayName", {"required": True}, "§4.2 REQUIRED (Erratum 5368)"),
    (USER, "password", {"caseExact": False}, "§8.7.1"),
    (USER, "groups.$ref", {"referenceTypes": ["User", "Group"]}, "§8.7.1"),
    (USER, "", {"description": "User Account"}, "§8.7.1"),
    (ENTERPRISE, "", {"description": "Enterprise User"}, "§8.7.1"),
]


def default_documents() -> dict[str, list[dict[str, Any]]]:
    """Return a copy of the built-in documents (RFC 7643 §8.6, §8.7).

    They come from the classes of scim2-models, with `CORRECTIONS` applied.
    """
    documents: dict[str, list[dict[str, Any]]] = json.loads(default_json())
    return documents


@lru_cache(maxsize=1)
def default_json() -> bytes:
    """Return the built-in documents as JSON: parsing is faster than building them."""
    enterprise = scim2_models.User[scim2_models.EnterpriseUser]
    types = enterprise, scim2_models.Group
    models = scim2_models.User, scim2_models.Group, scim2_models.EnterpriseUser
    type_documents = [as_document(each, scim2_models.ResourceType) for each in types]
    type_documents[0]["description"] = "User Account"  # §8.6
    schemas = [as_document(each, scim2_models.Schema) for each in models]
    about = (  # Erratum 8417 (Verified): with `schemas` and `meta`, as any schema
        *(scim2_models.ServiceProviderConfig, scim2_models.ResourceType),
        scim2_models.Schema,
    )
    return encode(
        {
            "schemas": schemas,
            "resource_types": type_documents,
            "discovery_schemas": [each.to_schema().model_dump() for each in about],
        }
    )


def gather_documents(
    schemas: Iterable[Any] | None, types: Iterable[Any] | None
) -> tuple[list[Any], list[Any], dict[str, Model]]:
    """Return schemas and resource types as documents, and the classes among them.

    The classes are keyed by schema id in lower case. The schemas of resource types that
    are classes are derived from them. None means the built-in documents.

    Raises ValueError if a class does not define a SCIM schema.
    """
    default = default_documents()
    types = default["resource_types"] if types is None else list(types)
    models: list[Any] = [each for each in types if isinstance(each, type)]
    schemas_are_default = schemas is None
    if schemas is None:
        schemas = default["schemas"] if len(models) < len(types) else []
    schemas = list(schemas)
    models = [*models, *(each for each in schemas if isinstance(each, type))]
    for model in models:  # the loop extends this list
        models += getattr(model, "__scim_extension_metadata__", ())
        if not issubclass(model, MODELS) or model.__schema__ is None:
            raise ValueError(f"{model.__name__} is not a class of a SCIM schema")
    classes = {str(each.__schema__).lower(): each for each in models}
    others = [as_document(x, scim2_models.Schema) for x in schemas if x not in models]
    if schemas_are_default:
        others = [each for each in others if each["id"].lower() not in classes]
    derived = [as_document(each, scim2_models.Schema) for each in classes.values()]
    documents = [as_document(each, scim2_models.ResourceType) for each in types]
    return [*others, *derived], documents, classes


def as_document(given: Any, kind: Any) -> Any:
    """Return the document that a scim2-models class or instance represents.

    `CORRECTIONS` apply to the classes of scim2-models and to their subclasses.
    """
    if isinstance(given, kind):
        return given.model_dump()
    if not isinstance(given, type):
        return given
    if kind is scim2_models.ResourceType:
        return kind.from_resource(given).model_dump()
    model: Any = given
    document: dict[str, Any] = model.to_schema().model_dump()
    for urn, path, changes, _ in CORRECTIONS:
        if document["id"] != urn:
            continue
        found: dict[str, Any] = document
        for name in path.split(".") if path else ():
            below = found.get("attributes") or found.get("subAttributes") or ()
            found = next((each for each in below if each["name"] == name), {})
        found.update(changes)
    return document


def check_documents(
    documents: Iterable[Any], model: type[scim2_models.Resource[Any]]
) -> list[dict[str, Any]]:
    """Validate schemas or resource types. Return them with RFC 7643 §7 spelling.

    Raises ValueError with a one-line message that names the document.
    """
    checked: list[dict[str, Any]] = []
    for given in documents:
        if not isinstance(given, dict):
            raise ValueError(f"not a JSON object: {clip(given)}")
        document = spell_members(given)
        name = document.get("id") or document.get("name")
        needed = ("id",) if model is scim2_models.Schema else ("schema", "endpoint")
        for key in ("name", *needed):
            if not isinstance(document.get(key), str) or not document[key]:
                raise ValueError(f"the document {clip(name)} has no '{key}'")
        if model is scim2_models.Schema:
            # §8.7.2: the schema of schemas alone is complex within complex.
            depth = -1 if name == CORE + "Schema" else 0
            check_attributes(document.get("attributes"), str(name), depth)
        for extension in listed(document.get("schemaExtensions") or []):
            if not isinstance(extension, dict) or not isinstance(
                extension.get("schema"), str
            ):
                raise ValueError(f"{clip(name)}: an extension without 'schema'")
        try:
            check_depth(document)
            check_text(document)
            find_unknown_members(document, model)
        except SCIMException as error:
            raise ValueError(f"{clip(name)}: {error.detail}") from None
        except ValueError as error:
            raise ValueError(f"{clip(name)}: {first_line(error)}") from None
        checked.append(document)
    return checked


DOCUMENT_MEMBERS = {
    each.lower(): each
    for each in (
        *("schemas", "id", "name", "description", "meta", "attributes"),
        *("endpoint", "schema", "schemaExtensions", "resourceType", "location"),
        *("subAttributes", "canonicalValues", "referenceTypes", *CHARACTERISTICS),
    )
}
"""The members of schemas and resource types by lower-case name (§6, §7)."""


def spell_members(document: Any) -> Any:
    """Return a document with its members spelt as RFC 7643 spells them.

    Attribute names are case-insensitive (§2.1).

    Raises ValueError if a member appears in two spellings.
    """
    if isinstance(document, list):
        return [spell_members(each) for each in document]
    if not isinstance(document, dict):
        return document
    spelt: dict[str, Any] = {}
    for given, value in document.items():
        name = DOCUMENT_MEMBERS.get(str(given).lower()) or str(given)
        if name in spelt:
            where = clip(document.get("id") or document.get("name"))
            raise ValueError(f"{where}: '{name}' is given twice: leave one out")
        is_nested = name in ("attributes", "subAttributes", "schemaExtensions", "meta")
        spelt[name] = spell_members(value) if is_nested else value
    return spelt


def find_unknown_members(document: Mapping[str, Any], model: Any) -> list[str]:
    """Validate a document. Return the members that scim2-models does not know.

    They are served as given: another server or an Internet-Draft may define them.

    Raises ValueError if anything else is invalid.
    """
    try:
        model.model_validate(document)
    except ValueError as error:
        errors = error.errors() if hasattr(error, "errors") else []
        unknown = [str(x["loc"][-1]) for x in errors if x["type"] == "extra_forbidden"]
        if not unknown or len(unknown) < len(errors):
            raise
        return sorted({clip(each) for each in unknown})
    return []


ATTRIBUTE_NAME = re.compile(r"\$?[A-Za-z][A-Za-z0-9_$-]*", re.A)


def check_attributes(attributes: Any, path: str, depth: int) -> None:
    """Check the attributes of a schema, or of a complex attribute (RFC 7643 §7).

    "A complex attribute MUST NOT contain sub-attributes that have sub-attributes"
    (§2.3.8). Raises ValueError.
    """
    if not isinstance(attributes, list):
        raise ValueError(f"{clip(path)}: 'attributes' must be an array")
    seen: set[str] = set()
    for each in attributes:
        name = each.get("name") if isinstance(each, dict) else None
        if not isinstance(name, str) or not ATTRIBUTE_NAME.fullmatch(name):
            raise ValueError(
                f"{clip(path)}: an attribute has no name, or '{clip(name)}'"
            )
        if name.lower() in seen:
            raise ValueError(f"{clip(path)}: two attributes are called '{clip(name)}'")
        seen.add(name.lower())
        below = each.get("subAttributes")
        if below is not None and (each.get("type") != "complex" or depth > 0):
            raise ValueError(f"{clip(path)}: '{clip(name)}' cannot have sub-attributes")
        if depth > 0 and each.get("type") == "complex":
            raise ValueError(f"{clip(path)}: '{clip(name)}' is complex within complex")
        if below is not None:
            check_attributes(below, f"{path}.{name}", depth + 1)


def listed(content: Any) -> list[Any]:
    """Return a list unchanged, or a single document as a list."""
    return content if isinstance(content, list) else [content]


def first_line(error: ValueError) -> str:
    """Return the first error that scim2-models reports, in one line."""
    if not hasattr(error, "errors"):
        return str(error).partition("\n")[0]
    errors = error.errors()
    first = next((x for x in errors if x["type"] != "extra_forbidden"), errors[0])
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def spell_out_schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with every characteristic present (RFC 7643 §7)."""

    def spelt(attribute: Mapping[str, Any]) -> dict[str, Any]:
        result = {"name": attribute["name"]}
        result |= {name: known[0] for name, (_, known) in CHARACTERISTICS.items()}
        result |= attribute
        if attribute.get("subAttributes"):
            result["subAttributes"] = [spelt(x) for x in attribute["subAttributes"]]
        return result

    return {
        "schemas": [CORE + "Schema"],
        **document,
        "attributes": [spelt(each) for each in document.get("attributes") or []],
    }


# === 4. Values (RFC 7643 §2.3 to §2.5): read_value ===
#
# A value from a request is checked by the type of its attribute and brought into the
# form in which it is stored: names as the schema spells them, nothing unassigned.


def read_value(
    attribute: Attribute, value: Any, gate: Gate, patch: bool = False
) -> Any:
    """Return this value as it is stored.

    None is what the client unassigns: null, [] for many values, or "" (empty-clears;
    RFC 7643 §2.5). {} and [] are what is left of a value in which nothing can be
    written: they say nothing about what was there before, and a PATCH (`patch`, in
    which null stays in complex values) changes nothing.

    Raises InvalidValueException (RFC 7643 §2.3), or what the gate refuses.
    """
    if value is None:
        return None
    if attribute.multi_valued:
        return read_elements(attribute, value, gate, patch)
    return read_single(attribute, value, gate, patch)


def read_single(
    attribute: Attribute, value: Any, gate: Gate, patch: bool = False
) -> Any:
    """Return one value, or one element of a multi-valued attribute."""
    if isinstance(value, list) and patch:
        if len(value) != 1:
            raise wrong_type(attribute, value)
        gate.meet("array-for-single", f"{attribute.path}: an array of one")
        value = value[0]
    if value is None:
        return None
    if attribute.is_complex:
        return read_complex(attribute, value, gate, patch)
    return SIMPLE_TYPES[attribute.type](attribute, value, gate)


def read_elements(
    attribute: Attribute, value: Any, gate: Gate, patch: bool
) -> list[Any] | None:
    """Return the elements of a multi-valued attribute (RFC 7643 §2.4).

    An element that comes twice is kept once. Departure: "SHOULD NOT return the same
    (type, value) combination more than once per attribute", which elements with the
    same two do here that differ in more.
    """
    if value == "" and attribute.is_complex:
        value = read_single(attribute, "", gate)  # empty-clears
    elif not isinstance(value, list):
        if not patch:
            gate.meet("single-for-array", f"{attribute.path}: one value")
        value = [value]
    if not value:
        return None
    read = [read_single(attribute, x, gate) for x in value if x is not None]
    elements = [each for each in read if not is_unassigned(each)]
    primaries = 0
    if attribute.is_complex:
        primaries = len([x for x in elements if x.get("primary") is True])
    if primaries > 1:
        raise InvalidValueException(
            detail=f"'{attribute.path}' has {primaries} elements with primary true: "
            "true MUST appear no more than once (RFC 7643 §2.4)."
        )
    return distinct(attribute, elements)


def distinct(attribute: Attribute, elements: list[Any]) -> list[Any]:
    """Remove duplicates, keeping the last of each.

    If every `value` differs there are none, which is quick to check.
    """
    if len(elements) < 2:
        return elements
    value = attribute.attributes.get("value")
    if value:
        keys = {value_key(value, each.get("value")) for each in elements}
        if None not in keys and len(keys) == len(elements):
            return elements
    return list({identity(attribute, each): each for each in elements}.values())


def identity(attribute: Attribute, element: Any) -> Any:
    """Return a key that two elements share when they are the same.

    Choice: it is `value` for references, else all sub-attributes but `primary`
    ("already contains the value specified", says RFC 7644 §3.5.2.1).
    """
    if attribute.is_complex:
        if attribute.refers and "value" in element:
            return str(element["value"])
        element = {name: x for name, x in element.items() if name != "primary"}
    return value_key(attribute, element)


def value_key(attribute: Attribute, value: Any) -> Any:
    """Return a key that two values share when they are the same.

    Each part is compared by its own case rule; "Value order is not specified" (RFC 7643
    §2.4).
    """
    if isinstance(value, list):
        return frozenset(value_key(attribute, each) for each in value)
    if isinstance(value, dict):
        subs = attribute.attributes
        return frozenset((k, value_key(subs[k.lower()], x)) for k, x in value.items())
    return comparable(attribute, value)


def read_complex(
    attribute: Attribute, value: Any, gate: Gate, patch: bool
) -> Resource | None:
    """Return a complex value (RFC 7643 §2.3.8)."""
    if value == "":
        gate.meet("empty-clears", f'{attribute.path}: ""')
        return None
    if not isinstance(value, dict):
        if isinstance(value, list) or "value" not in attribute.attributes:
            raise wrong_type(attribute, value)
        read_single(attribute.attributes["value"], value, gate)  # its type comes first
        gate.meet("value-for-complex", f"{attribute.path}: {shown(attribute, value)}")
        value = {"value": value}
    result = read_object(attribute.attributes, value, attribute.path, gate, patch)
    if attribute.refers:
        if result.get("value") == "" and not attribute.multi_valued:
            gate.meet("empty-clears", f'{attribute.path}: {{"value": ""}}')
            return None
        result = read_reference(attribute, value, result, gate)
    return result


def read_reference(
    attribute: Attribute, sent: Mapping[str, Any], result: Resource, gate: Gate
) -> Resource:
    """Answer a reference: a bulkId becomes the id that it stands for (RFC 7644 §3.7.2).

    Without a `value` the `$ref` is data, and may name a resource all the same.
    """
    if result.get("value") is not None:
        return {**result, "value": read_id(attribute, result["value"], gate)}
    refs = [item for name, item in sent.items() if name.lower() == "$ref"]
    if not refs or not isinstance(refs[-1], str):
        return result
    check_form(attribute.attributes["$ref"], refs[-1], gate)
    uri = read_uri(attribute, refs[-1], gate)
    return {**result, "$ref" if uri == refs[-1] else "value": uri}


def read_uri(attribute: Attribute, uri: Any, gate: Gate) -> Any:
    """Return a URI, or the id that it names by a bulkId (RFC 7644 §3.7.2)."""
    if not isinstance(uri, str) or "bulkId:" not in uri:
        return uri
    id = uri if uri.startswith("bulkId:") else id_in(uri, gate.base) or ""
    return read_id(attribute, id, gate) if id.startswith("bulkId:") else uri


def read_id(attribute: Attribute, id: Any, gate: Gate) -> Any:
    """Answer the id that a reference names. Raises InvalidValueException."""
    if not isinstance(id, str) or not id.startswith("bulkId:"):
        return id
    known = gate.resolve_bulk_id(id.removeprefix("bulkId:"))
    if known is None:
        raise InvalidValueException(
            detail=f"'{attribute.path}' refers to {shown(attribute, id)}, which no "
            "operation of a bulk job around it defines (RFC 7644 §3.7.2)."
        )
    return known


def read_object(
    attributes: Attributes,
    value: Mapping[str, Any],
    path: str,
    gate: Gate,
    patch: bool = False,
) -> Resource:
    """Answer the attributes of an object by their names in the schema.

    Names have no case (RFC 7643 §2.1). What is readOnly is not read (§2.2), and what is
    computed is dropped without a word.
    """
    result: Resource = {}
    plain = attributes.plain
    first: dict[str, str] = {}  # how names were spelled, once that is asked
    for name, item in value.items():
        if item.__class__ is str and name in plain and name not in result:
            result[plain[name]] = item  # one name in memory for all resources
            continue
        attribute = attributes.find(name)
        if attribute is None:
            meet_unknown(name, item, path, gate)
            continue
        if attribute.mutability == "readOnly" or attribute.computed:
            continue
        if attribute.name in result:
            first = first or {lower(each): each for each in reversed([*value])}
            both = f"{clip_name(first[lower(name)])} and {clip_name(name)}"
            within = f"{clip_name(path)}: " if path else ""
            gate.meet("duplicate-json-key", within + both)
        item = read_value(attribute, item, gate, patch)
        if not is_unassigned(item) or (item is None and patch):
            result[attribute.name] = item
        else:
            result.pop(attribute.name, None)
    return result


def meet_unknown(name: str, value: Any, path: str, gate: Gate) -> None:
    """Meet a name that no schema declares; it is never stored under another."""
    within = f"{clip_name(path)}: " if path else ""
    if ":" in name and isinstance(value, dict):
        gate.meet("unknown-schema", f"{within}'{clip_name(name, 200)}'")
    else:
        gate.meet("unknown-attribute", f"{within}'{clip_name(name)}'")


def read_string(attribute: Attribute, value: Any, gate: Gate) -> str:
    """Return a string or a reference (RFC 7643 §2.3.1, §2.3.7)."""
    if not isinstance(value, str):
        raise wrong_type(attribute, value)
    check_form(attribute, value, gate)
    return str(read_uri(attribute, value, gate)) if attribute.links else value


def check_form(attribute: Attribute, value: str, gate: Gate) -> None:
    """Check the form that RFC 7643 gives a string, if it gives one."""
    if attribute.form and value and not attribute.form.is_met(value):
        quoted = shown(attribute, value)
        example = f"{attribute.path}: {quoted} is not {attribute.form.name}"
        gate.meet("value-format", example)


def read_boolean(
    attribute: Attribute,
    value: Any,
    gate: Gate,
    error: type[SCIMException] = InvalidValueException,
) -> bool:
    """Answer a boolean (RFC 7643 §2.3.2), in a filter with its own `error`."""
    if isinstance(value, bool):
        return value
    where = f"{attribute.path}: {shown(attribute, value)!r}"
    if isinstance(value, str) and value.lower() in ("true", "false"):
        gate.meet("boolean-as-string", where, error)
        return value.lower() == "true"
    if isinstance(value, (int, float)) and value in (0, 1):
        gate.meet("boolean-as-number", where, error)
        return value == 1
    raise wrong_type(attribute, value, error)


def read_number(
    attribute: Attribute,
    value: Any,
    gate: Gate,
    error: type[SCIMException] = InvalidValueException,
) -> int | float:
    """Return a decimal or an integer (RFC 7643 §2.3.3, §2.3.4).

    A filter compares an integer with any number, and has its own `error`.
    Choice: it is one that a double can hold, as RFC 8259 §6 says of interoperable
    ones; RFC 7643 sets no limit.
    """
    whole = attribute.type == "integer" and error is InvalidValueException
    allowed = int if whole else (int, float)
    number: int | float = value
    if isinstance(value, str) and len(value) <= 300 and NUMBER.fullmatch(value):
        number = json.loads(value)
    if isinstance(number, bool) or not isinstance(number, allowed):
        raise wrong_type(attribute, value, error)
    if abs(number) > sys.float_info.max:
        raise error(
            detail=f"'{attribute.path}' must be a number that a double can hold, "
            f"not {shown(attribute, value)}."
        )
    if number is not value:
        where = f"{attribute.path}: {shown(attribute, value)!r}"
        gate.meet("number-as-string", where, error)
    return number


def read_datetime(attribute: Attribute, value: Any, gate: Gate) -> str:
    """Answer a dateTime as it was sent (RFC 7643 §2.3.5)."""
    if not isinstance(value, str) or instant(value) is None:
        raise wrong_type(attribute, value)
    return value


def read_binary(attribute: Attribute, value: Any, gate: Gate) -> str:
    """Answer base64, with the padding that it needs (RFC 7643 §2.3.6)."""
    if not isinstance(value, str) or not BASE64.fullmatch(value):
        raise wrong_type(attribute, value)
    bare = value.rstrip("=")
    if len(bare) % 4 == 1:
        raise wrong_type(attribute, value)
    check_form(attribute, padded := bare + "=" * (-len(bare) % 4), gate)
    return padded


BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
SIMPLE_TYPES: dict[str, Callable[[Attribute, Any, Gate], Any]] = {
    "string": read_string,
    "reference": read_string,
    "boolean": read_boolean,
    "decimal": read_number,
    "integer": read_number,
    "dateTime": read_datetime,
    "binary": read_binary,
}
SPELT = {
    "complex": "an object",
    "boolean": "true or false",
    "decimal": "a number",
    "integer": "a whole number",
    "dateTime": "a dateTime such as 2011-05-13T04:42:34Z",
    "binary": "a string in base64",
    "reference": "a string (a URI)",
    "string": "a string",
}


def wrong_type(
    attribute: Attribute,
    value: Any,
    error: type[SCIMException] = InvalidValueException,
) -> SCIMException:
    """Build the error of a value that is not of the attribute's type."""
    quoted = shown(attribute, value)
    quoted = f'"{quoted}"' if isinstance(value, str) else quoted
    return error(
        detail=f"'{attribute.path}' must be {SPELT[attribute.type]}, not {quoted}."
    )


def shown(attribute: Attribute, value: Any) -> str:
    """Answer a value as errors and reports quote it: never a secret."""
    return "…" if "never" in attribute.marks else clip(value)


class Memo(dict[str, Any]):
    """Caches what a function returns for texts, which the terms of a filter repeat.

    A text counts as its characters and 100 more, and all together as no more than
    MAX_BODY / 2: all that one body can hold where it is not ASCII. So the values of one
    resource are converted once, however many terms or operations look at them, and
    clients can fill a cache with 50 MB, never more.
    """

    def __init__(self, function: Callable[[str], Any]) -> None:
        super().__init__()
        self.function = function
        self.size = 0

    def __missing__(self, text: str) -> Any:
        answer = self.function(text)
        self.size += len(text) + 100
        if self.size > MAX_BODY // 2:
            self.clear()
            self.size = len(text) + 100
        self[text] = answer
        return answer


DATETIME = re.compile(
    r"(\d{4}-\d\d-\d\dT)(\d\d:\d\d:\d\d(?:\.\d+)?)"
    r"(Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))?",
    re.A,
)
MIDNIGHT = re.compile(r"24:00:00(\.0+)?", re.A)  # the end of a day
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def instant(text: str) -> int | None:
    """Return a dateTime as microseconds since 1970, or None for any other text.

    It is an xsd:dateTime (RFC 7643 §2.3.5): 24:00:00 is the first moment of the next
    day, and zones end at 14:00. Choice: without a zone it is UTC.

    >>> instant("2011-05-13T04:42:34Z") == instant("2011-05-13T06:42:34.000+02:00")
    True
    """
    match = DATETIME.fullmatch(text)
    if not match:
        return None
    day, time, zone = match.groups("Z")
    late = MIDNIGHT.fullmatch(time) is not None
    try:
        moment = datetime.fromisoformat(day + ("00:00:00" if late else time) + zone)
    except ValueError:
        return None
    return (moment - EPOCH + timedelta(days=late)) // MICROSECOND


instants = Memo(instant)


WIDTHS = {
    code: chr(int(parts[1], 16))
    for code in (0x3000, *range(0xFF01, 0xFFEF))
    if (parts := unicodedata.decomposition(chr(code)).split())
}
"""The full-width and half-width characters, and what each is a form of."""


def fold(text: str) -> str:
    """Return a string as it is compared where case does not matter.

    Width, case and normalization are mapped as in PRECIS (RFC 7644 §5, §7.8; RFC 7613
    §3.2.2). Departure: the rest of PRECIS is left out. It forbids characters (spaces in
    a userName, symbols, unassigned ones) and mixed directions, and maps other spaces to
    U+0020 in a password.
    """
    if text.isascii():
        return text.lower()
    return normalize(normalize(text.translate(WIDTHS)).casefold())


def exact(text: str) -> str:
    """Return a string as it is compared where case matters: in NFC."""
    return text if text.isascii() else str(exacts[text])


def normalize(text: str) -> str:
    """Return a string in NFC.

    Choice: a text that is not stream-safe (UAX #15: it has more than 30 combining
    characters in a row) stays as it is, since to order them takes quadratic time.
    """
    if len(text) > 30 and not is_stream_safe(text):
        return text
    return unicodedata.normalize("NFC", text)


folds, exacts = Memo(fold), Memo(normalize)


def is_stream_safe(text: str) -> bool:
    """Return whether a text has at most 30 combining characters in a row."""
    runs = itertools.groupby(text, lambda each: unicodedata.category(each)[0] == "M")
    return not any(mark and len(list(run)) > 30 for mark, run in runs)


def comparable(attribute: Attribute, value: Any) -> Any:
    """Answer a stored or given value as something that <, == and hash agree on."""
    if isinstance(value, str):
        if attribute.type == "dateTime":
            return instants[value]
        return exact(value) if attribute.case_exact else folds[value]
    return value


def is_unassigned(value: Any) -> bool:
    """Tell whether a value is "unassigned": null, [] (RFC 7643 §2.5) or {} (Choice)."""
    return value is None or value == [] or value == {}


def assign(container: Resource, name: str, value: Any) -> Resource:
    """Answer a copy of this object with a value set, or dropped if unassigned."""
    if is_unassigned(value):
        return {key: item for key, item in container.items() if key != name}
    return {**container, name: value}


# ##### Part II. The languages #####


# === 5. Filters and paths, syntax (RFC 7644 §3.4.2.2): parse_filter, parse_path ===
#
#   FILTER    = attrExp / logExp / valuePath / *1"not" "(" FILTER ")"
#   valuePath = attrPath "[" valFilter "]"            ; FILTER uses sub-attributes
#   valFilter = attrExp / logExp / *1"not" "(" valFilter ")"
#   attrExp   = (attrPath SP "pr") / (attrPath SP compareOp SP compValue)
#   logExp    = FILTER SP ("and" / "or") SP FILTER    ; "and" binds tighter
#   compValue = false / null / true / number / string ; as in JSON
#   compareOp = "eq" / "ne" / "co" / "sw" / "ew" / "gt" / "lt" / "ge" / "le"
#   attrPath  = [URI ":"] ATTRNAME *1subAttr
#   subAttr   = "." ATTRNAME
#   ATTRNAME  = ALPHA *(nameChar)
#   nameChar  = "-" / "_" / DIGIT / ALPHA
#   PATH      = attrPath / valuePath [subAttr]
#
# "Attribute names and attribute operators used in filters are case insensitive."
# Erratum 7122 (Held): a PATH that is an attrExp is rejected. Erratum 7319 (Reported):
# `not(` and `not (` both parse. "$ref" is an ATTRNAME although the ABNF excludes it,
# because RFC 7643 §2.4 defines it. Choice: several spaces are accepted for one SP.
# A URN can end in text that looks like an attribute name, so names stay as written
# until `resolve` splits them.


Name = TypeVar("Name")
"""The name of an attribute: a `str` in a parsed filter, a `Chain` in a bound one."""


@dataclass(frozen=True, slots=True)
class AttrExp(Generic[Name]):
    """``attrExp``: a comparison. The value of `pr` is None."""

    path: Name
    op: str
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class LogExp(Generic[Name]):
    """``logExp``: `and` or `or` over two or more terms."""

    op: str
    terms: tuple[Filter[Name], ...]


@dataclass(frozen=True, slots=True)
class NotExp(Generic[Name]):
    """``"not" "(" FILTER ")"``."""

    term: Filter[Name]


@dataclass(frozen=True, slots=True)
class ValuePath(Generic[Name]):
    """``valuePath``, with the sub-attribute that can follow it in a PATH."""

    path: Name
    filter: Filter[Name]
    sub: Name | None = None


Filter = AttrExp[Name] | LogExp[Name] | NotExp[Name] | ValuePath[Name]


def parse_filter(text: str, gate: Gate | None = None) -> Filter[str]:
    """Parse FILTER (RFC 7644 §3.4.2.2).

    Raises InvalidFilterException with the column and the expected syntax.

    >>> parse_filter('title pr').op
    'pr'
    """
    parser = Parser(text, gate or Gate(), InvalidFilterException)
    parser.blanks(BLANKS)
    found = parser.disjunction()
    parser.end("'and', 'or' or the end of the filter")
    return found


def parse_path(text: str, gate: Gate | None = None) -> str | ValuePath[str]:
    """Parse PATH (RFC 7644 §3.5.2).

    Raises InvalidPathException, or InvalidFilterException within brackets (Table 9).

    >>> path = parse_path('emails[type eq "work"].value')
    >>> path.path, path.filter, path.sub
    ('emails', AttrExp(path='type', op='eq', value='work'), 'value')
    """
    return Parser(text, gate or Gate(), InvalidPathException).whole_path()


NAME = r"\$?[A-Za-z][A-Za-z0-9_$-]*"
PATH = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9.:_~%+,;=@!*'&/?#$-]*(?<![:.])"
    rf"|{NAME}(?:\.{NAME})?",
    re.A,
)
SUB = re.compile(rf"\.({NAME})(?![A-Za-z0-9_$.:-])", re.A)
BLANKS = re.compile(" +")
BLANKS_BEFORE_FILTER = re.compile(r" +(?=\[)")
BLANKS_AT_END = re.compile(r" +(?=[)\]]|$)")
WORD_END = r"(?![A-Za-z0-9_$.:-])"
NOT = re.compile(r"not *\(", re.I)
AND_OR = {
    word: re.compile(rf" +{word}{WORD_END}", re.I | re.A) for word in ("and", "or")
}
COMPARE = re.compile(rf"(eq|ne|co|sw|ew|gt|lt|ge|le|pr){WORD_END}", re.I | re.A)
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"')
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?=[ )\]]|$)")
BARE = re.compile(
    r"'([^'\x00-\x1f]*)'(?=[ )\]]|$)|[^ )\]\"\[('\x00-\x1f][^ )\]\"\[(\x00-\x1f]*"
)
WORD = re.compile(r"[A-Za-z]+(?= +[\"'0-9])", re.A)  # an unknown operator
VALUE = "a value: a string in double quotes, a number, true, false or null"
LITERALS = {"true": True, "false": False, "null": None}


class Parser:
    """A recursive-descent parser with a method for each rule of the ABNF."""

    def __init__(self, text: str, gate: Gate, error: type[SCIMException]) -> None:
        self.text = text
        self.gate = gate
        self.error = error
        self.at = 0
        self.before = ""  # the text up to `seen`, with values hidden, for errors
        self.seen = 0
        self.depth = 0
        if len(text) > MAX_FILTER_LENGTH:
            raise error(
                detail=f"A filter or path of {len(text)} characters is too long: "
                f"send at most {MAX_FILTER_LENGTH}."
            )

    def fail(self, expected: str, found: str = "") -> NoReturn:
        """Raise the error for this column, without values: they can be secret."""
        found = found or clip(self.text[self.at : self.at + 1]) or "the end"
        before = self.before + self.text[self.seen : self.at]
        before = re.sub("=[^ ]*", "=…", before)  # a URN can contain a value after "="
        before = f", after '{clip(before[-59:])}'" if before else ""
        raise self.error(
            detail=f"At column {self.at + 1}{before}: "
            f"expected {expected}, found {found!r}."
        )

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Consume the pattern, if the text matches it here."""
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def close(self, text: str, expected: str) -> None:
        """Consume a closing bracket, or raise if the text has something else here."""
        self.blanks(BLANKS_AT_END)
        if not self.text.startswith(text, self.at):
            self.fail(expected)
        self.at += len(text)

    def space(self, otherwise: str = "") -> None:
        """``SP``. Client (RFC 7644 §3.5.2.2): no space before a value: `eq"x"`."""
        if not self.take(BLANKS):
            if not self.text.startswith(tuple(otherwise), self.at):
                self.fail("a space")
            example = f"no space at column {self.at + 1}"
            self.gate.meet("filter-spacing", example, self.error)

    def blanks(self, pattern: re.Pattern[str]) -> None:
        """Consume spaces where the ABNF allows none, which is a deviation."""
        column = self.at + 1
        if self.take(pattern):
            self.gate.meet("filter-spacing", f"spaces at column {column}", self.error)

    def end(self, expected: str) -> None:
        """Raise if text is left."""
        self.blanks(BLANKS_AT_END)
        if self.at < len(self.text):
            self.take(BLANKS)
            self.fail(expected)

    def deeper(self) -> None:
        """Count an open bracket or parenthesis, and limit how deep they nest."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            self.fail(f"no more than {MAX_NESTING} nested parentheses and brackets")
        self.blanks(BLANKS)

    def disjunction(self, inside: bool = False) -> Filter[str]:
        """``FILTER SP "or" SP FILTER``."""
        return self.joined("or", lambda: self.conjunction(inside))

    def conjunction(self, inside: bool) -> Filter[str]:
        """``FILTER SP "and" SP FILTER``."""
        return self.joined("and", lambda: self.term(inside))

    def joined(self, op: str, rule: Callable[[], Filter[str]]) -> Filter[str]:
        """One or more terms, in a loop so that many terms do not make a deep tree."""
        terms = [rule()]
        while self.take(AND_OR[op]):
            self.space("(")
            terms.append(rule())
        return LogExp(op, tuple(terms)) if len(terms) > 1 else terms[0]

    def term(self, inside: bool) -> Filter[str]:
        """``*1"not" "(" FILTER ")" / valuePath / attrExp``."""
        negated = self.take(NOT)
        if negated or self.text.startswith("(", self.at):
            self.at += not negated
            self.deeper()
            found = self.disjunction(inside)
            self.close(")", "')', 'and' or 'or'")
            self.depth -= 1
            return NotExp(found) if negated else found
        path = self.path()
        if not inside:
            self.blanks(BLANKS_BEFORE_FILTER)
            if self.text.startswith("[", self.at):
                return self.value_path(path)
        return self.comparison(path)

    def path(self) -> str:
        """``attrPath``."""
        start = self.at
        match = self.take(PATH)
        if not match:
            self.fail("the name of an attribute")
        if len(match[0]) > MAX_NAME:
            self.at = start
            self.fail(f"a name of at most {MAX_NAME} characters")
        if self.text.startswith(".", self.at):
            if "." in match[0]:
                self.fail("at most one sub-attribute")
            self.at += 1
            self.fail("the name of a sub-attribute")
        return match[0]

    def brackets(self) -> Filter[str]:
        """``"[" valFilter "]"``."""
        outside, self.error = self.error, InvalidFilterException
        self.at += 1
        self.deeper()
        found = self.disjunction(inside=True)
        self.close("]", "']', 'and' or 'or'")
        self.depth -= 1
        self.error = outside
        return found

    def value_path(self, path: str) -> Filter[str]:
        """``valuePath``. Client (Entra): with a comparison after the brackets."""
        found = self.brackets()
        column = self.at + 1
        if not (sub := self.take(SUB)):
            return ValuePath(path, found)
        self.gate.meet(
            "path-compare", f"{clip_name(path)}[…].{sub[1]} at column {column}"
        )
        beside = self.comparison(sub[1])
        return ValuePath(path, LogExp("and", (found, beside)))

    def comparison(self, path: str) -> AttrExp[str]:
        """``attrPath SP "pr" / attrPath SP compareOp SP compValue``."""
        if self.depth and not self.text.startswith(" ", self.at):
            self.hide(self.at - len(path))  # can be a value, as in keys[a]
        if not self.take(BLANKS) or not (match := self.take(COMPARE)):
            word = WORD.match(self.text, self.at)
            expected = "an operator (eq, ne, co, sw, ew, gt, ge, lt, le, pr)"
            self.fail(expected, clip(word[0], 20) if word else "")
        op = match[1].lower()
        if op == "pr":
            return AttrExp(path, op, None)
        if self.at == len(self.text):
            self.fail(VALUE)
        self.space("\"'")
        start = self.at
        value = self.value(path, op)
        self.hide(start)
        return AttrExp(path, op, value)

    def hide(self, start: int) -> None:
        """Hide the text from `start` to here in errors, because it is a value."""
        mark = self.text[start] if self.text[start] in "\"'" else ""
        self.before = f"{self.before}{self.text[self.seen : start]}{mark}…{mark}"[-59:]
        self.seen = self.at

    def value(self, path: str, op: str) -> str | int | float | bool | None:
        """``compValue``, a JSON value (RFC 8259)."""
        start = self.at
        if match := self.take(NUMBER):
            return self.number(match[0], start)
        if match := self.take(STRING):
            text = str(json.loads(match[0]))
        elif match := self.take(BARE):
            if match[0] in LITERALS:
                return LITERALS[match[0]]
            if match[0].startswith("{"):
                self.at = start
                self.fail(VALUE)
            example = f"{clip_name(path)} {op} …, at column {start + 1}"
            self.gate.meet("unquoted-value", example, self.error)
            text = match[0] if match[1] is None else match[1]
        elif self.text.startswith('"', start):
            self.fail("a JSON string with its closing quote")
        else:
            self.fail(VALUE)
        if not text.isascii() and re.search("[\ud800-\udfff]", text):
            self.at = start
            self.fail("a string without lone surrogates")
        return text

    def number(self, text: str, start: int) -> int | float:
        """``number``, which a double must be able to hold."""
        try:
            number: int | float = json.loads(text)
            float(number)  # an integer can be too large for a double
        except (ValueError, OverflowError):  # ValueError: more digits than int() reads
            number = math.inf
        if number == math.inf or number == -math.inf:
            self.at = start
            self.fail("a number that a double can hold")
        return number

    def whole_path(self) -> str | ValuePath[str]:
        """``PATH = attrPath / valuePath [subAttr]``."""
        self.blanks(BLANKS)
        path = self.path()
        self.blanks(BLANKS_BEFORE_FILTER)
        if not self.text.startswith("[", self.at):
            self.end("'.', '[' or the end of the path")
            return path
        found = self.brackets()
        sub = self.take(SUB)
        self.end("a sub-attribute or the end of the path")
        return ValuePath(path, found, sub[1] if sub else None)


# === 6. Filters and sorting, meaning (RFC 7644 §3.4.2): compile_filter, sort_key ===
#
# `bind_filter` looks up each name of a filter in the schema and validates the values
# that the filter gives. A bound filter becomes a predicate, or a query of the store.
# Values are compared by the type of their attribute, and by these rules:
#
#   1. an unassigned attribute matches `ne` and `eq null`, and nothing else
#   2. a multi-valued attribute matches if any of its elements does (RFC 7644 §3.4.2.2)
#   3. a complex attribute is compared by its `value`
#   4. before brackets, a single-valued complex attribute is a list of one element
#   5. an attribute that no schema declares is unassigned, if it is not rejected
#
# Choice: rule 1, because RFC 7644 §3.4.2.2 defines only `pr` for unassigned attributes.
# Departure: rule 3, because clients send `emails co "x"` although "a fully qualified
# sub-attribute MUST be specified".

Scope = ResourceType | Attribute
"""Where names are looked up: a resource type, or the attribute before the brackets."""
Predicate = Callable[[Resource], bool]


def resolve(name: str, scope: Scope, gate: Gate, error: type[SCIMException]) -> Chain:
    """Return the attribute with this name, () if no schema has it (RFC 7644 §3.10).

    "Clients MAY omit core schema attribute URN prefixes but SHOULD fully qualify
    extended attributes": a client that does not deviates (`unqualified-attribute`).
    """
    chain, code = find_chain(name, scope)
    if code:
        gate.meet(code, f"'{clip_name(name, 160)}'", error)
    return chain


def find_chain(name: str, scope: Scope) -> tuple[Chain, str]:
    """Return the attribute with this name, and the code of the name's deviation or "".

    The name is compared with the URN of each schema, because a URN can contain dots.
    """
    if chain := find_below(name, scope.attributes):
        return chain, ""
    if not isinstance(scope, ResourceType):
        return (), ""
    for urn in (*scope.extensions, scope.schema.lower()) if ":" in name else ():
        extension = scope.extensions.get(urn)
        within, mark = extension or scope, name[len(urn) : len(urn) + 1]
        if name[: len(urn)].lower() != urn or mark not in (":", "."):
            continue
        if chain := find_below(name[len(urn) + 1 :], within.attributes):
            chain = (extension, *chain) if extension else chain
            return chain, "urn-dot" if mark == "." else ""
    if lower(name.partition(".")[0]) not in scope.attributes:
        for extension in scope.extensions.values():
            if chain := find_below(name, extension.attributes):
                return (extension, *chain), "unqualified-attribute"
    return (), ""


def find_below(name: str, attributes: Attributes) -> Chain:
    """Return the attribute or sub-attribute with this name, which has no URN."""
    if whole := attributes.get(lower(name)):
        return (whole,)
    first, _, second = name.partition(".")
    found = attributes.get(lower(first))
    sub = found and bracket_scope(found).attributes.get(lower(second))
    if not found or not sub:
        return ()
    return (found, sub) if found.is_complex else (found,)


def unknown_name(name: str, scope: Scope) -> str:
    """Return the detail for a name that no schema declares, with a similar name."""
    within = f"{scope.path}." if isinstance(scope, Attribute) else ""
    known = [chain[-1].path for chain in walk(scope.attributes)]
    short = [x.removeprefix(within).rpartition(":")[2] for x in known]
    if "[" in name:
        return f"'{clip_name(name, 160)}' has a filter in brackets: send only the name"
    urns = (scope.schema.lower(),) if isinstance(scope, ResourceType) else ()
    whole = name.lower() in urns  # no attribute is similar to a schema URN
    hint = "" if whole else nearest(name.rpartition(":")[2], short, 0.7)
    inside = f" within '{scope.path}[…]'" if isinstance(scope, Attribute) else ""
    return f"No schema declares '{clip_name(name, 160)}'{hint}{inside}"


def refuse_secret(chain: Chain) -> None:
    """Reject a comparison with a secret, because every result reveals a bit of it.

    Choice: RFC 7644 §7.5.2 keeps secrets out of URIs; this server rejects them in the
    body of a query too.

    Raises SensitiveException (403).
    """
    for attribute in chain:
        if attribute.is_secret:
            raise SensitiveException(
                detail=f"'{attribute.path}' is never returned: send a filter or sortBy "
                "without it (RFC 7643 §7; RFC 7644 §7.5.2)."
            )


Unknown = Callable[[str, Scope], None]
"""Handles a name in a filter that no schema declares: raises, or returns."""


def bind_filter(
    tree: Filter[str], scope: Scope, gate: Gate, unknown: Unknown
) -> Filter[Chain]:
    """Resolve the names in a filter, and validate the values that it gives.

    Raises InvalidFilterException (wrong type), SensitiveException, and what `unknown`
    raises.
    """
    match tree:
        case LogExp(op, terms):
            bound = (bind_filter(term, scope, gate, unknown) for term in terms)
            return LogExp(op, tuple(bound))
        case NotExp(term):
            return NotExp(bind_filter(term, scope, gate, unknown))
        case AttrExp(name) | ValuePath(name):
            chain = resolve(name, scope, gate, InvalidFilterException)
    if not chain:
        unknown(name, scope)
    refuse_secret(chain)
    if isinstance(tree, AttrExp):
        return bind_comparison(chain, tree.op, tree.value, scope, gate)
    if not chain:
        return AttrExp((), "pr", None)  # unassigned, so no element matches
    below = bracket_scope(chain[-1])
    return ValuePath(chain, bind_filter(tree.filter, below, gate, unknown))


def bind_comparison(
    chain: Chain, op: str, literal: Any, scope: Scope, gate: Gate
) -> AttrExp[Chain]:
    """Return the bound comparison, with a valid value of its attribute's type."""
    if not chain or op == "pr" or (op in ("eq", "ne") and literal is None):
        return AttrExp(chain, op, literal)
    if chain[-1].is_complex and "value" in chain[-1].attributes:
        chain = (*chain, chain[-1].attributes["value"])
        refuse_secret(chain)
    attribute = chain[-1]
    if attribute.name == "value" and isinstance(scope, Attribute) and scope.refers:
        literal = read_id(attribute, literal, gate)
    if attribute.links:
        literal = read_uri(attribute, literal, gate)
    return AttrExp(chain, op, read_literal(attribute, op, literal, gate))


def bind_path(
    path: str | ValuePath[str], type: ResourceType, gate: Gate
) -> tuple[Chain, ValuePath[Chain] | None]:
    """Return the target of a PATCH path, and the value path that selects its elements.

    Raises InvalidPathException, InvalidFilterException (within brackets), and
    LookupError (a name that no schema declares).
    """
    name = path if isinstance(path, str) else path.path
    chain = resolve(name, type, gate, InvalidPathException)
    if not chain:
        raise_unknown(name, type)
    if isinstance(path, str):
        return chain, None
    scope = bracket_scope(chain[-1])
    inner = bind_filter(path.filter, scope, gate, raise_unknown)
    below = resolve(path.sub, scope, gate, InvalidPathException) if path.sub else ()
    if path.sub and not below:
        raise_unknown(path.sub, scope)
    below = below if chain[-1].is_complex else ()  # a simple element is its own `value`
    return (*chain, *below), ValuePath(chain, inner, below)


def raise_unknown(name: str, scope: Scope) -> NoReturn:
    """Raise LookupError for a name that no schema declares."""
    raise LookupError(unknown_name(name, scope))


def is_computed(tree: Filter[Chain]) -> bool:
    """Return whether a filter uses computed attributes, which are not stored."""
    match tree:
        case LogExp(_, terms):
            return any(map(is_computed, terms))
        case NotExp(term):
            return is_computed(term)
        case ValuePath(chain, inner) if is_computed(inner):
            return True
        case AttrExp(chain) | ValuePath(chain):
            return any(attribute.computed for attribute in chain)


def compile_filter(tree: Filter[Chain]) -> Predicate:
    """Return the predicate of a bound filter.

    >>> path = parse_path('emails[type eq "work"].value')
    >>> user = create_app().provider.types["User"]
    >>> chain, selected = bind_path(path, user, Gate())
    >>> matches = compile_filter(selected)
    >>> matches({"emails": [{"type": "home"}]}), matches({"emails": [{"type": "Work"}]})
    (False, True)
    """
    match tree:
        case LogExp("and", terms):  # a and b and c
            return all_of([compile_filter(term) for term in terms])
        case LogExp("or", terms) if found := equal_to_any(terms):  # a eq 1 or a eq 2
            return among(*found)
        case LogExp(_, terms):  # a or b or c
            return any_of([compile_filter(term) for term in terms])
        case NotExp(term):  # not (a)
            positive = compile_filter(term)
            return lambda resource: not positive(resource)
        case ValuePath(chain, inner):  # emails[a]
            return compile_value_path(chain, compile_filter(inner))
        case AttrExp(chain, op, value):  # userName eq "bjensen"
            return compile_comparison(chain, op, value)


def count_terms(tree: Filter[Chain]) -> int:
    """Return how many comparisons a filter makes on each resource or element."""
    match tree:
        case LogExp(op, terms) if op == "and" or not equal_to_any(terms):
            return sum(map(count_terms, terms))
        case NotExp(term) | ValuePath(_, term):
            return count_terms(term)
    return 1


def compile_value_path(chain: Chain, test: Predicate) -> Predicate:
    """Return the predicate of a value path: one element matches the whole filter."""
    *above, name = (attribute.name for attribute in chain)

    def matches(resource: Resource) -> bool:
        for each in above:  # an extension
            resource = resource.get(each, {})
        return any(map(test, resource.get(name, ())))

    if chain[-1].is_complex and chain[-1].multi_valued:
        return matches
    return lambda resource: any(map(test, elements_at(resource, chain)))


def compile_comparison(chain: Chain, op: str, literal: Any) -> Predicate:
    """Return the predicate of one comparison, by the rules above."""
    unassigned = op == "ne" or (op == "eq" and literal is None)
    if not chain:
        absent = unassigned and not (op == "ne" and literal is None)
        return lambda resource: absent
    if literal is None:
        return presence(chain, op != "eq")
    literal, last = comparable(chain[-1], literal), chain[-1]
    if (last.name, last.type, last.multi_valued) == ("primary", "boolean", False):
        return compare_primary(chain, COMPARISONS[op], literal, unassigned)
    return matcher(chain, op, literal, unassigned)


def converter(attribute: Attribute) -> Callable[[Any], Any]:
    """Return the function that converts stored values to the form to compare."""
    if attribute.type == "dateTime":
        return instants.__getitem__
    if attribute.type in TEXTUAL:
        return exact if attribute.case_exact else folds.__getitem__
    return lambda value: value


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {  # RFC 7644 Table 3
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "co": operator.contains,
    "sw": str.startswith,
    "ew": str.endswith,
}
ORDERED = ("string", "reference", "dateTime", "integer", "decimal")
TEXTUAL = ("string", "reference", "binary")


def read_literal(attribute: Attribute, op: str, literal: Any, gate: Gate) -> Any:
    """Return the value to compare with, converted to the type of the attribute.

    "Boolean and Binary attributes SHALL cause a failed response (HTTP status code 400)
    with "scimType" of "invalidFilter"" for gt, ge, lt and le (RFC 7644 Table 3).
    Choice: so do co, sw and ew on every type but text, where Table 3 is silent.
    """
    if attribute.is_complex:
        raise InvalidFilterException(
            detail=f"'{attribute.path}' is complex and has no 'value' to compare: "
            "send the name of one of its sub-attributes."
        )
    if (op in ("gt", "ge", "lt", "le") and attribute.type not in ORDERED) or (
        op in ("co", "sw", "ew") and attribute.type not in TEXTUAL
    ):
        raise InvalidFilterException(
            detail=f"'{op}' cannot compare '{attribute.path}', which is of type "
            f"{attribute.type}: send 'eq', 'ne' or 'pr' (RFC 7644 §3.4.2.2, Table 3)."
        )
    if attribute.type == "boolean":
        return read_boolean(attribute, literal, gate, InvalidFilterException)
    if attribute.type in ("integer", "decimal"):
        return read_number(attribute, literal, gate, InvalidFilterException)
    if not isinstance(literal, str) or comparable(attribute, literal) is None:
        raise wrong_type(attribute, literal, InvalidFilterException)
    if op in ("eq", "ne"):
        if attribute.type == "binary":
            return literal + "=" * (-len(literal.rstrip("=")) % 4 - literal.count("="))
        if attribute.type == "reference" and attribute.computed:
            return absolute(literal, gate.base)
    return literal


NO_PLACE = re.compile(r"[a-z][a-z0-9+.-]*:(?!//[^/?#])|//(?![^/?#])|.*[\0-\x20]", re.I)
"""A URI with a scheme or `//` but no host, or invalid characters (RFC 3986)."""


def absolute(uri: str, base: str) -> str:
    """Return the URI of a resource here in its canonical form, other URIs unchanged.

    The URI is resolved against `base` and normalized (RFC 3986 §5.2, §6.2.2, §6.2.3).
    "URIs for SCIM resources with an API version SHALL be considered
    comparable to URIs without a version or with a different version" (RFC 7643 §2.4).

    >>> absolute("HTTP://A.example:80/Users/1", "http://a.example/v2")
    'http://a.example/v2/Users/1'
    >>> absolute("//evil.example/v2/Users/1", "http://a.example/v2")
    '//evil.example/v2/Users/1'
    """
    if NO_PLACE.match(uri):
        return uri
    try:
        whole, known = urlsplit(urljoin(f"{base}/", uri)), urlsplit(base)
    except ValueError:
        return uri
    above = re.sub(r"/v[0-9]+$", "", known.path)
    rest = re.sub(r"^/v[0-9]+(?=/)", "", whole.path.removeprefix(above))
    if (
        (whole.scheme, host_of(whole)) != (known.scheme, host_of(known))
        or (whole.query or whole.fragment or not whole.path.startswith(f"{above}/"))
        or rest.count("/") != 2
    ):
        return uri
    endpoint, _, id = rest.rpartition("/")
    return f"{base}{endpoint}/{quote(unquote(id), safe='')}"


def host_of(uri: SplitResult) -> str:
    """Return host and port, without the default port of the scheme."""
    usual = ":443" if uri.scheme == "https" else ":80"
    return uri.netloc.lower().removesuffix(usual).removesuffix(":")


def id_in(uri: str, base: str, endpoint: str = "") -> str | None:
    """Return the id in the URI of a resource here; "" means any endpoint."""
    above, _, id = absolute(uri, base).rpartition("/")
    ours = above == base + endpoint if endpoint else above.rpartition("/")[0] == base
    return unquote(id) if ours and id and id == quote(unquote(id), safe="") else None


def all_of(tests: list[Predicate]) -> Predicate:
    """Return the predicate of ``and``, with a fast path for two terms."""
    if len(tests) == 2:
        first, second = tests
        return lambda resource: first(resource) and second(resource)

    def test(resource: Resource) -> bool:
        for each in tests:
            if not each(resource):
                break
        else:
            return True
        return False

    return test


def any_of(tests: list[Predicate]) -> Predicate:
    """Return the predicate of ``or``."""
    return lambda resource: any(each(resource) for each in tests)


def equal_to_any(terms: Iterable[Filter[Chain]]) -> tuple[Chain, list[Any]] | None:
    """Return the attribute and the values, if all terms are `eq` on one attribute."""
    values: dict[Chain, list[Any]] = {}
    for term in terms:
        if not isinstance(term, AttrExp) or term.op != "eq" or term.value is None:
            return None
        values.setdefault(term.path, []).append(term.value)
    ((chain, literals), *others) = values.items()
    return (chain, literals) if chain and not others else None


def among(chain: Chain, literals: Iterable[Any]) -> Predicate:
    """Return the predicate of ``a eq 1 or a eq 2 or ...``: one lookup for all terms."""
    if chain[-1].name == "primary":  # unassigned means false
        return any_of([compile_comparison(chain, "eq", each) for each in literals])
    convert = converter(chain[-1])
    wanted = {comparable(chain[-1], each) for each in literals}
    return lambda resource: any(
        convert(value) in wanted for value in values_at(resource, chain)
    )


def presence(chain: Chain, wanted: bool) -> Predicate:
    """Return the predicate of ``pr``, negated if `wanted` is False.

    "if the attribute has a non-empty or non-null value ... a match".
    """

    def test(resource: Resource) -> bool:
        return any(map(is_present, values_at(resource, chain))) is wanted

    return test


def is_present(value: Any) -> bool:
    """Return whether a value, or any part of a complex one, is not empty (Table 3)."""
    if isinstance(value, (dict, list)):
        return any(
            map(is_present, value.values() if isinstance(value, dict) else value)
        )
    return bool(value != "")


def compare_primary(
    chain: Chain, compare: Callable[[Any, Any], Any], literal: Any, unassigned: bool
) -> Predicate:
    """Return the predicate of a comparison with `primary`.

    "If not specified, the value of "primary" SHALL be assumed to be "false"" (RFC 7643
    §2.4).
    """
    *above, attribute = chain

    def test(resource: Resource) -> bool:
        elements = values_at(resource, tuple(above)) if above else [resource]
        if not elements:
            return unassigned
        return any(
            compare(each.get(attribute.name, False), literal) for each in elements
        )

    return test


def matcher(chain: Chain, op: str, literal: Any, unassigned: bool) -> Predicate:
    """Return the predicate that compares any value, or is `unassigned` without one."""
    compare, convert = COMPARISONS[op], converter(chain[-1])
    *above, name = (attribute.name for attribute in chain)

    def matches(resource: Resource) -> bool:
        value = resource.get(name)
        return unassigned if value is None else compare(convert(value), literal)

    def matches_below(resource: Resource) -> bool:
        for each in above:
            resource = resource.get(each, {})
        return matches(resource)

    def matches_any(resource: Resource) -> bool:
        for value in (values := values_at(resource, chain)):
            if compare(convert(value), literal):
                return True
        return unassigned and not values

    if any(attribute.multi_valued for attribute in chain):
        return matches_any
    return matches_below if above else matches


def elements_at(resource: Resource, chain: Chain) -> list[Resource]:
    """Return the elements for a filter in brackets, with simple ones as objects."""
    found = values_at(resource, chain)
    return found if chain[-1].is_complex else [{"value": each} for each in found]


def values_at(resource: Resource, chain: Chain) -> list[Any]:
    """Return the values of an attribute, with each element of a multi-valued one."""
    first = resource.get(chain[0].name)
    if first is None:
        return []
    values: list[Any] = first if chain[0].multi_valued else [first]
    for attribute in chain[1:]:
        name = attribute.name
        found = [value for each in values if (value := each.get(name)) is not None]
        values = (
            [x for each in found for x in each] if attribute.multi_valued else found
        )
    return values


def bracket_scope(attribute: Attribute) -> Attribute:
    """Return the scope of the names between brackets.

    The elements of a simple multi-valued attribute have a `value` there (RFC 7644
    §3.5.2.2 speaks of a filter "comparing a "value"").
    """
    if attribute.is_complex:
        return attribute
    element = replace(attribute, multi_valued=False, name="value")
    names = Attributes(value=element) if attribute.multi_valued else Attributes()
    return replace(attribute, attributes=names)


SortKey = tuple[bool, bool, Any]
"""Whether the value is unassigned, whether it is a string, and the value to compare."""
UNASSIGNED: SortKey = (True, False, 0)


SORTED_LENGTH = 1000  # characters. Choice: sort by these alone; a cursor contains them


def sort_key(chain: Chain) -> Callable[[Resource], SortKey]:
    """Return the key function that sorts by an attribute (RFC 7644 §3.4.2.3).

    A multi-valued attribute is sorted by its primary value, "or else the first value in
    the list, if any". Resources without a value are "ordered last if ascending and
    first if descending". Choice: by code point, where the RFC has "Unicode alphabetic".
    """
    convert = converter(chain[-1])

    def key(resource: Resource) -> SortKey:
        value: Any = resource
        for attribute in chain:
            value = value.get(attribute.name)
            if value is None:
                return UNASSIGNED
            if attribute.multi_valued:
                value = preferred(attribute, value)
        value = convert(value)
        is_text = value.__class__ is str
        return (False, is_text, value[:SORTED_LENGTH] if is_text else value)

    return key


def preferred(attribute: Attribute, elements: list[Any]) -> Any:
    """Return the primary element, or else the first."""
    if attribute.is_complex:
        for element in elements:
            if element.get("primary") is True:
                return element
    return elements[0]


def parse_sort(
    text: str, types: Sequence[ResourceType], gate: Gate
) -> list[Chain | None]:
    """Return the attribute to sort by in each of these types, None if it has none.

    Raises InvalidValueException (unknown, or complex without a `value`).
    """
    try:
        path = parse_path(text, gate)
    except (InvalidPathException, InvalidFilterException) as error:
        raise InvalidValueException(detail=f"sortBy: {error.detail}") from None
    if isinstance(path, ValuePath):
        raise InvalidValueException(
            detail="sortBy has a filter in brackets: send only the name."
        )
    chains = [resolve(path, each, gate, InvalidValueException) for each in types]
    if not any(chains):
        detail = unknown_name(path, types[0])
        raise InvalidValueException(detail=f"sortBy: {detail}.")
    result: list[Chain | None] = []
    for chain in chains:
        if chain and chain[-1].is_complex and "value" in chain[-1].attributes:
            chain = (*chain, chain[-1].attributes["value"])
        if chain:
            refuse_secret(chain)
            if chain[-1].is_complex:
                raise InvalidValueException(
                    detail=f"sortBy: '{chain[-1].path}' is complex and has no 'value': "
                    "send the name of one of its sub-attributes."
                )
        result.append(chain or None)
    return result


# === 7. Resources in a request (RFC 7643 §3): read_resource, check_models ===


def read_resource(
    type: ResourceType, payload: Mapping[str, Any], gate: Gate
) -> Resource:
    """Return the attributes of a payload in their stored form, including secrets.

    "readOnly ... SHALL be ignored" (RFC 7644 §3.3, §3.5.1).

    Raises InvalidValueException, InvalidSyntaxException, or what the gate refuses.
    """
    items, sent, urn = dict(payload), None, type.schema.lower()
    known = type.attributes.exact
    others = [name for name in payload if name not in known or name == "schemas"]
    names = [name for name in others if lower(name) in ("schemas", urn)]
    for name in names:
        value = items.pop(name)
        if lower(name) == urn:
            gate.meet("unknown-attribute", f"'{clip_name(name, 200)}'")
        else:
            sent = value
    names = [name for name in names if lower(name) != urn]
    if len(names) > 1:
        gate.meet("duplicate-json-key", " and ".join(names))
    resource = read_object(type.attributes, items, "", gate)
    extended = [each.name for each in type.extensions.values() if each.name in resource]
    check_schemas(type, sent, extended, gate)
    return resource


def check_schemas(
    type: ResourceType, sent: Any, extended: Sequence[str], gate: Gate
) -> None:
    """Check the `schemas` of a payload; what is stored follows from its attributes."""
    urns = read_urns(sent, gate)
    if type.schema.lower() not in urns:
        gate.meet("missing-schemas", f"schemas without {type.schema}")
    for urn, spelt in urns.items():
        if urn != type.schema.lower() and urn not in type.extensions:
            gate.meet("unknown-schema", f"schemas: '{clip_name(spelt, 200)}'")
    for urn in extended if urns else ():
        if urn.lower() not in urns:
            gate.meet("undeclared-extension", f"schemas without {urn}")


def read_urns(sent: Any, gate: Gate) -> dict[str, str]:
    """Return the URNs of a `schemas` attribute by their lower-case form."""
    if sent is None:
        return {}
    if not isinstance(sent, list) or not all(isinstance(each, str) for each in sent):
        raise InvalidSyntaxException(detail="'schemas' must be an array of URNs.")
    urns = {lower(urn): urn for urn in sent}
    if len(urns) < len(sent):
        gate.meet("value-format", "schemas: one URN twice")
    return urns


def check_required(type: ResourceType, resource: Resource) -> None:
    """Check that required attributes have a value; a blank userName is not one.

    Raises InvalidValueException (RFC 7643 §2.2 "required").
    """
    check_required_within(type.marked["required"], resource)


def check_required_within(
    attributes: Iterable[Attribute], value: Resource, stored: bool = False
) -> None:
    """Check an object and the objects in it; a `stored` one may lack secrets."""
    for attribute in attributes:
        item = value.get(attribute.name)
        if attribute.required:
            empty = isinstance(item, str) and not item.strip()
            kept = not (stored and attribute.is_secret and item is None)
            if kept and (empty or is_unassigned(item)):
                raise InvalidValueException(
                    detail=f"'{attribute.path}' is required{' and empty' * empty}."
                )
        if item and attribute.attributes and "required" in attribute.marks:
            for each in item if attribute.multi_valued else [item]:
                check_required_within(attribute.attributes.values(), each, stored)


def schemas_of(type: ResourceType, resource: Resource) -> list[str]:
    """Return the URNs of the schemas that a resource uses (RFC 7643 §3)."""
    extensions = type.extensions.values()
    return [type.schema, *(each.name for each in extensions if each.name in resource)]


def part_secrets(
    type: ResourceType, resource: Resource
) -> tuple[Resource, dict[str, Any]]:
    """Separate a resource from its secrets, which are by path (RFC 7643 §7)."""
    if not any(attribute.name in resource for attribute in type.marked["never"]):
        return resource, {}
    return split_secrets(type.attributes, resource)


def split_secrets(
    attributes: Mapping[str, Attribute], value: Resource
) -> tuple[Resource, dict[str, Any]]:
    """Separate an object, and the objects in it, from the secrets."""
    kept: Resource = {}
    secret: dict[str, Any] = {}
    for name, item in value.items():
        attribute = attributes[name.lower()]
        if attribute.is_secret:
            secret[attribute.path] = item
            continue
        if "never" in attribute.marks:
            parts = [
                split_secrets(attribute.attributes, each)
                for each in (item if attribute.multi_valued else [item])
            ]
            for _, found in parts:
                secret |= found
            objects = [part for part, _ in parts if part]
            item = next(iter(objects), None)
            if attribute.multi_valued:  # what differed in a secret alone is the same
                item = distinct(attribute, objects)
        if not is_unassigned(item):
            kept[name] = item
    return kept, secret


# --- Every value has the form that its schema gives it: so says scim2-models, of what
# is about to be stored. Each schema is one of its classes for this purpose. What is
# stored remains as the client spelt it: a class would spell dates and enumerations
# in its own way.
#
#   the schema is      its class is                    the class is shown
#   a JSON document    built at the first write        the new values
#   a class            that, with its validators       the whole resource, if it changes


def check_models(
    type: ResourceType, new: Resource, old: Resource | None = None
) -> None:
    """Validate what is about to be stored, in place of `old`, with scim2-models.

    Raises InvalidValueException.

    >>> user = create_app().provider.types["User"]
    >>> check_models(user, {"userName": "ann", "name": {"givenName": 5}})
    Traceback (most recent call last):
    ...
    scim2_models.exceptions.InvalidValueException: 'name.givenName' must be a string...
    """
    before = old or {}
    changed = changes(before, new)
    models = models_of(type) if changed else {}
    for name, model in models.items():
        value = new if name in type.classes else changed
        if not name:
            value = {key: x for key, x in value.items() if key not in models}
        elif name in type.classes:
            value = value.get(name) or {}
        else:
            value = changes(before.get(name) or {}, value.get(name) or {})
        if value:
            check_model(type, name, model, value)


def changes(old: Resource, new: Resource) -> Resource:
    """Return the values of an object that the old one lacks: of a list, its elements.

    An operation copies what it changes, and nothing else: what is the same object in
    memory has been validated before.
    """
    changed: Resource = {}
    for name, value in new.items():
        before = old.get(name)
        if value is before:
            continue
        if isinstance(value, list) and before:
            known = set(map(id, before))
            value = [each for each in value if id(each) not in known]
        changed[name] = value
    return changed


@lru_cache(maxsize=256)
def models_of(type: ResourceType) -> dict[str, Model]:
    """Return the classes of a resource and, by URN, of its extensions.

    A given class of a resource can have the class of an extension within it.
    """
    parts = getattr(type.classes.get(""), "__scim_extension_metadata__", ())
    within = {str(each.__schema__).lower() for each in parts}
    return {
        name: type.classes.get(name) or build_model(encode(document))
        for name, document in type.documents.items()
        if name.lower() not in within
    }


@lru_cache(maxsize=256)
def build_model(document: bytes) -> Model:
    """Build the class of a schema: it takes 10 ms, so once for all who serve it.

    The class needs the names and types alone. With those it can be built of any schema
    that is served: an `id` would have to be a URN, and more than one of the
    `referenceTypes` names in Python.
    """

    def reduce(attribute: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": attribute["name"],
            "type": attribute.get("type") or TYPES[0],
            "multiValued": attribute.get("multiValued") or False,
            "referenceTypes": (attribute.get("referenceTypes") or [])[:1],
            "subAttributes": [reduce(x) for x in attribute.get("subAttributes") or []],
        }

    schema = json.loads(document)
    common = {each["name"].lower() for each in COMMON}
    attributes = [
        reduce(each)
        for each in schema.get("attributes") or []
        if each["name"].lower() not in common
    ]
    reduced = {"name": schema["name"], "attributes": attributes}
    return scim2_models.Resource.from_schema(
        scim2_models.Schema.model_validate(reduced, scim_ctx=None)
    )


def check_model(type: ResourceType, name: str, model: Model, value: Resource) -> None:
    """Validate a resource, or its extension of this name, with a class.

    Where scim2-models refuses a value that RFC 7643 allows, or that was accepted as a
    deviation, the class is shown a stand-in.
    """
    try:
        model.model_validate(value, scim_ctx=None)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    else:
        return
    acceptable = json.loads(JSON.encode(value))
    for fault in faults:
        chain, keys = place_of(type, name, fault["loc"])
        stand_in = find_stand_in(model, chain, fault["input"])
        if stand_in is None:
            raise model_error(chain, fault, secrets_in(type, name, value))
        target = acceptable
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = stand_in
    check_model(type, name, model, acceptable)


def place_of(
    type: ResourceType, name: str, loc: Iterable[str | int]
) -> tuple[Chain, list[Any]]:
    """Return the attribute that a location of pydantic leads to, and the keys there."""
    chain: Chain = (type.attributes[name.lower()],) if name else ()
    keys: list[Any] = []
    for part in loc:
        attributes = chain[-1].attributes if chain else type.attributes
        if isinstance(part, int):
            keys.append(part)
        elif found := attributes.get(part.lower()):
            chain = (*chain, found)
            keys.append(found.name)
    return chain, keys


STAND_INS: dict[str, tuple[Any, str]] = {
    "dateTime": (datetime, "1970-01-01T00:00:00Z"),  # for 24:00:00
    "binary": (Base64Bytes, ""),  # for a value without padding
    "reference": (scim2_models.Reference[scim2_models.External], "urn:x"),
    "emails.value": (EmailStr, "ann@example.com"),  # for a name of a local network
}
"""By type or path: a type of scim2-models that refuses what was accepted before."""


@lru_cache(maxsize=len(STAND_INS))
def adapt(kind: Any) -> TypeAdapter[Any]:
    """Return what validates a single value by its type in Python."""
    return TypeAdapter(kind)


def find_stand_in(model: Model, chain: Chain, value: Any) -> str | None:
    """Return a stand-in for a value that is refused for its type; None for any other.

    The class `User` of scim2-models wants an `EmailStr` in `emails`: one that a builder
    wants elsewhere is meant so.
    """
    attribute = chain[-1] if chain else None
    key = attribute.type if attribute else ""
    if attribute and attribute.path == "emails.value":
        root = scim2_models.User.get_field_root_type("emails")
        key = attribute.path if model.get_field_root_type("emails") is root else key
    if key not in STAND_INS or not isinstance(value, str):
        return None
    kind, stand_in = STAND_INS[key]
    try:
        adapt(kind).validate_python(value)
    except ValidationError:
        return stand_in
    return None


MODEL_ERRORS = {
    "missing": "is required",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "too_short": "must have at least {min_length} values",
    "too_long": "must have at most {max_length} values",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}
"""The errors of pydantic that a schema does not know, by their type."""
MODEL_TYPES = {
    "bool": "boolean",
    "float": "decimal",
    "int": "integer",
    "datetime": "dateTime",
    "base64": "binary",
    "model": "complex",
    "string": "string",
}
"""The first words of its other errors, and the type of the attributes."""


def model_error(
    chain: Chain, fault: Mapping[str, Any], secrets: Iterable[str]
) -> SCIMException:
    """Return the error for a value that a class rejects, without any secret."""
    kind, context = fault["type"], fault.get("ctx") or {}
    if not chain:
        where = "The resource is not valid"
    elif kind in MODEL_ERRORS:
        detail = f"'{chain[-1].path}' {MODEL_ERRORS[kind].format(**context)}."
        return InvalidValueException(detail=detail)
    elif MODEL_TYPES.get(kind.partition("_")[0]) == chain[-1].type:
        return wrong_type(secret_among(chain), fault["input"])
    else:
        where = f"'{chain[-1].path}' cannot be "
        where += shown(secret_among(chain), fault["input"])
    said = str(context.get("error", fault["msg"]))  # what a validator has raised
    if any(x in said.lower() for x in secrets):
        return InvalidValueException(detail=f"{where}.")
    return InvalidValueException(detail=f"{where}: {clip(said, 400).rstrip('.')}.")


def secret_among(chain: Chain) -> Attribute:
    """Return the secret attribute that contains this one, or this one itself."""
    return next((each for each in chain if each.is_secret), chain[-1])


def secrets_in(type: ResourceType, name: str, value: Resource) -> list[str]:
    """Return the texts of what is never returned, as messages could quote them."""
    within = type.attributes[name.lower()].attributes if name else type.attributes
    found: list[Any] = [*split_secrets(within, value)[1].values()]
    for each in found:  # which grows
        if isinstance(each, (dict, list)):
            found += each.values() if isinstance(each, dict) else each
    texts = [str(each) for each in found if not isinstance(each, (dict, list))]
    return [x.lower() for text in texts for x in (text, repr(text)[1:-1]) if x]


# === 8. PATCH (RFC 7644 §3.5.2): apply_patch ===
#
# Each operation copies what it changes. The old resource stays as it was, so a request
# that fails has nothing to undo. What each operation does to its target:
#
#   target             add                     replace                 remove
#   single value       sets it                 sets it                 unassigns it
#   complex value      merges sub-attributes   merges sub-attributes   unassigns it
#   multiple values    appends new elements    replaces them all       unassigns them
#   selected elements  merges into each        merges into each        removes each
#   nothing selected   noTarget, or creates    noTarget, or creates    does nothing
#   no path            applies to each member  applies to each member  noTarget
#
# `Patch.change` follows the order of the RFC: target, mutability, selected elements,
# value. The last step is a function from the old value to the new one. A value is only
# removed by a remove, or by a value that unassigns it (null, [] or empty-clears). A
# value without writable sub-attributes changes nothing.

Change = Callable[[Attribute, Any], Any]
"""Returns the new value of an attribute, given the old one."""
Written = tuple[Chain, Any]
"""An attribute that an operation wrote, and the value; None if it was removed.

For a multi-valued attribute the value holds the elements that were sent, not all of
them. The values [] and {} removed nothing.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """The attribute that an operation changes, or the elements it selects."""

    chain: Chain
    filter: Filter[Chain] | None = None  # in brackets
    below: Chain = ()  # the sub-attribute after the brackets


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a PatchOp; `value` is UNSET if the client did not send it."""

    op: str
    path: str | None
    value: Any


UNSET = object()


def read_operations(payload: Mapping[str, Any], gate: Gate) -> list[Operation]:
    """Return the operations of a PatchOp (RFC 7644 §3.5.2).

    Raises InvalidSyntaxException for a body that is not a PatchOp, and
    PayloadTooLargeException for too many operations (Choice: 413, the status of RFC
    7644 §3.7.4 for a bulk job with too many).
    """
    message = read_message(payload, "PatchOp", ("Operations",), gate)
    sent = message.get("Operations")
    if not isinstance(sent, list) or not sent:
        raise InvalidSyntaxException(
            detail="'Operations' is missing, empty or not an array: send an array of "
            "one or more operations."
        )
    if len(sent) > MAX_OPERATIONS:
        raise PayloadTooLargeException(
            detail=f"The PATCH has {len(sent)} operations, and the limit is "
            f"{MAX_OPERATIONS}: send them in several requests."
        )
    return [read_operation(each, gate) for each in sent]


def read_operation(sent: Any, gate: Gate) -> Operation:
    """Return one operation, validated."""
    if not isinstance(sent, dict):
        raise InvalidSyntaxException(
            detail='An operation is not an object: send one with "op" and "value".'
        )
    names = ("op", "path", "value")
    members = read_members(sent, names, "an operation", gate)
    op = members.get("op")
    if "op" not in members:
        raise InvalidSyntaxException(
            detail='\'op\' is missing: send "add", "remove" or "replace".'
        )
    if not isinstance(op, str) or op.lower() not in OPERATIONS:
        raise InvalidSyntaxException(
            detail=f'\'op\' is {clip(op)!r}: send "add", "remove" or "replace".'
        )
    if op != op.lower():
        gate.meet("op-case", f"op: {op}")
    path = members.get("path")
    if path is not None and not isinstance(path, str):
        raise InvalidSyntaxException(
            detail=f"'path' is not a string: {clip(path)}. Send the path of an "
            'attribute, such as "name.givenName".'
        )
    value = members.get("value", UNSET)
    if op.lower() == "remove" and value is None:
        value = UNSET  # null equals an absent value (RFC 7643 §2.5)
    if op.lower() != "remove" and value is UNSET:
        raise InvalidValueException(
            detail=f"The {op.lower()} operation has no 'value': send the value to "
            f"{'add' if op.lower() == 'add' else 'set'}."
        )
    return Operation(op.lower(), path, value)


def read_members(
    sent: Mapping[str, Any], names: Sequence[str], what: str, gate: Gate
) -> dict[str, Any]:
    """Return the members of a message by their names in the RFC, ignoring case."""
    known = {name.lower(): name for name in names}
    members: dict[str, Any] = {}
    for key, value in sent.items():
        name = known.get(lower(key))
        if name is None:
            gate.meet("unknown-key", f"{what}: '{clip_name(key)}'")
            continue
        if name in members:
            gate.meet("duplicate-json-key", f"{what}: '{clip_name(key)}'")
        members[name] = value
    return members


def read_message(
    payload: Mapping[str, Any], name: str, names: Sequence[str], gate: Gate
) -> dict[str, Any]:
    """Return the members of a message, and check its `schemas` (RFC 7644 §3.1)."""
    members = read_members(payload, ("schemas", *names), name, gate)
    urns = read_urns(members.get("schemas"), gate)
    if (MESSAGES + name).lower() not in urns:
        gate.meet("missing-schemas", f"schemas without {MESSAGES}{name}")
    for urn, spelt in urns.items():
        if urn != (MESSAGES + name).lower():
            gate.meet("unknown-schema", f"schemas: '{clip_name(spelt, 200)}'")
    return members


class Patch:
    """The operations of one request on one resource."""

    def __init__(
        self,
        type: ResourceType,
        gate: Gate,
        complete: Callable[[Resource, Names], Resource],
    ) -> None:
        self.type = type
        self.gate = gate
        self.complete = complete
        self.written: list[Written] = []
        self.places: dict[Attribute, tuple[list[Any], dict[Any, int]]] = {}
        self.removes: list[Target] = []  # postponed, to be carried out as one
        self.looked_at = 0  # comparisons that value filters made

    def apply(self, resource: Resource, operation: Operation) -> Resource:
        """Apply one operation."""
        # Step 1, the target. "If omitted, the target location is assumed to be the
        # resource itself" (§3.5.2.1, §3.5.2.3); for a remove, "the operation fails with
        # ... "noTarget"" (§3.5.2.2).
        if operation.path is not None:
            path = parse_path(operation.path, self.gate)
            return self.apply_at(resource, path, operation)
        if operation.op == "remove":
            raise NoTargetException(
                detail="The remove operation has no 'path': send the path of what to "
                "remove (RFC 7644 §3.5.2.2)."
            )
        if not isinstance(operation.value, dict):
            raise InvalidValueException(
                detail=f"The {operation.op} operation has no 'path', and its 'value' "
                "is not an object: send a path, or an object of attributes and their "
                "values (RFC 7644 §3.5.2)."
            )
        return self.apply_members(resource, (), operation)

    def apply_members(
        self, resource: Resource, above: Chain, operation: Operation
    ) -> Resource:
        """Apply an operation to each attribute that its value names.

        The attributes belong to the resource, or to the extension `above`.
        """
        attributes = above[-1].attributes if above else self.type.attributes
        seen: set[str] = set()
        for name, value in operation.value.items():
            if lower(name) in seen:
                self.gate.meet("duplicate-json-key", f"value: '{clip_name(name)}'")
            seen.add(lower(name))
            # Choice: next to other attributes `schemas` describes them, removing none.
            describes = lower(name) == "schemas" and len(operation.value) > 1
            part = Operation("add" if describes else operation.op, name, value)
            if attribute := attributes.get(lower(name)):
                resource = self.carry_out(resource, Target((*above, attribute)), part)
            elif above:
                meet_unknown(name, value, above[-1].path, self.gate)
            else:
                resource = self.apply_unknown(resource, part)
        return resource

    def apply_unknown(self, resource: Resource, part: Operation) -> Resource:
        """Apply a key that is a path (Client (Entra)) or an extension's attribute.

        Any other key is an unknown-attribute.
        """
        name = str(part.path)
        if lower(name) == self.type.schema.lower() and isinstance(part.value, dict):
            self.gate.meet("path-as-key", f"value: '{clip_name(name, 200)}'")
            return self.apply_members(resource, (), part)
        lenient = Gate(frozenset(DEVIATIONS))  # resolves names with every tolerance
        try:
            path = parse_path(name, lenient)
        except (InvalidPathException, InvalidFilterException):
            meet_unknown(name, part.value, "value", self.gate)
            return resource
        unqualified = False
        try:
            chain, selected = bind_path(path, self.type, lenient)
            unqualified = not selected and chain[-1].name.lower() == lower(name)
        except LookupError as error:
            if isinstance(path, str):
                meet_unknown(name, part.value, "value", self.gate)
            else:
                self.gate.meet("unknown-attribute", f"value: {error}")
            return resource
        except (InvalidFilterException, InvalidValueException):
            pass  # an error in the filter: `apply` raises it again below
        if not unqualified:
            self.gate.meet("path-as-key", f"value: '{clip_name(name, 200)}'")
        return self.apply(resource, part)

    def apply_at(
        self, resource: Resource, path: str | ValuePath[str], operation: Operation
    ) -> Resource:
        """Apply an operation at a path, after resolving its names in the schema."""
        try:
            chain, selected = bind_path(path, self.type, self.gate)
        except LookupError as error:
            self.gate.meet("unknown-path", str(error))
            return resource
        if selected:
            chain, below = selected.path, selected.sub or ()
            target = Target(chain, selected.filter, below)
        else:
            target = Target(chain)
        return self.carry_out(resource, target, operation)

    def carry_out(
        self, resource: Resource, target: Target, operation: Operation
    ) -> Resource:
        """Apply an operation at a target, which may be `schemas`.

        `schemas` follows from the attributes (RFC 7643 §3). Choice: removing the URN of
        an extension removes the attributes of the extension.
        """
        is_schemas = target.chain[0].name == "schemas"
        if not is_schemas and self.postpone(target, operation):
            return resource
        resource = self.carry_out_removes(resource)
        if not is_schemas:
            return self.change(resource, target, operation)
        before = {**resource, "schemas": schemas_of(self.type, resource)}
        after = self.change(before, target, operation).get("schemas", ())
        asked = {lower(urn): urn for urn in after}
        if operation.op != "remove":  # check what was sent, before duplicates go
            sent = listed(operation.value)
            read_urns([urn for urn in sent if isinstance(urn, str)], self.gate)
        if self.type.schema.lower() not in asked:
            raise MutabilityException(
                detail=f"The operation would remove {self.type.schema} from 'schemas': "
                "keep it there (RFC 7643 §3)."
            )
        for urn, spelt in asked.items():
            if urn != self.type.schema.lower() and urn not in self.type.extensions:
                self.gate.meet("unknown-schema", f"schemas: '{clip_name(spelt, 200)}'")
        for urn, extension in self.type.extensions.items():
            if urn not in asked and extension.name in resource:
                gone = Operation("remove", extension.name, UNSET)
                resource = self.change(resource, Target((extension,)), gone)
        return resource

    def postpone(self, target: Target, operation: Operation) -> bool:
        """Return whether this remove was postponed, to be applied with the next ones.

        A row of removes such as members[value eq "2819c223"] becomes one remove of the
        elements that any of them selects, so each element is read once.
        """
        match target.filter:
            case AttrExp(_, "eq", value) if value is not None:
                before = self.removes[-1:] or [target]
                is_remove = operation.op == "remove" and operation.value is UNSET
                if is_remove and not target.below and before[0].chain == target.chain:
                    self.removes.append(target)
                    return True
        return False

    def carry_out_removes(self, resource: Resource) -> Resource:
        """Apply the removes that were postponed."""
        targets, self.removes = self.removes, []
        if not targets:
            return resource
        terms = tuple(each.filter for each in targets if each.filter)
        tree = LogExp("or", terms) if len(terms) > 1 else terms[0]
        one = Target(targets[0].chain, tree)
        return self.change(resource, one, Operation("remove", None, UNSET))

    def change(
        self, resource: Resource, target: Target, operation: Operation
    ) -> Resource:
        """Apply an operation at a target whose names are resolved."""
        op, sent = operation.op, operation.value
        *_, attribute = chain = (*target.chain, *target.below)
        # Step 2. "A client MUST NOT modify an attribute that has mutability "readOnly"
        # or "immutable"" (§3.5.2); `update` checks immutable values.
        fixed = next((each for each in chain if each.mutability == "readOnly"), None)
        if fixed:
            if (
                op == "remove"
                or target.filter
                or not self.is_shown(resource, chain, sent)
            ):
                raise read_only(fixed)
            return resource
        is_extension = attribute.name.lower() in self.type.extensions
        if is_extension and op != "remove" and isinstance(sent, dict):
            return self.apply_members(resource, chain, operation)
        # Step 3, the elements that a filter or the value of a remove selects.
        chosen = self.choose(resource, target, operation)
        if attribute.computed:
            if attribute.mutability == "immutable" and (chosen is None or any(chosen)):
                raise immutable(attribute)
            if attribute.mutability != "immutable":
                return resource
        # Step 4, the value.
        value = None if op == "remove" else self.read(target, sent)
        if op != "remove" and "readOnly" in attribute.marks:
            self.check_read_only(resource, target, sent)
        if chosen is not None and not any(chosen) and op != "remove":
            return self.create(resource, target, operation, value)
        # Step 5, the change at the end of the path.
        empties = sent == "" and value is None  # empty-clears: add removes too
        change = OPERATIONS["remove" if empties else op](self, value)
        if target.below and op == "remove" and sent is not UNSET:
            change, value = without(self.named(attribute, sent)), []
        if target.below:
            change = within(target.below, change)
        if chosen is not None:
            change = of_chosen(chosen, change)
        part = chosen is not None and not target.below
        if part and (op != "remove" or not chosen or not all(chosen)):
            value = [value] if value else []
        self.written.append((chain, value))
        return update(resource, target.chain, change)

    def is_shown(self, resource: Resource, chain: Chain, value: Any) -> bool:
        """Return whether the resource already has this value, or neither has one.

        For a complex value only the sub-attributes that it names are compared.
        """
        subs = chain[-1].attributes
        if isinstance(value, dict) and subs and not chain[-1].multi_valued:
            return all(
                lower(name) in subs
                and self.is_shown(resource, (*chain, subs[lower(name)]), item)
                for name, item in value.items()
            )
        shown = values_at(self.complete(resource, {chain[0].name: None}), chain)
        if is_unassigned(value):
            return not shown
        return shown == (value if isinstance(value, list) else [value])

    def check_read_only(self, resource: Resource, target: Target, sent: Any) -> None:
        """Reject a value that would change a readOnly sub-attribute.

        In a multi-valued attribute each value may equal that of any element.
        """
        chain = (*target.chain, *target.below)
        subs = chain[-1].attributes
        known: dict[Chain, set[bytes]] = {}
        items = [item for item in listed(sent) if isinstance(item, dict)]
        for name, value in (pair for item in items for pair in item.items()):
            sub = subs.get(lower(name))
            if not sub or sub.mutability != "readOnly" or sub.computed:
                continue
            place = (*chain, sub)
            if not chain[-1].multi_valued:
                same = self.is_shown(resource, place, value)
            else:
                if place not in known:
                    full = self.complete(resource, {chain[0].name: None})
                    known[place] = set(map(encode, values_at(full, place)))
                same = is_unassigned(value) or known[place].issuperset(
                    map(encode, listed(value))
                )
            if not same:
                raise read_only(sub)

    def read(self, target: Target, sent: Any) -> Any:
        """Return the value of an operation in its stored form; see `read_value`."""
        *above, attribute = (*target.chain, *target.below)
        if target.filter and not target.below:
            return read_single(attribute, sent, self.gate, patch=True)
        value = read_value(attribute, sent, self.gate, patch=True)
        if attribute.name == "value" and above and above[-1].refers:
            if value == "":
                self.gate.meet("empty-clears", f'{attribute.path}: ""')
                return None
            return read_id(attribute, value, self.gate)
        return value

    def choose(
        self, resource: Resource, target: Target, operation: Operation
    ) -> list[bool] | None:
        """Return for each element at the target whether it is selected.

        Without a value filter or the value of a remove, return None.

        "If the target location is a multi-valued attribute for which a value selection
        filter ("valuePath") has been supplied and no record match was made, the service
        provider SHALL indicate failure by returning ... "noTarget"" (RFC 7644
        §3.5.2.3). For a remove: "no changes should be made to the resource, and a
        success response should be returned" (§3.5.2.2).
        """
        has_value = operation.op == "remove" and operation.value is not UNSET
        if target.filter is None and not has_value:
            return None
        attribute = target.chain[-1]
        if target.filter is None:
            test = self.named(attribute, operation.value)
        elif has_value and not target.below:
            raise InvalidValueException(
                detail="The remove operation has both a value filter and a 'value': "
                "send the filter alone."
            )
        else:
            test = compile_filter(target.filter)
            if is_computed(ValuePath(target.chain, target.filter)):
                resource = self.complete(resource, {target.chain[0].name: None})
        elements = elements_at(resource, target.chain)
        terms = count_terms(target.filter) if target.filter else 1
        self.looked_at += len(elements) * terms
        if self.looked_at > MAX_ELEMENTS:
            raise PayloadTooLargeException(
                detail=f"The value filters of this PATCH read more than {MAX_ELEMENTS} "
                "elements, counted once for each comparison: send fewer operations in "
                "one request."
            )
        return [test(each) for each in elements]

    def named(self, attribute: Attribute, sent: Any) -> Predicate:
        """Return the predicate of the elements that the value of a remove names.

        An element is selected if all sub-attributes of one item match it
        (Client (Entra, JumpCloud, Salesforce)).
        """
        if not attribute.multi_valued:
            raise InvalidValueException(
                detail=f"The remove of '{attribute.path}', which has one value, has a "
                f"'value': {shown(attribute, sent)}. To remove it, send the path alone."
            )
        example = f"remove {attribute.path}, value: {shown(attribute, sent)}"
        self.gate.meet("remove-with-value", example)
        if isinstance(sent, dict) and [lower(x) for x in sent] == [
            attribute.name.lower()
        ]:
            (sent,) = sent.values()
        subs = bracket_scope(attribute).attributes
        wanted: dict[tuple[str, ...], set[Any]] = {}
        for item in listed(sent):
            given = self.read_item(attribute, item) if item is not None else {}
            key = tuple(value_key(subs[lower(name)], x) for name, x in given.items())
            wanted.setdefault(tuple(given), set()).add(key)
        wanted.pop((), None)  # an empty item selects nothing

        def test(element: Resource) -> bool:
            return any(
                all(name in element for name in names)
                and tuple(value_key(subs[lower(x)], element[x]) for x in names) in keys
                for names, keys in wanted.items()
            )

        return test

    def read_item(self, attribute: Attribute, item: Any) -> Resource:
        """Return the sub-attributes that one item of such a value gives, by name.

        They are sorted, without unassigned ones. A reference is reduced to its id,
        because its other sub-attributes, such as `$ref`, are computed.
        """
        subs = bracket_scope(attribute).attributes
        if not attribute.is_complex or (
            "value" in subs and not isinstance(item, (dict, list))
        ):
            item = {"value": item}
        if not isinstance(item, dict):
            raise wrong_type(attribute, item)
        given: Resource = {}
        for name, value in item.items():
            if not (sub := subs.get(lower(name))):
                raise InvalidValueException(
                    detail=f"No schema declares '{attribute.path}.{clip_name(name)}', "
                    "which the remove's 'value' names: send sub-attributes that "
                    f"/Schemas lists{nearest(name, (x.name for x in subs.values()))}."
                )
            if sub.name in given:
                self.gate.meet(
                    "duplicate-json-key", f"{sub.path} and {clip_name(name)}"
                )
            if not is_unassigned(read := read_value(sub, value, self.gate)):
                given[sub.name] = read
        if not attribute.refers:
            return {name: given[name] for name in sorted(given)}
        if "value" not in given and "$ref" in given:
            given = read_reference(attribute, given, given, self.gate)
            if id := id_in(given["$ref"], self.gate.base):
                given.setdefault("value", id)
            elif "value" not in given:
                return {"$ref": given["$ref"]}
        if "value" not in given:
            raise InvalidValueException(
                detail=f"An item in the remove of '{attribute.path}' has no 'value': "
                "send the id of the element to remove."
            )
        return {"value": read_id(attribute, given["value"], self.gate)}

    def create(
        self, resource: Resource, target: Target, operation: Operation, value: Any
    ) -> Resource:
        """Create the element that a filter describes (Client (Entra)).

        Raises NoTargetException (RFC 7644 §3.5.2.1, §3.5.2.3) if it describes none.
        """
        attribute = target.chain[-1]
        terms = equal_terms(target.filter) if target.filter else None
        where = f"{operation.op} {clip_name(str(operation.path))}[…]"
        if (
            terms is None
            or is_unassigned(value)
            or not (attribute.is_complex and attribute.multi_valued)
        ):
            raise NoTargetException(
                detail=f"{where}: the filter matches no element. Send a filter that "
                "matches one, or add the whole element to the attribute."
            )
        self.gate.meet(f"{operation.op}-creates", where)
        described = {term.path[-1].name: term.value for term in terms}
        element = read_object(
            attribute.attributes, described, attribute.path, self.gate
        )
        element |= {target.below[-1].name: value} if target.below else value
        element = {name: x for name, x in element.items() if not is_unassigned(x)}
        self.written.append((target.chain, [element]))
        return update(resource, target.chain, self.add([element]))

    # The changes from an old value to a new one. None means unassigned.

    def add(self, value: Any) -> Change:
        """``add`` (RFC 7644 §3.5.2.1).

        "If the target location specifies a multi-valued attribute, a new value is added
        to the attribute"; "a complex attribute, a set of sub-attributes SHALL be
        specified"; "a single-valued attribute, the existing value is replaced".
        """

        def change(attribute: Attribute, old: Any) -> Any:
            if isinstance(value, list):
                return self.union(attribute, old or [], value) if value else old
            if value is None:
                return old if attribute.multi_valued else remove(attribute, old)
            return merge(attribute, old, value, self.add) if is_object(value) else value

        return change

    def replace(self, value: Any) -> Change:
        """``replace`` (RFC 7644 §3.5.2.3).

        "A set of sub-attributes SHALL be specified in the "value" parameter, which
        replaces any existing values or adds where an attribute did not previously
        exist": other sub-attributes stay. Choice: this applies also to elements that a
        value filter selects. "If the target location is a multi-valued attribute and no
        filter is specified, the attribute and all values are replaced."
        """

        def change(attribute: Attribute, old: Any) -> Any:
            if value is None:
                return remove(attribute, old)
            if value == []:  # elements without writable sub-attributes
                return old
            if is_object(value):
                return merge(attribute, old, value, self.replace)
            return value

        return change

    def union(
        self, attribute: Attribute, old: list[Any], value: list[Any]
    ) -> list[Any]:
        """Return the elements of both lists; an existing element keeps its spelling.

        "If the target location already contains the value specified, no changes SHOULD
        be made to the resource" (RFC 7644 §3.5.2.1). The positions are cached for the
        next operation, so that many adds of one element take linear time.
        """
        known, places = self.places.get(attribute, (None, {}))
        if known is not old:
            places = {identity(attribute, x): place for place, x in enumerate(old)}
        result = list(old)
        for each in value:
            place = places.setdefault(identity(attribute, each), len(result))
            if place == len(result):
                result.append(each)
            elif attribute.is_complex:
                result[place] = merge(attribute, result[place], each, self.replace)
        if attribute.is_complex and any(x.get("primary") is True for x in value):
            result = settle_primary(attribute, old, result)
        if result == old:
            result = old
        self.places[attribute] = result, places
        return result


def apply_patch(
    type: ResourceType,
    resource: Resource,
    operations: Iterable[Operation],
    gate: Gate,
    complete: Callable[[Resource, Names], Resource],
) -> tuple[Resource, list[Written]]:
    """Return the resource after all operations, and what they wrote.

    `complete` adds the named computed attributes to a resource, for filters and
    comparisons.

    >>> user, gate = create_app().provider.types["User"], Gate(frozenset())
    >>> ann = {"userName": "ann", "title": "Dr", "emails": [{"value": "a@x.example"}]}
    >>> body = {"schemas": [MESSAGES + "PatchOp"], "Operations": [
    ...     {"op": "replace", "path": 'emails[value sw "a@"].type', "value": "work"},
    ...     {"op": "remove", "path": "title"}]}
    >>> apply_patch(user, ann, read_operations(body, gate), gate, lambda x, _: x)[0]
    {'userName': 'ann', 'emails': [{'value': 'a@x.example', 'type': 'work'}]}

    Raises NoTargetException, InvalidPathException, InvalidFilterException,
    InvalidValueException, MutabilityException (RFC 7644 §3.5.2, Table 9).
    """
    patch = Patch(type, gate, complete)
    for operation in operations:
        resource = patch.apply(resource, operation)
    return patch.carry_out_removes(resource), patch.written


def update(container: Resource, chain: Chain, change: Change) -> Resource:
    """Return a copy of an object, changed at the end of a chain.

    A path through a multi-valued attribute without a filter changes each element.
    """
    attribute, *rest = chain
    old = container.get(attribute.name)
    new: Any
    if not rest:
        new = change(attribute, old)
    elif attribute.multi_valued:
        new = [update(each, tuple(rest), change) for each in old or [{}]]
        new = settle(attribute, [], new)
    else:
        new = update(old or {}, tuple(rest), change)
    if new is old:
        return container
    new = keep_immutable([attribute], container, assign({}, attribute.name, new))
    return assign(container, attribute.name, new.get(attribute.name))


def within(chain: Chain, change: Change) -> Change:
    """Return the change of an element that changes one of its sub-attributes."""
    return lambda _, element: update(element, chain, change)


def of_chosen(chosen: Iterable[bool], change: Change) -> Change:
    """Return the change of an attribute that changes its chosen elements.

    "If no other values remain after removal of the selected values, the multi-valued
    attribute SHALL be considered unassigned" (RFC 7644 §3.5.2.2). A single complex
    value is treated as a list of one.
    """
    marks = iter(chosen)

    def change_chosen(attribute: Attribute, old: Any) -> Any:
        many, element = attribute.multi_valued, element_of(attribute)
        elements = [] if old is None else old if many else [old]
        marked = [next(marks) for _ in elements]
        new = []
        for each, mark in zip(elements, marked, strict=True):
            changed = change(element, each) if mark else each
            if changed is not each and is_object(changed):
                subs = attribute.attributes.values()
                changed = keep_immutable(subs, each, changed)
            new.append(changed)
        if all(map(operator.is_, new, elements)):
            return old
        beside = [each for each, mark in zip(elements, marked, strict=True) if not mark]
        kept = settle(attribute, beside, new)
        if not kept:
            return remove(attribute, old)
        return kept if many else kept[0]

    return change_chosen


def without(test: Predicate) -> Change:
    """Return the change of a multi-valued sub-attribute that removes some values."""

    def change(attribute: Attribute, old: Any) -> Any:
        kept = [each for each in old or [] if not test({"value": each})]
        if not kept:
            return remove(attribute, old)
        return old if kept == old else kept

    return change


def settle(attribute: Attribute, beside: list[Any], new: list[Any]) -> list[Any]:
    """Return the changed elements without empty ones and duplicates.

    `beside` holds those in `new` that the operation did not select.
    """
    new = distinct(attribute, [each for each in new if not is_unassigned(each)])
    return settle_primary(attribute, beside, new) if attribute.is_complex else new


def is_object(value: Any) -> bool:
    """Return whether a value is a complex value."""
    return isinstance(value, dict)


def remove(attribute: Attribute, old: Any) -> None:
    """``remove`` (RFC 7644 §3.5.2.2), and what null does (RFC 7643 §2.5).

    Raises MutabilityException "if an attribute is removed or becomes unassigned and is
    defined as a required attribute"; a required secret is assumed to
    exist, because it is not stored.
    """
    if attribute.required and (attribute.is_secret or not is_unassigned(old)):
        raise MutabilityException(
            detail=f"'{attribute.path}' is required and cannot be removed: send a new "
            "value with replace."
        )


OPERATIONS: dict[str, Callable[[Patch, Any], Change]] = {
    "add": Patch.add,
    "replace": Patch.replace,
    "remove": lambda patch, value: remove,
}


def merge(
    attribute: Attribute,
    old: Resource | None,
    value: Resource,
    change: Callable[[Any], Change],
) -> Resource:
    """Return a complex value with only these sub-attributes changed.

    A `$ref` without a `value` replaces the old `value` of a reference.
    """
    result = old = old or {}
    if attribute.refers and "$ref" in value and "value" not in value:
        result = assign(result, "value", None)
    for name, item in value.items():
        sub = attribute.attributes[lower(name)]
        new = change(item)(sub, old.get(name))
        same = attribute.multi_valued and value_key(sub, new) == value_key(
            sub, old.get(name)
        )
        if new != old.get(name) and not same:
            result = assign(result, name, new)
    return keep_immutable(attribute.attributes.values(), old, result)


def settle_primary(attribute: Attribute, old: list[Any], new: list[Any]) -> list[Any]:
    """Keep at most one element primary: the one that was written.

    "The primary attribute value "true" MUST appear no more than once" (RFC 7643 §2.4);
    a new one sets the old one to false (RFC 7644 §3.5.2).
    """
    primary = [place for place, each in enumerate(new) if each.get("primary") is True]
    if len(primary) < 2:
        return new
    before = [each for each in old if each.get("primary") is True]
    fresh = [place for place in primary if new[place] not in before]
    if len(fresh) != 1:
        raise InvalidValueException(
            detail=f"More than one element of '{attribute.path}' would be primary: "
            'send "primary": true in one only (RFC 7643 §2.4).'
        )
    return [
        {**each, "primary": False} if place in primary and place != fresh[0] else each
        for place, each in enumerate(new)
    ]


def element_of(attribute: Attribute) -> Attribute:
    """Return the attribute that describes one element of a multi-valued attribute."""
    return replace(attribute, multi_valued=False, required=False)


def equal_terms(tree: Filter[Chain]) -> list[AttrExp[Chain]] | None:
    """Return the terms of `a eq 1 and b eq 2`, or None for any other filter."""
    match tree:
        case AttrExp((_,), "eq", value) if value is not None:
            return [tree]
        case LogExp("and", terms):
            found = [equal_terms(term) for term in terms]
            if all(each is not None for each in found):
                return [term for each in found for term in each or []]
    return None


def read_only(attribute: Attribute) -> MutabilityException:
    """Return the error for a change to a readOnly attribute (RFC 7643 §2.2)."""
    return MutabilityException(
        detail=f"'{attribute.path}' is readOnly: leave it out of the operation."
    )


def immutable(attribute: Attribute) -> MutabilityException:
    """Return the error for a change to an immutable attribute (RFC 7643 §2.2)."""
    return MutabilityException(
        detail=f"'{attribute.path}' is immutable and has a value: keep that value."
    )


def keep_immutable(
    attributes: Iterable[Attribute], old: Resource, new: Resource
) -> Resource:
    """Return the new object with its immutable values spelled as before.

    "If one or more values are already set for the attribute, the input value(s) MUST
    match" (RFC 7644 §3.5.1), by the same rules of order and case as elsewhere. The
    elements of a multi-valued attribute may be added and removed. Only an element that
    is changed in place is checked, in `of_chosen`.

    Raises MutabilityException.
    """
    for attribute in attributes:
        before, after = old.get(attribute.name), new.get(attribute.name)
        if before is None or before is after or "immutable" not in attribute.marks:
            continue
        kept = before
        if attribute.mutability == "immutable":
            if value_key(attribute, before) != value_key(attribute, after):
                raise immutable(attribute)
        elif attribute.is_complex and not attribute.multi_valued:
            subs = attribute.attributes.values()
            kept = keep_immutable(subs, before, after or {})
        else:
            continue
        if kept is not after:
            new = assign(new, attribute.name, kept)
    return new


# === 9. Representations (RFC 7644 §3.4.2.5, §3.9; RFC 7643 §7): represent ===


Names = dict[str, "Names | None"]
"""Attributes by name: None for a whole attribute, or its named sub-attributes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The `attributes` or `excludedAttributes` of a request, or neither.

    >>> user = create_app().provider.types["User"]
    >>> Selection(attributes=("userName",)).find(user).names
    {'userName': None, 'schemas': None, 'id': None}
    """

    attributes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.attributes or self.excluded)

    def find(self, type: ResourceType) -> Found:
        """Resolve the names in a resource type; short selections are cached."""
        size = sum(map(len, self.attributes + self.excluded))
        find = find_names if size <= MAX_NAME else find_names.__wrapped__
        return find(self, type)

    def check(self, types: Sequence[ResourceType], gate: Gate) -> None:
        """Report deviations in the names to the gate, before anything is written.

        Raises InvalidValueException for a deviation that the gate rejects.
        """
        found = [self.find(type) for type in types]
        for each in found:
            for code, name in each.met.items():
                gate.meet(code, f"'{clip_name(name, 160)}'", InvalidValueException)
        for name in found[0].unknown:
            if all(name in each.unknown for each in found):
                gate.meet("unknown-selection", unknown_name(name, types[0]))
                break  # one example is enough


class Found(NamedTuple):
    """The attributes of a type that a selection names, and the errors in it."""

    names: Names
    met: dict[str, str]  # deviations: the first example of each code
    unknown: dict[str, None]


@lru_cache(maxsize=256)  # clients name the same attributes in every request
def find_names(selection: Selection, type: ResourceType) -> Found:
    """Resolve the names of a selection in a resource type.

    Attributes that are "returned": "always" are added to `attributes`, and left out of
    `excludedAttributes` (RFC 7644 §3.4.2.5).
    """
    names, met, unknown = found = Found({}, {}, {})
    for text in selection.attributes or selection.excluded:
        chain, code = find_chain(text, type)
        if code:
            met.setdefault(code, text)
        if not chain:
            unknown[text] = None
        parts = [chain] if chain else []
        while parts:
            part = parts.pop()
            if selection.excluded and "always" in part[-1].marks:
                parts += [(*part, each) for each in part[-1].attributes.values()]
            elif selection.excluded:
                add_name(names, part)
            else:
                include_name(names, part)
    for attribute in type.marked["always"] if selection.attributes else ():
        for chain in walk({attribute.name: attribute}):
            if chain[-1].returned == "always":
                include_name(names, chain)
    return found


def include_name(names: Names, chain: Chain) -> None:
    """Add a chain, without sub-attributes that are "returned": "request"."""
    if not (chain[-1].is_complex and "request" in chain[-1].marks):
        return add_name(names, chain)
    for each in chain[-1].attributes.values():
        if each.returned != "request":
            include_name(names, (*chain, each))
    return None


def add_name(names: Names, chain: Chain) -> None:
    """Add a chain to the tree of names."""
    first, *rest = chain
    if not rest:
        names[first.name] = None
    elif (below := names.setdefault(first.name, {})) is not None:
        add_name(below, tuple(rest))


def read_selection(attributes: Sequence[str], excluded: Sequence[str]) -> Selection:
    """Validate `attributes` and `excludedAttributes`.

    A request with both is rejected: they are "mutually exclusive" (RFC 7644 §3.9).

    Raises StatusException, 400.
    """
    if attributes and excluded:
        raise StatusException(
            400,
            "The request has both 'attributes' and 'excludedAttributes': "
            "send one of them (RFC 7644 §3.9).",
        )
    parameter = "attributes" if attributes else "excludedAttributes"
    if len(attributes or excluded) > MAX_ATTRIBUTES:
        raise StatusException(
            400, f"'{parameter}' has too many names: send at most {MAX_ATTRIBUTES}."
        )
    for name in attributes or excluded:
        if len(name) > MAX_NAME:
            raise InvalidValueException(
                detail=f"A name in '{parameter}' has {len(name)} characters: "
                f"send at most {MAX_NAME}."
            )
    return Selection(tuple(attributes), tuple(excluded))


def represent(
    type: ResourceType,
    resource: Resource,
    selection: Selection,
    names: Names,
    written: Iterable[Written] = (),
) -> Resource:
    """Return a resource as a reply shows it (RFC 7644 §3.9, RFC 7643 §7 "returned").

    An attribute that is "returned": "always" is included. One that is "request" is
    included if `attributes` names it or if this request wrote it. One that is "default"
    is included unless `attributes` names others or `excludedAttributes` names it. One
    that is "never" is not even stored.
    """
    if selection.attributes:
        return include(type.attributes, resource, names)
    wrote: Names = {}
    for chain, value in written:
        add_written(wrote, type.attributes, chain, value)
    return exclude(type.attributes, resource, names, wrote)


def add_written(
    names: Names, attributes: Mapping[str, Attribute], chain: Chain, value: Any
) -> None:
    """Add the attribute at a chain, and those in its value, to a tree of names."""
    for attribute in chain:
        names, attributes = names_below(names, attribute), attribute.attributes
    for each in value if isinstance(value, list) else [value]:
        for name, item in each.items() if isinstance(each, dict) else ():
            if found := attributes.get(lower(name)):
                inner = names_below(names, found)
                add_written(inner, found.attributes, (), item)


def names_below(names: Names, attribute: Attribute) -> Names:
    """Return the tree of names below an attribute; add it if it is missing."""
    found = names.setdefault(attribute.name, {})
    return {} if found is None else found


def include(
    attributes: Mapping[str, Attribute], value: Resource, names: Names
) -> Resource:
    """Return the object reduced to the named attributes."""
    result: Resource = {}
    for name, item in value.items():
        if name not in names:
            continue
        attribute, below = attributes[name.lower()], names[name]
        if below is not None:
            item = each_of(
                attribute, item, partial(include, attribute.attributes, names=below)
            )
        if not is_unassigned(item):
            result[name] = item
    return result


def exclude(
    attributes: Mapping[str, Attribute],
    value: Resource,
    names: Names,
    written: Names,
) -> Resource:
    """Return the object without the named attributes and unwritten "request" ones."""
    result: Resource = {}
    for name, item in value.items():
        attribute = attributes[name.lower()]
        below = names.get(name, {})
        on_request = "request" in attribute.marks
        is_hidden = attribute.returned == "request" and name not in written
        if below is None or is_hidden:
            continue
        if attribute.is_complex and (below or on_request):
            wrote = written.get(name) or {}
            show = partial(exclude, attribute.attributes, names=below, written=wrote)
            item = each_of(attribute, item, show)
        if not is_unassigned(item):
            result[name] = item
    return result


def each_of(
    attribute: Attribute, value: Any, show: Callable[[Resource], Resource]
) -> Any:
    """Apply `show` to a complex value, or to each element, and drop empty elements."""
    if attribute.multi_valued:
        return [part for part in map(show, value) if part]
    return show(value)


# ##### Part III. The service provider #####


# === 10. The store, where a builder puts a database: Store ===


class Store:
    """Keep the resources of one directory in dicts. A subclass may use a database.

    The server calls these methods only, and holds `lock` from the first read of an
    operation to its last write. Filters arrive bound (section 6): the tree has a chain
    of attributes in place of each path, so a subclass can translate it into a query.

    >>> user = create_app().provider.types["User"]
    >>> store = Store([user])
    >>> store.write(user, {"id": "2819c223", "userName": "bjensen"})
    >>> store.select(user, AttrExp((user.attributes["username"],), "eq", "BJensen"))
    [{'id': '2819c223', 'userName': 'bjensen'}]
    """

    def __init__(self, types: Iterable[ResourceType], tenant: str = "") -> None:
        self.lock = threading.RLock()
        self.types = {each.name: each for each in types}
        self.resources: dict[str, dict[str, Resource]] = {x: {} for x in self.types}
        self.positions: dict[str, int] = {}
        self.next_position = itertools.count(1).__next__
        self.indexes = {
            (each.name, chain): Index()
            for each in self.types.values()
            for chain in each.indexed
        }

    def read(self, type: ResourceType, id: str) -> Resource | None:
        """Return the resource with this id, or None."""
        return self.resources[type.name].get(id)

    def select(
        self, type: ResourceType, tree: Filter[Chain] | None = None
    ) -> list[Resource]:
        """Return at least the resources that match a filter, in order of creation.

        It may return others too, because the caller tests each resource again. This
        class uses its indexes where it can. In `tree`, the chain () means an attribute
        that this type does not have.
        """
        resources = self.resources[type.name]
        ids = None if tree is None else self.candidates(type, tree)
        if ids is None:
            return list(resources.values())
        found = [resources[each] for each in ids if each in resources]
        if len(found) > 1:
            found.sort(key=lambda each: self.positions[each["id"]])
        return found

    def write(self, type: ResourceType, resource: Resource) -> None:
        """Store a new resource, or replace the one with the same id."""
        id = resource["id"]
        old = self.resources[type.name].get(id)
        for chain in type.indexed:
            self.index(type, chain, old or {}, resource)
        if old is None:
            self.positions[id] = self.next_position()
        self.resources[type.name][id] = resource

    def erase(self, type: ResourceType, id: str) -> None:
        """Remove the resource with this id."""
        old = self.resources[type.name].pop(id)
        for chain in type.indexed:
            self.index(type, chain, old, {})
        del self.positions[id]

    def position(self, type: ResourceType, id: str) -> int:
        """Return a number greater than that of every resource created earlier."""
        return self.positions[id]

    def referring(self, type: ResourceType, chain: Chain, id: str) -> list[Resource]:
        """Return exactly the resources with a reference to this id at this chain."""
        value = chain[-1].attributes["value"]
        ids = self.indexes[type.name, (*chain, value)].find(comparable(value, id))
        return [self.resources[type.name][each] for each in ids]

    def keep_secrets(
        self, type: ResourceType, resource: Resource, values: Mapping[str, Any]
    ) -> None:
        """Receive the secrets of a write by path, as {"password": "t1meMa$heen"}.

        Secrets are the attributes that are "returned": "never". None means that the
        secret was removed. A path that is not in `values` is unchanged. Secrets are
        passed to this method only. This class discards them, so they cannot leak; a
        subclass may store a hash.
        """

    # The methods below maintain the indexes. A subclass does not need them.

    def candidates(
        self, type: ResourceType, tree: Filter[Chain]
    ) -> Iterable[str] | None:
        """Return the ids of all that can match, or None if no index helps."""
        match tree:
            case AttrExp(chain, "eq", value):
                return self.look_up(type, chain, value)
            case ValuePath(chain, AttrExp(below, "eq", value)):
                return self.look_up(type, (*chain, *below), value)
            case LogExp("and", terms):
                found = (self.candidates(type, term) for term in terms)
                return next((each for each in found if each is not None), None)
            case LogExp("or", terms):
                sets = [self.candidates(type, term) for term in terms]
                if any(each is None for each in sets):
                    return None
                return dict.fromkeys(id for each in sets for id in each or ())
        return None

    def look_up(
        self, type: ResourceType, chain: Chain, value: Any
    ) -> Iterable[str] | None:
        """Return the ids of the resources with this value, or None without an index."""
        if chain and chain[0].name == "id":
            return (str(value),)
        index = self.indexes.get((type.name, chain))
        if index is None or value is None:
            return None
        return index.find(comparable(chain[-1], value))

    def index(
        self, type: ResourceType, chain: Chain, old: Resource, new: Resource
    ) -> None:
        """Update one index when a resource changes from `old` to `new`."""
        name = chain[0].name
        before, after = old.get(name), new.get(name)
        if before == after:
            return
        if chain[0].multi_valued and chain[0].refers and chain[-1].name == "value":
            # a write to a large group changes few of its members
            before, after = difference(before or [], after or [])
        gone = index_keys(chain, {name: before})
        come = index_keys(chain, {name: after})
        index = self.indexes[type.name, chain]
        for key in gone - come:
            index.discard(key, old["id"])
        for key in come - gone:
            index.add(key, new["id"])


class Index(dict[Any, str | dict[str, None]]):
    """The ids of resources by value, in the form in which values are compared.

    To save memory, a single id is stored as a string and only several as a dict.
    """

    def find(self, key: Any) -> Collection[str]:
        """Return the ids of the resources that have this value."""
        ids = self.get(key, ())
        return (ids,) if isinstance(ids, str) else ids

    def add(self, key: Any, id: str) -> None:
        """Record that a resource has this value."""
        ids = self.setdefault(key, id)
        if isinstance(ids, dict):
            ids[id] = None
        elif ids != id:
            self[key] = {ids: None, id: None}

    def discard(self, key: Any, id: str) -> None:
        """Record that a resource no longer has this value."""
        ids = self.get(key)
        if isinstance(ids, dict):
            ids.pop(id, None)
            if len(ids) == 1:
                self[key] = next(iter(ids))
        elif ids == id:
            del self[key]


def index_keys(chain: Chain, part: Resource) -> set[Any]:
    """Return the values at the end of a chain in the form used as index keys."""
    return {comparable(chain[-1], value) for value in values_at(part, chain)}


def difference(old: list[Any], new: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the references that were removed and those that were added, by `value`."""
    if old == new[: len(old)]:  # additions are at the end
        return [], new[len(old) :]
    before = {each["value"] for each in old if "value" in each}
    after = {each["value"] for each in new if "value" in each}
    gone = [each for each in old if each.get("value") not in after]
    return gone, [each for each in new if each.get("value") not in before]


# === 11. The directory, its ties and versions (RFC 7643 §4): Directory ===
#
# Attributes that describe another resource are not stored but computed for each reply:
# `$ref`, `type` and `display` of a reference, and the `groups` of a user. In a group:
#
#   stored    {"value": "2819c223"}
#   returned  {"value": "2819c223", "$ref": "https://a.example/v2/Users/2819c223",
#              "type": "User", "display": "Babs Jensen"}
#
# When a user is renamed, the groups that display the user therefore get a new version
# too. A version determines the JSON of its resource, so the JSON is cached with it.


@dataclass(slots=True)
class Provider:
    """The parts that all directories of a service provider share."""

    types: dict[str, ResourceType]
    configuration: dict[str, Any]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    key: bytes  # seals cursors
    last_version: int = 0

    def note_version(self, version: str) -> bool:
        """Continue after an existing version; return False if its form is unknown."""
        match = re.fullmatch(r'W/"([0-9]{1,15})"', version)
        self.last_version = max(self.last_version, int(match[1]) if match else 0)
        return bool(match)

    def supports(self, name: str) -> bool:
        """Return whether the configuration announces a feature (RFC 7643 §5)."""
        return bool(self.configuration[name]["supported"])

    def now(self) -> str:
        """Return the current time as a dateTime in UTC."""
        moment = self.clock().astimezone(UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Rendering:
    """The cached JSON of one version of a resource."""

    version: str
    base: str
    content: bytes


class Directory:
    """The resources of one tenant and the references between them."""

    def __init__(
        self,
        provider: Provider,
        store: Store,
        name: str = "",
    ) -> None:
        self.provider = provider
        self.store = store
        self.name = name
        self.rendered: dict[str, Rendering] = {}
        self.links: dict[Attribute, dict[str, bytes]] = {}  # the JSON of members by id
        self.links_base = ""

    # --- finding

    def read(self, type: ResourceType, id: str) -> Resource:
        """Return the resource with this type and id.

        Raises NotFoundException, 404 (RFC 7644 §3.12).
        """
        resource = self.store.read(type, id)
        if resource is None:
            raise NotFoundException(
                detail=f"There is no {type.name} with the id '{clip_path(id)}'."
            )
        return resource

    def find(
        self, id: Any, names: Iterable[str] | None = None
    ) -> tuple[ResourceType, Resource] | None:
        """Return the resource with this id, of one of the named types or of any."""
        types = self.provider.types
        for name in types if names is None else names:
            resource = self.store.read(types[name], id)
            if resource is not None:
                return types[name], resource
        return None

    def select(self, type: ResourceType, tree: Filter[Chain] | None) -> list[Resource]:
        """Return at least the resources that match a filter, in order of creation."""
        if type.groups and (id := wanted_group(type.groups, tree)) is not None:
            below = self.members_below([id])
            found = [x for each in below if (x := self.store.read(type, each))]
            found.sort(key=lambda each: self.store.position(type, each["id"]))
            return found
        return self.store.select(type, tree)

    def referrers(
        self, kind: ResourceType, id: str
    ) -> list[tuple[ResourceType, Resource]]:
        """Return the resources that refer to the `kind` with this id."""
        found: dict[str, tuple[ResourceType, Resource]] = {}
        for type in self.provider.types.values():
            for chain in type.references:
                if kind.name not in chain[-1].refers:
                    continue
                for each in self.store.referring(type, chain, id):
                    found[each["id"]] = type, each
        return list(found.values())

    def groups_above(self, id: str) -> dict[str, tuple[ResourceType, Resource, bool]]:
        """Return the groups of a member by id, and whether it is a direct member.

        A member of a group is an indirect member of the groups that contain this group
        (RFC 7643 §4.1.2 "groups": "direct" or "indirect"). Groups may form cycles.
        """
        above: dict[str, tuple[ResourceType, Resource, bool]] = {}
        queue = [id]
        for member in queue:
            for type in self.provider.types.values():
                if not (members := type.members):
                    continue
                for group in self.store.referring(type, (members,), member):
                    if group["id"] not in above:
                        above[group["id"]] = type, group, member == id
                        queue.append(group["id"])
        return above

    def members_below(self, ids: Iterable[str]) -> dict[str, None]:
        """Return the direct and indirect members of these groups."""
        below: dict[str, None] = {}
        queue = list(ids)
        for id in queue:
            found = self.find(id)
            if found and (members := found[0].members):
                for member in references_at(found[1], (members,)):
                    if member not in below:
                        below[member] = None
                        queue.append(member)
        return below

    # --- changing

    def save(
        self, type: ResourceType, resource: Resource, old: Resource | None = None
    ) -> Resource:
        """Store a new or changed resource with a new version, and return it."""
        now = self.provider.now()
        meta = {
            "resourceType": type.name,
            "created": old["meta"]["created"] if old else now,
            "lastModified": now,
            "version": self.new_version(),
        }
        head = {"schemas": schemas_of(type, resource), "id": resource["id"]}
        resource = {**head, **resource, **head, "meta": meta}
        moved = moved_members(type, old, resource)
        # Members below a moved group get a new version only if their groups change.
        before = {
            each: self.membership(each)
            for each in self.members_below(moved)
            if each not in moved and self.shows_groups(each)
        }
        self.store.write(type, resource)
        for each in moved:
            if self.shows_groups(each):
                self.touch(each)
        for each, groups in before.items():
            if self.membership(each) != groups:
                self.touch(each)
        display = type.display_name.name if type.display_name else ""
        if old is None or old.get(display) != resource.get(display):
            self.touch_all_that_show(type, resource["id"])
        return resource

    def is_empty(self) -> bool:
        """Return whether the directory has no resources."""
        return not any(map(self.store.select, self.provider.types.values()))

    def clear(self) -> None:
        """Remove all resources."""
        with self.store.lock:
            for type in self.provider.types.values():
                for resource in self.store.select(type):
                    self.store.erase(type, resource["id"])
            self.rendered, self.links = {}, {}

    def delete(self, type: ResourceType, resource: Resource) -> None:
        """Remove a resource, and remove it from every group that contains it.

        Choice: a single-valued reference to it, such as `manager`, is left dangling.
        """
        id = resource["id"]
        below = self.members_below([id]) if type.members else {}
        self.store.erase(type, id)
        self.rendered.pop(id, None)
        self.forget_links(id)
        for other, referrer in self.referrers(type, id):
            if referrer["id"] == id:
                continue
            changed = referrer
            for chain in other.references:
                if chain[-1].multi_valued and type.name in chain[-1].refers:
                    changed = without_reference(changed, chain, id)
            if changed is referrer:
                self.touch(referrer["id"])
            else:
                self.save(other, changed, referrer)
        for each in below:
            if self.shows_groups(each):
                self.touch(each)

    def touch_all_that_show(self, type: ResourceType, id: str) -> None:
        """Give a new version to every resource that displays this one."""
        self.forget_links(id)
        for _, referrer in self.referrers(type, id):
            if referrer["id"] != id:
                self.touch(referrer["id"])
        for each in self.members_below([id]) if type.members else ():
            if self.shows_groups(each):
                self.touch(each)

    def forget_links(self, id: str) -> None:
        """Discard the cached JSON of references to this resource."""
        for links in self.links.values():
            links.pop(id, None)

    def shows_groups(self, id: str) -> bool:
        """Return whether the type of this resource has a `groups` attribute."""
        found = self.find(id)
        return found is not None and found[0].groups is not None

    def membership(self, id: str) -> dict[str, bool]:
        """Return the ids of a member's groups, and whether it is a direct member."""
        return {each: found[2] for each, found in self.groups_above(id).items()}

    def touch(self, id: str) -> None:
        """Give a resource a new version and change nothing else."""
        if found := self.find(id):
            type, resource = found
            meta = {**resource["meta"], "version": self.new_version()}
            self.store.write(type, {**resource, "meta": meta})

    def new_version(self) -> str:
        """Return an unused version: a weak, opaque entity-tag (RFC 7644 §3.14)."""
        self.provider.last_version += 1
        return f'W/"{self.provider.last_version}"'

    # --- showing

    def complete(
        self,
        type: ResourceType,
        resource: Resource,
        base: str,
        names: Names | None = None,
    ) -> Resource:
        """Add the computed attributes to a resource: all, or those in `names`."""
        result = dict(resource)
        for chain in type.references:
            name = chain[0].name
            if name in resource and (names is None or name in names):
                link = partial(self.link, chain[-1], base=base)
                result = map_values(result, chain, link)
        if type.groups and (names is None or "groups" in names):
            above = self.groups_above(resource["id"])
            groups = [
                {"value": id, "type": "direct" if direct else "indirect"}
                for id, (_, _, direct) in sorted(above.items(), key=self.group_order)
            ]
            if groups:
                result["groups"] = [self.link(type.groups, x, base) for x in groups]
        meta = result.pop("meta", {})
        result["meta"] = {
            "resourceType": type.name,
            "created": meta.get("created"),
            "lastModified": meta.get("lastModified"),
            "location": locate(base, type, resource["id"]),
        }
        if self.provider.supports("etag"):
            result["meta"]["version"] = meta.get("version")
        return result

    def group_order(
        self, item: tuple[str, tuple[ResourceType, Resource, bool]]
    ) -> tuple[bool, int]:
        """Return the sort key of a member's group: direct first, then by creation."""
        id, (type, _, direct) = item
        return not direct, self.store.position(type, id)

    def link(self, attribute: Attribute, element: Resource, base: str) -> Resource:
        """Add `$ref`, `type` and `display` of the target to a reference."""
        found = self.find(element.get("value"), attribute.refers)
        if found is None:
            return element
        type, target = found
        name = type.display_name and target.get(type.display_name.name)
        location = locate(base, type, target["id"])
        result = dict(element)
        for key, value in zip(COMPUTED, (location, type.name, name, name), strict=True):
            shown_as = attribute.attributes.get(key)
            if value and shown_as and shown_as.computed:
                result.setdefault(shown_as.name, value)
        return result

    def render(self, type: ResourceType, resource: Resource, base: str) -> bytes:
        """Return the JSON of a resource with the attributes returned by default.

        It is cached by version. The members of a group are encoded and cached one by
        one, so adding a member does not re-encode the others.
        """
        id, version = resource["id"], resource["meta"]["version"]
        cached = self.rendered.get(id)
        if cached and cached.version == version and cached.base == base:
            return cached.content
        members = type.members if type.members and not type.marked["request"] else None
        rest, elements = resource, None
        if members and (elements := resource.get(members.name)):
            rest = assign(resource, members.name, None)
        whole = self.complete(type, rest, base)
        if type.marked["request"]:
            whole = represent(type, whole, Selection(), {})
        content = encode(whole)
        if members and elements:
            links = self.render_links(members, elements, base)
            content = b'%s,"%s":[%s]}' % (content[:-1], members.name.encode(), links)
        self.rendered[id] = Rendering(version, base, content)
        return content

    def render_links(
        self, attribute: Attribute, elements: list[Resource], base: str
    ) -> bytes:
        """Return the JSON of members; each is cached until its target changes."""
        if self.links_base != base:
            self.links, self.links_base = {}, base
        links, parts = self.links.setdefault(attribute, {}), []
        for element in elements:
            id = element.get("value", "")
            text = links.get(id)
            if text is None or len(element) > 1:
                text = encode(self.link(attribute, element, base))
                if len(element) == 1 and self.find(id, attribute.refers):
                    links[id] = text
            parts.append(text)
        return b",".join(parts)

    def show(
        self,
        type: ResourceType,
        resource: Resource,
        base: str,
        selection: Selection,
        names: Names,
        written: Sequence[Written] = (),
    ) -> bytes:
        """Return the JSON of a resource with the attributes that a request selects."""
        if not selection and not (written and type.marked["request"]):
            return self.render(type, resource, base)
        whole = self.complete(
            type, resource, base, names if selection.attributes else None
        )
        return encode(represent(type, whole, selection, names, written))


JSON = json.JSONEncoder(
    ensure_ascii=False,
    separators=(",", ":"),
    check_circular=False,  # parsed JSON has no cycles, and the check is slow
    allow_nan=False,
)


def encode(value: Any) -> bytes:
    """Return a value as JSON in UTF-8."""
    return JSON.encode(value).encode()


UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+", re.A)


def locate(base: str, type: ResourceType, id: str) -> str:
    """Return the URI of a resource (RFC 7643 §3.1 "location")."""
    path = id if UNRESERVED.fullmatch(id) else quote(id, safe="")
    return f"{base}{type.endpoint}/{path}"


def references_at(resource: Resource, chain: Chain) -> list[str]:
    """Return the ids in the references at the end of a chain."""
    return [x["value"] for x in values_at(resource, chain) if "value" in x]


def map_values(
    container: Resource, chain: Chain, change: Callable[[Any], Any]
) -> Resource:
    """Return an object with `change` applied to each value at the end of a chain."""
    attribute, *rest = chain
    old = container.get(attribute.name)
    if old is None:
        return container

    below = tuple(rest)
    step = change if not below else lambda value: map_values(value, below, change)
    new = [step(each) for each in old] if attribute.multi_valued else step(old)
    if attribute.multi_valued and {} in new:
        new = [each for each in new if each != {}]
    return container if new is old else assign(container, attribute.name, new)


def moved_members(
    type: ResourceType, old: Resource | None, new: Resource
) -> dict[str, None]:
    """Return the ids of the members that join or leave a group in this change."""
    if not (members := type.members):
        return {}
    before, after = (old or {}).get(members.name) or [], new.get(members.name) or []
    parts = difference(before, after)
    return dict.fromkeys(x["value"] for part in parts for x in part if "value" in x)


def without_reference(resource: Resource, chain: Chain, id: str) -> Resource:
    """Return a resource without the references to this id at a chain."""
    if id not in references_at(resource, chain):
        return resource
    parent = chain[:-1]
    attribute = chain[-1]

    def strip(container: Resource) -> Resource:
        kept = [x for x in container[attribute.name] if x.get("value") != id]
        return assign(container, attribute.name, kept)

    return map_values(resource, parent, strip) if parent else strip(resource)


def wanted_group(groups: Attribute, tree: Filter[Chain] | None) -> str | None:
    """Return the only group whose members a filter can match, or None."""
    wanted = groups, groups.attributes["value"]
    match tree:
        case AttrExp(chain, "eq", str(value)) if chain == wanted:
            return value
        case ValuePath(chain, AttrExp(below, "eq", str(value))):
            return value if (*chain, *below) == wanted else None
        case LogExp("and", terms):
            found = (wanted_group(groups, term) for term in terms)
            return next((each for each in found if each is not None), None)
    return None


# === 12. Operations (RFC 7644 §3.3 to §3.6): create_resource, modify_resource ===
#
# The lock is held from the first look at the store to the last: nobody comes between
# the check of a userName, a version or a reference and the write that relies on it.
# Whoever shows the result holds it on, since a representation reads other resources.

Condition = Callable[[Resource], None]
"""Raises PreconditionFailedException unless a resource is as the client expects."""


def no_condition(resource: Resource) -> None:
    """Expect nothing."""


def create_resource(
    directory: Directory,
    type: ResourceType,
    payload: Mapping[str, Any],
    gate: Gate,
    id: str | None = None,
) -> Resource:
    """Create a resource (RFC 7644 §3.3).

    `id` is for bulk jobs, which give ids beforehand.

    Raises InvalidValueException, UniquenessException (409), or what the gate refuses.
    """
    resource = read_resource(type, payload, gate)
    check_required(type, resource)
    check_models(type, resource)
    resource, secret = part_secrets(type, resource)
    with directory.store.lock:
        resource["id"] = id or unused_id(directory)
        resource = settle_references(directory, type, {}, resource, gate)
        check_unique(directory, type, {}, resource)
        resource = directory.save(type, resource)
        if secret:
            directory.store.keep_secrets(type, resource, secret)
        return resource


def unused_id(directory: Directory) -> str:
    """Answer a new id; what the generator has given before is passed over."""
    for _ in range(1000):
        id = directory.provider.new_id()
        if is_id(id) and directory.find(id) is None:
            return id
    raise StatusException(500, "The id generator answers ids that are taken.")


def is_id(id: Any) -> bool:
    """Return whether this can be an id, and be reached at its location.

    "The string "bulkId" ... MUST NOT be used within any unique identifier value" (RFC
    7643 §3.1); a client removes "." and ".." from a URL, and .search is an endpoint.
    """
    if not isinstance(id, str) or not 1 <= len(id) <= 1000 or "bulkId" in id:
        return False
    return id not in (".", "..", ".search")


def retrieve_resource(directory: Directory, type: ResourceType, id: str) -> Resource:
    """Answer a resource (RFC 7644 §3.4.1). Raises NotFoundException."""
    return directory.read(type, id)


def replace_resource(
    directory: Directory,
    type: ResourceType,
    id: str,
    payload: Mapping[str, Any],
    gate: Gate,
    condition: Condition = no_condition,
) -> Resource:
    """Replace a resource (RFC 7644 §3.5.1).

    "readOnly: Any values provided SHALL be ignored. immutable: If one or more values
    are already set for the attribute, the input value(s) MUST match"; Choice: when none
    is sent, the value stays.

    Raises NotFoundException, PreconditionFailedException, InvalidValueException,
    MutabilityException, UniquenessException (409), or what the gate refuses.
    """
    directory.read(type, id)  # 404 comes before what is wrong with the payload
    sent = read_resource(type, payload, gate)
    with directory.store.lock:
        old = directory.read(type, id)
        condition(old)
        new = sent
        fixed = (*type.marked["readOnly"], *type.marked["immutable"])
        required = type.marked["required"]
        check_required_within(
            [x for x in required if x.name in new or x.is_secret], new
        )
        new = keep_immutable(fixed, old, carry_over(fixed, old, new))
        check_required_within(required, new, stored=True)
        new["schemas"] = schemas_of(type, new)
        gone = cleared_secrets(type.attributes, payload)
        return commit(directory, type, old, new, gate, gone)


def modify_resource(
    directory: Directory,
    type: ResourceType,
    id: str,
    operations: Sequence[Operation],
    gate: Gate,
    condition: Condition = no_condition,
) -> tuple[Resource, list[Written]]:
    """Modify a resource (RFC 7644 §3.5.2); return it, and what was written.

    Raises NotFoundException, PreconditionFailedException, what `apply_patch` raises,
    UniquenessException (409), or what the gate refuses.
    """
    with directory.store.lock:
        old = directory.read(type, id)
        condition(old)

        def complete(resource: Resource, names: Names) -> Resource:
            return directory.complete(type, resource, gate.base, names)

        new, written = apply_patch(type, old, operations, gate, complete)
        attributes = {chain[0].name: chain[0] for chain, _ in written}
        check_required_within(attributes.values(), new, stored=True)
        gone: dict[str, None] = {}
        for chain, value in written:
            if value != [] and not any(each.multi_valued for each in chain[:-1]):
                last = Attributes({chain[-1].name.lower(): chain[-1]})
                gone |= cleared_secrets(last, {chain[-1].name: value})
        return commit(directory, type, old, new, gate, gone), written


def delete_resource(
    directory: Directory,
    type: ResourceType,
    id: str,
    condition: Condition = no_condition,
) -> None:
    """Delete a resource (RFC 7644 §3.6).

    Raises NotFoundException, PreconditionFailedException.
    """
    with directory.store.lock:
        resource = directory.read(type, id)
        condition(resource)
        directory.delete(type, resource)


def commit(
    directory: Directory,
    type: ResourceType,
    old: Resource,
    new: Resource,
    gate: Gate,
    gone: Mapping[str, None],
) -> Resource:
    """Store what has become of a resource, unless nothing has changed.

    A secret is not kept, so that writing one, or clearing it (`gone`), always counts as
    a change.
    """
    check_models(type, new, old)
    new, written = part_secrets(type, new)
    secret = {**gone, **written}
    if secret and not directory.provider.supports("changePassword"):
        raise MutabilityException(
            detail=f"{', '.join(secret)}: changePassword is not supported "
            "(RFC 7643 §5)."
        )
    new = settle_references(directory, type, old, new, gate)
    if new == old and not secret:
        return old
    check_unique(directory, type, old, new)
    resource = directory.save(type, new, old)
    if secret:
        directory.store.keep_secrets(type, resource, secret)
    return resource


def cleared_secrets(
    attributes: Mapping[str, Attribute], value: Mapping[str, Any]
) -> dict[str, None]:
    """Return the paths of the secrets that an object unassigns (RFC 7643 §2.5)."""
    gone: dict[str, None] = {}
    for name, item in value.items():
        attribute = attributes.get(name.lower())
        if attribute is None or "never" not in attribute.marks:
            continue
        subs = attribute.attributes
        if attribute.is_secret:
            gone |= {attribute.path: None} if item is None or item == [] else {}
        elif item is None or item == []:
            gone |= cleared_secrets(subs, dict.fromkeys(subs))
        elif isinstance(item, dict):
            gone |= cleared_secrets(subs, item)
    return gone


def carry_over(
    attributes: Iterable[Attribute], old: Resource, new: Resource
) -> Resource:
    """Answer a replacement with what a PUT cannot take away."""
    for attribute in attributes:
        before, after = old.get(attribute.name), new.get(attribute.name)
        if before is None:
            continue
        if attribute.mutability in ("readOnly", "immutable"):
            if after is None:
                new = assign(new, attribute.name, before)
        elif attribute.is_complex and not attribute.multi_valued:
            kept = carry_over(attribute.attributes.values(), before, after or {})
            if after is None and kept:  # what cannot go keeps all beside it
                kept = before
            new = assign(new, attribute.name, kept)
    return new


def settle_references(
    directory: Directory,
    type: ResourceType,
    old: Resource,
    new: Resource,
    gate: Gate,
) -> Resource:
    """Check what new references name; one that only has the `$ref` gets its `value`."""
    sent = new
    for chain in type.references:
        name = chain[0].name
        before, after = old.get(name), new.get(name)
        if after is None or before == after:
            continue
        if chain[1:] and values_at(old, chain) == values_at(new, chain):
            continue  # only what stands beside it has changed
        attribute, known = chain[-1], set(references_at(old, chain))
        settle = partial(settle_reference, directory, attribute, gate=gate, known=known)
        if len(chain) == 1 and attribute.multi_valued:
            _, come = difference(before or [], after)
            settled = {id(each): settle(each) for each in come}
            if any(settled[id(each)] is not each for each in come):
                whole = [x for each in after if (x := settled.get(id(each), each))]
                new = assign(new, name, distinct(attribute, whole))
        else:
            new = map_values(new, chain, settle)
    for chain in type.links:
        for uri in set(values_at(new, chain)).difference(values_at(old, chain)):
            if id_named(directory, chain[-1].links, uri, gate) is None:
                check_id(directory, chain[-1], chain[-1].links, uri, gate)
    if new is not sent:  # what was dropped may have been all that there was
        check_required_within(type.marked["required"], new, stored=True)
        new["schemas"] = schemas_of(type, new)
    return new


def settle_reference(
    directory: Directory,
    attribute: Attribute,
    element: Resource,
    gate: Gate,
    known: Container[str],
) -> Resource:
    """Check one reference (RFC 7643 §2.3.7); those `known` were there before.

    Choice: a `$ref` alone that may only name resources, and names none, is dropped: it
    holds no id to keep. It is data where referenceTypes has another, as "external".
    """
    id, uri = element.get("value"), element.get("$ref")
    if uri is not None:
        rest = {key: x for key, x in element.items() if key != "$ref"}
        if id is not None:  # it was data until it got the value
            element = rest
        elif found := id_named(directory, attribute.refers, uri, gate):
            return {"value": found, **rest}
        elif is_closed(attribute.attributes["$ref"]):
            gate.meet("dangling-reference", f"{attribute.path}.$ref: '{clip(uri)}'")
            return rest
    if id is not None and id not in known:
        check_id(directory, attribute, attribute.refers, id, gate)
    return element


def id_named(
    directory: Directory, types: Iterable[str], uri: str, gate: Gate
) -> str | None:
    """Return the id of the resource of one of these types that a URI names, if any.

    Choice: a URI with another version names it too (RFC 7643 §2.4: "comparable").
    """
    for name in types:
        id = id_in(uri, gate.base, directory.provider.types[name].endpoint)
        if id is not None and directory.find(id, [name]):
            return id
    return None


def check_id(
    directory: Directory,
    attribute: Attribute,
    types: Iterable[str],
    id: str,
    gate: Gate,
) -> None:
    """Check that an id names a resource of these types, or one that is to come."""
    if id not in gate.promised and directory.find(id, types) is None:
        gate.meet("dangling-reference", f"{attribute.path}: '{shown(attribute, id)}'")


def check_unique(
    directory: Directory, type: ResourceType, old: Resource, new: Resource
) -> None:
    """Check that nobody else has a value that is unique (RFC 7643 §2.2 "uniqueness").

    Raises UniquenessException, 409 (RFC 7644 §3.3, §3.12).
    """
    for chain in type.unique:
        name = chain[0].name
        if old.get(name) == new.get(name):
            continue
        for value in values_at(new, chain):
            for kind, where in sharing_types(directory.provider, type, chain):
                key = comparable(where[-1], value)
                for other in directory.store.select(kind, AttrExp(where, "eq", value)):
                    if other["id"] != new["id"] and key in index_keys(where, other):
                        raise UniquenessException(
                            detail=f"'{chain[-1].path}' is unique, and {kind.name} "
                            f"'{clip(other['id'])}' has the value "
                            f"'{shown(chain[-1], value)}'."
                        )


def sharing_types(
    provider: Provider, type: ResourceType, chain: Chain
) -> Iterator[tuple[ResourceType, Chain]]:
    """Yield the types among which an attribute is unique, with its chain in each.

    "server ... within the context of the current SCIM endpoint (or tenancy)" is the
    type itself; "global" (RFC 7643 §7) is each type of the tenant whose schema says
    so of the same attribute. Choice: tenants are worlds of their own.
    """
    yield type, chain
    if chain[-1].uniqueness != "global":
        return
    for other in provider.types.values():
        for each in other.unique if other is not type else ():
            if each[-1].uniqueness == "global" and each[-1].path == chain[-1].path:
                yield other, each


# === 13. Cursors (RFC 9865): seal_cursor, open_cursor ===
#
# A cursor holds the edge of a page: the sort key and the position of the first or last
# resource on it, with a digest of the query and the time. The server stores nothing. A
# resource that exists throughout the listing appears on exactly one page.


@dataclass(frozen=True, slots=True)
class Cursor:
    """The edge of a page, the direction of the other page, and the query of both."""

    query: str  # a digest of all parameters except count and cursor
    count: int
    issued: float  # seconds since 1970
    key: SortKey
    position: tuple[int, int]  # of the type, and in the order of creation
    backwards: bool


def seal_cursor(cursor: Cursor, key: bytes) -> str:
    """Return a cursor as text that only this server can read or make (RFC 9865 §5).

    This is the synthetic-IV construction (as in RFC 5297), with HMAC-SHA-256 for the
    tag and SHAKE-256 for the key stream, in base64url: unreserved characters only.

    >>> cursor = Cursor("digest", 2, 0.0, (False, False, "ann"), (0, 7), False)
    >>> open_cursor(seal_cursor(cursor, b"key"), b"key").key
    (False, False, 'ann')
    """
    fields = (getattr(cursor, name) for name in Cursor.__slots__)
    content = encode(list(fields))
    tag = hmac.digest(key, content, "sha256")[:16]
    text = base64.urlsafe_b64encode(tag + mask(content, key, tag))
    return text.decode().rstrip("=")


def open_cursor(text: str, key: bytes) -> Cursor:
    """Return the cursor that a text holds.

    Raises InvalidCursorException unless it was made with this key.
    """
    broken = InvalidCursorException(
        detail=f"The cursor '{clip(text, 20)}' is not valid: send the nextCursor or "
        "previousCursor of a page unchanged (RFC 9865 §2.1)."
    )
    try:
        whole = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise broken from None
    tag, content = whole[:16], mask(whole[16:], key, whole[:16])
    canonical = base64.urlsafe_b64encode(whole).decode().rstrip("=") == text
    genuine = hmac.compare_digest(tag, hmac.digest(key, content, "sha256")[:16])
    if not (canonical and genuine):
        raise broken
    query, count, issued, sort_key, position, backwards = json.loads(content)
    return Cursor(query, count, issued, tuple(sort_key), tuple(position), backwards)


def mask(content: bytes, key: bytes, tag: bytes) -> bytes:
    """Encrypt or decrypt bytes: XOR them with the key stream of this tag."""
    stream = hashlib.shake_256(b"cursor" + key + tag).digest(len(content))
    return bytes(map(operator.xor, content, stream))


# === 14. Queries (RFC 7644 §3.4.2, §3.4.3): query_resources ===
#
# A page with a cursor (RFC 9865 §2), of three users:
#   GET /Users?sortBy=userName&count=2&cursor=
#   {"totalResults": 3, "itemsPerPage": 2, "nextCursor": "BgpO...", "Resources": [...]}
#   GET /Users?sortBy=userName&count=2&cursor=BgpO...
#   {"totalResults": 3, "itemsPerPage": 1, "previousCursor": "9sXc...", ...}


@dataclass(frozen=True, slots=True)
class Query:
    """What a GET or a SearchRequest asks for."""

    filter: str | None = None
    sort_by: str | None = None
    descending: bool = False
    start_index: int = 1
    count: int | None = None
    cursor: str | None = None
    selection: Selection = Selection()


SEARCH_MEMBERS = (
    *("attributes", "excludedAttributes", "filter", "sortBy", "sortOrder"),
    *("startIndex", "count", "cursor"),
)


def read_query(sent: Mapping[str, Any], provider: Provider, gate: Gate) -> Query:
    """Return the query of URL parameters, or of the members of a SearchRequest.

    In a URL numbers are text and lists have commas (RFC 7644 §3.4.2, §3.9).

    Raises InvalidValueException, InvalidSyntaxException, NotImplementedException (501).
    """
    sorts = provider.supports("sort")
    order = (read_text(sent, "sortOrder") if sorts else None) or "ascending"
    if order.lower() not in ("ascending", "descending"):
        raise InvalidValueException(
            detail=f"'sortOrder' is not valid: '{clip_name(order)}'. Send ascending or "
            "descending."
        )
    filter = read_text(sent, "filter")
    if filter is not None and not provider.supports("filter"):
        raise NotImplementedException(
            detail="'filter' is not supported (RFC 7643 §5): see "
            "/ServiceProviderConfig."
        )
    cursor = read_text(sent, "cursor")
    paging = provider.configuration["pagination"]
    if cursor is not None and not paging["cursor"]:
        raise InvalidCursorException(
            detail="'cursor' is not supported (RFC 9865 §4): send 'startIndex'."
        )
    if cursor is None and "startIndex" in sent and not paging["index"]:
        raise InvalidValueException(
            detail="'startIndex' is not supported (RFC 9865 §4): send 'cursor'."
        )
    if cursor is None and "startIndex" not in sent:
        cursor = "" if paging["defaultPaginationMethod"] == "cursor" else None
    try:
        count = read_integer(sent, "count", gate)
    except InvalidValueException as error:
        if cursor is None:
            raise
        raise InvalidCountException(detail=error.detail) from None  # RFC 9865 §2.1
    return Query(
        filter=filter,
        sort_by=read_text(sent, "sortBy") if sorts else None,
        descending=order.lower() == "descending",
        start_index=max(1, read_integer(sent, "startIndex", gate) or 1),
        count=count,
        cursor=cursor,
        selection=read_selection(
            read_names(sent, "attributes", gate),
            read_names(sent, "excludedAttributes", gate),
        ),
    )


def read_text(sent: Mapping[str, Any], name: str) -> str | None:
    """Return a parameter that is a string."""
    value = sent.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidSyntaxException(
        detail=f"'{name}' is not a string: {clip(value)}. Send a string."
    )


class Parameters(dict[str, str]):
    """The parameters of a URL, whose values are all text.

    Choice: repeated lists are joined; of other repeated parameters the last one counts.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        self.repeated: dict[str, None] = {}
        lists: dict[str, list[str]] = {"attributes": [], "excludedAttributes": []}
        for name, value in pairs:
            if name in self:
                self.repeated[name] = None
            lists.get(name, []).append(value)
            self[name] = value
        self |= {name: ",".join(parts) for name, parts in lists.items() if parts}


def read_integer(sent: Mapping[str, Any], name: str, gate: Gate) -> int | None:
    """Return a parameter that is an integer."""
    value = sent.get(name)
    if isinstance(sent, Parameters) and value is not None:
        if match := re.fullmatch(r"(-?)0*([0-9]+)", value):
            return int(match[1] + match[2][:20])  # more digits change nothing
    elif value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    elif isinstance(value, str) and re.fullmatch(r"0|-?[1-9][0-9]{0,19}", value):
        gate.meet("number-as-string", f"{name}: {value!r}")
        return int(value)
    raise InvalidValueException(
        detail=f"'{name}' is not an integer: '{clip(value)}'. Send an integer."
    )


def read_names(sent: Mapping[str, Any], name: str, gate: Gate) -> list[str]:
    """Return a parameter that is a list of attribute names."""
    value = sent.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        if not isinstance(sent, Parameters):
            gate.meet("list-as-string", f"'{name}'")
        value = value.split(",")
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return [each for part in value if (each := part.strip())]
    raise InvalidSyntaxException(
        detail=f"'{name}' is not an array of strings: send an array of strings."
    )


def query_resources(
    directory: Directory,
    types: Sequence[ResourceType],
    query: Query,
    base: str,
    gate: Gate,
) -> bytes:
    """Return a ListResponse, as JSON (RFC 7644 §3.4.2).

    Raises InvalidFilterException, InvalidValueException, SensitiveException (403), and
    for cursors InvalidCursorException, ExpiredCursorException, InvalidCountException.
    """
    with directory.store.lock:  # a page must not mix two states of the store
        found = Matches(directory, types, query, base, gate)
        if query.cursor is None:
            page, position = found.page_by_index()
        else:
            page, position = found.page_by_cursor()
        query.selection.check(types, gate)
        names = {type.name: query.selection.find(type).names for type in types}
        shown_page = []
        for resource in page:
            type = directory.provider.types[resource["meta"]["resourceType"]]
            shown_page.append(
                directory.show(type, resource, base, query.selection, names[type.name])
            )
    head = {
        "schemas": [MESSAGES + "ListResponse"],
        "totalResults": len(found.resources),
        "itemsPerPage": len(page),
        **position,
    }
    return b'%s,"Resources":[%s]}' % (encode(head)[:-1], b",".join(shown_page))


class Matches:
    """The resources that match a query, in the order of the listing."""

    def __init__(
        self,
        directory: Directory,
        types: Sequence[ResourceType],
        query: Query,
        base: str,
        gate: Gate,
    ) -> None:
        self.directory = directory
        self.types = types
        self.query = query
        self.base = base
        self.keys = self.sort_keys(gate)
        self.resources = self.matching(gate)
        if query.sort_by is not None:
            one = self.keys[types[0].name] if len(types) == 1 else self.key
            self.resources.sort(key=one, reverse=query.descending)

    def matching(self, gate: Gate) -> list[Resource]:
        """Return the matching resources, type by type, in the order of creation."""
        if self.query.filter is None:
            parts = [self.directory.select(each, None) for each in self.types]
            return [each for part in parts for each in part] if parts[1:] else parts[0]
        tree = parse_filter(self.query.filter, gate)
        found: list[Resource] = []
        for type in self.types:
            bound = bind_filter(tree, type, gate, self.unknown(gate))
            if count_terms(bound) > MAX_TERMS:
                raise InvalidFilterException(
                    detail=f"The filter has more than {MAX_TERMS} comparisons: send "
                    "fewer. An 'or' of 'eq' of one attribute counts as one."
                )
            candidates, test = self.directory.select(type, bound), compile_filter(bound)
            if is_computed(bound):
                found += [x for x in candidates if test(self.complete(type, x))]
            else:
                found += [x for x in candidates if test(x)]
        return found

    def unknown(self, gate: Gate) -> Unknown:
        """Return the function to call for an undeclared attribute in the filter.

        Over several types "the service provider SHALL treat the attribute as if there
        is no attribute value" (RFC 7644 §3.4.2.1).
        """

        def meet(name: str, scope: Scope) -> None:
            code = "unknown-filter-attribute"
            if len(self.types) == 1 and code not in gate.met:
                gate.meet(code, unknown_name(name, scope))

        return meet

    def complete(self, type: ResourceType, resource: Resource) -> Resource:
        """Return a resource with its computed attributes."""
        return self.directory.complete(type, resource, self.base)

    def sort_keys(self, gate: Gate) -> dict[str, Callable[[Resource], Any]]:
        """Return the sort key function of each type, by the name of the type."""
        keys: dict[str, Callable[[Resource], Any]] = {}
        if self.query.sort_by is None:
            return keys
        chains = parse_sort(self.query.sort_by, self.types, gate)
        for type, chain in zip(self.types, chains, strict=True):
            keys[type.name] = self.sort_key(type, chain)
        return keys

    def sort_key(
        self, type: ResourceType, chain: Chain | None
    ) -> Callable[[Resource], Any]:
        """Return the sort key function of one type."""
        if chain is None:  # of several types, this one does not have the attribute
            return lambda resource: UNASSIGNED
        key = sort_key(chain)
        if any(each.computed for each in chain):
            return lambda resource: key(self.complete(type, resource))
        return key

    def key(self, resource: Resource) -> Any:
        """Return the sort key of a resource."""
        return self.keys[resource["meta"]["resourceType"]](resource)

    def page_by_index(self) -> tuple[list[Resource], Resource]:
        """Return a page and its `startIndex` (RFC 7644 §3.4.2.4)."""
        start = self.query.start_index
        size = self.page_size(self.query.count)
        return self.resources[start - 1 : start - 1 + size], {"startIndex": start}

    def page_size(self, count: int | None) -> int:
        """Return the size of a page; a count above the limits is capped."""
        configuration = self.directory.provider.configuration
        paging = configuration["pagination"]
        most: int = min(paging["maxPageSize"], configuration["filter"]["maxResults"])
        wanted = paging["defaultPageSize"] if count is None else max(0, count)
        return min(wanted, most)

    def page_by_cursor(self) -> tuple[list[Resource], Resource]:
        """Return a page, and the cursors of the next and previous one (RFC 9865 §2).

        Raises InvalidCursorException, ExpiredCursorException, InvalidCountException.
        """
        configuration = self.directory.provider.configuration
        most = configuration["pagination"]["maxPageSize"]
        count = self.query.count
        if count is not None and count > most:  # below 0 is 0 (Table 1)
            raise InvalidCountException(
                detail=f"'count' is too large for a cursor: {clip(count, 20)}. Send 0 "
                f"to {most} (RFC 9865 §2.1)."
            )
        size = self.page_size(count)
        start, neighbours = 0, {}
        if self.query.cursor:
            cursor = self.check_cursor(
                open_cursor(self.query.cursor, self.provider_key)
            )
            start = self.place_of(cursor, size)
            if cursor.backwards:
                start, size = max(0, start - size), min(size, start)
                if not size and self.resources and cursor.count:
                    # All earlier resources were deleted: the next page begins here.
                    type, position = cursor.position
                    edge = replace(cursor, position=(type, position - 1))
                    neighbours["nextCursor"] = self.seal(edge, backwards=False)
        page = self.resources[start : start + size]
        # Choice: a count of 0 asks only for totalResults, so there are no cursors.
        if page and start + len(page) < len(self.resources):
            neighbours["nextCursor"] = self.cursor_at(page[-1], backwards=False)
        if page and start > 0:
            neighbours["previousCursor"] = self.cursor_at(page[0], backwards=True)
        return page, neighbours

    @property
    def provider_key(self) -> bytes:
        return self.directory.provider.key

    def check_cursor(self, cursor: Cursor) -> Cursor:
        """Raise an error unless a cursor belongs to this query and has not expired."""
        if cursor.query != self.digest():
            raise InvalidCursorException(
                detail="The cursor belongs to another query: send the endpoint, "
                "filter, sorting and attributes of the first page (RFC 9865 §2)."
            )
        if cursor.count != self.page_size(self.query.count):
            raise InvalidCountException(
                detail="'count' differs from that of the first page: send "
                f"{cursor.count} (RFC 9865 §2)."
            )
        provider = self.directory.provider
        timeout = provider.configuration["pagination"]["cursorTimeout"]
        if provider.clock().timestamp() - cursor.issued > timeout:
            raise ExpiredCursorException(
                detail=f"The cursor is older than {timeout} seconds: start again "
                "with the first page (RFC 9865 §2.1)."
            )
        return cursor

    def digest(self) -> str:
        """Return a digest of all parameters except count and cursor."""
        query = self.query
        parts: list[Any] = [self.directory.name, [each.name for each in self.types]]
        parts += [query.filter, query.sort_by, query.descending]
        parts += [query.selection.attributes, query.selection.excluded]
        return hashlib.sha256(encode(parts)).hexdigest()[:32]

    def cursor_at(self, resource: Resource, backwards: bool) -> str:
        """Return the cursor of the page that follows or precedes a resource."""
        cursor = Cursor(
            query=self.digest(),
            count=self.page_size(self.query.count),
            issued=0.0,
            key=self.key(resource) if self.keys else UNASSIGNED,
            position=self.position(resource),
            backwards=backwards,
        )
        return self.seal(cursor, backwards)

    def seal(self, cursor: Cursor, backwards: bool) -> str:
        """Return the cursor as text, in one direction, issued now."""
        now = self.directory.provider.clock().timestamp()
        edge = replace(cursor, issued=now, backwards=backwards)
        return seal_cursor(edge, self.provider_key)

    def position(self, resource: Resource) -> tuple[int, int]:
        """Return the position that orders resources with equal sort keys."""
        names = [each.name for each in self.types]
        name = resource["meta"]["resourceType"]
        type = self.directory.provider.types[name]
        return names.index(name), self.directory.store.position(type, resource["id"])

    def place_of(self, cursor: Cursor, size: int) -> int:
        """Return the index of the first resource at or after the edge of a page."""

        def is_behind(place: int) -> bool:
            resource = self.resources[place]
            key = self.key(resource) if self.keys else UNASSIGNED
            if key != cursor.key:
                return (key < cursor.key) if self.query.descending else key > cursor.key
            position = self.position(resource)
            return (
                position >= cursor.position
                if cursor.backwards
                else (position > cursor.position)
            )

        places = range(len(self.resources))
        return bisect.bisect_left(places, True, key=is_behind)


# === 15. Bulk (RFC 7644 §3.7): execute_bulk ===
#
# Two groups, each a member of the other (§3.7.1: "The service provider MUST try to
# resolve circular cross-references"):
#   {"method": "POST", "path": "/Groups", "bulkId": "A",
#    "data": {"displayName": "A", "members": [{"value": "bulkId:B"}], ...}}
#   {"method": "POST", "path": "/Groups", "bulkId": "B",
#    "data": {"displayName": "B", "members": [{"value": "bulkId:A"}], ...}}
# Every POST gets its id before the first operation runs, say 1 for A and 2 for B. A is
# created with the member 2, which does not exist yet, and B with the member 1. If B
# fails, A is undone and ends in 409. Without a circle, an operation runs after those
# that it refers to.

BULK_MEMBERS = ("method", "bulkId", "version", "path", "data")


def execute_bulk(
    directory: Directory,
    payload: Mapping[str, Any],
    base: str,
    gate: Gate,
    refers: bool = True,
) -> Resource:
    """Carry out the operations of a BulkRequest and return a BulkResponse.

    If `refers` is false, the job is not searched for references to a bulkId.

    Raises InvalidSyntaxException if the payload is not a BulkRequest,
    PayloadTooLargeException (413) for too many operations (RFC 7644 §3.7.4).
    """
    message = read_message(payload, "BulkRequest", ("failOnErrors", "Operations"), gate)
    sent = message.get("Operations")
    if not isinstance(sent, list):
        raise InvalidSyntaxException(
            detail="'Operations' is missing or not an array: send an array of "
            "operations."
        )
    most = directory.provider.configuration["bulk"]["maxOperations"]
    if len(sent) > most:
        raise PayloadTooLargeException(
            detail=f"The job has {len(sent)} operations, but maxOperations is {most}: "
            "send several smaller jobs."
        )
    fail_on = message.get("failOnErrors")
    if fail_on is not None and (type(fail_on) is not int or fail_on < 0):
        raise InvalidSyntaxException(
            detail=f"'failOnErrors' is {clip(fail_on)}: send an integer of 1 or more, "
            "or 0 for no limit."
        )
    job = BulkJob(directory, sent, base, gate, refers)
    return {
        "schemas": [MESSAGES + "BulkResponse"],
        "Operations": job.execute(fail_on or math.inf),  # Choice: 0 is no limit
    }


class BulkJob:
    """The operations of a bulk job and their results.

    An operation is known by its place in the job.
    """

    def __init__(
        self,
        directory: Directory,
        sent: list[Any],
        base: str,
        gate: Gate,
        refers: bool = True,
    ) -> None:
        self.directory = directory
        self.sent = sent
        self.base = base
        self.gate = gate
        self.places: dict[str, int] = {}  # bulkId: place of the POST
        self.ids: dict[str, str] = {}  # bulkId: id of the new resource
        self.results: dict[int, Resource] = {}
        self.failed = 0  # results that are errors
        # Place of a POST: places of the operations that referred to its bulkId.
        self.relying: dict[int, list[int]] = {}  # before it ran
        self.used: dict[int, list[int]] = {}  # at any time
        self.members = [lower_keys(each) for each in sent]
        for place, members in enumerate(self.members):
            bulk_id = members.get("bulkid")
            named = members.get("method") == "POST" and isinstance(bulk_id, str)
            if named and bulk_id and bulk_id not in self.places:
                self.places[bulk_id] = place
                self.ids[bulk_id] = unused_id(directory)
        self.references = [
            [self.places[x] for x in bulk_ids_in(each, self.places)] if refers else []
            for each in sent
        ]

    def execute(self, fail_on: float) -> list[Resource]:
        """Return the results, stopping after `fail_on` errors (RFC 7644 §3.7)."""
        for place in self.order():
            self.results[place] = self.attempt(place)
            for other in self.relying.pop(place, []):
                self.settle(other)
            if self.failed >= fail_on:
                break
        for others in list(self.relying.values()):  # the POST never ran
            for other in others:
                self.undo(other)
        return [self.results[place] for place in sorted(self.results)]

    def order(self) -> list[int]:
        """Return the places in the order in which the operations run.

        This is the order of the request, except that an operation runs after those that
        it refers to, and after earlier ones with the same path: "the same stateful
        result is achieved as for non-optimized processing" (§3.7). The operations of a
        circle keep their order. One that refers to a circle runs after all of it.
        """
        if not any(self.references):
            return list(range(len(self.sent)))
        needs = self.needs()
        circles = find_circles(needs)
        number = {place: n for n, circle in enumerate(circles) for place in circle}
        left = [len(circle) for circle in circles]
        waits_for = [0] * len(circles)
        followers: list[list[int]] = [[] for _ in circles]
        for place, before in enumerate(needs):
            for each in before:
                if number[each] != number[place]:
                    waits_for[number[place]] += 1
                    followers[number[each]].append(number[place])
        ready = sorted(place for place in number if not waits_for[number[place]])
        order = []
        while ready:
            order.append(place := heapq.heappop(ready))
            left[number[place]] -= 1
            for each in () if left[number[place]] else followers[number[place]]:
                waits_for[each] -= 1
                for member in () if waits_for[each] else circles[each]:
                    heapq.heappush(ready, member)
        return order

    def needs(self) -> list[dict[int, None]]:
        """Return, for each operation, the places that have to run before it."""
        needs = []
        latest: dict[str, int] = {}  # by path
        for place, members in enumerate(self.members):
            before = dict.fromkeys(self.references[place])
            path = members.get("path")
            if members.get("method") != "POST" and isinstance(path, str):
                if path in latest:
                    before[latest[path]] = None
                latest[path] = place
            before.pop(place, None)
            needs.append(before)
        return needs

    def attempt(self, place: int) -> Resource:
        """Carry out one operation and return its result, which may be an error."""
        gate = Gate(self.gate.accepted, self.base)
        members = self.members[place]
        result = {
            name: members[name.lower()]
            for name in ("method", "bulkId")
            if isinstance(members.get(name.lower()), str)
        }
        try:
            return result | self.run(place, gate, result)
        except SCIMException as error:
            for other in self.relying.pop(place, []):
                self.undo(other)
            return result | self.fail(error)
        finally:
            self.gate.join(gate)

    def run(self, place: int, gate: Gate, result: Resource) -> Resource:
        """Carry out one operation and return the rest of its result.

        The location is set in `result` as soon as it is known, so that an error has it.

        Raises the errors of the operation, and ConflictException (409) for a reference
        to an operation that failed.
        """
        if not isinstance(self.sent[place], dict):
            raise InvalidSyntaxException(
                detail="The operation is not an object: send an object with 'method' "
                "and 'path'."
            )
        target = self.target(self.members[place].get("path"))
        if target and target[1]:
            exists = self.directory.find(target[1], [target[0].name])
            if (
                exists or result.get("method") != "POST"
            ):  # "except [...] a POST failure"
                result["location"] = locate(self.base, *target)
        members = read_members(self.sent[place], BULK_MEMBERS, "a bulk operation", gate)
        method, type, id = self.check_target(members, target, gate)
        if method == "POST":
            self.check_bulk_id(place, members.get("bulkId"))
        gate.resolve_bulk_id = partial(self.resolve, place, gate)
        data = {} if method == "DELETE" else members.get("data")
        if not isinstance(data, dict):
            what = (
                "an object with 'Operations'" if method == "PATCH" else "the resource"
            )
            raise InvalidSyntaxException(
                detail=f"'data' of the {method} operation is missing or not an object: "
                f"send {what}."
            )
        condition = self.condition(members.get("version"))
        directory = self.directory
        with directory.store.lock:
            if method == "POST":
                id = self.ids[members["bulkId"]]
                resource = create_resource(directory, type, data, gate, id)
                result["location"] = locate(self.base, type, id)
            elif method == "PUT":
                resource = replace_resource(directory, type, id, data, gate, condition)
            elif method == "PATCH":
                check_supported(directory.provider, "patch")
                operations = read_operations(data, gate)
                resource, _ = modify_resource(
                    directory, type, id, operations, gate, condition
                )
            else:
                delete_resource(directory, type, id, condition)
                return {"status": "204"}
        done = {"status": "201" if method == "POST" else "200"}
        if directory.provider.supports("etag"):
            done["version"] = resource["meta"]["version"]
        return done

    def target(self, path: Any) -> tuple[ResourceType, str] | None:
        """Return the resource type and the id ("" for none) that a path names.

        Raises ConflictException if the path has the bulkId of a failed operation.
        """
        above, *parts = path.split("/", 3) if isinstance(path, str) else [""]
        if above or not 1 <= len(parts) <= 2 or not all(parts):
            return None
        if re.search(r"[?#\[\]\s\"]", parts[-1]):  # a query, or not a URI
            return None
        id = unquote(parts[1]) if parts[1:] else ""
        for type in self.directory.provider.types.values():
            if type.endpoint[1:].lower() == parts[0].lower():
                if id.startswith("bulkId:"):
                    id = self.resolve(-1, Gate(), id.removeprefix("bulkId:")) or id
                return type, id
        return None

    def check_target(
        self,
        members: Mapping[str, Any],
        target: tuple[ResourceType, str] | None,
        gate: Gate,
    ) -> tuple[str, ResourceType, str]:
        """Return the method, the resource type and the id, which is "" for a POST.

        Raises InvalidSyntaxException, and NotFoundException for an unknown path.
        """
        method, path = members.get("method"), members.get("path")
        if "method" not in members:
            raise InvalidSyntaxException(
                detail="'method' is missing: send POST, PUT, PATCH or DELETE."
            )
        if method not in ("POST", "PUT", "PATCH", "DELETE"):
            raise InvalidSyntaxException(
                detail=f"'method' is not valid: {clip(method)!r}. Send POST, PUT, "
                "PATCH or DELETE."
            )
        if not isinstance(path, str):
            raise InvalidSyntaxException(
                detail="'path' is missing or not a string: send a string, as in /Users."
            )
        if target is None or (method == "POST") is bool(target[1]):
            form = "/Users" if method == "POST" else "/Users/2819c223"
            raise NotFoundException(
                detail=f"'path' is not valid for {method}: '{clip_path(path)}'. Send a "
                f"path as in {form} (RFC 7644 §3.7)."
            )
        check_spelling(path.split("/")[1], target[0].endpoint[1:], gate)
        return method, *target

    def check_bulk_id(self, place: int, bulk_id: Any) -> None:
        """Raise InvalidValueException unless a POST has a bulkId of its own."""
        if not isinstance(bulk_id, str) or not bulk_id:
            raise InvalidValueException(
                detail="The POST operation has no valid 'bulkId': send a string "
                "that is unique in the job (RFC 7644 §3.7)."
            )
        if self.places[bulk_id] != place:
            raise InvalidValueException(
                detail=f"'bulkId' is used by an earlier operation: '{clip(bulk_id)}'. "
                "Send one that is unique in the job."
            )

    def resolve(self, place: int, gate: Gate, bulk_id: str) -> str | None:
        """Return the id that replaces a bulkId, and record the reference to it.

        Raises ConflictException if its operation failed.
        """
        other = self.places.get(bulk_id)
        if other is None:
            return None
        if "response" in self.results.get(other, {}):
            raise ConflictException(
                detail=f"The bulkId '{clip(bulk_id)}' cannot be resolved because its "
                "operation failed (RFC 7644 §3.7.1)."
            )
        self.used.setdefault(other, []).append(place)
        if other not in self.results:
            self.relying.setdefault(other, []).append(place)
            gate.promised.add(self.ids[bulk_id])
        return self.ids[bulk_id]

    def settle(self, place: int) -> None:
        """Update the version in a result, after a resource it refers to was created."""
        result = self.results.get(place, {})
        if "version" in result and (
            found := self.directory.find(self.ids[result["bulkId"]])
        ):
            result["version"] = found[1]["meta"]["version"]

    def undo(self, place: int) -> None:
        """Undo a POST that referred to a failed one, and those that referred to it.

        Choice: RFC 7644 §3.7.1 lets a circle end in 409; all its resources are deleted.
        """
        stack = [place]
        while stack:
            result = self.results.get(place := stack.pop())
            if result is None or "response" in result or result["method"] != "POST":
                continue
            id = self.ids[result["bulkId"]]
            if found := self.directory.find(id):
                delete_resource(self.directory, found[0], id)
            error = ConflictException(
                detail="The operation was undone because it refers to a bulkId whose "
                "operation failed (RFC 7644 §3.7.1)."
            )
            kept = {name: result[name] for name in ("method", "bulkId")}
            self.results[place] = kept | self.fail(error)
            stack += self.used.get(place, [])

    def fail(self, error: SCIMException) -> Resource:
        """Count a failed operation, and return its status and response.

        Choice: `status` is a string, as in RFC 7644 §3.7 and the examples of §3.7.3.
        The text of §3.7.3 has an object with `code` and `description`.
        """
        self.failed += 1
        return {"status": str(error.status), "response": error_body(error)}

    def condition(self, version: Any) -> Condition:
        """Return the precondition for a `version` (RFC 7644 §3.7)."""
        if version is None or not self.directory.provider.supports("etag"):
            return no_condition
        return Preconditions(if_match=str(version)).check


def find_circles(needs: list[dict[int, None]]) -> list[list[int]]:
    """Return the places in groups: those that need each other are in one (Tarjan).

    >>> find_circles([{2: None}, {}, {0: None, 1: None}])
    [[1], [0, 2]]
    """
    circles: list[list[int]] = []
    path: list[int] = []  # places that are not in a circle yet
    lowest = {-1: -1}  # index on the path that each place leads back to
    way = [(-1, 0, iter(range(len(needs))))]  # no recursion: chains can be long
    while True:
        place, start, rest = way[-1]
        for each in rest:
            if each not in lowest:
                lowest[each] = len(path)
                way.append((each, len(path), iter(needs[each])))
                path.append(each)
                break
            lowest[place] = min(lowest[place], lowest[each])
        else:
            if place == -1:
                return circles
            if lowest[place] == start:
                circles.append(path[start:])
                lowest.update(dict.fromkeys(path[start:], len(needs)))
                del path[start:]
            way.pop()
            above = way[-1][0]
            lowest[above] = min(lowest[above], lowest[place])


def check_supported(provider: Provider, name: str) -> None:
    """Raise NotImplementedException (501) if a capability is switched off."""
    if not provider.supports(name):
        raise NotImplementedException(
            detail=f"{name} is not supported (RFC 7643 §5): see /ServiceProviderConfig."
        )


def lower_keys(sent: Any) -> Resource:
    """Return the members of an operation with their names in lower case."""
    return {key.lower(): x for key, x in sent.items()} if isinstance(sent, dict) else {}


def bulk_ids_in(value: Any, known: Container[str]) -> Iterator[str]:
    """Yield the known bulkIds in an operation, at any depth.

    Some may not be references, because only the schema can tell. They affect nothing
    but the order of the operations.
    """
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, (dict, list)):
            stack += item.values() if isinstance(item, dict) else item
        elif isinstance(item, str) and "bulkId:" in item:
            for part in item.split("bulkId:")[1:]:
                found = {part, re.split(r'["/\]]', part, maxsplit=1)[0]}
                yield from (each for each in found if each in known)


# === 16. Discovery (RFC 7644 §4): read_configuration, discovery_documents ===


CONFIGURATION: dict[str, Any] = {
    "schemas": [CORE + "ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {"supported": True, "maxOperations": 1000, "maxPayloadSize": MAX_BODY},
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
        "cursorTimeout": 3600,  # seconds
    },
}
AUTHENTICATION_SCHEMES = {
    "oauthbearertoken": {
        "type": "oauthbearertoken",
        "name": "OAuth Bearer Token",
        "description": "A bearer token in the Authorization header",
        "specUri": "https://www.rfc-editor.org/info/rfc6750",
    },
    "httpbasic": {
        "type": "httpbasic",
        "name": "HTTP Basic",
        "description": "A user name and a password in the Authorization header",
        "specUri": "https://www.rfc-editor.org/info/rfc7617",
    },
}


def read_configuration(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the service provider configuration: the default with the given settings.

    It is what /ServiceProviderConfig shows and what the server does.

    Raises ValueError.

    >>> read_configuration({"patch": {"supported": False}})["patch"]
    {'supported': False}
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"it is not a JSON object: {clip(given)}")
    check_spelling_of_settings(given)
    merged: dict[str, Any] = {}
    for name, default in CONFIGURATION.items():
        value = given.get(name, default)
        if isinstance(default, dict):
            if not isinstance(value, Mapping):
                raise ValueError(f"'{name}' must be an object, not {clip(value)}")
            value = {**default, **value}
            for key, known in default.items():
                check_setting(f"{name}.{key}", value[key], known)
        merged[name] = value
    check_pagination(merged["pagination"], given.get("pagination") or {})
    extra = {name: value for name, value in given.items() if name not in merged}
    merged = merged | extra
    merged["schemas"] = CONFIGURATION["schemas"]
    try:
        find_unknown_members(merged, scim2_models.ServiceProviderConfig)
    except ValueError as error:
        raise ValueError(first_line(error)) from None
    return merged


def check_spelling_of_settings(given: Mapping[str, Any]) -> None:
    """Raise ValueError for a misspelt setting, naming the nearest one."""
    fields = scim2_models.ServiceProviderConfig.model_fields.values()
    names = [str(each.serialization_alias) for each in fields]
    inner = [(f"{name}.", x, given.get(name)) for name, x in CONFIGURATION.items()]
    for parent, known, members in [("", names, given), *inner]:
        for name in members if isinstance(members, Mapping) else ():
            if name not in known and (hint := nearest(str(name), known, 0.8)):
                raise ValueError(f"unknown setting '{parent}{clip(name)}'{hint}")


def check_pagination(paging: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Raise ValueError if the pagination contradicts itself (RFC 9865 §4).

    Defaults that were not given are adapted to the settings that were.
    """
    if not paging["index"] and "defaultPaginationMethod" not in given:
        paging["defaultPaginationMethod"] = "cursor"
    if not paging[paging["defaultPaginationMethod"]]:
        method = paging["defaultPaginationMethod"]
        raise ValueError(
            f"'pagination.defaultPaginationMethod' is {method}, but "
            f"'pagination.{method}' is false"
        )
    if "defaultPageSize" not in given:
        paging["defaultPageSize"] = min(
            paging["defaultPageSize"], paging["maxPageSize"]
        )
    if paging["defaultPageSize"] > paging["maxPageSize"]:
        raise ValueError(
            f"'pagination.defaultPageSize' cannot be {paging['defaultPageSize']}: it "
            f"must be an integer from 1 to {paging['maxPageSize']}, 'maxPageSize'"
        )


def check_setting(name: str, value: Any, known: Any) -> None:
    """Raise ValueError unless a setting has the type of its default."""
    if isinstance(known, bool):
        right, kind = isinstance(value, bool), "true or false"
    elif isinstance(known, int):
        right = isinstance(value, int) and not isinstance(value, bool) and value > 0
        kind = "an integer of 1 or more"
    else:
        right, kind = value in ("index", "cursor"), '"index" or "cursor"'
    if not right:
        raise ValueError(f"'{name}' cannot be {clip(value)}: it must be {kind}")


def discovery_documents(
    configuration: Mapping[str, Any],
    schemas: Iterable[Mapping[str, Any]],
    types: Iterable[Mapping[str, Any]],
) -> dict[str, dict[str, Resource]]:
    """Return the documents of each discovery endpoint, by endpoint and by id."""
    return {
        "ServiceProviderConfig": {"": dict(configuration)},
        "ResourceTypes": {
            each.get("id") or each["name"]: {
                "schemas": [CORE + "ResourceType"],
                "id": each["name"],
                **each,
            }
            for each in types
        },
        "Schemas": {each["id"]: spell_out_schema(each) for each in schemas},
    }


def show_document(document: Resource, endpoint: str, id: str, base: str) -> Resource:
    """Return a discovery document with its `meta` (RFC 7643 §3.1)."""
    name = (
        endpoint.removesuffix("s") if endpoint != "ServiceProviderConfig" else endpoint
    )
    location = f"{base}/{endpoint}" + (f"/{quote(id, safe=':')}" if id else "")
    return document | {"meta": {"resourceType": name, "location": location}}


# ##### Part IV. The wire #####


# === 17. Requests and replies (RFC 7644 §3.1, §3.8, §3.14): Request, Reply ===
#
# GET /v2/Users/2819c223
# If-None-Match: W/"e180ee84f0671b1"    the version that the client has
#
# HTTP/1.1 304 Not Modified             it is still the current version
# ETag: W/"e180ee84f0671b1"


@dataclass(slots=True)
class Reply:
    """The status, body and headers of a response."""

    status: int
    content: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Request:
    """A request whose directory and client are known."""

    environ: Mapping[str, Any]
    method: str
    query: Parameters
    application: Application
    directory: Directory
    base: str
    gate: Gate
    settings: Settings
    subject: str | None = None
    types: list[ResourceType] = field(default_factory=list)
    id: str = ""
    selection: Selection = Selection()

    @property
    def provider(self) -> Provider:
        return self.directory.provider

    @property
    def type(self) -> ResourceType:
        """The one resource type that the path names."""
        return self.types[0]

    def header(self, name: str) -> str:
        """Return the value of a header field, or an empty string."""
        value: str = self.environ.get("HTTP_" + name.upper().replace("-", "_"), "")
        return value

    def payload(self) -> dict[str, Any]:
        """Return the JSON object in the body.

        Raises StatusException (411, 413, 415), InvalidSyntaxException.
        """
        return parse_json(self.content(), self.gate)

    def content(self, limit: int | None = None, name: str = "") -> bytes:
        """Return the body. Raises StatusException: 400, 411, 413, 415."""
        content_type = self.environ.get("CONTENT_TYPE", "")
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type not in ("", MEDIA_TYPE, "application/json"):
            raise StatusException(
                415,
                f"Content-Type is not {MEDIA_TYPE}: send that type (RFC 7644 §3.8).",
            )
        most = limit or self.application.max_body
        return read_content(self.environ, most, name or "the limit")

    def preconditions(self) -> Preconditions:
        """Return the preconditions in the headers (RFC 7644 §3.14)."""
        if not self.provider.supports("etag"):
            return Preconditions()
        return Preconditions(self.header("If-Match"), self.header("If-None-Match"))


def read_content(environ: Mapping[str, Any], limit: int, name: str) -> bytes:
    """Return the body, with or without a Content-Length.

    Raises StatusException: 400 if the body is cut off, 411, 413 if it is too large.
    """
    too_large = StatusException(
        413, f"The body is larger than {name}, {limit} bytes: send a smaller body."
    )
    announced = environ.get("CONTENT_LENGTH") or ""
    stream = environ["wsgi.input"]
    if announced:
        if not re.fullmatch(r"[0-9]+", announced):
            raise StatusException(
                400, "Content-Length is not a number: send the body's size in bytes."
            )
        if len(announced) > 15 or int(announced) > limit:
            raise too_large
        content: bytes = stream.read(int(announced))
        if len(content) < int(announced):
            raise StatusException(400, "The body is shorter than its Content-Length.")
        return content
    if environ.get("wsgi.input_terminated"):
        content = stream.read(limit + 1)
        if len(content) > limit:
            raise too_large
        return content
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise StatusException(
            411, "The request has no Content-Length: send the body's size in bytes."
        )
    return b""


def parse_json(content: bytes, gate: Gate) -> dict[str, Any]:
    """Return the JSON object in a body. Raises InvalidSyntaxException.

    >>> parse_json(b'{"userName": "bjensen"}', Gate())
    {'userName': 'bjensen'}
    """
    if not content.strip():
        raise InvalidSyntaxException(
            detail="The request has no body: send a JSON object."
        )
    payload = decode_json(content, gate, "The body")
    if not isinstance(payload, dict):
        raise InvalidSyntaxException(detail="The body is not a JSON object: send one.")
    return payload


def decode_json(content: bytes, gate: Gate, name: str) -> Any:
    """Return the value of a JSON text in UTF-8 (RFC 8259), called `name` in errors.

    Raises InvalidSyntaxException, also for numbers beyond a double, deep nesting and
    lone surrogates.
    """
    if content.startswith(b"\xef\xbb\xbf"):
        raise InvalidSyntaxException(
            detail=f"{name} begins with a byte order mark: send UTF-8 without one."
        )
    try:
        text = content.decode()
        try:
            payload = UNIQUE_KEYS.decode(text)
        except DoubledKeyError as error:
            gate.meet("duplicate-json-key", f"'{clip_name(str(error))}' twice")
            payload = ANY_KEYS.decode(text)
    except RecursionError:
        raise too_deep() from None
    except UnicodeDecodeError:
        raise InvalidSyntaxException(
            detail=f"{name} is not UTF-8: encode it as UTF-8."
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidSyntaxException(
            detail=f"{name} is not valid JSON: {error.msg} (line {error.lineno}, "
            f"column {error.colno})."
        ) from None
    except ValueError:
        raise InvalidSyntaxException(
            detail=f"{name} has NaN, Infinity or a number that is too large: send a "
            "number that fits in a double."
        ) from None
    if not is_shallow(content):
        check_depth(payload)
    if b"\\u" in content:
        check_text(payload)
    return payload


def refuse_number(text: str) -> NoReturn:
    """Raise ValueError for NaN and Infinity, which are not JSON."""
    raise ValueError(text)


def read_float(text: str) -> float:
    """Return a number. Raises ValueError if it does not fit in a double."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


class DoubledKeyError(Exception):
    """A JSON object has the same key twice."""


def read_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises DoubledKeyError with its first repeated key."""
    read = dict(pairs)
    if len(read) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise DoubledKeyError(name)
            seen.add(name)
    return read


ANY_KEYS = json.JSONDecoder(parse_constant=refuse_number, parse_float=read_float)
UNIQUE_KEYS = json.JSONDecoder(
    object_pairs_hook=read_unique,
    parse_constant=refuse_number,
    parse_float=read_float,
)


def too_deep() -> InvalidSyntaxException:
    """Return the error for JSON that is nested too deep."""
    return InvalidSyntaxException(
        detail=f"The JSON is nested deeper than {MAX_DEPTH} levels: send fewer."
    )


ALL_BUT_BRACKETS = bytes(each for each in range(256) if each not in b"[]{}")


def is_shallow(content: bytes) -> bool:
    """Return whether JSON is certainly nested at most MAX_DEPTH levels deep.

    False can also come from brackets in strings: then `check_depth` decides, which is
    slower.
    """
    brackets = content.translate(None, ALL_BUT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return not brackets


def check_depth(payload: Any) -> None:
    """Raise InvalidSyntaxException if JSON is nested too deep."""
    level, depth = [payload], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise too_deep()
        level = [
            each
            for value in level
            if isinstance(value, (dict, list))
            for each in (value.values() if isinstance(value, dict) else value)
        ]


def check_text(payload: Any) -> None:
    """Raise InvalidSyntaxException for what JSON cannot hold: lone surrogates, NaN."""
    try:
        encode(payload)
    except UnicodeEncodeError:
        raise InvalidSyntaxException(
            detail="The JSON has a lone surrogate, which is not a character: send the "
            "pair, or leave it out."
        ) from None
    except ValueError:
        raise InvalidSyntaxException(
            detail="NaN and Infinity are not JSON: send a number."
        ) from None


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The versions in If-Match and If-None-Match (RFC 7644 §3.14).

    Departure: If-Match compares weakly, because the RFC's own example needs it. RFC
    9110 §13.1.1 asks for the strong comparison, which never matches a weak version.
    """

    if_match: str = ""
    if_none_match: str = ""

    def check(self, resource: Resource) -> None:
        """Raise PreconditionFailedException (412) for another version."""
        version = resource["meta"]["version"]
        if self.if_match and not is_listed(version, self.if_match):
            raise PreconditionFailedException(
                detail=f"If-Match does not list the current version, {version}: send "
                "the ETag of a new GET."
            )
        if self.if_none_match and is_listed(version, self.if_none_match):
            raise PreconditionFailedException(
                detail=f"If-None-Match lists the current version, {version}."
            )

    def is_unmodified(self, resource: Resource) -> bool:
        """Return whether the status of a GET is 304."""
        version = resource["meta"]["version"]
        return bool(self.if_none_match) and is_listed(version, self.if_none_match)


ENTITY_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def is_listed(version: str, tags: str) -> bool:
    """Return whether a list of entity tags has this version, compared weakly.

    Raises StatusException, 400, if it is not a list of entity tags (RFC 9110 §8.8.3).

    >>> is_listed('W/"e180ee84f0671b1"', '"a330bc54f0671c9", "e180ee84f0671b1"')
    True
    """
    if tags.strip() == "*":
        return True
    found = ENTITY_TAG.findall(tags)
    if not found or ENTITY_TAG.sub("", tags).strip(" \t,"):
        raise StatusException(
            400,
            "If-Match or If-None-Match is not a list of entity tags: send one in "
            f"quotes, as in {version}.",
        )
    return version[3:-1] in found


def show_resource(
    request: Request,
    type: ResourceType,
    resource: Resource,
    status: int = 200,
    written: Sequence[Written] = (),
) -> Reply:
    """Return a reply with the selected attributes of a resource and its ETag."""
    selection = request.selection
    content = request.directory.show(
        type,
        resource,
        request.base,
        selection,
        selection.find(type).names if selection else {},
        written,
    )
    location = locate(request.base, type, resource["id"])
    headers = [*entity_tag(request, resource), ("Content-Location", location)]
    return Reply(status, content, headers)


def entity_tag(request: Request, resource: Resource) -> list[tuple[str, str]]:
    """Return the ETag header, if versions are supported (RFC 7644 §3.14)."""
    if not request.provider.supports("etag"):
        return []
    return [("ETag", resource["meta"]["version"])]


# === 18. Who may ask (RFC 7644 §2): authenticate ===


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: the name in the report, and the userName of a user's own secret."""

    name: str = ""
    subject: str | None = None


@dataclass(frozen=True, slots=True, repr=False)  # secrets are printed nowhere
class Credentials:
    """The authentication schemes of a tenant, and who is known by which secret."""

    schemes: tuple[str, ...] = ()  # as ServiceProviderConfig names them
    known: Mapping[bytes, Mapping[bytes, Identity]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.schemes)


CHALLENGES = {"oauthbearertoken": "Bearer", "httpbasic": "Basic"}


def read_credentials(options: Mapping[str, Any]) -> Credentials:
    """Return the credentials that options give. Raises ValueError, without secrets."""
    bearer: dict[bytes, Identity] = {}
    tokens = check_strings("bearer_tokens", options.get("bearer_tokens", ()))
    users = check_pairs("user_tokens", options.get("user_tokens"))
    passwords = check_pairs("basic_auth", options.get("basic_auth"))
    given = [(Identity(f"token {n}"), token) for n, token in enumerate(tokens, 1)]
    given += [(Identity(user, user), token) for user, token in users.items()]
    for identity, token in given:
        if fault := fault_of(token) or (as_bytes(token) in bearer and "is given twice"):
            name = clip(identity.subject or f"bearer {identity.name}")
            raise ValueError(f"the token of '{name}' {fault}")
        bearer[as_bytes(token)] = identity
    for user in passwords:
        if ":" in user:  # RFC 7617 §2: it would end the name
            raise ValueError(f"the name '{clip(user)}' of basic_auth has a colon")
    basic = {as_bytes(f"{x}:{y}"): Identity(x, x) for x, y in passwords.items() if y}
    schemes = {"oauthbearertoken": bearer, "httpbasic": passwords}
    return Credentials(
        tuple(name for name, secrets in schemes.items() if secrets),
        {b"bearer": bearer, b"basic": basic},  # an empty password lets nobody in
    )


def fault_of(token: str) -> str:
    """Return why no client could send a token, or that everyone could; else nothing."""
    if not token:
        return "is empty: it would let everyone in"
    if token.lower().startswith("bearer "):
        return "begins with the word Bearer: give the token without it"
    if token != token.strip() or CONTROLS.search(token):
        return "has blanks at its ends, or control characters"
    return ""


def check_strings(option: str, value: Any) -> list[str]:
    """Return a list of strings; a lone string is not one. Raises ValueError."""
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        found = list(value)
        if all(isinstance(each, str) for each in found):
            return found
    raise ValueError(f"{option} must be a list of strings, such as ['...']")


def check_pairs(option: str, value: Any) -> dict[str, str]:
    """Return an object of names and their secrets. Raises ValueError."""
    pairs = {} if value is None else value
    if isinstance(pairs, Mapping) and all(
        isinstance(name, str) and name and isinstance(secret, str)
        for name, secret in pairs.items()
    ):
        return dict(pairs)
    raise ValueError(f"{option} must map names to strings, as in {{'ann': '...'}}")


def authenticate(header: str, credentials: Credentials) -> Identity:
    """Return who asks, by the Authorization header (RFC 6750, RFC 7617).

    Raises StatusException, 401.
    """
    if not credentials:
        return Identity()
    scheme, _, sent = header.encode("latin-1").partition(b" ")
    scheme, sent = scheme.lower(), sent.strip()
    secret = decode_pair(sent) if scheme == b"basic" else sent
    found = None
    for known, identity in credentials.known.get(scheme, {}).items():
        if hmac.compare_digest(secret, known):
            found = identity
    if found is None:
        names = [CHALLENGES[each] for each in credentials.schemes]
        words = " or ".join(names)
        if not header:
            detail = f"The Authorization header is missing: it begins with {words}."
        elif scheme.decode("latin-1") not in map(str.lower, names):
            detail = f"The Authorization header does not begin with the word {words}."
        else:
            detail = "The credentials in the Authorization header are not valid here."
        challenges = ", ".join(f'{each} realm="SCIM"' for each in names)
        raise StatusException(401, detail, [("WWW-Authenticate", challenges)])
    return found


def as_bytes(text: str) -> bytes:
    """Answer a secret as a client sends it, also one that is no text."""
    return text.encode("utf-8", "surrogateescape")


def decode_pair(sent: bytes) -> bytes:
    """Answer the name and password of basic authentication, or nothing."""
    try:
        return base64.b64decode(sent, validate=True)
    except ValueError:
        return b""


# === 19. Where the server is, and who may write to it: find_origin, check_page ===


HOST = re.compile(  # each answer repeats it, so it is no longer than a name can be
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,255})(?::([0-9]{1,5}))?", re.A
)
URL_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", re.A)
"""A path that can be reflected: without an empty or a dot segment (RFC 3986 §3.3)."""


def check_host(host: str, header: str) -> str:
    """Return a host and port that may be reflected; another is not quoted.

    Raises StatusException, 400.
    """
    match = HOST.fullmatch(host)
    broken = not match or int(match[2] or 0) > 65535
    if broken or (host[0] == "[" and not is_address(host[1 : host.index("]")])):
        raise StatusException(
            400, f"{header} is not a host with an optional port: send host:8080, say."
        )
    return host


def find_origin(environ: Mapping[str, Any], reverse_proxy: bool) -> tuple[str, str]:
    """Answer the origin that a client sees, and the path before everything of ours.

    Behind a reverse proxy both come from its headers, `Forwarded` (RFC 7239) before
    X-Forwarded-*. Raises StatusException, 400.
    """
    scheme = environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST") or ""
    if not host:
        host = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    prefix = quote(environ.get("SCRIPT_NAME", "").rstrip("/"))
    check_host(host, "Host")
    if not reverse_proxy:
        return f"{scheme}://{host}", prefix

    def first(name: str) -> str:
        value: str = environ.get("HTTP_X_FORWARDED_" + name, "")
        return value.partition(",")[0].strip()

    forwarded = parse_forwarded(environ.get("HTTP_FORWARDED", ""))
    scheme = (forwarded.get("proto") or first("PROTO") or scheme).lower()
    if scheme not in ("http", "https"):
        raise StatusException(400, "The forwarded scheme is neither http nor https.")
    if sent := forwarded.get("host"):
        host = check_host(sent, "Forwarded")
    elif sent := first("HOST"):
        host = check_host(sent, "X-Forwarded-Host")
    if port := first("PORT"):
        if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise StatusException(400, "X-Forwarded-Port is no port.")
        name = HOST.fullmatch(host)
        usual = {"http": "80", "https": "443"}[scheme]
        if name and not name[2] and port != usual:
            host = f"{host}:{port}"
    above = first("PREFIX").rstrip("/")
    if not URL_PATH.fullmatch(above):
        raise StatusException(400, "X-Forwarded-Prefix is not a path such as /scim.")
    return f"{scheme}://{host}", above + prefix


FORWARDED_PAIR = re.compile(  # possessive, so that no header takes quadratic time
    r"""[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*+"|[^\s",;]*+))?+
    [ \t]*+([,;]|$)""",
    re.VERBOSE,
)


def parse_forwarded(header: str) -> dict[str, str]:
    """Return the parameters that the first proxy sent in Forwarded (RFC 7239 §4).

    Choice: a value may have a colon without quotes, as many proxies send host and port.

    >>> parse_forwarded('for=192.0.2.1;host="a.example:8443", for="[::1]"')["host"]
    'a.example:8443'

    Raises StatusException, 400.
    """
    pairs: dict[str, str] = {}
    at = 0
    while match := FORWARDED_PAIR.match(header, at):
        at = match.end()
        if match[1]:
            name, value = match[1].lower(), match[2]
            if name in pairs:  # "MUST NOT occur more than once per field-value"
                raise StatusException(
                    400, f"Forwarded has '{clip(name)}' twice (RFC 7239 §4)."
                )
            quoted = value[:1] == '"'
            pairs[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value
        if match[3] != ";":
            return pairs
    raise StatusException(400, "Forwarded is not a list of NAME=VALUE (RFC 7239 §4).")


def is_loopback(host: str) -> bool:
    """Tell whether a name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_rebinding(host: str, own: Iterable[str]) -> None:
    """Check that a page on the web cannot reach an anonymous server on loopback.

    A name that its owner points to 127.0.0.1 (DNS rebinding) is refused: a Host must be
    localhost, an IP address, or one of our `own` names. Raises StatusException, 403.
    """
    name = host.lower().rpartition(":")[0] if host[-1:] != "]" and ":" in host else host
    name = name.strip("[]").lower()
    if name == "localhost" or name in own:
        return
    if not is_address(name):
        raise StatusException(
            403,
            f"This server asks for no credentials, so it does not answer to the name "
            f"'{clip(name)}'. Start it with --base-url https://{clip(name)}/... for a "
            "tunnel, or with --bearer-token.",
        )


@lru_cache(maxsize=64)
def is_address(host: str) -> bool:
    """Tell whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_page(sent: str, own: Iterable[str], admitted: Sequence[str]) -> None:
    """Check that a web page which asks is ours, or one of those admitted.

    Raises StatusException, 403.
    """
    if sent and sent not in own and sent not in admitted and "*" not in admitted:
        valid = sent.startswith(("http://", "https://")) and HOST.fullmatch(
            sent.partition("://")[2]
        )
        raise StatusException(
            403,
            f"Requests from {f'the origin {clip(sent)}' if valid else 'this origin'} "
            "are not allowed. Start the server with --cors-origin to allow them.",
        )


# === 20. Routes (RFC 7644 §3.2): ROUTES, handle ===


Handler = Callable[[Request], Reply]


def post_resource(request: Request) -> Reply:
    """``POST /Users``: create (RFC 7644 §3.3)."""
    payload = request.payload()
    with request.directory.store.lock:
        resource = create_resource(
            request.directory, request.type, payload, request.gate
        )
        reply = show_resource(
            request, request.type, resource, 201, written=[((), payload)]
        )
    location = locate(request.base, request.type, resource["id"])
    reply.headers.append(("Location", location))
    return reply


def get_resource(request: Request) -> Reply:
    """``GET /Users/{id}``: retrieve (RFC 7644 §3.4.1)."""
    with request.directory.store.lock:
        resource = retrieve_resource(request.directory, request.type, request.id)
        expected = request.preconditions()
        Preconditions(if_match=expected.if_match).check(resource)  # RFC 9110 §13.2.2
        if expected.is_unmodified(resource):
            return Reply(304, headers=entity_tag(request, resource))
        return show_resource(request, request.type, resource)


def put_resource(request: Request) -> Reply:
    """``PUT /Users/{id}``: replace (RFC 7644 §3.5.1)."""
    payload = request.payload()
    with request.directory.store.lock:
        resource = replace_resource(
            request.directory,
            request.type,
            request.id,
            payload,
            request.gate,
            request.preconditions().check,
        )
        return show_resource(request, request.type, resource, written=[((), payload)])


def patch_resource(request: Request) -> Reply:
    """``PATCH /Users/{id}``: modify (RFC 7644 §3.5.2).

    204 for `Prefer: return=minimal` (RFC 7240); but "MUST return a 200 OK if the
    "attributes" parameter is specified in the request".
    """
    check_supported(request.provider, "patch")
    payload = request.payload()
    with request.directory.store.lock:
        retrieve_resource(request.directory, request.type, request.id)
        resource, written = modify_resource(
            request.directory,
            request.type,
            request.id,
            read_operations(payload, request.gate),
            request.gate,
            request.preconditions().check,
        )
        if wants_minimal(request.header("Prefer")) and not request.selection.attributes:
            return Reply(204, headers=entity_tag(request, resource))
        return show_resource(request, request.type, resource, written=written)


def wants_minimal(prefer: str) -> bool:
    """Tell whether a Prefer header asks for no representation (RFC 7240 §4.2)."""
    parts = (each.partition(";")[0].strip() for each in prefer.split(","))
    return any(re.fullmatch(r'return\s*=\s*"?minimal"?', each, re.I) for each in parts)


def delete_one(request: Request) -> Reply:
    """``DELETE /Users/{id}``: delete (RFC 7644 §3.6)."""
    expected = request.preconditions().check
    delete_resource(request.directory, request.type, request.id, expected)
    return Reply(204)


def get_list(request: Request) -> Reply:
    """``GET /Users`` and ``GET /``: query (RFC 7644 §3.4.2)."""
    query = read_query(request.query, request.provider, request.gate)
    return answer_query(request, query)


def post_search(request: Request) -> Reply:
    """``POST /Users/.search`` and ``POST /.search``: query (RFC 7644 §3.4.3)."""
    payload = request.payload()
    members = read_message(payload, "SearchRequest", SEARCH_MEMBERS, request.gate)
    return answer_query(request, read_query(members, request.provider, request.gate))


def answer_query(request: Request, query: Query) -> Reply:
    """Answer what a query finds."""
    content = query_resources(
        request.directory, request.types, query, request.base, request.gate
    )
    return Reply(200, content)


def post_bulk(request: Request) -> Reply:
    """``POST /Bulk`` (RFC 7644 §3.7)."""
    check_supported(request.provider, "bulk")
    content = request.content(
        request.provider.configuration["bulk"]["maxPayloadSize"], "maxPayloadSize"
    )
    body = execute_bulk(
        request.directory,
        parse_json(content, request.gate),
        request.base,
        request.gate,
        refers=b"bulkId:" in content or b"\\u" in content,
    )
    return Reply(200, encode(body))


def as_subject(handler: Handler) -> Handler:
    """Return a handler for ``/Me``: the resource of whoever asks (RFC 7644 §3.11)."""

    def handle_me(request: Request) -> Reply:
        if not request.id:  # which `handle` found if it is to be found
            take_subject(request)
        return handler(request)

    return handle_me


def take_subject(request: Request) -> tuple[str, str]:
    """Let a request be about whoever asks, and return the Location of that resource.

    Raises NotImplementedException, 501, NotFoundException, 404 (RFC 7644 §3.11).
    """
    if request.subject is None:
        raise NotImplementedException(
            detail="Nobody is /Me here: start with --me USERNAME, or ask with the "
            "token of a --user-token (RFC 7644 §3.11)."
        )
    type, request.id = find_subject(request.directory, request.subject)
    request.types = [type]
    return "Location", locate(request.base, type, request.id)


def find_subject(directory: Directory, name: str) -> tuple[ResourceType, str]:
    """Answer the type and id of the user with this userName.

    Raises NotFoundException, 404 (RFC 7644 §3.12).
    """
    with directory.store.lock:
        for type in directory.provider.types.values():
            if attribute := type.user_name:
                tree: Filter[Chain] = AttrExp((attribute,), "eq", name)
                for each in directory.store.select(type, tree):
                    if each.get(attribute.name) and (
                        fold(each[attribute.name]) == fold(name)
                    ):
                        return type, each["id"]
    raise NotFoundException(detail=f"There is no user '{clip(name)}'.")


def post_me(request: Request) -> Reply:
    """``POST /Me``: there is no creating oneself here (RFC 7644 §3.11)."""
    raise NotImplementedException(detail="A user cannot be created through /Me.")


def get_documents(endpoint: str) -> Handler:
    """Answer the handler of a discovery endpoint (RFC 7644 §4).

    "If a "filter" is provided, the service provider SHOULD respond with HTTP status
    code 403"; sorting and paging are ignored.
    """

    def one(document: Resource) -> Reply:
        location = document["meta"]["location"]
        return Reply(200, encode(document), [("Content-Location", location)])

    def handle_discovery(request: Request) -> Reply:
        if "filter" in request.query:
            raise ForbiddenException(
                detail=f"/{endpoint} takes no filter (RFC 7644 §4)."
            )
        documents = request.settings.documents[endpoint]
        if request.id:
            by_lower = {id.lower(): id for id in documents}
            id = by_lower.get(request.id.lower())
            if id is None:
                raise NotFoundException(
                    detail=f"There is no '{clip_path(request.id)}' in /{endpoint}."
                )
            return one(show_document(documents[id], endpoint, id, request.base))
        shown_documents = [
            show_document(each, endpoint, id, request.base)
            for id, each in documents.items()
        ]
        if "" in documents:
            return one(shown_documents[0])
        body = {
            "schemas": [MESSAGES + "ListResponse"],
            "totalResults": len(shown_documents),
            "itemsPerPage": len(shown_documents),
            "startIndex": 1,
            "Resources": shown_documents,
        }
        return Reply(200, encode(body))

    return handle_discovery


def refuse_search(request: Request) -> Reply:
    """``POST /Schemas/.search``: a filter of discovery documents, 403 (RFC 7644 §4)."""
    raise ForbiddenException(
        detail="The discovery endpoints cannot be searched: GET lists everything "
        "(RFC 7644 §4)."
    )


RESOURCE_HANDLERS: dict[str, Handler] = {
    "GET": get_resource,
    "PUT": put_resource,
    "PATCH": patch_resource,
    "DELETE": delete_one,
}
DISCOVERY = ("ServiceProviderConfig", "ResourceTypes", "Schemas")
DISCOVERY_PATHS = [[name] for name in DISCOVERY]
"""Where parameters are ignored (RFC 7644 §4)."""
TYPE, ID = object(), object()
"""Segments of a path that can be any endpoint of a resource type, and any id."""
ROUTES: dict[tuple[object, ...], dict[str, Handler]] = {  # RFC 7644 Table 2
    (): {"GET": get_list},
    (".search",): {"POST": post_search},
    (TYPE,): {"GET": get_list, "POST": post_resource},
    (TYPE, ".search"): {"POST": post_search},
    (TYPE, ID): RESOURCE_HANDLERS,
    ("Me",): {
        **{method: as_subject(each) for method, each in RESOURCE_HANDLERS.items()},
        "POST": post_me,
    },
    ("Bulk",): {"POST": post_bulk},
    **{(name,): {"GET": get_documents(name)} for name in DISCOVERY},
    **{(name, ID): {"GET": get_documents(name)} for name in DISCOVERY[1:]},
    **{(name, ".search"): {"POST": refuse_search} for name in DISCOVERY},
}


def find_route(request: Request, segments: Sequence[str]) -> dict[str, Handler] | None:
    """Answer the handlers of a path; the request takes what the path names."""
    types = request.application.endpoints
    if segments and segments[0] not in types:
        right = request.application.spelling.get(segments[0].lower(), segments[0])
        check_spelling(segments[0], right, request.gate)
        segments = [right, *segments[1:]]
    request.types = list(types.values())
    pattern: list[object] = list(segments)
    if segments and segments[0] in types:
        request.types = [types[segments[0]]]
        pattern[0] = TYPE
    if len(segments) == 2 and tuple(pattern) not in ROUTES:
        request.id = segments[1]
        pattern[1] = ID
    return ROUTES.get(tuple(pattern))


def check_spelling(sent: str, right: str, gate: Gate) -> None:
    """Check the case of an endpoint's letters. Raises NotFoundException."""
    if sent != right:
        gate.meet("endpoint-case", f"'/{clip(sent)}' for '/{right}'")


def handle(request: Request, segments: Sequence[str]) -> Reply:
    """Answer a request.

    Raises NotFoundException, StatusException (405 with Allow), what the handler raises.
    """
    handlers = find_route(request, segments)
    if handlers is None:
        request.application.check_version(segments)
        names = request.application.spelling.values()
        known, hint = ", ".join(names), nearest("".join(segments[:1]), names)
        raise NotFoundException(
            detail=f"There is nothing at '{clip_path('/'.join(segments))}'. "
            f"The endpoints are {known} (RFC 7644 §3.2){hint}."
        )
    if handlers is not ROUTES[("Me",)]:
        return dispatch(request, segments, handlers)
    headers: list[tuple[str, str]] = []
    with contextlib.suppress(NotImplementedException, NotFoundException):
        headers = [take_subject(request)]
    try:  # "In any response" (§3.11): also in an error, whoever finds it
        reply = dispatch(request, segments, handlers)
    except SCIMException as error:
        error.context["headers"] = [*error.context.get("headers", []), *headers]
        raise
    reply.headers.extend(headers)
    return reply


def dispatch(
    request: Request, segments: Sequence[str], handlers: Mapping[str, Handler]
) -> Reply:
    """Let the handler of its method answer a request. Raises what `handle` raises."""
    handler = handlers.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        return refuse_method(request, handlers)
    if request.query and segments[0:1] not in DISCOVERY_PATHS:
        read_parameters(request)
    return handler(request)


def refuse_method(request: Request, handlers: Mapping[str, Handler]) -> Reply:
    """Answer OPTIONS with the methods of a path. Raises StatusException, 405."""
    allowed = [*handlers, *(["HEAD"] if "GET" in handlers else []), "OPTIONS"]
    allow = [("Allow", ", ".join(allowed))]
    if request.method != "OPTIONS":
        raise StatusException(405, f"The methods here are {', '.join(allowed)}.", allow)
    return Reply(204, headers=allow)


def read_parameters(request: Request) -> None:
    """Read the parameters of a URL that any method takes (RFC 7644 §3.9).

    Raises InvalidValueException, StatusException (400).
    """
    for name in request.query.repeated:
        request.gate.meet("repeated-parameter", f"'{clip_name(name)}'")
    request.selection = read_selection(
        read_names(request.query, "attributes", request.gate),
        read_names(request.query, "excludedAttributes", request.gate),
    )
    if request.selection:
        request.selection.check(request.types, request.gate)


# === 21. The WSGI application: Application, create_app ===


VERSION = re.compile(r"v[0-9]{1,9}", re.I | re.A)
TENANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.A)
EXPOSED = "Content-Location, ETag, Location, Scim-Deviation"


class TenantOptions(TypedDict, total=False):
    """What a tenant may have of its own; else the server's options of that name hold.

    Choice: the three kinds of credentials go together. A tenant that has any is opened
    by its own alone.
    """

    tolerance: str
    accept: Iterable[str]
    refuse: Iterable[str]
    bearer_tokens: Iterable[str]
    user_tokens: Mapping[str, str] | None
    basic_auth: Mapping[str, str] | None
    me: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The options of one tenant, as requests need them."""

    credentials: Credentials
    accepted: frozenset[str]
    me: str | None
    documents: dict[str, dict[str, Resource]]


@dataclass(eq=False, repr=False)
class Application:
    """A WSGI application (PEP 3333), made by `create_app`."""

    provider: Provider
    new_store: Callable[[Iterable[ResourceType], str], Store]
    common: Settings
    settings: dict[str, Settings]  # of the tenants that are configured
    dynamic: bool
    prefix: tuple[str, ...]
    base_url: str | None
    reverse_proxy: bool
    cors_origins: tuple[str, ...]
    hostname: str | None
    max_body: int

    def __post_init__(self) -> None:
        self.endpoints = {x.endpoint[1:]: x for x in self.provider.types.values()}
        names = (*self.endpoints, *DISCOVERY, "Bulk", "Me", ".search")
        self.spelling = {name.lower(): name for name in names}
        self.directories: dict[str, Directory] = {}
        self.provisional: WeakValueDictionary[str, Directory] = WeakValueDictionary()
        self.lock = threading.Lock()
        self.journal = Journal(self.provider.now)
        bulk: int = self.provider.configuration["bulk"]["maxPayloadSize"]
        self.largest_body = max(self.max_body, bulk)
        served = [*self.settings.values(), *([self.common] if self.dynamic else [])]
        self.is_anonymous = not all(each.credentials for each in served)
        self.is_guarded = self.is_anonymous and is_loopback(self.hostname or "")
        self.unknown = self.common  # the settings of a name that is not configured
        if not (self.common.credentials or self.dynamic):
            schemes = dict.fromkeys(x for s in served for x in s.credentials.schemes)
            nobody = Credentials(tuple(schemes))
            self.unknown = replace(self.common, credentials=nobody)

    # --- directories

    def find_settings(self, segments: list[str]) -> Settings:
        """Return the settings of the tenant that a path names, if it exists or not.

        Choice: where there are credentials, an unknown tenant is 401 without them, so
        that a stranger cannot find out the names of the others.
        """
        name = segments[0] if segments and "" not in self.settings else ""
        return self.settings.get(name, self.unknown)

    def add_directory(self, name: str) -> Directory:
        """Make the directory of a tenant, or without a name the only one."""
        self.directories[name] = self.make_directory(name)
        return self.directories[name]

    def make_directory(self, name: str) -> Directory:
        """Make a directory with a store of its own."""
        store = self.new_store(self.provider.types.values(), name)
        for type in self.provider.types.values():
            for resource in store.select(type):  # of a store that lasts
                self.provider.note_version(resource["meta"]["version"])
        return Directory(self.provider, store, name)

    def check_tenant(self, name: str) -> str:
        """Answer the name of a tenant that can stand in a URL. Raises ValueError."""
        taken = {*RESERVED, *(each.lower() for each in self.endpoints)}
        taken |= {each.lower() for each in self.prefix[:1]}
        if (
            not TENANT_NAME.fullmatch(name)
            or VERSION.fullmatch(name)
            or name.lower() in taken
        ):
            raise ValueError(
                f"'{clip(name)}' cannot name a tenant: up to 64 letters, digits, '.', "
                "'_', '-', but not an endpoint, the prefix, or a version such as v1"
            )
        return name

    def find_directory(
        self, segments: list[str], method: str
    ) -> tuple[Directory, list[str]]:
        """Answer the directory that a path leads to, and the rest of the path.

        The first write creates a dynamic tenant; a read of one answers as an empty one.

        Raises NotFoundException, ForbiddenException over the number of tenants.
        """
        if only := self.directories.get(""):
            return only, segments
        name = segments[0] if segments else ""
        if found := self.directories.get(name):
            return found, segments[1:]
        self.check_version(segments)
        missing = NotFoundException(
            detail=f"There is no tenant '{clip_path(name)}': paths here are "
            f"/NAME/{'/'.join(self.prefix)}, with the name of a tenant."
        )
        try:
            self.check_tenant(name)
        except ValueError:
            raise missing from None
        if not self.dynamic:
            raise missing
        with self.lock:
            if found := self.directories.get(name) or self.provisional.get(name):
                return found, segments[1:]
            if method != "POST" or not self.can_create(segments[1:]):
                store = Store(self.provider.types.values())
                empty = Directory(self.provider, store, name)
                return empty, segments[1:]
            full = len({*self.directories, *self.provisional}) >= MAX_TENANTS
            if full and not self.forget_empty_tenant():
                raise ForbiddenException(
                    detail=f"There are {MAX_TENANTS} tenants, the most that there may "
                    "be: delete the resources of one to make room for another."
                )
            made = self.make_directory(name)
            self.provisional[name] = made
            return made, segments[1:]

    def can_create(self, segments: list[str]) -> bool:
        """Return whether a POST to this path can create a resource."""
        rest = self.without_prefix(segments)
        name = self.spelling.get(rest[0].lower()) if len(rest) == 1 else None
        return name in self.endpoints or name == "Bulk"

    def forget_empty_tenant(self) -> bool:
        """Forget a dynamic tenant that has no resources, and return whether one did.

        A request to it that is under way still finds it, as `provisional`.
        """
        for name, directory in self.directories.items():
            if name not in self.settings and directory.is_empty():
                self.provisional[name] = self.directories.pop(name)
                return True
        return False

    def keep_tenant(self, directory: Directory) -> None:
        """Keep a tenant that a write has created.

        Until then all requests to it share one directory, which goes with the last of
        them if none has written anything.
        """
        if directory.name not in self.directories and not directory.is_empty():
            with self.lock:
                self.directories.setdefault(directory.name, directory)

    def reset(self, tenant: str | None = None) -> None:
        """Forget all resources, or those of one tenant."""
        for name in list(self.directories) if tenant is None else [tenant]:
            self.directories[name].clear()

    def dump(self) -> list[Resource] | dict[str, list[Resource]]:
        """Answer all resources as `--dump-resources` writes them."""
        return dump_resources(self.directories)

    def report(self) -> dict[str, Any]:
        """Answer what clients did wrong, as `--report` writes it."""
        return self.journal.report()

    # --- requests

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        method = environ["REQUEST_METHOD"]
        gate = Gate()
        reply = self.answer(environ, gate)
        headers = reply.headers
        if reply.content:
            accept = environ.get("HTTP_ACCEPT", "")
            headers.append(("Content-Type", choose_media_type(accept)))
        if reply.status not in (204, 304):
            headers.append(("Content-Length", str(len(reply.content))))
        if gate.met:
            headers.append(("Scim-Deviation", ", ".join(gate.met)))
        shared = self.cross_origin(environ.get("HTTP_ORIGIN", ""))
        headers += [*shared, ("Vary", "Accept, Origin" if shared else "Accept")]
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "%s %s %d%s",
                method,
                clip_path(environ.get("PATH_INFO", "")),
                reply.status,
                f" deviations: {', '.join(gate.met)}" if gate.met else "",
            )
        start_response(f"{reply.status} {PHRASES.get(reply.status, 'Error')}", headers)
        return [] if method == "HEAD" else [reply.content]

    def answer(self, environ: WSGIEnvironment, gate: Gate) -> Reply:
        """Answer a request, or the error that it ends in (RFC 7644 §3.12)."""
        identity = Identity()
        try:
            origin, prefix = find_origin(environ, self.reverse_proxy)
            self.check_sender(environ, origin)
            segments = split_path(environ)
            method = environ["REQUEST_METHOD"]
            if segments == ["healthz"]:
                return check_health(method)
            asked = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ or segments == ["*"]
            if asked and method == "OPTIONS":
                return Reply(204, headers=[("Allow", METHODS)])
            settings = self.find_settings(segments)
            if not self.is_open(segments):
                header = environ.get("HTTP_AUTHORIZATION", "")
                identity = authenticate(header, settings.credentials)
            directory, rest = self.find_directory(segments, method)
            gate.accepted = settings.accepted
            gate.base = self.find_base(origin, prefix, directory.name)
            rest = self.without_prefix(rest)
            request = Request(
                environ=environ,
                method=environ["REQUEST_METHOD"],
                query=parse_query(environ.get("QUERY_STRING", "")),
                application=self,
                directory=directory,
                base=gate.base,
                gate=gate,
                settings=settings,
                subject=identity.subject or settings.me,
            )
            reply = handle(request, rest)
            self.keep_tenant(directory)
            return reply
        except SCIMException as error:
            headers = list(error.context.get("headers", []))
            return Reply(error.status, encode(error_body(error)), headers)
        except Exception:
            logger.exception("%s failed", environ["REQUEST_METHOD"])
            failed = StatusException(500, "The server failed; its log says why.")
            return Reply(500, encode(error_body(failed)))
        finally:
            self.journal.record(environ, identity.name, gate)

    def without_prefix(self, segments: list[str]) -> list[str]:
        """Answer a path without the prefix, which may be left out."""
        size = len(self.prefix)
        return segments[size:] if tuple(segments[:size]) == self.prefix else segments

    def check_version(self, segments: Sequence[str]) -> None:
        """Check a path that leads nowhere for a version that is not served.

        Raises InvalidVersionException (RFC 7644 §3.13), 400 invalidVers.
        """
        for version, endpoint in itertools.pairwise(segments):
            other = VERSION.fullmatch(version) and version not in self.prefix
            if other and endpoint.lower() in self.spelling:
                raise InvalidVersionException(
                    detail=f"Version '{version}' of SCIM is not served here: paths "
                    f"begin with /{'/'.join(self.prefix)} (RFC 7644 §3.13)."
                )

    def is_open(self, segments: list[str]) -> bool:
        """Tell whether a path is that of ServiceProviderConfig, open to everyone.

        It tells how to authenticate (RFC 7643 §5).
        """
        if "" not in self.settings:
            if not segments or not (self.dynamic or segments[0] in self.settings):
                return False  # 401 or 404, as the rest of an unknown tenant
            segments = segments[1:]
        rest = self.without_prefix(segments)
        return len(rest) == 1 and rest[0].lower() == "serviceproviderconfig"

    def check_sender(self, environ: Mapping[str, Any], origin: str) -> None:
        """Check that no web page of others asks. Raises StatusException, 403."""
        own = [origin]
        if self.base_url:
            parts = urlsplit(self.base_url)
            own.append(f"{parts.scheme}://{parts.netloc}")
        if self.is_guarded:
            names = [urlsplit(each).hostname or "" for each in own[1:]]
            host = environ.get("HTTP_HOST") or "localhost"
            check_rebinding(host, [(self.hostname or "").lower(), *names])
        if sent := environ.get("HTTP_ORIGIN"):
            check_page(sent, own, self.cors_origins)

    def find_base(self, origin: str, prefix: str, tenant: str) -> str:
        """Answer the URL below which the resources of a tenant are."""
        ours = "".join(f"/{each}" for each in self.prefix)
        name = f"/{tenant}" if tenant else ""
        if not self.base_url:
            return f"{origin}{prefix}{name}{ours}"
        if name and ours and self.base_url.endswith(ours):
            return self.base_url.removesuffix(ours) + name + ours
        return self.base_url + name

    def cross_origin(self, origin: str) -> list[tuple[str, str]]:
        """Answer the headers that let an admitted page read the reply (CORS)."""
        if not origin or (
            origin not in self.cors_origins and "*" not in self.cors_origins
        ):
            return []
        return [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Methods", METHODS),
            ("Access-Control-Allow-Headers", ALLOWED_HEADERS),
            ("Access-Control-Expose-Headers", EXPOSED),
            ("Access-Control-Max-Age", "600"),
        ]


def choose_media_type(accept: str) -> str:
    """Return the media type of a reply: SCIM's, or JSON's where Accept prefers it.

    Choice: a range such as */* names neither (RFC 7644 §3.8).
    """
    if "application/json" not in accept.lower():
        return MEDIA_TYPE
    quality = {MEDIA_TYPE: 0.0, "application/json": 0.0}
    for part in accept.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        if name in quality:
            weights = [QVALUE.fullmatch(each) for each in parameters]
            quality[name] = min((float(each[1]) for each in weights if each), default=1)
    return max(quality, key=lambda name: quality[name])


QVALUE = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")


def check_health(method: str) -> Reply:
    """Answer that the server is up. Raises StatusException, 405."""
    allow = [("Allow", "GET, HEAD, OPTIONS")]
    if method == "OPTIONS":
        return Reply(204, headers=allow)
    if method not in ("GET", "HEAD"):
        raise StatusException(405, "The methods here are GET and HEAD.", allow)
    return Reply(200, encode({"status": "ok"}))


METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS = "Authorization, Content-Type, If-Match, If-None-Match, Prefer"
PHRASES = {each.value: each.phrase for each in HTTPStatus}


def split_path(environ: Mapping[str, Any]) -> list[str]:
    """Answer the segments of the path, each decoded by itself.

    PATH_INFO is decoded already, and has lost the difference between "/" and "%2F":
    servers that keep the raw target tell it. Raises StatusException, 400.
    """
    path: str = environ.get("PATH_INFO", "")
    above: str = environ.get("SCRIPT_NAME", "")
    raw = (environ.get("RAW_URI") or environ.get("REQUEST_URI") or "").partition("?")[0]
    parts = path.split("/")
    if "%" in raw and unquote(raw, "latin-1") == above + path:
        parts = [unquote(part, "latin-1") for part in raw.split("/")]
        parts = parts[above.count("/") :]
    if parts[0] == "":
        del parts[0]
    if parts and parts[-1] == "":
        parts.pop()
    try:
        return [part.encode("latin-1").decode() for part in parts]
    except UnicodeError:
        raise StatusException(400, "The path is not UTF-8.") from None


def parse_query(text: str) -> Parameters:
    """Answer the parameters of a URL. Raises StatusException, 400."""
    if not text:
        return Parameters()
    try:
        raw = text.encode("latin-1").decode()
        return Parameters(parse_qsl(raw, keep_blank_values=True, errors="strict"))
    except ValueError:
        raise StatusException(400, "The query of the URL is not UTF-8.") from None


def create_app(
    *,
    schemas: Iterable[Mapping[str, Any] | Model | scim2_models.Schema] | None = None,
    resource_types: Iterable[Mapping[str, Any] | Model | scim2_models.ResourceType]
    | None = None,
    service_provider_config: Mapping[str, Any] | None = None,
    resources: Any = None,
    bearer_tokens: Iterable[str] = (),
    user_tokens: Mapping[str, str] | None = None,
    basic_auth: Mapping[str, str] | None = None,
    me: str | None = None,
    tenants: Iterable[str] | Mapping[str, TenantOptions] = (),
    dynamic_tenants: bool = False,
    prefix: str = "/v2",
    base_url: str | None = None,
    reverse_proxy: bool = False,
    cors_origins: Iterable[str] = (),
    hostname: str | None = None,
    max_body: int = MAX_BODY,
    tolerance: str = "standard",
    accept: Iterable[str] = (),
    refuse: Iterable[str] = (),
    store: Callable[[Iterable[ResourceType], str], Store] = Store,
    clock: Callable[[], datetime] | None = None,
    new_id: Callable[[], str] | None = None,
) -> Application:
    """Make the WSGI application: one process, many threads.

    `schemas` and `resource_types` replace the built-in documents. Classes of
    scim2-models can stand for them: their validators then hold at every write.
    `service_provider_config` is merged over the default. `resources` is a dump to
    load. `user_tokens` and `basic_auth` map user names to their token or password, and
    make them /Me; `me` is the userName of /Me for everyone else. `tenants` are names,
    or map names to options of their own (`TenantOptions`). `base_url` is what Locations
    begin with, prefix and all. `max_body` is in bytes. `hostname` is where our own HTTP
    server listens. `store` makes a store from the resource types and the name of the
    tenant; `clock` answers an aware datetime.

    Raises ValueError for what cannot be served.

    >>> app = create_app(prefix="/scim/v2", tolerance="strict")
    """
    given_schemas, given_types, classes = gather_documents(schemas, resource_types)
    schema_documents = check_documents(given_schemas, scim2_models.Schema)
    type_documents = check_documents(given_types, scim2_models.ResourceType)
    if max_body < 1:
        raise ValueError(f"max_body cannot be {max_body}: it must be 1 byte or more")
    common: TenantOptions = {
        "tolerance": tolerance,
        "accept": check_strings("accept", accept),  # a generator is read once
        "refuse": check_strings("refuse", refuse),
        "bearer_tokens": check_strings("bearer_tokens", bearer_tokens),
        "user_tokens": user_tokens,
        "basic_auth": basic_auth,
        "me": me,
    }
    configuration = read_configuration(service_provider_config or {})
    schemas_shown = [*default_documents()["discovery_schemas"], *schema_documents]
    documents = discovery_documents(configuration, schemas_shown, type_documents)
    make_settings = partial(read_settings, common=common, documents=documents)
    provider = Provider(
        types=compile_types(schema_documents, type_documents, classes),
        configuration=configuration,
        clock=clock or (lambda: datetime.now(UTC)),
        new_id=new_id or (lambda: str(uuid.uuid4())),
        key=secrets.token_bytes(32),
    )
    settings = {
        name: named(f"tenant '{clip(name)}'", make_settings, given)
        for name, given in check_tenants(tenants).items()
    }
    server = make_settings({})
    if not settings and not dynamic_tenants:
        settings[""] = server
    app = Application(
        provider=provider,
        new_store=store,
        common=server,
        settings=settings,
        dynamic=dynamic_tenants,
        prefix=check_prefix(prefix, provider),
        base_url=check_base_url(base_url),
        reverse_proxy=reverse_proxy,
        cors_origins=tuple(
            map(check_cors_origin, check_strings("cors_origins", cors_origins))
        ),
        hostname=hostname,
        max_body=max_body,
    )
    for name in settings:
        app.add_directory(name and app.check_tenant(name))
    if resources is not None:
        load_resources(app, resources)
    return app


def check_tenants(tenants: Any) -> Mapping[str, Any]:
    """Return tenants with their options, by name. Raises ValueError."""
    names = tenants.keys() if isinstance(tenants, Mapping) else tenants
    names = check_strings("tenants", names)
    spelt: dict[str, str] = {}
    for name in names:
        if other := spelt.get(name.lower()):
            other = (
                "comes twice" if name == other else f"differs from '{other}' in case"
            )
            raise ValueError(f"the tenant '{clip(name)}' {other}")
        if not name:
            raise ValueError("a tenant has an empty name")
        spelt[name.lower()] = name
    return tenants if isinstance(tenants, Mapping) else {name: {} for name in names}


def read_settings(
    given: Mapping[str, Any],
    common: TenantOptions,
    documents: dict[str, dict[str, Resource]],
) -> Settings:
    """Return the settings that options give over the common ones. Raises ValueError."""
    if not isinstance(given, Mapping):
        raise ValueError("the options of a tenant are an object")
    known = TenantOptions.__annotations__
    for unknown in map(str, given.keys() - known):
        hint = nearest(unknown, known) or f": they are {', '.join(known)}"
        raise ValueError(f"unknown option '{clip(unknown)}'{hint}")
    options: Mapping[str, Any] = {**common, **given}
    credentials = read_credentials(given) or read_credentials(common)
    if not isinstance(options["me"], (str, NoneType)):
        raise ValueError(f"me must be a userName, not {clip(options['me'])}")
    schemes = [AUTHENTICATION_SCHEMES[each] for each in credentials.schemes]
    (shown,) = documents["ServiceProviderConfig"].values()
    if "authenticationSchemes" not in shown:
        shown = shown | {"authenticationSchemes": schemes}
    return Settings(
        credentials=credentials,
        accepted=accepted_codes(
            options["tolerance"],
            check_strings("accept", options["accept"]),
            check_strings("refuse", options["refuse"]),
        ),
        me=options["me"],
        documents=documents | {"ServiceProviderConfig": {"": shown}},
    )


def check_prefix(prefix: str, provider: Provider) -> tuple[str, ...]:
    """Answer the segments of a prefix. Raises ValueError."""
    segments = prefix.strip("/").split("/")
    taken = RESERVED | {each.endpoint[1:].lower() for each in provider.types.values()}
    if not URL_PATH.fullmatch(prefix.rstrip("/")) or taken & {
        x.lower() for x in segments
    }:
        raise ValueError(
            f"the prefix '{clip(prefix)}' is no path such as /scim/v2, or an endpoint"
        )
    return tuple(filter(None, segments))


def check_cors_origin(origin: str) -> str:
    """Return an origin that a browser can send, or "*". Raises ValueError."""
    scheme, _, host = origin.rstrip("/").partition("://")
    valid = re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and HOST.fullmatch(host)
    if not valid and origin != "*":
        raise ValueError(f"'{clip(origin)}' is not an origin such as https://a.example")
    return origin.rstrip("/")


def check_base_url(url: str | None) -> str | None:
    """Return a base URL without a slash at its end. Raises ValueError."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # which may be out of range
        faults = {
            "has no scheme: write http:// or https:// before the host": "://"
            not in url,
            "has a scheme other than http and https": (
                parts.scheme not in ("http", "https")
            ),
            "has no valid host": not HOST.fullmatch(parts.netloc),
            "has a query or a fragment": parts.query or parts.fragment,
            "has no valid path": not URL_PATH.fullmatch(parts.path.rstrip("/")),
        }
        fault = next((fault for fault, holds in faults.items() if holds), "")
    except ValueError:
        fault = "has no valid host and port"
    if fault:
        shown = clip(re.sub(r"//[^/]*@", "//…@", url))  # no password of its own
        raise ValueError(f"the base URL '{shown}' {fault}")
    return url.rstrip("/")


# === 22. The HTTP server (RFC 9112): Server, running_server ===
#
#     POST /v2/Users HTTP/1.1           HTTP/1.1 400 Bad Request
#     Host: a.example                   Content-Type: application/scim+json
#     Content-Length: 5            ->   Connection: close
#     Transfer-Encoding: chunked        ...
#
# Two readers of this message could disagree on where it ends, so it is rejected and the
# connection ends (RFC 9112 §11.2). The server reads a whole request before it calls the
# application, so that a truncated request changes nothing, and a body that nothing
# reads is not parsed as the next request.
#
# One generator, `Connection.live`, serves a connection. It yields whenever it has to
# wait. One thread, the leader, waits for all connections and resumes them:
#
# | a connection            | waits for             | at the time limit          |
# |-------------------------|-----------------------|----------------------------|
# | is idle                 | bytes                 | IDLE_TIMEOUT: close        |
# | reads a request         | more bytes            | REQUEST_TIMEOUT: 408       |
# | has read a request      | the application       | TURN: another thread leads |
# | sends a reply           | the client to read it | REQUEST_TIMEOUT: close     |
# | has the next request    | the other connections | (they are quick)           |
# | has sent its last reply | the client to close   | LINGER: close              |
#
# Only the application blocks a thread. If a request takes longer than TURN, another
# thread becomes the leader; a request that is known to be slow calls `Server.pass_lead`
# first. A thread per request would be slower, because Python's lock would change hands
# for every small request.


REQUEST_LINE = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9])\.([0-9])", re.A
)
FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.A)
STRAY = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")
STRAY_DETAIL = "The request line or a header has a stray CR, LF or NUL: remove it."
ABSOLUTE = re.compile(r"https?://([^/?#]*)([^#]*)", re.I)
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
SINGLE = (
    "host",
    "content-length",
    "transfer-encoding",
    "content-type",
    "authorization",
)
"""Headers that are rejected when repeated, rather than joined."""
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
TLS_WAITS = {2: READ, 3: WRITE}  # ssl.SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE
T = TypeVar("T")
Waits = Generator[int, None, T]
"""A generator that returns a T and yields READ or WRITE whenever it has to wait."""
LINGER = 2.0  # seconds to drain what a client still sends after the last reply
PIECE = 64 * 1024  # bytes per read: larger than a TLS record, so each is emptied
CHUNKS = 200  # chunks decoded before other connections have their turn
LARGE = 512 * 1024  # bytes; a larger body passes the lead before it is processed
BACKLOG = 1024  # connections waiting to be accepted
TURN = 0.05  # seconds; a request passes the lead after one or two of them
MAX_LINE = 64 * 1024  # bytes of a chunk size line, or of all trailers


@dataclass(slots=True)
class Head:
    """The request line and the header section of a message."""

    method: str
    target: str
    is_old: bool  # HTTP/1.0
    fields: dict[str, str]

    @property
    def is_framed(self) -> bool:
        """Return whether the headers announce a body (RFC 9112 §6)."""
        return "content-length" in self.fields or "transfer-encoding" in self.fields

    @property
    def keeps(self) -> bool:
        """Return whether the connection persists after this (RFC 9112 §9.3)."""
        options = self.fields.get("connection")
        if self.is_old or not options:
            return not self.is_old
        return "close" not in re.split(r"[ \t]*,[ \t]*", options.lower())


class Connection:
    """One client connection: reads requests and sends replies, in order."""

    def __init__(self, server: Server, client: socket.socket, address: Any) -> None:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        if server.tls:  # the first read does the handshake
            client = server.tls.wrap_socket(
                client, server_side=True, do_handshake_on_connect=False
            )
        self.server = server
        self.socket = client
        self.address = address
        self.input = bytearray()
        self.is_head = False
        self.is_answering = (
            False  # from a request's last byte to the last byte of its reply
        )
        self.held = 0  # bytes of an unfinished body, see `hold`
        self.event = 0  # READ or WRITE while the leader waits for it, else 0
        self.since: float | None = None  # when the current wait began
        self.patience = 0.0  # seconds that the wait may last
        self.life = self.live()

    def resume(self, is_overdue: bool = False) -> int:
        """Run to the next wait. Return READ, WRITE, or 0 when the connection ends."""
        try:
            return self.life.throw(TimeoutError()) if is_overdue else next(self.life)
        except StopIteration:
            return 0
        except Exception:
            logger.debug("a connection from %s failed", self.address, exc_info=True)
            return 0

    def live(self) -> Waits[None]:
        """Serve requests until the client or an error ends the connection."""
        keeps = True
        with contextlib.suppress(OSError):  # the client left, or a timeout
            while keeps and (yield from self.await_request()):
                try:
                    head = parse_head((yield from self.read_head()))
                    environ = self.environ_of(head)
                    body = b""
                    if head.is_framed:
                        body = yield from self.read_body(head)
                except TimeoutError:
                    keeps = False
                    slow = StatusException(
                        408,
                        "The request did not arrive within "
                        f"{REQUEST_TIMEOUT:g} seconds: send it again, faster.",
                    )
                    reply = self.refusal(slow)
                except StatusException as error:
                    keeps = False
                    reply = self.refusal(error)
                else:
                    environ["wsgi.input"] = BytesIO(body)
                    answer = self.run(environ, len(body))
                    keeps = head.keeps and not self.server.stopping.is_set()
                    reply = spell_reply(*answer, keeps)
                yield from self.send(reply)
                self.is_answering = False
                if self.input:  # other connections have their turn first
                    self.wait(REQUEST_TIMEOUT)
                    yield WRITE
            if not keeps:
                yield from self.linger()

    def run(
        self, environ: WSGIEnvironment, size: int
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        """Call the application; pass the lead first if the body is large."""
        self.since, self.is_answering = None, True
        if size > LARGE:
            self.server.pass_lead()
        return run_application(self.server.app, environ)

    def refusal(self, error: StatusException) -> bytes:
        """Return an error as the last reply. The application never sees the request."""
        logger.info("rejected: %d %s", error.status, error.detail)
        self.input.clear()
        content = encode(error_body(error))
        headers = [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(content)))]
        headers += error.context["headers"]
        status = f"{error.status} {PHRASES.get(error.status, 'Error')}"
        return spell_reply(status, headers, b"" if self.is_head else content, False)

    # --- waiting

    def wait(self, patience: float) -> None:
        """Start the clock of a wait, or of several that share this time limit."""
        self.since, self.patience = time.monotonic(), patience

    def is_overdue(self, now: float) -> bool:
        """Return whether the current wait has exceeded its time limit."""
        return self.since is not None and now > self.since + self.patience

    def receive(self) -> Waits[bool]:
        """Append received bytes to the input. Return False at the end of the stream."""
        wanted = READ
        while True:
            yield wanted
            try:
                received = self.socket.recv(PIECE)
            except BlockingIOError:
                wanted = READ
            except self.server.tls_waits as error:
                wanted = TLS_WAITS[error.errno or 0]
            else:
                self.input += received
                return bool(received)

    def send(self, content: bytes | memoryview) -> Waits[None]:
        """Send all of `content`, as fast as the client reads it."""
        while True:
            wanted = WRITE
            try:
                sent = self.socket.send(content)
            except BlockingIOError:
                sent = 0
            except self.server.tls_waits as error:
                sent, wanted = 0, TLS_WAITS[error.errno or 0]
            if sent == len(content):
                return
            if sent or self.since is None:
                self.wait(REQUEST_TIMEOUT)
                content = memoryview(content)[sent:]
            yield wanted

    def linger(self) -> Waits[None]:
        """Discard further input, because closing early could reset an unread reply."""
        self.wait(LINGER)
        self.socket.shutdown(socket.SHUT_WR)
        while (yield from self.receive()):
            self.input.clear()

    # --- reading

    def await_request(self) -> Waits[bool]:
        """Skip empty lines, and return whether a request follows (RFC 9112 §2.2)."""
        self.wait(IDLE_TIMEOUT)
        while not self.input or self.input[0] in b"\r\n":
            self.input = self.input.lstrip(b"\r\n")
            if not self.input and not (yield from self.receive()):
                return False
        self.wait(REQUEST_TIMEOUT)
        return True

    def read_head(self) -> Waits[bytearray]:
        """Return the bytes before the empty line. Each byte is searched once.

        Raises StatusException (400, 414, 431); ConnectionError if they are truncated.
        """
        line, seen = -1, 0
        self.is_head = self.input.startswith(b"HEAD ")
        while (end := self.input.find(b"\r\n\r\n", seen)) < 0:
            size = len(self.input)
            line = self.input.find(b"\r\n", seen) if line < 0 else line
            check_head_size(line, size)
            if STRAY.search(self.input, seen, size - self.input.endswith(b"\r")):
                raise StatusException(400, STRAY_DETAIL)
            seen = max(size - 3, 0)
            if not (yield from self.receive()):
                raise ConnectionAbortedError  # a truncated request is dropped
            self.is_head = self.input.startswith(b"HEAD ")
        if end > MAX_TARGET or end > MAX_HEAD:
            check_head_size(self.input.find(b"\r\n", 0, end), end)
        head = self.input[:end]
        del self.input[: end + 4]
        return head

    def read_body(self, head: Head) -> Waits[bytes]:
        """Return the body (RFC 9112 §6).

        Raises StatusException: 400, 413, 431, 501, 503.
        """
        length = head.fields.get("content-length")
        coding = head.fields.get("transfer-encoding")
        if coding is not None:
            if length is not None or head.is_old:
                raise StatusException(
                    400,
                    "Transfer-Encoding is not allowed with Content-Length or in "
                    "HTTP/1.0: send Content-Length alone.",
                )
            if coding.lower() != "chunked":
                raise StatusException(
                    501,
                    "This Transfer-Encoding is not supported: send 'chunked', or "
                    "Content-Length instead.",
                )
        elif not re.fullmatch(r"[0-9]+", length or ""):
            raise StatusException(
                400, "Content-Length is not a number: send the body's size in bytes."
            )
        limit = self.server.app.largest_body
        if length and (len(length) > 15 or int(length) > limit):
            raise StatusException(
                413, f"The body is larger than {limit} bytes: send a smaller one."
            )
        expects = head.fields.get("expect", "").lower() == "100-continue"
        if expects and not self.input and not head.is_old:  # RFC 9110 §10.1.1
            yield from self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            if length is None:
                return (yield from self.read_chunks(limit))
            size = int(length)
            yield from self.fill(size)
            body = bytes(self.input[:size])
            del self.input[:size]
            return body
        finally:
            self.hold(0)

    def fill(self, size: int, decoded: int = 0) -> Waits[None]:
        """Read until the input has `size` bytes. Raises StatusException, 400, 503."""
        while len(self.input) < size:
            if not (yield from self.receive()):
                raise StatusException(
                    400, "The connection ended within the body: send all of the body."
                )
            self.hold(len(self.input) + decoded)

    def hold(self, size: int) -> None:
        """Count an unfinished body, unless it is small, against the server's budget.

        Raises StatusException, 503, if all connections together exceed the budget.
        """
        held = size if size > PIECE else 0
        if held == self.held:
            return
        with self.server.lock:
            self.server.unfinished += held - self.held
            self.held = held
            is_over = self.server.unfinished > self.server.most_unfinished
        if is_over and held:
            raise StatusException(
                503,
                "Too many large bodies are arriving at once: send this again later.",
                [("Retry-After", "1")],
            )

    def end_of_line(self, at: int, decoded: int) -> Waits[int]:
        """Return where the line at `at` ends. Raises StatusException, 400, 431, 503."""
        seen = at
        while (end := self.input.find(b"\n", seen)) < 0:
            seen = len(self.input)
            if seen - at > MAX_LINE:
                raise StatusException(
                    431,
                    f"A chunk size or trailer line is longer than {MAX_LINE} bytes: "
                    "send a shorter one.",
                )
            yield from self.fill(seen + 1, decoded)
        return end + 1

    def read_chunks(self, limit: int) -> Waits[bytes]:
        """Return a chunked body (RFC 9112 §7.1), without its trailers."""
        body = bytearray()
        at = 0
        for number in itertools.count(1):
            line = yield from self.end_of_line(at, len(body))
            match = CHUNK_SIZE.fullmatch(self.input, at, line)
            if not match:
                raise StatusException(
                    400,
                    "The size of a chunk is not a hexadecimal number: send the "
                    "chunk's size in bytes, as in '1F'.",
                )
            length = int(match[1], 16)
            if length == 0:
                break
            if len(body) + length > limit:
                raise StatusException(
                    413, f"The body is larger than {limit} bytes: send a smaller one."
                )
            at = line + length + 2
            if len(self.input) < at:
                yield from self.fill(at, len(body))
            if self.input[at - 2 : at] != b"\r\n":
                raise StatusException(
                    400,
                    f"No CR LF follows the {length} bytes of a chunk: send the "
                    "chunk's size in bytes before it, and CR LF after it.",
                )
            body += self.input[line : at - 2]
            if at > PIECE or number % CHUNKS == 0:
                del self.input[:at]
                at = 0
                yield WRITE  # other connections have their turn
        yield from self.skip_trailers(line, len(body))
        return bytes(body)

    def skip_trailers(self, at: int, decoded: int) -> Waits[None]:
        """Discard the trailers and the empty line that ends a chunked body."""
        first = at
        while (end := (yield from self.end_of_line(at, decoded))) != at + 2:
            if end - first > MAX_LINE or self.input[end - 2] != 13:
                raise StatusException(
                    431,
                    f"The trailers exceed {MAX_LINE} bytes, or a line of them does "
                    "not end with CR LF: leave the trailers out.",
                )
            at = end
        if self.input[at] != 13:
            raise StatusException(
                400, "The line after the last chunk has no CR: end it with CR LF."
            )
        del self.input[:end]

    def environ_of(self, head: Head) -> WSGIEnvironment:
        """Return the WSGI environment of a request (PEP 3333)."""
        environ = self.server.base_environ.copy()
        target = head.target
        host = head.fields.get("host")
        if host is not None:
            check_host(host, "Host")
        elif not head.is_old:  # even if the target is absolute (RFC 9112 §3.2)
            raise StatusException(
                400, "The Host header is missing: send it, as HTTP/1.1 requires."
            )
        if match := ABSOLUTE.fullmatch(target):  # RFC 9112 §3.2.2
            head.fields["host"] = check_host(match[1], "The target")
            target = (
                "/" + match[2].lstrip("/") if match[2][:1] != "?" else "/" + match[2]
            )
        elif target[0] != "/" and target != "*":
            raise StatusException(
                400, "The target of the request line is not a path: begin it with '/'."
            )
        path, _, query = target.partition("?")
        environ["REQUEST_METHOD"] = head.method
        environ["REQUEST_URI"] = target
        environ["PATH_INFO"] = unquote(path, "latin-1") if "%" in path else path
        environ["QUERY_STRING"] = query
        environ["REMOTE_ADDR"] = self.address[0]
        for name, value in head.fields.items():
            key = name.upper().replace("-", "_")
            if "_" in name:  # the application would take it for "-"
                continue
            framing = key in ("CONTENT_TYPE", "CONTENT_LENGTH")
            environ[key if framing else "HTTP_" + key] = value
        return environ


def check_head_size(line: int, size: int) -> None:
    """Raise StatusException (414, 431) if the request line or the headers are too long.

    `line` is where the request line ends, or -1 if its end has not arrived.
    """
    if (size if line < 0 else line) > MAX_TARGET:
        raise StatusException(
            414,
            f"The request line is longer than {MAX_TARGET} bytes: send a long query "
            "in the body of a POST to /.search.",
        )
    if line >= 0 and size - line > MAX_HEAD:
        raise StatusException(
            431, f"The headers are longer than {MAX_HEAD} bytes: send fewer of them."
        )


def parse_head(text: bytes | bytearray) -> Head:
    """Parse the request line and the headers (RFC 9112 §3, §5).

    Errors do not quote malformed text, because it may contain credentials.

    Raises StatusException: 400, 431, 505.
    """
    if STRAY.search(text):
        raise StatusException(400, STRAY_DETAIL)
    line, *lines = text.decode("latin-1").split("\r\n")
    match = REQUEST_LINE.fullmatch(line)
    if not match:
        raise StatusException(
            400, "The request line is not valid: send 'METHOD /path HTTP/1.1'."
        )
    if match[3] != "1":
        raise StatusException(505, "The HTTP version is not supported: send HTTP/1.1.")
    if len(lines) > MAX_HEADERS:
        raise StatusException(
            431, f"The request has more than {MAX_HEADERS} headers: send fewer."
        )
    fields: dict[str, str] = {}
    for number, each in enumerate(lines, 1):
        spelt, colon, value = each.partition(":")
        if not colon or not FIELD_NAME.fullmatch(spelt):
            field = f" ({known})" if (known := spelt.strip().lower()) in SINGLE else ""
            raise StatusException(
                400,
                f"Header line {number}{field} is not valid: send 'name: value', "
                "without a space before the name or the colon.",
            )
        name, value = spelt.lower(), value.strip(" \t")
        if name in fields:
            if name in SINGLE:
                raise StatusException(400, f"{spelt} was sent twice: send it once.")
            value = f"{fields[name]}, {value}"
        fields[name] = value
    return Head(match[1], match[2], match[4] == "0", fields)


def spell_reply(
    status: str, headers: Iterable[tuple[str, str]], content: bytes, keeps: bool
) -> bytes:
    """Return a reply as one piece, because head and body sent apart cause a delay."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    lines.append(f"Date: {http_date(int(time.time()))}")
    if not keeps:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + content


@lru_cache(maxsize=2)
def http_date(seconds: int) -> str:
    """Return a time in the format of HTTP headers (RFC 9110 §5.6.7)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def run_application(
    app: Application, environ: WSGIEnvironment
) -> tuple[str, list[tuple[str, str]], bytes]:
    """Call the WSGI application, and return its status, headers and body."""
    started: list[Any] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        started[:] = [status, headers]
        return lambda content: None

    content = b"".join(app(environ, start_response))
    return started[0], started[1], content


class Server:
    """The HTTP server: its connections, and the threads that take turns to lead."""

    def __init__(
        self,
        app: Application,
        hostname: str,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.app = app
        self.tls = tls
        self.tls_waits: tuple[type[OSError], ...] = ()
        if tls:
            import ssl

            self.tls_waits = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self.hostname = hostname
        self.lock = threading.Lock()  # guards what several threads change
        self.connections: set[Connection] = set()
        self.unfinished = 0  # bytes of large bodies that are still arriving
        self.most_unfinished = max(MAX_UNFINISHED, 2 * app.largest_body)
        self.leader: threading.Thread | None = None
        self.served: Connection | None = None  # by the leader, right now
        self.turn = 0  # counts what the leader has served
        self.next_sweep = 0.0
        self.stopping = threading.Event()
        self.was_interrupted = False  # by a signal handler, which must not lock
        self.most_connections = min(
            MAX_CONNECTIONS, max(most_files() - 100, most_files() // 2)
        )
        self.socket = listen(hostname, port)
        self.server_address = self.socket.getsockname()
        self.server_port: int = self.server_address[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.socket, READ)
        self.base_environ = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": hostname,
            "SERVER_PORT": str(self.server_port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if tls else "http",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "scim2_server.pass_lead": self.pass_lead,
        }

    @property
    def url(self) -> str:
        """Return the base URL of the resources, or of the first tenant."""
        return self.url_of(next(iter(self.app.directories), ""))

    @property
    def ready(self) -> str:
        """Return the text of the ready line."""
        names = ", ".join(filter(None, self.app.directories))
        said = f" (tenants: {names})" if names else ""
        if self.app.dynamic:
            return f"{self.url_of('NAME')} for any tenant NAME{said}"
        return self.url + said

    def url_of(self, tenant: str) -> str:
        """Return the base URL of a tenant, as seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(
            self.hostname, self.hostname
        )
        host = f"[{host}]" if ":" in host else host
        scheme = "https" if self.tls else "http"
        parts = [tenant] if tenant else []
        return "/".join(
            [f"{scheme}://{host}:{self.server_port}", *parts, *self.app.prefix]
        )

    # --- the lead

    def serve_forever(self, poll_interval: float = TURN) -> None:
        """Serve until `close`: start a leader, and replace a slow one."""
        watched = 0
        while True:
            with self.lock:
                if self.stopping.is_set() or self.was_interrupted:
                    return
                if self.served is not None and self.turn == watched:  # slow
                    self.depose()
                watched = self.turn
                if self.leader is None or not self.leader.is_alive():
                    self.appoint()
            self.stopping.wait(poll_interval)

    def appoint(self) -> None:
        """Start a thread that leads. If none can start, `serve_forever` tries again."""
        self.leader = threading.Thread(target=self.lead, daemon=True)
        try:
            self.leader.start()
        except RuntimeError:
            self.leader = None

    def depose(self) -> None:
        """Take the lead from its thread, which still finishes its request."""
        if self.served is not None:
            self.watch(self.served, 0)
        self.leader = self.served = None

    def pass_lead(self) -> None:
        """Let another thread lead, if this one does, before a slow operation.

        A custom store finds it in the WSGI environment, as `scim2_server.pass_lead`.
        """
        with self.lock:
            if self.leader is threading.current_thread():
                self.depose()
                self.appoint()

    def lead(self) -> None:
        """Wait for all connections, and resume each that is ready."""
        while self.leader is threading.current_thread():
            for key, _ in self.selector.select(TURN):
                if key.data is None:
                    self.accept()
                elif not self.resume(key.data):
                    return
            self.sweep()

    def resume(self, connection: Connection, is_overdue: bool = False) -> bool:
        """Resume a connection. Return whether this thread still leads."""
        with self.lock:
            if self.leader is not threading.current_thread():
                return False
            self.served = connection
            self.turn += 1
        event = connection.resume(is_overdue)
        with self.lock:
            leads = self.served is connection
            if leads:
                self.served = None
            elif self.selector.get_map() is None:  # the server is closed
                event = 0
            if event != connection.event:
                self.watch(connection, event)
        if not event:
            self.end(connection)
        return leads

    def watch(self, connection: Connection, event: int) -> None:
        """Let the leader wait for this event of a connection, or for none (0)."""
        if event == connection.event:
            return
        if not event:
            self.selector.unregister(connection.socket)
        elif connection.event:
            self.selector.modify(connection.socket, event, connection)
        else:
            self.selector.register(connection.socket, event, connection)
        connection.event = event

    def sweep(self) -> None:
        """Time out the overdue connections, a few times a second."""
        now = time.monotonic()
        if now < self.next_sweep:
            return
        self.next_sweep = now + 4 * TURN
        with self.lock:
            keys = list(self.selector.get_map().values())
        for key in keys:
            overdue = key.data is not None and key.data.is_overdue(now)
            if overdue and not self.resume(key.data, is_overdue=True):
                return

    # --- the connections

    def accept(self) -> None:
        """Accept the connections that clients have opened."""
        for _ in range(BACKLOG):
            try:
                client, address = self.socket.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    time.sleep(TURN)  # no descriptor is free: do not spin
                return
            try:
                connection = Connection(self, client, address)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.connections.add(connection)
                self.watch(connection, connection.resume())
            if len(self.connections) > self.most_connections:
                self.make_room()  # before the next accept
                return

    def make_room(self) -> None:
        """Close the connection that has waited longest."""
        with self.lock:
            waiting = [x for x in self.connections if x.since is not None]
            longest = min(waiting, key=lambda each: each.since or 0.0, default=None)
            if longest:
                longest.since = None  # it is chosen only once
                hang_up(longest.socket)

    def end(self, connection: Connection) -> None:
        """Close and remove a connection."""
        with self.lock:
            self.connections.discard(connection)
        connection.life.close()
        connection.socket.close()

    def close(self) -> None:
        """Stop accepting connections, and close the open ones.

        A request in the application has STOP_TIMEOUT to finish. All other connections
        close at once.
        """
        deadline = time.monotonic() + STOP_TIMEOUT
        with self.lock:
            if self.stopping.is_set():
                return
            self.stopping.set()
            self.selector.unregister(self.socket)
        self.socket.close()
        while self.hang_up_idle() and time.monotonic() < deadline:
            time.sleep(TURN / 5)
        with self.lock:
            leader = self.leader
            self.depose()
        if leader is not None:
            leader.join(4 * TURN)  # without waiting longer for its request
        with self.lock:
            self.selector.close()
            connections = list(self.connections)
        for each in connections:
            hang_up(each.socket)
            if each.event:  # otherwise the thread that serves it does
                self.end(each)

    def hang_up_idle(self) -> bool:
        """Close idle connections. Return whether any other connections are left."""
        with self.lock:
            connections = list(self.connections)
        for each in connections:
            if not each.is_answering:
                hang_up(each.socket)
        return any(each.is_answering for each in connections)


def listen(hostname: str, port: int) -> socket.socket:
    """Return a listening socket. No name is looked up, since that may take seconds."""
    family = socket.AF_INET6 if ":" in hostname else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((hostname.strip("[]"), port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def most_files() -> int:
    """Return how many files and sockets this process may have open."""
    try:
        import resource  # not on Windows, where `select` takes 512 sockets
    except ImportError:
        return 500
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS + 100 if soft == resource.RLIM_INFINITY else soft


def hang_up(connection: socket.socket) -> None:
    """Shut down a connection that another thread may be reading from."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def load_certificate(
    certfile: str | None, keyfile: str | None
) -> ssl.SSLContext | None:
    """Return a TLS context, or None without a certificate.

    Raises OSError (which includes ssl.SSLError) if a file is not valid.
    """
    if certfile is None:
        return None
    import ssl  # slow to import, and rarely needed

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certfile, keyfile)
    return context


@contextlib.contextmanager
def running_server(
    hostname: str = "127.0.0.1",
    port: int = 0,
    certfile: str | None = None,
    keyfile: str | None = None,
    **options: Any,
) -> Iterator[Server]:
    """Run a server in a thread, for tests. `options` are those of `create_app`.

    >>> from urllib.request import urlopen
    >>> with running_server() as server, urlopen(f"{server.url}/Users") as reply:
    ...     json.load(reply)["totalResults"]
    0
    """
    app = create_app(hostname=hostname, **options)
    server = Server(app, hostname, port, load_certificate(certfile, keyfile))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


# ##### Part V. The test double #####


# === 23. What clients did wrong: Journal ===


MAX_CLIENTS = 1000  # that a report tells apart


@dataclass(slots=True)
class Finding:
    """One deviation of one client."""

    time: str
    method: str
    path: str
    example: str
    count: int = 0
    refused: int = 0


class Journal:
    """Counts, for each client, the requests and the deviations in them."""

    def __init__(self, now: Callable[[], str]) -> None:
        self.now = now
        self.lock = threading.Lock()
        self.requests: dict[str, int] = {}
        self.findings: dict[str, dict[str, Finding]] = {}

    def record(self, environ: Mapping[str, Any], name: str, gate: Gate) -> None:
        """Count a request of a client: its User-Agent, else the token's name."""
        client = environ.get("HTTP_USER_AGENT") or name or "anonymous"
        with self.lock:
            if client not in self.requests:
                client = clip(client, 200)
                if client not in self.requests and len(self.requests) >= MAX_CLIENTS:
                    client = "others"
            self.requests[client] = self.requests.get(client, 0) + 1
            if gate.met or gate.refused:
                self.count(client, environ, gate)

    def count(self, client: str, environ: Mapping[str, Any], gate: Gate) -> None:
        """Count the deviations of a request."""
        findings = self.findings.setdefault(client, {})
        for code, example in {**gate.refused, **gate.met}.items():
            if code not in findings:
                path = clip_path(environ.get("PATH_INFO", ""))
                method = environ["REQUEST_METHOD"]
                findings[code] = Finding(self.now(), method, path, example)
            findings[code].count += code in gate.met
            findings[code].refused += code in gate.refused

    def report(self) -> dict[str, Any]:
        """Answer the report as JSON."""
        with self.lock:
            return {
                "clients": [
                    {
                        "client": client,
                        "requests": requests,
                        "deviations": [
                            describe(code, finding)
                            for code, finding in self.findings.get(client, {}).items()
                        ],
                    }
                    for client, requests in self.requests.items()
                ]
            }


def describe(code: str, finding: Finding) -> dict[str, Any]:
    """Answer what a report says of a deviation."""
    row = DEVIATIONS[code]
    first = {"time": finding.time, "method": finding.method, "path": finding.path}
    return {
        "code": code,
        "count": finding.count,
        "refused": finding.refused,
        "first": first,
        "example": finding.example,
        "rfc": f"{row.rfc}: {row.meaning}",
        "send_instead": row.send_instead,
    }


def print_report(report: Mapping[str, Any]) -> str:
    """Answer a report as text."""
    lines = []
    for client in report["clients"]:
        found = client["deviations"]
        said = f"{client['requests']} requests, deviations: {len(found) or 'none'}"
        lines.append(f"{client['client']}: {said}")
        for each in found:
            first, counts = each["first"], f"{each['count']} accepted"
            lines += [
                f"  {each['code']}: {counts}, {each['refused']} refused",
                f"    first    {first['time']} {first['method']} {first['path']}",
                f"    example  {each['example']}",
                f"    {each['rfc']}",
                f"    send     {each['send_instead']}",
            ]
    return "\n".join([*lines, ""]) if lines else "No client has asked anything.\n"


# === 24. Dump and load: dump_resources, load_resources ===


def dump_resources(
    directories: Mapping[str, Directory],
) -> list[Resource] | dict[str, list[Resource]]:
    """Answer all resources as their representations, with locations below the base.

    It is a list, or with tenants an object of lists by name. What is never returned is
    not in it: nothing keeps it.
    """
    dumped = {name: dump_directory(each) for name, each in list(directories.items())}
    return dumped.get("", dumped)


def dump_directory(directory: Directory) -> list[Resource]:
    """Answer the resources of one directory, in the order of creation."""
    with directory.store.lock:
        return [
            directory.complete(type, resource, "")
            for type in directory.provider.types.values()
            for resource in directory.store.select(type)
        ]


def load_resources(app: Application, dump: Any, source: str = "resources") -> None:
    """Load what was dumped, ids, meta and all.

    A list goes to every directory there is. `source` names the dump in warnings.

    Raises ValueError.
    """
    if isinstance(dump, dict):
        if "" in app.directories:
            raise ValueError(
                "no list of resources (an object of lists by tenant needs --tenant)"
            )
        for name, resources in dump.items():
            if name not in app.directories:
                if not app.dynamic:
                    raise ValueError(f"there is no tenant '{clip(name)}' to load")
                app.add_directory(app.check_tenant(name))
            load_directory(app.directories[name], resources, source)
        return
    if not app.directories:
        raise ValueError("a list of resources needs a tenant to go to")
    for directory in app.directories.values():
        load_directory(directory, dump, source)


def load_directory(directory: Directory, resources: Any, source: str) -> None:
    """Load a list of resources into a directory."""
    if not isinstance(resources, list):
        raise ValueError(f"no list of resources, but {clip(resources)}")
    with directory.store.lock:
        for number, resource in enumerate(resources, 1):
            try:
                check_depth(resource)
                check_text(resource)
                if changed := load_resource(directory, resource):
                    what = "; ".join(changed)
                    logger.warning("%s: resource %d: %s", source, number, what)
            except SCIMException as error:
                raise ValueError(f"resource {number}: {error.detail}") from None


def load_resource(directory: Directory, sent: Any) -> list[str]:
    """Load one resource. Return what was dropped from it or replaced in it.

    Raises InvalidValueException, UniquenessException.
    """
    if not isinstance(sent, dict):
        raise InvalidValueException(detail=f"no object, but {clip(sent)}")
    meta: dict[str, Any] = sent["meta"] if isinstance(sent.get("meta"), dict) else {}
    type = find_type(directory.provider, sent, meta)
    id = unused_id(directory) if sent.get("id") is None else sent["id"]
    if not is_id(id):
        raise InvalidValueException(
            detail=f"the id {clip(id)} must be a string of 1 to 1,000 characters, not "
            "'.', '..' or '.search', and without 'bulkId' (RFC 7643 §3.1)"
        )
    if directory.find(id):
        raise InvalidValueException(detail=f"the id {clip(id)} is taken")
    writable = Attributes(
        (name, each if each.computed else replace(each, mutability="readWrite"))
        for name, each in type.attributes.items()
        if name not in ("id", "meta")
    )
    items = {name: x for name, x in sent.items() if name.lower() in writable}
    items.pop("schemas", None)
    gate = Gate(frozenset(DEVIATIONS))
    resource = read_object(writable, items, "", gate)
    known = {*items, "schemas", "id", "meta"}
    changed = [f"{clip(name)} was dropped" for name in sent if name not in known]
    changed += [f"{example} ({code})" for code, example in gate.met.items()]
    check_required_within(type.marked["required"], resource, stored=True)
    check_models(type, resource)
    resource, secret = part_secrets(type, resource)
    check_unique(directory, type, {}, resource | {"id": id})
    now = directory.provider.now()
    stamps = {
        name: meta[name] if instant(str(meta.get(name))) is not None else now
        for name in ("created", "lastModified")
    }
    changed += [
        f"meta.{name} is not a date and time, and was replaced"
        for name in stamps
        if name in meta and stamps[name] is not meta[name]
    ]
    version = str(meta.get("version") or directory.new_version())
    if not directory.provider.note_version(version):
        version = directory.new_version()
    resource = {
        "schemas": schemas_of(type, resource),
        "id": id,
        **resource,
        "meta": {"resourceType": type.name, **stamps, "version": version},
    }
    directory.store.write(type, resource)
    if secret:
        directory.store.keep_secrets(type, resource, secret)
    return changed


def find_type(
    provider: Provider, sent: Mapping[str, Any], meta: Mapping[str, Any]
) -> ResourceType:
    """Answer the resource type that a dumped resource says it is of."""
    urns = [str(each).lower() for each in listed(sent.get("schemas"))]
    for type in provider.types.values():
        if meta.get("resourceType") == type.name:
            return type
        if "resourceType" not in meta and type.schema.lower() in urns:
            return type
    raise InvalidValueException(detail=f"no resource type is served for {urns}")


# ##### Part VI. The command line #####


# === 25. Options, files and signals: build_parser, main ===


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line; of a misspelt option with the nearest one."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        line = " ".join(message.split("\n"))
        if match := re.match("unrecognized arguments: (-[^ =]+)?", line):
            line = (
                "a value is not an option's: quote one that has blanks"  # or a secret
            )
            if option := match[1]:
                known = self._option_string_actions
                line = f"unknown option {option}{nearest(option, known)}"
        self.exit(2, f"{self.prog}: error: {line}\n")


# An option, what it takes (with "..." if it can be repeated), and what it is for.
OPTIONS = """
--schema SCHEMA...  serve the schemas of this JSON file (one or a list) or folder
    instead of the built-in ones, which the word "default" stands for
--resource-type RESOURCE_TYPE...  the same for resource types
--service-provider-config FILE  capabilities and limits, merged over the default
--bearer-token BEARER_TOKEN...  admit this token; none at all admits everyone. This and
    other secrets may be @FILE or env:NAME, from where they are read
--user-token USERNAME=TOKEN...  admit this token, as the /Me of this user
--basic-auth USER:PASSWORD...  admit this name and password, as the /Me of this user
--me USERNAME  who is /Me for everyone else
--hostname HOSTNAME  listen on this name or address (127.0.0.1)
--port PORT  listen on this port (8080); 0 is any free one
--prefix PATH  what all paths begin with (/v2)
--base-url URL  what all Locations begin with, the prefix included
--reverse-proxy  believe Forwarded and X-Forwarded-Proto, -Host, -Port, -Prefix
--certfile FILE  serve HTTPS with this certificate
--keyfile FILE  the key of the certificate, if it is not in the same file
--cors-origin ORIGIN...  admit web pages of this origin
--tenant NAME[=TOLERANCE|FILE]...  serve a directory of its own below /NAME; a FILE.json
    holds its options: tolerance, accept, refuse, bearer_tokens, user_tokens, basic_auth
    and me
--dynamic-tenants  serve a directory below any name, which the first write makes
--max-body BYTES  the largest body of a request (10 MiB)
--tolerance LEVEL  how far to bear with clients: strict, standard (so by
    default) or lenient
--accept CODE...  accept this deviation, whatever the tolerance
--refuse CODE...  refuse this deviation, whatever the tolerance
--report FILE  write at exit what clients did wrong, as JSON if the name ends so
--fail-on-deviation  exit with status 3 if a client did anything wrong
--dump-resources DUMP_RESOURCES  write all resources to this JSON file at exit
--load-resources FILE  read such a dump at start
--verbose  log a line for each request
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = OneLineParser(
        prog="scim2_server.py",
        description="A SCIM 2.0 service provider (RFC 7643, RFC 7644, RFC 9865).",
    )
    typed = {"--hostname": host_name, "--port": port_number, "--max-body": positive}
    for row in re.split(r"\n(?=--)", OPTIONS.strip()):
        usage, _, purpose = " ".join(row.split("\n    ")).partition("  ")
        name, _, value = usage.partition(" ")
        if not value:
            parser.add_argument(name, action="store_true", help=purpose)
            continue
        parser.add_argument(
            name,
            metavar=value.removesuffix("..."),
            action="append" if value.endswith("...") else "store",
            type=typed.get(name, str),
            help=purpose + " (repeatable)" * value.endswith("..."),
        )
    version = f"scim2_server.py {__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.set_defaults(hostname="127.0.0.1", port=8080, prefix="/v2")
    parser.set_defaults(max_body=MAX_BODY, tolerance="standard")
    return parser


def host_name(text: str) -> str:
    """Answer a name or address to listen on."""
    if text:
        return text[1:-1] if text[0] == "[" and text[-1] == "]" else text
    raise argparse.ArgumentTypeError("an empty name would listen everywhere")


def port_number(text: str) -> int:
    """Answer a port."""
    if re.fullmatch(r"[0-9]{1,5}", text) and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to 65535")


def positive(text: str) -> int:
    """Answer a positive number."""
    if re.fullmatch(r"[0-9]{1,15}", text) and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {10**15 - 1}")


def read_json_file(path: str) -> Any:
    """Answer what a JSON file holds. Raises ValueError that names it."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    try:
        return decode_json(content, Gate(frozenset(DEVIATIONS)), "the file")
    except InvalidSyntaxException as error:
        raise ValueError(f"{path}: {error.detail}") from None


def read_documents(paths: Sequence[str] | None, kind: str) -> list[Any] | None:
    """Answer the schemas or resource types of files and folders; None for none given.

    Raises ValueError that names the file.
    """
    if not paths:
        return None
    model = scim2_models.Schema if kind == "schemas" else scim2_models.ResourceType
    mark = "attributes" if kind == "schemas" else "endpoint"
    found: list[Any] = []
    for path in paths:
        if path == "default":
            found += default_documents()[kind]
            continue
        documents: list[Any] = []
        is_folder = os.path.isdir(path)
        for file in (
            sorted(map(str, Path(path).glob("*.json"))) if is_folder else [path]
        ):
            content = listed(read_json_file(file))
            if is_folder:
                content = [
                    x
                    for x in content
                    if isinstance(x, dict) and mark in map(str.lower, x)
                ]
            checked = named(file, check_documents, content, model)
            warn_of_unknown_members(file, checked, model)
            documents += checked
        if not documents:
            what = "schema" if kind == "schemas" else "resource type"
            raise ValueError(f"{path} does not contain a {what}")
        found += documents
    return found


def warn_of_unknown_members(path: str, documents: Iterable[Any], model: Any) -> None:
    """Warn of members that are served although scim2-models does not know them."""
    found = {x for each in documents for x in find_unknown_members(each, model)}
    if found:
        names = ", ".join(sorted(found))
        warn(f"{path}: scim2-models does not know {names}, served as given")


def named(path: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function; its ValueError gets the path in front."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_secret(text: str, option: str) -> str:
    """Answer a secret that is given, or stands in @FILE or env:NAME.

    Raises ValueError for one that is empty or not there.
    """
    secret, where = text, option
    if text.startswith("@"):
        where = f"{option} {text}"
        try:
            secret = Path(text[1:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8"
            raise ValueError(f"{where}: {reason}") from None
    elif text.startswith("env:"):
        where = f"{option} {text}"
        if text[4:] not in os.environ:
            raise ValueError(f"{where} is not set")
        secret = os.environ[text[4:]]
    if not secret:
        raise ValueError(f"{where} is empty: it would let everyone in")
    return secret


def read_pairs(texts: Iterable[str], option: str, separator: str) -> dict[str, str]:
    """Answer names and secrets. Raises ValueError."""
    pairs = {}
    for text in texts:
        whole = (
            read_secret(text, option) if text[:1] == "@" or text[:4] == "env:" else text
        )
        name, found, secret = whole.partition(separator)
        if not found or not name:
            raise ValueError(f"{option} needs a name, '{separator}' and a secret")
        if name in pairs:
            raise ValueError(f"{option} {clip(name)} comes twice")
        pairs[name] = read_secret(secret, option) if whole is text else secret
    return pairs


def read_tenant(path: str) -> Any:
    """Return the options of a tenant in a JSON file, with the secrets it refers to."""
    options = read_json_file(path)
    for key in ("bearer_tokens", "user_tokens", "basic_auth"):
        if isinstance(options, dict) and key in options:
            options[key] = read_secrets(options[key], f"{path} {key}")
    return options


def read_secrets(value: Any, where: str) -> Any:
    """Return secrets in lists and objects, each from where it says that it is."""
    if isinstance(value, list):
        return [read_secrets(each, where) for each in value]
    if isinstance(value, dict):
        return {name: read_secrets(each, where) for name, each in value.items()}
    return read_secret(value, where) if isinstance(value, str) else value


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Answer the options of `create_app`. Raises ValueError."""
    tenants: dict[str, Any] = {}
    for text in arguments.tenant or []:
        name, _, given = text.partition("=")
        if name in tenants:
            raise ValueError(f"--tenant {name} comes twice")
        if given.endswith(".json"):
            tenants[name] = read_tenant(given)
        elif "=" in text and given not in TOLERANCES:
            known = ", ".join(TOLERANCES)
            raise ValueError(f"--tenant {text}: give {known} or a FILE.json")
        else:
            tenants[name] = {"tolerance": given} if given else {}
    option = "--bearer-token"
    tokens = [read_secret(each, option) for each in arguments.bearer_token or []]
    config = arguments.service_provider_config
    given = read_json_file(config) if config is not None else {}
    if config is not None:
        merged = named(config, read_configuration, given)
        model = scim2_models.ServiceProviderConfig
        warn_of_unknown_members(config, [merged], model)
    return {
        "schemas": read_documents(arguments.schema, "schemas"),
        "resource_types": read_documents(arguments.resource_type, "resource_types"),
        "service_provider_config": given,
        "bearer_tokens": tokens,
        "user_tokens": read_pairs(arguments.user_token or [], "--user-token", "="),
        "basic_auth": read_pairs(arguments.basic_auth or [], "--basic-auth", ":"),
        "me": arguments.me,
        "tenants": tenants,
        "dynamic_tenants": arguments.dynamic_tenants,
        "prefix": arguments.prefix,
        "base_url": arguments.base_url,
        "reverse_proxy": arguments.reverse_proxy,
        "cors_origins": arguments.cors_origin or [],
        "hostname": arguments.hostname,
        "max_body": arguments.max_body,
        "tolerance": arguments.tolerance,
        "accept": arguments.accept or [],
        "refuse": arguments.refuse or [],
    }


def check_writable(path: str) -> None:
    """Check at start that a file can be written at exit. Raises ValueError."""
    if not path or os.path.isdir(path):
        raise ValueError(f"'{path}' is no file")
    if os.path.exists(path):
        if not os.access(path, os.W_OK):
            raise ValueError(f"{path} cannot be written")
        if not os.path.isfile(path):
            return
    folder = os.path.dirname(os.path.abspath(path))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from None


def write_file(path: str, text: str, private: bool = False) -> None:
    """Write a file whole, or not at all; a new private one is its owner's alone."""
    if path.startswith("/dev/") or (os.path.exists(path) and not os.path.isfile(path)):
        Path(path).write_text(text, encoding="utf-8")  # a pipe or a terminal
        return
    path = os.path.realpath(path)
    handle, draft = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            os.chmod(draft, os.stat(path).st_mode & 0o777)
        elif not private:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(draft, 0o666 & ~mask)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def warn(message: str) -> None:
    """Print a warning to stderr, if anyone still reads it."""
    with contextlib.suppress(OSError):
        print(f"warning: {message}", file=sys.stderr, flush=True)


def warn_of_nobody(app: Application) -> None:
    """Warn of a `--me` that names no user of a tenant."""
    for name, directory in app.directories.items():
        me = app.settings.get(name, app.common).me
        where = f" of the tenant '{name}'" if name else ""
        try:
            if me is not None:
                find_subject(directory, me)
        except NotFoundException:
            warn(f"no user{where} has the userName '{clip(me)}': /Me is 404 (--me)")


def warn_beyond_loopback(server: Server) -> None:
    """Say what is missing on a server that others can reach."""
    missing = ["without credentials (--bearer-token)"] * server.app.is_anonymous
    missing += [] if server.tls else ["without TLS (--certfile)"]
    if missing and not is_loopback(str(server.server_address[0])):
        reach = f"reachable beyond this machine {' and '.join(missing)}"
        warn(f"{server.url} is {reach}")


def start(arguments: argparse.Namespace) -> Server:
    """Make the server. Raises ValueError with one line that names what is wrong."""
    if arguments.keyfile and not arguments.certfile:
        raise ValueError("--keyfile needs --certfile")
    files = [x for x in (arguments.dump_resources, arguments.report) if x is not None]
    for path in files:
        check_writable(path)
    if len({os.path.realpath(path) for path in files}) < len(files):
        raise ValueError(f"--dump-resources and --report are one file: {files[0]}")
    options = options_of(arguments)
    load = arguments.load_resources
    app = create_app(**options)
    if load is not None:
        named(load, load_resources, app, read_json_file(load), load)
    tls = read_certificate(arguments.certfile, arguments.keyfile)
    try:
        return Server(app, arguments.hostname, arguments.port, tls)
    except (OSError, UnicodeError) as error:
        where = f"{arguments.hostname} port {arguments.port}"
        reason = str(error)
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            reason = "the port is taken; give another one (--port 0 is any free one)"
        raise ValueError(f"cannot listen on {where}: {reason}") from None


def read_certificate(
    certfile: str | None, keyfile: str | None
) -> ssl.SSLContext | None:
    """Return a TLS context. Raises ValueError that names the file."""
    for path in filter(None, (certfile, keyfile)):
        try:
            open(path).close()
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
    try:
        return load_certificate(certfile, keyfile)
    except OSError:
        files = " and ".join(filter(None, (certfile, keyfile)))
        raise ValueError(f"{files}: no certificate with its key in PEM") from None


SECOND_SIGNAL = 0.2  # seconds after the first; `timeout` sends the first one twice


def stop_on_signals(server: Server) -> None:
    """Stop on SIGTERM as on Ctrl-C; a second signal ends a stop that is stuck.

    The first can interrupt the main thread anywhere. So its handler takes no lock and
    raises nothing; `serve_forever` sees within a turn that it was called.
    """
    first: list[float] = []

    def stop(number: int, frame: Any) -> None:
        server.was_interrupted = True
        first.append(time.monotonic())
        if first[-1] - first[0] > SECOND_SIGNAL:
            raise SystemExit(128 + number)  # as a shell calls it

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def announce(line: str) -> None:
    """Print the ready line; who started the server may have stopped reading."""
    try:
        print(line, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # else it fails again at exit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is stopped; return the exit status."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        server = start(arguments)
    except ValueError as error:
        parser.error(str(error))
    stop_on_signals(server)
    warn_beyond_loopback(server)
    warn_of_nobody(server.app)
    spare_collector()
    announce(f"Serving SCIM 2.0 on {server.ready}")
    server.serve_forever()
    server.close()
    return finish(server.app, arguments)


def spare_collector() -> None:
    """Let the garbage collector pass over what the imports made, and come less often.

    There are few cycles here, and many resources that live on: its passes would take a
    tenth of a bulk job.
    """
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def finish(app: Application, arguments: argparse.Namespace) -> int:
    """Write the files of the exit, each by itself, and return the exit status."""
    report = app.report()
    status = 0
    if arguments.fail_on_deviation and any(x["deviations"] for x in report["clients"]):
        status = 3
    texts: dict[str, Callable[[], str]] = {
        "dump_resources": lambda: json.dumps(app.dump(), indent=2, ensure_ascii=False),
        "report": lambda: (
            json.dumps(report, indent=2)
            if arguments.report.endswith(".json")
            else print_report(report).removesuffix("\n")
        ),
    }
    for option, text in texts.items():
        if (path := getattr(arguments, option)) is not None:
            try:
                write_file(path, text() + "\n", private=option == "dump_resources")
            except OSError as error:
                reason = f"{path} was not written: {error.strerror}"
                print(f"scim2_server.py: error: {reason}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
