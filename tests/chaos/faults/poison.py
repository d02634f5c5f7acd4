"""A request that crashes whatever process runs it."""

from __future__ import annotations

import json
import time

from tests.chaos.faults.base import Fault, require
from tests.chaos.ground import Ground
from tests.chaos.history import History
from tests.helpers.fragile import poison
from tests.helpers.http import Answer, ask
from tests.helpers.models import Mlp
from tests.helpers.wait import came_true
from warmroute.encoding import encode

KIND = "poison"
_LIMIT_S = 120.0


class Poison(Fault):
    """One submitted request on which the model writes through an unchecked index: SIGSEGV.

    It is to be tried as often as is allowed, the last time alone, and then to fail.
    """

    kind = "poison request"
    kills = True
    patience_s = 120.0

    def __init__(
        self, ground: Ground, target: Mlp, history: History, aim: Mlp | None = None
    ) -> None:
        super().__init__(ground)
        self.aim = aim or target
        self.devices = {slot.name: slot.device_pid for slot in ground.workers}
        self._history = history

    def inject(self) -> None:
        self._op = self._history.begin(KIND, self.aim.name, _LIMIT_S)
        self.request = self._submit()

    def verify(self) -> None:
        """A device process is gone, and the request has ended as failed."""
        require(came_true(self._crashed, self.patience_s), "no device process died")
        require(came_true(self._ended, self.patience_s), "the poison request did not end")
        require(self.document["status"] == "failed", f"it ended as {self.document}")

    def heal(self) -> None:
        for slot in self.ground.workers:
            slot.await_ready()

    def _crashed(self) -> bool:
        now = {slot.name: slot.device_pid for slot in self.ground.workers}
        return any(pid and now[name] != pid for name, pid in self.devices.items())

    def _submit(self) -> str:
        body, length = encode(poison(), parameters={"timeout": int(_LIMIT_S * 1e6)})
        headers = {
            "Prefer": "respond-async",
            "Idempotency-Key": f"poison-{self._op.number}",
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(length),
        }
        ends = time.monotonic() + self.patience_s
        while time.monotonic() < ends:
            answer = self._ask("POST", f"/v2/models/{self.aim.name}/infer", body, headers)
            if answer is not None and answer.status == 202:
                request = str(json.loads(answer.body)["id"])
                self._op.note("ok", state="accepted", request=request, status=202)
                return request
            time.sleep(0.5)  # quarantined since the last one, or nobody is there
        return ""

    def _ended(self) -> bool:
        answer = self._ask("GET", f"/v2/requests/{self.request}")
        if answer is None or answer.status != 200:
            return False
        self.document = json.loads(answer.body)
        state = self.document["status"]
        if state in ("queued", "running"):
            return False
        self._op.note(
            "ok", state=state, request=self.request, code=self.document.get("code", ""),
            status=200,
        )  # fmt: skip
        return True

    def _ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer | None:
        """From whichever gateway answers."""
        for gateway in self.ground.gateways:
            try:
                return ask(gateway.url, method, path, body, headers)
            except OSError:
                continue
        return None
