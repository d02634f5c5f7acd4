"""All measurements, in the order in which they run."""

from __future__ import annotations

from deploy.bench.cases import (
    binary_1mib,
    churn,
    cold_disk,
    cold_s3,
    cycles,
    density,
    herd,
    hot,
    interference,
    mlp_json_1,
    mlp_json_64,
    profile,
    soak,
    warm_variants,
)
from deploy.bench.workbench import Case

CASES: tuple[Case, ...] = (
    mlp_json_64.CASE,
    mlp_json_1.CASE,
    binary_1mib.CASE,
    warm_variants.CASE,
    cold_disk.CASE,
    cold_s3.CASE,
    herd.CASE,
    density.CASE,
    churn.CASE,
    hot.CASE,
    interference.CASE,
    cycles.CASE,
    soak.CASE,
    profile.CASE,
)
