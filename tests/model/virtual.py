"""The real scripts on a clock that tests own: lifetimes of keys run on it too.

Redis's own expiry runs on the real clock. So each script gets a prologue that notes lifetimes in a
sorted set of ours instead, and deletes what is past them when the next script begins.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any, NamedTuple

from shared.channel import Channel
from shared.keys import Keys
from shared.script_runner import load_source, read_lua
from shared.script_text import script_text
from shared.scripts import Scripts
from tests.model.prediction import must

PROLOGUE = """
local redis = (function(real)
  local expiry, now = KEYS[1] .. ':test:expiry', tonumber(ARGV[1])
  for _, key in ipairs(real.call('ZRANGEBYSCORE', expiry, '-inf', now)) do
    real.call('DEL', key)
    real.call('ZREM', expiry, key)
  end
  local function live(key, ms)
    if real.call('EXISTS', key) == 0 then return 0 end
    real.call('ZADD', expiry, now + ms, key)
    return 1
  end
  local virtual = {
    PEXPIRE = function(key, ms) return live(key, tonumber(ms)) end,
    EXPIRE = function(key, s) return live(key, tonumber(s) * 1000) end,
    PTTL = function(key)
      if real.call('EXISTS', key) == 0 then return -2 end
      local at = real.call('ZSCORE', expiry, key)
      return at and tonumber(at) - now or -1
    end,
    RENAME = function(key, new)
      real.call('ZREM', expiry, key)
      return real.call('RENAME', key, new)
    end,
    DEL = function(...)
      real.call('ZREM', expiry, ...)
      return real.call('DEL', ...)
    end,
    SET = function(key, value, px, ms)
      real.call('ZREM', expiry, key)
      local answer = real.call('SET', key, value)
      if px == 'PX' then live(key, tonumber(ms)) end
      return answer
    end,
  }
  local function call(name, ...)
    if virtual[name] then return virtual[name](...) end
    return real.call(name, ...)
  end
  local function pcall(name, ...)
    if virtual[name] then return virtual[name](...) end
    return real.pcall(name, ...)
  end
  return {call = call, pcall = pcall, sha1hex = real.sha1hex}
end)(redis)
"""

# Everything in the cell: per key its content, of a stream also what its groups have read and their
# names. As JSON, each byte of a text a letter. What Redis deleted because it was empty has no
# lifetime any more.
LOOK = """
local function look()
  local out, expiry = {}, KEYS[1] .. ':test:expiry'
  for _, key in ipairs(redis.call('ZRANGE', expiry, 0, -1)) do
    if redis.call('EXISTS', key) == 0 then redis.call('ZREM', expiry, key) end
  end
  for _, key in ipairs(redis.call('KEYS', KEYS[1] .. ':*')) do
    local kind, content, pending, groups = redis.call('TYPE', key)['ok'], nil, {}, {}
    if kind == 'hash' then content = redis.call('HGETALL', key)
    elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    elseif kind == 'set' then content = redis.call('SMEMBERS', key)
    elseif kind == 'list' then content = redis.call('LRANGE', key, 0, -1)
    elseif kind == 'stream' then
      content = redis.call('XRANGE', key, '-', '+')
      for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
        groups[#groups + 1] = group[2]
        for _, p in ipairs(redis.call('XPENDING', key, group[2], '-', '+', 10000)) do
          pending[#pending + 1] = {p[1], p[2]}
        end
      end
    else content = redis.call('GET', key) end
    out[#out + 1] = {key, content, pending, groups}
  end
  return cjson.encode(out)
end
"""

# A script, and what is there after it.
BOTH = """
local answer = (function()
%s
end)()
return {answer or false, look()}
"""

# What tests do to Redis from outside of the scripts, on the same clock.
TOUCH = """
if ARGV[2] == 'SET' and ARGV[5] then return redis.call('SET', ARGV[3], ARGV[4], 'PX', ARGV[5]) end
if ARGV[2] ~= 'FLUSHCELL' then return redis.call(unpack(ARGV, 2)) end
for _, key in ipairs(redis.call('KEYS', KEYS[1] .. ':*')) do redis.call('DEL', key) end
"""
MOST_CALLS = 1000  # of one step: a worker is released in parts
_OWN = {"nothing": "return 0", "touch": TOUCH}


_script = cache(load_source)


class Mutant(NamedTuple):
    """A fault planted in a file of `shared/lua`: `place`, or `lib/wipe` wherever that is used."""

    file: str
    old: str
    new: str

    def read(self, file: str) -> str:
        """The text of a file, with the fault if it is that one."""
        text = read_lua(file)
        if file != self.file:
            return text
        if self.old not in text:
            raise LookupError(f"{file}.lua has changed: it lacks {self.old!r}")
        return text.replace(self.old, self.new, 1)


class VirtualScripts(Scripts):
    """Scripts whose lifetimes run on `now_ms`, perhaps with a planted fault."""

    def __init__(self, channel: Channel, keys: Keys, mutant: Mutant | None = None) -> None:
        super().__init__(channel, keys)
        self._mutant = mutant
        self._rows: list[Any] | None = None
        self._calls = 0  # since the last look
        self.releases = True  # else it dies before it calls `release`

    async def _release(self, worker: str, max_attempts: int, cause: str) -> None:
        if self.releases:
            await super()._release(worker, max_attempts, cause)

    def _source(self, name: str) -> tuple[str, str]:
        if name not in self._sources:
            if name in _OWN:
                text = _OWN[name]
            elif self._mutant is None:
                text = _script(name)
            else:
                text = script_text(name, self._mutant.read)
            text = PROLOGUE + LOOK + BOTH.replace("%s", text)
            self._sources[name] = (hashlib.sha1(text.encode()).hexdigest(), text)
        return self._sources[name]

    async def _run(self, name: str, *args: Any) -> Any:
        self._rows, self._calls = None, self._calls + 1
        must(self._calls <= MOST_CALLS, f"{name} is repeated without end")
        answer, rows = await super()._run(name, *args)
        self._rows = json.loads(rows.decode("latin-1"))
        return answer

    async def look(self) -> list[Any]:
        """What Redis holds after the last script, as LOOK says."""
        self._calls = 0
        if self._rows is None:  # it raised
            await self._run("nothing")
        assert self._rows is not None
        return self._rows

    async def touch(self, *command: Any) -> Any:
        """One command from outside of the scripts."""
        return await self._run("touch", *command)
