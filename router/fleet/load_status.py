"""Why requests for a model wait: its load lease and last failure, as documents and sentences."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from shared import statuses
from shared.channel import Channel
from shared.connection import redis_errors
from shared.constants import RECENT_SUCCESS_MS
from shared.events import LATEST_MS
from shared.keys import Keys
from shared.redis_decode import cell_ms, is_alive, number, pairs, text_of, texts


class LoadState(NamedTuple):
    """A load lease. `since_ms`: of this phase, by Redis's clock. `chosen`: the worker that may
    claim it first. `extra`: why it was ordered without a request. `why`: what the load waits
    for."""

    phase: str
    worker: str
    since_ms: int
    chosen: str
    extra: str
    refused: tuple[str, ...]
    why: str

    def document(self, now_ms: int) -> dict[str, Any]:
        """The lease as JSON, without empty fields."""
        shown: dict[str, Any] = {
            "phase": self.phase,
            "worker": self.worker,
            "since": time_of(self.since_ms),
            "seconds": seconds_between(self.since_ms, now_ms),
            "asked_first": self.chosen,
            "extra": self.extra,
            "refused_by": list(self.refused),
            "why": self.why,
        }
        return {name: value for name, value in shown.items() if value not in ("", [])}


class Failure(NamedTuple):
    """Why the last load failed, until it may be retried. `passing`: it will be."""

    code: str
    message: str
    passing: bool
    left_ms: int

    def document(self) -> dict[str, Any]:
        """The failure as JSON."""
        return {
            "code": self.code,
            "error": self.message,
            "passing": self.passing,
            "retry_after_s": round(self.left_ms / 1000, 1),
        }


def load_state(fields: Mapping[str, str]) -> LoadState | None:
    """A load lease as Redis holds it; None if there is none."""
    if "phase" not in fields:
        return None
    return LoadState(
        phase=fields["phase"],
        worker=fields.get("worker", ""),
        since_ms=int(number(fields.get("since", ""))),
        chosen=fields.get("for", ""),
        extra=fields.get("extra", ""),
        refused=tuple(dict.fromkeys(fields.get("refused", "").split())),
        why=fields.get("why", ""),
    )


def failure(text: str, left_ms: int) -> Failure | None:
    """The value of `unloadable:<ref>`, `~` before a cause that may pass; None if it is empty."""
    if not text:
        return None
    code, _, message = text.removeprefix("~").partition(" ")
    return Failure(code, message, text.startswith("~"), max(left_ms, 0))


def quarantined(breaker: Mapping[str, str], now_ms: int) -> Failure | None:
    """The quarantine of a model version that crashes workers, while it is in force."""
    left_ms = max(number(breaker.get(name, "")) for name in ("until", "probe_until")) - now_ms
    if "until" not in breaker or left_ms <= 0:
        return None
    crashes, cause = breaker.get("crashes", "0"), breaker.get("cause", "")
    names = ", ".join(crashed_workers(breaker))
    text = f"this model version crashed workers {crashes} times ({names}), the last: {cause}"
    return Failure("quarantined", text, True, int(left_ms))


def holders_that_go_on(
    breaker: Mapping[str, str], holders: Collection[str], now_ms: int
) -> list[str]:
    """The live holders that serve a model during its quarantine: it has not crashed them, and has
    succeeded on such a worker a short while ago. `crashed_holders` of the scripts decides alike."""
    if number(breaker.get("ok_at", "")) <= now_ms - RECENT_SUCCESS_MS:
        return []
    return sorted(set(holders) - crashed_workers(breaker).keys())


class Readiness(NamedTuple):
    """Whether requests for a model are served. `warm`: a live worker holds it. `refusal`: why they
    are refused now. `note`: what else an operator should know."""

    warm: bool
    refusal: Failure | None
    note: str = ""


def readiness(
    holders: Collection[str], failed: Failure | None, breaker: Mapping[str, str], now_ms: int
) -> Readiness:
    """What `place` would answer. `holders`: live ones; `failed`: of the last load. A failed load
    refuses nothing that a holder serves, nor does a quarantine while holders go on."""
    quarantine, warm = quarantined(breaker, now_ms), bool(holders)
    if quarantine is None:
        return Readiness(warm, None if warm else failed)
    on = holders_that_go_on(breaker, holders, now_ms)
    if not on:
        return Readiness(warm, quarantine)
    note = f"quarantined on other workers than {', '.join(on)}: {quarantine.message}"
    return Readiness(warm, None, note)


def crashed_workers(breaker: Mapping[str, str]) -> dict[str, int]:
    """Crashes by worker, of a model's breaker."""
    parts = breaker.get("by", "").split()
    return {
        worker: int(number(count)) for worker, count in zip(parts[::2], parts[1::2], strict=False)
    }


def failures_by_worker(fields: Mapping[str, str], now_ms: int) -> list[dict[str, Any]]:
    """The workers that could not load a model, as documents: each cause, how often, and for how
    long the worker is not asked again."""
    found = []
    for worker, text in sorted(fields.items()):
        head, _, rest = text.partition("\n")
        ends, times = [*head.split(), "", ""][:2]
        code, _, message = rest.partition("\n")[2].partition(" ")
        left_s = max(number(ends) - now_ms, 0) / 1000
        found.append(
            {"worker": worker, "code": code, "error": message, "times": int(number(times)),
             "retry_after_s": round(left_s, 1)}
        )  # fmt: skip
    return found


def explain_wait(
    state: LoadState | None, failed: Failure | None, now_ms: int, workers: int | None = None
) -> str:
    """Why a parked request waits, in a sentence. `workers`: how many are live, if known."""
    text = _waits(state, failed, now_ms)
    return f"no worker is alive; {text}" if workers == 0 else text


def _waits(state: LoadState | None, failed: Failure | None, now_ms: int) -> str:
    if state is None and failed is not None:
        return (
            f"the last load failed ({failed.message}); the next one is tried in "
            f"{failed.left_ms / 1000:.0f} s"
        )
    if state is None:
        return "no load is ordered yet"
    for_s = f"for {seconds_between(state.since_ms, now_ms):.0f} s"
    if state.phase == statuses.ORDERED:
        text = f"a load is ordered {for_s}, and no worker has started it yet"
        if state.chosen:
            text += f"; {state.chosen} was asked first"
        if state.refused:
            text += f"; not possible on {', '.join(state.refused)}"
    else:
        text = f"{state.phase} on worker {state.worker} {for_s}"
    return f"{text}: {state.why}" if state.why else text


class LoadStatus:
    """Reads why the requests of one model wait."""

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._channel = channel
        self._keys = keys

    async def waits(self, ref: str) -> str:
        """Why the requests that are parked for `ref` wait."""
        ask, unloadable = self._channel.execute_command, self._keys.unloadable(ref)
        with redis_errors():
            clock, noted, flat, why, left_ms, last = await asyncio.gather(
                ask("TIME"), ask("GET", self._keys.clock), ask("HGETALL", self._keys.load(ref)),
                ask("GET", unloadable), ask("PTTL", unloadable),
                ask("ZREVRANGE", self._keys.workers, 0, 0, "WITHSCORES"),
            )  # fmt: skip
        lease, now_ms = texts(pairs(flat)), cell_ms(clock, noted)
        alive = int(bool(last) and is_alive(float(last[1]), now_ms))
        return explain_wait(load_state(lease), failure(text_of(why), left_ms), now_ms, alive)


def seconds_between(since_ms: float, now_ms: float) -> float:
    """Never below 0: Redis's clock may have been set back."""
    return round(max(now_ms - since_ms, 0) / 1000, 1)


def time_of(ms: float) -> str:
    """A moment of Redis's clock."""
    return _second(int(min(max(ms, 0), LATEST_MS) // 1000))


@lru_cache(4096)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
