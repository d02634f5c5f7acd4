"""The command line of a process that reads all settings from the environment: it only prints its
help. Also finds settings that no process reads, which would silently have no effect.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata

from shared.errors import ConfigError
from shared.setting import CellConfig, describe, needed, show_default

OTHERS = frozenset(
    {"WARMROUTE_URL", "WARMROUTE_DEBUG", "WARMROUTE_FAILPOINT", "WARMROUTE_FAILPOINT_SEED",
     "WARMROUTE_FAILPOINT_LOG"}
)  # fmt: skip
_PREFIX = "WARMROUTE_"
_OURS = re.compile(_PREFIX + "(?!TEST_)")
_WIDTH = 90


def version() -> str:
    """The version of the installed distribution."""
    try:
        return metadata.version("warmroute")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def parse(
    program: str, does: str, settings: Iterable[tuple[str, str, str]],
    arguments: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Answer --help and --version, and refuse every other argument: SystemExit then. `settings`:
    variable, default and meaning of each."""
    described = [
        f"  {variable} ({default})\n" + textwrap.indent(textwrap.fill(meaning, _WIDTH), " " * 6)
        for variable, default, meaning in settings
    ]
    parser = ArgumentParser(
        prog=f"python -m {program}",
        description=does,
        epilog="\n".join(["All is set by environment:\n", *described]) if described else None,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"warmroute {version()}")
    parser.parse_args(arguments)


def settings_of(kind: type[CellConfig]) -> list[tuple[str, str, str]]:
    """The settings of one of our processes, for `parse`."""
    must = needed()
    return [
        (name, "must be set" if name in must else default_text(default, unit), meaning)
        for name, unit, default, meaning in describe(kind)
    ]


def default_text(default: str, unit: str) -> str:
    """`default: 10 s`."""
    measured = f" {unit}" if unit not in ("", "bytes") else ""
    return f"default: {show_default(default, unit)}{measured}"


def unknown_names(
    env: Mapping[str, str], kinds: Sequence[type[CellConfig]], *, strict: bool = False
) -> list[str]:
    """A sentence for each variable of our name that is not a setting of any of our processes.
    `strict` makes them a ConfigError."""
    known = OTHERS | {row[0] for kind in kinds for row in describe(kind)}
    found = [
        _unknown(name, known) for name in sorted(env) if _OURS.match(name) and name not in known
    ]
    if found and strict:
        raise ConfigError("settings: " + "; ".join(found))
    return found


def _unknown(name: str, known: Iterable[str]) -> str:
    by_rest = {one.removeprefix(_PREFIX): one for one in known}
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), by_rest, n=1, cutoff=0.66)
    return f"{name} is not a setting" + (f", did you mean {by_rest[near[0]]}?" if near else "")
