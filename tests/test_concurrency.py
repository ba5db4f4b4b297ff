"""Many threads at once: no two winners, no lost update, no half a change."""

from __future__ import annotations

import functools
import inspect
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
from conftest import SEARCH, USER, Client
from wire import Live, in_threads

from scim2_server import Store, create_app, running_server

THREADS = 6
ROUNDS = 12


def hesitant(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let another thread run before and after each call."""

    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        time.sleep(0)
        try:
            return method(*arguments, **options)
        finally:
            time.sleep(0)

    return call


HesitantStore = type(
    "HesitantStore",
    (Store,),
    {
        name: hesitant(method)
        for name, method in vars(Store).items()
        if inspect.isfunction(method) and not name.startswith("_")
    },
)
"""A store that gives way wherever a check and a write could be torn apart."""


@pytest.fixture(params=["sockets", "store"])
def clients(request: pytest.FixtureRequest) -> Iterator[list[Client]]:
    """A client for each thread: over sockets, or around a store that hesitates."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        if request.param == "store":
            app = create_app(store=HesitantStore)
            yield [Client(app) for _ in range(THREADS)]
        else:
            with running_server() as server:
                lives = [Live(server.url) for _ in range(THREADS)]
                yield list(lives)
                for live in lives:
                    live.close()
    finally:
        sys.setswitchinterval(interval)


def everywhere(clients: list[Client], job: Callable[[int, Client], Any]) -> list[Any]:
    """Run ``job`` by every client at once."""
    return in_threads(*(functools.partial(job, *pair) for pair in enumerate(clients)))


def put_title(client: Client, path: str, title: str, etag: str) -> Any:
    operation = {"op": "replace", "path": "title", "value": title}
    return client.patch(path, operation, headers={"If-Match": etag})


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH"])
def test_one_name_one_winner(clients: list[Client], verb: str) -> None:
    """Of racing writes of one userName exactly one wins (RFC 7644 §3.3.1)."""
    ids = [clients[0].user(f"start {place}")["id"] for place in range(THREADS)]

    def write(name: str, place: int, client: Client) -> int:
        # userName is not case-exact: these are all one name
        spelt = name.upper() if place % 2 else name
        body = {"schemas": [USER], "userName": spelt}
        path = f"/Users/{ids[place]}"
        if verb == "POST":
            return client.post("/Users", body).status
        if verb == "PUT":
            return client.put(path, body).status
        operation = {"op": "replace", "path": "userName", "value": spelt}
        return client.patch(path, operation).status

    for number in range(ROUNDS):
        name = f"same {number}"
        statuses = everywhere(clients, functools.partial(write, name))
        won = [status for status in statuses if status in (200, 201)]
        assert len(won) == 1 and statuses.count(409) == THREADS - 1, statuses
        found = clients[0].get("/Users", filter=f'userName eq "{name}"')
        assert found["totalResults"] == 1


def test_accounts_balance(clients: list[Client]) -> None:
    """After random creates and deletes, what exists was created and not deleted."""
    names = ["a", "b", "c"]
    tally: Counter[str] = Counter()
    lock = threading.Lock()

    def job(place: int, client: Client) -> None:
        chance = random.Random(place)
        for _ in range(ROUNDS * 3):
            name = chance.choice(names)
            change = 0
            if chance.random() < 0.5:
                body = {"schemas": [USER], "userName": name}
                status = client.post("/Users", body).status
                assert status in (201, 409)
                change = status == 201
            else:
                found = client.get("/Users", filter=f'userName eq "{name}"')
                for resource in found.json.get("Resources", []):
                    status = client.delete(f"/Users/{resource['id']}").status
                    assert status in (204, 404)
                    change -= status == 204
            with lock:
                tally[name] += change

    everywhere(clients, job)
    listed = clients[0].get("/Users").json.get("Resources", [])
    assert Counter(user["userName"] for user in listed) == +tally
    assert all(0 <= tally[name] <= 1 for name in names)


def test_no_lost_update(clients: list[Client]) -> None:
    """Every value that a PATCH added is there in the end (RFC 7644 §3.5.2.1)."""
    user = clients[0].user("ann")
    group = clients[0].group("g")
    others = [
        [clients[0].user(f"{place} {number}")["id"] for number in range(ROUNDS)]
        for place in range(THREADS)
    ]

    def job(place: int, client: Client) -> None:
        for number in range(ROUNDS):
            email = {"value": f"{place}-{number}@x.example"}
            for path, name, value in (
                (f"/Users/{user['id']}", "emails", email),
                (f"/Groups/{group['id']}", "members", {"value": others[place][number]}),
            ):
                operation = {"op": "add", "path": name, "value": [value]}
                assert client.patch(path, operation).status == 200

    everywhere(clients, job)
    emails = clients[0].get(f"/Users/{user['id']}")["emails"]
    expected = [f"{a}-{b}@x.example" for a in range(THREADS) for b in range(ROUNDS)]
    assert sorted(email["value"] for email in emails) == sorted(expected)
    members = clients[0].get(f"/Groups/{group['id']}")["members"]
    assert sorted(member["value"] for member in members) == sorted(chain(*others))
    filtered = clients[0].get("/Users", filter=f'groups.value eq "{group["id"]}"')
    assert filtered["totalResults"] == THREADS * ROUNDS


def test_compare_and_swap(clients: list[Client]) -> None:
    """If-Match and the write are one step (RFC 7644 §3.14)."""
    path = f"/Users/{clients[0].user('ann', title='0')['id']}"

    def once(etag: str, place: int, client: Client) -> int:
        status: int = put_title(client, path, f"new {place}", etag).status
        return status

    def count(place: int, client: Client) -> None:
        done = 0
        while done < ROUNDS:
            seen = client.get(path)
            title = str(int(seen["title"]) + 1)
            reply = put_title(client, path, title, seen.headers["ETag"])
            assert reply.status in (200, 412)
            done += reply.status == 200

    everywhere(clients, count)
    assert clients[0].get(path)["title"] == str(THREADS * ROUNDS)
    for _ in range(ROUNDS):
        etag = clients[0].get(path).headers["ETag"]
        statuses = everywhere(clients, functools.partial(once, etag))
        assert sorted(statuses) == [200] + [412] * (THREADS - 1)
        put_title(clients[0], path, "old", "*")


def while_writing(
    clients: list[Client],
    write: Callable[[int, Client], None],
    read: Callable[[Client], None],
) -> None:
    """Let one client write while the others read."""
    done = threading.Event()

    def job(place: int, client: Client) -> None:
        if place:
            while not done.is_set():
                read(client)
            return
        try:
            for number in range(ROUNDS * 4):
                write(number, client)
        finally:
            done.set()

    everywhere(clients, job)


def test_no_half_a_patch(clients: list[Client]) -> None:
    """A reader sees all operations of a PATCH or none (RFC 7644 §3.5.2)."""
    names = ("title", "nickName", "displayName")
    created = clients[0].user("ann", **dict.fromkeys(names, "start"))
    path = f"/Users/{created['id']}"

    def write(number: int, client: Client) -> None:
        value = f"value {number}"
        operations = [{"op": "replace", "path": name, "value": value} for name in names]
        if number % 3 == 0:  # the last operation fails: none may be seen
            path_without_target = 'emails[type eq "no"].value'
            operations.append(
                {"op": "replace", "path": path_without_target, "value": "x"}
            )
        status = client.patch(path, *operations).status
        assert status == (400 if number % 3 == 0 else 200)

    def read(client: Client) -> None:
        reply = client.get(path)
        [listed] = client.get("/Users", filter='userName eq "ann"')["Resources"]
        for seen in (reply.json, listed):
            [value] = {seen[name] for name in names}
            assert value == "start" or int(value[6:]) % 3
        assert reply.headers["ETag"] == reply["meta"]["version"]

    while_writing(clients, write, read)


def test_groups_agree_with_members(clients: list[Client]) -> None:
    """A group's members and their derived groups change as one (RFC 7643 §4.1.2)."""
    ids = [clients[0].user(name)["id"] for name in ("ann", "bob")]
    group = clients[0].group("g")["id"]
    path = f"/Groups/{group}"

    def write(number: int, client: Client) -> None:
        members = [{"value": user} for user in ids]
        operation: dict[str, Any] = {"op": "add", "path": "members", "value": members}
        if number % 2:
            operation = {"op": "remove", "path": "members"}
        assert client.patch(path, operation).status == 200

    def read(client: Client) -> None:
        search = {"schemas": [SEARCH], "count": 10}
        found = client.post("/.search", search)["Resources"]
        everyone = {resource["id"]: resource for resource in found}
        inside = {member["value"] for member in everyone[group].get("members", [])}
        assert inside in (set(), set(ids))
        for user in ids:
            groups = {item["value"] for item in everyone[user].get("groups", [])}
            assert groups == ({group} if inside else set())
        assert client.get("/Users", filter="groups pr")["totalResults"] in (0, 2)

    while_writing(clients, write, read)


def test_version_names_one_state(clients: list[Client]) -> None:
    """Two replies with one ETag have one body (RFC 9110 §8.8.1)."""
    user = clients[0].user("ann")["id"]
    group = clients[0].group("g")["id"]
    bodies: dict[str, bytes] = {}
    lock = threading.Lock()

    def write(number: int, client: Client) -> None:
        member = {"op": "add", "path": "members", "value": [{"value": user}]}
        away = {"op": "remove", "path": "members"}
        client.patch(f"/Groups/{group}", away if number % 2 else member)
        client.patch(f"/Users/{user}", {"op": "add", "value": {"title": str(number)}})

    def read(client: Client) -> None:
        reply = client.get(f"/Users/{user}")
        with lock:
            etag = reply.headers["ETag"]
            assert bodies.setdefault(etag, reply.content) == reply.content

    while_writing(clients, write, read)
    assert len(bodies) > 1


def test_delete_leaves_no_member(clients: list[Client]) -> None:
    """Whoever reads all sees no member that is deleted (RFC 7644 §3.6)."""
    group = clients[0].group("g")["id"]

    def write(number: int, client: Client) -> None:
        user = client.user(f"user {number}")["id"]
        operation = {"op": "add", "path": "members", "value": [{"value": user}]}
        assert client.patch(f"/Groups/{group}", operation).status == 200
        assert client.delete(f"/Users/{user}").status == 204

    def read(client: Client) -> None:
        found = client.get("", count=1000)["Resources"]
        known = {resource["id"] for resource in found}
        for resource in found:
            for member in resource.get("members", []):
                assert member["value"] in known

    while_writing(clients, write, read)
    assert "members" not in clients[0].get(f"/Groups/{group}").json
