"""The footprint that a gateway expects: the sum of a worker, from what it knows."""

from __future__ import annotations

import pytest

from router.fleet.footprints import size
from shared.footprint import predict
from shared.manifest import Manifest
from shared.platforms import PLATFORMS
from tests.helpers.factories import file_entry, manifest


def of(platform: str) -> Manifest:
    """A version with equal weights twice, and 30 bytes beside them."""
    files = [
        file_entry("weights/0.safetensors", "a", 100),
        file_entry("weights/1.safetensors", "a", 100),
        file_entry("program.json", "b", 30),
    ]
    return manifest(platform=platform, files=files)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_gateway_expects_what_a_worker_reserves(platform: str) -> None:
    """Before the first load, and with what loads have recorded; each content counts once."""
    assert size(of(platform), {}) == predict(of(platform)).total <= 130
    known = {b"own:cpu": b"7", b"host": b"5000"}
    assert size(of(platform), known) == predict(of(platform), 7).total


def test_the_device_class_that_takes_most_counts() -> None:
    """It is not known yet which one will load the model; what is not a number is ignored."""
    known = {b"own:cpu": b"7", b"own:NVIDIA_H100": b"9", b"own:odd": b"many"}
    assert size(of("onnxruntime_onnx"), known) == 9


def test_a_fraction_of_the_budget_is_the_least() -> None:
    """A model that was promised a share of the device counts as that share."""
    assert size(of("onnxruntime_onnx"), {b"own:cpu": b"7"}, fraction=0.5, budget=80) == 40
    assert size(of("onnxruntime_onnx"), {b"own:cpu": b"70"}, fraction=0.5, budget=80) == 70
