"""What holds of copies, loads and sessions after every step, whatever the model says."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.model.load_target import failure_of, least_copies
from tests.model.prediction import must
from tests.model.state import State


def check_copies(state: State) -> None:
    """What a look at Redis alone can tell."""
    for ref in state.stats.keys() | state.policies.keys() | state.pinned.keys():
        looked_at = ref in state.min_copies or least_copies(state, ref) == 0
        must(looked_at, f"{ref} is to have copies, and nobody looks after it")
    for ref, load in state.loads.items():
        ends = load.phase != "loading" or load.cause  # it has failed, and its requests are told
        fair = ends or load.worker not in load.refused
        fair = fair or _had_rested(state, ref, load.worker, load.since)
        must(fair, f"{load.worker} loads {ref}, and has refused it")
        must(bool(load.worker) or load.phase == "ordered", f"I16: nobody is {load.phase} {ref}")


def _had_rested(state: State, ref: str, worker: str, since: int) -> bool:
    """Whether it was left out because it had failed, and its back-off was over when it claimed."""
    return worker in state.failed_on.get(ref, {}) and failure_of(state, ref, worker)[0] <= since


@dataclass
class CopyHistory:
    """What only a look at several states can tell."""

    state: State = field(default_factory=State)  # the one before
    loader: dict[str, tuple[str, str]] = field(default_factory=dict)  # ref -> worker, its token
    lapsed: set[str] = field(default_factory=set)  # sessions that nobody ended in time

    def check(self, state: State) -> None:
        """Compare with what was before."""
        self._sessions_pin_what_they_name(state)
        for worker, entries in state.work.items():
            before = self.state.work.get(worker, {})
            holds = self.state.holds.get(worker, set()) | state.holds.get(worker, set())
            for entry in entries.keys() - before.keys():
                ref = entries[entry].ref
                must(ref in holds, f"{entry} of {ref} was placed on {worker}, which has no copy")
        self.state = state

    def _sessions_pin_what_they_name(self, state: State) -> None:
        self.lapsed |= state.sessions.keys() - state.pins.keys()
        named = {
            (ref, session)
            for session in state.sessions
            for ref in state.pins.get(session, {}).get("models", "").split()[::2]
        }
        pinned = {(ref, session) for ref, ids in state.pinned.items() for session in ids}
        must(named <= pinned, f"{named - pinned} are named by a session and not pinned")
        strange = {pair for pair in pinned - named if pair[1] not in self.lapsed}
        must(not strange, f"{strange} are pinned by no session")

    def claimed(self, ref: str, worker: str, token: str) -> None:
        """From here on nobody else may announce `ref` as loaded."""
        self.loader[ref] = (worker, token)

    def announced(self, ref: str, worker: str, token: str) -> None:
        """A load was accepted: it must be the last one that was claimed."""
        must(self.loader.get(ref) == (worker, token), f"I16: {ref} was loaded by another load too")
