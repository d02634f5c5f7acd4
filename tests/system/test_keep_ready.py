"""Loads, unloads, pins, sessions and preloads on a real gateway and a real worker."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from shared.manifest import parse
from shared.policy import Policy
from tests.helpers.models import Mlp, publish_mlp
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.conftest import open_stack
from warmroute import Rejected

SIZE = 1_000_000
ROOM = 3  # models of that size, and a little

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One gateway, and one worker that holds three models of a megabyte."""
    folder = tmp_path_factory.mktemp("ready")
    with open_stack(folder, WARMROUTE_MEMORY_BYTES=str(int(SIZE * (ROOM + 0.5)))) as made:
        made.add_gateway()
        made.add_worker()
        yield made


@pytest.fixture
def mlp(stack: Stack) -> Mlp:
    """A model that nobody has asked for."""
    return publish_mlp(stack.repository, stack.folder, size=SIZE)


def fill(stack: Stack) -> None:
    """Ask for as many other models as the worker has room for, and one more."""
    for _ in range(ROOM + 1):
        other = publish_mlp(stack.repository, stack.folder, size=SIZE)
        question = other.question()
        assert other.right(question, stack.client().infer(other.name, question)["y"])


def test_a_model_is_loaded_unloaded_and_loaded_again_on_demand(stack: Stack, mlp: Mlp) -> None:
    """After a load the first request is warm, after an unload it is cold."""
    client, question = stack.client(), mlp.question()
    assert client.load(mlp.name)["workers"] == ["worker-1"]
    assert client.infer(mlp.name, question).cold is False
    assert client.unload(mlp.name)["versions"][0]["freed"] == ["worker-1"]
    assert stack.holders(mlp.name) == []
    answer = client.infer(mlp.name, question)
    assert answer.cold and mlp.right(question, answer["y"])


def test_a_pinned_model_stays_whatever_is_asked_for(stack: Stack, mlp: Mlp) -> None:
    """It is not unloaded either, until the pin is taken back."""
    client = stack.client()
    client.set_policy(mlp.name, {"pin": True})
    client.load(mlp.name)
    fill(stack)
    assert stack.holders(mlp.name) == ["worker-1"]
    with pytest.raises(Rejected, match="pinned by its policy"):
        client.unload(mlp.name)
    client.set_policy(mlp.name, {"pin": None})
    client.unload(mlp.name)
    assert stack.holders(mlp.name) == []


def test_the_models_of_a_session_stay_until_it_ends(stack: Stack, mlp: Mlp) -> None:
    """It loads them, keeps them for as long as its block runs, and lets them go then."""
    client = stack.client()
    with client.session([mlp.name], ttl=60) as session:
        assert [model["state"] for model in session.models] == ["ready"]
        fill(stack)
        assert client.infer(mlp.name, mlp.question()).cold is False
        with pytest.raises(Rejected, match=f"pinned by sessions: {session.id}"):
            client.unload(mlp.name)
    client.unload(mlp.name)
    assert stack.holders(mlp.name) == []


def test_what_the_manifest_wants_preloaded_is_there_before_anybody_asks(
    stack: Stack, mlp: Mlp
) -> None:
    """A gateway that starts, or a push, has it loaded."""
    raw = stack.repository.read_manifest(mlp.name, 1)
    wanted = msgspec.structs.replace(
        parse(raw, name=mlp.name, version=1), version=2, residency=Policy(preload=True)
    )
    stack.repository.put_manifest(mlp.name, 2, wanted.encode())
    stack.add_gateway()
    block_until(lambda: stack.holders(mlp.name) == ["worker-1"], 60)
    assert stack.client().infer(mlp.name, mlp.question()).cold is False


def test_a_least_number_of_copies_is_kept(stack: Stack, mlp: Mlp) -> None:
    """Also when the worker that had one is killed."""
    client = stack.client()
    client.set_policy(mlp.name, {"min_copies": 1})
    block_until(lambda: stack.holders(mlp.name) == ["worker-1"])
    second = stack.add_worker()
    stack.kill(stack.worker("worker-1"))
    block_until(lambda: stack.holders(mlp.name) == [second.name], 60)
