"""One word per concept: words that were replaced stay out of code, documents and messages.

deploy/docs/glossary.md has the words that stay. Each row of the table below is a pattern, what to
write instead, and why. Code, comments, Lua scripts and pages are searched, tests are not.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract.sources import PACKAGES, ROOT, files, named

PERSON = "a process or a request is not a person"
STANDARD = "the field has a standard term"
SUBJECT = "a sentence names its subject, in English word order"


class Word(NamedTuple):
    """A pattern that is searched, without regard to case if it is all lower-case."""

    pattern: str
    instead: str
    reason: str


WORDS = (
    Word(r"\bwhom?ever\b", "the caller that, any worker that", PERSON),
    Word(
        r"\bwho (?:is|are|has|have|had|wants?|waits?|asks?|may|must|can|cannot|holds?|does|was)\b"
        r"|\bwho (?:runs?|goes|comes|loads|gives)\b",
        "that, or name the thing", PERSON,
    ),
    Word(r"\b(?:no|some|any|every)body\b", "no caller, a worker, every gateway", PERSON),
    Word(r"\b(?:told|hears?|heard)\b", "report, send, receive, record", PERSON),
    Word(r"\btells?\b(?!.* apart|\()", "report, send, show", PERSON),
    Word(r"\bbears? with\b", "waits for", PERSON),
    Word(r"\blast[ _]words\b", "raw_error_response", PERSON),
    Word(r"\bforg(?:ive|ives|ave)\b", "reset", PERSON),
    Word(r"\bhands? full\b", "at its limit", PERSON),
    Word(r"(?<!here) (?:is|are|was|were) no (?!longer\b|more\b|less\b)\w+", "is not a", SUBJECT),
    Word(r"\bas of\b", "as in, by, from", SUBJECT),
    Word(r"\bso long\b(?! as| ago)", "until, for that time", SUBJECT),
    Word(r"\bthat is so\b", "name the condition", SUBJECT),
    Word(r"\bof then\b", "name the moment", SUBJECT),
    Word(r"\bbroken off\b", "interrupted", SUBJECT),
    Word(r"\bin vain\b|was_in_vain", "ineffective", SUBJECT),
    Word(r"\bsurroundings\b", "environment", STANDARD),
    Word(r"\bin[ _]hand\b", "in flight", STANDARD),
    Word(
        r"\btak(?:e|es|en|ing)[ _]back\b|\btook back\b|\bt(?:ook|ake) the request back\b",
        "cancel", STANDARD,
    ),
    Word(r"\broom\b", "free bytes, capacity, headroom", STANDARD),
    Word(r"\bbr(?:ing|ings|ought)[ _](?:up|in)\b", "load", STANDARD),
    Word(r"\bnewcomers?\b", "the model that is being loaded, LoadCandidate", STANDARD),
    Word(r"\bbegun\b", "started", STANDARD),
    Word(r"\bcrowded\b", "no_capacity", STANDARD),
    Word(r"\b_?unfit\b", "incompatible", STANDARD),
    Word(r"\bbulk\b|BULK_BYTES", "shared memory, large tensors", STANDARD),
    Word(r"\bwanted\b", "required, expected, requested", "it meant four things"),
    Word(r"\bverdict\b", "error, result", STANDARD),
    Word(r"\bkin\b", "affinity", STANDARD),
    Word(r"\bheart\b", "heartbeat", STANDARD),
    Word(r"\btend\b", "reconcile", STANDARD),
    Word(r"\bdisown\w*", "fence_worker, fencing", STANDARD),
    Word(r"\bwip(?:e|es|ed|ing)\b", "release_worker", STANDARD),
    Word(r"\bbur(?:y|ies|ied)\b", "dead_letter", STANDARD),
    Word(r"\bspill(?:s|ed)?\b", "scale_out", STANDARD),
    Word(r"\bcalm_s\b", "restart_not_before_s", STANDARD),
    Word(
        r"\b(?:Heart|InHand|Tidy|Relief|Disowner|BringUp|Wish|Brought|Stillness|Renewal|Facts"
        r"|Parts|Assembly)\b",
        "the names in the glossary's terms", STANDARD,
    ),
    Word(
        r"['\"`](?:kin|near|known|crowded|unfit|idem|begun|gone|ended|live):"
        r"|\b(?:kin|near|known|crowded|unfit|idem|begun|gone|ended|live):[<{]",
        "affinity: warm: stats: no_capacity: incompatible: idempotency: started: tombstone:",
        STANDARD,
    ),
)  # fmt: skip

READ_BY_USERS = ("README.md", "CHANGELOG.md", "Makefile", "deploy/cli/", "deploy/docs/")

# Legitimate uses: part of a path, and of the line.
ALLOWED = (
    ("deploy/samples/models/tuning.py", ""),  # sentences that a sample model is asked about
    ("deploy/samples/models/minilm.py", ""),
    ("shared/repository/s3_upload.py", '"Parts":'),  # a name of the S3 API
)


class Hit(NamedTuple):
    """A line with a replaced word."""

    path: str
    number: int
    line: str


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.instead.split(",")[0])
def test_what_users_read_has_no_replaced_word(word: Word) -> None:
    """Documents, help texts and messages of the command."""
    assert _report([hit for hit in hits(word) if hit.path.startswith(READ_BY_USERS)]) == "", word


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.instead.split(",")[0])
def test_the_code_has_no_replaced_word(word: Word) -> None:
    """Names, comments, messages and scripts."""
    assert _report(hits(word)) == "", word


def test_every_allowed_use_is_of_a_file_that_exists() -> None:
    """The list of exceptions is short, and has no leftovers."""
    assert len(ALLOWED) <= 8
    assert [path for path, _ in ALLOWED if not (ROOT / path).exists()] == []


def searched() -> list[Path]:
    """Code, scripts and pages; no tests."""
    found = [path for suffix in (".py", ".lua", ".md") for path in files(suffix, *PACKAGES)]
    return [*found, ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "Makefile"]


def hits(word: Word) -> list[Hit]:
    """Every line that has the word and is not allowed."""
    flags = re.IGNORECASE if word.pattern == word.pattern.lower() else re.NOFLAG
    pattern = re.compile(word.pattern, flags)
    return [
        Hit(named(path), number, line.strip())
        for path in searched()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line) and not _allowed(named(path), line)
    ]


def _allowed(path: str, line: str) -> bool:
    return any(path.startswith(where) and part in line for where, part in ALLOWED)


def _report(found: list[Hit]) -> str:
    """The first lines, and how many there are in each folder."""
    lines = [f"{hit.path}:{hit.number}: {hit.line}" for hit in found[:15]]
    folders = Counter("/".join(hit.path.split("/")[:-1]) for hit in found)
    return "\n".join([*lines, *(f"{folder}: {n}" for folder, n in folders.items())])
