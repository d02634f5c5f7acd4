"""The tables of the documents that the code generates."""

from __future__ import annotations

import re

import pytest

from deploy.docs import tables
from deploy.samples import catalogue
from shared import config

NAMES = ("settings", "licences")
MARKED = (
    "a\n<!-- settings -->\nold\n<!-- /settings -->\nb\n<!-- licences -->\n<!-- /licences -->\nc\n"
)


def rows(table: str) -> list[list[str]]:
    """Cells by line, without the head."""
    return [line.strip("|").split("|") for line in table.splitlines()[2:]]


def test_only_what_is_between_the_markers_is_written_anew() -> None:
    """And writing it twice is writing it once."""
    written = tables.rewritten(MARKED, NAMES)
    kept = re.sub(r"-->\n\|.+?\|\n<!--", "-->\n<!--", written, flags=re.DOTALL)
    assert kept == MARKED.replace("old\n", "")
    assert tables.rewritten(written, NAMES) == written


@pytest.mark.parametrize("marker", ["<!-- settings -->", "<!-- /licences -->"])
def test_a_lost_marker_is_an_error_and_not_a_silent_nothing(marker: str) -> None:
    """Which names it."""
    with pytest.raises(ValueError, match=marker):
        tables.rewritten(MARKED.replace(marker, ""), NAMES)


def test_every_setting_has_one_row_that_says_who_reads_it() -> None:
    """A variable of both processes is there once."""
    found = {cells[0].strip(" `"): cells[3].strip() for cells in rows(tables.settings_table())}
    kinds = {"gateway": config.RouterConfig, "worker": config.WorkerConfig}
    read = {kind: {row[0] for row in config.describe(cls)} for kind, cls in kinds.items()}
    both = read["gateway"] & read["worker"]
    assert len(rows(tables.settings_table())) == len(found)
    assert {v for v, reader in found.items() if reader == "both"} == both
    assert {v for v, reader in found.items() if reader == "gateway"} == read["gateway"] - both
    assert {v for v, reader in found.items() if reader == "worker"} == read["worker"] - both


@pytest.mark.parametrize(
    ("variable", "default", "unit"),
    [
        ("REDIS_URL", "must be set", ""),
        ("MODEL_REPOSITORY", "must be set", ""),
        ("S3_ENDPOINT_URL", "empty", ""),
        ("WARMROUTE_MAX_BODY_BYTES", "16 MiB", "bytes"),
        ("WARMROUTE_MEMORY_BYTES", "0", "bytes"),
        ("WARMROUTE_LEASE_S", "10", "s"),
        ("WARMROUTE_HOST", "127.0.0.1", ""),
    ],
)
def test_a_default_is_written_as_people_write_it(variable: str, default: str, unit: str) -> None:
    """Sizes with their unit, whole seconds without a fraction, what has none in words."""
    (found,) = (
        cells for cells in rows(tables.settings_table()) if cells[0].strip() == f"`{variable}`"
    )
    assert [cell.strip() for cell in found[1:3]] == [default, unit]


def test_every_package_stands_under_its_licence() -> None:
    """One row per licence."""
    table = {cells[0].strip(): cells[1] for cells in rows(tables.licences_table())}
    assert len(table) == len(rows(tables.licences_table()))
    for package, used_for, licence in catalogue.licences():
        assert f"`{package}` ({used_for})" in table[licence]
