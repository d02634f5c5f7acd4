"""The judge finds each thing that may go wrong, and nothing in what is right."""

from __future__ import annotations

import pytest

from shared.keys import Keys
from tests.judge.left import left_over
from tests.judge.outcomes import Record, verdict

KEYS = Keys("judged")
GOOD = Record("succeeded", said={("succeeded", "w1")})


class Shelf:
    """Keys, and of streams the number of entries and of those that are pending."""

    def __init__(self, keys: dict[str, tuple[int, int]]) -> None:
        self._keys = keys

    def names(self) -> list[str]:
        return list(self._keys)

    def length(self, stream: str) -> int:
        return self._keys[stream][0]

    def pending(self, stream: str) -> int:
        return self._keys[stream][1]


def test_one_outcome_is_right() -> None:
    """Also where nobody was told of it, and for what was refused."""
    assert verdict({"r": GOOD, "s": Record("failed"), "t": Record(accepted=False)}) == []


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Record(""), "r is 'unknown' in the end"),
        (Record("queued"), "r is 'queued' in the end"),
        (Record("succeeded", times=2), "r ended 2 times"),
        (Record("failed", times=0), "r ended 0 times"),
        (Record("failed", said={("failed", ""), ("succeeded", "w1")}), "r ended in several ways"),
        (Record("succeeded", said={("succeeded", "w1"), ("succeeded", "w2")}), "several ways"),
        (Record("succeeded", right=False), "r: a wrong answer"),
        (Record("expired", allowed=("succeeded",)), "r ended as expired"),
    ],
)
def test_what_is_wrong_is_found(record: Record, said: str) -> None:
    """Once."""
    (found,) = verdict({"r": record, "s": GOOD})
    assert said in found


@pytest.mark.parametrize(
    "name",
    [
        KEYS.started("w1"), KEYS.parked("m"), KEYS.parked_refs, KEYS.deadlines, KEYS.rq_queue(),
        KEYS.load("m"), KEYS.loads("w1"),
    ],
)  # fmt: skip
def test_a_key_that_belongs_to_a_request_or_a_load_is_found(name: str) -> None:
    """Whatever it holds."""
    assert left_over(Shelf({name: (0, 0)}), KEYS) == [f"{name} is still there"]


@pytest.mark.parametrize("name", [KEYS.work("w1"), KEYS.ingress, KEYS.outbox, KEYS.failures])
def test_a_stream_is_to_be_empty(name: str) -> None:
    """It may be there, without entries and without any that is pending."""
    assert left_over(Shelf({name: (0, 0)}), KEYS) == []
    assert left_over(Shelf({name: (1, 0)}), KEYS) == [f"{name}: 1 entries, 0 pending"]
    assert left_over(Shelf({name: (0, 2)}), KEYS) == [f"{name}: 0 entries, 2 pending"]


def test_loads_may_go_on_and_what_lives_on_is_nobodys_business() -> None:
    """Workers, holders and records of ended requests."""
    keys = [
        KEYS.workers,
        KEYS.worker("w1"),
        KEYS.holders("m"),
        KEYS.request("r"),
        KEYS.parked_refs[:-1],
    ]
    assert left_over(Shelf(dict.fromkeys(keys, (0, 0))), KEYS) == []
    assert left_over(Shelf({KEYS.load("m"): (0, 0)}), KEYS, loads=False) == []
