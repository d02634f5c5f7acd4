"""What the fleet is told about copies, and what becomes of them, each with what must come of it."""

from __future__ import annotations

from tests.model.clock import grace_of
from tests.model.copies import lasting, must_stay, order_missing
from tests.model.load_target import KNOWN_TTL, least_copies, live_workers, setting
from tests.model.loaded_versions import (
    if_replaced_wish_nothing,
    not_live,
    note_trial,
    rests,
    wish_nothing,
)
from tests.model.model import Model
from tests.model.prediction import STALL_SPARE, must
from tests.model.run import Choices, Run
from tests.model.session_rules import end_session, keep_room, models_of, unpin_lost

POLICIES = (
    {"min_copies": "1"}, {"min_copies": "2"}, {"min_copies": ""}, {"pin": "1"}, {"pin": "1"},
    {"pin": ""}, {"max_copies": "1"}, {"max_copies": ""}, {"preload": "1"}, {"preload": ""},
)  # fmt: skip


async def retire(run: Run, c: Choices) -> None:
    """No more requests for this model to this worker, unless it must stay."""
    if run.idle(c, run.state.holds):
        return None
    worker = run.worker(c, run.state.holds)
    epoch, ref = run.epoch(c, worker), run.ref(c, list(run.state.holds.get(worker, ())))
    tier, mode = c.of(("", "host", "disk")), c.of(("", "gone", "evict", "spare"))
    share = c.of((0.1, 0.9)) if mode == "spare" else 0.0
    last, m = await run.call(
        f"retire {worker} {epoch} {ref} {tier!r} {mode!r} {share}",
        run.scripts.retire(worker, epoch, ref, tier, mode, share),
    )
    if not m.epoch_is(worker, epoch):
        must(last == "", f"retire says {last} to a fenced worker")
        run.count("retire", "fenced")
        return run.check("retire", m)
    vetoed = mode in ("evict", "spare")
    why = must_stay(m, ref, worker, share if mode == "spare" else None) if vetoed else ""
    if why:
        must(last == why, f"retire says {last}, not {why}")
    else:
        why = _retired(m, worker, ref, last)
        if mode != "gone":
            m.note_warm(ref, worker, epoch, tier)
            m.note_leaving(ref, worker, epoch)
    if last not in ("pinned", "needed") and vetoed:
        _enough_are_left(m, ref)
    run.count("retire", why)
    return run.check("retire", m)


def _retired(m: Model, worker: str, ref: str, last: str) -> str:
    m.state.holders.get(ref, set()).discard(worker)
    m.state.holds.get(worker, set()).discard(ref)
    entries = list(m.state.work.get(worker, {}))
    must(last == (entries[-1] if entries else "0-0"), f"I18: drain up to {last}?")
    return "drains" if entries else "empty"


def _enough_are_left(m: Model, ref: str) -> None:
    """Whatever the model says: as many as are to be there."""
    left = {w for w in m.after.holders.get(ref, ()) if m.after.leases.get(w, 0) > m.now}
    least = least_copies(m.after, ref)
    must(len(left) >= least, f"evicted, and of {ref} only {left} are left, not {least}")
    must(setting(m.after, ref, "pin") != 1, f"{ref} is pinned, and was evicted")


async def order_copy(run: Run, c: Choices) -> None:
    """Somebody wants a model loaded before it is asked for."""
    ref, least, trial = c.of(run.refs), c.of((None, None, 0, 1, 2)), c.chance(3)
    answer, m = await run.call(
        f"order_copy {ref} {least} {trial}", run.scripts.order_copy(ref, least, trial=trial)
    )
    _keep(m, ref, least)
    held, load = len(m.live_holders(ref)), m.state.loads.get(ref)
    want, detail = "no_worker", ""
    if held or least == 0:
        want, detail = "held", str(held)
    elif load:
        want, detail = "loading", load.phase
    elif m.breaker(ref) == "open":
        want, detail = "quarantined", answer.detail
    elif ref in m.state.unloadable:
        want, detail = "unloadable", m.state.unloadable[ref].removeprefix("~")
    elif trial and rests(m, ref):
        want = "resting"
    elif order_missing(m, ref, "trial" if trial else "requested"):
        want = "ordered"
        if trial:
            note_trial(m, ref)
    must(answer == (want, detail), f"order_copy says {answer}, not {want} {detail}")
    run.count("order_copy", want)
    run.check("order_copy", m)


def _keep(m: Model, ref: str, least: int | None) -> None:
    if least == 0:
        _let_go(m, ref)
    elif least is not None:
        m.state.stats.setdefault(ref, {})["min_copies"] = str(least)
        m.lives(f"stats:{ref}", KNOWN_TTL)
        if_replaced_wish_nothing(m, ref)
        if least_copies(m.state, ref) > 0:
            m.state.min_copies.add(ref)


def _let_go(m: Model, ref: str) -> None:
    """It has left the repository: nothing of it is kept or pinned, and it replaces no older one."""
    wish_nothing(m, ref)
    for name in ("pin", "min_copies", "preload"):
        m.state.policies.get(ref, {}).pop(name, None)
    not_live(m, ref)
    m.unorder(ref, extra=True)


async def order_unload(run: Run, c: Choices) -> None:
    """Somebody wants every copy freed."""
    ref = run.ref(c, list(run.state.holders))
    answer, m = await run.call(f"order_unload {ref}", run.scripts.order_unload(ref))
    live = m.live_holders(ref)
    if setting(m.state, ref, "pin") == 1 or m.state.pinned.get(ref):
        must(answer == -1, f"order_unload says {answer} of what is pinned")
        run.count("order_unload", "pinned")
        return run.check("order_unload", m)
    if least_copies(m.state, ref) > 0:
        m.state.policies.setdefault(ref, {}).update(min_copies="0", preload="0")
    m.state.min_copies.discard(ref)
    m.unorder(ref, extra=True)
    order = f"unload {ref}"
    for worker in live:
        m.state.told[worker] = [o for o in m.state.told.get(worker, []) if o != order]
        m.tell(worker, order)
    must(answer == len(live), f"order_unload says {answer}, not {len(live)}")
    run.count("order_unload", "told" if live else "nobody")
    return run.check("order_unload", m)


async def set_policy(run: Run, c: Choices) -> None:
    """The API overrides a field of a policy, or takes that back."""
    ref, fields = c.of(run.refs), c.of(POLICIES)
    answer, m = await run.call(f"set_policy {ref} {fields}", run.scripts.set_policy(ref, fields))
    policy = m.state.policies.setdefault(ref, {})
    policy |= fields
    for name in [name for name, value in policy.items() if not value]:
        del policy[name]
    if least_copies(m.state, ref) > 0:
        m.state.min_copies.add(ref)
    must(answer == policy, f"set_policy says {answer}, not {policy}")
    run.count("set_policy", "set" if any(fields.values()) else "taken back")
    run.check("set_policy", m)


def _was_looked_at(m: Model, ref: str) -> bool:
    """Where many orders wait, the script looks at some of what is wanted, in any order."""
    known = m.after.expires.get(f"stats:{ref}") == m.now + KNOWN_TTL
    unpinned = m.after.pinned.get(ref, set()) != m.state.pinned.get(ref, set())
    moved = m.after.reserved.get(ref) != m.state.reserved.get(ref)
    return known or unpinned or moved or ref not in m.after.min_copies or _is_ordered(m, ref)


def _is_ordered(m: Model, ref: str) -> bool:
    load = m.after.loads.get(ref)
    return load is not None and ref not in m.state.loads and load.extra == "min_copies"


def _end_or_keep(m: Model, session: str, grace: int) -> int:
    """The end of a session, unless its client may have been cut off."""
    ttl = m.state.pins.get(session, {}).get("ttl")
    if not grace or ttl is None:
        return end_session(m, session)
    m.state.sessions[session] = m.now + int(ttl)
    m.lives(f"session:{session}", int(ttl) + STALL_SPARE)
    return 0


async def reconcile(run: Run, c: Choices) -> None:
    """Sessions end; copies that should be there are ordered."""
    answer, m = await run.call("reconcile", run.scripts.reconcile())
    late = sorted((at, session) for session, at in m.state.sessions.items() if at <= m.now)
    grace = grace_of(m)
    ended = unpinned = 0
    for _, session in late[: run.chunk]:
        if unpinned < run.chunk:
            models = len(models_of(m, session))
            was_open = _end_or_keep(m, session, grace)
            ended, unpinned = ended + was_open, unpinned + models * was_open
    must(len(m.state.min_copies) <= run.chunk, "all that is wanted is looked at in one call")
    most, before = 2 * len(live_workers(m.state, m.now)), len(m.state.orders)
    sure = before + len(m.state.min_copies) <= most + 1
    ordered = 0
    for ref in sorted(m.state.min_copies):
        if m.work_done(unpinned) >= run.chunk:
            break
        if not sure and not _was_looked_at(m, ref):
            continue
        unpin_lost(m, ref)
        keep_room(m, ref)
        if ref in m.state.stats:
            m.lives(f"stats:{ref}", KNOWN_TTL)
        if least_copies(m.state, ref) == 0:
            m.state.min_copies.discard(ref)
            run.count("reconcile", "forgotten")
        elif len(lasting(m, ref)) < least_copies(m.state, ref) and (sure or _is_ordered(m, ref)):
            ordered += order_missing(m, ref, "min_copies")
    must(ordered <= max(0, most + 1 - before), f"{ordered} orders more, where {before} wait")
    run.count("reconcile", "ended" if ended else "none ended")
    run.count("reconcile", "ordered" if ordered else "put off" if before > most else "none ordered")
    must(answer == (ended, ordered), f"reconcile says {answer}, not {ended, ordered}")
    run.check("reconcile", m)
