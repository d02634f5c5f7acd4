"""Collects the report of a worker (`shared/worker_report.py`) from its services."""

from __future__ import annotations

from typing import Any

from shared.statuses import COMPLETED
from shared.worker_report import WorkerReport, encode
from worker.loading.loader import Loader
from worker.residency.account import Bookkeeper
from worker.residency.context import WorkerContext
from worker.residency.host_tier import HostTier
from worker.residency.memory_manager import MemoryManager
from worker.residency.memory_monitor import MemoryMonitor
from worker.serving.completions import Completions
from worker.serving.load_meter import CompletionRate


class Reporter:
    """Collects the fields from the services that own them. `host_id`: of the host's shared memory,
    '' without one."""

    def __init__(
        self, context: WorkerContext, bookkeeper: Bookkeeper, host: HostTier, loader: Loader,
        completions: Completions, memory: MemoryManager, monitor: MemoryMonitor, *,
        max_models: int, host_id: str,
    ) -> None:  # fmt: skip
        self._context = context
        self._bookkeeper = bookkeeper
        self._host = host
        self._loader = loader
        self._completions = completions
        self._memory = memory
        self._monitor = monitor
        self._max_models = max_models
        self._host_id = host_id
        self._rate = CompletionRate()

    def fields(self) -> dict[str, Any]:
        """The fields now. Called on the heartbeat thread too."""
        context, memory = self._context, self._bookkeeper.account()
        counts, meter = self._completions.counts, context.meter
        health, reason = context.health.state
        pinned_bytes, pinned_models = context.copies.pinned()
        return encode(
            WorkerReport(
                device_name=context.device.name,
                device_class=context.device.device_class,
                gpu_uuid=context.device.uuid,
                budget_bytes=context.ledger.budget,
                used_bytes=memory.used,
                shared_bytes=memory.shared,
                reserved_bytes=memory.reserved,
                copy_bytes=memory.parts,
                host_budget_bytes=self._host.budget,
                host_used_bytes=self._host.used,
                loads_total=self._loader.loads,
                host_id=self._host_id,
                completed_per_s=self._rate.at(sum(counts[status] for status in COMPLETED)),
                service_ms=round(meter.service_ms, 3),
                busy_share=round(meter.busy, 3),
                contended=int(self._memory.contended()),
                unaccounted_bytes=self._monitor.unaccounted,
                max_models=self._max_models,
                pinned_bytes=pinned_bytes,
                pinned_models=pinned_models,
                health=health,
                health_reason=reason,
                error_share=round(context.health.calls.error_share, 3),
                failing=context.health.calls.failing,
                copies=context.copies.report(meter.hits),
            )
        )
