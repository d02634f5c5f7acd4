"""All measurements, in the order in which they run.

Cases about residency have a `Size`, so that tests can run small ones.
"""

from __future__ import annotations

from deploy.bench.cases import (
    churn,
    cold,
    collapse,
    cycles,
    density,
    fairness,
    herd,
    http,
    idle,
    interference,
    listings,
    profile,
    scale,
    soak,
    warm,
)
from deploy.bench.workbench import Case

_WARM_VARIANTS, _HOT = warm.CASES
CASES: tuple[Case, ...] = (
    *http.CASES,
    _WARM_VARIANTS,
    *cold.CASES,
    herd.CASE,
    density.CASE,
    churn.CASE,
    _HOT,
    interference.CASE,
    fairness.CASE,
    cycles.CASE,
    soak.CASE,
    profile.CASE,
    idle.CASE,
    scale.CASE,
    collapse.CASE,
    listings.CASE,
)
