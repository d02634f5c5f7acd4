"""A line of the log is one line, whatever text it was given."""

from __future__ import annotations

import io
import logging

import pytest

from shared.process import LINE, OneLine

FORGED = "gone\n2026-01-01 00:00:00,000 ERROR router all is lost"
MARKS = ["\n", "\r", "\r\n", "\x0b", "\x1b[2K", "\x85", "\u2028", "\u202e", "\x00", "\ud800"]


def written(write) -> str:
    """What a logger writes to the log."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine(LINE))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    write(logger)
    return stream.getvalue()


@pytest.mark.parametrize("mark", MARKS)
def test_no_text_ends_the_line_it_is_in(mark: str) -> None:
    """Given as an argument, or as the message itself; what is plain stays."""
    for write in (lambda log: log.warning("model %s", f"a{mark}b"),
                  lambda log: log.warning(f"model a{mark}b")):  # fmt: skip
        text = written(write)
        assert text.endswith("b\n") and text.count("\n") == 1
        assert mark not in text[:-1]
    assert "modèle 模型 'x'" in written(lambda log: log.info("modèle %s 'x'", "模型"))


def test_no_text_in_a_stack_begins_a_line_of_the_log() -> None:
    """Its lines are indented, and each is one line."""

    def fail(log: logging.Logger) -> None:
        try:
            raise ValueError(f"{FORGED}\rmore\x1b[2K")
        except ValueError:
            log.exception("it failed")

    lines = written(fail).splitlines()
    assert "it failed" in lines[0] and "ERROR" in lines[0]
    assert all(line.startswith("    ") for line in lines[1:])
    assert any("Traceback" in line for line in lines)
    assert "\x1b" not in "".join(lines)
