"""Tables of the documents that repeat what the code says: settings, and licences of the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from deploy.samples.catalogue import licences
from shared.config import CellConfig, RouterConfig, WorkerConfig, describe
from shared.setting import needed, show_default

FOLDER = Path(__file__).resolve().parent


def rewrite_all() -> None:
    """Rewrite every page that has generated tables, in place."""
    for page, names in PAGES.items():
        path = FOLDER / page
        path.write_text(rewritten(path.read_text(), names))


def rewritten(text: str, names: Iterable[str]) -> str:
    """`text` with fresh tables between the markers of `names`; ValueError if one is missing."""
    for name in names:
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the markers {begin.strip()} and {end} are not in the text")
        text = f"{before}{begin}{TABLES[name]()}{end}{after}"
    return text


def settings_table() -> str:
    """One row per variable: its default as people write it, and which process reads it."""
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
    return _table(("licence", "packages, and their use"), rows)


def _default(value: str, unit: str, must: bool) -> str:
    if must:
        return "must be set"
    return show_default(value, unit)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells).replace("| --- ", "|---")


TABLES: Mapping[str, Callable[[], str]] = {"settings": settings_table, "licences": licences_table}
PAGES: Mapping[str, tuple[str, ...]] = {"settings.md": ("settings",), "local.md": ("licences",)}
