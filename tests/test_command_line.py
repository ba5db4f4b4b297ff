"""The command line, as processes of their own: options, ready line, signals, files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from resource import RLIMIT_FSIZE, setrlimit
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import ENTERPRISE, PATCH_OP, USER, assert_error
from wire import SERVER, Live, Wire, exchange, message

from scim2_server import build_parser, create_app, main

PRINTER = "urn:example:params:scim:schemas:Printer"
SECRET = "correct horse battery staple"


class Process:
    """A running server: its URL, its client, and what it printed."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        folder: Path,
        server: Path,
        env: Any,
        limit: int | None,
    ) -> None:
        def limit_files() -> None:
            if limit is not None:
                setrlimit(RLIMIT_FSIZE, (limit, limit))

        self.errors = (folder / "stderr.txt").open("w+")
        self.popen = subprocess.Popen(
            [sys.executable, str(server), "--port", "0", *arguments],
            cwd=folder,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            preexec_fn=limit_files,
        )
        watchdog = threading.Timer(60, self.popen.kill)
        watchdog.start()
        assert self.popen.stdout
        self.ready = self.popen.stdout.readline()
        watchdog.cancel()
        match = re.search(r"https?://[^\s]*[^\s.,]", self.ready)
        assert match, (self.ready, self.stderr())
        self.url = match[0]

    def stderr(self) -> str:
        self.errors.seek(0)
        return self.errors.read()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; answer exit status, later stdout, and stderr."""
        self.popen.send_signal(number)
        out, _ = self.popen.communicate(timeout=30)
        return self.popen.returncode, out, self.stderr()


@contextlib.contextmanager
def serving(
    folder: Path,
    *arguments: object,
    server: Path = SERVER,
    env: Any = None,
    limit: int | None = None,
) -> Iterator[Process]:
    """Run the server in this folder, on any port; `limit` is the size of a file."""
    process = Process(tuple(map(str, arguments)), folder, server, env, limit)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.communicate()
        process.errors.close()


def run(*arguments: object, folder: Path | None = None, **options: Any) -> Any:
    """Run the program to its end."""
    command = [sys.executable, str(SERVER), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=20, **options
    )


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_help_and_version() -> None:
    """The reference's options have the reference's names."""
    shown = run("--help")
    assert shown.returncode == 0
    for option in (
        *("-h", "--schema", "--resource-type"),
        *("--bearer-token", "--hostname", "--port"),
        *("--reverse-proxy", "--dump-resources", "--load-resources"),
        *("--version", "--verbose", "--service-provider-config", "--user-token"),
        *("--tenant", "--dynamic-tenants", "--prefix", "--base-url", "--certfile"),
        *("--keyfile", "--basic-auth", "--cors-origin", "--max-body", "--tolerance"),
        *("--accept", "--refuse", "--report", "--fail-on-deviation", "--me"),
    ):
        assert option in shown.stdout, option
    version = run("--version")
    assert version.returncode == 0
    assert re.search(r"\d+\.\d+", version.stdout)
    assert version.stdout.count("\n") == 1


def test_readme_lists_the_options() -> None:
    """Its table has those of the parser, and no others."""
    readme = (SERVER.parent / "README.md").read_text()
    table = readme.partition("| option | meaning |\n")[2].partition("\n\n")[0]
    named = {
        option
        for row in table.splitlines()
        for option in re.findall(r"--[a-z][a-z-]+", row.split(" | ")[0])
    }
    known = {name for name in build_parser()._option_string_actions if "--" in name}
    assert named == known


def test_ready_line(tmp_path: Path) -> None:
    """One line with the true URL, flushed when connections are taken."""
    with serving(tmp_path) as process:
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/v2", process.url)
        assert exchange(process.url, "GET", "/Users").status == 200
        status, later, errors = process.stop()
    assert (status, later, errors) == (0, "", "")


def test_hostname_ipv6(tmp_path: Path) -> None:
    """``--hostname ::1`` works, and its URL has brackets (RFC 3986 §3.2.2)."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address")
    with serving(tmp_path, "--hostname", "::1") as process:
        assert re.fullmatch(r"http://\[::1\]:\d+/v2", process.url)
        created = Live(process.url).user("six")
        assert created["meta"]["location"].startswith(process.url)


def test_beyond_loopback_warns(tmp_path: Path) -> None:
    """A server that others reach without a token or TLS says so at start."""
    with serving(tmp_path, "--hostname", "0.0.0.0") as process:
        _, _, errors = process.stop()
    assert re.search("token", errors) and re.search("TLS|--certfile", errors)


def test_beyond_loopback_with_credentials(tmp_path: Path) -> None:
    """A server whose tenants all have credentials is not without; one is enough."""
    write(tmp_path / "acme.json", {"bearer_tokens": ["s3cret"]})
    arguments = ("--hostname", "0.0.0.0", "--tenant", "acme=acme.json")
    for more, warned in (((), False), (("--tenant", "beta"), True)):
        with serving(tmp_path, *arguments, *more) as process:
            _, _, errors = process.stop()
        assert ("credentials" in errors) == warned and "TLS" in errors


def test_a_me_that_nobody_is(tmp_path: Path) -> None:
    """A warning at start, once the resources are loaded."""
    write(tmp_path / "load.json", [{"schemas": [USER], "userName": "ann"}])
    write(tmp_path / "acme.json", {"me": "bea"})
    rows = [
        ("--me ann --load-resources load.json", []),
        ("--me ann", ["warning: no user has the userName 'ann'"]),
        (
            "--me ann --tenant acme=acme.json --tenant x --load-resources load.json",
            ["warning: no user of the tenant 'acme' has the userName 'bea'"],
        ),
    ]
    for arguments, warnings in rows:
        with serving(tmp_path, *arguments.split()) as process:
            status, _, errors = process.stop()
        assert status == 0
        lines = [line.partition(":")[0] for line in errors.splitlines()]
        assert len(lines) == len(warnings)
        assert all(each in errors for each in warnings)


def test_a_tenant_with_options_in_a_file(tmp_path: Path) -> None:
    """It is opened by its own credentials, and has its own tolerance."""
    options: dict[str, Any] = {"tolerance": "strict"}
    options |= {"user_tokens": {"ann": "s3cret"}, "bearer_tokens": ["env:SCIM_TEST_A"]}
    write(tmp_path / "acme.json", options)
    arguments = ("--tenant", "acme=acme.json", "--tenant", "beta=lenient")
    env = {"SCIM_TEST_A": "s3cret-too"}
    with serving(tmp_path, *arguments, env=env) as process:
        assert process.ready.rstrip().endswith("/acme/v2 (tenants: acme, beta)")
        acme, beta = process.url, process.url.replace("acme", "beta")
        assert Live(acme, "s3cret-too").get("/Users").status == 200
        for token in ("", "env:SCIM_TEST_A"):
            assert_error(Live(acme, token).get("/Users"), 401)
        assert_error(
            Live(acme, "s3cret").post("/Users", {"userName": "ann"}),
            400,
            "invalidSyntax",
        )
        assert Live(acme, "s3cret").user("ann")["userName"] == "ann"
        assert Live(acme, "s3cret").get("/Me")["userName"] == "ann"
        assert Live(beta).post("/Users", {"userName": "ann"}).status == 201
        _, out, errors = process.stop()
    assert "s3cret" not in out + errors


# --- what is refused at start ---

TYPE = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
    "id": "Printer",
    "name": "Printer",
    "endpoint": "/Printers",
    "schema": PRINTER,
}
SCHEMA = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
    "id": PRINTER,
    "name": "Printer",
    "attributes": [
        {
            "name": "model",
            "type": "string",
            "multiValued": False,
            "required": True,
            "caseExact": False,
            "mutability": "readWrite",
            "returned": "default",
            "uniqueness": "server",
        }
    ],
}
META = {"resourceType": "User"}
FILES = {
    "broken.json": '{"schemas": [',
    "number.json": "5",
    "noid.json": {"name": "x", "attributes": []},
    "badtype.json": SCHEMA | {"attributes": [{"name": "x", "type": "colour"}]},
    "orphan.json": TYPE,
    "printer.json": TYPE,
    "dots.json": TYPE | {"endpoint": "/..", "schema": USER},
    "endless.json": "[" * 100_000,
    "deep.json": "[" * 990 + "]" * 990,
    "nan.json": f'[{{"schemas": ["{USER}"], "userName": "a", "x": NaN}}]',
    "huge.json": f'[{{"schemas": ["{USER}"], "userName": "a", "x": 1e999}}]',
    "none.json": [],
    "again.txt": SCHEMA | {"attributes": [{"name": "Meta", "type": "string"}]},
    **{
        f"id{number}.json": [{"schemas": [USER], "userName": "a", "id": id}]
        for number, id in enumerate(
            ("..", ".", ".search", 0, False, [], "", "abulkId", "x" * 70_000)
        )
    },
    "strangers.json": [{"schemas": ["urn:x"], "id": "1"}],
    "twins.json": [
        {"schemas": [USER], "id": name, "userName": "twin"} | {"meta": META}
        for name in "ab"
    ],
    "empty": "\n",
    "bearer": "Bearer s3cret\n",
    "tenant.json": {"bearer_token": ["s3cret"]},
    "unset.json": {"bearer_tokens": ["env:SCIM_TEST_UNSET"]},
    "string.json": {"bearer_tokens": "s3cret"},
    "filtr.json": {"filtr": {"maxResults": 5}},
    "range.json": {"filter": {"maxResults": 0}},
    "broken.pem": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
}


REFUSED = [  # arguments, and what the line must name
    *(("--port 70000", "70000"), ("--port -1", "-1"), ("--port http", "http")),
    ("--hostname no.such.host.invalid", "no.such.host.invalid"),
    ("--hostname 192.0.2.1", "192.0.2.1"),
    ("--schema missing.json", "missing.json"),
    *((f"--schema {name}", name) for name in FILES if name.endswith(".json")),
    ("--resource-type missing.json", "missing.json"),
    ("--resource-type broken.json", "broken.json"),
    ("--resource-type number.json", "number.json"),
    ("--resource-type orphan.json", f"{PRINTER}, which is not served: add it"),
    ("--load-resources missing.json", "missing.json"),
    ("--load-resources broken.json", "broken.json"),
    ("--load-resources number.json", "number.json"),
    ("--load-resources endless.json", "endless.json"),
    ("--load-resources strangers.json", "strangers.json"),
    ("--load-resources deep.json", "deep.json"),
    ("--load-resources nan.json", "nan.json"),
    ("--load-resources huge.json", "huge.json"),
    *((f"--load-resources id{number}.json", f"id{number}.json") for number in range(9)),
    ("--schema folder", "folder"),
    ("--resource-type folder", "folder"),
    ("--resource-type none.json", "none.json"),
    ("--schema default --schema again.txt --resource-type printer.json", "meta"),
    ("--schema default --resource-type dots.json", "/.."),
    ("--load-resources twins.json", "twins.json"),
    ("--service-provider-config missing.json", "missing.json"),
    ("--service-provider-config broken.json", "broken.json"),
    ("--service-provider-config number.json", "number.json"),
    ("--dump-resources nowhere/dump.json", "nowhere"),
    ("--dump-resources folder", "folder"),
    ("--report nowhere/report.txt", "nowhere"),
    ("--certfile missing.pem", "missing.pem"),
    ("--certfile broken.pem", "broken.pem"),
    ("--keyfile broken.pem", "--certfile"),
    ("--bearer-token=", "--bearer-token"),
    ("--bearer-token good --bearer-token=", "--bearer-token"),
    ("--bearer-token @missing", "@missing: No such file"),
    ("--bearer-token @empty", "empty"),
    ("--bearer-token env:SCIM_TEST_UNSET", "SCIM_TEST_UNSET is not set"),
    ("--bearer-token env:SCIM_TEST_EMPTY", "SCIM_TEST_EMPTY is empty"),
    *(("--user-token ann", "--user-token"), ("--user-token ann=", "--user-token")),
    ("--basic-auth ann", "--basic-auth"),
    ("--base-url nowhere", "nowhere"),
    *(("--max-body lots", "lots"), ("--max-body -5", "-5")),
    ("--tenant ../etc", "../etc"),
    ("--tolerance loose", "loose"),
    ("--accept no-such-code", "no-such-code"),
    ("--refuse no-such-code", "no-such-code"),
    ("--accept op-case --refuse op-case", "op-case"),
    ("--no-such-option", "--no-such-option"),
    ("--toleranse strict", "--toleranse (did you mean '--tolerance'?)"),
    ("--bearer-tokn=s3cret", "--bearer-tokn (did you mean '--bearer-token'?)"),
    ("--bearer-token Bearer s3cret", "quote one that has blanks"),
    ("-x", "unknown option -x"),
    ("--accept op-cas", "did you mean 'op-case'?"),
    ("--bearer-token @bearer", "the word Bearer: give the token without it"),
    ("--bearer-token a --bearer-token a", "given twice"),
    ("--bearer-token a --user-token ann=a", "'ann' is given twice"),
    ("--user-token ann=a --user-token bob=a", "'bob' is given twice"),
    ("--user-token ann=a --user-token ann=b", "ann comes twice"),
    ("--basic-auth ann:a --basic-auth ann:b", "ann comes twice"),
    ("--tenant acme --tenant acme", "acme comes twice"),
    ("--tenant acme --tenant Acme", "'Acme' differs from 'acme' in case"),
    ("--tenant acme=tenant.json", "'acme': unknown option 'bearer_token' (did you"),
    ("--tenant acme=number.json", "'acme': the options of a tenant are an object"),
    ("--tenant acme=missing.json", "missing.json"),
    ("--tenant acme=unset.json", "unset.json bearer_tokens env:SCIM_TEST_UNSET"),
    ("--tenant acme=string.json", "'acme': bearer_tokens must be a list"),
    ("--tenant acme=broken.json", "broken.json"),
    ("--tenant acme=loose", "acme=loose: give strict, standard, lenient or a FILE"),
    ("--tenant acme=", "acme=: give strict, standard, lenient or a FILE"),
    ("--base-url scim.example/v2", "'scim.example/v2' has no scheme"),
    ("--service-provider-config filtr.json", "'filtr' (did you mean 'filter'?)"),
    ("--service-provider-config range.json", "must be an integer of 1 or more"),
    ("--port 65536", "a port from 0 to 65535"),
    ("--max-body 0", "a number from 1 to"),
    ("--certfile broken.pem --keyfile missing.pem", "missing.pem: No such file"),
    ("--dump-resources all.json --report ./all.json", "are one file"),
]


@pytest.fixture
def mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files above, to start in."""
    (tmp_path / "folder").mkdir()
    for name, content in FILES.items():
        write(tmp_path / name, content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCIM_TEST_EMPTY", "")
    return tmp_path


def at_any_port(arguments: str) -> list[str]:
    """Add `--port 0` unless the arguments name a port."""
    return [*([] if "--port" in arguments else ["--port", "0"]), *arguments.split()]


def assert_refused(status: object, out: str, errors: str, named: str) -> None:
    """Check that a mistake is one line that names it, with exit status 2."""
    assert (status, out) == (2, "")
    assert named in errors and "s3cret" not in errors
    assert len(errors.splitlines()) == 1, errors
    assert sorted(os.listdir()) == sorted([*FILES, "folder"])


@pytest.mark.parametrize(("arguments", "named"), REFUSED)
def test_refused_at_start(
    mistakes: Path, capsys: pytest.CaptureFixture[str], arguments: str, named: str
) -> None:
    """A mistake is one clear line that names it, exit status 2, nothing served."""
    with pytest.raises(SystemExit) as ended:
        main(at_any_port(arguments))
    assert_refused(ended.value.code, *capsys.readouterr(), named)


@pytest.mark.parametrize(("arguments", "named"), REFUSED[::20])
def test_refused_in_a_process(mistakes: Path, arguments: str, named: str) -> None:
    """The same in a process of its own: nothing else is printed on the way out."""
    ended = run(*at_any_port(arguments), folder=mistakes)
    assert_refused(ended.returncode, ended.stdout, ended.stderr, named)


def test_port_in_use(tmp_path: Path) -> None:
    """A port that is taken is one line, and the server that has it is not harmed."""
    with serving(tmp_path) as process:
        port = process.url.split(":")[2].removesuffix("/v2")
        ended = run("--port", port)
        assert ended.returncode == 2 and port in ended.stderr
        assert "--port 0" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        assert exchange(process.url, "GET", "/Users").status == 200


# --- dump and load ---


def populate(url: str) -> list[str]:
    """Make some resources, and answer their paths."""
    live = Live(url)
    ann = live.user("ann", password=SECRET, emails=[{"value": "a@x", "type": "work"}])
    manager = {"manager": {"value": ann["id"]}, "department": "R&D"}
    bob = live.user("bob", **{ENTERPRISE: manager}, name={"familyName": "Œuvre"})
    inner = live.group("inner", bob["id"])
    outer = live.group("outer", inner["id"], ann["id"], externalId="x")
    live.patch(f"/Users/{ann['id']}", {"op": "add", "path": "title", "value": "T"})
    live.close()
    return [
        resource["meta"]["location"].removeprefix(url)
        for resource in (ann, bob, inner, outer)
    ]


def everything(url: str, paths: list[str]) -> list[Any]:
    """Read these resources, and what lists say, with the URL taken out."""
    replies = [exchange(url, "GET", path) for path in (*paths, "/Users", "/Groups")]
    return [
        (
            reply.headers.get("ETag"),
            json.loads(reply.content.replace(url.encode(), b"")),
        )
        for reply in replies
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_dump_and_load(tmp_path: Path, number: int) -> None:
    """A dump is whole, has no passwords, and reads back as it was."""
    dump = write(tmp_path / "dump.json", "[]")
    again = tmp_path / "again.txt"
    with serving(tmp_path, "--dump-resources", "dump.json", "--verbose") as process:
        assert dump.read_text() == "[]", "starting truncates the dump before"
        paths = populate(process.url)
        before = everything(process.url, paths)
        with Wire(process.url) as idle:  # an open connection delays nothing
            idle.send(message(process.url, "GET", "/Users")).answer()
            assert dump.read_text() == "[]"
            status, out, errors = process.stop(number)
    assert status == 0 and "Traceback" not in errors
    assert sorted(os.listdir(tmp_path)) == ["dump.json", "stderr.txt"]
    text = dump.read_text()
    for told in (text, out, errors):
        assert SECRET not in told and "password" not in told
    resources = json.loads(text)
    assert isinstance(resources, list) and len(resources) == 4
    for resource in resources:
        location = resource["meta"].get("location", f"/{resource['id']}")
        assert "://" not in location and location.endswith(f"/{resource['id']}")
    loaded = ("--load-resources", "dump.json", "--dump-resources", "again.txt")
    with serving(tmp_path, *loaded) as process:
        assert everything(process.url, paths) == before
        assert process.stop(number)[0] == 0
    assert json.loads(again.read_text()) == resources
    # in place, and with nobody asking anything in between
    with serving(tmp_path, *loaded[:3], "dump.json") as process:
        process.stop(number)
    assert json.loads(dump.read_text()) == resources


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay", [0, 0.001, 0.01, 0.06])
def test_stopped_at_once(tmp_path: Path, number: int, delay: float) -> None:
    """A signal at any moment after the ready line ends with dump and report."""
    files = ("--dump-resources", "dump.json", "--report", "report.json")
    with serving(tmp_path, *files) as process:
        time.sleep(delay)
        assert process.stop(number) == (0, "", "")
    assert json.loads((tmp_path / "dump.json").read_text()) == []
    assert json.loads((tmp_path / "report.json").read_text()) == {"clients": []}


def test_two_signals_at_once(tmp_path: Path) -> None:
    """They count as one: `timeout` sends its signal twice."""
    with serving(tmp_path, "--dump-resources", "dump.json") as process:
        process.popen.send_signal(signal.SIGTERM)
        assert process.stop() == (0, "", "")
    assert (tmp_path / "dump.json").exists()


def test_a_second_signal_ends_a_stuck_stop(tmp_path: Path) -> None:
    """Here nobody reads the pipe that the dump goes to."""
    os.mkfifo(tmp_path / "pipe")
    with serving(tmp_path, "--dump-resources", "pipe") as process:
        process.popen.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.popen.wait(1)
        assert process.stop() == (128 + signal.SIGTERM, "", "")


def test_nobody_reads_the_ready_line(tmp_path: Path) -> None:
    """The server serves, and ends as others do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(SERVER), "--port", str(port)]
    reading, writing = os.pipe()
    with (tmp_path / "stderr.txt").open("w+") as errors:
        popen = subprocess.Popen(command, stdout=writing, stderr=errors)
        os.close(reading)
        os.close(writing)
        try:
            url = f"http://127.0.0.1:{port}/v2"
            for _ in range(200):
                with contextlib.suppress(OSError):
                    assert exchange(url, "GET", "/Users").status == 200
                    break
                time.sleep(0.1)
            popen.send_signal(signal.SIGTERM)
            assert popen.wait(20) == 0
        finally:
            popen.kill()
        errors.seek(0)
        assert errors.read() == ""


def test_a_full_disk(tmp_path: Path) -> None:
    """What fits is written; of the rest nothing is left, and the status is 1."""
    users = [{"schemas": [USER], "userName": f"user{n}"} for n in range(20)]
    write(tmp_path / "load.json", users)
    before = write(tmp_path / "old.json", "[]")
    for dump in ("new.json", "old.json", "/dev/full"):
        files = ("--dump-resources", dump, "--report", "report.txt")
        loaded = ("--load-resources", "load.json")
        with serving(tmp_path, *loaded, *files, limit=2048) as process:
            status, out, errors = process.stop()
        assert (status, out) == (1, "")
        assert re.fullmatch(rf"scim2_server.py: error: {dump} was not.*\n", errors)
        assert (tmp_path / "report.txt").read_text().endswith("\n")
        (tmp_path / "report.txt").unlink()
    assert before.read_text() == "[]"
    assert sorted(os.listdir(tmp_path)) == ["load.json", "old.json", "stderr.txt"]


def test_the_mode_of_a_dump(tmp_path: Path) -> None:
    """A new one is its owner's alone; one that was there keeps its mode."""
    write(tmp_path / "old.json", "[]").chmod(0o640)
    for name, mode in (("new.json", 0o600), ("old.json", 0o640)):
        files = ("--dump-resources", name, "--report", "report.txt")
        with serving(tmp_path, *files) as process:
            process.stop()
        assert (tmp_path / name).stat().st_mode & 0o777 == mode
    assert (tmp_path / "report.txt").stat().st_mode & 0o044 == 0o044


def test_killed_before_the_dump(tmp_path: Path) -> None:
    """A server that dies leaves the dump before as it was."""
    dump = write(tmp_path / "dump.json", '["before"]')
    with serving(tmp_path, "--dump-resources", "dump.json") as process:
        populate(process.url)
        process.stop(signal.SIGKILL)
    assert dump.read_text() == '["before"]'
    assert sorted(os.listdir(tmp_path)) == ["dump.json", "stderr.txt"]


def test_dump_of_tenants(tmp_path: Path) -> None:
    """A dump of tenants is an object of lists by name, and loads as such."""
    tenants = ("--tenant", "a", "--tenant", "b", "--dump-resources", "dump.json")
    for load in ((), ("--load-resources", "dump.json")):
        with serving(tmp_path, *tenants, *load) as process:
            base = f"http://{urlsplit(process.url).netloc}"
            if not load:
                Live(f"{base}/a/v2").user("ann")
            assert exchange(f"{base}/a/v2", "GET", "/Users")["totalResults"] == 1
            assert exchange(f"{base}/b/v2", "GET", "/Users")["totalResults"] == 0
            assert exchange(f"{base}/c/v2", "GET", "/Users").status == 404
            process.stop()
        dumped = json.loads((tmp_path / "dump.json").read_text())
        assert [(name, len(dumped[name])) for name in sorted(dumped)] in (
            [("a", 1), ("b", 0)],
            [("a", 1)],
        )


# --- options that reach the application ---


CUSTOM = "--schema printer.json --resource-type type.json"
OPTIONS: dict[str, list[tuple[str, str]]] = {  # arguments: request, status and body
    "--prefix /scim/v2 --cors-origin https://a.example": [
        ("GET /Users", '200 "totalResults": ?0'),
        ("GET /Users Origin:https://a.example", "200"),
        ("GET /Users Origin:https://b.example", "403"),
    ],
    "--base-url https://scim.example/x/v2": [
        ("POST /Users", '201 "https://scim.example/x/v2/Users/'),
    ],
    "--reverse-proxy --max-body 120": [
        ("POST /Users X-Forwarded-Host:a.example", "201 //a.example/"),
        ("PATCH /Users/1", "413 120"),
    ],
    "--tolerance strict --accept op-case --load-resources users.json": [
        ("PATCH /Users/1", "200 Lead"),
        ("PUT /Users/1", "400 boolean-as-string"),
    ],
    "--refuse op-case --load-resources users.json --me ann": [
        ("PATCH /Users/1", "400 op-case"),
        ("PUT /Users/1", "200 true"),
        ("GET /Me", "200 ann"),
    ],
    "--bearer-token t --user-token ann=u --basic-auth ann:p:q": [
        ("GET /Users Authorization:Bearer_u", "200"),
        ("GET /Users Authorization:Bearer_x", "401"),
        ("GET /Users", "401"),
        ("GET /Users Authorization:Basic_YW5uOnA6cQ==", "200"),
        ("GET /Users Authorization:Basic_YW5uOnA=", "401"),
        ("GET /Me Authorization:Bearer_t", "501"),
        ("GET /Me Authorization:Bearer_u", "404"),
    ],
    "--service-provider-config config.json": [
        ("PATCH /Users/1", "501"),
        ("GET /ServiceProviderConfig", '200 "patch": ?."supported": ?false'),
        ("GET /Users Origin:https://a.example", "403"),
    ],
    f"--schema default --resource-type default {CUSTOM}": [
        ("GET /Printers", "200"),
        ("GET /Users", "200"),
    ],
    CUSTOM.replace("printer.json", "folder"): [
        ("GET /Printers", "200"),
        ("GET /Users", "404"),
    ],
}
BODIES = {
    "GET": {},
    "POST": {"schemas": [USER], "userName": "bob"},
    "PUT": {"schemas": [USER], "userName": "ann", "active": "True"},
    "PATCH": {
        "schemas": [PATCH_OP],
        "Operations": [{"op": "Replace", "path": "title", "value": "Lead"}],
    },
}


@pytest.mark.parametrize("arguments", OPTIONS)
def test_options(tmp_path: Path, arguments: str) -> None:
    """Each option does what it says, seen by a request or two."""
    ann = {"schemas": [USER], "id": "1", "userName": "ann", "meta": META}
    write(tmp_path / "users.json", [ann])
    write(tmp_path / "config.json", {"patch": {"supported": False}})
    write(tmp_path / "printer.json", SCHEMA)
    write(tmp_path / "type.json", [TYPE])
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "printer.json", [SCHEMA])
    with serving(tmp_path, *arguments.split()) as process:
        port = re.search(r":(\d+)", process.url)
        assert port or "--base-url" in arguments
        for request, expected in OPTIONS[arguments]:
            method, path, *headers = request.split()
            reply = exchange(
                process.url,
                method,
                path,
                "Content-Type: application/scim+json",
                *(line.replace(":", ": ", 1).replace("_", " ") for line in headers),
                body=json.dumps(BODIES[method]).encode() if method != "GET" else b"",
            )
            status, _, told = expected.partition(" ")
            assert str(reply.status) == status, (request, reply.content)
            assert re.search(told, reply.content.decode())
            if reply.status >= 400:
                assert_error(reply, reply.status, reply.json.get("scimType"))


def test_secrets_elsewhere(tmp_path: Path) -> None:
    """Secrets come from a file or the environment, and stay out of what is printed."""
    write(tmp_path / "token", "from-file\n")
    write(tmp_path / "ann", "ann-file\n")
    write(tmp_path / "basic", "carl:from-basic\n")
    arguments = (
        *("--bearer-token", "given-token", "--bearer-token", "@token", "--verbose"),
        *("--bearer-token", "env:SCIM_TEST_TOKEN", "--user-token", "ann=@ann"),
        *("--user-token", "bob=env:SCIM_TEST_BOB", "--basic-auth", "@basic"),
    )
    env = {"SCIM_TEST_TOKEN": "from-env", "SCIM_TEST_BOB": "bob-env"}
    with serving(tmp_path, *arguments, env=env) as process:
        for token in ("given-token", "from-file", "from-env"):
            assert Live(process.url, token).get("/Users").status == 200
        for wrong in ("@token", "env:SCIM_TEST_TOKEN", "wrong"):
            assert_error(Live(process.url, wrong).get("/Users"), 401)
        live = Live(process.url, "given-token")
        live.user("bob")
        assert Live(process.url, "bob-env").get("/Me")["userName"] == "bob"
        assert Live(process.url, "ann-file").get("/Me").status == 404
        basic = "Authorization: Basic Y2FybDpmcm9tLWJhc2lj"
        assert exchange(process.url, "GET", "/Users", basic).status == 200
        assert exchange(process.url, "GET", "/ServiceProviderConfig").status == 200
        _, out, errors = process.stop()
    lines = (out + errors).splitlines()
    assert len([line for line in lines if "GET" in line and "/Users" in line]) >= 7
    assert any("POST" in line and "201" in line for line in lines)
    for secret in ("given-token", "from-", "bob-env", "ann-file", "Y2FybD"):
        assert secret not in out + errors


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("the openssl command, which makes the certificate, is missing")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", "k.pem", "-out", "c.pem", "-addext", names],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "c.pem", folder / "k.pem"


def test_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """HTTPS works, and who does not speak it holds up nobody."""
    cert, key = certificate
    context = ssl.create_default_context(cafile=str(cert))
    with serving(tmp_path, "--certfile", cert, "--keyfile", key) as process:
        assert process.url.startswith("https://")
        with contextlib.ExitStack() as stack:
            for number in range(20):
                silent = stack.enter_context(Wire(process.url))
                if number % 2:
                    silent.send(message(process.url, "GET", "/Users"))
            live = Live(process.url, context=context)
            created = live.user("ann")
            assert created["meta"]["location"].startswith(process.url)
            assert live.get(f"/Users/{created['id']}").json == created
            with Wire(process.url, context) as wire:
                requests = message(process.url, "GET", "/Users") * 2
                wire.send(requests)
                assert [wire.answer().status for _ in "12"] == [200, 200]
        status, _, errors = process.stop()
    assert status == 0
    assert "Traceback" not in errors


# --- the report ---


def provoke(url: str) -> None:
    live = Live(url, "token-t")
    user = live.user("ann", active="True", password=SECRET)
    for _ in range(2):
        operation = {"op": "Replace", "path": "title", "value": "Lead"}
        live.patch(f"/Users/{user['id']}", operation, headers={"User-Agent": "acme/1"})
    live.close()


@pytest.mark.parametrize(
    ("name", "deviating", "fail"),
    [
        *(("a.json", True, True), ("a.txt", True, False)),
        *(("b.json", False, True), ("b.txt", False, False)),
    ],
)
def test_report(tmp_path: Path, name: str, deviating: bool, fail: bool) -> None:
    """The report names client and code but no secret; 3 is the status if asked."""
    arguments = ["--report", name, "--bearer-token", "token-t"]
    with serving(tmp_path, *arguments, *["--fail-on-deviation"] * fail) as process:
        if deviating:
            provoke(process.url)
        else:
            assert Live(process.url, "token-t").get("/Users").status == 200
        status, _, errors = process.stop(signal.SIGINT if fail else signal.SIGTERM)
    assert status == (3 if fail and deviating else 0), errors
    text = (tmp_path / name).read_text()
    assert SECRET not in text and "token-t" not in text
    for word in ("op-case", "boolean-as-string", "acme/1"):
        assert (word in text) is deviating
    if name.endswith(".json") and deviating:
        clients = {client["client"]: client for client in json.loads(text)["clients"]}
        acme = clients["acme/1"]
        [deviation] = acme["deviations"]
        assert acme["requests"] == deviation["count"] == 2
        assert deviation["code"] == "op-case" and deviation["refused"] == 0
        first = deviation["first"]
        assert first["method"] == "PATCH" and "/Users/" in first["path"]
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*(Z|\+00:00)$", first["time"])
        assert {"example", "rfc", "send_instead"} <= deviation.keys()


# --- the file alone ---


def test_metadata() -> None:
    """The file carries its dependency (PEP 723), as pyproject.toml pins it."""
    block = re.search(
        r"(?m)^# /// script$\n((?:^#(?: .*)?$\n)+?)^# ///$", SERVER.read_text()
    )
    assert block
    lines = (line.removeprefix("#").removeprefix(" ") for line in block[1].splitlines())
    script = tomllib.loads("\n".join(lines))
    project = tomllib.loads((SERVER.parent / "pyproject.toml").read_text())["project"]
    assert script["dependencies"] == project["dependencies"]
    assert script["requires-python"] == project["requires-python"]


def test_copied_alone(tmp_path: Path) -> None:
    """The file alone in an empty folder serves what the checkout serves."""
    folder = tmp_path / "empty"
    folder.mkdir()
    alone = Path(shutil.copy(SERVER, folder))
    with serving(tmp_path) as checkout, serving(folder, server=alone) as process:
        assert sorted(os.listdir(folder)) == ["scim2_server.py", "stderr.txt"]
        for path in ("/Schemas", "/ResourceTypes", "/ServiceProviderConfig"):
            pages = [
                re.sub(
                    r"\d{4}-\d\d-\d\dT[^\"]*|" + re.escape(url),
                    "",
                    exchange(url, "GET", path).content.decode(),
                )
                for url in (process.url, checkout.url)
            ]
            assert pages[0] == pages[1] and len(pages[0]) > 500
        populate(process.url)
        assert process.stop()[0] == 0


def test_without_scim2_models(tmp_path: Path) -> None:
    """A missing dependency is one clear line, not a traceback."""
    command = [sys.executable, "-I", "-S", str(SERVER)]  # -S: no site-packages
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode not in (0, -signal.SIGSEGV) and ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "scim2-models" in ended.stderr and "install" in ended.stderr


def test_main_is_importable() -> None:
    """Importing the module starts nothing, and prints nothing."""
    code = "import scim2_server, threading; print(threading.active_count())"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SERVER.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == ("1\n", "")
    assert callable(create_app())


def test_unknown_members_are_served(tmp_path: Path) -> None:
    """What scim2-models does not know is served as given, and named at start."""
    given = {"securityEvents": {"supported": True}}
    config = write(tmp_path / "config.json", given)
    attribute = SCHEMA["attributes"][0] | {"pattern": "[a-z]+"}
    schema = write(tmp_path / "s.json", SCHEMA | {"attributes": [attribute]})
    options = ("--service-provider-config", config, "--schema", "default")
    with serving(tmp_path, *options, "--schema", schema) as process:
        served = exchange(process.url, "GET", "/ServiceProviderConfig").json
        assert served["securityEvents"] == given["securityEvents"]
        served = exchange(process.url, "GET", f"/Schemas/{PRINTER}").json
        assert served["attributes"][0]["pattern"] == "[a-z]+"
        warnings = process.stderr().splitlines()
    assert len(warnings) == 2
    assert "config.json" in warnings[0] and "securityEvents" in warnings[0]
    assert "s.json" in warnings[1] and "pattern" in warnings[1]


def in_case(content: Any, change: Callable[[str], str]) -> Any:
    """Return a document with the names of all its members in another case."""
    if isinstance(content, list):
        return [in_case(each, change) for each in content]
    if isinstance(content, dict):
        return {change(name): in_case(x, change) for name, x in content.items()}
    return content


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_members_in_any_case(tmp_path: Path, change: Callable[[str], str]) -> None:
    """Members of a document are case insensitive, served as RFC 7643 spells them."""
    inner = {"name": "part", "type": "string", "caseExact": True}
    outer = {"name": "parts", "type": "complex", "multiValued": True}
    attributes = [*SCHEMA["attributes"], outer | {"subAttributes": [inner]}]
    schema = SCHEMA | {"attributes": attributes}
    extension = {"schema": ENTERPRISE, "required": False}
    kind = TYPE | {"schemaExtensions": [extension]}
    for folder, document in (("schemas", schema), ("types", kind)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "one.json", in_case(document, change))
    options = ["--schema", "default", "--schema", "schemas", "--resource-type", "types"]
    with serving(tmp_path, *options) as process:
        served = exchange(process.url, "GET", f"/Schemas/{PRINTER}").json
        assert served["attributes"][0] == SCHEMA["attributes"][0]
        assert served["attributes"][1].items() >= outer.items()
        (below,) = served["attributes"][1]["subAttributes"]
        assert below.items() >= inner.items()
        names = [each.lower() for each in (*served, *served["attributes"][1], *below)]
        assert len(set(names)) == len({*served, *served["attributes"][1], *below})
        served = exchange(process.url, "GET", "/ResourceTypes/Printer").json
        assert served["schemaExtensions"] == [extension]
        body = {"schemas": [PRINTER], "model": "m", "parts": [{"part": "a"}]}
        made = Live(process.url).post("/Printers", body)
        assert (made.status, made.json["parts"]) == (201, [{"part": "a"}])
        assert process.stderr() == ""


def test_one_member_in_two_spellings() -> None:
    """Of one member in two spellings neither is preferred."""
    attribute = {"name": "m", "type": "string", "multiValued": True}
    schema = SCHEMA | {"attributes": [attribute | {"multivalued": False}]}
    with pytest.raises(ValueError, match="'multiValued' is given twice"):
        create_app(schemas=[schema], resource_types=[TYPE])


def test_what_a_load_drops_is_named(tmp_path: Path) -> None:
    """What is dropped or replaced while loading is one line for each resource."""
    good = {"schemas": [USER], "userName": "ann"}
    odd = {"userName": "bob", "foo": 1, "emails": "e", "meta": {"created": "bad"}}
    dump = write(tmp_path / "all.json", [good, good | odd])
    with serving(tmp_path, "--load-resources", dump) as process:
        (line,) = process.stderr().splitlines()
    assert "all.json: resource 2: " in line
    assert all(each in line for each in ("foo", "emails", "meta.created"))
