"""A cell as tests drive it: the real scripts on a real Redis, with the moves that tests repeat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.asyncio import Redis

from shared.channel import Channel
from shared.connection import open_redis
from shared.keys import Keys
from shared.placed import Limits, Placed
from shared.scripts import Cancel, Completion, Placing, Scripts
from tests.helpers.factories import REF

LEASE_MS = 10_000
MAX_ATTEMPTS = 3
_NOTE = "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], ARGV[1])"
WIDE = Limits(work=1000, parked=1000, pending=1000)


class Entry(NamedTuple):
    """An entry that a worker has read: its id in the stream, and its fields."""

    entry: bytes
    fields: dict[str, bytes]


@dataclass
class Cell:
    """Keys, connections and scripts of one cell. `scripts.now_ms` lets a test own the clock."""

    url: str
    name: str
    keys: Keys
    client: Redis
    channel: Channel
    scripts: Scripts

    async def close(self) -> None:
        await self.channel.aclose()
        await self.client.aclose()

    # What gateways do ------------------------------------------------------------------------

    async def place(self, *items: Placing, limits: Limits = WIDE) -> list[Placed]:
        """Place requests."""
        return await self.scripts.place(items, limits)

    async def cancel(
        self, request_id: str, stream: str = "", entry: str = "", ref: str = REF, late: bool = False
    ) -> str:
        """Cancel one request; what came of it."""
        return (await self.scripts.cancel([Cancel(request_id, stream, entry, ref, late)]))[0]

    async def gateway(self, name: str = "gw1", lease_ms: int = LEASE_MS) -> int:
        """Renew a gateway's lease, so that replies to it are kept."""
        await self.attend()
        return (await self.scripts.gateway_beat(name, lease_ms)).moved

    async def attend(self) -> None:
        """Note that gateways have kept the clock until now: Redis was not away."""
        now = self.scripts.now_ms
        if now is None:
            seconds, micros = await self.client.time()
            now = seconds * 1000 + micros // 1000
        await self.client.eval(_NOTE, 1, self.keys.clock, f"{now} 0 0 {LEASE_MS}")

    async def reap(self) -> tuple[str, int] | None:
        """Reap, as a gateway does while the clock is kept."""
        await self.attend()
        return await self.scripts.reap(MAX_ATTEMPTS)

    async def replies(self, gateway: str = "gw1") -> list[dict[str, bytes]]:
        """The outcomes that a gateway was sent, oldest first."""
        rows: Any = await self.client.xrange(self.keys.replies(gateway))
        return [decoded(row) for _, row in rows if row[b"id"]]

    async def record(self, request_id: str) -> dict[str, bytes]:
        """A request's record, {} if there is none."""
        return decoded(await self.client.hgetall(self.keys.request(request_id)))

    # What workers do -------------------------------------------------------------------------

    async def worker(
        self, name: str = "w1", *, holds: Iterable[str] = (), lease_ms: int = LEASE_MS,
        incarnation: str = "one",
    ) -> str:  # fmt: skip
        """Register a worker that holds some models; its epoch."""
        fields = {"device_name": "cpu", "state": "ready", "incarnation": incarnation}
        epoch = await self.scripts.register(name, lease_ms, MAX_ATTEMPTS, fields)
        for ref in holds:
            await self.scripts.announce(name, epoch, ref, "", "device 1")
        return epoch

    async def token(self, ref: str = REF) -> str:
        """The token of the load lease of `ref`, '' if there is no lease."""
        return ((await self.client.hget(self.keys.load(ref), "token")) or b"").decode()

    async def claim(self, worker: str, epoch: str, ref: str = REF) -> str:
        """Claim the load that was ordered for `ref`; its token."""
        token = await self.token(ref)
        claim = await self.scripts.claim_load(worker, epoch, ref, token, LEASE_MS)
        assert claim in ("claimed", "suspect")
        return token

    async def read(self, worker: str = "w1", count: int = 1000) -> list[Entry]:
        """Entries that the worker has not read yet."""
        answer = await self.channel.execute_command(
            "XREADGROUP", "GROUP", await self.epoch(worker), worker, "COUNT", count, "STREAMS",
            self.keys.work(worker), ">",
        )  # fmt: skip
        rows = answer[0][1] if answer else []
        return [Entry(entry, decoded(dict(zip(f[::2], f[1::2], strict=True)))) for entry, f in rows]

    async def epoch(self, worker: str) -> bytes:
        """The present epoch of a worker; its work stream's group has that name."""
        found: Any = await self.client.hget(self.keys.worker(worker), "epoch")
        return found or b"none"

    async def begin(
        self, worker: str, epoch: str, entries: Iterable[Entry], batch: int = 1
    ) -> list[bytes]:
        """Count the start of a batch; the verdicts."""
        rows = [(e, f["id"], int(f["deadline"]), f["flags"]) for e, f in entries]
        return (await self.scripts.begin(worker, epoch, batch, rows))[1]

    async def complete(
        self, worker: str, epoch: str, entries: Iterable[Entry], status: str = "succeeded",
        outcome: bytes = b"answer", cause: bytes = b"",
    ) -> list[int]:  # fmt: skip
        """Commit one outcome for each entry."""
        rows = [
            Completion(
                e, f["id"], f["reply"], f["flags"], status, outcome, f["model"],
                b"" if status == "succeeded" else cause,
            )
            for e, f in entries
        ]  # fmt: skip
        return await self.scripts.complete(worker, epoch, rows)

    async def stream(self, key: str) -> list[Entry]:
        """What a stream holds."""
        rows: Any = await self.client.xrange(key)
        return [Entry(entry, decoded(row)) for entry, row in rows]

    async def orders(self) -> list[str]:
        """Ids of the load orders that wait in the cold queue."""
        return [job.decode() for job in await self.client.lrange(self.keys.rq_queue(), 0, -1)]

    async def exists(self, *keys: str) -> list[str]:
        """Which of `keys` exist."""
        return [key for key in keys if await self.client.exists(key)]


def decoded(row: Any) -> dict[str, bytes]:
    """Field names as text; `row` as a client without decoding answers it."""
    return {name.decode(errors="replace"): value for name, value in row.items()}


def open_cell(url: str, name: str) -> Cell:
    """A cell over connections of its own. `await cell.close()` in the end."""
    keys, client, channel = Keys(name), open_redis(url, name), Channel(url, name)
    return Cell(url, name, keys, client, channel, Scripts(channel, keys))
