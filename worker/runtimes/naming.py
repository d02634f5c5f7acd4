"""Names of a model's inputs and outputs: as the publisher writes them, matched with the model's
own.

A name that belongs to one tensor of the model is never given to another, in whatever order names
are written. A datatype or shape that is written beside a name is compared, never ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs

from shared.errors import InvalidInput
from shared.manifest import TensorSpec

Described = str | TensorSpec  # a name alone, or with datatype and shape
MAX_NAMES_LISTED = 12


@dataclass(frozen=True)
class ModelTensor:
    """An input or output of the model under its own name; `also` is a second name for it. One
    without a name of its own (`named` false) has only a place, and may be given a name."""

    spec: TensorSpec
    also: str = ""
    named: bool = True


def match(
    kind: str, described: Sequence[Described], own: Sequence[ModelTensor]
) -> list[TensorSpec]:
    """The model's tensors in its own order, under the names described; under its own names if none
    is described.

    InvalidInput if a name is not the model's, one of the model's is missing, or a datatype or shape
    differs. Where no tensor has a name of its own, names are given in order.
    """
    if not described:
        return [tensor.spec for tensor in own]
    names = [name_of(one) for one in described]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"{kind}: {twice[0]!r} is named twice")
    if any(tensor.named for tensor in own) or {tensor.spec.name for tensor in own} & set(names):
        ordered = _by_name(kind, described, own)
    elif len(described) == len(own):
        ordered = list(described)
    else:
        raise InvalidInput(f"{kind}: {len(described)} names for {len(own)} tensors")
    return [_agreed(kind, one, tensor.spec) for one, tensor in zip(ordered, own, strict=True)]


def name_of(described: Described) -> str:
    """The name of a described tensor."""
    return described if isinstance(described, str) else described.name


def listed(names: Sequence[str]) -> str:
    """Names for a message: all of them, or the first few and the number of the others."""
    shown = ", ".join(repr(name) for name in names[:MAX_NAMES_LISTED])
    more = len(names) - MAX_NAMES_LISTED
    return f"{shown} and {more} more" if more > 0 else shown or "none"


def _by_name(
    kind: str, described: Sequence[Described], own: Sequence[ModelTensor]
) -> list[Described]:
    places = {tensor.also: place for place, tensor in enumerate(own) if tensor.also}
    places |= {tensor.spec.name: place for place, tensor in enumerate(own)}
    have = listed([tensor.spec.name for tensor in own])
    found: dict[int, Described] = {}
    for one in described:
        place = places.get(name_of(one))
        if place is None or place in found:
            raise InvalidInput(f"{kind}: the model has no {name_of(one)!r}, it has {have}")
        found[place] = one
    if missing := [tensor.spec.name for place, tensor in enumerate(own) if place not in found]:
        raise InvalidInput(f"{kind}: name all or none, {listed(missing)} of the model is not named")
    return [found[place] for place in range(len(own))]


def _agreed(kind: str, described: Described, own: TensorSpec) -> TensorSpec:
    if isinstance(described, str):
        return structs.replace(own, name=described)
    given = described.datatype, list(described.shape)
    if given != (own.datatype, list(own.shape)):
        raise InvalidInput(
            f"{kind}: {described.name!r} is given as {given[0]} {given[1]}, in the model it is "
            f"{own.datatype} {list(own.shape)}"
        )
    return structs.replace(own, name=described.name)
