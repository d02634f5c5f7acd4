"""Programs of this release's schema are read, others are refused with what to do."""

from __future__ import annotations

import json

import pytest

from shared.errors import Corrupt
from tests.worker.runtimes.formats import Local
from worker.runtimes.canonical import encode
from worker.runtimes.program_schema import MAX_PROGRAM_BYTES, decode


def test_the_canonical_form_is_its_own_canonical_form(program: Local):
    """Reading and writing a published program changes no byte."""
    raw = program.path("program.json").read_bytes()
    assert encode(decode(raw)) == raw


def test_another_schema_is_refused_with_advice(program: Local):
    """A program of another torch says so, instead of running differently."""
    parsed = json.loads(program.path("program.json").read_bytes())
    parsed["schema_version"]["major"] = 9
    with pytest.raises(Corrupt, match="schema 9, this release reads 8: export the model again"):
        decode(json.dumps(parsed).encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"graph_module": 1}',
        b"x" * (MAX_PROGRAM_BYTES + 1),
    ],
    ids=["empty", "object", "list", "binary", "deep", "wrong type", "too large"],
)
def test_what_is_no_program_is_refused(raw):
    """Anything else is corrupt, and says why."""
    with pytest.raises(Corrupt, match=r"^program: "):
        decode(raw)
