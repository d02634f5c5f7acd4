"""Warm-up and trial of a new copy: run once before it is announced, and see whether batches pay.

Kernels and caches warm up per program, so a variant of a program that this process has run
already is announced at once; its batching is what the first variant measured.
"""

from __future__ import annotations

import time

import numpy as np

from shared import datatypes
from shared.errors import InvalidInput, LoadFailed, ModelFailed, WarmrouteError
from shared.manifest import Batching, Manifest, TensorSpec, WarmupTensor
from worker.runtimes.base import LoadedModel
from worker.tensors import Arrays

TRIAL_BATCH = 8
TRIAL_S = 0.1  # the device serves nobody else during a trial: no call of it should take longer,
LONGEST_S = 0.3  # but for a batch of two, or a slow first call would forbid batches for good
PAYS_BELOW = 0.9  # a batch of n must take less than this of n calls
PROGRAM_FILES = ("program.json",)


def inputs_of(manifest: Manifest) -> Arrays:
    """The first warm-up inputs of the manifest, or zeros with every variable dimension 1. What may
    be left out is left out, unless the manifest gives it."""
    given = manifest.warmup[0] if manifest.warmup else {}
    needed = [spec for spec in manifest.inputs if spec.name in given or not spec.optional]
    return {spec.name: _tensor(spec, given.get(spec.name)) for spec in needed or manifest.inputs}


def _tensor(spec: TensorSpec, given: WarmupTensor | None) -> np.ndarray:
    shape = given.shape if given else [1 if dim < 0 else dim for dim in spec.shape]
    if spec.datatype == datatypes.BYTES:
        values = [str(item).encode() for item in given.data] if given and given.data else []
        array = np.full(shape, b"", dtype=object)
        if values:
            array[...] = np.array(values, dtype=object).reshape(shape)
        return array
    dtype = datatypes.NUMPY[spec.datatype]
    if given is None or given.data is None:
        return np.zeros(shape, dtype=dtype)
    return np.array(given.data, dtype=dtype).reshape(shape)


def program_key(manifest: Manifest) -> str:
    """What variants share: the program's digest, or the architecture and its settings."""
    for entry in manifest.files:
        if entry.name in PROGRAM_FILES:
            return entry.sha256
    if manifest.platform == "pytorch_architecture":
        return repr(sorted(manifest.parameters.items()))
    return ""


class Warmup:
    """Remembers per program what its first copy showed. Used on the device thread only."""

    def __init__(self) -> None:
        self._pays: dict[str, bool | None] = {}  # None: ran, but forbade batches itself

    def run(self, manifest: Manifest, model: LoadedModel) -> Batching:
        """Warm the copy up and return the batching to use; LoadFailed if it cannot run."""
        key, asked = program_key(manifest), manifest.batching.max_size > 1
        if key in self._pays and not (asked and self._pays[key] is None):
            pays = self._pays[key]
        else:
            self._warm_up(manifest, model)
            pays = _batch_pays(manifest, model) if asked else None
            if key:
                self._pays[key] = pays
        return manifest.batching if asked and pays else Batching(max_size=1)

    @staticmethod
    def _warm_up(manifest: Manifest, model: LoadedModel) -> None:
        try:
            check_outputs(model.run(inputs_of(manifest)), manifest)
        except (ModelFailed, InvalidInput, ValueError, OverflowError) as error:
            raise LoadFailed(f"warm-up failed: {error}") from error


def _batch_pays(manifest: Manifest, model: LoadedModel) -> bool:
    """Whether a batch takes clearly less time than its requests one by one. One that fails does
    not pay: single requests work."""
    one = {name: array[:1] for name, array in inputs_of(manifest).items()}
    try:
        alone = _seconds(model, one)
        if 2 * alone > LONGEST_S:
            return False  # a call this long fills the device by itself
        size = min(TRIAL_BATCH, manifest.batching.max_size, max(2, int(TRIAL_S / alone)))
        many = {name: np.concatenate([array] * size) for name, array in one.items()}
        model.run(many)
        return _seconds(model, many) < PAYS_BELOW * size * alone
    except WarmrouteError:
        return False


def _seconds(model: LoadedModel, inputs: Arrays) -> float:
    """The shorter of two calls: the machine is noisy."""
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        model.run(inputs)
        times.append(time.perf_counter() - begun)
    return min(times)


def check_outputs(outputs: Arrays, manifest: Manifest) -> None:
    """ModelFailed unless the outputs are those that the manifest declares."""
    for spec in manifest.outputs:
        array = outputs.get(spec.name)
        if array is None:
            raise ModelFailed(f"output {spec.name!r} is missing, the model gave {list(outputs)}")
        fits = array.ndim == len(spec.shape) and all(
            want in (-1, have) for have, want in zip(array.shape, spec.shape, strict=True)
        )
        if not fits:
            raise ModelFailed(f"output {spec.name!r}: shape {array.shape}, want {spec.shape}")
