"""Cases over a real cluster and the real sample models, one short round each."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from deploy.bench.cases import churn, cold, cycles, herd, http, idle, interference
from deploy.bench.models import BASE, NAMES, plain_models
from deploy.bench.workbench import Workbench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, 1, 0.3, Console(file=io.StringIO(), width=200))


def test_a_case_measures_a_real_cluster_beside_an_echo(bench: Workbench) -> None:
    """Both were really asked, and every answer that was looked at was right."""
    figure = http.mlp_json_64(bench)
    assert figure.ours > 0
    assert figure.reference is not None
    assert figure.ratio == pytest.approx(figure.ours / figure.reference)
    assert figure.reached in (True, False)
    assert figure.rounds == [[figure.ours, figure.reference]]


def test_a_cold_answer_takes_longer_than_a_warm_one(bench: Workbench) -> None:
    """The case itself refuses to measure a variant that was warm already."""
    figure = cold.cold_s3(bench)
    assert figure.ours > figure.notes["a warm answer, ms"] > 0
    assert figure.reference > 0


def test_a_cell_at_rest_is_measured_by_what_redis_spends(bench: Workbench) -> None:
    """With the connections of a worker, which are three."""
    size = idle.Size(workers=3, crowd=5, copies=3, gateways=1, settle_s=0.5, seconds=2.0)
    figure = idle.run(bench, size)
    assert figure.notes["one worker, connections"] == 3
    assert 0 < figure.notes["5 workers, commands a second and worker"] < 40
    assert figure.reached == (figure.ours <= 1)


def test_a_herd_causes_one_load(bench: Workbench) -> None:
    """However many ask at once, on workers that could each load it."""
    figure = herd.run(bench, herd.Size(at_once=60, workers=2, megabytes=1))
    assert figure.ours == 1
    assert figure.reached


def test_a_churn_is_compared_with_the_best_cache(bench: Workbench) -> None:
    """At least the models that are asked for must be loaded, and each answer is right."""
    size = churn.Size(models=8, capacity=2, requests=120, megabytes=1, rows=2)
    figure = churn.run(bench, size)
    assert figure.ours >= 8
    assert figure.reference == churn.belady_loads(churn.zipf_trace(8, 1.1, 120, 0), 4)
    assert figure.ratio == pytest.approx(figure.ours / figure.reference)


def test_cycles_are_loads_each_and_memory_is_measured(bench: Workbench) -> None:
    """The case itself refuses a cycle that did not load."""
    figure = cycles.run(bench, cycles.Size(cycles=12, megabytes=1))
    assert figure.unit == "KB/load"
    assert abs(figure.ours) < 10_000


def test_a_warm_model_is_measured_beside_loads(bench: Workbench) -> None:
    """Something really was loaded beside it, from each of the places."""
    figure = interference.run(bench, interference.Size(megabytes=20, least_s=1.0))
    assert figure.ratio == pytest.approx(figure.ours / figure.reference)
    rates = [value for what, value in figure.notes.items() if "each second" in what]
    assert len(rates) == 3
    assert min(rates) > 0


def test_the_plain_loop_calls_each_model_with_its_own_sentence(bench: Workbench) -> None:
    """Two variants answer differently, as unit vectors; and the loop counts its calls."""
    names = [BASE, NAMES[0]]
    bench.samples(names)
    with plain_models(bench, names, bench.scratch("plain")) as plain:
        first, second = (plain.answer(name)["embedding"] for name in names)
        assert plain.calls_per_second(0.2) > 0
    assert first.shape == second.shape == (1, 384)
    assert np.allclose(np.linalg.norm(first), 1, atol=1e-4)
    assert not np.allclose(first, second, atol=1e-2)
