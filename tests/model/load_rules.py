"""What workers do with load orders and copies, each with what must come of it."""

from __future__ import annotations

from tests.model.model import Model, must
from tests.model.moves import PASSING_MARK, moving, place_item, publish
from tests.model.run import LOAD_LEASE_MS, Choices, Run
from tests.model.state import Load

CAUSE, PASSING_CAUSE, BACKOFF_MS = "corrupt its hash is wrong", "disk_full no room", 4000


def _lease(m: Model, worker: str, ref: str, token: str) -> Load | None:
    """The load lease if it is this worker's."""
    load = m.state.loads.get(ref)
    return load if load and load.token == token and load.worker == worker else None


def _under_way(run: Run) -> bool:
    return any(load.worker for load in run.state.loads.values())


def _loader(run: Run, c: Choices) -> tuple[str, str, str]:
    """Worker, ref and token: mostly of a load under way."""
    loads = [(load.worker, ref) for ref, load in run.state.loads.items() if load.worker]
    if loads and not c.chance(4):
        worker, ref = c.of(loads)
        return worker, ref, run.token(c, ref)
    ref = run.ref(c, [ref for ref, entries in run.state.parked.items() if entries])
    return run.worker(c), ref, run.token(c, ref)


def _end_load(m: Model, worker: str, ref: str) -> None:
    m.forget(f"load:{ref}")
    m.state.loading.get(worker, set()).discard(ref)


async def take_order(run: Run, c: Choices) -> None:
    """A worker's RQ thread pops an order, perhaps with the job."""
    if not run.state.orders:
        return
    job = c.of(sorted(run.state.orders))
    lost = c.chance(3)
    await run.scripts.touch("LREM", f"{run.keys.rq_queue()}", 1, job)
    if lost:
        await run.scripts.touch("DEL", run.keys.rq_job(job))
    _, m = await run.call(f"take {job}", run.scripts.touch("PING"))
    m.state.orders.discard(job)
    if lost:
        m.forget(f"rq:job:{job}")
    run.check("take_order", m)


async def claim_load(run: Run, c: Choices) -> None:
    """A worker asks for the load that an order invites to."""
    if run.idle(c, run.state.loads):
        return
    free = [ref for ref, load in run.state.loads.items() if not load.worker]
    worker, ref = run.worker(c), run.ref(c, free or list(run.state.loads))
    epoch, token = run.epoch(c, worker), run.token(c, ref)
    answer, m = await run.call(
        f"claim_load {worker} {epoch} {ref} {token}",
        run.scripts.claim_load(worker, epoch, ref, token, LOAD_LEASE_MS),
    )
    must(answer == _claimed(m, worker, epoch, ref, token), f"claim_load says {answer}")
    run.count("claim_load", answer)
    run.check("claim_load", m)


def _claimed(m: Model, worker: str, epoch: str, ref: str, token: str) -> str:
    if not m.epoch_is(worker, epoch):
        return "fenced"
    load = m.state.loads.get(ref)
    if load is None or load.token != token or load.worker:
        return "stale"
    if not m.state.parked.get(ref):
        m.unorder(ref)
        return "unwanted"
    if worker in load.refused:
        return "refused"
    m.state.loads[ref] = load._replace(worker=worker, phase="loading", since=m.now)
    m.lives(f"load:{ref}", LOAD_LEASE_MS)
    m.state.loading.setdefault(worker, set()).add(ref)
    crashed = int(m.state.breakers.get(ref, {}).get("crashes", 0))
    return "suspect" if crashed else "claimed"


async def reload(run: Run, c: Choices) -> None:
    """A worker wants a model that it held before."""
    worker, ref = run.worker(c), run.ref(c, [])
    epoch = run.epoch(c, worker)
    token, m = await run.call(
        f"reload {worker} {epoch} {ref}", run.scripts.reload(worker, epoch, ref, LOAD_LEASE_MS)
    )
    crashed = int(m.state.breakers.get(ref, {}).get("crashes", 0)) > 1
    busy = ref in m.state.loads or ref in m.state.unloadable
    refused = crashed or busy or worker in m.state.holders.get(ref, ())
    must(bool(token) == (m.epoch_is(worker, epoch) and not refused), f"reload says {token!r}")
    if token:
        m.state.loads[ref] = Load(m.new_token(ref, token), "loading", worker, m.now, ())
        m.lives(f"load:{ref}", LOAD_LEASE_MS)
        m.state.loading.setdefault(worker, set()).add(ref)
    run.count("reload", "claimed" if token else "refused")
    run.check("reload", m)


async def renew_load(run: Run, c: Choices) -> None:
    """A load goes on."""
    if run.idle(c, _under_way(run)):
        return
    worker, ref, token = _loader(run, c)
    kept, m = await run.call(
        f"renew_load {worker} {ref} {token}",
        run.scripts.renew_load(worker, ref, token, LOAD_LEASE_MS),
    )
    must(kept == (_lease(m, worker, ref, token) is not None), f"renew_load says {kept}")
    if kept:
        m.lives(f"load:{ref}", LOAD_LEASE_MS)
    run.count("renew_load", "kept" if kept else "lost")
    run.check("renew_load", m)


async def refuse_load(run: Run, c: Choices) -> None:
    """A model does not fit this worker: another one's turn."""
    if run.idle(c, _under_way(run)):
        return
    worker, ref, token = _loader(run, c)
    answer, m = await run.call(
        f"refuse_load {worker} {ref} {token}", run.scripts.refuse_load(worker, ref, token)
    )
    must(answer == _refused(m, worker, ref, token), f"refuse_load says {answer}")
    run.count("refuse_load", answer)
    run.check("refuse_load", m)


def _refused(m: Model, worker: str, ref: str, token: str) -> str:
    load = m.state.loads.get(ref)
    if load is None or load.token != token or load.worker not in ("", worker):
        return "stale"
    m.state.loading.get(worker, set()).discard(ref)
    refused = (*load.refused, *(() if worker in load.refused else (worker,)))
    if any(until > m.now and w not in refused for w, until in m.state.leases.items()):
        m.order(ref, refused)
        return "ordered"
    m.state.loads[ref] = load._replace(worker=worker)
    return "nobody"


async def announce(run: Run, c: Choices) -> None:
    """A copy is ready, or is still held; its parked requests are taken."""
    worker, ref, token = _loader(run, c)
    loading = ref in run.state.loads and run.state.loads[ref].worker
    token, epoch = token if bool(loading) != c.chance(5) else "", run.epoch(c, worker)
    answer, m = await run.call(
        f"announce {worker} {epoch} {ref} {token!r}",
        run.scripts.announce(worker, epoch, ref, token, "device 1"),
    )
    want = _announced(m, run, worker, epoch, ref, token)
    must(answer == want, f"announce says {answer}, not {want}")
    run.count("announce", {-1: "stale", -2: "fenced", 0: "all"}.get(answer, "part"))
    run.check("announce", m)


def _announced(m: Model, run: Run, worker: str, epoch: str, ref: str, token: str) -> int:
    if not m.epoch_is(worker, epoch):
        return -2
    if token and not _lease(m, worker, ref, token):
        if worker not in m.state.holders.get(ref, ()):
            return -1
        token = ""  # it was announced before, and the answer was lost
    m.state.holders.setdefault(ref, set()).add(worker)
    m.state.holds.setdefault(worker, set()).add(ref)
    going = m.state.leases.get(worker, 0) > m.now
    for entry in list(m.state.parked.get(ref, {}))[: run.chunk] if going else ():
        going = m.breaker(ref) != "open"
        if not going:
            break
        place_item(m, moving(m, "parked", ref, entry))
    left = len(m.state.parked.get(ref, {}))
    if left == 0:
        m.state.waiting.discard(ref)
        m.state.parked.pop(ref, None)
        m.forget(f"unloadable:{ref}")
    left = left if going else 0
    if left == 0 and token:
        _end_load(m, worker, ref)
    return left


async def fail_load(run: Run, c: Choices) -> None:
    """A load failed. For good: whoever waits hears the cause. For now: they wait on."""
    if run.idle(c, _under_way(run)):
        return
    (worker, ref, token), passing = _loader(run, c), c.chance(2)
    cause = PASSING_CAUSE if passing else CAUSE
    answer, m = await run.call(
        f"fail_load {worker} {ref} {token} {cause}",
        run.scripts.fail_load(worker, ref, token, cause.encode(), BACKOFF_MS, passing),
    )
    want = _failed(m, run, worker, ref, token, passing)
    must(answer == want, f"fail_load says {answer}, not {want}")
    done = "waits on" if passing else "all"
    run.count("fail_load", {-1: "stale", 0: done}.get(answer, "part"))
    run.check("fail_load", m)


def _failed(m: Model, run: Run, worker: str, ref: str, token: str, passing: bool) -> int:
    if not _lease(m, worker, ref, token):
        return -1
    m.state.unloadable[ref] = PASSING_MARK + PASSING_CAUSE if passing else CAUSE
    m.lives(f"unloadable:{ref}", BACKOFF_MS)
    if passing:
        _end_load(m, worker, ref)
        return 0
    for entry in list(m.state.parked.get(ref, {}))[: run.chunk]:
        item = m.take("parked", ref, entry)
        assert item is not None
        publish(m, item, "failed", worker, CAUSE)
    left = len(m.state.parked.get(ref, {}))
    if left == 0:
        _end_load(m, worker, ref)
        m.state.parked.pop(ref, None)
        m.state.waiting.discard(ref)
    return left
