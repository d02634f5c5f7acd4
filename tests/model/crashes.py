"""The model of `lua/lib/crashes.lua`, `breaker.lua` and of what successes tell."""

from __future__ import annotations

from tests.model.blame import note_failure
from tests.model.load_target import live_workers, rank_of
from tests.model.model import Model
from tests.model.state import Item

CRASHES, PER_WORKER, SUCCESSES = 5, 3, 20
WINDOW, FIRST_PAUSE, LONGEST_PAUSE, RECENT = 600_000, 10_000, 600_000, 60_000
CALM, BACKOFF, KEPT_MODELS = 60_000, 10_000, 10


def crashed_workers(m: Model, ref: str) -> dict[str, int]:
    """Crashes by worker."""
    parts = m.state.breakers.get(ref, {}).get("by", "").split()
    return {worker: int(count) for worker, count in zip(parts[::2], parts[1::2], strict=True)}


def note_crash(m: Model, worker: str, refs: set[str]) -> bool:
    """A device process died with these; whether its worker has crashed with one model only."""
    known = m.state.crashed.setdefault(worker, {})
    known["crashes"] = str(int(known.get("crashes", 0)) + 1)
    for ref in sorted(refs):
        if len(known) < KEPT_MODELS:
            known[ref] = str(int(known.get(ref, 0)) + 1)
    models = known.keys() - {"crashes", "suspect"}
    against = sum(_against(m, worker, ref, int(known[ref])) for ref in models)
    if int(known["crashes"]) > 1 and against > 1:
        known["suspect"] = "1"
        m.note("crashes: suspect")
    m.lives(f"crashed:{worker}", CALM)
    return len(models) == 1


def _against(m: Model, worker: str, ref: str, times: int) -> int:
    """How much a model speaks against the worker that it crashed."""
    breaker = m.state.breakers.get(ref, {})
    if crashed_workers(m, ref).keys() - {worker}:
        return 0
    return 2 if "ok_at" in breaker or ("by" not in breaker and times > 1) else 1


def charge_crash(m: Model, ref: str, worker: str, cause: str, retried: bool, sole: bool) -> None:
    """The death of a device process is charged to a model."""
    held, stays = m.state.breakers.setdefault(ref, {}), WINDOW
    counts = crashed_workers(m, ref)
    counts[worker] = counts.get(worker, 0) + 1
    score = sum(min(count, PER_WORKER) for count in counts.values())
    held["by"] = " ".join(sorted(f"{w} {count}" for w, count in counts.items()))
    held["score"], held["cause"] = str(score), cause
    held["crashes"] = str(int(held.get("crashes", 0)) + 1)
    held.pop("probe_until", None)
    less = int(held.get("successes", 0)) // SUCCESSES
    healthy = [w for w in live_workers(m.state, m.now) if not rank_of(m.state, w, "")]
    alone = sole and counts[worker] - less >= CRASHES and not set(healthy) - {worker}
    if "until" in held or alone or score - less >= CRASHES:
        stays += _open(m, ref, again=retried and "until" in held)
        m.note("crashes: convicted by one" if alone else "crashes: convicted")
    m.lives(f"breaker:{ref}", stays)
    if counts[worker] > 1:
        note_failure(m, ref, worker, BACKOFF, True, "worker", "", f"crashed {cause}", True)


def _open(m: Model, ref: str, again: bool) -> int:
    held = m.state.breakers[ref]
    held["opens"] = str(int(held.get("opens", 0)) + (not (again and "opens" in held)))
    pause = min(FIRST_PAUSE * 2 ** (int(held["opens"]) - 1), LONGEST_PAUSE)
    held["until"] = str(m.now + pause)
    m.note_trouble(ref, pause)
    return pause


def count_success(m: Model, item: Item, status: str, worker: str) -> None:
    """Perhaps a model that has crashed workers has served a request."""
    ref, held = item.ref, m.state.breakers.get(item.ref, {})
    if status != "succeeded" or "w" not in item.flags or "score" not in held:
        return
    held["successes"] = str(int(held.get("successes", 0)) + 1)
    if int(held["successes"]) >= SUCCESSES * int(held["score"]):
        m.note("crashes: outweighed")
        m.forget(f"breaker:{ref}")
    elif worker not in crashed_workers(m, ref):
        held["ok_at"] = str(m.now)


def crashed_holders(m: Model, ref: str) -> set[str] | None:
    """Who must not serve it while it is quarantined; None: no holder may."""
    ok_at = int(m.state.breakers.get(ref, {}).get("ok_at", 0))
    crashed = set(crashed_workers(m, ref))
    return crashed if ok_at > m.now - RECENT and m.live_holders(ref) - crashed else None
