"""Key names: one prefix that is a hash tag, one table, and a Lua twin that names the same keys."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from shared import keys as module
from shared.errors import InvalidInput
from shared.keys import LASTING, Keys
from shared.script_runner import load_source
from shared.slots import slot_of
from tests.helpers.cell import Cell

LUA = files("shared") / "lua"
SCRIPTS = sorted(path.name.removesuffix(".lua") for path in LUA.iterdir() if path.is_file())


def methods() -> list[str]:
    """Names of the key builders that take an id."""
    return [n for n, f in vars(Keys).items() if callable(f) and not n.startswith("_")]


def all_keys(keys: Keys) -> list[str]:
    """Every key that `Keys` can name, with "id" as id."""
    fixed = [v for k, v in vars(keys).items() if k not in ("prefix", "cell")]
    built = [getattr(keys, n)(*[] if n == "rq_queue" else ["id"]) for n in methods()]
    return [*fixed, *built]


def test_every_key_is_in_the_slot_of_its_cell() -> None:
    """All begin with the same hash tag, so that a script may touch any of them, in a Redis Cluster
    too. None is the tag alone: scripts declare that one, and while a slot moves Redis lets a script
    run where the key that it declares is."""
    keys = Keys("my-cell")
    assert all(key.startswith("{my-cell}:") for key in all_keys(keys))
    assert {slot_of(key) for key in all_keys(keys)} == {slot_of(keys.prefix)}
    assert keys.prefix == "{my-cell}"


def test_no_two_kinds_share_a_key() -> None:
    """Whatever the ids."""
    found = all_keys(Keys())
    assert len(set(found)) == len(found)


def test_two_cells_share_nothing() -> None:
    """Not even if one's name begins the other's."""
    assert not set(all_keys(Keys("a"))) & set(all_keys(Keys("ab")))


@pytest.mark.parametrize("name", ["", "a}b", "a:b", "{a}", "../a"])
def test_a_cell_cannot_break_out_of_its_tag(name: str) -> None:
    """Its name is as strict as a model's."""
    with pytest.raises(InvalidInput):
        Keys(name)


def test_the_lua_twin_names_the_same_fixed_keys() -> None:
    """Each key that Lua builds as a constant is one of ours, by the same name."""
    source = (LUA / "lib" / "keys.lua").read_text()
    named = {}
    for constants, values in re.findall(r"^local ([A-Z_, ]{3,}) = (P .+)$", source, re.MULTILINE):
        names = re.findall(r"P \.\. '(\w+)'", values)
        named |= dict(zip(constants.split(", "), names, strict=True))
    keys = Keys("c")
    assert len(named) == 23
    for constant, name in named.items():
        attribute = {"PARKED": "parked_refs", "OUTCOMES": "newest_outcomes"}.get(
            constant, constant.lower()
        )
        assert getattr(keys, attribute) == f"{{c}}:{name}", constant


def test_the_lua_twin_names_the_same_keys_by_id() -> None:
    """Each kind that any script passes to `k(kind, id)` is one of our builders, alike in form."""
    kinds = {kind for path in _sources() for kind in re.findall(r"\bk\('(\w+)'", path)}
    keys = Keys("c")
    assert kinds == {n for n in methods() if not n.startswith("rq_")}
    for kind in kinds:
        assert getattr(keys, kind)("id") == f"{{c}}:{kind}:id"


def test_lua_builds_no_other_key() -> None:
    """What it joins to the prefix by hand is known: RQ's keys, and parts of ours."""
    joined = {name for text in _sources() for name in re.findall(r"P \.\. '([^']+)'", text)}
    fixed = {
        "workers",
        "gateways",
        "deadlines",
        "parked",
        "outbox",
        "dead_letters",
        "ingress",
        "epoch",
    }
    fixed |= {"headroom", "min_copies", "sessions", "failures", "outcomes", "refused_models"}
    fixed |= {"unhealthy", "clock", "housekeepers", "device_classes", "waiting_orders"}
    fixed |= {"notifying", "reserved", "protocols", "withdrawn"}
    rq = {"rq:job:", "rq:queue:cold", "rq:queue:cold.rest", "rq:queues"}
    parts = {"work:", "parked:", "none"}
    assert joined == fixed | rq | parts


def test_each_lasting_key_is_described_as_lasting() -> None:
    """The table of the module gives no lifetime to what may stay, and one to everything else."""
    rows = re.findall(
        r"^\| `([^`]+)` \|[^|]*\|[^|]*\|([^|]*)\|", module.__doc__ or "", re.MULTILINE
    )
    for key, lifetime in rows:
        name = key.partition("<")[0].removesuffix("*")
        lasting = any(entry.startswith(name) for entry in LASTING)
        assert lasting != lifetime.strip().startswith("TTL"), key


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_compiles_and_states_its_contract(cell: Cell, name: str) -> None:
    """It says what it does, its arguments and its answer; it has no shebang, for any Redis."""
    text = (LUA / f"{name}.lua").read_text()
    head = text.partition("\nlocal")[0]
    assert head.startswith(f"-- {name}: ")
    assert "KEYS[1] prefix. ARGV: now" in head and "Returns" in head
    source = load_source(name)
    assert "#!lua" not in source
    assert await cell.client.script_load(source)


def _sources() -> list[str]:
    return [p.read_text() for folder in (LUA, LUA / "lib") for p in folder.iterdir() if p.is_file()]
