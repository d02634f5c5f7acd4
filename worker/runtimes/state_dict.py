"""Loading weights into a module: names that do not fit are reported, tied weights are filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from shared.errors import InvalidInput
from worker.runtimes.naming import listed

MAX_SHAPES = 4


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load `state` into `module`. A weight that the module ties to another may be left out.

    InvalidInput names the tensors that are missing, unexpected or of another shape, or that the
    module ties and the file has with different values.
    """
    own = module.state_dict()
    if problems := misfit(own, state, _missing(own, state)):
        raise InvalidInput(f"weights: {problems}")
    try:
        module.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:  # raised by a hook of the module
        raise InvalidInput(f"weights: {error}") from error


def misfit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], missing: Iterable[str]) -> str:
    """What does not fit between a module's own tensors and those given; '' if everything fits."""
    shaped = [
        f"{name!r} is {list(tensor.shape)}, not {list(own[name].shape)}"
        for name, tensor in sorted(state.items())
        if name in own and tensor.shape != own[name].shape
    ]
    problems = [
        f"{what} {listed(sorted(names))}"
        for what, names in (("Missing", missing), ("Unexpected", state.keys() - own.keys()))
        if names
    ]
    problems += [f"size mismatch: {', '.join(shaped[:MAX_SHAPES])}"] if shaped else []
    return "; ".join(problems)


def _missing(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    missing: list[str] = []
    for group in _tied(own):
        given = [name for name in group if name in state]
        for name in given[1:]:
            if not torch.equal(state[name], state[given[0]]):
                raise InvalidInput(
                    f"weights: the module ties {name!r} to {given[0]!r}, which differ in the file"
                )
        missing += [] if given else group[:1]
    return missing


def _tied(own: Mapping[str, Tensor]) -> list[list[str]]:
    """Names grouped by the memory of their tensors; one without elements is tied to no other."""
    groups: dict[object, list[str]] = {}
    for name, tensor in own.items():
        where = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        own_memory = tensor.numel() and not tensor.is_meta
        groups.setdefault(where if own_memory else name, []).append(name)
    return list(groups.values())
