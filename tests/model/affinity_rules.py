"""Where a load belongs: beside the models of its affinity key."""

from __future__ import annotations

from collections import Counter

from tests.model.load_rules import lease_of, loader, under_way
from tests.model.load_target import KNOWN_TTL, excluded, live_workers, rank_of
from tests.model.model import Model
from tests.model.prediction import must
from tests.model.run import Choices, Run

KEY = "tenant"  # of their affinity


async def route_by_affinity(run: Run, c: Choices) -> None:
    """A load that was claimed belongs beside its kin."""
    if run.idle(c, under_way(run)):
        return
    (worker, ref, token), mode = loader(run, c), c.of(("prefer", "require"))
    most = c.of((0, 1, 2, 0))
    answer, m = await run.call(
        f"route_by_affinity {worker} {ref} {token} {mode} {most}",
        run.scripts.route_by_affinity(worker, ref, token, KEY, mode, most),
    )
    want = _beside_kin(m, worker, ref, token, most if mode == "prefer" else None)
    must(answer == want, f"route_by_affinity says {answer}, not {want}")
    run.count("route_by_affinity", answer)
    run.check("route_by_affinity", m)


def _beside_kin(m: Model, worker: str, ref: str, token: str, preferred: int | None) -> str:
    """`preferred`: the most kin on one worker (0 any number); None: it is required to be there."""
    load = lease_of(m, worker, ref, token)
    if load is None:
        return "stale"
    m.state.affinity.setdefault(KEY, set()).add(ref)
    m.lives(f"affinity:{KEY}", KNOWN_TTL)
    live = live_workers(m.state, m.now)
    worst = 2 if preferred is None else 1
    ready = [
        w for w in live
        if m.state.workers.get(w, {}).get("state") == "ready"
        and (w == worker or rank_of(m.state, w, ref) < worst)
    ]  # fmt: skip
    count = _count_kin(m, ref)
    fits = [w for w in ready if not preferred or count[w] < preferred]
    with_kin = sorted(w for w in fits if count[w])
    best = max(with_kin, key=lambda w: count[w], default=worker)
    if not with_kin and worker in ready and worker not in fits:
        best = max(fits, key=lambda w: count[w], default=worker)
        m.note("route_by_affinity: begins another family")
    if best == worker or (preferred is not None and load.handed_on):
        return "here"
    if best in excluded(m.state, m.now, ref, load.refused, load.extra, load.larger):
        return "nowhere" if preferred is None else "here"
    m.state.loading.get(worker, set()).discard(ref)
    m.order(ref, load.refused, load.extra, best, load.larger)
    if ref in m.state.loads:
        m.state.loads[ref] = m.state.loads[ref]._replace(handed_on=worker)
    return "elsewhere"


def _count_kin(m: Model, ref: str) -> Counter[str]:
    """By worker, who holds or loads it; who is nowhere is no kin any more."""
    count: Counter[str] = Counter()
    for other in m.state.affinity[KEY] - {ref}:
        held, load = m.live_holders(other), m.state.loads.get(other)
        count.update(held)
        if load:
            count[load.worker] += 1
        elif not held:
            m.state.affinity[KEY].discard(other)
    return count
