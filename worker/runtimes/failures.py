"""Foreign exceptions become the project's own where a model is loaded or run.

A model may raise anything at all, so here, and only here, everything is caught. The text that
travels is the model's own first line, capped, and without paths of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import LoadFailed, ModelFailed, WarmrouteError
from worker.device.out_of_memory import out_of_memory

MAX_CHARS = 500
PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][\w.+~@-]+){2,}[/\\]?")


class WrongOutput(ModelFailed):
    """The model ran, but not as the manifest says. Callers are told ModelFailed."""

    code = "wrong_output"


@contextmanager
def of_model() -> Iterator[None]:
    """Translate what a running model raises: DeviceOutOfMemory, or ModelFailed in its own words."""
    try:
        yield
    except WarmrouteError:
        raise
    except Exception as error:
        raise out_of_memory(error) or ModelFailed(f"the model failed: {summary(error)}") from error


@contextmanager
def of_load(what: str, explain: Callable[[BaseException], str] | None = None) -> Iterator[None]:
    """Translate what a loader raises: DeviceOutOfMemory, or LoadFailed that says `what` failed, and
    why in the words of `explain`, or of `summary`."""
    try:
        yield
    except WarmrouteError:
        raise
    except Exception as error:
        why = (explain or summary)(error)
        raise out_of_memory(error) or LoadFailed(f"{what}: {why}") from error


def summary(error: BaseException) -> str:
    """Kind and first line of `error`, at most 500 characters, paths replaced."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return PATH.sub("<path>", text)[:MAX_CHARS]
