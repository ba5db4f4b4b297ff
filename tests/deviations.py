"""Write the table of deviations into README (`make deviations`)."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from scim2_server import DEVIATIONS

START, END = "<!-- deviations -->\n", "<!-- /deviations -->"


def table() -> str:
    """Print scim2_server's table of deviations as Markdown."""
    rows = DEVIATIONS.values() if isinstance(DEVIATIONS, dict) else DEVIATIONS
    names = [field.name for field in fields(next(iter(rows)))]
    lines = [[name.replace("_", " ") for name in names], ["---"] * len(names)]
    for row in rows:
        code, *rest = (str(getattr(row, name)) for name in names)
        lines.append([f"`{code}`", *rest])
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def rewrite(readme: str) -> str:
    """Put the table between its marks."""
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"no {START.strip()} ... {END}")
    return before + start + table() + end + after


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(rewrite(path.read_text()))
