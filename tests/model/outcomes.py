"""What is left of a request that failed: a line to be logged, and what can be asked for by id."""

from __future__ import annotations

from tests.model.load_target import live_workers
from tests.model.model import Model
from tests.model.state import Item

GENERATIONS, TURN, LIFE, FAILED_MOST = 4, 1_200_000, 4_800_000, 10_000
KINDS = ("failed", "answered")


def trace(
    m: Model, item: Item, status: str, worker: str, cold: str, outcome: str, cause: str, kept: bool
) -> None:
    """A request failed. `kept`: its outcome is in its record."""
    if status in ("succeeded", "cancelled"):
        return
    m.state.failures[f"?f{len(m.state.failures)}"] = {
        "id": item.id, "model": item.ref, "worker": worker, "outcome": outcome, "cause": cause,
    }  # fmt: skip
    if not kept and item.ref:
        text = f"{status} {worker or '-'} {cold} {item.ref} {outcome}"
        record_outcomes(m, "failed", FAILED_MOST, {item.id: text})


def record_outcomes(m: Model, kind: str, most: int, ends: dict[str, str]) -> None:
    """Into the newest generation, or a new one."""
    newest = m.state.outcomes.get("", {})
    number, since = int(newest.get(kind, 0)), int(newest.get(f"{kind}_since", 0))
    size = len(m.state.outcomes.get(f"{kind}.{number}", {}))
    if not 0 < size < most / GENERATIONS or m.now - since >= TURN:
        number += 1
        m.forget(f"outcomes:{kind}.{number - GENERATIONS}")
        m.state.outcomes[""] = {**newest, kind: str(number), f"{kind}_since": str(m.now)}
        m.lives("outcomes", LIFE + TURN)
        m.lives(f"outcomes:{kind}.{number}", LIFE)
        m.state.outcomes[f"{kind}.{number}"] = {}
    m.state.outcomes[f"{kind}.{number}"] |= ends


def recall(m: Model, request: str) -> str:
    """What is kept of a request, '' if nothing is."""
    newest = m.state.outcomes.get("", {})
    for kind in KINDS:
        number = int(newest.get(kind, 0))
        for n in range(number, max(0, number - GENERATIONS), -1):
            text = m.state.outcomes.get(f"{kind}.{n}", {}).get(request)
            if text:
                return text
    return ""


def late(m: Model, ref: str, kind: str, name: str) -> tuple[str, str]:
    """The outcome of what is past its deadline, with what it waited for; and its worker."""
    said = "expired the deadline passed"
    if kind == "work":
        return f"{said}: it was placed on worker {name}", name
    if not live_workers(m.state, m.now):
        return f"{said}: no worker is alive", ""
    failed = m.state.unloadable.get(ref, "").partition(" ")[2]
    if failed:
        return f"{said}: the last load of its model failed: {failed}", ""
    load = m.state.loads.get(ref)
    why = (f", {load.why}" if load and load.why else "") + _last_failure(m, ref)
    if load and load.phase == "ordered":
        return f"{said}: a load of its model was ordered, and no worker has started it{why}", ""
    if load:
        return f"{said}: worker {load.worker} was loading its model{why}", ""
    return f"{said}: it waited for its model to be loaded{why}", ""


def _last_failure(m: Model, ref: str) -> str:
    failures = m.state.failed_on.get(ref, {})
    if not failures:
        return ""
    worker = max(failures, key=lambda name: (int(failures[name].split()[0]), name))
    cause = failures[worker].split("\n", 2)[2].partition(" ")[2]
    return f", after a load failed on worker {worker}: {cause}"
