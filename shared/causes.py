"""Causes of failures: whom a failed load is charged to, and the full cause as one line of a log
(bounded, unforgeable, without secrets).

A failed load is charged to its worker until distinct workers agree (`lua/fail_load.lua`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared import errors

# Scopes of a cause. WORKER: this worker, its disk, its store, its credentials, its settings. CLASS:
# devices of this class, or this build, cannot run the model. MODEL: proved to be the model's own
# (`Corrupt.in_store`).
WORKER: Final = "worker"
CLASS: Final = "class"
MODEL: Final = "model"
# The scope of a class of errors, and of those below it that have no row of their own.
SCOPES: Final[Mapping[type[errors.WarmrouteError], str]] = MappingProxyType({
    errors.WarmrouteError: WORKER,
    errors.LoadFailed: CLASS,  # a runtime refused it
    errors.ModelFailed: CLASS,  # its warm-up failed
    errors.OutOfMemory: WORKER,
    errors.InvalidInput: CLASS,
    errors.Untrusted: WORKER,
    errors.InsufficientMemory: WORKER,
    errors.RepositoryError: WORKER,
    errors.Corrupt: CLASS,  # or of the copy here: a second worker must agree
})  # fmt: skip

MAX_CHARS = 2000
MOST_CAUSES = 5
_SECRET = re.compile(r"(?<=//)[^/\s@]*:[^/\s@]*(?=@)")
_CUT = " [...] "


def scope_of(error: errors.WarmrouteError) -> str:
    """Whom the failure of a load is charged to first: WORKER, CLASS or MODEL."""
    if isinstance(error, errors.Corrupt) and error.in_store:
        return MODEL
    return next(SCOPES[kind] for kind in type(error).__mro__ if kind in SCOPES)


def full_text(error: BaseException) -> str:
    """The message of `error`, and of each of its causes that adds to it."""
    found: list[str] = []
    cause: BaseException | None = error
    for _ in range(MOST_CAUSES):  # they may be each other's cause
        if cause is None:
            break
        text = str(cause).strip()
        if not any(text in said for said in found):
            found.append(f"{type(cause).__name__}: {text}" if found else text)
        cause = cause.__cause__
    return bounded(" <- ".join(found))


def bounded(text: str, most: int = MAX_CHARS) -> str:
    """At most `most` characters, of the beginning and the end of `text`."""
    if len(text) <= most:
        return text
    half = (most - len(_CUT)) // 2
    return text[:half] + _CUT + text[-half:]


def one_line(text: str) -> str:
    """Escape characters that could begin another line or hide a part of this one, and replace
    passwords of URLs."""
    hidden = _SECRET.sub("***", text)
    if hidden.isprintable() and "\\" not in hidden:
        return hidden
    return "".join(_escaped(letter) for letter in hidden)


def _escaped(letter: str) -> str:
    plain = letter.isprintable() and letter != "\\"
    return letter if plain else letter.encode("unicode_escape", "surrogatepass").decode()


def word(text: str, most: int = 128) -> str:
    """A name from outside as one word of such a line; `-` if there is none."""
    said = one_line(text[:most]).replace(" ", "\\x20").replace('"', "\\x22")
    return said.replace("=", "\\x3d") or "-"
