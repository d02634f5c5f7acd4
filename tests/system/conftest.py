"""One cell of real processes for all of these tests, over a folder as repository.

Tests use models of their own. Who needs a worker to itself, or other settings, opens a stack too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from deploy.samples import catalogue
from deploy.samples.sample import Model
from tests.helpers import samples
from tests.helpers.http import exchange
from tests.helpers.models import Mlp, Slow, publish_mlp, publish_slow
from tests.helpers.stack import Stack
from tests.helpers.terminal import Terminal
from tests.system.setup import (
    MAX_BODY_BYTES,
    UNLOADABLE_S,
    Broken,
    Refusal,
    Refused,
    open_stack,
)


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The shared cell."""
    folder = tmp_path_factory.mktemp("system")
    settings = {
        "WARMROUTE_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "WARMROUTE_UNLOADABLE_S": str(UNLOADABLE_S),
        "WARMROUTE_CATALOG_TTL_S": "0.5",
    }
    with open_stack(folder, **settings) as stack:
        yield stack


@pytest.fixture
def stack(system: Stack) -> Stack:
    """The cell with one gateway and one worker."""
    system.scale(gateways=1, workers=1)
    return system


@pytest.fixture
def mlp(system: Stack) -> Mlp:
    """A small network that nobody has asked yet."""
    return publish_mlp(system.repository, system.folder)


@pytest.fixture
def slow(system: Stack) -> Slow:
    """A model that takes as long as it is asked to."""
    return publish_slow(system.repository, system.folder)


@pytest.fixture
def refused(stack: Stack) -> Iterator[Refused]:
    """Sends bytes that must be refused: as the client's fault, in our words, leaving no trace."""
    gateway = stack.gateways[0]
    before, logged = stack.traces(), len(gateway.log)

    def send(sent: bytes) -> Refusal:
        answer = exchange(gateway.url, sent)
        assert 400 <= answer.status < 500, answer
        assert answer.headers["content-type"].startswith("application/json"), answer
        document = answer.json()
        assert list(document) == ["error"]
        return Refusal(answer.status, document["error"])

    yield send
    assert stack.traces() <= before
    assert "Traceback" not in gateway.log[logged:]
    assert stack.http("GET", "/v2/health/ready").status == 200


@pytest.fixture
def broken(stack: Stack, mlp: Mlp, request: pytest.FixtureRequest) -> Broken:
    """A model of its own for the test, not written yet."""
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    return Broken(stack, mlp, f"broken-{digest}")


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One gateway, one worker and the tiny sample, under the cell name of the examples."""
    with open_stack(tmp_path_factory.mktemp("readme"), WARMROUTE_CELL="warmroute") as stack:
        catalogue.publish_all(stack.repository, samples.built(["tiny-mlp"]))
        stack.add_gateway()
        stack.add_worker()
        yield stack


@pytest.fixture(scope="module")
def tiny() -> Model:
    """The model of the documents' examples, in plain torch."""
    (built,) = samples.built(["tiny-mlp"])
    return built.sample.reference(None, built.files)


@pytest.fixture(scope="module")
def terminal(cell: Stack, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A terminal beside the stack of the documents."""
    return Terminal(cell, tmp_path_factory.mktemp("checkout"))
