"""Names of a model's inputs and outputs, as the publisher says them and as the model has them.

A name that the model has is never given to another tensor, in whatever order names are said. What
is said of a tensor beside its name is compared, never dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import InvalidInput
from shared.manifest import TensorSpec

Said = str | TensorSpec  # a name alone, or what the tensor is, too
MAX_NAMES_TOLD = 12


@dataclass(frozen=True)
class Own:
    """A tensor of the model under its own name; `also` is another name that it answers to. One
    without a name of its own (`named` false) has a place only, and may be given a name."""

    spec: TensorSpec
    also: str = ""
    named: bool = True


def match(kind: str, said: Sequence[Said], own: Sequence[Own]) -> list[TensorSpec]:
    """The model's tensors in its own order, under the names said; its own names if none is said.

    InvalidInput if a name is said that it does not have, one of its own is not said, or a datatype
    or shape differs. Where no tensor has a name of its own, names are given in order.
    """
    if not said:
        return [tensor.spec for tensor in own]
    names = [name_of(one) for one in said]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"{kind}: {twice[0]!r} is named twice")
    if any(tensor.named for tensor in own) or _calls(names, own):
        ordered = _by_name(kind, said, own)
    elif len(said) == len(own):
        ordered = list(said)
    else:
        raise InvalidInput(f"{kind}: {len(said)} names for {len(own)} tensors")
    return [_agreed(kind, one, tensor.spec) for one, tensor in zip(ordered, own, strict=True)]


def name_of(said: Said) -> str:
    """The name in what was said of a tensor."""
    return said if isinstance(said, str) else said.name


def listed(names: Sequence[str]) -> str:
    """Names for a message: all of them, or the first and how many more there are."""
    told = ", ".join(repr(name) for name in names[:MAX_NAMES_TOLD])
    more = len(names) - MAX_NAMES_TOLD
    return f"{told} and {more} more" if more > 0 else told or "none"


def _calls(names: Sequence[str], own: Sequence[Own]) -> bool:
    """Whether a name said is the one that a tensor goes by where nobody names it."""
    return bool({tensor.spec.name for tensor in own} & set(names))


def _by_name(kind: str, said: Sequence[Said], own: Sequence[Own]) -> list[Said]:
    known = {tensor.also: place for place, tensor in enumerate(own) if tensor.also}
    known |= {tensor.spec.name: place for place, tensor in enumerate(own)}
    have = listed([tensor.spec.name for tensor in own])
    found: dict[int, Said] = {}
    for one in said:
        place = known.get(name_of(one))
        if place is None or place in found:
            raise InvalidInput(f"{kind}: the model has no {name_of(one)!r}, it has {have}")
        found[place] = one
    if missing := [tensor.spec.name for place, tensor in enumerate(own) if place not in found]:
        raise InvalidInput(f"{kind}: name all or none, {listed(missing)} of the model is not named")
    return [found[place] for place in range(len(own))]


def _agreed(kind: str, said: Said, own: TensorSpec) -> TensorSpec:
    if isinstance(said, str):
        return TensorSpec(said, own.datatype, own.shape)
    if (said.datatype, list(said.shape)) != (own.datatype, list(own.shape)):
        raise InvalidInput(
            f"{kind}: you say that {said.name!r} is {said.datatype} {list(said.shape)}, in the "
            f"model it is {own.datatype} {list(own.shape)}"
        )
    return said
