"""Puts a script together with its libraries, so that a call makes little that it does not use.

Redis keeps a script compiled, but runs its text from the top at each call: each function of its
libraries is made anew, which was more than half of a short script. So what a script uses nowhere is
left out. Functions in its line `-- rarely:`, with all that only they use, are made by the first
call of one of them. And the rest stands in levels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

Read = Callable[[str], str]  # a name, `place` or `lib/keys` -> the text of that file

_USES = re.compile(r"^-- use: (.+)$", re.MULTILINE)
_RARELY = re.compile(r"^-- rarely: (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")
_STATEMENT = re.compile(r"^(?=local )", re.MULTILINE)
_DECLARES = re.compile(r"local (?:function )?(\w+(?:, \w+)*)")
# Several plain values in one line, as `local A, B = 'a', 2`: each can be left out alone.
_VALUES = re.compile(r"local (\w+(?:, \w+)+) = ([\w.' :]+(?:, [\w.' :]+)+)\n*")
_WORD = re.compile(r"[A-Za-z_]\w*")
_MAKES = "local make, made\nlocal function rare()\n  made = made or make()\n  return made\nend\n"
_UPVALUES = 57  # of one function; Lua 5.1 takes 60, and the model puts a few around a script
_LEVEL = 24  # locals of a level at least


class Piece(NamedTuple):
    """Text with the names that it declares and all the words in it."""

    text: str
    names: frozenset[str]
    words: frozenset[str]


def script_text(name: str, read: Read) -> str:
    """The text of a script with what it uses of its libraries."""
    body = _piece(read(name), ())
    libraries = [read(f"lib/{library}") for library in _listed(_USES, body.text)]
    pieces = _needed(body, [piece for text in libraries for piece in _statements(text)])
    rare = _only_for(set(_listed(_RARELY, body.text)), pieces, body)
    usual = [piece for piece in pieces if piece not in rare]
    if rare:
        usual, body = _deferred(rare, usual, body)
    return _nested([*usual, body])


def _listed(line: re.Pattern[str], text: str) -> list[str]:
    found = line.search(text)
    return found.group(1).split(", ") if found else []


def _piece(text: str, names: Iterable[str]) -> Piece:
    return Piece(text, frozenset(names), frozenset(_WORD.findall(_COMMENT.sub("", text))))


@lru_cache(200)
def _statements(library: str) -> tuple[Piece, ...]:
    """Its locals, each with its comments. A block `do ... end` belongs to the names before it."""
    return tuple(piece for text in _STATEMENT.split(library)[1:] for piece in _declared(text))


def _declared(text: str) -> Iterator[Piece]:
    if values := _VALUES.fullmatch(_COMMENT.sub("", text)):
        names, given = (group.split(", ") for group in values.groups())
        if len(names) == len(given):
            for name, value in zip(names, given, strict=True):
                yield _piece(f"local {name} = {value}\n", [name])
            return
    declared = _DECLARES.match(text)
    assert declared is not None, text
    yield _piece(text, declared.group(1).split(", "))


def _words_of(pieces: Iterable[Piece]) -> frozenset[str]:
    return frozenset[str]().union(*(piece.words for piece in pieces))


def _needed(body: Piece, pieces: Sequence[Piece]) -> list[Piece]:
    """What the body uses, and every statement to which one of them leads."""
    needed, left = set(body.words), list(pieces)
    while found := [piece for piece in left if piece.names & needed]:
        left = [piece for piece in left if not piece.names & needed]
        needed.update(*(piece.words for piece in found))
    return [piece for piece in pieces if piece.names & needed]


def _only_for(names: set[str], pieces: Sequence[Piece], body: Piece) -> list[Piece]:
    """The pieces that declare `names`, and all that nothing else uses, in their order."""
    rare = [piece for piece in pieces if piece.names & names]
    while rare:
        usual = [piece for piece in pieces if piece not in rare]
        users = Counter(word for piece in [body, *usual] for word in piece.words)
        found = [piece for piece in usual if all(users[name] == 1 for name in piece.names)]
        if not found:
            break
        rare += found
    return [piece for piece in pieces if piece in rare]


def _deferred(
    rare: Sequence[Piece], usual: Sequence[Piece], body: Piece
) -> tuple[list[Piece], Piece]:
    """The usual pieces and the body, with a function that makes the rare ones at its first call:
    these are called through what it returns."""
    outside = _words_of([*usual, body])
    names = sorted(outside.intersection(*[frozenset[str]().union(*(p.names for p in rare))]))
    text = "".join(piece.text for piece in rare)
    listed = ", ".join(f"{name} = {name}" for name in names)
    made = _piece(f"function make()\n{text}return {{{listed}}}\nend\n", ())
    called = re.compile(rf"--[^\n]*|'[^'\n]*'|(?<![.:\w])({'|'.join(names)})\b(\(?)")

    def through(piece: Piece) -> Piece:
        return _piece(called.sub(_through_made, piece.text), piece.names)

    return [_piece(_MAKES, ["make", "made", "rare"]), *map(through, usual), made], through(body)


def _through_made(found: re.Match[str]) -> str:
    if not found[1]:
        return found[0]  # a comment, or a text
    if not found[2]:
        raise ValueError(f"{found[1]} is made late, so it can only be called")
    return f"rare().{found[1]}("


def _nested(parts: Sequence[Piece]) -> str:
    """The parts one after the other, in levels: each is the body of a function in the one before.

    For each local that a function captures, Lua walks through the captured locals of the same
    level, so that at each call a script paid the square of its libraries.
    """
    text, outer, own, levels = "", set[str](), set[str](), 0
    for number, part in enumerate(parts):
        if len(own) >= _LEVEL:
            captured = (outer | own).intersection(_words_of(parts[number:]))
            if len(captured) <= _UPVALUES:
                text, outer, own = text + "return (function() ", outer | own, set()
                levels += 1
        text, own = text + part.text, own | part.names
    return text + " end)()" * levels
