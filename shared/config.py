"""Settings: read from an environment mapping once, checked together, then passed as values."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from shared import cell_list, command_line
from shared.cell_list import CellAddress
from shared.names import MODEL_NAME
from shared.repository import url
from shared.setting import MIB, CellConfig, describe, listed, read, setting

__all__ = [
    "CellConfig",
    "RouterConfig",
    "WorkerConfig",
    "check_names",
    "describe",
    "listed",
    "read",
]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RouterConfig(CellConfig):
    """Settings of a gateway."""

    def faults(self) -> list[str]:
        """Check the default deadline."""
        if self.timeout_s <= self.max_timeout_s:
            return []
        return [f"WARMROUTE_TIMEOUT_S: {self.timeout_s:g} is above WARMROUTE_MAX_TIMEOUT_S"]

    @property
    def cells(self) -> list[CellAddress]:
        """The cells that this gateway serves."""
        return cell_list.parse(self.cell_list) if self.cell_list else super().cells

    def cell_faults(self) -> list[str]:
        """Check the list of cells; with one, the settings of a single cell are a worker's."""
        if not self.cell_list:
            return super().cell_faults()
        return [f"WARMROUTE_CELLS: {fault}" for fault in cell_list.faults(self.cell_list)]

    cell_list: str = setting(
        "WARMROUTE_CELLS", "", "The cells of a fleet, name=redis-url[;weight] in a comma list, in "
        "place of WARMROUTE_CELL and REDIS_URL; a cell of weight 0 gets no new models; a comma in "
        "a URL is %2C, a semicolon %3B.",
    )  # fmt: skip
    host: str = setting("WARMROUTE_HOST", "127.0.0.1", "Address to listen on.")
    port: int = setting("PORT", 8000, "Port of the HTTP door.", high=65535)
    max_body_bytes: int = setting(
        "WARMROUTE_MAX_BODY_BYTES", 16 * MIB, "Largest request body, also after decompression; it "
        "travels through Redis.", low=1, unit="bytes",
    )  # fmt: skip
    timeout_s: float = setting(
        "WARMROUTE_TIMEOUT_S", 60.0, "Deadline of a request that gives none.", low=0.001, unit="s"
    )
    max_timeout_s: float = setting(
        "WARMROUTE_MAX_TIMEOUT_S",
        3600.0,
        "Longest deadline a request may ask for.",
        low=1,
        unit="s",
    )
    shared_memory_bytes: int = setting(
        "WARMROUTE_SHARED_MEMORY_BYTES", 1024 * MIB,
        "Large tensors one gateway holds in shared memory.", unit="bytes",
    )  # fmt: skip
    max_queue: int = setting(
        "WARMROUTE_MAX_QUEUE", 1000, "Requests of one model queued and running on one worker; more "
        "are refused.", low=1,
    )  # fmt: skip
    max_parked: int = setting(
        "WARMROUTE_MAX_PARKED", 1000, "Requests that wait for one model to load.", low=1
    )
    max_pending: int = setting(
        "WARMROUTE_MAX_PENDING", 100_000, "Submitted and parked requests in the whole cell.", low=1
    )
    max_waiting: int = setting(
        "WARMROUTE_MAX_WAITING", 10_000, "Requests in flight in one gateway, from head to answer; "
        "more are refused before their bodies are read.", low=1,
    )  # fmt: skip
    max_bodies_bytes: int = setting(
        "WARMROUTE_MAX_BODIES_BYTES", 1024 * MIB, "Bodies of requests in the gateway's "
        "memory.", low=1, unit="bytes",
    )  # fmt: skip
    remembered: int = setting(
        "WARMROUTE_REMEMBERED", 100_000, "Requests of waiting callers whose status is kept for an "
        "hour, the newest of the whole cell; about 150 bytes of Redis each.", low=4,
    )  # fmt: skip
    kept_bytes: int = setting(
        "WARMROUTE_KEPT_BYTES", 0, "Outcomes of the cell that wait to be polled (dead letters may "
        "take a quarter as much): the oldest are dropped. 0 takes a quarter of Redis's maxmemory, "
        "or 1 GiB without one.", unit="bytes",
    )  # fmt: skip
    min_workers: int = setting(
        "WARMROUTE_MIN_WORKERS", 0, "Live workers that a gateway needs to be ready; with 0 it "
        "queues requests instead.",
    )  # fmt: skip
    catalog_ttl_s: float = setting(
        "WARMROUTE_CATALOG_TTL_S", 5.0, "How long a gateway caches the repository: "
        "shorter sees a new version sooner, longer reads less.", unit="s",
    )  # fmt: skip
    handover_s: float = setting(
        "WARMROUTE_HANDOVER_S", 5.0, "How long waiting callers may still get their answers after "
        "SIGTERM; the rest is answered 202.", unit="s",
    )  # fmt: skip
    drain_delay_s: float = setting(
        "WARMROUTE_DRAIN_DELAY_S", 10.0, "Longest time for which a gateway goes on serving after "
        "SIGTERM, not ready, until the load balancers that check it have noticed; if none checks "
        "it, it stops at once.", unit="s",
    )  # fmt: skip
    header_s: float = setting(
        "WARMROUTE_HEADER_S", 10.0, "How long a client may take to send the head of a request.",
        low=0.1, unit="s",
    )  # fmt: skip
    body_s: float = setting(
        "WARMROUTE_BODY_S", 30.0, "How long a client may take to send a body, and to begin to read "
        "an answer.", low=0.1, unit="s",
    )  # fmt: skip
    max_connections: int = setting(
        "WARMROUTE_MAX_CONNECTIONS", 10_000, "Open connections of clients; more are refused. The "
        "limit of open files may lower it.", low=1,
    )  # fmt: skip
    max_sessions: int = setting(
        "WARMROUTE_MAX_SESSIONS", 1000, "Sessions that may be open in the whole cell.", low=1
    )


@dataclass(frozen=True, kw_only=True)
class WorkerConfig(CellConfig):
    """Settings of a worker."""

    def faults(self) -> list[str]:
        """Check that the worker's name can be part of keys and lists, and that each place which is
        to be trusted is one."""
        found = url.faults("WARMROUTE_TRUST_CODE", listed(self.trust_code))
        if self.worker_id and not MODEL_NAME.fullmatch(self.worker_id):
            found.append("WARMROUTE_WORKER_ID: want 1 to 128 of A-Z a-z 0-9 . _ -")
        return found

    worker_id: str = setting("WARMROUTE_WORKER_ID", "", "Name of the worker; empty generates one.")
    device: str = setting(
        "WARMROUTE_DEVICE",
        "",
        "cpu or cuda:N; empty claims a free GPU, or the CPU if there is no GPU.",
    )
    threads: int = setting(
        "WARMROUTE_THREADS", 1, "Intra-op threads of one worker: more is faster for one worker, "
        "slower for several on one host.", low=1,
    )  # fmt: skip
    tf32: int = setting(
        "WARMROUTE_TF32", 0, "1 lets a GPU round the factors of FP32 products to TF32, some 3 "
        "digits: faster on an A100 or later; 0 computes as a CPU does.", high=1,
    )  # fmt: skip
    memory_bytes: int = setting(
        "WARMROUTE_MEMORY_BYTES", 0, "Budget for models on the device; 0 takes 80 % of a GPU, or "
        "this worker's part of half the memory that host or control group has.", unit="bytes",
    )  # fmt: skip
    host_memory_bytes: int = setting(
        "WARMROUTE_HOST_MEMORY_BYTES", 0, "Budget for weights that stay in host memory after a "
        "model is evicted from a GPU; 0 takes an eighth of it (less beside many workers: all "
        "together half), or none on a CPU worker.",
        unit="bytes",
    )  # fmt: skip
    eviction: str = setting(
        "WARMROUTE_EVICTION", "greedy_dual", "Which models are evicted first: greedy_dual weighs "
        "recency, frequency, reload time and bytes; lru the last use only.",
    )  # fmt: skip
    max_models: int = setting(
        "WARMROUTE_MAX_MODELS", 0, "Models on the device at a time, whatever their bytes; 0 means "
        "unlimited.",
    )  # fmt: skip
    min_residency_loads: float = setting(
        "WARMROUTE_MIN_RESIDENCY_LOADS", 2.0, "Shortest residency of a model, as a multiple of "
        "its load time: more thrashes less, less serves new models sooner.",
    )  # fmt: skip
    share_loads_s: float = setting(
        "WARMROUTE_SHARE_LOADS_S", 0.15, "Delay of a load that evicts right after another load "
        "did: more requests share one load, and wait longer; 0 disables it.", unit="s",
    )  # fmt: skip
    unaccounted_bytes: int = setting(
        "WARMROUTE_UNACCOUNTED_BYTES", 1024 * MIB, "Memory that belongs to no model: with more, "
        "the device process drains and is replaced; 0 disables it.", unit="bytes",
    )  # fmt: skip
    disk_cache: str = setting(
        "WARMROUTE_DISK_CACHE", "", "Folder of the content-addressed weight cache, which no other "
        "user may own or write to; empty takes one in the user's cache folder.",
    )  # fmt: skip
    disk_cache_bytes: int = setting(
        "WARMROUTE_DISK_CACHE_BYTES", 0, "Budget of that folder; 0 takes 20 GiB, or less where the "
        "disk has less.", unit="bytes",
    )  # fmt: skip
    cache_home: str = setting(
        "XDG_CACHE_HOME", "", "The user's cache folder; empty means ~/.cache."
    )
    trust_code: str = setting(
        "WARMROUTE_TRUST_CODE", "", "Comma list of repository URLs whose models, and those of "
        "the folders below them, may be formats that can run code; a comma in a name is %2C.",
    )  # fmt: skip
    trusted_programs: str = setting(
        "WARMROUTE_TRUSTED_PROGRAMS", "", "Comma list of sha256 of programs allowed everywhere."
    )
    load_concurrency: int = setting(
        "WARMROUTE_LOAD_CONCURRENCY", 2, "Models loaded at the same time by one worker.", low=1
    )
    prefetch: int = setting(
        "WARMROUTE_PREFETCH", 256, "In-flight window of a worker: more makes larger batches, "
        "less is repeated when the worker dies.", low=1,
    )  # fmt: skip
    unloadable_s: float = setting(
        "WARMROUTE_UNLOADABLE_S", 10.0, "How long a failed load is not repeated.",
        low=0.1, unit="s",
    )  # fmt: skip
    drain_s: float = setting(
        "WARMROUTE_DRAIN_S", 30.0, "How long running requests may take after SIGTERM.", unit="s"
    )
    stuck_s: float = setting(
        "WARMROUTE_STUCK_S", 30.0, "How long the device process may stall, or a batch may "
        "exceed its deadline, before the process is replaced: shorter recovers sooner, longer "
        "tolerates slow machines.", low=1, unit="s",
    )  # fmt: skip


def check_names(env: Mapping[str, str], config: CellConfig) -> None:
    """Say which variables of our name no process reads; ConfigError if the config is strict."""
    kinds = (RouterConfig, WorkerConfig)
    for sentence in command_line.unknown_names(env, kinds, strict=bool(config.strict)):
        log.warning("settings: %s", sentence)
