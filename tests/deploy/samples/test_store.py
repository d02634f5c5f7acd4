"""Made samples on disk: made once, whole or not at all, the same bytes each time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.samples import catalogue, packages, store
from deploy.samples.models import bench, crepe, magika, onet
from deploy.samples.sample import Known, same
from deploy.samples.wheels import WheelFolder
from shared.errors import Corrupt
from shared.manifest import check, parse

ROOT = Path(__file__).resolve().parents[3]
REPRODUCIBLE = [onet.SAMPLE, crepe.SAMPLE, bench.MLP, bench.IDENTITY, magika.SAMPLE]


@pytest.mark.parametrize("sample", REPRODUCIBLE, ids=lambda sample: sample.name)
def test_making_a_sample_twice_gives_the_same_bytes(
    sample: catalogue.Sample, tmp_path: Path, wheels: WheelFolder
) -> None:
    """Weights and programs have one sha256, so they are stored and published once."""
    first = store.make(sample, tmp_path / "one", wheels)
    second = store.make(sample, tmp_path / "two", wheels)
    assert first.manifest() == second.manifest()


def test_the_second_build_makes_nothing(tmp_path: Path, wheels: WheelFolder) -> None:
    """What is there is found; no file is written and no step reported."""
    first = catalogue.build_all(tmp_path, wheels.folder, samples=REPRODUCIBLE)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    steps: list[tuple[str, int, int]] = []
    second = catalogue.build_all(
        tmp_path, tmp_path / "no-wheels", lambda *step: steps.append(step), REPRODUCIBLE
    )
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert {what for what, _, _ in steps} == {""}


def test_the_second_build_does_not_import_torch(tmp_path: Path, wheels: WheelFolder) -> None:
    """That import alone would take longer than all the rest."""
    catalogue.build_all(tmp_path, wheels.folder, samples=REPRODUCIBLE)
    code = (
        "import sys; from pathlib import Path; from deploy.samples import catalogue as c;"
        "found = c.build_all(Path(sys.argv[1]), Path(sys.argv[2]),"
        " samples=[c.find(name) for name in sys.argv[3:]]);"
        "[sample.say(sample.known().answer) for sample in found];"
        "print(len(found), 'torch' in sys.modules)"
    )
    names = [sample.name for sample in REPRODUCIBLE]
    command = [sys.executable, "-c", code, str(tmp_path), str(wheels.folder), *names]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.split() == [str(len(REPRODUCIBLE)), "False"]


def test_a_sample_that_lost_a_file_is_made_again(tmp_path: Path, wheels: WheelFolder) -> None:
    """A truncated file counts as lost."""
    sample = store.make(magika.SAMPLE, tmp_path, wheels)
    sample.files["model.onnx"].write_bytes(b"half")
    assert store.find(magika.SAMPLE, tmp_path) is None
    [again] = catalogue.build_all(tmp_path, wheels.folder, samples=[magika.SAMPLE])
    assert again.manifest() == sample.manifest()


def test_a_sample_of_an_older_recipe_is_made_again(
    tmp_path: Path, wheels: WheelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of the code or of torch may give other bytes."""
    store.make(magika.SAMPLE, tmp_path, wheels)
    assert store.find(magika.SAMPLE, tmp_path) is not None
    monkeypatch.setattr(store, "recipe", lambda: "newer")
    assert store.find(magika.SAMPLE, tmp_path) is None


@pytest.mark.parametrize("pattern", store.RECIPE_CODE)
def test_every_part_of_the_recipe_is_there(pattern: str) -> None:
    """A module that was renamed would silently no longer count."""
    assert list(ROOT.glob(pattern))


def test_a_sample_with_a_wrong_weight_hash_is_refused(tmp_path: Path, wheels: WheelFolder) -> None:
    """Nothing is made out of a file that is not the pinned one, and nothing is left behind."""
    members = dict.fromkeys(packages.MAGIKA.members, "0" * 64)
    wrong = replace(packages.MAGIKA, members=members)
    broken = replace(magika.SAMPLE, make=lambda place: place.wheels.read(wrong, magika.MODEL))
    with pytest.raises(Corrupt, match=r"magika==1\.0\.3"):
        store.make(broken, tmp_path, wheels)
    assert list(tmp_path.iterdir()) == []


def test_making_a_sample_again_replaces_it_whole(tmp_path: Path, wheels: WheelFolder) -> None:
    """Nothing of the earlier one stays, and no scratch folder does."""
    sample = store.make(magika.SAMPLE, tmp_path, wheels)
    (sample.folder / "old").write_bytes(b"")
    assert store.make(magika.SAMPLE, tmp_path, wheels).manifest() == sample.manifest()
    assert [path.name for path in tmp_path.iterdir()] == ["magika"]
    assert not (sample.folder / "old").exists()


def test_the_manifest_of_a_made_sample_is_valid(tmp_path: Path, wheels: WheelFolder) -> None:
    """It survives the checks that every reader makes."""
    manifest = store.make(onet.SAMPLE, tmp_path, wheels).manifest(version=3)
    check(manifest)
    assert parse(manifest.encode(), name="mtcnn-onet", version=3) == manifest


def test_only_equal_tensors_are_the_same_answer() -> None:
    """Rounding is forgiven, another number, shape or name is not."""
    known = Known({}, {"output": np.ones((2, 3), np.float32)})
    assert same({"output": np.full((2, 3), 1 + 1e-6, np.float32)}, known)
    assert not same({"output": np.full((2, 3), 1.01, np.float32)}, known)
    assert not same({"output": np.ones((1, 3), np.float32)}, known)
    assert not same({"other": np.ones((2, 3), np.float32)}, known)
