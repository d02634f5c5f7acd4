"""Errors as answers: one status for each, one form for all, nothing of ours inside."""

from __future__ import annotations

import json

import pytest
from aiohttp.test_utils import make_mocked_request

from router.rest.error_responses import (
    LONGEST_RETRY_AFTER_S,
    STATUS,
    no_such_path,
    other_verbs,
    problem,
)
from shared import errors
from shared.errors import WarmrouteError


def body(response) -> dict[str, str]:
    return json.loads(response.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidInput("x"), 400), (errors.TooLarge("x"), 413),
        (errors.UnsupportedInput("x"), 501), (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409), (errors.Overloaded("x"), 429), (errors.Unavailable("x"), 503),
        (errors.Expired("x"), 504), (errors.KeyReused("x"), 422), (errors.Gone("x"), 404),
        (errors.Quarantined("x"), 503), (errors.OutcomeUnknown("x"), 503),
        (errors.ModelFailed("x"), 500), (errors.LoadFailed("x"), 422),
        (errors.Untrusted("x"), 403), (errors.InsufficientMemory("x"), 507),
        (errors.OutOfMemory("x"), 507), (errors.DoesNotFit("x"), 507),
        (errors.Forbidden("x"), 502), (errors.Corrupt("x"), 422), (WarmrouteError("x"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)  # fmt: skip
def test_an_error_has_its_status_and_one_form(error: WarmrouteError, status: int) -> None:
    """`{"error": message}` and nothing beside it; the code is in a header."""
    response = problem(error)
    assert response.status == status
    assert body(response) == {"error": "x"}
    assert response.headers["Warmroute-Error"] == error.code
    assert response.content_type == "application/json"


@pytest.mark.parametrize(
    ("error", "least"),
    [
        (errors.Overloaded("x", retry_after_s=0.2), 1),
        (errors.Overloaded("x", retry_after_s=2.5), 3),
        (errors.Overloaded("x", retry_after_s=20), 20),
        (errors.Unavailable("x"), 1),
        (errors.Quarantined("x", retry_after_s=600), LONGEST_RETRY_AFTER_S),
    ],
)
def test_what_may_succeed_later_says_when(error: WarmrouteError, least: int) -> None:
    """In whole seconds, at least one, at most a minute; a little more for some, never less."""
    said = {int(problem(error).headers["Retry-After"]) for _ in range(200)}
    assert min(said) == least
    assert least < max(said) <= least + max(1, least // 4)


def test_what_cannot_succeed_later_does_not() -> None:
    """Nobody is invited to send bad input again."""
    assert "Retry-After" not in problem(errors.InvalidInput("x")).headers


def test_the_request_is_named_if_there_is_one() -> None:
    """So that a caller and the log can talk about it."""
    assert problem(errors.Expired("x"), "f" * 32).headers["Warmroute-Request-Id"] == "f" * 32
    assert "Warmroute-Request-Id" not in problem(errors.Expired("x")).headers


def test_only_known_codes_are_in_the_table() -> None:
    """A code that no error has would be dead."""
    assert all(type(errors.from_code(code, "")) is not WarmrouteError for code in STATUS)


def test_every_retryable_error_is_known_as_such_by_its_status() -> None:
    """5xx and 429 of which clients know that they may try again."""
    retried = {408, 429, 502, 503, 504}
    for code, status in STATUS.items():
        if errors.from_code(code, "").retryable:
            assert status in retried, code


async def test_a_path_that_is_none_of_ours_is_404() -> None:
    """The path is not repeated."""
    response = await no_such_path(make_mocked_request("GET", "/<script>"))
    assert (response.status, body(response)) == (404, {"error": "no such path"})


async def test_a_verb_that_a_path_does_not_take_is_405() -> None:
    """With those that it does: HEAD is where GET is, OPTIONS everywhere."""
    refuse = other_verbs({"POST", "GET"})
    response = await refuse(make_mocked_request("PUT", "/v2"))
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert "GET, HEAD, OPTIONS, POST" in body(response)["error"]
    response = await other_verbs({"POST"})(make_mocked_request("OPTIONS", "/v2"))
    assert (response.status, response.headers["Allow"]) == (204, "OPTIONS, POST")
