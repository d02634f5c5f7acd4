"""A part of what `python -m tests.fuzz.door` does, with one seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.door import fuzz, publish_models
from tests.system.setup import open_stack


@pytest.mark.timeout(600)
def test_no_request_brings_a_stack_a_silence_or_a_500(tmp_path: Path) -> None:
    with open_stack(tmp_path) as stack:
        stack.scale(gateways=1, workers=1)
        publish_models(stack)
        found = fuzz(stack, 1500, 20)
    assert found.faults == []
    assert found.statuses[200] > 100
