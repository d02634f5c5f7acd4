"""What one gateway may have in hand is bounded, in requests and in bytes."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from router.requests.intake import Admission
from router.rest.bodies import expected_bytes
from shared.errors import Overloaded


def test_requests_are_admitted_up_to_the_limit() -> None:
    """One that leaves makes room for one."""
    admission = Admission(2, 1000)
    held = [admission.enter(10), admission.enter(10)]
    with pytest.raises(Overloaded, match="2 requests") as caught:
        admission.enter(10)
    assert caught.value.retry_after_s
    admission.leave(held.pop())
    admission.enter(10)
    assert (admission.requests, admission.bytes) == (2, 20)


def test_bodies_are_admitted_up_to_the_limit() -> None:
    """As declared, before they are read."""
    admission = Admission(10, 100)
    admission.enter(60)
    with pytest.raises(Overloaded, match="100 bytes"):
        admission.enter(41)
    assert admission.enter(40) == 40


def test_a_body_of_unknown_length_counts_as_the_largest_until_it_is_read() -> None:
    """Then as what it is; in the end nothing is left."""
    admission = Admission(10, 100)
    held = admission.enter(100)
    with pytest.raises(Overloaded):
        admission.enter(1)
    held = admission.settle(held, 7)
    assert admission.bytes == 7
    admission.enter(1)
    admission.leave(held)
    admission.leave(1)
    assert (admission.requests, admission.bytes) == (0, 0)


def test_a_body_over_the_whole_limit_is_taken_alone() -> None:
    """Or it would be refused for ever, as if it could come again."""
    admission = Admission(10, 100)
    held = admission.enter(500)
    with pytest.raises(Overloaded):
        admission.enter(500)
    admission.leave(held)
    assert admission.enter(500) == 500


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"Content-Length": "7"}, 7),
        ({"Content-Length": "0"}, 0),
        ({"Content-Length": "7000"}, 1000),
        ({"Content-Length": "7", "Content-Encoding": "gzip"}, 1000),
        ({"Transfer-Encoding": "chunked"}, 1000),
    ],
)
def test_what_a_body_will_take_is_known_from_the_head(headers: dict[str, str], size: int) -> None:
    """Or is the most that it may take."""
    assert expected_bytes(make_mocked_request("POST", "/", headers=headers), 1000) == size
