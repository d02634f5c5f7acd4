"""The first run of a model: with inputs of its manifest, else with generated ones.

A model that fails on inputs of its manifest is not served, nor is one whose outputs are not as
declared. A model that refuses generated inputs is served: real requests decide.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from shared.errors import InvalidInput, LoadFailed, ModelFailed
from shared.manifest import Manifest
from worker.device.base import DeviceOutOfMemory
from worker.runtimes.base import HasShapes, LoadedModel
from worker.runtimes.failures import WrongOutput
from worker.trial.inputs import Candidate, candidates
from worker.trial.rows import Arrays

WARM_UP_S = 5.0  # for all tries with generated inputs


def warm_up(manifest: Manifest, model: LoadedModel) -> tuple[Arrays | None, str]:
    """Run the model once. The inputs that it took; or None, and why it took none of the generated
    ones. LoadFailed if it fails on inputs of its manifest, or its outputs are not as declared."""
    until = time.perf_counter() + WARM_UP_S
    cause, sizes = "", _Sizes()
    try:
        for number, candidate in enumerate(_candidates(manifest, model)):
            if cause and time.perf_counter() > until:
                break
            why = _tried(manifest, model, candidate, number, sizes)
            if not why:
                return candidate.inputs, ""
            cause = cause or why
    except (InvalidInput, WrongOutput, ValueError, OverflowError) as error:
        raise LoadFailed(f"warm-up failed: {error}") from error
    return None, cause or "inputs of its sizes are too large to be made up"


def _candidates(manifest: Manifest, model: LoadedModel) -> Iterator[Candidate]:
    one_row = manifest.batching.max_size > 1

    def allowed(sizes: Sequence[int]) -> list[list[int]] | None:
        return model.shapes_near(sizes[0], one_row) if isinstance(model, HasShapes) else None

    return candidates(manifest, allowed)


class _Sizes:
    """Sizes of outputs that are not as declared. A size that stays the same for inputs of different
    sizes is wrong; one that changes may be right for a size that was not tried."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[int, ...], ...]] = {}

    def check(self, wrong: str, candidate: Candidate) -> str:
        """`wrong` if it proves nothing (yet); else raise WrongOutput."""
        form = tuple(array.shape for array in candidate.inputs.values())
        if wrong and (not candidate.sized or self._seen.setdefault(wrong, form) != form):
            raise WrongOutput(wrong)
        return wrong


def _tried(
    manifest: Manifest, model: LoadedModel, candidate: Candidate, number: int, sizes: _Sizes
) -> str:
    """Why the model refuses these inputs, '' if it takes them; LoadFailed if that decides."""
    try:
        outputs = model.run({name: array.copy() for name, array in candidate.inputs.items()})
    except WrongOutput:
        raise
    except DeviceOutOfMemory as error:
        if candidate.given or number == 0:
            raise
        return error.message
    except (ModelFailed, InvalidInput) as error:
        if candidate.given:
            raise LoadFailed(f"warm-up failed: {error}") from error
        return error.message
    return sizes.check(check_outputs(outputs, manifest), candidate)


def check_outputs(outputs: Arrays, manifest: Manifest) -> str:
    """The first size of an output that is not as declared, '' if none. WrongOutput if an output is
    missing, or has another rank."""
    wrong = ""
    for spec in manifest.outputs:
        array = outputs.get(spec.name)
        if array is None:
            raise WrongOutput(f"output {spec.name!r} is missing, the model gave {list(outputs)}")
        if array.ndim != len(spec.shape):
            raise WrongOutput(f"output {spec.name!r}: shape {array.shape}, want {spec.shape}")
        for axis, (have, want) in enumerate(zip(array.shape, spec.shape, strict=True)):
            if want not in (-1, have):
                size = f"{have} in dimension {axis}, want {spec.shape}"
                wrong = wrong or f"output {spec.name!r}: shape: {size}"
    return wrong
