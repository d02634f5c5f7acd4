"""The signature in a TorchScript archive: the arguments of forward() and what it returns.

A tensor of the manifest is passed to the argument of its name. `d.a` is key `a` of an argument `d`
that takes a dict of tensors, `xs.0` the first of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from shared.errors import InvalidInput, LoadFailed
from worker.runtimes.naming import listed

TENSOR, LIST, DICT = "Tensor", "List[Tensor]", "Dict[str, Tensor]"


class Argument(NamedTuple):
    """An argument of forward(). `kind` is its type without Optional."""

    name: str
    kind: str
    optional: bool


class Place(NamedTuple):
    """The place of a tensor: the number of the argument, and the key within a dict or list."""

    argument: int
    key: str | None


def read_arguments(module: Any) -> list[Argument]:
    """The arguments of the module's forward(); LoadFailed if it has none to call."""
    if not module._c._has_method("forward"):
        raise LoadFailed("TorchScript archive: it has no forward() to call")
    return [_argument(argument) for argument in module.forward.schema.arguments[1:]]


def returned_count(module: Any) -> int | None:
    """The number of tensors that forward() returns by its declared type; None if that is not
    fixed."""
    (returned,) = module.forward.schema.returns
    if str(returned.type) == TENSOR:
        return 1
    if returned.type.kind() != "TupleType":
        return None
    elements = returned.type.elements()
    return len(elements) if all(str(element) == TENSOR for element in elements) else None


def find_places(arguments: Sequence[Argument], names: Sequence[str]) -> list[Place]:
    """The place of each tensor, by name. InvalidInput if forward() has no argument of a name, needs
    one that is not named, or takes no tensor there. A single tensor for a single argument may have
    any name."""
    tensors = [number for number, one in enumerate(arguments) if one.kind == TENSOR]
    others = [one for one in arguments if one.kind != TENSOR and not one.optional]
    if len(names) == len(tensors) == 1 and not others:
        return [Place(tensors[0], None)]
    places = [_place(arguments, name) for name in names]
    given = {place.argument for place in places}
    for number, argument in enumerate(arguments):
        if number not in given and not argument.optional:
            raise InvalidInput(
                f"inputs: forward() needs {argument.name!r} ({argument.kind}), which is not named"
            )
    return places


def places_in_order(arguments: Sequence[Argument], count: int) -> list[Place] | None:
    """Places by position, as older releases published; None if forward() does not allow that."""
    fits = count <= len(arguments) and all(one.kind == TENSOR for one in arguments[:count])
    return [Place(number, None) for number in range(count)] if fits else None


def caller(
    arguments: Sequence[Argument], places: Sequence[Place]
) -> Callable[[Any, Sequence[Tensor]], Any]:
    """A function that calls the module with tensors in the order of `places`."""
    if list(places) == [Place(number, None) for number in range(len(places))]:
        return lambda module, given: module(*given)
    names = [arguments[place.argument].name for place in places]

    def call(module: Any, given: Sequence[Tensor]) -> Any:
        values: dict[str, Any] = {}
        for name, place, tensor in zip(names, places, given, strict=True):
            if place.key is None:
                values[name] = tensor
            else:
                values.setdefault(name, {})[place.key] = tensor
        lists = {name for name in values if kinds[name] == LIST}
        return module(**{n: _in_order(v) if n in lists else v for n, v in values.items()})

    kinds = {argument.name: argument.kind for argument in arguments}
    return call


def _argument(argument: Any) -> Argument:
    kind = str(argument.type)
    optional = kind.startswith("Optional[")
    kind = kind.removeprefix("Optional[").removesuffix("]") if optional else kind
    return Argument(argument.name, kind, argument.has_default_value())


def _place(arguments: Sequence[Argument], name: str) -> Place:
    numbers = {argument.name: number for number, argument in enumerate(arguments)}
    head, _, key = name.partition(".")
    number = numbers.get(name, numbers.get(head))
    if number is None:
        raise InvalidInput(f"inputs: forward() has no {name!r}, it has {listed(list(numbers))}")
    kind = arguments[number].kind
    nested = kind == DICT or (kind == LIST and key.isdecimal())
    if kind == TENSOR and name in numbers:
        return Place(number, None)
    if nested and key:
        return Place(number, key)
    want = {DICT: f", name its keys: {head}.KEY", LIST: f", name its items: {head}.0"}.get(kind, "")
    raise InvalidInput(f"inputs: {head!r} of forward() is {kind}, which cannot be a tensor{want}")


def _in_order(items: dict[str, Tensor]) -> list[Tensor]:
    return [items[key] for key in sorted(items, key=int)]
