"""The stack that the tour walks through: an S3 server, Redis, gateways and workers, all real.

The steps share it, because starting it takes longer than most of them. Each begins with one gateway
and one worker, and with models of its own, which nobody has asked for before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from deploy.samples import catalogue
from deploy.samples.store import BuiltSample
from tests.helpers import samples
from tests.helpers.models import Mlp, Slow, publish_mlp, publish_slow
from tests.helpers.stack import Stack

BUDGET = 10_000_000
REAL = ("crepe-tiny", "silero-vad", "magika")


@pytest.fixture(scope="session")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A cell whose workers hold 10 MB of models each."""
    settings = {"WARMROUTE_MEMORY_BYTES": str(BUDGET)}
    with Stack(tmp_path_factory.mktemp("tour"), None, settings) as stack:
        yield stack


@pytest.fixture
def stack(tour: Stack) -> Stack:
    """The cell with one gateway and one worker, whatever the step before did to them."""
    tour.scale(gateways=1, workers=1)
    return tour


@pytest.fixture
def new_model(tour: Stack) -> Callable[..., Mlp]:
    """Publishes a small network; `size` in bytes."""
    return lambda size=8192: publish_mlp(tour.repository, tour.folder, size=size)


@pytest.fixture
def mlp(new_model: Callable[..., Mlp]) -> Mlp:
    """A small network that is in the repository, and not on any worker."""
    return new_model()


@pytest.fixture
def slow(tour: Stack) -> Slow:
    """A model that takes as long as it is asked to; on no worker either."""
    return publish_slow(tour.repository, tour.folder)


@pytest.fixture(scope="session")
def real_models(tour: Stack) -> list[BuiltSample]:
    """Three really pretrained models: they hear a note, hear speech, and know kinds of files."""
    built = samples.built(REAL)
    catalogue.publish_all(tour.repository, built)
    return built
