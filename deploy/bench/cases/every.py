"""All measurements, in the order in which they run."""

from __future__ import annotations

from deploy.bench.cases import (
    binary_1mib,
    cold_disk,
    cold_s3,
    herd,
    mlp_json_1,
    mlp_json_64,
    profile,
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
    profile.CASE,
)
