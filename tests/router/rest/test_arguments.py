"""How long a request may take, as its headers and parameters say."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from router.rest.arguments import TIMEOUT, read_timeout
from shared.config import RouterConfig
from shared.errors import InvalidInput

CONFIG = RouterConfig(redis_url="redis://x", model_repository="file:///x")


def seconds(*headers: str, timeout_us: int | None = None) -> float:
    given = CIMultiDict((TIMEOUT, value) for value in headers)
    return read_timeout(make_mocked_request("POST", "/", headers=given), timeout_us, CONFIG)


def test_a_request_that_names_no_deadline_has_the_usual_one() -> None:
    """As the settings say."""
    assert seconds() == CONFIG.timeout_s


@pytest.mark.parametrize(
    ("header", "timeout_us", "expected"),
    [
        ("2.5", None, 2.5), ("3600", None, 3600), ("0.001", None, 0.001), (None, 1_500_000, 1.5),
        ("2", 1_500_000, 1.5), ("1", 1_500_000, 1),
    ],
)  # fmt: skip
def test_of_header_and_parameter_the_smaller_counts(
    header: str | None, timeout_us: int | None, expected: float
) -> None:
    """Seconds in the one, microseconds in the other."""
    headers = () if header is None else (header,)
    assert seconds(*headers, timeout_us=timeout_us) == expected


@pytest.mark.parametrize(
    "headers",
    [("",), ("0",), ("0.0",), ("-1",), ("1e3",), ("nan",), ("inf",), ("3600.1",), ("9" * 400,),
     ("٣",), ("1 s",), ("1", "1")],
)  # fmt: skip
def test_another_header_is_refused(headers: tuple[str, ...]) -> None:
    """It is named."""
    with pytest.raises(InvalidInput, match=TIMEOUT):
        seconds(*headers)


def test_a_parameter_over_the_limit_is_refused_beside_a_smaller_header() -> None:
    """It is still wrong."""
    with pytest.raises(InvalidInput, match=r"parameters\.timeout"):
        seconds("1", timeout_us=10**13)
