"""The wheels and the made samples of this checkout: had once, then there for every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.samples import catalogue
from deploy.samples.store import BuiltSample
from deploy.samples.wheels import WheelFolder, fetch
from tests.deploy.samples.chosen import NAMES

STATE = Path(__file__).resolve().parents[3] / ".warmroute"


@pytest.fixture(scope="session")
def wheels() -> WheelFolder:
    wanted = [wheel for sample in catalogue.SAMPLES for wheel in sample.wheels]
    return fetch(wanted, STATE / "wheels")


@pytest.fixture(scope="session")
def built(wheels: WheelFolder) -> dict[str, BuiltSample]:
    samples = [catalogue.find(name) for name in NAMES]
    made = catalogue.build_all(STATE / "samples", wheels.folder, samples=samples)
    return {sample.name: sample for sample in made}
