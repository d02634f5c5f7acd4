"""Foreign exceptions become ours, in the model's own words and without our paths."""

from __future__ import annotations

import pytest
import torch

from shared.errors import InvalidInput, LoadFailed, ModelFailed
from worker.device.base import DeviceOutOfMemory
from worker.runtimes import failures


def test_a_models_error_keeps_its_kind_and_first_line():
    """What the model said first is what its author needs; the C++ stack is not."""
    with pytest.raises(ModelFailed, match=r"^the model failed: ValueError: bad shape$"):
        with failures.of_model():
            raise ValueError("\n bad shape\nException raised from check at ../c10/util.h:12")


def test_a_loaders_error_says_what_was_loaded():
    """The cause is named after what failed."""
    with pytest.raises(LoadFailed, match=r"^weights: KeyError: 'w'$"):
        with failures.of_load("weights"):
            raise KeyError("w")


@pytest.mark.parametrize("context", [failures.of_model, lambda: failures.of_load("x")])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_running_out_of_memory_is_told_apart(context, error):
    """An eviction and a second try may help, unlike for other failures."""
    with pytest.raises(DeviceOutOfMemory), context():
        raise error


def test_a_real_allocation_that_fails_is_recognised():
    """torch's own wording of a failed CPU allocation."""
    with pytest.raises(DeviceOutOfMemory), failures.of_model():
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize("context", [failures.of_model, lambda: failures.of_load("x")])
def test_our_own_errors_pass_unchanged(context):
    """What was already said well is not said again."""
    with pytest.raises(InvalidInput, match=r"^as it is$"), context():
        raise InvalidInput("as it is")


def test_an_interrupt_is_no_failure_of_the_model():
    """Ctrl-C and exits are not caught."""
    with pytest.raises(KeyboardInterrupt), failures.of_model():
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("open file /srv/cache/sha256/ab12 failed", "E: open file <path> failed"),
        ("[/home/u/m.py:12] bad", "E: [m.py:12] bad"),
        (r"C:\Users\me\m.pt is broken", "E: m.pt is broken"),
        ("shapes 3/4 and [2, 3] do not match", "E: shapes 3/4 and [2, 3] do not match"),
        ("", "E"),
        ("x" * 900, "E: " + "x" * 497),
    ],
)
def test_a_summary_is_short_and_without_paths(text, want):
    """Errors travel to callers, who need not know where our files lie; names may be why."""
    error = type("E", (Exception,), {})(text)
    assert failures.summary(error) == want
