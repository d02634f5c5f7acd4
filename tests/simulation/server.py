"""A real Redis whose time is virtual: scripts run unchanged behind `prelude/`.

One plain connection, one command at a time, so a command is one instant of virtual time. Blocking
reads do not block: they are tried again when something was added to their stream.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import hiredis
import redis.exceptions

from shared import script_runner
from shared.keys import Keys
from shared.redis_decode import cell_ms
from shared.refusals import reply_error

PARTS = sorted((Path(__file__).parent / "prelude").glob("*.lua"))
PRELUDE = "".join(part.read_text() for part in PARTS)
EPOCH_MS = 1_700_000_000_000  # virtual time zero, as Redis's clock shows it
PURGE = PRELUDE + "return {sim.log}"
TIMED = PRELUDE + "return {sim.log, redis.call(unpack(ARGV, 2))}"
_ENTRY = re.compile(r"\d+-\d+")
LUA = Path(script_runner.__file__).parent / "lua"


class Effect(NamedTuple):
    """One change that a script made: the command, its key, its answer and its other arguments."""

    command: str
    key: str
    answer: Any = None
    args: tuple[str, ...] = ()

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a hash that were set."""
        return dict(zip(self.args[::2], self.args[1::2], strict=False))

    @property
    def entry(self) -> dict[str, str]:
        """The fields of an entry that was added, or would have been."""
        at = next(i for i, word in enumerate(self.args) if _ENTRY.fullmatch(word))
        fields = self.args[at + 1 :]
        return dict(zip(fields[::2], fields[1::2], strict=False))


class Ran(NamedTuple):
    """What a command did. `script` is '' for a plain command."""

    script: str
    reply: Any
    effects: list[Effect]


def wrapped(text: str) -> str:
    """A script behind the prelude; it answers what it changed, and its own answer."""
    return (
        f"{PRELUDE}local function script()\n{text}\nend\nlocal r = script()\nreturn {{sim.log, r}}"
    )


class SimRedis:
    """Commands of the product at virtual instants. `now` gives seconds since time zero."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(parts.path)
        else:
            self._socket = socket.create_connection((parts.hostname, parts.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader(replyError=reply_error)
        self._now: Callable[[], float] = lambda: 0.0
        self._names: dict[str, str] = {}
        self._shas: dict[str, str] = {}
        self._cached: set[str] = set()
        self._owed: list[Effect] = []
        self.commands = 0
        self.ahead_ms = 0  # its clock was set

    def begin(self, now: Callable[[], float]) -> None:
        """An empty Redis for a new schedule."""
        self._now = now
        self.ahead_ms = 0
        self._cached.clear()
        self._owed = []
        self.raw("FLUSHALL")
        self._names = {
            _sha(script_runner.load_source(path.stem)): path.stem
            for path in sorted(LUA.glob("*.lua"))
        }

    def close(self) -> None:
        self._socket.close()

    @property
    def true_ms(self) -> int:
        """The time, as Redis's clock would show it if nobody set it."""
        return EPOCH_MS + round(self._now() * 1000)

    @property
    def now_ms(self) -> int:
        """Redis's clock."""
        return self.true_ms + self.ahead_ms

    def cell_ms(self, keys: Keys) -> int:
        """The cell's clock."""
        seconds, rest = divmod(self.now_ms, 1000)
        return cell_ms((seconds, rest * 1000), self.raw("GET", keys.clock))

    def forget_scripts(self) -> None:
        """SCRIPT FLUSH, as clients see it."""
        self._cached.clear()

    # Running -----------------------------------------------------------------------------------

    def run(self, args: Sequence[Any]) -> Ran:
        """One command of the product; raises the error that Redis answers."""
        self.commands += 1
        command = str(args[0]).upper()
        if command in ("EVALSHA", "EVAL"):
            return self._script(command, args)
        if command == "TIME":
            seconds, rest = divmod(self.now_ms, 1000)
            return Ran("", [str(seconds).encode(), str(rest * 1000).encode()], [])
        if command in ("XADD", "PEXPIRE"):  # by virtual time
            ran, gone = self._purged(("EVALSHA", self._loaded(TIMED), 0, self.now_ms, *args))
            return Ran("", ran[1], gone + _effects(ran[0]))
        answer, effects = self._purged(tuple(args))
        return Ran("", _in_order(command, answer), effects)

    def run_unseen(self, args: Sequence[Any]) -> None:
        """A command of a client whose history is not followed: what has expired with it is told
        with the next answer."""
        self._owed += [e for e in self.run(args).effects if e.command == "EXPIRED"]

    def name_of(self, args: Sequence[Any]) -> str:
        """Which script an EVAL or EVALSHA runs."""
        if args[0] not in ("EVAL", "EVALSHA"):
            return ""
        return self._names.get(args[1] if args[0] == "EVALSHA" else _sha(args[1]), "?")

    def _script(self, command: str, args: Sequence[Any]) -> Ran:
        sha = args[1] if command == "EVALSHA" else _sha(args[1])
        if command == "EVALSHA" and sha not in self._cached:
            raise redis.exceptions.NoScriptError("NOSCRIPT No matching script.")
        if command == "EVAL":
            self._cached.add(sha)
            self._shas.setdefault(sha, self._load(wrapped(args[1])))
        script = ("EVALSHA", self._shas[sha], *args[2:4], self.now_ms, *args[5:])
        answer, effects = self._purged(script)
        reply = answer[1] if len(answer) > 1 else None
        return Ran(self._names.get(sha, "?"), reply, effects + _effects(answer[0]))

    def _purged(self, command: tuple[Any, ...]) -> tuple[Any, list[Effect]]:
        """The answer to a command, and what has expired before it: that is told with the next
        answer if this command fails."""
        log, reply = self._ask(("EVALSHA", self._loaded(PURGE), 0, self.now_ms), command)
        self._owed += _effects(log[0])
        answer = _raised(reply)
        effects, self._owed = self._owed, []
        return answer, effects

    def _loaded(self, text: str) -> str:
        sha = _sha(text)
        if sha not in self._shas:
            self._shas[sha] = self._load(text)
        return self._shas[sha]

    def _load(self, text: str) -> str:
        loaded: bytes = self.raw("SCRIPT", "LOAD", text)
        return loaded.decode()

    def raw(self, *args: Any) -> Any:
        """A command on Redis as it is: for the tests' own looks."""
        return _raised(self._ask(args)[0])

    def _ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Commands one after the other in one go; their answers, errors among them."""
        self._socket.sendall(b"".join(hiredis.pack_command(command) for command in commands))
        replies: list[Any] = []
        while len(replies) < len(commands):
            while (reply := self._reader.gets()) is not False:
                replies.append(reply)
            if len(replies) < len(commands):
                self._feed()
        return replies

    def _feed(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the simulation's Redis is gone")
        self._reader.feed(data)


def _raised(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _in_order(command: str, answer: Any) -> Any:
    """What a set or a hash has, by name: Redis has an order of its own for each process."""
    match command:
        case "HGETALL":
            pairs = sorted(zip(answer[::2], answer[1::2], strict=True))
            return [part for pair in pairs for part in pair]
        case "SMEMBERS" | "HKEYS":
            return sorted(answer)
        case "SSCAN":
            return [answer[0], sorted(answer[1])]
    return answer


def _sha(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def _effects(log: list[list[Any]]) -> list[Effect]:
    return [Effect(_text(row[0]), _text(row[1]), *_rest(row[2:])) for row in log]


def _rest(row: list[Any]) -> tuple[Any, ...]:
    if not row:
        return ()
    answer = row[0] if isinstance(row[0], int) else _text(row[0])
    return answer, tuple(_text(part) for part in row[1:])


def _text(part: Any) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else str(part)
