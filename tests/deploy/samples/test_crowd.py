"""Models by the hundred: each its own, and all of one program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploy.samples import catalogue
from deploy.samples.models import crowd, minilm
from deploy.samples.sample import Sample
from deploy.samples.store import BuiltSample
from deploy.samples.wheels import WheelFolder
from shared.errors import NotFound

STATE = Path(__file__).resolve().parents[3] / ".warmroute"


def made(samples: list[Sample], wheels: WheelFolder) -> list[BuiltSample]:
    return catalogue.build_all(STATE / "samples", wheels.folder, samples=samples)


def test_networks_have_a_program_in_common_and_no_weights(wheels: WheelFolder) -> None:
    """About as many megabytes as their name says, and answers that are neither tiny nor huge."""
    first, second = made([crowd.mlp(0, 1), crowd.mlp(1, 1)], wheels)
    common = {one.sha256 for one in first.stamp.files} & {one.sha256 for one in second.stamp.files}
    assert [one.name for one in first.stamp.files if one.sha256 in common] == ["program.json"]
    assert second.total_bytes == pytest.approx(1.05e6, rel=0.1)
    answers = [built.known().answer["output"] for built in (first, second)]
    assert not np.allclose(*answers, atol=0.1)
    assert all(0.1 < np.abs(answer).max() < 100 for answer in answers)


def test_light_variants_share_all_but_two_matrices(wheels: WheelFolder) -> None:
    """And still answer differently from each other and from MiniLM."""
    variants = [crowd.bert(number, light=True) for number in (0, 1)]
    base, first, second = made([minilm.SAMPLE, *variants], wheels)
    known = {one.sha256 for one in base.stamp.files}
    for variant in (first, second):
        own = sum(one.size for one in variant.stamp.files if one.sha256 not in known)
        assert own == pytest.approx(4.7e6, rel=0.05)
    answers = [built.known().answer["embedding"] for built in (base, first, second)]
    assert not np.allclose(answers[0], answers[1], atol=5e-3)
    assert not np.allclose(answers[1], answers[2], atol=5e-3)


@pytest.mark.parametrize("name", ["bert-007", "light-012", "mlp-20mb-003", "mlp-200mb-000"])
def test_a_model_is_found_by_its_name(name: str) -> None:
    """So that another process can make the same."""
    assert crowd.find(name).name == name


@pytest.mark.parametrize("name", ["minilm", "bert", "mlp-3mb-000", "mlp-20mb-x", "identity-fp32"])
def test_other_names_are_not_found(name: str) -> None:
    """They are told, with the names there are."""
    with pytest.raises(NotFound, match="bert-<number>"):
        crowd.find(name)
