"""What is pinned, is pinned once and completely."""

from __future__ import annotations

import re
import tomllib

from deploy.local import install
from tests.contract.sources import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in requirements}


def test_every_dependency_has_an_exact_version_in_the_constraints() -> None:
    """So two installations of one commit are the same."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    wanted = names(PROJECT["dependencies"]) | {n for extra in EXTRAS.values() for n in names(extra)}
    assert wanted - names(pins) == set()


def test_the_installer_and_the_extra_name_the_same_torch() -> None:
    """The installer fetches torch by itself, before the rest."""
    assert install.TORCH in EXTRAS["worker"]
    assert install.TORCH in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_installers_profiles_exist_as_extras() -> None:
    """`make venv` and `make test` ask for extras that pyproject.toml has; all of them but the one
    that takes the place of another."""
    asked = {extra for profile in install.EXTRAS.values() for extra in profile.split(",")}
    assert asked == set(EXTRAS) - {"worker-gpu"}


def test_a_worker_for_gpus_differs_by_its_onnxruntime_only() -> None:
    """The two builds are one package under two names: both at once would break."""
    cpu, gpu = names(EXTRAS["worker"]), names(EXTRAS["worker-gpu"])
    assert (cpu - gpu, gpu - cpu) == ({"onnxruntime"}, {"onnxruntime-gpu"})
