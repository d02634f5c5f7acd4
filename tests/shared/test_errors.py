"""The error tree: codes are unique, travel, and come back as the same class."""

from __future__ import annotations

import re

import pytest

from router.rest.error_responses import STATUS
from shared import errors
from shared.envelope import pack_error, unpack_error
from shared.errors import WarmrouteError


def tree(root: type[WarmrouteError]) -> list[type[WarmrouteError]]:
    """A class and all below it that shared.errors defines."""
    ours = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return [root, *(found for child in ours for found in tree(child))]


ALL = tree(WarmrouteError)


def test_every_error_has_a_code_of_its_own() -> None:
    """No child forgot to name one."""
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_the_tree_drawn_in_the_module_is_the_tree() -> None:
    """Whoever adds an error draws it."""
    drawn = set(re.findall(r"^ +(?:[│├└─ ]*)([A-Z]\w+)\b", errors.__doc__ or "", re.MULTILINE))
    assert drawn == {kind.__name__ for kind in ALL}


@pytest.mark.parametrize("kind", ALL)
def test_an_error_comes_back_as_what_it_was(kind: type[WarmrouteError]) -> None:
    """Over Redis it is `code message`."""
    back = unpack_error(pack_error(kind("inputs['x'].shape: [2], want [3]")))
    assert type(back) is kind
    assert back.message == "inputs['x'].shape: [2], want [3]"


def test_an_unknown_code_becomes_the_root() -> None:
    """A newer worker's error does not break an older gateway."""
    back = unpack_error(b"from_the_future it is late")
    assert (type(back), back.message) == (WarmrouteError, "it is late")


@pytest.mark.parametrize("raw", [b"", b"expired", b"\xff\xfe not text", b" "])
def test_garbage_is_an_error_all_the_same(raw: bytes) -> None:
    """It never raises something else."""
    assert isinstance(unpack_error(raw), WarmrouteError)


@pytest.mark.parametrize("text", ["lone \ud800 surrogate", "line\nbreak", "nul \x00", "ünïcode"])
def test_any_message_can_travel(text: str) -> None:
    """A model's own exception text may hold anything."""
    assert unpack_error(pack_error(errors.ModelFailed(text))).code == "model_failed"


def test_every_code_has_an_http_status() -> None:
    """But the root, and what only ends a process. What the caller sent wrongly is a 4xx."""
    assert {kind.code for kind in ALL} - set(STATUS) == {"internal", "config"}
    callers_fault = ("invalid", "too_large", "not_found", "conflict", "cancelled")
    assert all(400 <= STATUS[code] < 500 for code in callers_fault)


def test_what_may_succeed_later_answers_with_a_status_to_try_again() -> None:
    """429, 503 and 504 are what clients retry."""
    for kind in ALL:
        if kind.retryable:
            assert STATUS[kind.code] in (429, 503, 504), kind
