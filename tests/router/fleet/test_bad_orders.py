"""Loads, unloads and sessions that are asked for wrongly: the field is named, nothing is begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from router.fleet import model_control
from router.rest.endpoints.sessions import MAX_MODELS
from tests.helpers.cell import Cell
from tests.helpers.cell_state import state
from tests.helpers.fleet import Fleet, fleet_of, publish_made_up
from tests.helpers.wait import wait_until

LOAD, UNLOAD = (f"/v2/repository/models/bert/{verb}" for verb in ("load", "unload"))
SESSIONS = "/v2/sessions"
# Tables, and loops over them: a gateway takes longer to start than to answer.
PARAMETERS: list[tuple[Any, str]] = [
    ({"parameters": {"configuration": "{}"}}, "parameters.configuration: no such field, want"),
    ({"parameters": {"unload_dependents": 1}}, "parameters.unload_dependents: "),
    ({"parameters": []}, "parameters: want an object"),
    ({"parameter": {}}, "parameter: no such field, want parameters"),
    ({"parameters": {"timeout": 0}}, "parameters.timeout: want a positive number"),
    ({"parameters": {"timeout": 1.5}}, "parameters.timeout: want a positive number"),
    ({"parameters": {"timeout": 2**62}}, "parameters.timeout: over the limit of 3600000000"),
    ([1], "body: want an object with parameters"),
    ("text", "body: want an object with parameters"),
]
FIELDS: list[tuple[Any, str]] = [
    ({}, "models: want a list of 1 to 256 models"),
    ({"models": []}, "models: want a list of 1 to 256 models"),
    ({"models": "bert"}, "models: want a list of 1 to 256 models"),
    ({"models": ["bert"] * (MAX_MODELS + 1)}, "models: want a list of 1 to 256 models"),
    ({"models": ["bert", "bert"]}, "models[1]: the same model as models[0]"),
    ({"models": ["bert", {"name": "bert", "version": 1}]}, "models[1]: the same model"),
    ({"models": [7]}, "models[0]: want a model's name, or an object"),
    ({"models": [{"name": "bert", "tag": "x"}]}, "models[0].tag: no such field"),
    ({"models": [{"version": 1}]}, "models[0].name: want"),
    ({"models": [{"name": "bert", "version": 0}]}, "models[0].version: want an integer"),
    ({"models": [{"name": "bert", "version": True}]}, "models[0].version: want an integer"),
    ({"models": [{"name": "bert", "version": None}]}, "models[0].version: want an integer"),
    ({"models": ["a b"]}, "model name 'a b': want 1 to 128"),
    ({"models": ["bert"], "ttl": 5}, "ttl: no such field, want models, ttl_s, id and wait"),
    ({"models": ["bert"], "ttl_s": 0.5}, "ttl_s: want 1 to 86400 seconds"),
    ({"models": ["bert"], "ttl_s": 86401}, "ttl_s: want 1 to 86400 seconds"),
    ({"models": ["bert"], "ttl_s": True}, "ttl_s: want 1 to 86400 seconds"),
    ({"models": ["bert"], "ttl_s": "60"}, "ttl_s: want 1 to 86400 seconds"),
    ({"models": ["bert"], "id": ""}, "id: want 1 to 64 of A-Z"),
    ({"models": ["bert"], "id": "a b"}, "id: want 1 to 64 of A-Z"),
    ({"models": ["bert"], "id": "x" * 65}, "id: want 1 to 64 of A-Z"),
    ({"models": ["bert"], "id": "x\n"}, "id: want 1 to 64 of A-Z"),
    ({"models": ["bert"], "id": 7}, "id: want 1 to 64 of A-Z"),
    ({"models": ["bert"], "wait": 1}, "wait: want true or false"),
]
NO_JSON = [
    b"{", b'{"a": 1', b"\xff\xfe{}", b"[" * 50_000, b'{"parameters": {}, "parameters": {}}',
    b'{"parameters": {"timeout": 1, "timeout": 2}}', b'{"parameters": NaN}', b"\x00", b"\xff",
    b'{"parameters": "\\ud800"}',
]  # fmt: skip


@pytest.fixture
async def fleet(cell: Cell, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A gateway whose repository has `bert`, and a worker."""
    publish_made_up(tmp_path, "bert")
    async with fleet_of(cell, tmp_path) as made:
        await made.worker()
        yield made


async def kinds(fleet: Fleet) -> set[str]:
    """Keys of the cell that speak of models or sessions."""
    found = await state(fleet.cell)
    words = ("load:", "orders:", "policy:", "session", "pinned:", "min_copies", "stats:", "rq:")
    prefix = fleet.cell.keys.prefix + ":"
    return {key for key in found if key.removeprefix(prefix).startswith(words)}


async def test_a_wrong_parameter_of_a_load_or_unload_is_named(fleet: Fleet) -> None:
    """400, at both."""
    for (document, told), path in product(PARAMETERS, (LOAD, UNLOAD)):
        status, headers, said = await fleet.ask("POST", path, document)
        assert (status, headers["Warmroute-Error"]) == (400, "invalid")
        assert said["error"].startswith(told)
    assert await kinds(fleet) == set()


async def test_what_is_no_json_is_refused(fleet: Fleet) -> None:
    """400 and a sentence about the body, or about the field that is not ours."""
    for path, raw in product((LOAD, UNLOAD, SESSIONS, "/v2/models/bert/policy"), NO_JSON):
        verb = "PUT" if path.endswith("policy") else "POST"
        status, headers, said = await fleet.ask(verb, path, raw=raw)
        assert (status, headers["Warmroute-Error"]) == (400, "invalid"), (path, raw[:50])
        assert said["error"].startswith(("body: ", "a: no such field"))
    assert await kinds(fleet) == set()


async def test_a_model_that_is_not_there_is_not_loaded_or_unloaded(fleet: Fleet) -> None:
    """404, or 400 if it can be nobody's name."""
    unknown = dict.fromkeys(("nobody", "bert/versions/9", "bert/versions/0"), 404)
    no_names = ("..bert", "bert%0Aload", "%F0%9F%A4%96", "b" * 129, "blobs")
    names = unknown | dict.fromkeys(no_names, 400)
    for (name, status), verb in product(names.items(), ("load", "unload")):
        assert (await fleet.ask("POST", f"/v2/repository/models/{name}/{verb}"))[0] == status
    assert await kinds(fleet) == set()


async def test_a_wrong_field_of_a_session_is_named(fleet: Fleet) -> None:
    """400 with the limit; no session is opened."""
    for document, told in FIELDS:
        status, headers, said = await fleet.ask("POST", SESSIONS, document)
        assert (status, headers["Warmroute-Error"]) == (400, "invalid")
        assert said["error"].startswith(told)
    assert await kinds(fleet) == set()


async def test_a_session_of_an_unknown_model_is_not_opened(fleet: Fleet) -> None:
    """404 with its name; the others are not pinned."""
    status, _, said = await fleet.ask("POST", SESSIONS, {"models": ["bert", "nobody"]})
    assert (status, said["error"]) == (404, "model 'nobody' is not in the repository")
    assert await kinds(fleet) == set()


async def test_an_id_that_is_none_is_an_unknown_session(fleet: Fleet) -> None:
    """404 for every verb, and no key of that name is looked at."""
    names = ["a%20b", "%00", "x" * 65, "%F0%9F%A4%96", "-", "a%2Fb"]
    calls = (("GET", ""), ("DELETE", ""), ("POST", "/heartbeat"))
    for name, (verb, path) in product(names, calls):
        assert (await fleet.ask(verb, f"{SESSIONS}/{name}{path}"))[0] == 404


async def test_a_wrong_heartbeat_changes_nothing(fleet: Fleet) -> None:
    """400 with the field; a session that nobody knows is 404."""
    await fleet.ask("POST", SESSIONS, {"models": ["bert"], "id": "mine"})
    before = await fleet.cell.client.zscore(fleet.cell.keys.sessions, "mine")
    for document in ({"ttl_s": 0}, {"ttl": 60}, [60]):
        assert (await fleet.ask("POST", f"{SESSIONS}/mine/heartbeat", document))[0] == 400
    assert await fleet.cell.client.zscore(fleet.cell.keys.sessions, "mine") == before
    assert (await fleet.ask("POST", f"{SESSIONS}/other/heartbeat", {"ttl_s": 60}))[0] == 404


async def test_a_body_that_is_too_large_is_not_read(fleet: Fleet) -> None:
    """413."""
    big = b'{"models": ["' + b"x" * (1 << 18) + b'"]}'
    assert (await fleet.ask("POST", SESSIONS, raw=big))[0] == 413
    assert (await fleet.ask("POST", LOAD, raw=big))[0] == 413


async def test_only_so_many_wait_for_models_at_one_gateway(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429, until one of them has gone: each of them asks Redis again and again."""
    monkeypatch.setattr(model_control, "MAX_WAITING", 2)
    waiting = [asyncio.create_task(fleet.ask("POST", LOAD)) for _ in range(2)]
    await wait_until(lambda: fleet.gateway.context.control.waiting == 2)
    status, headers, _ = await fleet.ask("POST", UNLOAD)
    assert (status, headers["Warmroute-Error"]) == (429, "overloaded")
    for task in waiting:
        task.cancel()
    await wait_until(lambda: fleet.gateway.context.control.waiting == 0)
    assert (await fleet.ask("POST", LOAD, Prefer="respond-async"))[0] == 202
