"""One sick worker beside healthy ones: it costs no request, and says what is wrong with it.

Its controls: a worker to which nothing happens does not pass for a sick one, and one whose cure is
switched off by a planted bug makes requests fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.faults.sickness import SICKNESSES, LostDevice, Sickness, possible
from tests.chaos.ground import Ground
from tests.chaos.sick_worker import Trial

PLANTED = Path(__file__).parent / "planted"
LEAST_SHARE = 0.25  # beside two busy processes 0.47 to 1.68; `python -m tests.chaos --sick` wants 0.9

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Three workers."""
    with Ground(tmp_path_factory.mktemp("chaos") / "sick", workers=3, gateways=1) as ground:
        ground.start()
        yield Trial(ground)


@pytest.mark.parametrize("way", SICKNESSES, ids=lambda way: way.kind)
def test_a_sick_worker_costs_no_request_and_says_why(trial: Trial, way: type[Sickness]) -> None:
    """No request fails that a healthy one could serve, no model is quarantined."""
    if way not in possible(trial.ground.folder):
        pytest.skip("no file system may be mounted here")
    found = trial.run(way)
    print(found.line())
    assert found.wrong == []
    assert found.ratio >= LEAST_SHARE, found.line()


class Nothing(Sickness):
    """Nothing happens to it."""

    kind = "nothing"
    said = "No space left"
    patience_s = 3.0


def test_a_worker_to_which_nothing_happens_is_not_taken_for_a_sick_one(trial: Trial) -> None:
    """It is started again likewise, and reports no reason."""
    found = trial.run(Nothing)
    assert "does not say 'No space left'" in found.reason and found.failed == []


class Untested(LostDevice):
    """A worker whose device fails every call, and which does not test it."""

    kind = "device that fails every call, without self-tests"
    patience_s = 3.0

    def settings(self) -> dict[str, str]:
        return {**super().settings(), "PYTHONPATH": str(PLANTED)}


def test_without_self_tests_callers_see_a_device_that_fails(trial: Trial) -> None:
    """So the trial would notice if they were gone."""
    found = trial.run(Untested)
    assert found.failed and found.reason
