"""Every command and every piece of code in README.md does what the README says, on a real stack.

The text of each block is run as it stands; only `<id>`, `<worker>` and `<model>` are filled in.
`make` commands are left to tests/contract/test_readme.py and tests/deploy/local/test_make_up.py.
"""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import numpy as np
import pytest

from deploy.samples.sample import Model
from tests.helpers import readme, samples
from tests.helpers.models import publish_slow
from tests.helpers.readme import RUN, Block, runs
from tests.helpers.stack import Stack
from tests.helpers.terminal import Terminal
from tests.helpers.wait import block_until

NUMBERS = np.arange(1, 17, dtype=np.float32).reshape(1, 16)
ONES = np.ones((1, 16), np.float32)
CURL = ("First request", "sh", 1)
# The picture, a file that is quoted, and a line of a log.
WITHOUT_COMMANDS = ["warmroute", "Scale: the Procfile", "Find a failed request"]
TOOLS = {"apt", "curl", "docker", "pip", "python3", "redis-cli", "rq", "sh", "sudo", "wget"}


@pytest.fixture(scope="module")
def tiny() -> Model:
    """The model of the examples, in plain torch."""
    (built,) = samples.built(["tiny-mlp"])
    return built.sample.reference(None, built.files)


def test_every_block_is_run_by_a_test() -> None:
    """A command that is added to the README needs one. `make` has its own (see above)."""
    blocks = readme.blocks()
    seen: dict[tuple[str, str], int] = {}
    shown = []
    for block in blocks:
        number = seen[block[:2]] = seen.get(block[:2], -1) + 1
        if block.language and not all(c.startswith("make ") for c in block.commands):
            shown.append((block.section, block.language, number))
    importlib.import_module("tests.system.test_readme_copies")  # it runs some of them
    assert sorted(shown) == sorted(set(RUN))
    assert {block.language for block in blocks} == {"", "sh", "python"}
    assert [block.section for block in blocks if not block.language] == WITHOUT_COMMANDS


def test_no_command_hides_in_a_sentence() -> None:
    """In backticks there are `make`, `warmroute` and `python -m`, which are checked elsewhere."""
    assert {code for code in readme.codes() if code.split()[0] in TOOLS} == set()


@runs(("First request", "sh", 0))
def test_the_terminal_has_the_commands_and_the_settings(
    terminal: Terminal, cell: Stack, blocks: list[Block]
) -> None:
    """Those of `.venv`, and where the stack is."""
    (setup,) = blocks
    assert len(setup.commands) == 2
    here = str(terminal.folder)
    for command in ("python", "redis-cli", "rq", "warmroute"):
        assert terminal.run(f"command -v {command}").startswith(here)
    told = terminal.run('echo "$REDIS_URL $MODEL_REPOSITORY"').split()
    assert told == [cell.redis_server.url, cell.servers.repository_url]


@runs(CURL)
def test_the_curl_example_is_answered(terminal: Terminal, tiny: Model, blocks: list[Block]) -> None:
    """The answer is the V2 document, with what plain torch says."""
    ((command,),) = (block.commands for block in blocks)
    assert right(json.loads(terminal.run(command)), tiny)


@runs(("First request", "python", 0))
def test_the_python_example_infers_and_submits(
    terminal: Terminal, tiny: Model, blocks: list[Block]
) -> None:
    """Both ways give the outputs; the first also says who ran it, and whether it was cold."""
    (block,) = blocks
    said = terminal.run_python(block.text)
    arrays = [
        np.array(numbers.split(), float)
        for numbers in re.findall(r"\[\[(.+?)\]\]", said, re.DOTALL)
    ]
    assert np.allclose(arrays, [tiny({"input": ONES})["output"][0]] * 2, rtol=1e-4, atol=1e-5)
    assert re.search(r"\]\] worker-1 (True|False)\n", said)


@runs(("First request", "sh", 2))
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


@runs(("Submit now, ask later", "sh", 0))
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


@runs(("Submit now, ask later", "sh", 1))
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
def test_who_prefers_to_wait_a_little_gets_the_answer_if_it_comes(terminal: Terminal) -> None:
    """`Prefer: respond-async, wait=5`, as the table of endpoints says."""
    assert "Prefer: respond-async, wait=5" in readme.codes()
    write_body(terminal)
    submit = readme.block("Submit now, ask later", "sh").commands[0]
    command = submit.replace("respond-async", "respond-async, wait=5")
    assert status_of(terminal.run(command)) == 200


@runs(("Publish a model", "python", 0), ("Publish a model", "sh", 0))
def test_an_exported_model_is_pushed_and_asked(terminal: Terminal, blocks: list[Block]) -> None:
    """It answers as the module that was exported does; the same push again sends nothing."""
    code, commands = blocks
    push, infer, models = commands.commands
    printed = terminal.run_python(
        code.text + "print(net(torch.tensor([[1., 2., 3., 4.]])).tolist())"
    )
    assert terminal.run(push).splitlines()[-2].split()[:3] == ["my-model", "1", "pytorch_program"]
    assert re.search(r"^ y +float32 +1x3 ", terminal.run(infer), re.MULTILINE)
    outputs = json.loads(terminal.run(f"{infer} --json"))["outputs"]
    assert np.allclose(outputs["y"], json.loads(printed), rtol=1e-4, atol=1e-5)
    again = json.loads(terminal.run(f"{push} --json"))
    assert (again["version"], again["bytes_sent"]) == (1, 0)
    assert re.search(r"^ my-model +1 +READY", terminal.run(models), re.MULTILINE)


@runs(("Scale: the Procfile", "sh", 0))
def test_one_more_worker_joins_and_leaves(
    terminal: Terminal, cell: Stack, blocks: list[Block]
) -> None:
    """It joins, and leaves on SIGTERM."""
    ((command,),) = (block.commands for block in blocks)
    before = set(cell.residency())
    with terminal.running(command):
        block_until(lambda: set(cell.residency()) - before, 60)
    block_until(lambda: set(cell.residency()) == before)


@runs(("See what it does", "sh", 0))
def test_the_fleet_and_its_queues_can_be_seen(
    terminal: Terminal, cell: Stack, blocks: list[Block]
) -> None:
    """While a model is held, and requests wait."""
    (block,) = blocks
    residency, one, workers, events, loaded, entries, orders = block.commands
    slow = publish_slow(cell.repository, cell.folder)
    client = cell.client()
    client.infer(slow.name, slow.question(0.01))
    pending = [
        client.submit(slow.name, slow.question(3.0)) for _ in range(30)
    ]  # a busy machine takes its time
    assert re.search(rf"^ {slow.name} 1 +device", terminal.run(residency), re.MULTILINE)
    assert re.search(r"^ worker-1 +device ", terminal.run(one, model=slow.name), re.MULTILINE)
    assert re.search(r"^ worker-1 +cpu +ready ", terminal.run(workers), re.MULTILINE)
    assert re.search(rf" loaded +{slow.name} 1 +worker-1 ", terminal.run(events, model=slow.name))
    assert slow.name in {event["model"] for event in json.loads(terminal.run(loaded))["events"]}
    assert f"\n{slow.name}:1:" in terminal.run(entries, worker="worker-1")
    assert all(word in terminal.run(orders) for word in ("cold", "worker-1"))
    for request in pending:
        request.cancel()


@runs(("Dead letters", "sh", 0))
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
    assert "back in the stream door" in terminal.run(replay, entry=letter["entry"])
    block_until(lambda: [each["entry"] for each in letters()] not in ([], [letter["entry"]]))
    terminal.run(drop)
    assert letters() == []


def right(document: dict[str, Any], tiny: Model) -> bool:
    """Whether a V2 response is what plain torch says of the sixteen numbers."""
    (output,) = document["outputs"]
    expected = tiny({"input": NUMBERS})["output"].reshape(-1)
    return output["name"] == "output" and np.allclose(output["data"], expected, 1e-4, 1e-5)


def write_body(terminal: Terminal) -> None:
    """`request.json`: the body of the curl example."""
    found = re.search(r"-d '(.+)'", readme.block(*CURL).text, re.DOTALL)
    assert found
    (terminal.folder / "request.json").write_text(found[1])


def status_of(printed: str) -> int:
    """The status of what `curl -i` shows."""
    found = re.match(r"HTTP/1.1 (\d{3}) ", printed)
    assert found, printed
    return int(found[1])
