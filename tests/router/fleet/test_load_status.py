"""Why a model's requests wait, in a sentence; and what becomes of what cannot be read."""

from __future__ import annotations

import pytest

from router.fleet.load_status import (
    Failure,
    LoadState,
    explain_wait,
    failure,
    load_state,
    readiness,
)
from router.fleet.model_report import learned, quarantine
from shared.constants import RECENT_SUCCESS_MS
from shared.redis_decode import number

NOW = 100_000
LEASE = {"phase": "ordered", "worker": "", "since": "97000", "refused": "", "token": "t"}


@pytest.mark.parametrize(
    ("lease", "unloadable", "sentence"),
    [
        ({}, "", "no load is ordered yet"),
        ({}, "~store_unavailable the store is away",
         "the last load failed (the store is away); the next one is tried in 4 s"),
        (LEASE, "", "a load is ordered for 3 s, and no worker has started it yet"),
        (LEASE | {"for": "w2", "refused": " w1 w3 w1"}, "",
         "a load is ordered for 3 s, and no worker has started it yet; w2 was asked first; "
         "not possible on w1, w3"),
        (LEASE | {"phase": "loading", "worker": "w1"}, "~x y", "loading on worker w1 for 3 s"),
        (LEASE | {"phase": "loading", "worker": "w1", "why": "bert is pinned"}, "",
         "loading on worker w1 for 3 s: bert is pinned"),
        (LEASE | {"since": "200000"}, "",
         "a load is ordered for 0 s, and no worker has started it yet"),
        (LEASE | {"since": "soon"}, "",
         "a load is ordered for 100 s, and no worker has started it yet"),
    ],
)  # fmt: skip
def test_why_it_waits_is_a_sentence(lease: dict[str, str], unloadable: str, sentence: str) -> None:
    """By the load lease, or else by the failure that is still remembered."""
    assert explain_wait(load_state(lease), failure(unloadable, 4000), NOW) == sentence


def test_a_lease_is_shown_without_its_token() -> None:
    """And without what does not apply."""
    state = load_state(LEASE | {"extra": "scale_out", "for": "w2"})
    assert isinstance(state, LoadState)
    assert state.document(NOW) == {
        "phase": "ordered", "since": "1970-01-01T00:01:37Z", "seconds": 3.0, "asked_first": "w2",
        "extra": "scale_out",
    }  # fmt: skip


def test_a_failure_says_whether_it_may_pass() -> None:
    """As `fail_load` wrote it."""
    passing = failure("~store_unavailable the store is away", 4000)
    assert passing == Failure("store_unavailable", "the store is away", True, 4000)
    final = failure("load_failed no such operator", -2)
    assert final is not None and final.document() == {
        "code": "load_failed", "error": "no such operator", "passing": False, "retry_after_s": 0.0
    }  # fmt: skip
    assert failure("", 0) is None


@pytest.mark.parametrize(
    ("text", "found"), [("1.5", 1.5), ("", 0), ("x", 0), ("nan", 0), ("inf", 0), ("1e300", 0)]
)
def test_a_number_that_cannot_be_is_none(text: str, found: float) -> None:
    """Others wrote it, perhaps of another release."""
    assert number(text) == found


def test_a_quarantine_is_open_while_it_lasts() -> None:
    """Then one request at a time may try; after a crash less than five it is not open at all."""
    crashed = {"crashes": "6", "cause": "signal 11"}
    assert quarantine({}, [], NOW) is None
    assert quarantine(crashed, ["w1"], NOW) == {"open": False, "seconds_left": 0.0} | _as_shown(
        crashed
    )
    until = crashed | {"until": str(NOW + 2500), "probe_until": str(NOW - 1)}
    assert quarantine(until, ["w1"], NOW) == {"open": True, "seconds_left": 2.5} | _as_shown(
        crashed
    )


def _as_shown(crashed: dict[str, str]) -> dict[str, object]:
    shown = {"crashes": int(crashed["crashes"]), "cause": crashed["cause"]}
    return shown | {"workers": {}, "served_by": []}


QUARANTINE = {
    "crashes": "5", "cause": "signal 11", "by": "w1 3 w2 2", "until": str(NOW + 1000),
}  # fmt: skip
FAILED = Failure("corrupt", "bad hash", False, 500)


@pytest.mark.parametrize(
    ("holders", "ok_ago_ms", "failed", "breaker", "code", "noted"),
    [
        (["w1", "w3"], 0, None, QUARANTINE, "", True),
        (["w1", "w2"], 0, None, QUARANTINE, "quarantined", False),
        (["w3"], RECENT_SUCCESS_MS, None, QUARANTINE, "quarantined", False),
        ([], 0, FAILED, QUARANTINE, "quarantined", False),
        (["w1"], 0, None, QUARANTINE | {"until": str(NOW)}, "", False),
        (["w1"], 0, FAILED, {}, "", False),
        ([], 0, FAILED, {}, "corrupt", False),
        ([], 0, None, {}, "", False),
    ],
)
def test_a_model_is_ready_while_a_holder_that_it_has_not_crashed_serves_it(
    holders: list[str], ok_ago_ms: int, failed: Failure | None, breaker: dict[str, str], code: str,
    noted: bool,
) -> None:  # fmt: skip
    """As `place` decides; and what is said of it names the holders that go on."""
    known = breaker and breaker | {"ok_at": str(NOW - ok_ago_ms)}
    found = readiness(holders, failed, known, NOW)
    assert (found.warm, found.refusal.code if found.refusal else "") == (bool(holders), code)
    assert bool(found.note) == noted
    if noted:
        assert "w3" in found.note and "crashed workers 5 times (w1, w2)" in found.note
        shown = quarantine(known, holders, NOW)
        assert shown is not None and (shown["open"], shown["served_by"]) == (True, ["w3"])


def test_what_was_learned_is_told_by_device_class_and_by_tier() -> None:
    """What the manifest said stands beside it in Redis, and is not meant."""
    known = {"own:cpu": "10", "own:H100": "12", "disk": "31.26", "remote": "800", "min_copies": "1"}
    assert learned({**known, "shared:cpu": "90"}) == {
        "bytes": {"H100": 12, "cpu": 10}, "shared_bytes": {"cpu": 90},
        "load_ms": {"disk": 31.3, "remote": 800.0},
    }  # fmt: skip
