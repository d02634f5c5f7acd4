"""The state that the services of one worker share: its device, its copies, and its scripts."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.scripts import WorkerScripts
from worker.device.base import Device
from worker.device.cpu import CpuDevice
from worker.device.thread import DeviceThread
from worker.health.health import Health
from worker.membership import Membership
from worker.residency.call_peaks import CallPeaks
from worker.residency.copies import Copies
from worker.residency.eviction_policy import EvictionPolicy, GreedyDual
from worker.residency.gauge import Gauge
from worker.residency.ledger import Ledger
from worker.serving.batcher import Batcher
from worker.serving.load_meter import Meter
from worker.supervisor.progress import Progress


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """Built once, in `worker/composition.py`. Used by code of the event loop only, except `thread`,
    and `progress`, `meter`, `gauge` and the calls of `health`, which the device thread writes."""

    scripts: WorkerScripts
    membership: Membership
    copies: Copies
    batcher: Batcher
    ledger: Ledger
    thread: DeviceThread
    device: Device = field(default_factory=CpuDevice)
    policy: EvictionPolicy = field(default_factory=GreedyDual)
    gauge: Gauge = field(default_factory=lambda: Gauge(lambda: None))
    peaks: CallPeaks = field(default_factory=CallPeaks)
    meter: Meter = field(default_factory=Meter)
    progress: Progress = field(default_factory=Progress)
    health: Health = field(default_factory=Health)
