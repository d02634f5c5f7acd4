"""What Redis knows of a worker and of a model version: the commands that ask, and their replies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from msgspec import Struct

from router.fleet.asking import Command
from router.fleet.load_status import LoadState, load_state
from shared.errors import InvalidInput
from shared.keys import Keys
from shared.names import ModelRef
from shared.redis_decode import number, text_of, texts
from shared.worker_report import WorkerReport, decode

SETTINGS = ("pin", "priority")  # of a policy, as far as they are in Redis


@dataclass(frozen=True)
class WorkerFacts:
    """A live worker: its epoch, what it reports, the length of its work stream, what it holds and
    loads; when it has reported the use of its copies (ms, 0: a moment ago)."""

    id: str
    report: WorkerReport
    epoch: str = ""
    queue: int = 0
    holds: frozenset[str] = frozenset()
    loads: frozenset[str] = frozenset()
    copies_at: float = 0


class ModelFacts(Struct, frozen=True, gc=False):
    """A model version: `holders` worker -> 'tier bytes since', `warm` worker -> 'tier epoch',
    `settings`: pin and priority as far as they are known."""

    holders: Mapping[str, str] = {}
    warm: Mapping[str, str] = {}
    settings: Mapping[str, str] = {}
    sessions: int = 0
    parked: int = 0
    load: LoadState | None = None

    @property
    def pinned(self) -> bool:
        """By the API or the manifest, or by a session."""
        return self.sessions > 0 or self.settings.get("pin") == "1"


def worker_commands(keys: Keys, worker: str) -> tuple[Command, ...]:
    """For `worker_of`."""
    return (
        ("HGETALL", keys.worker(worker)), ("XLEN", keys.work(worker)),
        ("SMEMBERS", keys.holds(worker)), ("SMEMBERS", keys.loads(worker)),
    )  # fmt: skip


def worker_of(
    worker: str,
    record: dict[bytes, bytes],
    queue: int,
    holds: Iterable[bytes],
    loads: Iterable[bytes],
) -> WorkerFacts:
    """A worker by the replies to its commands."""
    known = texts(record)
    return WorkerFacts(
        worker, decode(known), known.get("epoch", ""), queue,
        frozenset(refs_of(holds)), frozenset(refs_of(loads)), number(known.get("copies_at", "")),
    )  # fmt: skip


def model_commands(keys: Keys, ref: str) -> tuple[Command, ...]:
    """For `model_of`."""
    return (
        ("HGETALL", keys.holders(ref)), ("HGETALL", keys.warm(ref)),
        ("HMGET", keys.stats(ref), *SETTINGS), ("HMGET", keys.policy(ref), *SETTINGS),
        ("SCARD", keys.pinned(ref)),
    )  # fmt: skip


def load_commands(keys: Keys, ref: str) -> tuple[Command, ...]:
    """For the last two of `model_of`: only models that something waits for have them."""
    return ("HGETALL", keys.load(ref)), ("XLEN", keys.parked(ref))


def model_of(
    holders: dict[bytes, bytes], warm: dict[bytes, bytes], known: list[bytes | None],
    policy: list[bytes | None], sessions: int, load: dict[bytes, bytes], parked: int,
) -> ModelFacts:  # fmt: skip
    """A model version by the replies to its commands."""
    values = [
        text_of(override) or text_of(given) for given, override in zip(known, policy, strict=True)
    ]
    settings = {name: text for name, text in zip(SETTINGS, values, strict=True) if text}
    return ModelFacts(
        texts(holders), texts(warm), settings, sessions, parked, load_state(texts(load))
    )


def refs_of(members: Iterable[Any]) -> set[str]:
    """Those that name a model version as this release does."""
    return set(filter(is_ref, (member.decode(errors="replace") for member in members)))


@lru_cache(1 << 14)
def is_ref(text: str) -> bool:
    """Whether it names a model version as this release does."""
    try:
        ModelRef.parse(text)
    except InvalidInput:
        return False
    return True
