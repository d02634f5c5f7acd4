"""Puts the samples' modules and weights into the files that workers load."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deploy.samples import exporting, store
from deploy.samples.sample import Made, Sample, Workplace
from shared.errors import NotFound
from worker.packaging.architecture import pack_architecture
from worker.packaging.example import example_inputs, varying_sizes
from worker.packaging.module import pack_module
from worker.packaging.weight_files import split_weights
from worker.packaging.whole_file import pack_whole_pt2
from worker.runtimes.architectures.bert_encoder import BertConfig, BertEncoder

LARGEST = "embeddings.word_embeddings.weight"


def program(module: nn.Module, sample: Sample, place: Workplace) -> Made:
    """`module` as a program and weights."""
    packed = pack_module(
        module,
        None,
        example_inputs(sample.inputs),
        varying_sizes(sample.inputs),
        None,
        None,
        place.folder,
    )
    return Made(packed.files, packed.parameters)


def sentence_encoder(state: dict[str, Tensor], sample: Sample, place: Workplace) -> Made:
    """BERT weights with the program that all variants share. It is the workers' own module and not
    the one that references are computed with, so that each checks the other."""
    module = BertEncoder(BertConfig())
    module.load_state_dict(state)
    return program(module, sample, place)


def like_base(state: dict[str, Tensor], base: Sample, place: Workplace) -> Made:
    """Weights that differ from those of `base` everywhere but in the word embeddings."""
    made = store.find(base, place.samples)
    if made is None:
        raise NotFound(f"sample {base.name!r} must be made before its variants")
    own = split_weights(
        {name: tensor for name, tensor in state.items() if name != LARGEST}, place.folder
    )
    return Made({**made.files, **own}, made.stamp.parameters)


def whole_pt2(module: nn.Module, sample: Sample, place: Workplace) -> Made:
    """`module` as one torch.export archive."""
    path = place.folder / "model.pt2"
    exporting.write_pt2(module, example_inputs(sample.inputs), _sizes_from_one(sample), path)
    pack_whole_pt2(path)
    return Made({"model.pt2": path})


def _sizes_from_one(sample: Sample) -> tuple[dict[int, Any], ...]:
    """Sizes that vary, down to 1: an archive that was exported without them refuses one row."""
    return tuple(
        {
            axis: torch.export.Dim(f"{spec.name}_{axis}", min=1)
            for axis, size in enumerate(spec.shape)
            if size == -1
        }
        for spec in sample.inputs
    )


def architecture(name: str, state: dict[str, Tensor], place: Workplace) -> Made:
    """Weights for an architecture that workers know by `name`, in its default sizes."""
    packed = pack_architecture(name, {}, state, place.folder)
    return Made(packed.files, packed.parameters)
