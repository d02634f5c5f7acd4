"""Every Redis key of a cell. No other module builds a key; the Lua twin is `lua/lib/keys.lua`.

All keys of a cell start with one hash tag (`{warmroute}`), so a script may use any of them.

| key | type | holds | lifetime |
|---|---|---|---|
| `workers` | zset | worker id -> lease expiry, ms of the cell's clock | a member: `reap`, `leave` |
| `worker:<id>` | hash | epoch, state, since, the fields of its heartbeat | as the member above |
| `epoch` | string | the last epoch given out | for ever |
| `host:<id>` | set | workers that share the memory of that host | goes with the last of them |
| `holders:<ref>` | hash | worker id -> `tier bytes since`: the map | goes with its last holder |
| `holds:<worker>` | set | refs that the worker holds: the reverse | goes with the worker |
| `work:<worker>` | stream, group: its epoch | requests queued and running | goes with the worker |
| `queued:<worker>` | hash | ref -> number of its entries there | goes with the last of them |
| `started:<worker>` | hash | entry id -> number of its batch, once started | goes with the worker |
| `parked:<ref>` | stream | requests that wait for a load | goes with its last entry |
| `parked` | set | refs that have parked requests | goes with its last member |
| `load:<ref>` | hash | the load lease: token, worker, for, phase, since, why, extra | TTL |
| `changed:<worker>` | set | refs that the worker is to read again; a heartbeat takes them | TTL |
| `notifying` | hash | ref -> cursor: holders that still need a notification | TTL |
| `waiting_orders` | zset | ref -> since when its order waits, ms | a member goes with its order |
| `loads:<worker>` | set | refs that the worker is loading | goes with the worker |
| `unloadable:<ref>` | string | why the last load failed: the negative cache | TTL |
| `refused_models` | zset | ref -> until when `unloadable:` or `breaker:` may refuse it | TTL |
| `breaker:<ref>` | hash | crashes of workers over it, successes since: the quarantine | TTL |
| `gateways` | zset | gateway id -> lease expiry | a member goes with the sweep |
| `housekeepers` | zset | the few gateways that keep house -> until when they do | TTL |
| `gateway:<id>` | string | the protocol that a gateway writes, and the oldest that it reads | TTL |
| `protocols` | hash | `writes reads` of processes -> until when one lives, and which | TTL |
| `clock` | string | the cell's clock: seen until, offset, end of the grace, lease | for ever |
| `replies:<gateway>` | stream | outcomes for callers that wait there | TTL, trimmed |
| `request:<id>` | hash | status, place, deadline, outcome of a request | TTL |
| `tombstone:<id>` | string | tombstone of a request whose outcome was kept | TTL |
| `idempotency:<sha1>` | hash | id and fingerprint of the request of an idempotency key | TTL |
| `headroom` | string | bytes that may still be placed below Redis's maxmemory | TTL |
| `deadlines` | zset | request id -> deadline, ms | a member goes with its outcome |
| `withdrawn` | zset | id of a request that is not to run, wherever it is -> until when | TTL |
| `ingress` | stream, group `g` | the public door for direct producers | for ever, drained |
| `outbox` | stream, group `g` | outcomes to be rendered into `reply_to` | for ever, drained |
| `reply_stream:<sha1>` | string | this cell made the stream of that name for answers | TTL |
| `dead_letters` | stream | dead letters | for ever, capped |
| `kept:<kind>` | list | `ms bytes name` of each kept outcome and dead letter | for ever, drained |
| `kept_bytes:<kind>` | string | the sum of those bytes | goes with its list |
| `failures` | stream, group `g` | failed requests, to be written to the log | for ever, drained |
| `outcomes` | hash | the newest generation of each kind below | TTL |
| `outcomes:<kind>` | hash | id -> how a request without a record ended | TTL |
| `policy:<ref>` | hash | overrides of the API for a model version | until the API removes them |
| `stats:<ref>` | hash | measured: bytes of a copy, of its calls; ms to load it; pin, copies | TTL |
| `loaded_versions:<name>` | hash | version -> digest, the newest few that were loaded | TTL |
| `leaving:<name>` | hash | `ref worker` -> epoch: copies that drain, until they are freed | TTL |
| `warm:<ref>` | hash | worker -> `tier epoch`: copies in host memory or on disk, as hints | TTL |
| `orders:<worker>` | list | orders for that worker: `load ref token`, `unload ref` | TTL |
| `min_copies` | set | refs with a minimum number of copies | a member goes when it has none |
| `sessions` | zset | session id -> expiry, ms | a member goes with its session |
| `session:<id>` | hash | models: `ref bytes ...` | TTL |
| `pinned:<ref>` | set | ids of the sessions that pin it | goes with its last session |
| `reserved` | hash | ref -> `worker epoch bytes`: bytes for sessions | goes with its last session |
| `failed_on:<ref>` | hash | worker -> until when it is not asked to load it, and why | TTL |
| `crashed:<worker>` | hash | crashes lately, over which models, and if it is suspect | TTL |
| `ready:<class>` | zset | ready worker of a class -> its busy share | goes with its last member |
| `device_classes` | set | classes that have ready workers | a member goes with its last worker |
| `unhealthy` | hash | worker -> health, models failing there | a field goes with its worker |
| `no_capacity:<ref>` | string | no other worker could take another copy | TTL |
| `incompatible:<ref>` | set | device classes that could not load it | TTL |
| `affinity:<key>` | set | refs of one affinity key | TTL |
| `events` | stream | what happened to copies | for ever, capped |
| `rq:*` | RQ | load orders, in RQ's own format | the queue goes when empty, a job has a TTL |
"""

from __future__ import annotations

from shared.constants import COLD_QUEUE
from shared.names import check_model_name

# Keys that may lack a TTL: each has an owner that deletes it (table above).
LASTING = (
    "workers", "worker:", "host:", "epoch", "holders:", "holds:", "work:", "queued:", "started:",
    "loads:", "parked:", "parked",
    "gateways", "deadlines", "ingress", "outbox", "dead_letters", "failures", "policy:",
    "kept:", "kept_bytes:",
    "min_copies", "sessions", "pinned:", "reserved", "events", "unhealthy", "clock",
    "ready:", "device_classes", "waiting_orders",
    "rq:queues", "rq:queue:",
)  # fmt: skip


class Keys:
    """Key names of one cell."""

    def __init__(self, cell: str = "warmroute") -> None:
        check_model_name(cell)
        self.cell = cell
        self.prefix = "{" + cell + "}"
        self.rq_prefix = self._of("rq")
        self.workers = self._of("workers")
        self.epoch = self._of("epoch")
        self.parked_refs = self._of("parked")
        self.gateways = self._of("gateways")
        self.deadlines = self._of("deadlines")
        self.withdrawn = self._of("withdrawn")
        self.ingress = self._of("ingress")
        self.outbox = self._of("outbox")
        self.dead_letters = self._of("dead_letters")
        self.failures = self._of("failures")
        self.refused_models = self._of("refused_models")
        self.newest_outcomes = self._of("outcomes")
        self.headroom = self._of("headroom")
        self.min_copies = self._of("min_copies")
        self.sessions = self._of("sessions")
        self.unhealthy = self._of("unhealthy")
        self.housekeepers = self._of("housekeepers")
        self.protocols = self._of("protocols")
        self.reserved = self._of("reserved")
        self.notifying = self._of("notifying")
        self.device_classes = self._of("device_classes")
        self.waiting_orders = self._of("waiting_orders")
        self.events = self._of("events")
        self.clock = self._of("clock")
        self.answers = self._of("answers:")

    def _of(self, name: str) -> str:
        return f"{self.prefix}:{name}"

    def worker(self, worker: str) -> str:
        return self._of(f"worker:{worker}")

    def host(self, host_id: str) -> str:
        return self._of(f"host:{host_id}")

    def holders(self, ref: str) -> str:
        return self._of(f"holders:{ref}")

    def holds(self, worker: str) -> str:
        return self._of(f"holds:{worker}")

    def work(self, worker: str) -> str:
        return self._of(f"work:{worker}")

    def started(self, worker: str) -> str:
        return self._of(f"started:{worker}")

    def queued(self, worker: str) -> str:
        return self._of(f"queued:{worker}")

    def parked(self, ref: str) -> str:
        return self._of(f"parked:{ref}")

    def load(self, ref: str) -> str:
        return self._of(f"load:{ref}")

    def unloadable(self, ref: str) -> str:
        return self._of(f"unloadable:{ref}")

    def loads(self, worker: str) -> str:
        return self._of(f"loads:{worker}")

    def changed(self, worker: str) -> str:
        return self._of(f"changed:{worker}")

    def breaker(self, ref: str) -> str:
        return self._of(f"breaker:{ref}")

    def policy(self, ref: str) -> str:
        return self._of(f"policy:{ref}")

    def stats(self, ref: str) -> str:
        return self._of(f"stats:{ref}")

    def loaded_versions(self, name: str) -> str:
        return self._of(f"loaded_versions:{name}")

    def warm(self, ref: str) -> str:
        return self._of(f"warm:{ref}")

    def leaving(self, name: str) -> str:
        return self._of(f"leaving:{name}")

    def orders(self, worker: str) -> str:
        return self._of(f"orders:{worker}")

    def session(self, session_id: str) -> str:
        return self._of(f"session:{session_id}")

    def pinned(self, ref: str) -> str:
        return self._of(f"pinned:{ref}")

    def no_capacity(self, ref: str) -> str:
        return self._of(f"no_capacity:{ref}")

    def incompatible(self, ref: str) -> str:
        return self._of(f"incompatible:{ref}")

    def failed_on(self, ref: str) -> str:
        return self._of(f"failed_on:{ref}")

    def crashed(self, worker: str) -> str:
        return self._of(f"crashed:{worker}")

    def ready(self, device_class: str) -> str:
        return self._of(f"ready:{device_class}")

    def affinity(self, key: str) -> str:
        return self._of(f"affinity:{key}")

    def outcomes(self, kind: str) -> str:
        return self._of(f"outcomes:{kind}")

    def kept(self, kind: str) -> str:
        return self._of(f"kept:{kind}")

    def kept_bytes(self, kind: str) -> str:
        return self._of(f"kept_bytes:{kind}")

    def tombstone(self, request_id: str) -> str:
        return self._of(f"tombstone:{request_id}")

    def idempotency(self, digest: str) -> str:
        return self._of(f"idempotency:{digest}")

    def reply_stream(self, digest: str) -> str:
        return self._of(f"reply_stream:{digest}")

    def gateway(self, gateway: str) -> str:
        return self._of(f"gateway:{gateway}")

    def replies(self, gateway: str) -> str:
        return self._of(f"replies:{gateway}")

    def request(self, request_id: str) -> str:
        return self._of(f"request:{request_id}")

    def rq_queue(self) -> str:
        return self._of(f"rq:queue:{COLD_QUEUE}")

    def rq_job(self, job_id: str) -> str:
        return self._of(f"rq:job:{job_id}")
