"""What workers do with their lease and their requests, each with what must come of it."""

from __future__ import annotations

from shared.scripts import Completion
from tests.model.crashes import charge_crash, note_crash
from tests.model.model import Model
from tests.model.moves import IN_SHARED_MEMORY, publish
from tests.model.prediction import must
from tests.model.releasing import Wiping, wipe, wipe_all
from tests.model.run import Choices, Run
from tests.model.state import Item

BULKY = ("succeeded", IN_SHARED_MEMORY + "file")
Entries = list[tuple[str, Item]]


async def read(run: Run, c: Choices) -> None:
    """A worker takes in what is new on its stream; a fenced one is refused."""
    unread = [w for w, e in run.state.work.items() if e.keys() - run.state.pending[w]]
    if run.idle(c, unread):
        return
    worker, count = run.worker(c, unread), 1 + c.below(3)
    epoch = run.epoch(c, worker)
    there = epoch in run.state.groups.get(worker, ())
    answer = await run.read_group(f"work:{worker}", epoch, worker, count)
    _, m = await run.call(f"read {worker} {epoch} {count} {answer}", _nothing())
    must((answer == "fenced") == (not there), f"read of epoch {epoch} is {answer}")
    if worker in m.state.work:
        m.state.pending[worker] = m.after.pending[worker]
    run.count("read", answer)
    run.check("read", m)


async def _nothing() -> None:
    return None


def _batch(run: Run, c: Choices, worker: str, most: int = 3) -> Entries:
    """Entries that the worker has read, or had once."""
    known = run.seen.entries[worker]
    now = [pair for pair in known if pair[0] in run.state.pending.get(worker, ())]
    if run.idle(c, now):
        return []
    return c.some(known if c.chance(6) or not now else now, most)


async def begin(run: Run, c: Choices) -> None:
    """A batch starts."""
    worker = run.worker(c, [w for w, p in run.state.pending.items() if p])
    epoch, batch, entries = run.epoch(c, worker), 1 + c.below(3), _batch(run, c, worker)
    if not entries:
        return None
    rows = [(e.encode(), i.id.encode(), i.deadline, i.flags.encode()) for e, i in entries]
    begun = run.unless_no_group(run.scripts.begin(worker, epoch, batch, rows))
    answer, m = await run.call(f"begin {worker} {epoch} {batch} {rows}", begun)
    if isinstance(answer, str):
        must(not m.state.groups.get(worker), "begin finds no group")
        run.count("begin", "no group")
        return run.check("begin", m)
    verdicts = answer[1]
    if not m.epoch_is(worker, epoch):
        must(verdicts == [b"fenced"], f"begin says {verdicts} to a fenced worker")
        run.count("begin", "fenced")
        return run.check("begin", m)
    for (entry, item), verdict in zip(entries, verdicts, strict=True):
        want = _begin(m, worker, entry, item, str(batch))
        must(verdict.decode() == want, f"begin says {verdict!r} of {item.id}, not {want}")
        run.history.starts[item.id] += want == "run"
        run.count("begin", want)
    return run.check("begin", m)


def _begin(m: Model, worker: str, entry: str, item: Item, batch: str) -> str:
    if entry not in m.state.pending.get(worker, ()):
        return "gone"
    if item.deadline <= m.now:
        return "expired"
    if item.id in m.state.withdrawn:
        return "cancelled"
    m.state.started.setdefault(worker, {})[entry] = batch
    if "k" in item.flags:
        m.state.records[item.id] |= {"status": "running", "worker": worker}
    return "run"


async def complete(run: Run, c: Choices) -> None:
    """Outcomes of some entries: ours, or not ours any more."""
    worker = run.worker(c, [w for w, p in run.state.pending.items() if p])
    epoch, entries = run.epoch(c, worker), _batch(run, c, worker)
    if not entries:
        return None
    status, out = c.of((("succeeded", "answer"), ("failed", "failed it did"), BULKY))
    if (status, out) == BULKY:  # only for callers who wait
        entries = [(e, i) for e, i in entries if "p" not in i.flags]
    done = [
        Completion(e.encode(), i.id.encode(), i.reply.encode(), i.flags.encode(), status,
        out.encode("latin-1"), i.ref, b"in full") for e, i in entries
    ]  # fmt: skip
    answer, m = await run.call(
        f"complete {worker} {epoch} {done}", run.scripts.complete(worker, epoch, done)
    )
    if not m.epoch_is(worker, epoch):
        must(answer == [-1], f"complete says {answer} to a fenced worker")
        run.count("complete", "fenced")
        return run.check("complete", m)
    read = [entry in m.state.pending.get(worker, ()) for entry, _ in entries]
    won = [
        ours and m.take("work", worker, entry) is not None
        for (entry, _), ours in zip(entries, read, strict=True)
    ]
    must(answer == [int(w) for w in won], f"complete says {answer}, not {won}")
    for (_, item), ours in zip(entries, won, strict=True):
        if ours:
            publish(m, item, status, worker, out, "in full")
        run.count("complete", "won" if ours else "lost")
    return run.check("complete", m)


async def fence_worker(run: Run, c: Choices) -> None:
    """The device process died; its parent gives up the epoch."""
    worker, cause = run.worker(c, run.state.started.keys() | run.state.loading.keys()), "signal 11"
    epoch, batch = (
        run.epoch(c, worker),
        c.of(sorted({int(n) for n in run.state.started.get(worker, {}).values()} | {0})),
    )
    charged, dies = c.of((True, True, False)), _may_die(run, c)
    answer, m = await run.call(
        f"fence_worker {worker} {epoch} {batch} {charged}",
        run.scripts.fence_worker(worker, epoch, batch, cause, run.attempts, charged),
    )
    if not m.epoch_is(worker, epoch):
        must(answer == -1, f"fence_worker says {answer} of an epoch that is not current")
        run.count("fence_worker", "late")
        return run.check("fence_worker", m)
    m.state.leases[worker] = 0
    begun, entries = m.state.started.get(worker, {}), m.state.work.get(worker, {})
    ran = [entries[e] for e, n in begun.items() if n == str(batch) and e in entries]
    blamed, loading = {item.ref for item in ran}, m.state.loading.get(worker, set())
    loads = {r for r in loading if r in m.state.loads and m.state.loads[r].worker == worker}
    sole = charged and note_crash(m, worker, blamed or loads)
    blamed |= loads
    for ref in blamed if charged else ():
        retried = {bool(item.attempts) for item in ran if item.ref == ref} == {True}
        charge_crash(m, ref, worker, cause, retried, sole)
        run.count("fence_worker", "opened" if m.breaker(ref) == "open" else "charged")
    must(answer == len(entries), f"fence_worker moved {answer}, not {len(entries)}")
    for entry in [e for e, n in begun.items() if n != str(batch)]:
        m.begun_ends(worker, entry)
    _release(run, m, worker, cause, dies)
    said = "blamed" if charged else "a request to blame"
    run.count("fence_worker", said if blamed else "nobody to blame")
    return run.check("fence_worker", m)


async def leave(run: Run, c: Choices) -> None:
    """A worker hands back what it has."""
    worker = run.worker(c)
    epoch, dies = run.epoch(c, worker), _may_die(run, c)
    left, m = await run.call(
        f"leave {worker} {epoch}", run.scripts.leave(worker, epoch, run.attempts)
    )
    must(left == m.epoch_is(worker, epoch), f"leave says {left}")
    if left:
        _release(run, m, worker, "its worker stopped before it was done", dies)
    run.count("leave", "left" if left else "not registered")
    run.check("leave", m)


def _may_die(run: Run, c: Choices) -> bool:
    """Whether the process is killed after its first call of a release: gateways go on with it."""
    run.scripts.releases = not c.chance(3)
    return not run.scripts.releases


def _release(run: Run, m: Model, worker: str, cause: str, dies: bool) -> None:
    how = Wiping(run.attempts, cause)
    if not dies:
        wipe_all(m, worker, how, run.chunk)
    elif wipe(m, worker, how, run.chunk):
        run.count("release_worker", "left to others")
