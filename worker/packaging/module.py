"""Packing a module: it is exported, and the export is checked against the module."""

from __future__ import annotations

import dataclasses
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from shared.errors import InvalidInput
from worker.packaging.example import checked
from worker.packaging.exporting import flat_returns, leaves_of, refusal
from worker.packaging.program import read, write
from worker.packaging.result import Packed
from worker.packaging.single_rows import settle_single_rows
from worker.runtimes.failures import summary
from worker.runtimes.naming import Described
from worker.runtimes.state_dict import load_state
from worker.runtimes.torch_model import Forward

# Layers that compute something else in training mode.
TRAINED = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase, nn.RReLU)


@dataclasses.dataclass(frozen=True)
class Example:
    """Example arguments of a module, and its answers to other tensors in their places."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments, in the order of the export."""
        leaves = pytree.tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def ask(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The leaves of the module's answer to these tensors."""
        leaves, form = pytree.tree_flatten((self.args, self.kwargs))
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        args, kwargs = pytree.tree_unflatten(leaves, form)
        return [leaf for _, leaf in leaves_of(self.module(*args, **kwargs)) if leaf is not None]


def pack_module(
    module: nn.Module,
    state_dict: Mapping[str, Tensor] | None,
    example_inputs: Sequence[Any],
    dynamic_shapes: Any,
    input_names: Sequence[Described] | None,
    output_names: Sequence[Described] | None,
    out_dir: Path,
    example_kwargs: Mapping[str, Any] | None = None,
) -> Packed:
    """Export `module` with `state_dict` (None: its own) as platform `pytorch_program`.

    The packed model runs once with the example, and must return what the module returns;
    InvalidInput if it does not, or if torch cannot export it. `dynamic_shapes` is torch.export's.
    """
    checked(module)
    if state_dict is not None:
        load_state(module, state_dict)
    notes = _notes(module)
    module.eval()
    example = Example(module, tuple(example_inputs), dict(example_kwargs or {}))
    returned = _first_answer(example)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "model.pt2"
        with flat_returns(module, returned):
            _export(example, dynamic_shapes, archive)
        draft = read(archive).with_outputs([path for path, _ in leaves_of(returned)])
        _prove(example, draft.bind())
        draft = settle_single_rows(draft, example.ask, _nonzero(example))
        packed = write(draft, out_dir, input_names, output_names)
    return dataclasses.replace(packed, notes=[*notes, *packed.notes])


def _notes(module: nn.Module) -> list[str]:
    kinds = {type(part).__name__ for part in module.modules() if _trains(part)}
    if not kinds:
        return []
    return [f"the module is in training mode ({', '.join(sorted(kinds))}): it is served as eval()"]


def _trains(part: nn.Module) -> bool:
    return part.training and isinstance(part, TRAINED)


def _first_answer(example: Example) -> Any:
    try:
        with torch.no_grad(), _quiet():
            args, kwargs = pytree.tree_map_only(Tensor, torch.clone, (example.args, example.kwargs))
            return example.module(*args, **kwargs)
    except Exception as error:  # the module may raise anything
        raise InvalidInput(
            f"the module fails with the example: {summary(error)} (--example FILE.npz gives "
            "another)"
        ) from error


def _export(example: Example, dynamic_shapes: Any, path: Path) -> None:
    try:
        with _quiet():
            exported = torch.export.export(
                example.module, example.args, example.kwargs, dynamic_shapes=dynamic_shapes
            )
            torch.export.save(exported, path)
    except Exception as error:  # torch documents no set of exceptions
        raise InvalidInput(f"torch.export refuses the module: {refusal(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings and dumps of graphs, which are about the module's own code."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _prove(example: Example, forward: Forward) -> None:
    given = example.tensors()
    with torch.inference_mode():
        got = forward([tensor.clone() for tensor in given])
        want = example.ask([tensor.clone() for tensor in given])
        again = example.ask([tensor.clone() for tensor in given])
    answers = [leaf for _, leaf in leaves_of(got) if leaf is not None]
    if _difference(again, want):
        raise InvalidInput(
            "the packed model does not return what the module returns, and the module returns "
            "something else each time: is dropout, or another random layer, left on?"
        )
    if difference := _difference(answers, want):
        raise InvalidInput(
            f"the packed model does not return what the module returns: {difference}"
        )


def _difference(got: list[Any], want: list[Any]) -> str:
    try:
        torch.testing.assert_close(got, want, equal_nan=True)
    except (AssertionError, TypeError) as error:
        return summary(error)
    return ""


def _nonzero(example: Example) -> list[Tensor]:
    """The example's tensors, with random numbers for generated zeros: a product with zero hides
    every difference."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
        if tensor.is_floating_point() and not tensor.any()
        else tensor
        for tensor in example.tensors()
    ]
