"""Variants of MiniLM: the base's embeddings and program, other encoder weights.

Eighteen are the real weights with seeded noise: they answer a little differently from each other
and still sensibly. Two are really fine-tuned (`tuning.py`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deploy.samples.models import minilm, tuning
from deploy.samples.sample import Files, Made, Model, Sample, Workplace
from deploy.samples.wheels import WheelFolder

if TYPE_CHECKING:
    from torch import Tensor

PERTURBED = 18
# Noise against a matrix's own deviation. Vectors turn by about 17 degrees: enough to keep any two
# variants apart, little enough that meanings stay.
NOISE = 0.1


def perturbed(base: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """`base` with noise on every matrix of the encoder; the same for a seed on every machine."""
    import torch

    random = np.random.default_rng(seed)

    def change(name: str, tensor: Tensor) -> Tensor:
        if tensor.dim() != 2 or not name.startswith("encoder."):
            return tensor
        noise = torch.from_numpy(random.standard_normal(tuple(tensor.shape), np.float32))
        return tensor + NOISE * float(tensor.double().std()) * noise

    return {name: change(name, tensor) for name, tensor in base.items()}


def samples() -> list[Sample]:
    """minilm-01 to minilm-20."""
    noisy = [_perturbed_sample(seed) for seed in range(1, PERTURBED + 1)]
    tuned = [_tuned_sample(PERTURBED + 1 + at, task) for at, task in enumerate(tuning.TASKS)]
    return noisy + tuned


def _make_perturbed(seed: int, place: Workplace) -> Made:
    from deploy.samples import packing

    return packing.like_base(perturbed(minilm.state(place.wheels), seed), minilm.SAMPLE, place)


def _make_tuned(task: tuning.Task, place: Workplace) -> Made:
    from deploy.samples import packing, training

    base = minilm.state(place.wheels)
    pulled = minilm.tokens(place.wheels, [*task.first, *task.second])
    tuned = training.separate(base, pulled, len(task.first))
    return packing.like_base(tuned, minilm.SAMPLE, place)


def _perturbed_reference(seed: int, wheels: WheelFolder, files: Files) -> Model:
    return minilm.encoder(perturbed(minilm.state(wheels), seed))


def _tuned_reference(wheels: WheelFolder, files: Files) -> Model:
    from safetensors.torch import load_file

    state: dict[str, Tensor] = {}
    for name, path in files.items():
        if name.endswith(".safetensors"):
            state |= load_file(path)
    return minilm.encoder(state)


def _perturbed_sample(seed: int) -> Sample:
    return replace(
        minilm.SAMPLE,
        name=f"minilm-{seed:02d}",
        title=f"MiniLM with seeded noise, variant {seed}",
        make=partial(_make_perturbed, seed),
        reference=partial(_perturbed_reference, seed),
    )


def _tuned_sample(number: int, task: tuning.Task) -> Sample:
    return replace(
        minilm.SAMPLE,
        name=f"minilm-{number:02d}",
        title=f"MiniLM fine-tuned: {task.title}",
        make=partial(_make_tuned, task),
        request=partial(tuning.request, task),
        reference=_tuned_reference,
        say=partial(tuning.say, task),
        right=partial(tuning.right, task),
    )
