"""Weights into a module: names that do not fit are told, what the module ties is filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from shared.errors import InvalidInput
from worker.runtimes.naming import listed

MAX_SHAPES = 4


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load `state` into `module`. A weight that the module ties to another may be left out.

    InvalidInput naming the tensors that are missing, too many or of another shape, or that the
    module ties and the file holds with different values.
    """
    own = module.state_dict()
    if told := misfit(own, state, _missing(own, state)):
        raise InvalidInput(f"weights: {told}")
    try:
        module.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:  # hooks of the module's own
        raise InvalidInput(f"weights: {error}") from error


def misfit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], missing: Iterable[str]) -> str:
    """What does not fit between a module's own tensors and those given; "" if all does."""
    shaped = [
        f"{name!r} is {list(tensor.shape)}, not {list(own[name].shape)}"
        for name, tensor in sorted(state.items())
        if name in own and tensor.shape != own[name].shape
    ]
    told = [
        f"{what} {listed(sorted(names))}"
        for what, names in (("Missing", missing), ("Unexpected", state.keys() - own.keys()))
        if names
    ]
    told += [f"size mismatch: {', '.join(shaped[:MAX_SHAPES])}"] if shaped else []
    return "; ".join(told)


def _missing(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    missing: list[str] = []
    for group in _tied(own):
        given = [name for name in group if name in state]
        for name in given[1:]:
            if not torch.equal(state[name], state[given[0]]):
                raise InvalidInput(
                    f"weights: the module ties {name!r} to {given[0]!r}, the file holds two values"
                )
        missing += [] if given else group[:1]
    return missing


def _tied(own: Mapping[str, Tensor]) -> list[list[str]]:
    """Names by the memory that they stand for; a tensor without elements is tied to none."""
    groups: dict[object, list[str]] = {}
    for name, tensor in own.items():
        where = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        own_memory = tensor.numel() and not tensor.is_meta
        groups.setdefault(where if own_memory else name, []).append(name)
    return list(groups.values())
