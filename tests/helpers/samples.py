"""The sample models of this checkout, made below `.warmroute` once and found there ever after."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deploy.samples import catalogue
from deploy.samples.store import BuiltSample
from deploy.samples.wheels import WheelFolder, fetch

STATE = Path(__file__).resolve().parents[2] / ".warmroute"
NAMES = [sample.name for sample in catalogue.SAMPLES]


def built(names: Iterable[str]) -> list[BuiltSample]:
    """Samples by name. The variants of a model need that model made before them."""
    samples = [catalogue.find(name) for name in names]
    return catalogue.build_all(STATE / "samples", STATE / "wheels", samples=samples)


def wheels() -> WheelFolder:
    """The packages that the samples were read out of."""
    wanted = [wheel for sample in catalogue.SAMPLES for wheel in sample.wheels]
    return fetch(wanted, STATE / "wheels")
