"""Tensor specs as they are written on the command line."""

from __future__ import annotations

import pytest

from deploy.cli.errors import WrongUse
from deploy.cli.specs import name_of, read_spec
from shared.manifest import TensorSpec


def test_a_spec_is_name_datatype_and_sizes() -> None:
    """-1 varies; a name may hold colons; no sizes make a scalar."""
    assert read_spec("input:FP32:-1,16") == TensorSpec("input", "FP32", [-1, 16])
    assert read_spec("serving:0:INT64:3") == TensorSpec("serving:0", "INT64", [3])
    assert read_spec("scale:FP64:") == TensorSpec("scale", "FP64", [])


@pytest.mark.parametrize("text", ["input", "input:FP32", "x:FLOAT:1", "x:FP32:a", "x:FP32:-2"])
def test_what_is_no_spec_is_refused_with_its_text(text: str) -> None:
    """The message repeats what was written."""
    with pytest.raises(WrongUse, match=text):
        read_spec(text)


def test_where_the_model_says_the_rest_a_bare_name_is_enough() -> None:
    """Of a whole spec, the name is taken."""
    assert [name_of("y"), name_of("y:FP32:-1")] == ["y", "y"]
