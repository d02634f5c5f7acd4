"""The words that scripts answer with are those of shared/statuses.py: in code, header and list."""

from __future__ import annotations

import re

import pytest

from shared import statuses
from tests.contract.sources import ROOT

LUA = ROOT / "shared" / "lua"
SCRIPTS = {path.stem: path.read_text() for path in LUA.glob("*.lua")}
LIBRARIES = {path.stem: path.read_text() for path in (LUA / "lib").glob("*.lua")}
# Libraries whose functions return a status that the script hands on.
HANDED_ON = {
    "place": ("placement", "idempotency"), "replay": ("placement",), "retire": ("copies",),
}  # fmt: skip
# Answers that the script reads: the status that a request has, the phase of a load.
READ = {"cancel": statuses.TERMINAL, "order_copy": statuses.PHASES}
_RETURN = re.compile(r"\breturn (.+)$", re.MULTILINE)
_FIRST = re.compile(r"^\{?(?:now, )?'([a-z_]+)'")
_EITHER = re.compile(r"\b(?:and|or) \{?'([a-z_]+)'")
_ARGUMENTS = re.compile(r"\([^()\n]*\)")
_APPENDED = re.compile(r"\bout\[#out \+ 1\] = '([a-z_]+)'")
_HEADER = re.compile(r"\bReturns .*?(?=^(?!--))", re.MULTILINE | re.DOTALL)
_PUBLISHED = re.compile(r"\bpublish\(.+?\}?, '([a-z]+)'|\bstatus(?:, [a-z, ]+)? = '([a-z]+)'")
_RECORDED = re.compile(r"\brecord\(item, '([a-z]+)'|request', ARGV.+?'status', '([a-z]+)'")


def words(pattern: re.Pattern[str], text: str) -> set[str]:
    """Whatever its groups match."""
    return {word for match in pattern.finditer(text) for word in match.groups() if word}


def returned(text: str) -> set[str]:
    """Words that stand first in a `return`, or in either branch of one."""
    found = words(_APPENDED, text)
    while _ARGUMENTS.search(text):
        text = _ARGUMENTS.sub("", text)
    for line in _RETURN.findall(text):
        found |= words(_FIRST, line) | words(_EITHER, line)
    return found


def can_return(script: str) -> set[str]:
    """Every status in its code, and in the libraries that it hands on."""
    found = returned(SCRIPTS[script])
    for library in HANDED_ON.get(script, ()):
        found |= returned(LIBRARIES[library])
    return found


def documented(script: str) -> set[str]:
    """Every word in quotes after `Returns` in its header."""
    header = _HEADER.search(SCRIPTS[script])
    assert header, f"{script}: no `Returns` in its header"
    return set(re.findall(r"'([a-z_]+)(?: \.\.\.)?'", header[0]))


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_a_script_returns_the_statuses_of_its_list(script: str) -> None:
    """No more and no fewer; one that is not listed returns no word."""
    listed = set(statuses.ANSWERS.get(script, ()))
    assert can_return(script) | READ.get(script, set()) == listed
    assert documented(script) | READ.get(script, set()) == listed


def test_every_constant_is_a_word_of_a_script() -> None:
    """A name that nothing answers with is deleted."""
    here = {v for k, v in vars(statuses).items() if k.isupper() and isinstance(v, str)}
    answers = frozenset().union(*statuses.ANSWERS.values())
    assert (
        here == answers | statuses.TERMINAL | statuses.PENDING | {statuses.QUEUED} | statuses.HEALTH
    )


def test_requests_have_the_listed_states() -> None:
    """Those that scripts publish are terminal; those that they record are not."""
    every = "\n".join((SCRIPTS | LIBRARIES).values())
    assert words(_PUBLISHED, every) | set(statuses.COMPLETED) == statuses.TERMINAL
    assert words(_RECORDED, every) == statuses.PENDING
