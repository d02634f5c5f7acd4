"""What every process of ours does first."""

from __future__ import annotations

import gc
import logging
import re

# A collection stops the process for as long as it takes to look at what has come since the last
# one: at 50,000 objects that was 8 to 20 ms, and at twenty times as many every now and then.
GC_ALLOCATIONS, GC_YOUNG, GC_OLD = 15_000, 4, 50
LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
# Control characters, line ends of every kind, marks that turn text round, and half surrogates.
_NOT_SHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BELOW = "    "  # before each line of a stack: no text in it can begin a line of the log


def prepare() -> None:
    """Logging in one form, and a garbage collector that rests: requests leave no cycles, and with
    Python's default it looks through all of the process every few dozen requests."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(LINE))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, GC_YOUNG, GC_OLD)


class OneLine(logging.Formatter):
    """One line for each record, whatever text of others is in it: names of models, paths, errors
    of Redis, of stores and of models cannot forge another line. A stack follows, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: logging._SysExcInfoType) -> str:
        """A stack, each line of it indented."""
        return indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        """As an exception's."""
        return indented(super().formatStack(stack_info))


def escaped(text: str) -> str:
    """`text` on one line: what a terminal or a reader of logs would obey is written as Python
    writes it."""
    return _NOT_SHOWN.sub(lambda found: ascii(found[0])[1:-1], text)


def indented(text: str) -> str:
    """The lines of a stack, which text of others may have broken."""
    return "\n".join(_BELOW + escaped(line) for line in text.split("\n"))
