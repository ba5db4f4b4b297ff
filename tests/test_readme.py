"""README keeps its promises: every command and every example in it is run.

The sections of README are run one by one, in a copy of the checkout:

- The ``sh`` and ``console`` blocks of a section are one bash script, and its
  ``python`` blocks run between them. A false command ends it, and fails.
- A command that serves (``SERVES``) goes on in the background, on a free port in
  place of 8080, until the next such command or the end of the section.
- In a ``console`` block ``$ `` begins a command. What stands below it is what it
  prints, ``...`` for anything.
- A ``python`` block whose first line is a comment like ``# store.py`` is also written
  to that file. A block with ``>>>`` is a doctest, one with ``def test_`` is for pytest.
- Commands that would take minutes are run as ``SHORTER`` says.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from deviations import rewrite

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SECONDS = 240
# What `make test` itself puts in the environment must not reach another make.
OUTER = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS", "FUZZ_SECONDS"}
SKIPPED = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info")

FENCE = re.compile(r"```(\w*)")
SERVES = re.compile(
    r"(?:\w+=\S+ +)*"
    r"(?:make run|(?:python3?|uv run) (?:\S+/)?scim2_server\.py|scim2-server-py"
    r"|gunicorn|waitress-serve|granian)(?=\s|$)(?!.*--(?:help|version)\b)"
)
SHORTER = {
    r"\bmake (test|check)\b(?! ARGS)": r"make \1 ARGS=tests/test_layout.py",
    r"\bmake bench\b.*": 'make bench ARGS="--users 200 --seconds 0.1 --no-reference"',
    r"\bmake fuzz$": "make fuzz FUZZ_SECONDS=1 ARGS='-k json'",
}
PRELUDE = """\
set -eu
server=
stop() { if [ -n "$server" ]; then kill $server || :; wait $server || :; fi; server=; }
ready() {
    server=$!
    until (exec 3<>/dev/tcp/127.0.0.1/$PORT) 2>/dev/null
    do kill -0 $server; sleep 0.1; done
}
trap stop EXIT
"""


@dataclass
class Block:
    """A fenced block: its tag, the line of README where it begins, its lines."""

    tag: str
    number: int
    lines: list[str]


@dataclass
class Section:
    """A heading and the fenced blocks below it."""

    title: str
    blocks: list[Block]


def read_sections(readme: str) -> list[Section]:
    """Split README at its headings and find the fenced blocks."""
    sections = [Section("top", [])]
    block: Block | None = None
    for number, line in enumerate(readme.splitlines(), 1):
        if block:
            if line.startswith("```"):
                block = None
            else:
                block.lines.append(line)
        elif match := FENCE.match(line):
            block = Block(match[1], number, [])
            sections[-1].blocks.append(block)
        elif line.startswith("#"):
            sections.append(Section(line.strip("# "), []))
    return sections


SECTIONS = read_sections(README.read_text() if README.exists() else "")


@dataclass
class Script:
    """The bash script of one section, and what its console blocks promise."""

    folder: Path
    port: int

    def __post_init__(self) -> None:
        self.lines = [PRELUDE]
        self.promises: dict[Path, str] = {}

    def add(self, block: Block) -> None:
        """Append what runs this block; other tags than these hold nothing to run."""
        self.lines.append(f"echo 'README line {block.number}' >&2")
        match block.tag:
            case "sh":
                self.add_commands(block.lines)
            case "console":
                self.add_console(block.lines)
            case "python":
                self.add_python(block)

    def add_commands(self, lines: list[str], output: str = "") -> None:
        for command in "\n".join(lines).replace("\\\n", " ").split("\n"):
            self.lines.append(self.adapt(command, output))

    def adapt(self, command: str, output: str) -> str:
        """Make a command short, on a free port, and in the background if it serves."""
        for pattern, shorter in SHORTER.items():
            command = re.sub(pattern, shorter, command)
        command = re.sub(r"\b8080\b", str(self.port), command)
        if not (served := SERVES.match(command)):
            return command + output
        program, rest = served[0], command[served.end() :].partition(" #")[0]
        if str(self.port) not in rest:
            program, rest = with_port(program, rest, self.port)
        return f"stop\n{program}{rest}{output} &\nready"

    def add_console(self, lines: list[str]) -> None:
        """Run each command and keep what it prints beside what is promised."""
        for chunk in re.split(r"^\$ ", "\n".join(lines), flags=re.M)[1:]:
            command, _, expected = chunk.partition("\n")
            if not expected.strip():
                self.add_commands([command])
                continue
            path = self.folder / f"console{len(self.promises)}.out"
            expected = re.sub(r"\b8080\b", str(self.port), expected)
            self.promises[path] = expected.strip() + "\n"
            self.add_commands([command], f" > {path} 2>&1")

    def add_python(self, block: Block) -> None:
        """Write the block to a file and run it in the way that its text asks for."""
        text = re.sub(r"\b8080\b", str(self.port), "\n".join(block.lines) + "\n")
        named = re.match(r"# ([\w/]+\.py)\n", text)
        name = named[1] if named else f"readme_{block.number}.py"
        runner = ""
        if ">>> " in text:
            name, runner = f"readme_{block.number}.txt", "-m doctest "
        elif "def test_" in text:
            runner = "-m pytest -q "
        (self.folder / name).write_text(text)
        self.lines.append(f"PYTHONPATH=. python {runner}{name}")


def with_port(program: str, rest: str, port: int) -> tuple[str, str]:
    """Tell a server that would listen on 8080, or its own default, another port."""
    name = program.split()[-1]
    if name == "run":
        arguments = shlex.split(re.sub(r"^ *ARGS=", "", rest))
        return (
            f"{program} ARGS={shlex.quote(' '.join([*arguments, f'--port {port}']))}",
            "",
        )
    option = {
        "gunicorn": f"--bind 127.0.0.1:{port}",
        "waitress-serve": f"--listen 127.0.0.1:{port}",
    }
    return program, f" {option.get(name, f'--port {port}')}{rest}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the checkout without what `make` and the tools left in it."""
    folder = tmp_path_factory.mktemp("readme") / "checkout"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*SKIPPED))
    return folder


def available(program: str) -> bool:
    """Tell whether a program can be run."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return shutil.which(program, path=beside) is not None


@pytest.mark.skipif("README_IS_RUN" in os.environ, reason="a command of README itself")
@pytest.mark.parametrize(
    "section", [one for one in SECTIONS if one.blocks], ids=lambda one: one.title
)
def test_section(section: Section, checkout: Path) -> None:
    """The commands and examples of this section do what README says."""
    text = "\n".join(line for block in section.blocks for line in block.lines)
    for program in ("curl", "uv", "openssl"):
        if re.search(rf"^\W*{program}\b", text, re.M) and not available(program):
            pytest.skip(f"{program}, which this section calls, is missing")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        script = Script(checkout, probe.getsockname()[1])
    for block in section.blocks:
        script.add(block)
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PORT": str(script.port), "PATH": search, "README_IS_RUN": "yes"}
    environment = os.environ | own
    process = subprocess.Popen(
        ["bash"],
        cwd=checkout,
        env={key: environment[key] for key in environment.keys() - OUTER},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    try:
        printed, _ = process.communicate("\n".join(script.lines) + "\n", SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed = f"not done after {SECONDS} seconds\n" + process.communicate()[0]
    assert process.returncode == 0, printed
    checker = doctest.OutputChecker()
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for path, expected in script.promises.items():
        printed = path.read_text()
        assert checker.check_output(expected, printed, options), (expected, printed)


def test_every_block_is_run_or_holds_nothing_to_run() -> None:
    """Commands are in sh and console blocks, so none escapes the test above."""
    tags = {block.tag for section in SECTIONS for block in section.blocks}
    assert tags <= {"sh", "console", "python", "json", "http", "text"}


@pytest.mark.parametrize("command", ["make run", "make test"])
def test_the_two_commands(command: str) -> None:
    """README names the two commands of a fresh machine, so they are run above."""
    lines = [line for one in SECTIONS for block in one.blocks for line in block.lines]
    assert any(line.removeprefix("$ ").startswith(command) for line in lines)


def test_table_of_deviations() -> None:
    """README holds the table of the module (`make deviations` writes it)."""
    text = README.read_text()
    assert rewrite(text) == text
