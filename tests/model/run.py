"""One run: a cell, a clock, what the clients have seen so far, and the check after each step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from shared.errors import Unavailable
from shared.keys import Keys
from shared.placed import Limits
from shared.scripts import Placing
from tests.model import invariants
from tests.model.binding import bind
from tests.model.copy_invariants import CopyHistory
from tests.model.invariants import History
from tests.model.model import Model
from tests.model.prediction import Wrong
from tests.model.reading import parse
from tests.model.state import Item, State
from tests.model.virtual import VirtualScripts

START_MS = 2_000_000_000_000  # beyond the real clock, which gives entries their ids
LEASE_MS, LOAD_LEASE_MS, LONGEST_TIMEOUT_MS = 5000, 3000, 60_000
REFS = ("mnist:1:0123456789ab", "bert:2:ba9876543210", "bert:3:ba9876543211")
WORKERS = ("w1", "w2", "w3")
LIMITS = Limits(work=5, parked=4, pending=8)
COPY_BYTES = 40
NO_GROUP = "NOGROUP"
T = TypeVar("T")


class Step(NamedTuple):
    """A rule, and a number from which it takes its choices: it can be repeated and shrunk."""

    rule: str
    number: int = 0


class Plan(NamedTuple):
    """A run before it runs: how many entries the scripts move at a time, how many models and
    workers there are, the most starts of a request, and the steps."""

    chunk: int
    refs: int
    workers: int
    attempts: int
    steps: tuple[Step, ...]


class Choices:
    """Choices made from one number, digit by digit; the first of everything when it is used up."""

    def __init__(self, number: int) -> None:
        self._rest = number

    def below(self, size: int) -> int:
        self._rest, choice = divmod(self._rest, size)
        return choice

    def of(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def chance(self, one_in: int) -> bool:
        """Mostly False; False for zero, so that a shrunk run does the usual."""
        return self.below(one_in) == one_in - 1

    def some(self, options: Sequence[T], most: int) -> list[T]:
        """Up to `most` of them, in their order."""
        rest, count = list(options), 1 + self.below(most)
        chosen = {self.below(len(rest)) for _ in range(count)} if rest else set()
        return [option for i, option in enumerate(rest) if i in chosen]


@dataclass
class Seen:
    """What clients remember: the current and the outdated, for a zombie acts on what it knew."""

    epochs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tokens: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    entries: dict[str, list[tuple[str, Item]]] = field(default_factory=lambda: defaultdict(list))
    requests: dict[str, Item] = field(default_factory=dict)  # accepted; someone waits or polls
    keyed: list[tuple[int, Placing]] = field(default_factory=list)  # and when
    answered: list[str] = field(default_factory=list)  # and remembered
    letters: set[str] = field(default_factory=set)
    doors: list[str] = field(default_factory=list)  # entries of the stream door
    processes: Counter[str] = field(default_factory=Counter)
    placed: dict[str, tuple[str, str]] = field(default_factory=dict)  # what the gateway was told
    all_tokens: set[tuple[str, str]] = field(default_factory=set)


class Run:
    """The client side of one run; `step` is one action and its check."""

    def __init__(
        self, scripts: VirtualScripts, keys: Keys, plan: Plan, outcomes: Counter[str]
    ) -> None:
        self.scripts, self.keys, self.outcomes = scripts, keys, outcomes
        self.now = START_MS
        scripts.now_ms = self.now
        self.state, self.seen, self.history = State(), Seen(), History(plan.attempts)
        self.chunk, self.attempts = plan.chunk, plan.attempts
        self.refs, self.workers = REFS[: plan.refs], WORKERS[: plan.workers]
        self.gateways = ["gw1", "gw2"]
        self.room: tuple[int, int] | None = None  # bytes left, and until when that is believed
        self.doors_open = False  # a gateway made the groups of the doors
        self.serial = 0
        self.trace: list[str] = []

    def next_id(self) -> str:
        self.serial += 1
        return f"r{self.serial}"

    def epoch(self, c: Choices, worker: str) -> str:
        """Mostly its last one, sometimes one of before."""
        known = self.seen.epochs[worker] or ["0"]
        old = len(known) > 1 and c.chance(5)
        return c.of(known[:-1]) if old else known[-1]

    def incarnation(self, worker: str, *, fresh: bool = False, old: bool = False) -> str:
        """Which process it is: the last one of that worker, a new one or the one before."""
        self.seen.processes[worker] += fresh
        return f"{worker}.{self.seen.processes[worker] - old}"

    def parent(self, worker: str) -> str:
        """The parent of its last process; each has had two, and the first one says nothing."""
        number = self.seen.processes[worker]
        return str(number // 2) if number > 1 else ""

    def idle(self, c: Choices, possible: object) -> bool:
        """Whether to leave out a call that can do nothing: most are, for they teach little."""
        return not possible and not c.chance(4)

    def worker(self, c: Choices, likely: Iterable[str] = ()) -> str:
        """Mostly one where something can happen, or a registered one."""
        likely = [w for w in sorted(likely) if w in self.workers]
        if likely and not c.chance(5):
            return c.of(likely)
        there = [w for w in self.workers if w in self.state.workers]
        return c.of(there) if there and not c.chance(5) else c.of(self.workers)

    def ref(self, c: Choices, likely: list[str]) -> str:
        """Mostly one of those where something can happen."""
        return c.of(sorted(likely)) if likely and not c.chance(4) else c.of(self.refs)

    def token(self, c: Choices, ref: str) -> str:
        """Mostly the token of its load lease, sometimes one of before."""
        known = self.seen.tokens[ref] or ["none"]
        now = self.state.loads.get(ref)
        return now.token if now and not c.chance(4) else c.of(known)

    async def unless_no_group(self, answer: Awaitable[T]) -> T | str:
        """NO_GROUP where the consumer group is gone."""
        try:
            return await answer
        except Unavailable as error:
            if NO_GROUP not in str(error):
                raise
            return NO_GROUP

    async def read_group(self, stream: str, group: str, consumer: str, count: int) -> str:
        """What a consumer reads is noted as pending by Redis itself. `fenced`: no such group."""
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS")
        read = self.scripts.touch(*command, f"{self.keys.prefix}:{stream}", ">")
        answer = await self.unless_no_group(read)
        return "fenced" if answer == NO_GROUP else "read" if answer else "nothing new"

    async def flush(self) -> None:
        """Everything of the cell is gone; clients go on with what they remember."""
        await self.scripts.touch("FLUSHCELL")
        self.state, self.room, self.doors_open = State(), None, False
        history = self.history
        for known in (history.alive, history.ended, history.cancelled):
            known.clear()
        history.copies = CopyHistory()

    async def call(self, what: str, answer: Awaitable[T]) -> tuple[T, Model]:
        """Run a script; its answer, and the model of this step."""
        result = await answer
        self.trace.append(f"{self.now - START_MS:>7} {what} -> {result!r}")
        rows = await self.scripts.look()
        after = parse(self.keys.prefix, rows)
        return result, Model(self.state, after, self.now, self.seen.all_tokens)

    def check(self, rule: str, model: Model) -> None:
        """What is must be what the model says, and no invariant broken."""
        after = model.after
        bind(model.state, after)
        differences = model.state.differences(after)
        if differences:
            raise Wrong("the state is not as predicted: " + "; ".join(differences))
        self.outcomes.update(model.notes)
        self._count_letters(rule, after)
        self.history.check(after)
        invariants.check(after, self.now, self.history.lost)
        self.state = after
        self._remember()

    def _count_letters(self, rule: str, after: State) -> None:
        for entry in after.dead_letters.keys() - self.seen.letters:
            self.seen.letters.add(entry)
            if rule != "buried_before" and after.dead_letters[entry]["kind"] == "request":
                self.count("release_worker", "dead_lettered")

    def count(self, rule: str, outcome: str) -> None:
        self.outcomes[f"{rule}: {outcome}"] += 1

    def _remember(self) -> None:
        for worker, entries in self.state.work.items():
            known = {entry for entry, _ in self.seen.entries[worker]}
            self.seen.entries[worker] += [p for p in entries.items() if p[0] not in known]
        self.seen.doors += [e for e in self.state.ingress if e not in self.seen.doors]
        for ref, load in self.state.loads.items():
            if load.token not in self.seen.tokens[ref]:
                self.seen.tokens[ref].append(load.token)
