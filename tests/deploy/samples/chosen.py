"""The samples that these tests make and ask."""

from __future__ import annotations

from deploy.samples import catalogue

# All formats, one variant with noise and both that were fine-tuned; the other seventeen are as
# the first.
NAMES = [
    *(sample.name for sample in catalogue.DEFAULT_SET),
    *("minilm-01", "minilm-19", "minilm-20"),
    *(sample.name for sample in catalogue.BENCHMARKS),
]
