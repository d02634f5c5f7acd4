"""What the tests of the documents' examples share: the inputs, the right answer, the body."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from deploy.samples.sample import Model
from tests.helpers import documents
from tests.helpers.terminal import Terminal

CURL = ("README.md", "Quick start", "sh", 2)
NUMBERS = np.arange(1, 17, dtype=np.float32).reshape(1, 16)
ONES = np.ones((1, 16), np.float32)


def right(document: dict[str, Any], tiny: Model) -> bool:
    """Whether a V2 response is what plain torch says of the sixteen numbers."""
    (output,) = document["outputs"]
    expected = tiny({"input": NUMBERS})["output"].reshape(-1)
    return output["name"] == "output" and np.allclose(output["data"], expected, 1e-4, 1e-5)


def write_body(terminal: Terminal) -> None:
    """`request.json`: the body of the curl example."""
    found = re.search(r"-d '(.+)'", documents.block(*CURL).text, re.DOTALL)
    assert found
    (terminal.folder / "request.json").write_text(found[1])


def status_of(printed: str) -> int:
    """The status of what `curl -i` shows."""
    found = re.match(r"HTTP/1.1 (\d{3}) ", printed)
    assert found, printed
    return int(found[1])
