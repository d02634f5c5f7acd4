"""Control runs: a fault that hits something else is not taken for one that happened."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.chaos.controls import CONTROLS, Yard, noticed, open_yard
from tests.chaos.faults.sickness import impossible
from tests.chaos.schedule import Make, other_faults, worker_faults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """One gateway and one worker, which nothing happens to."""
    with open_yard(tmp_path_factory.mktemp("chaos") / "yard") as opened:
        yield opened


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_fault_that_misses_its_target_fails_its_verification(yard: Yard, kind: str) -> None:
    """The target is untouched, and everything else of its kind was hit."""
    if kind in impossible(yard.ground.folder):
        pytest.skip("no file system may be mounted here")
    assert noticed(yard, kind)


def test_every_kind_of_fault_has_a_control_run(yard: Yard) -> None:
    """Whatever a chaos run may inject."""
    makes: list[Make] = [*worker_faults(yard.ground, yard.history), *other_faults(yard.ground)]
    made = {make(random.Random(0)).kind for make in makes}
    assert made == set(CONTROLS) - impossible(yard.ground.folder)
