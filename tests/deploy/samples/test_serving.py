"""A worker's runtime answers every sample as plain torch or onnxruntime does."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.samples import catalogue
from deploy.samples.store import BuiltSample
from tests.deploy.samples.chosen import NAMES
from worker.device.base import Device
from worker.device.opening import open_device
from worker.runtimes.base import Trust, load


@pytest.fixture(scope="module")
def cpu() -> Device:
    return open_device("cpu")


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_sample_answers_as_its_reference(
    name: str, built: dict[str, BuiltSample], cpu: Device
) -> None:
    """The answer kept from making the sample, to float32 rounding; said and judged the same."""
    sample = built[name]
    model = load(sample.manifest(), sample.files, cpu, Trust(code=True))
    outputs = model.run(sample.sample_request())
    model.unload()
    for key, expected in sample.known().answer.items():
        np.testing.assert_allclose(outputs[key], expected, rtol=1e-4, atol=1e-5)
    assert sample.right(outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_sample_takes_another_batch(
    name: str, built: dict[str, BuiltSample], cpu: Device
) -> None:
    """Three times the rows give three times the answer: no size was fixed when it was made."""
    sample = built[name]
    model = load(sample.manifest(), sample.files, cpu, Trust(code=True))
    tripled = {key: np.tile(value, (3,) + (1,) * (value.ndim - 1)) for key, value in
               sample.sample_request().items()}  # fmt: skip
    outputs = model.run(tripled)
    model.unload()
    for key, expected in sample.known().answer.items():
        rows = len(expected)
        assert len(outputs[key]) == 3 * rows
        np.testing.assert_allclose(outputs[key][-rows:], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sample", catalogue.DEFAULT_SET, ids=lambda sample: sample.name)
def test_the_warm_up_of_a_sample_runs(
    sample: catalogue.Sample, built: dict[str, BuiltSample], cpu: Device
) -> None:
    """Each declared warm-up fits the model."""
    made = built[sample.name]
    model = load(made.manifest(), made.files, cpu, Trust(code=True))
    for warmup in made.manifest().warmup:
        inputs = {
            spec.name: np.resize(
                np.array(warmup[spec.name].data or [0], _dtype(spec.datatype)),
                warmup[spec.name].shape,
            )
            for spec in made.manifest().inputs
        }
        assert all(np.isfinite(output).all() for output in model.run(inputs).values())
    model.unload()


def _dtype(datatype: str) -> np.dtype:
    from shared.datatypes import NUMPY

    return NUMPY[datatype]
