"""The model of `lua/lib/blame.lua`: failed loads, charged to their worker."""

from __future__ import annotations

from tests.model.load_target import (
    failed_workers,
    failure_of,
    live_workers,
    rank_of,
)
from tests.model.model import Model

KEPT, LONGEST_BACKOFF, AGREEING, MOST_ASKED, NAMED = 32, 600_000, 2, 8, 4


def note_failure(
    m: Model, ref: str, worker: str, backoff: int, temporary: bool, scope: str,
    device_class: str, cause: str, crash: bool = False,
) -> None:  # fmt: skip
    """It is not asked again for a while, each time twice as long."""
    times = failure_of(m.state, ref, worker)[1] + 1
    failures = m.state.failed_on.setdefault(ref, {})
    parent = "" if crash else m.state.workers.get(worker, {}).get("parent", "")
    pause = min(backoff * 2 ** (times - 1), LONGEST_BACKOFF)
    head = f"{m.now + pause} {times} {int(temporary)} {scope} {parent}"
    failures[worker] = f"{head}\n{device_class}\n{cause}"
    m.lives(f"failed_on:{ref}", 2 * LONGEST_BACKOFF)


def forgive(m: Model, ref: str, worker: str) -> None:
    """It has loaded it after all."""
    failures = m.state.failed_on.get(ref, {})
    failures.pop(worker, None)
    if not failures:
        m.forget(f"failed_on:{ref}")


def class_agrees(m: Model, ref: str, device_class: str, worker: str) -> bool:
    """Whether two workers of the class could not load it, or it has no other healthy one."""
    named = failed_workers(m.state, m.now, ref)
    said = [m.state.failed_on[ref][name].split("\n") for name in named]
    agreeing = [s for s in said if s[0].split()[3] == "class" and s[1] == device_class]
    others = [
        w for w in live_workers(m.state, m.now)
        if w != worker and m.state.workers.get(w, {}).get("device_class", "") == device_class
        and rank_of(m.state, w, ref) == 0
    ]  # fmt: skip
    return len(agreeing) >= AGREEING or not others


def agreed_cause(m: Model, ref: str, cause: str) -> tuple[str, bool]:
    """What requests are told, and whether it is temporary for one of the workers that agree."""
    names = failed_workers(m.state, m.now, ref)
    temporary = any(m.state.failed_on[ref][n].split()[2] == "1" for n in names)
    if len(names) < AGREEING:
        return cause, temporary
    code, _, message = cause.partition(" ")
    listed = ", ".join(names[:NAMED])
    said = f"{code} {len(names)} workers could not load it ({listed}), the last: {message}"
    return said, temporary
