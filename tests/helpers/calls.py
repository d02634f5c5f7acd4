"""A call as the intake hands it to dispatch: resolved, parsed and checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from router.requests.call import Call
from router.v2.request import InferRequest
from shared.envelope import Envelope
from shared.names import ModelRef
from tests.helpers.factories import REF, tensor


def checked(envelope: Envelope | None = None, **changes: Any) -> Call:
    """A call of a caller that waits, for the model REF."""
    envelope = envelope or Envelope([tensor(np.zeros((1, 2), "<f4"))])
    usual = {"ref": ModelRef.parse(REF), "timeout_s": 30.0}
    return Call(request=InferRequest(envelope, None, {}, False), **{**usual, **changes})
