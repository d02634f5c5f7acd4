"""What went wrong as one line of a log."""

from __future__ import annotations

import pytest

from shared import causes, errors
from shared.causes import MAX_CHARS, bounded, full_text, one_line, scope_of, word
from shared.errors import ModelFailed, WarmrouteError


def raised(outer: Exception, cause: Exception) -> Exception:
    """`outer`, raised from `cause`."""
    try:
        raise outer from cause
    except type(outer) as error:
        return error


def _all(root: type[WarmrouteError] = WarmrouteError) -> list[type[WarmrouteError]]:
    below = [kind for child in root.__subclasses__() for kind in _all(child)]
    return [kind for kind in (root, *below) if kind.__module__ == errors.__name__]


def test_every_error_has_a_scope() -> None:
    """Blame is local unless the table says otherwise: what may pass, or is unknown, is charged to
    the worker; only what is proved is charged to the model at once."""
    scopes = {kind: scope_of(kind("no")) for kind in _all()}
    assert set(scopes.values()) == {causes.WORKER, causes.CLASS}
    proved = errors.Corrupt("no")
    proved.in_store = True
    assert scope_of(proved) == causes.MODEL
    passing = [kind for kind in scopes if kind.retryable]
    assert {scopes[kind] for kind in passing} == {causes.WORKER}
    for kind in (errors.Forbidden, errors.Untrusted, errors.BlobMissing, WarmrouteError):
        assert scopes[kind] == causes.WORKER, kind
    for kind in (errors.LoadFailed, errors.Corrupt):
        assert scopes[kind] == causes.CLASS, kind


def test_the_full_text_has_what_the_short_one_left_out() -> None:
    """The message first, then each error behind it that says more."""
    error = raised(
        ModelFailed("the model failed: RuntimeError: first"), RuntimeError("first\nlast")
    )
    text = full_text(error)
    assert text == "the model failed: RuntimeError: first <- RuntimeError: first\nlast"


def test_what_was_said_already_is_not_said_again() -> None:
    """Nor what is empty."""
    assert full_text(raised(ModelFailed("failed: oh"), RuntimeError("oh"))) == "failed: oh"
    assert full_text(raised(ModelFailed("failed"), RuntimeError())) == "failed"


def test_errors_that_are_each_others_cause_end() -> None:
    """A circle is no endless text."""
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert full_text(first) == "a <- RuntimeError: b"


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    """TorchScript says the reason last, others first."""
    text = bounded("first" + "x" * 10_000 + "last")
    assert len(text) <= MAX_CHARS
    assert text.startswith("firstx") and text.endswith("xlast")
    assert bounded("short") == "short"


@pytest.mark.parametrize(
    "text",
    [
        "a\nrequest x failed: all",
        "\r\n",
        "\x1b[2K",
        "\x00",
        "\u2028",
        "\u202e",
        "\x85",
        "\udc80",
        "\t",
    ],
)
def test_nothing_begins_another_line_or_hides_this_one(text: str) -> None:
    """Control characters of terminals and of Unicode are escaped."""
    line = one_line(text)
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_a_backslash_cannot_pretend_to_be_an_escape() -> None:
    """What is read back is what was there."""
    assert one_line("a\\nb\n") == r"a\\nb\n"
    assert one_line("plain: é [1, 2]") == "plain: é [1, 2]"


def test_passwords_of_urls_are_left_out() -> None:
    """An error of a library may quote its settings."""
    assert one_line("redis://user:secret@host/0 and http://a/b:c@d") == (
        "redis://***@host/0 and http://a/b:c@d"
    )


def test_a_name_is_one_word() -> None:
    """And gives no field of its own."""
    assert word("a b=c\nd") == r"a\x20b\x3dc\nd"
    assert word("") == "-"
    assert len(word("x" * 1000)) == 128
