"""The table of operators: what is found, what is refused, what writes where."""

from __future__ import annotations

import operator

import pytest
import torch
from torch._export.serde import serialize

from shared.errors import Corrupt
from worker.runtimes import operators


def test_tensor_operators_and_arithmetic_are_found():
    """Names as torch.export writes them."""
    assert operators.find("torch.ops.aten.linear.default") is torch.ops.aten.linear.default
    assert operators.find("_operator.floordiv") is operator.floordiv
    assert operators.find("torch.ops.higher_order.cond") is torch.ops.higher_order.cond


def test_all_arithmetic_that_torch_export_may_write_is_known():
    """The set is torch's own, under the names torch's own serialiser gives."""
    names = {f"{op.__module__}.{op.__name__}" for op in serialize._SYM_OPS}
    assert names == set(operators.SYMBOLIC)
    for op in serialize._SYM_OPS:
        assert operators.SYMBOLIC[f"{op.__module__}.{op.__name__}"] is op


@pytest.mark.parametrize(
    "name",
    [
        "torch.os.system",
        "torch.load",
        "torch.hub.load",
        "_operator.attrgetter",
        "math.factorial",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.linear",
        "torch.ops.aten.linear.default.__call__",
        "torch.ops.aten.__init__.__call__",
        "torch.ops.aten.linear._schema",
        "torch.ops.higher_order.run_and_save_rng_state",
        "torch.ops.load_library",
        "#custom:op",
        "torch.ops.aten.linear.default\n",
        "",
    ],
)
def test_all_other_names_are_refused(name):
    """Nothing is looked up by attribute access outside the tensor library."""
    with pytest.raises(Corrupt, match="not supported"):
        operators.find(name)


def test_writes_and_views_are_known():
    """In-place operators and views are told from those that make new tensors."""
    assert operators.written(torch.ops.aten.add_.Tensor) == {"self"}
    assert operators.written(torch.ops.aten.add.Tensor) == frozenset()
    assert operators.viewed(torch.ops.aten.view.default) == {"self"}
    assert operators.viewed(torch.ops.aten.split.Tensor) == {"self"}
    assert operators.viewed(torch.ops.aten.dropout.default) == {"input"}
    assert operators.viewed(torch.ops.aten.clone.default) == frozenset()
