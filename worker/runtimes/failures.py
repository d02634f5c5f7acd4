"""Exceptions of libraries and models become the project's own where a model is loaded or run.

A model may raise any exception, so here, and only here, everything is caught. The error carries the
line with the reason, capped, without folders of this machine: names of files stay, since a missing
or broken file is often the whole reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import LoadFailed, ModelFailed, WarmrouteError
from worker.device.out_of_memory import out_of_memory

MAX_CHARS = 500
PATH = re.compile(r"https?://\S+|(?:[A-Za-z]:)?(?:[/\\][\w.+~@-]+){2,}[/\\]?")
# The interpreter of TorchScript begins with its own traceback; the reason stands below it, under
# the name of its kind.
INTERPRETER = "The following operation failed in the TorchScript interpreter."
REASON = re.compile(r"^(?:[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit))\b.*$", re.MULTILINE)


class WrongOutput(ModelFailed):
    """The model ran, but not as the manifest says. Callers receive it as ModelFailed."""

    code = "wrong_output"


@contextmanager
def of_model() -> Iterator[None]:
    """Translate what a running model raises: DeviceOutOfMemory, or ModelFailed with its message."""
    try:
        yield
    except WarmrouteError:
        raise
    except Exception as error:
        raise out_of_memory(error) or ModelFailed(f"the model failed: {summary(error)}") from error


@contextmanager
def of_load(what: str, explain: Callable[[BaseException], str] | None = None) -> Iterator[None]:
    """Translate what a loader raises: DeviceOutOfMemory, or LoadFailed, which names `what` failed
    and gives the reason as `explain` (default: `summary`) extracts it."""
    try:
        yield
    except WarmrouteError:
        raise
    except Exception as error:
        why = (explain or summary)(error)
        raise out_of_memory(error) or LoadFailed(f"{what}: {why}") from error


def summary(error: BaseException) -> str:
    """Type and reason of `error`, at most 500 characters; paths are reduced to the file's name."""
    text = str(error)
    if INTERPRETER in text and (reasons := REASON.findall(text)):
        text_line = reasons[-1]
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        text_line = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return PATH.sub(_file_name, text_line)[:MAX_CHARS]


def _file_name(path: re.Match[str]) -> str:
    if path[0].startswith("http"):
        return path[0]
    name = re.split(r"[/\\]", path[0])[-1]
    return name if "." in name.strip(".") else "<path>"
