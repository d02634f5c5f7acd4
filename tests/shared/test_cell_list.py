"""WARMROUTE_CELLS: what it says, and every way in which it can be wrong."""

from __future__ import annotations

import pytest

from shared import cell_list
from shared.cell_list import CellAddress
from shared.config import RouterConfig, WorkerConfig, read
from shared.errors import ConfigError

REPOSITORY = {"MODEL_REPOSITORY": "file:///models"}


def test_cells_are_read_with_their_weights() -> None:
    text = " a=redis://one:6379/0;2.5, b=unix:///run/redis.sock , c-1=rediss://:p%3Bw%2C@h/1;0 "
    assert cell_list.faults(text) == []
    assert cell_list.parse(text) == [
        CellAddress("a", "redis://one:6379/0", 2.5),
        CellAddress("b", "unix:///run/redis.sock", 1.0),
        CellAddress("c-1", "rediss://:p%3Bw%2C@h/1", 0.0),
    ]


def test_a_url_may_have_options() -> None:
    (cell,) = cell_list.parse("a=redis://h/0?username=u&password=p")
    assert cell.redis_url == "redis://h/0?username=u&password=p"


def test_several_cells_may_live_on_one_redis() -> None:
    assert cell_list.faults("a=redis://h,b=redis://h") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" , ", "want name=redis-url"),
        ("a=redis://h,a=redis://i", "cell 'a' is given twice"),
        ("a=redis://h;0,b=redis://h;0", "every weight is 0"),
        ("=redis://h", "the name of cell number 1"),
        ("a=redis://h,b c=redis://h", "the name of cell number 2"),
        ("blobs=redis://h", "the name of cell number 1"),
        ("redis://h", "the name of cell number 1"),
        ("a", "cell number 1: its URL want redis://"),
        ("a=http://h", "cell number 1: its URL want redis://"),
        ("a=redis://h;-1", "cell number 1: its weight"),
        ("a=redis://h;nan", "cell number 1: its weight"),
        ("a=redis://h;inf", "cell number 1: its weight"),
        ("a=redis://h;", "cell number 1: its weight"),
        ("a=redis://h;1;2", "cell number 1: its weight"),
    ],
)
def test_what_is_wrong_is_said_with_the_cell(text: str, why: str) -> None:
    (fault,) = cell_list.faults(text)
    assert why in fault


def test_no_fault_shows_a_password() -> None:
    """A comma in it cuts the list in two."""
    found = cell_list.faults("a=redis://:sec,ret=x@h/0,b=redis://:secret#@h")
    assert found
    assert "sec" not in " ".join(found).replace("second", "")
    assert "ret" not in " ".join(found)


def test_a_gateway_names_the_setting() -> None:
    with pytest.raises(ConfigError, match="WARMROUTE_CELLS: cell 'a' is given twice"):
        read(RouterConfig, {**REPOSITORY, "WARMROUTE_CELLS": "a=redis://h,a=redis://h"})


def test_without_the_list_a_gateway_serves_the_one_cell() -> None:
    config = read(RouterConfig, {**REPOSITORY, "REDIS_URL": "redis://h", "WARMROUTE_CELL": "x"})
    assert config.cells == [CellAddress("x", "redis://h", 1.0)]


def test_with_the_list_a_gateway_needs_no_other_redis() -> None:
    config = read(RouterConfig, {**REPOSITORY, "WARMROUTE_CELLS": "a=redis://h,b=redis://i;3"})
    assert [(cell.name, cell.weight) for cell in config.cells] == [("a", 1.0), ("b", 3.0)]


def test_a_worker_belongs_to_one_cell() -> None:
    with pytest.raises(ConfigError, match="REDIS_URL"):
        read(WorkerConfig, {**REPOSITORY, "WARMROUTE_CELLS": "a=redis://h"})


def test_a_tag_is_the_beginning_of_a_request_id() -> None:
    """As every gateway of every release computes it."""
    assert (cell_list.tag_of("a"), cell_list.tag_of("b")) == ("1e1b", "7a5b")
