"""How loads end: announced or failed, each with what must come of it."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.blame import MOST_ASKED, agreed_cause, class_agrees, forgive, note_failure
from tests.model.load_rules import end_load, lease_of, loader, under_way
from tests.model.load_target import KNOWN_TTL, failed_workers, is_one_left, least_copies
from tests.model.loaded_versions import not_live, note_live
from tests.model.model import Model
from tests.model.moves import PASSING_MARK, publish
from tests.model.parked import place_parked
from tests.model.prediction import must
from tests.model.run import COPY_BYTES, Choices, Run
from tests.model.state import Load

CAUSE, PASSING_CAUSE, BACKOFF_MS = "corrupt its hash is wrong", "disk_full no room", 4000
# What a load may teach: mostly nothing new.
LEARNED: tuple[dict[str, str], ...] = (
    {}, {}, {"own:cpu": "40", "remote": "60"}, {"host": "5", "min_copies": "0"},
    {"min_copies": "1", "pin": "0"}, {"pin": "1"}, {"max_copies": "1"}, {"max_copies": "0"},
)  # fmt: skip
# What the guard may find.
FOUND: tuple[dict[str, str], ...] = ({"rows": "independent"}, {"rows": "it sorts", "repeats": "no"})


async def announce(run: Run, c: Choices) -> None:
    """A copy is ready, or is still held; its parked requests are taken."""
    worker, ref, token = loader(run, c)
    loading = ref in run.state.loads and run.state.loads[ref].worker
    token, epoch = token if bool(loading) != c.chance(5) else "", run.epoch(c, worker)
    learned = c.of(LEARNED)
    answer, m = await run.call(
        f"announce {worker} {epoch} {ref} {token!r} {learned}",
        run.scripts.announce(worker, epoch, ref, token, f"device {COPY_BYTES}", learned),
    )
    held = worker in m.state.holders.get(ref, ())
    want = _announced(m, run, worker, epoch, ref, token, learned)
    must(answer == want, f"announce says {answer}, not {want}")
    if answer >= 0 and token and not held:
        run.history.copies.announced(ref, worker, token)
    run.count("announce", {-1: "stale", -2: "fenced", 0: "all"}.get(answer, "part"))
    run.check("announce", m)


def _announced(
    m: Model, run: Run, worker: str, epoch: str, ref: str, token: str, learned: dict[str, str]
) -> int:
    if not m.epoch_is(worker, epoch):
        return -2
    if token and not lease_of(m, worker, ref, token):
        if worker not in m.state.holders.get(ref, ()):
            return -1
        token = ""  # it was announced before, and the answer was lost
    m.state.holders.setdefault(ref, set()).add(worker)
    m.state.holds.setdefault(worker, set()).add(ref)
    m.note_warm(ref, worker, "", "")
    m.note_leaving(ref, worker, "")
    forgive(m, ref, worker)
    if learned:
        m.state.stats.setdefault(ref, {}).update(learned)
        m.lives(f"stats:{ref}", KNOWN_TTL)
    note_live(m, ref)
    if learned and least_copies(m.state, ref) > 0:
        m.state.min_copies.add(ref)
    going = m.state.leases.get(worker, 0) > m.now
    if going:
        going = not place_parked(m, ref, run.chunk)[1]
    left = len(m.state.parked.get(ref, {}))
    if left == 0:
        m.forget(f"unloadable:{ref}")
        m.unorder(ref)
    left = left if going else 0
    if left == 0 and token:
        end_load(m, worker, ref)
    return left


async def record_stats(run: Run, c: Choices) -> None:
    """Serving has shown something of a model."""
    worker, ref, fields = run.worker(c, run.state.holds), c.of(run.refs), c.of(FOUND)
    epoch = run.epoch(c, worker)
    answer, m = await run.call(
        f"record_stats {worker} {epoch} {ref} {fields}",
        run.scripts.record_stats(worker, epoch, ref, fields),
    )
    must(answer == m.epoch_is(worker, epoch), f"record_stats says {answer}")
    if answer:
        m.state.stats.setdefault(ref, {}).update(fields)
        m.lives(f"stats:{ref}", KNOWN_TTL)
    run.count("record_stats", "noted" if answer else "fenced")
    run.check("record_stats", m)


async def fail_load(run: Run, c: Choices) -> None:
    """A load failed. For good: whoever waits hears the cause. For now: they wait on."""
    if run.idle(c, under_way(run)):
        return
    (worker, ref, token), passing = loader(run, c), c.chance(2)
    scope = c.of(("worker", "class", "model"))
    cause = PASSING_CAUSE if passing else CAUSE
    own = run.state.workers.get(worker, {}).get("device_class", "none")
    answer, m = await run.call(
        f"fail_load {worker} {ref} {token} {cause} {own} {scope}",
        run.scripts.fail_load(
            worker, ref, token, cause.encode(), BACKOFF_MS, passing, own, b"in full", scope
        ),
    )
    why = Cause(cause, passing, scope, own)
    want, done = _failed(m, run, worker, ref, token, why)
    failed = run.state.parked.get(ref, {}).keys() - m.after.parked.get(ref, {}).keys()
    must(not (failed and m.live_holders(ref)), f"I17: {failed} failed, and somebody holds {ref}")
    must(answer == want, f"fail_load says {answer}, not {want}: {done}")
    run.count("fail_load", done)
    run.check("fail_load", m)


class Cause(NamedTuple):
    """Why a load failed."""

    text: str
    passing: bool
    scope: str
    device_class: str


def _failed(m: Model, run: Run, worker: str, ref: str, token: str, why: Cause) -> tuple[int, str]:
    load = lease_of(m, worker, ref, token)
    if load is None:
        return -1, "stale"
    said = load.cause
    if not said:
        done = _charged(m, worker, ref, load, why)
        if done:
            return 0, done
        said, temporary = agreed_cause(m, ref, why.text)
        m.note("blame: all agree" if said != why.text else "blame: one")
        temporary = temporary and why.scope != "model"
        m.state.unloadable[ref] = PASSING_MARK * temporary + said
        m.lives(f"unloadable:{ref}", BACKOFF_MS)
        m.note_trouble(ref, BACKOFF_MS)
        if temporary:
            end_load(m, worker, ref)
            return 0, "waits on"
        not_live(m, ref)
        m.state.loads[ref] = load._replace(cause=said)
    return _answer(m, run, worker, ref, said)


def _charged(m: Model, worker: str, ref: str, load: Load, why: Cause) -> str:
    """It is charged to this worker: what follows, "" if nobody else is to be asked."""
    note_failure(m, ref, worker, BACKOFF_MS, why.passing, why.scope, why.device_class, why.text)
    if why.scope == "class" and class_agrees(m, ref, why.device_class, worker):
        m.state.incompatible.setdefault(ref, set()).add(why.device_class)
        m.lives(f"incompatible:{ref}", BACKOFF_MS)
        m.note("blame: a class")
    # A further copy was not for who held one; who waits by now waits for a first one.
    further = bool(load.extra and m.state.parked.get(ref))
    refused = frozenset() if further else load.refused
    extra, live = "" if further else load.extra, m.live_holders(ref)
    asked = len(failed_workers(m.state, m.now, ref)) < MOST_ASKED
    if (
        why.scope != "model"
        and asked
        and is_one_left(m.state, m.now, ref, refused, extra, load.larger)
    ):
        m.state.loading.get(worker, set()).discard(ref)
        m.order(ref, refused, extra, larger=load.larger)
        return "elsewhere"
    if live:
        end_load(m, worker, ref)
        m.state.no_capacity[ref] = worker
        m.lives(f"no_capacity:{ref}", BACKOFF_MS)
        return "held"
    return ""


def _answer(m: Model, run: Run, worker: str, ref: str, said: str) -> tuple[int, str]:
    """Who waits is told, a chunk of them."""
    for entry in list(m.state.parked.get(ref, {}))[: run.chunk]:
        item = m.take("parked", ref, entry)
        assert item is not None
        publish(m, item, "failed", worker, said, "in full")
    left = len(m.state.parked.get(ref, {}))
    if left == 0:
        end_load(m, worker, ref)
        m.state.parked.pop(ref, None)
        m.state.waiting.discard(ref)
    return left, "part" if left else "all"
