"""GET and PUT of residency policies over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.policy import Affinity, Policy
from tests.helpers.cell import Cell
from tests.helpers.fleet import Fleet, fleet_of, publish_made_up

POLICY = "/v2/models/bert/policy"
WRONG: list[tuple[Any, str]] = [
    ({}, "policy: want an object with some of min_copies, max_copies"),
    ([], "body: want an object with min_copies"),
    ({"pins": True}, "pins: no such field, want min_copies"),
    ({"affinity": {"key": "x"}}, "affinity: no such field"),
    ({"pin": 1}, "pin: Expected `bool`"),
    ({"min_copies": -1}, "min_copies: Expected `int` >= 0"),
    ({"min_copies": 1025}, "min_copies: Expected `int` <= 1024"),
    ({"min_copies": True}, "min_copies: Expected `int`"),
    ({"priority": 10}, "priority: Expected `int` <= 9"),
    ({"priority": "high"}, "priority: Expected `int`"),
    ({"idle_ttl_s": 1e12}, "idle_ttl_s: Expected `float` <= 31536000"),
    ({"fraction": 1.5}, "fraction: Expected `float` <= 1"),
    ({"pin": True, "priority": 0}, "priority: Expected `int` >= 1"),
    ({"min_copies": 3, "max_copies": 2}, "max_copies: 2 is below the 3 copies"),
]


@pytest.fixture
async def fleet(cell: Cell, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A gateway whose repository has `bert`, of priority 3 and at least one copy."""
    given = Policy(priority=3, min_copies=1, affinity=Affinity("nlp"))
    publish_made_up(tmp_path, "bert", residency=given)
    async with fleet_of(cell, tmp_path) as made:
        yield made


async def ref(fleet: Fleet) -> str:
    return str((await fleet.gateway.context.catalog.resolve("bert")).ref)


async def test_the_policy_in_force_is_shown_beside_what_made_it(fleet: Fleet) -> None:
    """The manifest's, and what the API overrides of it."""
    status, _, said = await fleet.ask("GET", POLICY)
    assert (status, said["name"], said["version"], said["overrides"]) == (200, "bert", "1", {})
    assert said["policy"] == said["manifest"]
    assert (said["policy"]["priority"], said["policy"]["affinity"]["key"]) == (3, "nlp")


async def test_fields_are_overridden_one_by_one_and_taken_back(fleet: Fleet) -> None:
    """What a PUT does not name stays as it was; null is the manifest's own again."""
    await fleet.ask("PUT", POLICY, {"pin": True, "priority": 1})
    _, _, said = await fleet.ask("PUT", POLICY, {"idle_ttl_s": 1.5, "priority": None})
    assert said["overrides"] == {"idle_ttl_s": 1.5, "pin": True}
    assert (said["policy"]["pin"], said["policy"]["priority"]) == (True, 3)
    path = "/v2/models/bert/versions/1/policy"
    assert (await fleet.ask("GET", path))[2] == said


async def test_an_override_is_what_the_scripts_go_by(fleet: Fleet) -> None:
    """A pinned model is not unloaded, and a least number of copies is ordered by the sweep."""
    epoch = await fleet.worker()
    await fleet.ask("PUT", POLICY, {"pin": True, "min_copies": 1})
    await fleet.cell.scripts.reconcile()
    await fleet.hold("w1", epoch, await ref(fleet))
    assert await fleet.cell.scripts.retire("w1", epoch, await ref(fleet), "", "evict") == "pinned"


async def test_preload_has_the_model_loaded_now(fleet: Fleet) -> None:
    """Or as soon as a worker is there; after an unload, not any more."""
    await fleet.ask("PUT", POLICY, {"preload": True, "min_copies": 0})
    await fleet.worker()
    assert (await fleet.ask("PUT", POLICY, {"preload": True}))[0] == 200
    assert await fleet.cell.token(await ref(fleet))
    await fleet.cell.client.delete(fleet.cell.keys.load(await ref(fleet)))
    assert (await fleet.ask("POST", "/v2/repository/models/bert/unload"))[0] == 200
    said = (await fleet.ask("GET", POLICY))[2]
    assert (said["policy"]["preload"], said["overrides"]["preload"]) == (False, False)


async def test_what_is_wrong_is_named_and_nothing_is_changed(fleet: Fleet) -> None:
    """400 with the field and what it may be; the fields that were right are not set either."""
    for document, told in WRONG:
        status, headers, said = await fleet.ask("PUT", POLICY, document)
        assert (status, headers["Warmroute-Error"]) == (400, "invalid")
        assert said["error"].startswith(told)
    assert await fleet.cell.client.exists(fleet.cell.keys.policy(await ref(fleet))) == 0


async def test_fields_must_go_together_with_those_that_were_set_before(fleet: Fleet) -> None:
    """The whole policy is checked, not the one field."""
    assert (await fleet.ask("PUT", POLICY, {"min_copies": 2}))[0] == 200
    assert (await fleet.ask("PUT", POLICY, {"max_copies": 1}))[0] == 400
    assert (await fleet.ask("PUT", POLICY, {"max_copies": 1, "min_copies": None}))[0] == 200


@pytest.mark.parametrize("verb", ["GET", "PUT"])
async def test_an_unknown_model_has_no_policy(fleet: Fleet, verb: str) -> None:
    """404."""
    document = {"pin": True} if verb == "PUT" else None
    assert (await fleet.ask(verb, "/v2/models/nobody/policy", document))[0] == 404
    assert (await fleet.ask(verb, "/v2/models/bert/versions/9/policy", document))[0] == 404


async def test_another_verb_is_told_which_there_are(fleet: Fleet) -> None:
    """405 with Allow."""
    status, headers, _ = await fleet.ask("DELETE", POLICY)
    assert (status, headers["Allow"]) == (405, "GET, HEAD, OPTIONS, PUT")
