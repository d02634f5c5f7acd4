"""O-Net of the MTCNN cascade: is this a face, and where are its eyes?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deploy.samples import media
from deploy.samples.packages import FACENET, SCIKIT_IMAGE
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
    from torch import Tensor

WEIGHTS = "facenet_pytorch/data/onet.pt"
ARCHITECTURE = "mtcnn_onet"
SIDE = 48
FACE: media.Box = (170, 60, 280, 210)
CURTAIN: media.Box = (0, 0, 150, 150)
LEFT_EYE, RIGHT_EYE, NOSE = 0, 1, 2
POINTS = 5  # landmarks: all x first, then all y, as parts of the box


def make(place: Workplace) -> Made:
    from deploy.samples import packing

    return packing.architecture(ARCHITECTURE, _state(place.wheels), place)


def request(wheels: WheelFolder) -> Tensors:
    """Row 0 is the face of an astronaut, row 1 what hangs behind her."""
    crops = [media.crop(wheels, media.ASTRONAUT, box, SIDE) for box in (FACE, CURTAIN)]
    scaled = (np.stack(crops).astype(np.float32) - 127.5) / 128
    return {"images": np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))}


def reference(wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples import weights
    from deploy.samples.nets.onet import ONet

    module = weights.filled(ONet(), _state(wheels))
    return weights.plain(module, ["images"], ["boxes", "landmarks", "scores"])


def say(outputs: Tensors, known: Known) -> str:
    face, background = outputs["scores"][:, 1]
    return f"face {face:.2f} / background {background:.2f}"


def right(outputs: Tensors, known: Known) -> bool:
    face, background = outputs["scores"][:, 1]
    x, y = outputs["landmarks"][0].reshape(2, POINTS)
    upright = x[LEFT_EYE] < x[NOSE] < x[RIGHT_EYE] and max(y[LEFT_EYE], y[RIGHT_EYE]) < y[NOSE]
    return bool(face > 0.99 and background < 0.05 and upright)


def _state(wheels: WheelFolder) -> dict[str, Tensor]:
    from deploy.samples import weights

    return weights.checkpoint(wheels, FACENET, WEIGHTS)


SAMPLE = Sample(
    name="mtcnn-onet",
    title="MTCNN O-Net: is this a face?",
    wheels=(FACENET, SCIKIT_IMAGE),
    licence=FACENET.licence,
    platform="pytorch_architecture",
    inputs=[fp32("images", ANY, 3, SIDE, SIDE)],
    outputs=[fp32("boxes", ANY, 4), fp32("landmarks", ANY, 2 * POINTS), fp32("scores", ANY, 2)],
    batching=Batching(max_size=64),
    warmup=[{"images": zeros(1, 3, SIDE, SIDE)}],
    make=make,
    request=request,
    reference=reference,
    say=say,
    right=right,
)
