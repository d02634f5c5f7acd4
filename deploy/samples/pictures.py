"""Photographs as the samples need them: a part of one, at the size that a model takes."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from deploy.samples.packages import SCIKIT_IMAGE
from deploy.samples.wheels import WheelFolder

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

CAT = "skimage/data/chelsea.png"  # 451 x 300, Chelsea, by Stefan van der Walt, CC0
ASTRONAUT = "skimage/data/astronaut.png"  # 512 x 512, Eileen Collins, NASA, public domain


def crop(wheels: WheelFolder, member: str, box: Box, side: int) -> npt.NDArray[np.uint8]:
    """The `box` of a photograph as [side, side, 3] RGB."""
    from PIL import Image

    with Image.open(io.BytesIO(wheels.read(SCIKIT_IMAGE, member))) as image:
        part = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.asarray(part)
