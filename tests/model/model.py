"""The model: what a cell's state must become. The scripts' shared moves, in plain Python.

Here are the orders to load; `prediction.py` has what all moves share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tests.model import load_target
from tests.model.prediction import JOB_TTL, ORDER_TTL, QUEUE_HEADS, Prediction, job_id, must
from tests.model.state import Load


class Model(Prediction):
    """The prediction of one step, with its orders."""

    # Load orders -------------------------------------------------------------------------------

    def order(
        self, ref: str, refused: Iterable[str] = (), extra: str = "", chosen: str = "",
        larger: int = 0,
    ) -> None:  # fmt: skip
        """A new load lease and its RQ job, and word to who can have it soonest; the token is
        Redis's choice, never one of before. None for what nobody waits for any more."""
        if not extra and not self.state.parked.get(ref):
            self.forget(f"load:{ref}")
            return
        load = self.after.loads.get(ref)
        must(load is not None, f"I17: no load was ordered for {ref}")
        assert load is not None
        token = self.new_token(ref, load.token)
        refused, all_failed = frozenset(refused), False
        if not chosen:
            asked = (self.state, self.now, ref, refused, extra, larger)
            out = load_target.excluded(*asked)
            chosen, ms, _ = load_target.soonest(self.state, self.now, ref, out)
            if ms == math.inf and (ref in self.state.failed_on or ref in self.state.incompatible):
                self.note("load_target: all have failed")  # any of them may try again
                all_failed = True
                out = load_target.excluded(*asked, retry=True)
                chosen = load_target.soonest(self.state, self.now, ref, out)[0]
            self.note(
                f"load_target: {self.state.warm[ref][chosen].split()[0] if chosen else 'none'}"
            )
        since = self._enqueue(ref, job_id(ref, token), extra)
        self.state.loads[ref] = Load(
            token, "ordered", "", self.now, refused, extra, chosen, larger=larger,
            all_failed=all_failed, queued=since,
        )  # fmt: skip
        self.lives(f"load:{ref}", ORDER_TTL if extra else JOB_TTL)
        self.orders_written += 1
        self.state.jobs.add(job_id(ref, token))
        self.lives(f"rq:job:{job_id(ref, token)}", JOB_TTL)
        if chosen:
            self.tell(chosen, f"load {ref} {token}")

    def tell(self, worker: str, order: str) -> None:
        """An order by name."""
        self.state.told[worker] = sorted([*self.state.told.get(worker, []), order])
        self.lives(f"orders:{worker}", load_target.DIRECT_TTL)

    def unorder(self, ref: str, extra: bool = False) -> None:
        """Nobody waits for `ref`: what nobody has claimed goes, with `extra` a further copy too."""
        if self.state.parked.get(ref):
            return
        self.state.waiting.discard(ref)
        self.state.parked.pop(ref, None)
        load = self.state.loads.get(ref)
        if load is None or load.phase != "ordered":
            return
        if load.extra and not extra:
            if self.state.expires[f"load:{ref}"] - self.now > ORDER_TTL:  # requests waited for it
                self.lives(f"load:{ref}", ORDER_TTL)
            return
        self.forget(f"load:{ref}")
        self.forget_order(ref, load.token)

    # The cold queue ----------------------------------------------------------------------------

    def _enqueue(self, ref: str, job: str, extra: str) -> int:
        """Into the list and its index; since when it waits."""
        before = self.state.loads.get(ref)
        self.forget(f"load:{ref}")
        turn = before is not None and before.phase == "loading" and not extra
        since = None if extra else self.state.waits.get(ref)
        if turn and before is not None:
            since = before.queued or since
            turn = bool(before.queued)
        head = None if since is None else self.queue_head(QUEUE_HEADS)
        if since is not None and head is not None and (turn or since < head):
            self.state.orders.insert(0, job)
            since = int(min(since, head - 1))
            self.note("order: keeps its place")
        else:
            self.state.orders.append(job)
            since = max([self.now, *self.state.waits.values()])
        self.state.waits[ref] = since
        return since

    def queue_head(self, most: int) -> float | None:
        """Since when the head of the list waits; what is dead before it is dropped."""
        for _ in range(most):
            if not self.state.orders:
                return math.inf
            job = self.state.orders[0]
            for ref, load in self.state.loads.items():
                waits = load.phase == "ordered" and job in self.state.jobs
                if waits and job_id(ref, load.token) == job:
                    return self.state.waits.get(ref)
            self.state.orders.pop(0)
            self.forget(f"rq:job:{job}")
        return None

    def forget_order(self, ref: str, token: str) -> None:
        """It was claimed or cancelled."""
        job = job_id(ref, token)
        self.state.waits.pop(ref, None)
        if job in self.state.orders:
            self.state.orders.remove(job)
        self.forget(f"rq:job:{job}")

    def new_token(self, ref: str, token: str) -> str:
        """A token that Redis chose: never one of before for that model."""
        must((ref, token) not in self._tokens, f"I16: token {token} of {ref} is not new")
        self._tokens.add((ref, token))
        return token
