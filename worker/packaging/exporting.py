"""What torch.export cannot do by itself: trees that it cannot write down, and readable errors.

A NamedTuple that is not registered cannot be saved at all, and the fields of a registered one are
not in the file. Here the module itself is available, so the names come from what it returns.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from worker.runtimes.arrays import children_of
from worker.runtimes.failures import summary
from worker.runtimes.program_tree import Path


@contextmanager
def flat_returns(module: nn.Module, returned: Any) -> Iterator[None]:
    """Make the module return its leaves as one flat tuple, until the block ends; a module that
    returns a tensor, or a plain tuple of tensors, is not changed."""
    if isinstance(returned, Tensor) or _is_plain(returned):
        yield
        return
    forward, own = module.forward, module.__dict__.get("forward")

    @functools.wraps(forward)
    def flat(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return tuple(leaf for _, leaf in leaves_of(forward(*args, **kwargs)))

    module.forward = flat
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def leaves_of(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """All leaves with their paths; fields of dataclasses count as keys."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        children: list[tuple[str | int, Any]] | None = [
            (field.name, getattr(value, field.name)) for field in dataclasses.fields(value)
        ]
    else:
        children = children_of(value)
    if children is None:
        return [(path, value)]
    return [leaf for key, child in children for leaf in leaves_of(child, (*path, key))]


def _is_plain(returned: Any) -> bool:
    if type(returned) not in (tuple, list):
        return False
    return all(isinstance(item, Tensor) or _is_plain(item) for item in returned)


MAX_CHARS = 700
# "  - You marked n as dynamic but ...": the reason below a first line that only names its kind.
REASON = re.compile(r"^\s+- (.+)$", re.MULTILINE)
CALL = re.compile(r'File "(?:[^"\n]*[/\\])?([^"\n/\\]+)", line (\d+), in \w+\n\s*(.+)')
ADVICE = re.compile(r"\s*For more information, run with .*$|\s*\(unhinted: .*$")
BY_VALUES = "data-dependent"


def refusal(error: BaseException) -> str:
    """The message for an error of torch.export: the reason, the line of the module, and what to
    do."""
    text = str(error)
    message = ADVICE.sub("", summary(error))
    if (reason := REASON.search(text)) is not None:
        message += f" {reason[1]}"
    if (call := CALL.search(text)) is not None:
        message += f" (at {call[1]} line {call[2]}: {call[3].strip()})"
    if BY_VALUES in text:
        message += (
            "; code that decides by the values of a tensor can be pushed as TorchScript or ONNX"
        )
    return message[:MAX_CHARS]
