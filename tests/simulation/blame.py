"""What one worker may cost the others, judged by what the scripts decide.

S1  a model is refused for all although a worker that could load it was never asked
S2  a model is quarantined although one worker alone has crashed with it
S3  a worker is reaped before it was silent for a lease; while Redis is away nobody can speak
S4  a request goes to a sick worker although a healthy one holds the model
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shared import statuses
from tests.simulation.loads import ARGS
from tests.simulation.process import Process
from tests.simulation.server import Effect, Ran

if TYPE_CHECKING:
    from tests.simulation.world import World

SCOPE = 9  # of the arguments of `fail_load`
RENEWED = (statuses.OK.encode(), statuses.RESYNC.encode())
BLIND_S = 0.1
# A shorter stall leaves a healthy worker time for its next beat, so it may go unnoticed.
LONG_STALL = 0.55  # of a lease


class Blame:
    """The judge. `world` has the clock, and Redis as it is."""

    def __init__(self, world: World, lease_s: float) -> None:
        self._world = world
        self._lease_s = lease_s
        self._tried: dict[str, set[str]] = defaultdict(set)  # ref -> workers that could not load it
        self._by_class: dict[str, set[str]] = defaultdict(set)  # of these: their class cannot
        self._crashed: dict[str, set[str]] = defaultdict(set)  # ref -> workers that died with it
        self._beats: dict[str, float] = {}
        self._before_reaping: dict[str, float] = {}
        self._away: list[list[float]] = []  # when Redis did nothing: from, until

    def redis_away(self, until: float) -> None:
        """Redis does nothing from now on."""
        now = self._world.loop.now
        if self._away and self._away[-1][1] > now:
            self._away[-1][1] = max(self._away[-1][1], until)
        else:
            self._away.append([now, until])

    def redis_back(self) -> None:
        """Sooner than was thought."""
        for span in self._away:
            span[1] = min(span[1], self._world.loop.now)

    def died(self, process: Process, refs: set[str]) -> None:
        """A device process has ended with these models in it, or while it loaded them."""
        for ref in refs:
            self._crashed[ref].add(process.name.partition("/")[0])

    def tried(self, ref: str) -> set[str]:
        """Workers that could not load a model, and have not loaded it since."""
        return self._tried[ref]

    def crashed(self, ref: str) -> set[str]:
        """Workers of which a process has died with a model."""
        return self._crashed[ref]

    def ran(self, args: tuple[Any, ...], ran: Ran) -> None:
        """A script has run."""
        given = [str(arg) for arg in args[ARGS:]] if ran.script in _JUDGED else []
        if ran.script == "fail_load":
            self._failed(given, ran)
        elif ran.script == "refuse_load":
            self._tried[given[1]].add(given[0])
        elif ran.script == "announce" and ran.reply >= 0:
            self._tried[given[2]].discard(given[0])
        elif ran.script in ("register", "heartbeat", "renew_lease") and _is_renewed(ran):
            self._beats[given[0]] = self._world.loop.now
        elif ran.script in ("leave", "fence_worker"):
            self._beats.pop(given[0], None)  # if it is not done, gateways go on
        elif ran.script == "reap" and ran.reply:
            self._reaped(ran.reply[0].decode())
        elif ran.script == "place":
            self._placed(ran)
        for effect in ran.effects:
            self._quarantined(effect)

    # S1 ----------------------------------------------------------------------------------------

    def _failed(self, given: list[str], ran: Ran) -> None:
        worker, ref, scope = given[0], given[1], given[SCOPE]
        if ran.reply < 0:
            return
        self._tried[ref].add(worker)
        if scope == "class":
            self._by_class[ref].add(worker)
        key = self._world.keys.unloadable(ref)
        if scope == "model" or not any(e.command == "SET" and e.key == key for e in ran.effects):
            return
        left = self._able() - self._tried[ref] - self._crashed[ref]
        if scope == "class":  # the only healthy one of a class speaks for it
            left = {name for name in left if self._health(name, ref) == statuses.HEALTHY}
        if left and len(self._by_class[ref]) < 2:
            self._violated(f"S1: {ref} is refused for all, {sorted(left)} were not asked")

    def _able(self) -> set[str]:
        """Workers that may be asked to load: alive, ready, and not sick."""
        return {
            worker for worker in self._alive()
            if self._state(worker) == "ready" and self._health(worker) != statuses.SICK
        }  # fmt: skip

    # S2 ----------------------------------------------------------------------------------------

    def _quarantined(self, effect: Effect) -> None:
        kind, ref = self._world.history.split(effect.key)
        if kind != "breaker" or effect.command != "HSET" or "until" not in effect.fields:
            return
        crashed = self._crashed[ref]
        others = {w for w in self._alive() if self._health(w) == statuses.HEALTHY} - crashed
        if len(crashed) < 2 and others:
            self._violated(f"S2: {ref} is quarantined by {sorted(crashed)} alone, beside {others}")

    # S3 ----------------------------------------------------------------------------------------

    def _reaped(self, worker: str) -> None:
        beat = self._beats.pop(worker, None)
        if beat is None:
            return  # a further chunk
        self._before_reaping[worker] = beat
        silent = self._silence_s(beat)
        if silent < self._lease_s - BLIND_S:
            self._violated(f"S3: {worker} is reaped after {silent:.2f} s of silence of its own")

    def silence_s(self, worker: str) -> float:
        """Seconds since the last sign of life of a worker, less those in which Redis was away."""
        return self._silence_s(self._beats.get(worker, self._before_reaping.get(worker, 0.0)))

    def _silence_s(self, beat: float) -> float:
        now = self._world.loop.now
        return now - beat - sum(
            max(0.0, min(until, now) - max(since, beat))
            for since, until in self._away
            if until - since > LONG_STALL * self._lease_s
        )  # fmt: skip

    # S4 ----------------------------------------------------------------------------------------

    def _placed(self, ran: Ran) -> None:
        for effect in ran.effects:
            kind, worker = self._world.history.split(effect.key)
            if kind != "work" or effect.command != "XADD":
                continue
            if self._health(worker) == statuses.SICK:
                well = self.healthy_holders(effect.entry["model"])
                if well:
                    self._violated(f"S4: {effect.entry['id']} goes to sick {worker}, not to {well}")

    def healthy_holders(self, ref: str) -> set[str]:
        """Live workers that hold a model, and for all that is known to Redis can run it."""
        holders = self._words("HKEYS", self._world.keys.holders(ref)) & self._alive()
        return {w for w in holders if self._health(w, ref) == statuses.HEALTHY}

    # Redis as it is ----------------------------------------------------------------------------

    def _alive(self) -> set[str]:
        raw, keys = self._world.server.raw, self._world.keys
        found = raw("ZRANGEBYSCORE", keys.workers, f"({self._world.server.cell_ms(keys)}", "+inf")
        return {worker.decode() for worker in found}

    def _state(self, worker: str) -> str:
        said = self._world.server.raw("HGET", self._world.keys.worker(worker), "state")
        return said.decode() if said else ""

    def _health(self, worker: str, ref: str = "") -> str:
        said = self._world.server.raw("HGET", self._world.keys.unhealthy, worker)
        word, _, failing = said.decode().partition(" ") if said else ("", "", "")
        if ref and ref in failing.split(" ") and word != statuses.SICK:
            return statuses.SUSPECT
        return word if word in (statuses.SUSPECT, statuses.SICK) else statuses.HEALTHY

    def _words(self, *command: str) -> set[str]:
        return {word.decode() for word in self._world.server.raw(*command)}

    def _violated(self, text: str) -> None:
        self._world.history.violated(text)


def _is_renewed(ran: Ran) -> bool:
    """Whether this call has given its worker a lease."""
    if ran.script == "heartbeat":
        return ran.reply[0] in RENEWED
    return ran.script == "register" or ran.reply == 1


_JUDGED = (
    "fail_load", "refuse_load", "announce", "register", "heartbeat", "renew_lease", "leave",
    "fence_worker",
)  # fmt: skip
