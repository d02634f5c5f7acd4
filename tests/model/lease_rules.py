"""What workers do with their lease: register and report, each with what must come of it."""

from __future__ import annotations

import json

from tests.model.model import Model
from tests.model.prediction import must
from tests.model.releasing import Wiping, unindex, wipe_all
from tests.model.run import LEASE_MS, Choices, Run


async def register(run: Run, c: Choices) -> None:
    """A worker begins, or begins anew: under a new epoch, its old requests placed again."""
    gone = [w for w in run.workers if w not in run.state.workers]
    worker = c.of(gone) if gone and not c.chance(8) else c.of(run.workers)
    incarnation = run.incarnation(worker, fresh=c.chance(2))
    fields = {"incarnation": incarnation, "completed_per_s": c.of(("0", "2"))}
    fields |= {"parent": run.parent(worker)}
    fields |= {"state": "ready", "device_class": c.of(("cpu", "h100"))}
    fields |= {"budget_bytes": c.of(("100", "150", "60")), "max_models": c.of(("0", "0", "1", "2"))}
    fields |= c.of(({}, {"pinned_bytes": "40", "pinned_models": "1"}))
    fields |= _report(run, c)
    epoch, m = await run.call(
        f"register {worker}", run.scripts.register(worker, LEASE_MS, run.attempts, fields)
    )
    wipe_all(m, worker, Wiping(run.attempts, "its worker registered again"), run.chunk)
    given = {e for known in run.seen.epochs.values() for e in known}
    must(epoch not in given, f"I20: epoch {epoch} is not new")
    run.seen.epochs[worker].append(epoch)
    m.state.workers[worker] = {"epoch": epoch, "since": str(m.now), "protocol": "1 1", **fields}
    _note_health(m, worker)
    _index(m, worker)
    m.state.leases[worker] = m.now + LEASE_MS
    m.note_protocol(f"worker {worker}", LEASE_MS)
    m.state.work[worker], m.state.pending[worker], m.state.groups[worker] = {}, set(), {epoch}
    run.count("register", "registered")
    run.check("register", m)


def _note_health(m: Model, worker: str) -> None:
    """As reported; its crashes count too."""
    record = m.state.workers[worker]
    crashed = "suspect" in m.state.crashed.get(worker, {})
    health = record.get("health", "healthy")
    health = "suspect" if crashed and health == "healthy" else health
    failing = json.loads(record.get("failing", "[]"))
    if health == "suspect":
        record.setdefault("trial", str(m.now))
    if health != "healthy" or failing:
        m.state.unhealthy[worker] = " ".join([health, *failing])
    elif m.state.unhealthy.pop(worker, None):
        record.pop("trial", None)


def _index(m: Model, worker: str) -> None:
    """A ready worker is found by the class of its device."""
    record = m.state.workers[worker]
    if record["state"] != "ready":
        return unindex(m, worker)
    device_class = record["device_class"]
    m.state.ready.setdefault(device_class, {})[worker] = float(record["busy_share"])
    return m.state.device_classes.add(device_class)


def _report(run: Run, c: Choices) -> dict[str, str]:
    """How long a request takes here (ms), what share of its time the device has spent, whether
    models push each other out, and how the worker is."""
    return {
        "health": c.of(("healthy",) * 7 + ("suspect", "sick")),
        "failing": c.of(("[]",) * 5 + (json.dumps([run.refs[0]]),)),
        "service_ms": c.of(("0", "30", "2500")),
        "busy_share": c.of(("1", "0", "1", "0.5")),
        "contended": c.of(("0", "1", "0")),
    }


async def heartbeat(run: Run, c: Choices) -> None:
    """The lease, and whether the map still knows all that the worker holds."""
    worker = run.worker(c)
    epoch, incarnation = run.epoch(c, worker), run.incarnation(worker, old=c.chance(4))
    held = len(run.state.holds.get(worker, ())) + c.chance(4)
    report = {"completed_per_s": "3", "state": "draining" if c.chance(4) else "ready"}
    report |= _report(run, c)
    beaten, m = await run.call(
        f"heartbeat {worker} {epoch} {incarnation}",
        run.scripts.heartbeat(worker, epoch, incarnation, LEASE_MS, held, report),
    )
    answer = beaten.answer
    record = m.state.workers.get(worker)
    if record is None or record["epoch"] != epoch:
        taken = record is not None and record["incarnation"] != incarnation
        want = "taken" if taken else "fenced"
    elif not m.state.groups.get(worker):
        want = "fenced"
    else:
        m.state.leases[worker] = m.now + LEASE_MS
        m.note_protocol(f"worker {worker}", LEASE_MS)
        record |= report
        _note_health(m, worker)
        _index(m, worker)
        want = "ok" if len(m.state.holds.get(worker, ())) == held else "resync"
    must(answer == want, f"heartbeat says {answer}, not {want}")
    run.count("heartbeat", answer)
    run.check("heartbeat", m)


async def renew_lease(run: Run, c: Choices) -> None:
    """The lease, if a heartbeat would do nothing else; else nothing."""
    worker = run.worker(c)
    epoch = run.epoch(c, worker)
    held = len(run.state.holds.get(worker, ())) + c.chance(4)
    hints = await run.scripts.touch("EXISTS", run.keys.changed(worker))
    renewed, m = await run.call(
        f"renew_lease {worker} {epoch}",
        run.scripts.renew_lease(worker, epoch, LEASE_MS, held),
    )
    state = m.state
    record = state.workers.get(worker)
    is_plain = (
        record is not None
        and record["epoch"] == epoch
        and state.groups.get(worker)
        and len(state.holds.get(worker, ())) == held
        and not (hints or worker in state.crashed or worker in state.unhealthy)
    )
    if is_plain:
        state.leases[worker] = m.now + LEASE_MS
        m.note_protocol(f"worker {worker}", LEASE_MS)
    must(renewed == bool(is_plain), f"renew_lease says {renewed}")
    run.count("renew_lease", "renewed" if renewed else "not plain")
    run.check("renew_lease", m)
