"""Runs a script by its hash, and sends its source when Redis does not have it.

A script is `lua/<name>.lua`; its line `-- use: a, b` names the files of `lua/lib` put before it
(`script_text.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import redis.exceptions

from shared import failpoints
from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys
from shared.protocol import NUMBERS
from shared.script_text import script_text

CHUNK = 64  # entries or models that one call moves at most: 5 to 6 ms of a slow Redis 6.2


def read_lua(name: str) -> str:
    """The text of a file of `lua`: `place`, or `lib/keys`."""
    return (files("shared") / "lua" / f"{name}.lua").read_text()


def load_source(name: str) -> str:
    """The text of a script with what it uses of the library files."""
    return script_text(name, read_lua)


def flat_of(fields: Mapping[str, Any]) -> list[Any]:
    """Field, value, field, value ... as scripts take them."""
    return [part for pair in fields.items() for part in pair]


class ScriptRunner:
    """Runs scripts of one cell over one channel. For tests `now_ms` replaces the cell's clock,
    `redis_ms` Redis's own, and `protocol` the numbers of this release."""

    protocol = NUMBERS

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._channel = channel
        self._prefix = keys.prefix
        self._keys = keys
        self._sources: dict[str, tuple[str, str]] = {}
        self.now_ms: int | None = None
        self.redis_ms: int | None = None
        if failpoints.ACTIVE:
            self._run = self._run_past_failpoints  # type: ignore[method-assign]

    @property
    def since(self) -> float:
        """See `Channel`."""
        return self._channel.since

    def cut(self) -> None:
        """Give up the calls in flight, whatever is on its way; later ones use a new connection."""
        self._channel.cut()

    def _source(self, name: str) -> tuple[str, str]:
        if name not in self._sources:
            text = load_source(name)
            self._sources[name] = (hashlib.sha1(text.encode()).hexdigest(), text)
        return self._sources[name]

    async def _run(self, name: str, *args: Any) -> Any:
        sha, text = self._source(name)
        now: int | str = "" if self.now_ms is None else self.now_ms
        if self.redis_ms is not None:
            now = f"@{self.redis_ms}"
        with redis_errors():
            try:
                return await self._channel.execute_command(
                    "EVALSHA", sha, 1, self._prefix, now, *args
                )
            except redis.exceptions.NoScriptError:
                # The script did not run, so sending it whole cannot run it twice.
                return await self._channel.execute_command(
                    "EVAL", text, 1, self._prefix, now, *args
                )

    async def _run_past_failpoints(self, name: str, *args: Any) -> Any:
        await failpoints.reach(f"{name}.before")
        answer = await ScriptRunner._run(self, name, *args)
        await failpoints.reach(f"{name}.after")
        return answer
