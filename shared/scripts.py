"""Every Lua script of a cell: those of gateways, and those of workers.

Each is behind one typed function, in the file of the process that calls it. No other module
evaluates Lua.
"""

from __future__ import annotations

from shared.gateway_scripts import (
    Cancel,
    GatewayScripts,
    Opened,
    Ordered,
    Placing,
    Replied,
    Waiting,
)
from shared.housekeeping_scripts import GatewayBeat, PartlyDone
from shared.placed import Limits, Placed
from shared.script_runner import CHUNK
from shared.worker_scripts import Beaten, Completion, WorkerScripts

__all__ = [
    "CHUNK",
    "Beaten",
    "Cancel",
    "Completion",
    "GatewayBeat",
    "GatewayScripts",
    "Limits",
    "Opened",
    "Ordered",
    "PartlyDone",
    "Placed",
    "Placing",
    "Replied",
    "Scripts",
    "Waiting",
    "WorkerScripts",
]


class Scripts(GatewayScripts, WorkerScripts):
    """All scripts of one cell."""
