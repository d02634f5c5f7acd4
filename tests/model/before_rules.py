"""What has crashed before a run: models, workers and requests."""

from __future__ import annotations

from shared.constants import ENTRY_FIELDS
from tests.model.crashes import CALM, WINDOW
from tests.model.run import Choices, Run


async def crashed_before(run: Run, c: Choices) -> None:
    """A model version has crashed workers before this run: one more crash and it is quarantined, or
    its quarantine ends soon."""
    ref, fields = c.of(run.refs), {"crashes": "4", "cause": "before"}
    worker, one = run.workers[-1], c.chance(2)
    fields |= {"by": f"{worker} 4" if one else f"{worker} 1 w0 3", "score": "3" if one else "4"}
    if ref in run.state.breakers:
        return
    if not one and c.chance(2):
        fields |= {"crashes": "5", "opens": "1", "until": str(run.now + c.of((2, 400)))}
        fields |= c.of(({}, {"ok_at": str(run.now)}))
    fields |= c.of(({}, {}, {"successes": "19"}, {"successes": "79"}))
    key, flat = run.keys.breaker(ref), [part for pair in fields.items() for part in pair]
    await run.scripts.touch("HSET", key, *flat)
    _, m = await run.call(f"crashed_before {ref}", run.scripts.touch("PEXPIRE", key, WINDOW))
    m.state.breakers[ref] = fields
    m.lives(f"breaker:{ref}", WINDOW)
    run.check("crashed_before", m)


async def retried_before(run: Run, c: Choices) -> None:
    """A parked request has crashed a process before this run."""
    found = [(ref, entry) for ref, entries in run.state.parked.items() for entry in entries]
    if not found or run.attempts < 2:
        return
    ref, entry = c.of(found)
    item = run.state.parked[ref][entry]
    if item.attempts:
        return
    key, changed = run.keys.parked(ref), item._replace(attempts=1)
    await run.scripts.touch("XDEL", key, entry)
    flat = [part for pair in zip(ENTRY_FIELDS, changed, strict=True) for part in pair]
    new = (await run.scripts.touch("XADD", key, "*", *flat)).decode()
    run.history.starts[item.id] += 1
    record = run.keys.request(item.id)
    _, m = await run.call(f"retried {item.id}", run.scripts.touch("HSET", record, "entry", new))
    del m.state.parked[ref][entry]
    m.state.parked[ref][new] = changed
    m.state.records[item.id]["entry"] = new
    run.check("retried_before", m)


async def ill_before(run: Run, c: Choices) -> None:
    """A worker has crashed before this run."""
    worker, fields = c.of(run.workers), {"crashes": "1", c.of(run.refs): "1"}
    if worker in run.state.crashed:
        return
    key, flat = run.keys.crashed(worker), [part for pair in fields.items() for part in pair]
    await run.scripts.touch("HSET", key, *flat)
    _, m = await run.call(f"ill_before {worker}", run.scripts.touch("PEXPIRE", key, CALM))
    m.state.crashed[worker] = fields
    m.lives(f"crashed:{worker}", CALM)
    run.check("ill_before", m)
