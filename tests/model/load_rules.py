"""What workers do with load orders, each with what must come of it."""

from __future__ import annotations

from tests.model.load_target import (
    excluded,
    failed_workers,
    is_one_left,
    number,
    rank_of,
    setting,
    soonest,
)  # fmt: skip
from tests.model.model import Model
from tests.model.prediction import STALL_SPARE, must
from tests.model.run import LOAD_LEASE_MS, Choices, Run
from tests.model.state import Load

HEAD_START_MS, NO_CAPACITY_MS, TRIAL_MS = 250, 5000, 30_000


def lease_of(m: Model, worker: str, ref: str, token: str) -> Load | None:
    """The load lease if it is this worker's."""
    load = m.state.loads.get(ref)
    return load if load and load.token == token and load.worker == worker else None


def under_way(run: Run) -> bool:
    return any(load.worker for load in run.state.loads.values())


def loader(run: Run, c: Choices) -> tuple[str, str, str]:
    """Worker, ref and token: mostly of a load under way."""
    loads = [(load.worker, ref) for ref, load in run.state.loads.items() if load.worker]
    if loads and not c.chance(4):
        worker, ref = c.of(loads)
        return worker, ref, run.token(c, ref)
    ref = run.ref(c, [ref for ref, entries in run.state.parked.items() if entries])
    return run.worker(c), ref, run.token(c, ref)


def end_load(m: Model, worker: str, ref: str) -> None:
    m.forget(f"load:{ref}")
    m.state.loading.get(worker, set()).discard(ref)


async def take_order(run: Run, c: Choices) -> None:
    """A worker's RQ thread pops an order, perhaps with the job."""
    if not run.state.orders:
        return
    job = run.state.orders[0]
    lost = c.chance(3)
    await run.scripts.touch("LPOP", run.keys.rq_queue())
    if lost:
        await run.scripts.touch("DEL", run.keys.rq_job(job))
    _, m = await run.call(f"take {job}", run.scripts.touch("PING"))
    m.state.orders.pop(0)
    if lost:
        m.forget(f"rq:job:{job}")
    run.check("take_order", m)


async def claim_load(run: Run, c: Choices) -> None:
    """A worker asks for the load that an order invites to."""
    free = [ref for ref, load in run.state.loads.items() if not load.worker]
    if run.idle(c, free and run.state.workers):
        return
    worker, ref = run.worker(c), run.ref(c, free or list(run.state.loads))
    epoch, token = run.epoch(c, worker), run.token(c, ref)
    answer, m = await run.call(
        f"claim_load {worker} {epoch} {ref} {token}",
        run.scripts.claim_load(worker, epoch, ref, token, LOAD_LEASE_MS),
    )
    must(answer == _claimed(m, worker, epoch, ref, token), f"claim_load says {answer}")
    if answer in ("claimed", "suspect"):
        run.history.copies.claimed(ref, worker, token)
    run.count("claim_load", answer)
    run.check("claim_load", m)


def _claimed(m: Model, worker: str, epoch: str, ref: str, token: str) -> str:
    if not m.epoch_is(worker, epoch):
        return "fenced"
    load = m.state.loads.get(ref)
    if load is None or load.token != token or load.worker:
        return "stale"
    over = load.extra == "session" and not m.state.pinned.get(ref)
    if (over or not load.extra) and not m.state.parked.get(ref):
        m.unorder(ref, extra=over)
        return "unwanted"
    if worker in excluded(
        m.state, m.now, ref, load.refused, load.extra, load.larger, load.all_failed
    ):
        return "refused"
    if _healthier(m, ref, worker, load):
        m.note("health: outranked")
        return "refused"
    if load.chosen not in ("", worker) and m.now < load.since + HEAD_START_MS:
        return "later"
    m.forget_order(ref, token)
    if rank_of(m.state, worker, ref):
        m.state.workers[worker]["trial"] = str(m.now)
    m.state.loads[ref] = load._replace(worker=worker, phase="loading", since=m.now)
    m.lives(f"load:{ref}", LOAD_LEASE_MS)
    m.state.loading.setdefault(worker, set()).add(ref)
    crashed = int(m.state.breakers.get(ref, {}).get("crashes", 0))
    return "suspect" if crashed else "claimed"


def _healthier(m: Model, ref: str, worker: str, load: Load) -> bool:
    rank = rank_of(m.state, worker, ref)
    if not rank or (load.chosen == worker and rank < 2):
        return False
    others = excluded(m.state, m.now, ref, load.refused | {worker}, load.extra, load.larger)
    trial = int(m.state.workers[worker].get("trial", m.now)) + TRIAL_MS
    if rank < 2 and m.now >= trial:
        m.note("health: trial")
        return False
    return soonest(m.state, m.now, ref, others)[2] < rank


async def reload(run: Run, c: Choices) -> None:
    """A worker wants a model that it held before."""
    if run.idle(c, run.state.workers and set(run.refs) - run.state.loads.keys()):
        return
    worker, ref = run.worker(c), run.ref(c, [])
    epoch = run.epoch(c, worker)
    token, m = await run.call(
        f"reload {worker} {epoch} {ref}", run.scripts.reload(worker, epoch, ref, LOAD_LEASE_MS)
    )
    crashed = int(m.state.breakers.get(ref, {}).get("crashes", 0)) > 1
    busy = ref in m.state.loads or ref in m.state.unloadable
    enough = 0 < setting(m.state, ref, "max_copies") <= len(m.live_holders(ref))
    rests = worker in failed_workers(m.state, m.now, ref)
    refused = crashed or busy or enough or rests or worker in m.state.holders.get(ref, ())
    rank, others = rank_of(m.state, worker, ref), excluded(m.state, m.now, ref, {worker})
    if not refused and rank > 0 and soonest(m.state, m.now, ref, others)[2] < rank:
        refused = True
        m.note("reload: outranked")
    must(bool(token) == (m.epoch_is(worker, epoch) and not refused), f"reload says {token!r}")
    if token:
        m.state.loads[ref] = Load(m.new_token(ref, token), "loading", worker, m.now, frozenset())
        m.lives(f"load:{ref}", LOAD_LEASE_MS)
        m.state.loading.setdefault(worker, set()).add(ref)
        run.history.copies.claimed(ref, worker, token)
    run.count("reload", "claimed" if token else "refused")
    run.check("reload", m)


async def renew_load(run: Run, c: Choices) -> None:
    """A load goes on."""
    if run.idle(c, under_way(run)):
        return
    (worker, ref, token), why = loader(run, c), c.of(("", "", "no room"))
    spare = c.of((0, STALL_SPARE))
    kept, m = await run.call(
        f"renew_load {worker} {ref} {token} {why!r}",
        run.scripts.renew_load(worker, ref, token, LOAD_LEASE_MS, why, spare),
    )
    load = lease_of(m, worker, ref, token)
    must(kept == (load is not None), f"renew_load says {kept}")
    if load:
        m.state.loads[ref] = load._replace(why=why, until=m.now + LOAD_LEASE_MS)
        m.lives(f"load:{ref}", LOAD_LEASE_MS + spare)
    run.count("renew_load", "kept" if kept else "lost")
    run.check("renew_load", m)


async def refuse_load(run: Run, c: Choices) -> None:
    """A model does not fit this worker: another one's turn."""
    if run.idle(c, under_way(run)):
        return
    (worker, ref, token), too_large = loader(run, c), c.chance(3)
    answer, m = await run.call(
        f"refuse_load {worker} {ref} {token} {too_large}",
        run.scripts.refuse_load(worker, ref, token, too_large=too_large),
    )
    must(answer == _refused(m, worker, ref, token, too_large), f"refuse_load says {answer}")
    if answer == "no_worker":  # to fail it
        run.history.copies.claimed(ref, worker, token)
    run.count("refuse_load", answer)
    run.check("refuse_load", m)


def _refused(m: Model, worker: str, ref: str, token: str, too_large: bool) -> str:
    load = m.state.loads.get(ref)
    if load is None or load.token != token or load.worker not in ("", worker):
        return "stale"
    m.state.loading.get(worker, set()).discard(ref)
    refused, own = load.refused | {worker}, int(number(m.state, worker, "budget_bytes"))
    larger = max(load.larger, own) if too_large else load.larger
    waits = bool(m.state.parked.get(ref))
    if (waits or load.extra) and is_one_left(m.state, m.now, ref, refused, load.extra, larger):
        m.order(ref, refused, load.extra, larger=larger)
        return "ordered"
    if not waits or m.live_holders(ref):
        m.forget(f"load:{ref}")
        m.state.no_capacity[ref] = worker
        m.lives(f"no_capacity:{ref}", NO_CAPACITY_MS)
        return "no_capacity"
    if load.extra == "scale_out" and is_one_left(m.state, m.now, ref, {worker}, "", larger):
        m.note("refuse_load: a first copy now")
        m.order(ref, {worker}, larger=larger)
        return "ordered"
    m.state.loads[ref] = load._replace(worker=worker)
    return "no_worker"


async def take_told(run: Run, c: Choices) -> None:
    """A worker takes an order that was given to it by name, or the connection swallows it."""
    if not run.state.told:
        return
    worker = c.of(sorted(run.state.told))
    order, m = await run.call(
        f"take_told {worker}", run.scripts.touch("LPOP", run.keys.orders(worker))
    )
    orders = m.state.told.get(worker, [])
    must((order is None) == (not orders), f"{worker} is told {order}, not one of {orders}")
    if order is not None:
        orders.remove(order.decode())
        run.count("take_told", order.decode().split()[0])
    if not orders:
        m.forget(f"orders:{worker}")
    run.check("take_told", m)
