"""Shared objects are made once, held weakly, and safe for several loader threads."""

from __future__ import annotations

import gc
import threading

import pytest

from worker.device.sharing import SharedObjects


class Thing:
    """Something that can be held weakly."""


def test_an_object_is_made_once_while_somebody_holds_it():
    """The second asker gets the same object."""
    shared = SharedObjects()
    first = shared.get("k", Thing)
    assert shared.get("k", Thing) is first
    assert shared.get("other", Thing) is not first


def test_an_object_goes_with_its_last_holder():
    """Nothing is kept alive by having been asked for."""
    shared = SharedObjects()
    held = shared.get("k", Thing)
    assert shared.alive() == ["k"]
    del held
    gc.collect()
    assert shared.alive() == []


def test_only_the_last_few_kept_objects_stay():
    """Objects asked for with `keep` stay, up to a number, the least recently asked go first."""
    shared = SharedObjects(keep_last=2)
    for key in ("a", "b", "a", "c"):
        shared.get(key, Thing, keep=True)
    gc.collect()
    assert sorted(shared.alive()) == ["a", "c"]


def test_threads_that_want_the_same_object_wait_for_one_maker():
    """A slow read is not done twice, and different keys do not wait for each other."""
    shared = SharedObjects()
    started, go_on = threading.Event(), threading.Event()
    made: list[Thing] = []

    def slow() -> Thing:
        made.append(Thing())
        started.set()
        assert go_on.wait(10)
        return made[-1]

    got: list[Thing] = []
    threads = [threading.Thread(target=lambda: got.append(shared.get("k", slow))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    assert isinstance(shared.get("other", Thing), Thing)
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(map(id, got))) == 1


def test_a_failure_is_raised_in_its_thread_and_not_kept():
    """The next asker tries again."""
    shared = SharedObjects()

    def fail() -> Thing:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        shared.get("k", fail)
    assert isinstance(shared.get("k", Thing), Thing)
