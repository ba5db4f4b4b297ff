"""The one file keeps its shape: its map, its schemas, its docstrings."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

import scim2_server

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "scim2_server.py").read_text()
LINES = SOURCE.splitlines()
TREE = ast.parse(SOURCE)

BANNER = re.compile(r"# (?:===|#####) (.+?) (?:===|#####)")
HEADING = re.compile(r"Part [IVX]+\. .+|\d+\. .+")
SECTION = re.compile(r"\d+\. .+?: (.+)")


def banners() -> list[tuple[int, str]]:
    """Answer the one-line banners with their line numbers."""
    found = ((number, BANNER.fullmatch(line)) for number, line in enumerate(LINES, 1))
    return [(number, match[1]) for number, match in found if match]


def read_map() -> list[str]:
    """Answer the map: from the first part to the first line that is no heading."""
    lines = [line.strip() for line in (ast.get_docstring(TREE) or "").splitlines()]
    first = next(n for n, line in enumerate(lines) if line.startswith("Part I."))
    filled = [line for line in lines[first:] if line]
    end = (n for n, line in enumerate(filled) if not HEADING.fullmatch(line))
    return filled[: next(end, len(filled))]


def test_map_is_the_banners() -> None:
    """The map in the module docstring names the parts and sections in order."""
    assert read_map() == [title for _, title in banners()]
    numbers = [int(n) for n in re.findall(r"^(\d+)\.", "\n".join(read_map()), re.M)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_readme_has_the_map() -> None:
    """The reading order in README is the map of the file."""
    readme = (ROOT / "README.md").read_text()
    shown = readme.partition("<!-- map -->")[2].partition("<!-- /map -->")[0]
    lines = [line for line in shown.splitlines() if HEADING.fullmatch(line)]
    assert lines == read_map()


def test_entry_points_stand_in_their_section() -> None:
    """Each name that a banner gives is defined under that banner."""
    starts = [*banners(), (len(LINES) + 1, "")]
    for (start, title), (end, _) in itertools.pairwise(starts):
        if match := SECTION.fullmatch(title):
            defined = set().union(
                *(names(node) for node in TREE.body if start < node.lineno < end)
            )
            assert set(re.split(r",? +", match[1])) <= defined, title


def names(node: ast.stmt) -> set[str]:
    """Answer the names that a top-level statement defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def public() -> dict[str, Any]:
    """Answer the public functions and classes, and the classes' public methods."""
    found: dict[str, Any] = {}
    for name, value in vars(scim2_server).items():
        own = getattr(value, "__module__", None) == scim2_server.__name__
        if not own or name.startswith("_"):
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            found[name] = value
        for method, function in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isfunction(function) and not method.startswith("_"):
                found[f"{name}.{method}"] = getattr(value, method)
    return found


@pytest.mark.parametrize("name", public())
def test_public_names_have_docstrings(name: str) -> None:
    """Every public name says what it does; an inherited docstring counts."""
    value = public()[name]
    text = inspect.getdoc(value) or ""
    assert text and not text.startswith(f"{name}("), f"{name} has no docstring"


def test_lines_are_short() -> None:
    """No line of the product or its tests exceeds 88 columns."""
    files = [ROOT / "scim2_server.py", *sorted((ROOT / "tests").glob("*.py"))]
    for path in files:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert len(line) <= 88, f"{path.name}:{number}"


def test_nothing_is_left_to_do() -> None:
    """No note of unfinished work stands in the product."""
    found = [line for line in LINES if re.search(r"\b(TODO|FIXME|XXX)\b", line)]
    assert not found


# --- schemas/ ---


def documents() -> dict[str, tuple[Path, Any]]:
    """Answer the documents of schemas/ by their ids, with their files."""
    found: dict[str, tuple[Path, Any]] = {}
    for path in sorted((ROOT / "schemas").rglob("*.json")):
        content = json.loads(path.read_text())
        for document in content if isinstance(content, list) else [content]:
            key = identity(document)
            assert key not in found, f"{key} stands twice: {path}, {found[key][0]}"
            found[key] = (path, document)
    return found


def identity(document: dict[str, Any]) -> str:
    """Name a schema by its URN and a resource type by its name."""
    return str(document.get("id") or document["name"])


def test_schemas_are_the_defaults() -> None:
    """The default documents and those of schemas/ are equal (RFC 7643 §8.7)."""
    default = scim2_server.default_documents()
    kinds = default["schemas"], default["resource_types"]
    served = {identity(one): one for kind in kinds for one in kind}
    shipped = {key: document for key, (_, document) in documents().items()}
    assert {key: shipped.get(key) for key in served} == served


def test_other_schemas_are_examples() -> None:
    """What schemas/ holds beside the defaults is an example type that can be served."""
    default = scim2_server.default_documents()
    served = {identity(one) for kind in default.values() for one in kind}
    others = [one for key, (_, one) in documents().items() if key not in served]
    schemas = [one for one in others if "attributes" in one]
    types = [one for one in others if "endpoint" in one]
    assert schemas
    assert types
    assert {one["schema"] for one in types} <= {one["id"] for one in schemas}
    app = scim2_server.create_app(
        schemas=default["schemas"] + schemas,
        resource_types=default["resource_types"] + types,
    )
    assert callable(app)
