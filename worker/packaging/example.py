"""The arguments of torch.export for a module: example inputs, and which sizes may vary."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from shared import datatypes
from shared.errors import InvalidInput
from shared.manifest import TensorSpec
from worker.runtimes.arrays import check_specs, to_tensor
from worker.runtimes.naming import listed

# torch.export treats sizes 0 and 1 as special cases, so a varying size is neither in the example.
# Inputs that vary in the same place (ids and their mask) have the same size there.
FIRST_SIZE, OTHER_SIZE = 2, 16
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def example_inputs(
    specs: Sequence[TensorSpec], given: Mapping[str, np.ndarray[Any, Any]] | None = None
) -> tuple[Tensor, ...]:
    """Zeros as `specs` describe them, or the arrays `given` by name; InvalidInput if one of those
    does not fit. LoadFailed for a datatype that torch does not have."""
    check_specs(specs)
    arrays = [_zeros(spec) if given is None else _checked(spec, given) for spec in specs]
    return tuple(to_tensor(a, s.datatype) for a, s in zip(arrays, specs, strict=True))


def varying_sizes(specs: Sequence[TensorSpec]) -> tuple[dict[int, Any], ...]:
    """torch.export's `dynamic_shapes`; it finds out itself which of them must be equal."""
    auto = torch.export.Dim.AUTO
    return tuple(
        {axis: auto for axis, size in enumerate(spec.shape) if size == -1} for spec in specs
    )


class Arguments(NamedTuple):
    """Arguments for torch.export: by position, by keyword, and which sizes vary, by name."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    dynamic_shapes: dict[str, Any]


def arguments(module: Any, specs: Sequence[TensorSpec], examples: Sequence[Tensor]) -> Arguments:
    """The examples as arguments of the module's forward(), by name: `d.a` is key `a` of an argument
    `d`, `xs.0` the first of a list. InvalidInput if forward() has no such argument, or needs one
    that is not named.
    """
    parameters = inspect.signature(checked(module).forward).parameters
    values = nested([(spec.name, example) for spec, example in zip(specs, examples, strict=True)])
    shapes = nested(list(zip((s.name for s in specs), varying_sizes(specs), strict=True)))
    _check_arguments(parameters, values)
    in_order = [name for name in parameters if name in values]
    in_order += [name for name in values if name not in parameters]
    leading = list(itertools.takewhile(lambda n: _by_place(parameters[n], values), parameters))
    return Arguments(
        tuple(values[name] for name in leading),
        {name: values[name] for name in in_order if name not in leading},
        _shapes(parameters, {name: shapes[name] for name in in_order}),
    )


def checked(module: Any) -> nn.Module:
    """The module; InvalidInput that names its type if it is not a module."""
    if isinstance(module, nn.Module):
        return module
    name = getattr(module, "__name__", "")
    raise InvalidInput(f"want a torch.nn.Module, got a {type(module).__name__} {name}".rstrip())


def nested(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Values by dotted names as dicts within dicts; one whose keys are 0, 1, 2 is a list."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        *path, last = name.split(".")
        place = tree
        for key in path:
            place = place.setdefault(key, _Branch())
            if not isinstance(place, _Branch):
                raise InvalidInput(
                    f"inputs: {key!r} is a tensor, and {name!r} would be a part of it"
                )
        if last in place:
            raise InvalidInput(f"inputs: {name!r} is named twice")
        place[last] = value
    return {key: _closed(value) for key, value in tree.items()}


class _Branch(dict[str, Any]):
    """A dict of the tree, as opposed to a dict that was given as a value."""


def _closed(value: Any) -> Any:
    if not isinstance(value, _Branch):
        return value
    items = {key: _closed(child) for key, child in value.items()}
    if sorted(items) == sorted(str(number) for number in range(len(items))):
        return [items[str(number)] for number in range(len(items))]
    return items


def _check_arguments(
    parameters: Mapping[str, inspect.Parameter], values: Mapping[str, Any]
) -> None:
    kinds = {parameter.kind for parameter in parameters.values()}
    plain = [name for name, it in parameters.items() if it.kind not in VARIADIC]
    unknown = [name for name in values if name not in plain]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise InvalidInput(f"inputs: forward() has no {unknown[0]!r}, it has {listed(plain)}")
    for name in plain:
        if name not in values and parameters[name].default is inspect.Parameter.empty:
            raise InvalidInput(f"inputs: forward() needs {name!r}: give it with --input")


def _by_place(parameter: inspect.Parameter, values: Mapping[str, Any]) -> bool:
    by_keyword = (*VARIADIC, inspect.Parameter.KEYWORD_ONLY)
    return parameter.name in values and parameter.kind not in by_keyword


def _shapes(parameters: Mapping[str, inspect.Parameter], shapes: dict[str, Any]) -> dict[str, Any]:
    """Shapes by argument; those of `**kwargs` under its name, as torch.export requires."""
    further = {name: shapes.pop(name) for name in list(shapes) if name not in parameters}
    for parameter in parameters.values():
        if further and parameter.kind is inspect.Parameter.VAR_KEYWORD:
            shapes[parameter.name] = further
    return shapes


def _zeros(spec: TensorSpec) -> np.ndarray[Any, Any]:
    first, *rest = [*spec.shape, 0]
    sizes = [FIRST_SIZE if first == -1 else first]
    sizes += [OTHER_SIZE if size == -1 else size for size in rest]
    return np.zeros(sizes[: len(spec.shape)], datatypes.NUMPY[spec.datatype])


def _checked(spec: TensorSpec, given: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    array = given.get(spec.name)
    if array is None:
        raise InvalidInput(f"the example has no input {spec.name!r}, it has {sorted(given)}")
    sizes = zip(array.shape, spec.shape, strict=False)
    fits = array.ndim == len(spec.shape) and all(want in (-1, size) for size, want in sizes)
    if not fits or array.dtype != datatypes.NUMPY[spec.datatype]:
        raise InvalidInput(
            f"the example's {spec.name!r} is {array.dtype} {list(array.shape)}, "
            f"not {spec.datatype} {spec.shape}"
        )
    return array
