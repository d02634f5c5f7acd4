"""Residency policies of model versions: what the manifest gives, and what the API overrides."""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import Redis

from router.catalog.catalog import Entry
from shared import policy
from shared.connection import redis_errors
from shared.event_log import EventLog
from shared.keys import Keys
from shared.policy import Policy
from shared.redis_decode import texts
from shared.scripts import GatewayScripts


class Policies:
    """Reads and sets overrides. They last until they are removed."""

    def __init__(
        self, client: Redis, keys: Keys, scripts: GatewayScripts, events: EventLog
    ) -> None:
        self._client = client
        self._keys = keys
        self._scripts = scripts
        self._events = events

    async def get(self, entry: Entry) -> dict[str, Any]:
        """The document of GET .../policy."""
        return _document(entry, await self._overrides(entry))

    async def set(self, entry: Entry, document: Any) -> dict[str, Any]:
        """Override fields ({field: value or null}), all or none; returns the document of GET.

        InvalidInput names the field, also if the fields contradict each other. With `preload` a
        load is ordered at once.
        """
        given = policy.texts(document)
        merged = await self._overrides(entry) | given
        policy.check(_effective(entry, {name: text for name, text in merged.items() if text}))
        overrides = await self._override(entry, given)
        if given.get("preload") == "1":
            least = max(entry.manifest.residency.min_copies, 1)
            await self._scripts.order_copy(str(entry.ref), least)
        return _document(entry, overrides)

    async def stop_preload(self, entry: Entry) -> None:
        """After an unload, a gateway that starts does not preload the model again."""
        if _effective(entry, await self._overrides(entry)).preload:
            await self._override(entry, {"preload": "0"})

    async def _override(self, entry: Entry, given: dict[str, str]) -> dict[str, str]:
        overrides = await self._scripts.set_policy(str(entry.ref), given)
        changes = ", ".join(
            f"{name} {text or 'as the manifest says'}" for name, text in given.items()
        )
        self._events.emit("policy_set", entry.ref, reason=changes)
        return overrides

    async def _overrides(self, entry: Entry) -> dict[str, str]:
        with redis_errors():
            fields: Any = await self._client.hgetall(self._keys.policy(str(entry.ref)))
        return texts(fields)


def _effective(entry: Entry, overrides: dict[str, str]) -> Policy:
    return policy.effective(entry.manifest.residency, overrides)


def _document(entry: Entry, overrides: dict[str, str]) -> dict[str, Any]:
    merged = msgspec.to_builtins(_effective(entry, overrides))
    return {
        "name": entry.ref.name,
        "version": str(entry.ref.version),
        "policy": merged,
        "overrides": {name: merged[name] for name in sorted(overrides) if name in merged},
        "manifest": msgspec.to_builtins(entry.manifest.residency),
    }
