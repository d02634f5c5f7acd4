"""Every command and every piece of code in README.md does what it says, on a real stack.

The text of each block is run as it stands. `make` commands are left to
tests/contract/test_docs.py and tests/deploy/local/test_make_up.py. The pages of deploy/docs are run
by test_docs.py, which also proves that no block is left out.
"""

from __future__ import annotations

import json
import re

import numpy as np

from deploy.local.demo import table
from deploy.samples.catalogue import DEFAULT_SET
from deploy.samples.sample import Model
from tests.helpers.documents import Block, runs
from tests.helpers.stack import Stack
from tests.helpers.terminal import SETUP, Terminal
from tests.system.examples import CURL, ONES, right

README = "README.md"


@runs(SETUP)
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


@runs((README, "Quick start", "text", 0))
def test_the_table_of_make_up_has_the_rows_that_it_prints(blocks: list[Block]) -> None:
    """Its columns and models; tests/deploy/local/test_make_up.py runs it and checks its answers."""
    columns, _, *rows = blocks[0].text.splitlines()
    assert re.split("  +", columns.strip()) == [column.header for column in table([]).columns]
    assert [row.split()[0] for row in rows] == [sample.name for sample in DEFAULT_SET]
    assert "WRONG" not in blocks[0].text


@runs(CURL, (README, "Quick start", "text", 1))
def test_the_curl_example_prints_the_answer_that_is_shown(
    terminal: Terminal, tiny: Model, blocks: list[Block]
) -> None:
    """The answer is the V2 document, with what plain torch says; so is the one on the page."""
    request, shown = blocks
    (command,) = request.commands
    answer, printed = json.loads(terminal.run(command)), json.loads(shown.text)
    assert right(answer, tiny) and right(printed, tiny)
    assert list(answer) == list(printed)


@runs((README, "Quick start", "python", 0))
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


@runs((README, "Publish a model", "python", 0), (README, "Publish a model", "sh", 0))
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
