"""Every sample's plain torch or onnxruntime model gives the right answer to its sample request."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.samples import catalogue
from deploy.samples.models import minilm, variants
from deploy.samples.store import BuiltSample
from deploy.samples.wheels import WheelFolder
from shared import datatypes
from tests.deploy.samples.chosen import NAMES

SAID = {
    "minilm": "cat ~ kitten 0.75 / cat ~ stocks 0.02",
    "silero-vad": "speech 1.00 / silence 0.0",
    "magika": "python source ",
    "basic-pitch": "C4 E4 G4 (C major)",
    "crepe-tiny": "440.4 Hz -> A4",
    "speaker-encoder": "same voice 0.8",
    "efficientnet-lite0": "tabby, tabby cat 0.3",
    "mtcnn-onet": "face 1.00 / background 0.0",
}
REAL = [name for name in NAMES if not catalogue.find(name).benchmark]


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_gives_the_right_answer(
    name: str, built: dict[str, BuiltSample], wheels: WheelFolder
) -> None:
    """The source weights, run plainly, answer the sample request rightly and say so in words."""
    sample = built[name]
    outputs = catalogue.reference(name, sample, wheels)(sample.sample_request())
    assert sample.right(outputs)
    assert sample.say(outputs).startswith(SAID.get(name, ""))


@pytest.mark.parametrize("name", REAL)
def test_a_wrong_answer_is_not_called_right(name: str, built: dict[str, BuiltSample]) -> None:
    """Rows in another order, or nothing but zeros, do not pass for the answer."""
    sample = built[name]
    answer = sample.known().answer
    assert sample.right(answer)
    assert not sample.right({key: np.zeros_like(value) for key, value in answer.items()})
    if len(next(iter(answer.values()))) > 1:
        assert not sample.right({key: np.roll(value, 1, 0) for key, value in answer.items()})


@pytest.mark.parametrize("name", NAMES)
def test_request_and_answer_are_what_the_manifest_declares(
    name: str, built: dict[str, BuiltSample]
) -> None:
    """Names, datatypes and shapes; -1 stands for any size."""
    sample = built[name]
    manifest = sample.manifest()
    for specs, tensors in (
        (manifest.inputs, sample.sample_request()),
        (manifest.outputs, sample.known().answer),
    ):
        assert [spec.name for spec in specs] == list(tensors)
        for spec in specs:
            array = tensors[spec.name]
            assert datatypes.from_numpy(array.dtype) == spec.datatype
            assert array.ndim == len(spec.shape)
            assert all(want in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True))


@pytest.mark.parametrize("name", REAL)
def test_a_request_fits_one_inline_message(name: str, built: dict[str, BuiltSample]) -> None:
    """Sample requests stay below 1 MiB, where a payload would go through object storage."""
    request = built[name].sample_request()
    assert sum(array.nbytes for array in request.values()) < 1 << 20


def test_fine_tuning_turned_the_order_round(
    built: dict[str, BuiltSample], wheels: WheelFolder
) -> None:
    """The base model puts the held-out sentences together by topic, the tuned one does not."""
    base = catalogue.reference("minilm", built["minilm"], wheels)
    for name in ("minilm-19", "minilm-20"):
        sample = built[name]
        assert sample.right(sample.known().answer)
        assert not sample.right(base(sample.sample_request()))


def test_variants_differ_from_each_other_and_still_make_sense(wheels: WheelFolder) -> None:
    """Two seeds give other vectors for the same sentence, and the same order of similarities."""
    base = minilm.state(wheels)
    request = minilm.request(wheels)
    first, second = (
        minilm.encoder(variants.perturbed(base, seed))(request)["embedding"] for seed in (1, 2)
    )
    for rows in (first, second):
        assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.3
    assert 0.8 < first[0] @ second[0] < 0.99


def test_a_variant_shares_the_program_and_the_embeddings_of_its_base(
    built: dict[str, BuiltSample],
) -> None:
    """More than half the bytes of a variant are blobs of the base."""
    base = {entry.sha256 for entry in built["minilm"].manifest().files}
    for name in ("minilm-01", "minilm-19"):
        files = built[name].manifest().files
        shared = [entry for entry in files if entry.sha256 in base]
        assert any(entry.name.startswith("program") for entry in shared)
        assert sum(entry.size for entry in shared) > 0.5 * sum(entry.size for entry in files)
