"""The full cause of an error as one line of a log: bounded, unforgeable, without secrets."""

from __future__ import annotations

import re

MAX_CHARS = 2000
MOST_CAUSES = 5
_SECRET = re.compile(r"(?<=//)[^/\s@]*:[^/\s@]*(?=@)")
_CUT = " [...] "


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
