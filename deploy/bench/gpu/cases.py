"""The cases: each measures the device as a worker uses it, beside plain torch."""

from __future__ import annotations

import random
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from deploy.bench.gpu import models
from worker.device.base import Device, DeviceOutOfMemory

MIB = 1 << 20
TENSORS = 200  # of a model of BERT's kind


@dataclass(frozen=True)
class Size:
    """How much is measured; tests take less. `sizes`: of the BERTs, their defaults if empty."""

    swap_bytes: int = 1024 * MIB
    rounds: int = 5
    berts: int = 60
    sizes: dict[str, int] = field(default_factory=dict)
    tokens: int = 64
    seconds: float = 5.0
    cycles: int = 500
    model_mib: tuple[int, int] = (5, 300)
    held_bytes: int = 8192 * MIB


@dataclass(frozen=True)
class Ratio:
    """Ours beside a reference; `most`: the target bounds the ratio from above, else from below."""

    name: str
    ours: float
    reference: float
    unit: str
    bound: float
    most: bool = False

    @property
    def value(self) -> float:
        """Ours over the reference."""
        return self.ours / self.reference if self.reference else float("inf")

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.bound if self.most else self.value >= self.bound

    @property
    def target(self) -> str:
        """The target in words."""
        return f"{'<=' if self.most else '>='} {self.bound:g}"


def swap(device: Device, size: Size, folder: Path) -> Iterator[Ratio]:
    """Weights from pinned host memory to the device, beside one copy of as many bytes; and from
    memory that is not pinned."""
    content = torch.randint(0, 256, (size.swap_bytes,), dtype=torch.uint8)
    pinned = device.host(content)
    raw = statistics.median(_raw_copy(device, size) for _ in range(size.rounds))
    for what, source in (
        ("swap from pinned memory", pinned),
        ("swap from ordinary memory", content),
    ):
        bound = 0.85 if source is pinned else 0.1
        ours = statistics.median(_seconds(lambda s=source: _placed(device, s))  # type: ignore[misc]
                                 for _ in range(size.rounds))  # fmt: skip
        gigabytes = size.swap_bytes / 1e9
        yield Ratio(what, gigabytes / ours, gigabytes / raw, "GB/s", bound)


def berts(device: Device, size: Size, folder: Path) -> Iterator[Ratio]:
    """Sixty fine-tunes of one BERT at the same time: their bytes, the time of one load; then the
    calls of one of them, beside its plain module."""
    made = models.make(folder, size.berts, size.sizes)
    before, started = device.allocated(), time.perf_counter()
    loaded = [bert.load(device) for bert in made.berts]
    each = (time.perf_counter() - started) / size.berts
    yield Ratio(
        f"memory of {size.berts} BERTs", (device.allocated() - before) / 1e6,
        made.bytes_alone / 1e6, "MB", 0.35, most=True,
    )  # fmt: skip
    yield Ratio("load of one of them", each * 1e3, 20.0, "ms", 1.0, most=True)
    vocabulary = int(size.sizes.get("vocab_size", 30522))
    plain = made.plain.to(device.torch_device)
    for rows in (1, 8):
        asked = models.question(rows, size.tokens, vocabulary)
        ours = _rate(lambda a=asked: loaded[0].run(a), size.seconds)  # type: ignore[misc]
        reference = _rate(lambda a=asked: _run_plain(plain, a), size.seconds)  # type: ignore[misc]
        yield Ratio(f"warm calls, {rows} rows", ours, reference, "calls/s", 0.8)
    for model in loaded:
        model.unload()


def fragmentation(device: Device, size: Size, folder: Path) -> Iterator[Ratio]:
    """Loads and evictions of many sizes: what the allocator holds, beside what is live. A load for
    which there is memory never fails."""
    dice, held = random.Random(1), OrderedDict[int, object]()
    bytes_of: dict[int, int] = {}
    content = device.host(torch.zeros(size.model_mib[1] * MIB, dtype=torch.uint8))
    budget = min(size.held_bytes, device.memory_total() // 2)
    failed = 0
    for number in range(size.cycles):
        needed = dice.randint(*size.model_mib) * MIB
        while held and sum(bytes_of[n] for n in held) + needed > budget:
            held.popitem(last=dice.random() < 0.5)
        try:
            held[number] = _placed(device, content[:needed])
            bytes_of[number] = needed
        except DeviceOutOfMemory:
            failed += 1
    yield Ratio("reserved beside allocated", device.reserved() / 1e6, device.allocated() / 1e6,
                "MB", 1.3, most=True)  # fmt: skip
    yield Ratio("loads that fit and failed", failed, size.cycles, "loads", 0.0, most=True)


CASES: dict[str, Callable[[Device, Size, Path], Iterator[Ratio]]] = {
    "swap": swap, "berts": berts, "fragmentation": fragmentation,
}  # fmt: skip


def _placed(device: Device, source: torch.Tensor) -> dict[str, torch.Tensor]:
    """As the weights of one model: some 200 tensors."""
    step = max(1, source.numel() // TENSORS)
    parts = {str(n): source[n : n + step] for n in range(0, source.numel(), step)}
    return device.place_all(parts)


def _raw_copy(device: Device, size: Size) -> float:
    """Seconds of plain copies of as many bytes from torch's own pinned memory."""
    piece = min(size.swap_bytes, 256 * MIB)
    on_gpu = device.kind == "cuda"
    source = torch.empty(piece, dtype=torch.uint8, pin_memory=on_gpu)
    target = torch.empty(piece, dtype=torch.uint8, device=device.torch_device)

    def copies() -> None:
        for _ in range(size.swap_bytes // piece):
            target.copy_(source, non_blocking=True)
        if on_gpu:
            torch.cuda.synchronize()

    copies()
    return _seconds(copies)


def _run_plain(module: torch.nn.Module, asked: dict[str, object]) -> None:
    where = next(module.parameters()).device
    with torch.inference_mode():
        module(*(torch.as_tensor(array).to(where) for array in asked.values())).cpu()


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _rate(call: Callable[[], object], seconds: float) -> float:
    for _ in range(3):
        call()
    calls, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        call()
        calls += 1
    return calls / (time.perf_counter() - started)
