"""The in-process client that every test file shares."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from scim2_server import create_app

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


@dataclass
class Reply:
    """One answer of the application: status code, headers, decoded body."""

    status: int
    headers: dict[str, str]
    content: bytes
    json: Any = field(default=None)

    def __getitem__(self, name: str) -> Any:
        return self.json[name]


class Client:
    """Send requests to a WSGI application, through wsgiref.validate."""

    def __init__(self, app: Callable[..., Any], prefix: str = "/v2") -> None:
        self.app = validator(app)
        self.prefix = prefix

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        """Send ``body`` (bytes as they are, else as JSON) to prefix + ``path``."""
        path, _, search = path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.prefix + path,
            "QUERY_STRING": search or urlencode(query),
            "HTTP_HOST": "localhost",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
        }
        setup_testing_defaults(environ)
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            environ["wsgi.input"] = io.BytesIO(content)
            environ["CONTENT_LENGTH"] = str(len(content))
            environ["CONTENT_TYPE"] = "application/scim+json"
        for name, value in (headers or {}).items():
            key = name.upper().replace("-", "_")
            bare = key in ("CONTENT_TYPE", "CONTENT_LENGTH")
            environ[key if bare else "HTTP_" + key] = value
        started: list[Any] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            started[:] = [status, headers]
            return lambda chunk: None

        result = self.app(environ, start_response)
        try:
            content = b"".join(result)
        finally:
            result.close()
        status, pairs = started
        reply = Reply(int(status[:3]), dict(pairs), content)
        if content:
            reply.json = json.loads(content)
        return reply

    def get(self, path: str, **query: Any) -> Reply:
        return self.request("GET", path, **query)

    def post(self, path: str, body: Any, headers: Any = None, **query: Any) -> Reply:
        return self.request("POST", path, body, headers, **query)

    def put(self, path: str, body: Any, headers: Any = None, **query: Any) -> Reply:
        return self.request("PUT", path, body, headers, **query)

    def delete(self, path: str, headers: Any = None) -> Reply:
        return self.request("DELETE", path, None, headers)

    def patch(
        self, path: str, *operations: Any, headers: Any = None, **query: Any
    ) -> Reply:
        """Send a PatchOp of these operations."""
        body = {"schemas": [PATCH_OP], "Operations": list(operations)}
        return self.request("PATCH", path, body, headers, **query)

    def user(self, userName: str, **attributes: Any) -> dict[str, Any]:
        """Create a user and answer its representation."""
        schemas = [USER, *(name for name in attributes if name.startswith("urn:"))]
        body = {"schemas": schemas, "userName": userName, **attributes}
        reply = self.post("/Users", body)
        assert reply.status == 201, reply.content
        created: dict[str, Any] = reply.json
        return created

    def group(
        self, displayName: str, *members: str, **attributes: Any
    ) -> dict[str, Any]:
        """Create a group whose members are the resources with these ids."""
        body: dict[str, Any] = {"schemas": [GROUP], "displayName": displayName}
        if members:
            body["members"] = [{"value": member} for member in members]
        reply = self.post("/Groups", body | attributes)
        assert reply.status == 201, reply.content
        created: dict[str, Any] = reply.json
        return created


def assert_error(reply: Reply, status: int, scim_type: str | None = None) -> str:
    """Check that this is a SCIM error (RFC 7644 §3.12), and answer its detail."""
    assert reply.status == status, reply.content
    assert reply.headers["Content-Type"].startswith("application/scim+json")
    assert reply.json["schemas"] == [ERROR]
    assert reply.json["status"] == str(status)
    assert reply.json.get("scimType") == scim_type, reply.content
    detail: str = reply.json["detail"]
    assert detail
    return detail


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a fresh server with the default options."""
    yield Client(create_app())


@pytest.fixture
def make_client() -> Callable[..., Client]:
    """Make a client of a fresh server with these options of create_app."""

    def make(**options: Any) -> Client:
        return Client(create_app(**options), options.get("prefix", "/v2"))

    return make
