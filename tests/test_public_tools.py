"""Public clients and conformance testers, against a live server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import LIST

from scim2_server import running_server

TOKEN = "token-of-the-tools"


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a server in its default configuration, with a token."""
    with running_server(bearer_tokens=(TOKEN,)) as server:
        yield server.url


def test_scim2_tester(url: str) -> None:
    """Every check of scim2-tester is a SUCCESS; none is skipped."""
    scim2_tester = pytest.importorskip("scim2_tester")
    engine = pytest.importorskip("scim2_client.engines.httpx2")
    import httpx2

    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=url, headers=headers) as client:
        results = scim2_tester.check_server(engine.SyncSCIMClient(client))
    other = [
        f"{result.status.name} {result.title} {result.resource_type}: {result.reason}"
        for result in results
        if result.status is not scim2_tester.Status.SUCCESS
    ]
    assert other == []
    assert {"User", "Group"} <= {result.resource_type for result in results}
    assert len(results) > 100


AGENTS = {  # of a draft (draft-abbey-scim-agent-extension) that this server lacks
    *("Agent CRUD Lifecycle", "AgenticApplication CRUD Lifecycle"),
    "Agent Rapid Lifecycle",
}


def test_scim_sanity(url: str) -> None:
    """Every test of scim-sanity passes in its strict mode."""
    runner = pytest.importorskip("scim_sanity.probe.runner")
    report = runner.run_probe_api(url, token=TOKEN, strict=True)
    other = {
        result["name"]: result
        for result in report["results"]
        if result["status"] not in ("pass", "skip")
    }
    assert other == {}
    skipped = {
        result["name"] for result in report["results"] if result["status"] == "skip"
    }
    assert skipped <= AGENTS
    assert report["exit_code"] == 0 and report["issues"] == []
    assert report["summary"]["passed"] > 20


def test_scim2_cli(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """scim2-cli creates, queries, modifies, replaces, searches and deletes."""
    testing = pytest.importorskip("click.testing")
    scim2_cli = pytest.importorskip("scim2_cli")
    monkeypatch.setenv("SCIM_CLI_URL", url)
    monkeypatch.setenv("SCIM_CLI_HEADERS", f"Authorization: Bearer {TOKEN}")

    def scim2(*arguments: str, status: int = 0) -> Any:
        result = testing.CliRunner().invoke(scim2_cli.cli, arguments)
        assert result.exit_code == status, result.output
        return json.loads(result.stdout) if result.stdout else None

    emails = '[{"value": "b@x.example", "type": "work", "primary": true}]'
    name = ("--name", json.dumps({"familyName": "Jensen"}))
    user = scim2(
        *("create", "user", "--user-name", "bjensen", "--emails", emails), *name
    )
    id_ = user["id"]
    assert user["name"]["familyName"] == "Jensen"
    assert scim2("query", "user", id_) == user
    found = scim2("query", "user", "--filter", 'emails.value eq "b@x.example"')
    assert found["schemas"] == [LIST] and found["Resources"] == [user]
    modified = scim2(
        *("modify", "user", id_, "replace", "displayName", "Babs"),
        *("remove", 'emails[type eq "work"]', "add", "name.givenName", "Barbara"),
    )
    assert modified["displayName"] == "Babs" and "emails" not in modified
    assert modified["name"] == {"familyName": "Jensen", "givenName": "Barbara"}
    group = scim2(
        *("create", "group", "--display-name", "Guides"),
        *("--members", json.dumps([{"value": id_}])),
    )
    assert scim2("query", "user", id_)["groups"][0]["value"] == group["id"]
    replaced = scim2("replace", "user", "--id", id_, "--user-name", "barbara")
    assert replaced["userName"] == "barbara" and "displayName" not in replaced
    assert scim2("search", "--filter", "displayName pr")["totalResults"] == 1
    assert (
        scim2("create", "user", "--user-name", "BARBARA", status=1)["status"] == "409"
    )
    assert scim2("delete", "user", id_) is None
    assert scim2("query", "user", id_, status=1)["status"] == "404"
    assert "members" not in scim2("query", "group", group["id"])
    assert scim2("delete", "group", group["id"]) is None
