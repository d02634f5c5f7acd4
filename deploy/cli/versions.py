"""Models as they are named on the command line: `bert`, or `bert:2` for one version."""

from __future__ import annotations

from deploy.cli.errors import WrongUse
from shared.names import VERSION

FORM = "MODEL[:VERSION]"


def read_model(text: str) -> tuple[str, int | None]:
    """Name and version, None where none is named; WrongUse if it is neither."""
    name, colon, version = text.partition(":")
    if not name or (colon and not VERSION.fullmatch(version)):
        raise WrongUse(f"{text!r}: want {FORM}")
    return name, int(version) if colon else None
