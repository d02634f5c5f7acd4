"""What a module returns, as a flat tuple: torch.export cannot write down every kind of tree.

A NamedTuple that nobody registered cannot be saved at all, and the fields of a registered one are
not in the file. Here the module itself is at hand, so its answer says the names.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from worker.runtimes.arrays import children_of
from worker.runtimes.program_tree import Path


@contextmanager
def flat_returns(module: nn.Module, returned: Any) -> Iterator[None]:
    """The module returns the leaves of what it returned as one tuple, for as long as this lasts;
    one that returns a tensor, or a plain tuple of them, is left as it is."""
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
