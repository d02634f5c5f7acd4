"""Every command and every piece of code in deploy/docs does what it says, on a real stack.

The text of each block is run as it stands; only `<id>`, `<worker>`, `<model>` and `<entry>` are
filled in.
"""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import numpy as np
import pytest

from deploy.samples.sample import Model
from tests.helpers import documents
from tests.helpers.documents import OUTPUT, RUN, Block, runs
from tests.helpers.models import publish_slow
from tests.helpers.stack import Stack
from tests.helpers.terminal import Terminal
from tests.helpers.wait import block_until
from tests.system.examples import NUMBERS, right, status_of, write_body

# Files that are quoted, and a line of a log: compared in tests/contract/test_docs.py. The rules of
# a user of Redis: test_redis_of_companies.py gives them to one.
QUOTED = [
    ("README.md", "In production", OUTPUT, 0),
    ("operations.md", "Processes", OUTPUT, 0),
    ("operations.md", "Redis", OUTPUT, 0),
    ("operations.md", "Finding a failed request", OUTPUT, 0),
]
TOOLS = {"apt", "curl", "docker", "pip", "python3", "redis-cli", "rq", "sh", "sudo", "wget"}


def test_every_block_is_run_by_a_test() -> None:
    """A command that is added to a page needs one. `make` has its own (see test_readme.py)."""
    importlib.import_module("tests.system.test_readme")  # it runs some of them
    make = [key for key in documents.all_keys() if _is_make(documents.block(*key))]
    assert sorted(documents.all_keys()) == sorted({*RUN, *QUOTED, *make})
    assert len(RUN) == len(set(RUN))


def _is_make(block: Block) -> bool:
    return block.language == "sh" and all(c.startswith("make ") for c in block.commands)


def test_no_command_hides_in_a_sentence() -> None:
    """In backticks there are `make`, `warmroute` and `python -m`, which are checked elsewhere."""
    assert {code for code in documents.codes() if code.split()[0] in TOOLS} == set()


@runs(("streams.md", "Redis streams", "sh", 0))
def test_the_redis_cli_example_is_answered_on_its_stream(
    terminal: Terminal, tiny: Model, blocks: list[Block]
) -> None:
    """The second command waits for the answer of the first."""
    (block,) = blocks
    entry, answer = (terminal.run(command) for command in block.commands)
    assert re.fullmatch(r"\d+-\d+\n", entry)
    stream, _, *rest = answer.splitlines()
    fields = dict(zip(rest[::2], rest[1::2], strict=True))
    assert (stream, fields["status"]) == ("my-answers", "succeeded")
    assert right(json.loads(fields["body"]), tiny)


@runs(("http-api.md", "Submit and poll", "sh", 0))
def test_a_request_is_submitted_and_asked_for_later(
    terminal: Terminal, tiny: Model, blocks: list[Block]
) -> None:
    """202 with the place, then the response; what has ended cannot be taken back."""
    (block,) = blocks
    submit, ask, take_back = block.commands
    write_body(terminal)
    accepted = terminal.run(submit)
    assert status_of(accepted) == 202
    location = re.search(r"^Location: /v2/requests/([0-9a-f]{32})\r?$", accepted, re.MULTILINE)
    assert location
    ended = json.loads(terminal.run(ask, id=location[1]))
    assert ended["status"] == "succeeded" and right(ended["response"], tiny)
    assert status_of(terminal.run(take_back, id=location[1])) == 409


@runs(("cli.md", "Durable requests", "sh", 0))
def test_a_request_is_submitted_by_command(
    terminal: Terminal, tiny: Model, blocks: list[Block]
) -> None:
    """The id is all that is printed; what has ended is in no list."""
    ((submit, get, wait, listing),) = (block.commands for block in blocks)
    request_id = terminal.run(submit).strip()
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    outputs = json.loads(terminal.run(f"{get} --json", id=request_id))["outputs"]
    assert np.allclose(outputs["output"], tiny({"input": NUMBERS})["output"], 1e-4, 1e-5)
    assert re.search(rf"^ {request_id} +succeeded", terminal.run(wait, id=request_id), re.MULTILINE)
    assert request_id not in terminal.run(listing)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_preference_to_wait_returns_the_answer_if_it_comes_in_time(terminal: Terminal) -> None:
    """`Prefer: respond-async` with `wait=5`, as the table of headers says."""
    assert {"Prefer: respond-async", "wait=5"} <= set(documents.codes("http-api.md"))
    write_body(terminal)
    submit = documents.block("http-api.md", "Submit and poll", "sh").commands[0]
    command = submit.replace("respond-async", "respond-async, wait=5")
    assert status_of(terminal.run(command)) == 200


@runs(("operations.md", "Processes", "sh", 0))
def test_one_more_worker_joins_and_leaves(
    terminal: Terminal, cell: Stack, blocks: list[Block]
) -> None:
    """It joins, and leaves on SIGTERM."""
    ((command,),) = (block.commands for block in blocks)
    before = set(cell.residency())
    with terminal.running(command):
        block_until(lambda: set(cell.residency()) - before, 60)
    block_until(lambda: set(cell.residency()) == before)


@runs(("operations.md", "Inspecting the fleet", "sh", 0))
def test_the_fleet_and_its_queues_can_be_seen(
    terminal: Terminal, cell: Stack, blocks: list[Block]
) -> None:
    """While a model is held, and requests wait."""
    (block,) = blocks
    residency, one, workers, events, loaded, entries, orders = block.commands
    slow = publish_slow(cell.repository, cell.folder)
    client = cell.client()
    client.infer(slow.name, slow.question(0.01))
    with slow.holding() as question:
        pending = client.submit(slow.name, question, timeout=600)
        assert re.search(rf"^ {slow.name} 1 +device", terminal.run(residency), re.MULTILINE)
        assert re.search(r"^ worker-1 +device ", terminal.run(one, model=slow.name), re.MULTILINE)
        assert re.search(r"^ worker-1 +cpu +ready ", terminal.run(workers), re.MULTILINE)
        told = terminal.run(events, model=slow.name)
        assert re.search(rf" loaded +{slow.name} 1 +worker-1 ", told)
        assert slow.name in {each["model"] for each in json.loads(terminal.run(loaded))["events"]}
        assert f"\n{slow.name}:1:" in terminal.run(entries, worker="worker-1")
        assert "cold" in terminal.run(orders)
    assert pending.result(timeout=60)


@runs(("operations.md", "Dead letters", "sh", 0))
def test_a_dead_letter_is_listed_shown_replayed_and_dropped(
    terminal: Terminal, cell: Stack, blocks: list[Block]
) -> None:
    """A stream entry for a model that nobody has: replayed it dies again, as a new letter."""
    ((listing, show, replay, drop),) = (block.commands for block in blocks)

    def letters() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(terminal.run(f"{listing} --json"))
        return found

    cell.redis.xadd(cell.keys.ingress, {"model": "no-such-model", "body": '{"inputs": []}'})
    block_until(lambda: cell.redis.xlen(cell.keys.dead_letters) == 1)
    (letter,) = letters()
    assert (letter["model"], letter["code"]) == ("no-such-model", "not_found")
    assert letter["entry"] in terminal.run(listing)
    shown = json.loads(terminal.run(show, entry=letter["entry"]))
    assert shown["request"] == {"inputs": []}
    assert "returned to the ingress stream" in terminal.run(replay, entry=letter["entry"])
    block_until(lambda: [each["entry"] for each in letters()] not in ([], [letter["entry"]]))
    terminal.run(drop)
    assert letters() == []


@runs(("residency.md", "Load and unload", "sh", 0))
def test_a_model_is_loaded_and_freed_by_command(
    terminal: Terminal, cell: Stack, blocks: list[Block]
) -> None:
    """Each returns when it is so."""
    ((load, unload),) = (block.commands for block in blocks)
    assert re.search(r"^ tiny-mlp +\d+ +READY +worker-1", terminal.run(load), re.MULTILINE)
    assert cell.holders("tiny-mlp") == ["worker-1"]
    assert re.search(r"^ tiny-mlp +\d+ +UNAVAILABLE +worker-1", terminal.run(unload), re.MULTILINE)
    assert cell.holders("tiny-mlp") == []


@runs(("residency.md", "Policies", "sh", 0))
def test_a_policy_is_overridden_and_set_back(terminal: Terminal, blocks: list[Block]) -> None:
    """The table says what is in force, and who set it."""
    ((override, back),) = (block.commands for block in blocks)
    assert re.search(r"^ pin +true +false +API", terminal.run(override), re.MULTILINE)
    assert re.search(r"^ priority +5 +5 +manifest", terminal.run(back), re.MULTILINE)


@runs(("residency.md", "Sessions", "python", 0))
def test_a_block_is_a_session(terminal: Terminal, blocks: list[Block]) -> None:
    """Its models are there."""
    (block,) = blocks
    assert "'state': 'ready'" in terminal.run_python(block.text)


@runs(("residency.md", "Sessions", "sh", 0))
def test_a_session_is_opened_kept_and_closed_by_command(
    terminal: Terminal, blocks: list[Block]
) -> None:
    """Under an id of one's own."""
    ((opened, listed, kept, closed),) = (block.commands for block in blocks)
    assert re.search(
        r"^ morning +\S+ +tiny-mlp +\d+ +ready +worker-1", terminal.run(opened), re.MULTILINE
    )
    assert re.search(r"^ morning +\S+ +tiny-mlp:\d+", terminal.run(listed), re.MULTILINE)
    assert re.search(r"^ morning +\S+", terminal.run(kept), re.MULTILINE)
    assert terminal.run(closed) == ""
    assert "morning" not in terminal.run(listed)


@runs(("client.md", "Python client", "python", 0))
def test_the_client_example_shows_shape_worker_and_cold(
    terminal: Terminal, blocks: list[Block]
) -> None:
    """One request."""
    assert re.fullmatch(r"\(1, 16\) worker-1 (True|False)\n", terminal.run_python(blocks[0].text))


@runs(("client.md", "Many requests", "python", 0), ("client.md", "Many requests", "python", 1))
def test_the_client_examples_run_many_requests_and_a_coroutine(
    terminal: Terminal, blocks: list[Block]
) -> None:
    """Twenty rows; one row."""
    assert [terminal.run_python(block.text) for block in blocks] == ["20\n", "(1, 16)\n"]


@runs(("client.md", "A durable request", "python", 0))
def test_the_client_example_submits(terminal: Terminal, blocks: list[Block]) -> None:
    """It prints the id and the shape of the output."""
    assert re.fullmatch(r"[0-9a-f]{32} \(1, 16\)\n", terminal.run_python(blocks[0].text))
