"""What happens around: time passes, producers write, doors are read, letters replayed."""

from __future__ import annotations

from shared.constants import RECORD_BYTES
from tests.model import invariants
from tests.model.affinity_rules import KEY
from tests.model.clock import Clock
from tests.model.load_target import KNOWN_TTL
from tests.model.model import Model
from tests.model.moves import IN_SHARED_MEMORY, Room, count_kept, place_item
from tests.model.prediction import must, sha1
from tests.model.run import LIMITS, LONGEST_TIMEOUT_MS, Choices, Run
from tests.model.state import Item

TICKS, LEAPS = (1, 40, 300, 1100), (2500, 5000, 12_000, 31_000)
LONG = 3_700_000  # longer than an outcome is kept
ROOM_MS = 500
ANSWER_LIFE = 3_600_000
WHY = "it is a zset, not a stream"
FIELDS = {"status": "failed", "code": "invalid", "error": "is no request"}


async def tick(run: Run, c: Choices) -> None:
    """Time passes: lifetimes end."""
    # No gateway for an hour is another matter: records of what still waits would go.
    quiet = not invariants.live(run.state)
    ms = LONG if quiet and c.chance(6) else c.of(LEAPS if c.chance(3) else TICKS)
    run.now += ms
    run.scripts.now_ms = run.now
    _, m = await run.call(f"tick {ms}", run.scripts.touch("PING"))
    run.check("tick", m)
    if not c.chance(3):
        await attend(run)


async def attend(run: Run) -> None:
    """Gateways have kept the clock until now."""
    note = Clock(run.now).text
    _, m = await run.call("attend", run.scripts.touch("SET", run.keys.clock, note))
    m.state.clock = note
    run.check("attend", m)


async def write_ingress(run: Run, c: Choices) -> None:
    """A producer writes to the stream door."""
    run.serial += 1
    entry, fields = f"{run.now}-{run.serial}", {"model": c.of(run.refs), "body": "{}"}
    flat = [part for pair in fields.items() for part in pair]
    _, m = await run.call(
        f"write_ingress {entry}", run.scripts.touch("XADD", run.keys.ingress, entry, *flat)
    )
    m.state.ingress[entry] = fields
    run.check("write_ingress", m)


async def read_door(run: Run, c: Choices) -> None:
    """A gateway takes in what is new at a door."""
    door, gateway = c.of(("ingress", "outbox", "failures")), c.of(run.gateways)
    if not run.doors_open:
        return
    await run.read_group(door, "g", gateway, 2)
    _, m = await run.call(f"read {door} {gateway}", run.scripts.touch("PING"))
    setattr(m.state, f"{door}_pending", getattr(m.after, f"{door}_pending"))
    run.check("read_door", m)


async def fill_memory(run: Run, c: Choices) -> None:
    """Redis is nearly full, until it is looked at again."""
    _, m = await run.call("fill_memory", run.scripts.touch("SET", run.keys.headroom, 700, ROOM_MS))
    run.room = (700, run.now + ROOM_MS)
    m.lives("headroom", ROOM_MS)
    run.check("fill_memory", m)


async def kin_before(run: Run, c: Choices) -> None:
    """All models are of one affinity key, as loads of before this run have noted."""
    await run.scripts.touch("SADD", run.keys.affinity(KEY), *run.refs)
    _, m = await run.call(
        "kin_before", run.scripts.touch("PEXPIRE", run.keys.affinity(KEY), KNOWN_TTL)
    )
    m.state.affinity.setdefault(KEY, set()).update(run.refs)
    m.lives(f"affinity:{KEY}", KNOWN_TTL)
    run.check("kin_before", m)


async def buried_before(run: Run, c: Choices) -> None:
    """A dead letter from before this run; of some the payload was in shared memory."""
    body = c.of(("body-before", IN_SHARED_MEMORY + "file"))
    fields = {
        "kind": "request", "id": "before", "model": c.of(run.refs), "worker": "w1",
        "attempts": "3", "cause": "dead_lettered before", "fingerprint": sha1(body), "body": body,
    }  # fmt: skip
    flat = [part.encode("latin-1") for pair in fields.items() for part in pair]
    _, m = await run.call(
        "buried_before", run.scripts.touch("XADD", run.keys.dead_letters, "*", *flat)
    )
    m.state.dead_letters["?before"] = fields
    run.check("buried_before", m)


async def lose_stream(run: Run, c: Choices) -> None:
    """Somebody deletes a work stream. What has a record still ends, by its deadline."""
    worker = c.of(sorted(run.state.work) or [""])
    if not worker:
        return
    run.history.lost |= {item.id for item in run.state.work[worker].values()}
    _, m = await run.call(f"lose_stream {worker}", run.scripts.touch("DEL", run.keys.work(worker)))
    for part in (m.state.work, m.state.pending, m.state.groups):
        part.pop(worker, None)  # type: ignore[attr-defined]
    run.count("lose_stream", "lost")
    run.check("lose_stream", m)


async def lose_everything(run: Run, c: Choices) -> None:
    """FLUSHALL. What was accepted is lost, and said to be; what follows must work as ever."""
    run.history.lost |= {item.id for _, _, item in invariants.live(run.state)}
    await run.flush()
    _, m = await run.call("lose_everything", run.scripts.touch("PING"))
    run.count("lose_everything", "lost")
    run.check("lose_everything", m)


async def publish_reply(run: Run, c: Choices) -> None:
    """A rendered outcome, or a refusal, to whoever wrote to the door."""
    door = c.of(("outbox", "ingress"))
    entries = getattr(run.state, door)
    if run.idle(c, entries):
        return
    entry = c.of([*entries, "1-1"])
    name, dead = f"a{c.below(2)}", door == "ingress"
    bad = c.chance(5) and bool(run.state.leases)  # that key is there, and is no stream
    reply_to = run.keys.workers if bad else run.keys.answers + name
    replied, m = await run.call(
        f"publish_reply {door} {entry} {reply_to}",
        run.scripts.publish_reply(
            door, entry, reply_to, ANSWER_LIFE, dead,
            [part for pair in FIELDS.items() for part in pair],
        ),
    )  # fmt: skip
    sent = getattr(m.state, door).pop(entry, None)
    getattr(m.state, f"{door}_pending").pop(entry, None)
    want = "late" if sent is None else "refused" if bad else "answered"
    must(replied == (want, WHY if want == "refused" else ""), f"publish_reply says {replied}")
    if want == "answered":
        digest = sha1(reply_to)
        if name not in m.state.answers or digest in m.state.reply_streams:
            m.lives(f"answers:{name}", ANSWER_LIFE)
            m.state.reply_streams.add(digest)
            m.lives(f"reply_stream:{digest}", ANSWER_LIFE)
        m.state.answers.setdefault(name, []).append(dict(FIELDS))
    if sent is not None and dead:
        _letter(m, entry, sent, bad)
    elif want == "refused":
        letter = {
            "kind": "request", "id": "", "model": "", "worker": "", "reply_to": reply_to,
            "cause": f"invalid reply_to was refused: {WHY}", "status": FIELDS["status"],
        }  # fmt: skip
        _count_letter(m, letter)
    run.count("publish_reply", "too late" if want == "late" else want)
    run.check("publish_reply", m)


def _letter(m: Model, entry: str, sent: dict[str, str], bad: bool) -> None:
    also = f"; reply_to was refused: {WHY}" if bad else ""
    letter = {
        "kind": "entry", "entry": entry, "cause": f"{FIELDS['code']} {FIELDS['error']}{also}",
        "fingerprint": sha1(sent.get("body", "")), **sent,
    }  # fmt: skip
    _count_letter(m, letter)


def _count_letter(m: Model, letter: dict[str, str]) -> None:
    m.state.dead_letters["?new"] = letter
    size = sum(len(name) + len(value) for name, value in letter.items())
    count_kept(m, "letters", "?new", size + RECORD_BYTES)


async def replay(run: Run, c: Choices) -> None:
    """A dead letter is tried again."""
    if run.idle(c, run.state.dead_letters):
        return
    letter, request = c.of([*run.state.dead_letters, "1-1"]), run.next_id()
    got, m = await run.call(
        f"replay {letter} {request}",
        run.scripts.replay(letter, request, LONGEST_TIMEOUT_MS, LIMITS),
    )
    sent = m.state.dead_letters.get(letter)
    if sent is None:
        want = "unknown"
    elif sent["kind"] == "entry":
        want = "ingress"
        fields = ("id", "model", "version", "timeout", "reply_to", "body")
        m.state.ingress["?new"] = {name: sent[name] for name in fields if name in sent}
        del m.state.dead_letters[letter]
    elif sent.get("body", IN_SHARED_MEMORY).startswith(IN_SHARED_MEMORY):
        want = "unkept"
    else:
        room = Room(LIMITS, LIMITS.pending - len(m.state.deadlines))
        item = Item(request, sent["model"], run.now + LONGEST_TIMEOUT_MS, "", "kp", 0, sent["body"])
        want = place_item(m, item, room).status
        if want in ("placed", "parked"):
            del m.state.dead_letters[letter]
    must(got.status == want, f"replay says {got.status}, not {want}")
    run.count("replay", want)
    run.check("replay", m)
