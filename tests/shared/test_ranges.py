"""Values out of an input's range are found, whatever the datatype, and named with the limit."""

from __future__ import annotations

import numpy as np
import pytest

from shared import datatypes, ranges
from shared.errors import Corrupt, InvalidInput
from shared.manifest import DECODER, Manifest, TensorSpec, check, parse
from tests.helpers.factories import manifest, spec, tensor


def limited(low: int | None, high: int | None, datatype: str = "INT64") -> TensorSpec:
    return TensorSpec("i", datatype, [-1], minimum=low, maximum=high)


def refused(values: list[int], low: int | None, high: int | None, datatype: str = "INT64") -> str:
    """Why these values are refused, '' if they are not."""
    array = np.array(values, dtype=datatypes.NUMPY[datatype])
    try:
        ranges.check(tensor(array, "i"), limited(low, high, datatype), "inputs['i']")
    except InvalidInput as error:
        return error.message
    return ""


@pytest.mark.parametrize("datatype", sorted(datatypes.INTEGERS))
def test_every_integer_is_compared_as_the_number_that_it_is(datatype: str) -> None:
    """From the least to the greatest of its datatype."""
    least, most = (int(limit) for limit in datatypes.limits(datatype))
    assert refused([0, 100, 7], 0, 100, datatype) == ""
    assert "element 1 is 101, the model takes 0 to 100" in refused([0, 101], 0, 100, datatype)
    assert refused([least, most], least, most, datatype) == ""
    assert f"is {most}, the model takes 0 to 100" in refused([most], 0, 100, datatype)
    if least < 0:
        assert f"element 2 is {least}," in refused([0, 1, least], 0, 100, datatype)
        assert refused([-3, 2], -3, 2, datatype) == ""
        assert "element 0 is -4, the model takes -3 to 2" in refused([-4, 9], -3, 2, datatype)


@pytest.mark.parametrize(
    ("low", "high", "values", "said"),
    [
        (None, 9, [10], "element 0 is 10, the model takes at most 9"),
        (5, None, [5, 4], "element 1 is 4, the model takes at least 5"),
        (None, 9, [-10], ""),
        (5, None, [99], ""),
        (None, None, [10], ""),
        (0, 2**63 - 1, [-1], "element 0 is -1"),
        (0, 2**70, [2**63 - 1], ""),
    ],
)
def test_either_limit_may_be_open(
    low: int | None, high: int | None, values: list[int], said: str
) -> None:
    """Or both."""
    found = refused(values, low, high)
    assert (said in found) if said else found == ""


def test_the_element_is_counted_in_the_whole_tensor() -> None:
    """As the caller's flat data has it. No element is in no range."""
    array = np.array([[1, 2], [3, 99]])
    with pytest.raises(InvalidInput, match=r"^inputs\['i'\].data: element 3 is 99"):
        ranges.check_array(array, limited(0, 9), "inputs['i']")
    ranges.check_array(np.empty((0, 2), dtype=np.int64), limited(0, 9), "i")
    ranges.check_array(np.array([99.0]), limited(0, 9), "i")  # no index: the model refuses it


def ranged(**changes: int) -> Manifest:
    return manifest(inputs=[TensorSpec("x", "INT64", [-1, 2], **changes)])


def test_a_range_is_written_where_there_is_one_and_read_back() -> None:
    """A manifest without one keeps its bytes, and so its digest."""
    encoded = ranged(minimum=0, maximum=9).encode()
    assert DECODER.decode(encoded).inputs[0].maximum == 9
    assert b"minimum" not in ranged().encode() and b"maximum" not in ranged().encode()


def test_a_release_that_does_not_know_ranges_reads_the_rest() -> None:
    """As this one reads what it does not know."""
    encoded = ranged(minimum=0, maximum=9).encode().replace(b'"minimum"', b'"from_the_future"')
    assert DECODER.decode(encoded).inputs[0].minimum is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (manifest(inputs=[TensorSpec("x", "FP32", [-1, 2], maximum=9)]), "integers, not FP32"),
        (manifest(inputs=[TensorSpec("x", "BYTES", [-1, 2], minimum=9)]), "integers, not BYTES"),
        (manifest(inputs=[TensorSpec("x", "INT8", [-1], minimum=9, maximum=1)]), "9 is over maxim"),
        (manifest(outputs=[TensorSpec("y", "INT8", [-1], minimum=0)]), "only an input"),
    ],
)
def test_a_range_that_means_nothing_is_refused(wrong: Manifest, said: str) -> None:
    """When it is published, and when it is read."""
    wrong = Manifest(**{**{f: getattr(wrong, f) for f in wrong.__struct_fields__},
                        "batching": type(wrong.batching)()})  # fmt: skip
    with pytest.raises(InvalidInput, match=said):
        check(wrong)
    with pytest.raises(Corrupt, match=said):
        parse(wrong.encode(), name=wrong.name, version=wrong.version)


def test_only_those_with_a_range_are_looked_at() -> None:
    """For the worker, before the device."""
    assert ranges.limited([spec(), limited(0, None), limited(None, 1), limited(None, None)]) == [
        limited(0, None), limited(None, 1),
    ]  # fmt: skip
