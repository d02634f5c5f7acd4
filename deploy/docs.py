"""`python -m deploy.docs`: rewrites the tables of README.md that repeat what the code says."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from deploy.samples.catalogue import licences
from shared.cell_config import needed
from shared.config import CellConfig, RouterConfig, WorkerConfig, describe
from shared.setting import show_default

README = Path(__file__).resolve().parents[1] / "README.md"


def main() -> int:
    """Rewrite the README in place; exit status 0."""
    README.write_text(rewritten(README.read_text()))
    return 0


def rewritten(text: str) -> str:
    """`text` with fresh tables between its markers; ValueError if a marker is missing."""
    for name, table in (("settings", settings_table()), ("licences", licences_table())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the markers {begin.strip()} and {end} are not in the text")
        text = f"{before}{begin}{table}{end}{after}"
    return text


def settings_table() -> str:
    """Every variable once: its default as people write it, and which process reads it."""
    must = needed()
    common = [variable for variable, *_ in describe(CellConfig)]
    readers = [("gateway", RouterConfig), ("worker", WorkerConfig)]
    rows = {variable: ("both", row) for variable, *row in describe(CellConfig)}
    for reader, kind in readers:
        own = [row for row in describe(kind) if row[0] not in common]
        rows |= {variable: (reader, row) for variable, *row in own}
    return _table(
        ("variable", "default", "unit", "read by", "meaning"),
        (
            (f"`{variable}`", _default(value, unit, variable in must), unit, reader, meaning)
            for variable, (reader, (unit, value, meaning)) in rows.items()
        ),
    )


def licences_table() -> str:
    """One row per licence, with the packages under it and what each is used for."""
    packages: dict[str, list[str]] = {}
    for package, used_for, licence in licences():
        packages.setdefault(licence, []).append(f"`{package}` ({used_for})")
    rows = ((licence, ", ".join(listed)) for licence, listed in packages.items())
    return _table(("licence", "packages, and what they are used for"), rows)


def _default(value: str, unit: str, must: bool) -> str:
    if must:
        return "must be set"
    return show_default(value, unit)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells).replace("| --- ", "|---")


if __name__ == "__main__":
    sys.exit(main())
