"""The host tier: whose weights are kept in host memory, in how many bytes, and who makes room."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from shared.manifest import FileEntry, Manifest
from tests.helpers.factories import file_entry, manifest
from worker.device.base import DeviceOutOfMemory
from worker.device.cpu import CpuDevice
from worker.residency.host_tier import HostTier

SIZES = {"a": 100, "b": 200, "c": 300, "d": 400}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The disk cache: a file for each blob, by the letter of its hash."""
    found = {}
    for letter, size in SIZES.items():
        found[f"weights/{letter}"] = tmp_path / letter
        (tmp_path / letter).write_bytes(letter.encode() * size)
    return found


@pytest.fixture
def device() -> CpuDevice:
    return CpuDevice()


def model(letters: str, **changes: object) -> Manifest:
    """A program with one weights file for each letter."""
    weights = [file_entry(f"weights/{c}", c, SIZES[c]) for c in letters]
    return manifest(files=[file_entry("program.json", "f", 7), *weights], **changes)


def names(entries: list[FileEntry]) -> list[str]:
    return [entry.name for entry in entries]


async def test_a_kept_model_needs_only_its_program_from_disk(device, files):
    """And is named among those kept."""
    tier = HostTier(1000, device)
    assert names(tier.missing(model("ab"))) == ["program.json", "weights/a", "weights/b"]
    assert await tier.keep("m", model("ab"), files)
    assert names(tier.missing(model("ab"))) == ["program.json"]
    assert tier.holds("m") and tier.refs() == ["m"]
    assert tier.used == device.hosted.bytes == 300


async def test_shared_blobs_are_kept_and_counted_once(device, files):
    """A second variant adds what is its own, and leaves the base when it goes."""
    tier = HostTier(1000, device)
    await tier.keep("m1", model("ab"), files)
    await tier.keep("m2", model("ac"), {"weights/c": files["weights/c"]})
    assert tier.used == device.hosted.bytes == 600
    assert names(tier.missing(model("ad"))) == ["program.json", "weights/d"]
    tier.drop("m2")
    assert tier.used == device.hosted.bytes == 300
    assert not tier.holds("m2") and tier.holds("m1")
    tier.drop("m1")
    tier.drop("m1")
    assert tier.used == device.hosted.bytes == 0


async def test_the_least_recently_kept_make_room_and_no_more_than_needed(device, files):
    """Keeping one again, or promoting it, makes it the most recent."""
    tier = HostTier(600, device)
    for letter in "abc":
        await tier.keep(letter, model(letter), files)
    assert await tier.keep("a", model("a"), {})
    with tier.promoting(model("b")):
        pass
    assert tier.refs() == ["c", "a", "b"]
    assert await tier.keep("d", model("d"), files)
    assert tier.refs() == ["b", "d"], "c alone is too little; without a, b can stay"
    assert tier.used == device.hosted.bytes == 600


async def test_what_frees_nothing_is_not_dropped_in_vain(device, files):
    """A variant whose blobs another needs too, though it was kept longest ago."""
    tier = HostTier(400, device)
    await tier.keep("old", model("a"), files)
    await tier.keep("base", model("ab"), files)
    with tier.promoting(model("b")):
        assert not await tier.keep("new", model("c"), files)
        assert tier.refs() == ["old", "base"]
    assert await tier.keep("new", model("c"), files)
    assert tier.refs() == ["old", "new"]


@pytest.mark.parametrize("platform", ["pytorch_torchscript", "pytorch_pt2", "onnxruntime_onnx"])
async def test_a_format_without_weights_of_their_own_is_not_kept(device, files, platform):
    """Its file goes into a session or module, which cannot be begun from memory."""
    tier = HostTier(1000, device)
    assert not tier.could_keep(model("a", platform=platform))
    assert not await tier.keep("m", model("a", platform=platform), files)
    assert tier.used == 0


@pytest.mark.parametrize("budget", [0, 99])
async def test_what_can_never_fit_is_refused(device, files, budget):
    """A budget of 0 keeps nothing."""
    tier = HostTier(budget, device)
    assert not tier.could_keep(model("a"))
    assert not await tier.keep("m", model("a"), files)
    assert tier.refs() == [] and tier.used == 0
    assert names(tier.missing(model("a"))) == ["program.json", "weights/a"]


async def test_what_a_load_takes_from_stays_until_it_has_ended(device, files):
    """Also if it is dropped meanwhile, and also what only shares a blob with it."""
    tier = HostTier(300, device)
    await tier.keep("base", model("ab"), files)
    with tier.promoting(model("ad")) as missing:
        assert names(missing) == ["program.json", "weights/d"]
        assert not tier.could_keep(model("c"))
        tier.drop("base")
        assert not tier.holds("base") and tier.refs() == []
        assert "a" * 64 in device.hosted
        assert not await tier.keep("base", model("ab"), files), "it is on its way out"
    assert tier.used == device.hosted.bytes == 0
    assert await tier.keep("base", model("ab"), files)


@pytest.mark.parametrize("fault", ["gone", "unnamed", "full"])
async def test_what_cannot_be_read_leaves_nothing_behind(device, files, fault, monkeypatch):
    """Its bytes are free again, and the next is kept."""
    tier = HostTier(300, device)
    given = dict(files)
    if fault == "gone":
        files["weights/b"].unlink()
    elif fault == "unnamed":
        del given["weights/b"]
    with monkeypatch.context() as full:
        if fault == "full":
            full.setattr(device.hosted, "_host", refuse)
        assert not await tier.keep("m", model("ab"), given)
    assert tier.used == device.hosted.bytes == 0 and not tier.holds("m")
    assert await tier.keep("next", model("c"), files)


def refuse(content: object) -> None:
    raise DeviceOutOfMemory("the host has no memory left for this")


class Gate:
    """Host copies wait here, in their thread, until it is opened."""

    def __init__(self, device: CpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.count = 0
        host = device.host

        def slow(content: object) -> object:
            self.count += 1
            self.entered.set()
            assert self.open.wait(10)
            return host(content)

        monkeypatch.setattr(device.hosted, "_host", slow)


async def begun(tier: HostTier, gate: Gate, files: dict[str, Path]) -> asyncio.Task[bool]:
    task = asyncio.create_task(tier.keep("m", model("ab"), files))
    await asyncio.to_thread(gate.entered.wait, 10)
    return task


async def test_bytes_are_reserved_while_a_model_is_read(device, files, monkeypatch):
    """It is not held before all of it is there, and makes room for nobody until then."""
    tier, gate = HostTier(300, device), Gate(device, monkeypatch)
    first = await begun(tier, gate, files)
    assert tier.used == 300 and not tier.holds("m")
    assert len(tier.missing(model("ab"))) == 3
    assert not await tier.keep("c", model("c"), files)
    second = asyncio.create_task(tier.keep("m", model("ab"), files))
    gate.open.set()
    assert await first and await second
    assert gate.count == 2, "each of the two blobs was read once"


async def test_a_model_dropped_while_it_is_read_is_not_kept(device, files, monkeypatch):
    """The read cannot be stopped; what it brought goes again."""
    tier, gate = HostTier(300, device), Gate(device, monkeypatch)
    keeping = await begun(tier, gate, files)
    tier.drop("m")
    gate.open.set()
    assert not await keeping
    assert tier.used == device.hosted.bytes == 0
    assert await tier.keep("m", model("ab"), files)


async def test_who_gives_up_waiting_leaves_the_books_right(device, files, monkeypatch):
    """What is being read is booked by whoever reads it, and is kept."""
    tier, gate = HostTier(300, device), Gate(device, monkeypatch)
    keeping = await begun(tier, gate, files)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    gate.open.set()
    await tier.close()
    assert tier.holds("m") and tier.used == device.hosted.bytes == 300


def is_mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


async def test_dropped_weights_leave_the_process(device, files):
    """Their mappings are gone once the thread that frees them is done."""
    tier = HostTier(1000, device)
    await tier.keep("m", model("ab"), files)
    assert is_mapped(files["weights/a"])
    tier.drop("m")
    await tier.close()
    gc.collect()
    assert not is_mapped(files["weights/a"])


async def test_a_smaller_budget_drops_the_oldest(device, files):
    """When another worker comes to the host; what a load takes from stays until that ends."""
    tier = HostTier(1000, device)
    for name in "abc":
        await tier.keep(name, model(name), files)
    with tier.promoting(model("a")):
        tier.resize(400)
        assert tier.refs() == ["c", "a"] and tier.used == 400
        tier.resize(50)
        assert tier.refs() == ["a"]
    tier.resize(50)
    assert tier.refs() == [] and tier.budget == 50
    await tier.close()
