"""One worker that cannot do what the others can, beside them: its disk, its store, its device."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import ClassVar

import redis

from tests.chaos.faults.base import Fault, require
from tests.chaos.ground import Ground
from tests.chaos.links import Link
from tests.chaos.slot import Slot
from tests.helpers.pair import send
from tests.helpers.wait import came_true
from worker.supervisor.restart import DEVICE_LOST

DISK_BYTES = 4 << 20
CRASH_EVERY_S = 5.0
NOT_HEALTHY = ("suspect", "sick")


class Sickness(Fault):
    """A worker is started again with settings of its own, and then falls sick."""

    said: ClassVar[str]  # by the reason that it reports
    serves_first = True  # before it falls sick; else its disk has what its store then forbids
    holds_models = False  # it must, to be asked for what it then fails
    patience_s = 60.0

    def __init__(self, ground: Ground, target: Slot, aim: Slot | None = None) -> None:
        super().__init__(ground)
        self.target = target
        self.aim = aim or target
        self._usual = dict(self.aim.settings)

    def settings(self) -> dict[str, str]:
        """Settings of the worker that falls sick."""
        return {}

    def fall_sick(self) -> None:
        """From now on it is."""

    def recover(self) -> None:
        """It is not any more, whatever its process makes of it."""

    def inject(self) -> None:
        self.prepare()
        self.fall_sick()

    def prepare(self) -> None:
        """Start it again with its settings; it is healthy."""
        self.aim.settings = {**self._usual, **self.settings()}
        self._start_again()

    def shown(self) -> bool:
        """Whether it says so itself, with the reason. What it is not asked for it does not fail."""
        return self.said in self._reason()

    def verify(self) -> None:
        shown = came_true(self.shown, self.patience_s)
        require(shown, f"{self.target.name} does not say {self.said!r}: {self._reason()!r}")

    def heal(self) -> None:
        self.recover()
        self.aim.settings = self._usual
        self._start_again()

    def leave(self) -> None:
        """The worker leaves the cell: nothing waits for the end of its lease."""
        if self.aim.running:
            send(self.aim.pids[0], signal.SIGTERM)
            came_true(lambda: not self.aim.running, self.patience_s)
        self.aim.kill()

    def _start_again(self) -> None:
        self.leave()
        self.aim.start()
        self.aim.await_ready()

    def _reason(self) -> str:
        """Of its report."""
        with suppress(redis.RedisError, OSError):
            key = self.target.stack.keys.worker(self.target.name)
            health, reason = self.target.redis.hmget(key, "health", "health_reason")
            if (health or b"").decode() in NOT_HEALTHY:
                return (reason or b"").decode()
        return ""


class FullDisk(Sickness):
    """The file system of its cache has no free byte. It needs root, for a small one in memory."""

    kind = "full disk"
    said = "No space left"

    @property
    def disk(self) -> Path:
        """Where that is mounted."""
        return self.ground.folder / f"disk-{self.aim.name}"

    def settings(self) -> dict[str, str]:
        self.disk.mkdir(exist_ok=True)
        size = f"size={DISK_BYTES},mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.disk)]
        subprocess.run(mount, check=True, capture_output=True)
        return {"WARMROUTE_DISK_CACHE": str(self.disk / "cache")}

    def fall_sick(self) -> None:
        with suppress(OSError), (self.disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))

    def recover(self) -> None:
        (self.disk / "ballast").unlink(missing_ok=True)

    def heal(self) -> None:
        super().heal()
        subprocess.run(["umount", "-l", str(self.disk)], check=True, capture_output=True)


class ForbiddenStore(Sickness):
    """The store refuses its credentials: they have expired."""

    kind = "expired credentials"
    said = "ExpiredToken"
    serves_first = False

    def settings(self) -> dict[str, str]:
        self.link: Link = self.ground.links.to(self.ground.s3_link.address)
        # A cache of its own, so that its loads need the store.
        cache = self.ground.folder / f"cache-{self.aim.name}-{time.monotonic_ns()}"
        return {"S3_ENDPOINT_URL": self.link.address, "WARMROUTE_DISK_CACHE": str(cache)}

    def fall_sick(self) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{self.said}</Code></Error>".encode()
        head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\n"
        self.link.answer_all(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def recover(self) -> None:
        self.link.answer_all(b"")


class SkewedClock(ForbiddenStore):
    """The store refuses its signatures: its clock is wrong."""

    kind = "wrong clock"
    said = "RequestTimeTooSkewed"


class LostDevice(Sickness):
    """Its device fails every call, and the self-test."""

    kind = "device that fails every call"
    said = "its device failed a self-test"
    kills = True
    holds_models = True

    @property
    def points(self) -> Path:
        """The failpoints of its processes."""
        return self.ground.folder / f"points-{self.aim.name}"

    def settings(self) -> dict[str, str]:
        self.points.write_text("")
        return {"WARMROUTE_FAILPOINT": f"@{self.points}"}

    def fall_sick(self) -> None:
        self._logged = len(self._log())
        self.points.write_text("run.mid:raise@1.0,self_test.mid:raise@1.0")

    def shown(self) -> bool:
        """Its parent says so, as no process of it gets as far as to register."""
        return self.said in self._log()[self._logged :]

    def ends_for_good(self) -> bool:
        """Whether it ends by itself, with a last line; that takes a minute."""
        process = self.target.process
        ended = process is not None and came_true(lambda: not process.running, 2 * self.patience_s)
        return ended and "ends for good" in self._log() and process.child.returncode == DEVICE_LOST

    def recover(self) -> None:
        self.points.write_text("")

    def _log(self) -> str:
        return self.target.process.log if self.target.process is not None else ""


class CrashLoop(Sickness):
    """Its device process is killed each time that it has served for five seconds."""

    kind = "crashes every 5 s"
    said = "times in a row"
    kills = True
    patience_s = 90.0

    def fall_sick(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._crash, daemon=True)
        self._thread.start()

    def recover(self) -> None:
        self._over.set()
        self._thread.join()

    def _crash(self) -> None:
        """It serves for a while each time."""
        gone = 0
        while not self._over.wait(0.2):
            device = self.aim.device_pid
            if device in (0, gone) or not self.aim.ready or self._over.wait(CRASH_EVERY_S):
                continue
            send(device, signal.SIGKILL)
            gone = device


SICKNESSES: tuple[type[Sickness], ...] = (
    FullDisk, ForbiddenStore, SkewedClock, LostDevice, CrashLoop,
)  # fmt: skip


def possible(folder: Path) -> list[type[Sickness]]:
    """Those that can be made here: a small file system may not be mounted everywhere."""
    return [way for way in SICKNESSES if way is not FullDisk or _can_mount(folder)]


def impossible(folder: Path) -> set[str]:
    """The kinds of the others."""
    return {way.kind for way in SICKNESSES} - {way.kind for way in possible(folder)}


@cache
def _can_mount(folder: Path) -> bool:
    place = folder / "mounts"
    place.mkdir(exist_ok=True)
    try:
        tried = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False
        )
    except OSError:
        return False
    if tried.returncode == 0:
        subprocess.run(["umount", str(place)], check=True, capture_output=True)
    return tried.returncode == 0
