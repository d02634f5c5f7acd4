"""shared/PROTOCOL.md, section 5: fields and times of model copies are those of the scripts."""

from __future__ import annotations

import re

import pytest

from shared import constants, keys
from tests.contract.test_protocol import LUA, TEXT, after, fields
from worker.loading.loader import HEAD_START_S
from worker.membership import BEAT_EVERY_S


def lua(name: str) -> str:
    """A script, or a file of its library."""
    path = LUA / f"{name}.lua"
    return (path if path.exists() else LUA / "lib" / f"{name}.lua").read_text()


def constant(name: str, script: str) -> float:
    """What a Lua local is set to, alone or in a list of locals."""
    found = re.search(
        rf"^ *local ([A-Za-z_, ]*\b{name}\b[A-Za-z_, ]*) = ([\d., ]+)", lua(script), re.MULTILINE
    )
    assert found, name
    names = [each.strip() for each in found[1].split(",")]
    return float(found[2].split(",")[names.index(name)])


def expected_ms(tier: str) -> int:
    """What a load from a tier takes before any was measured."""
    found = re.search(rf"EXPECTED = .*\b{tier} = (\d+)", lua("load_target"))
    assert found, tier
    return int(found[1])


def test_a_load_lease_has_the_fields_that_the_scripts_write() -> None:
    """`order_load` writes the first ones; the others are written where they apply."""
    written = re.search(r"'HSET', load, 'token'.+?\)\n", lua("order"), re.DOTALL)
    assert written
    names = set(re.findall(r"'([a-z_]+)', (?!\w+\b')", written[0].replace("'HSET', load, ", "")))
    assert names - {"ordered"} == set(fields("**Load lease** (hash `load:<ref>`): "))
    assert "'why', ARGV" in lua("renew_load") and "'handed_on', worker" in lua("route_by_affinity")


def test_the_reasons_to_order_ahead_are_those_of_the_scripts() -> None:
    """`extra`, in the lease."""
    said = after("why it was ordered although no request waits: ").partition(".")[0].split(", ")
    text = "".join(
        lua(n) for n in ("copies", "healthy_copy", "reconcile", "order_copy", "open_session")
    )
    given = re.findall(r"extra = '(\w+)'|order_missing\(ref, now, (.+?)\)", text)
    words = {word for first, why in given for word in (first, *re.findall(r"'(\w+)'", why)) if word}
    assert set(said) == words


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("(list `orders:<worker>`, the newest ", f"{constants.ORDERS_MAX:,}, for "
         f"{constants.DIRECT_TTL_MS / 1000:g} s)"),
        ("if the order is for another worker and not ",
         f"{constants.HEAD_START_MS} ms old"),
        ("it alone may claim it for ", f"{constants.HEAD_START_MS} ms."),
        ("and not ordered again for ", f"{constant('NO_CAPACITY_TTL', 'order') / 1000:g} s"),
        ("before the first ", f"{expected_ms('host')} ms from host memory, "
         f"{expected_ms('disk')} ms from disk, {expected_ms('remote') / 1000:g} s from remote"),
        ("out what is asked for too); from ",
         f"{constant('SCALE_OUT_FROM', 'copies'):g} queued on"),
        ("worker is found, the next look is ", f"{constant('LOOK_AGAIN_MS', 'copies'):g} ms later"),
        ("**A choice looks at a sample.** Of up to ",
         f"{constant('MOST_SAMPLED', 'sample'):g} workers"),
        ("of the holders of a model ", f"{constant('MOST_HOLDERS', 'holders'):g} at random"),
        ("for its work, which is to be ",
         f"{constant('SPARE', 'report'):.0%} busy".replace("%", " %")),
    ],
)  # fmt: skip
def test_a_number_in_the_text_is_the_one_in_the_scripts(phrase: str, said: str) -> None:
    """Head starts, pauses, guesses and bounds."""
    assert after(phrase).startswith(said)


def test_times_in_words_are_those_of_the_scripts() -> None:
    """Hints live for an hour; two orders for each worker."""
    assert constant("WARM_TTL", "model_facts") == 3600 * 1000
    assert "are hints that expire an hour after the last one" in " ".join(TEXT.split())
    assert "local most = 2 * redis.call('ZCOUNT', WORKERS" in lua("reconcile")
    assert "while more than two orders per worker wait" in TEXT


def test_the_times_of_the_two_deliveries_of_an_order_fit_together() -> None:
    """A worker that was answered `later` asks again when the head start is over: not before, or it
    would not ask a third time, and soon after. A direct order outlives its head start and the pause
    of a blocking read, and does not outlive the order itself."""
    head_start_ms, direct_ms = constants.HEAD_START_MS, constants.DIRECT_TTL_MS
    assert head_start_ms < HEAD_START_S * 1000 <= 1.5 * head_start_ms
    assert head_start_ms + BEAT_EVERY_S * 1000 < direct_ms < constants.ORDER_TTL_MS


def test_every_kind_of_key_that_a_script_names_is_in_the_table() -> None:
    """`k('kind', ...)` in Lua, and the rows of shared/keys.py."""
    table = set(re.findall(r"^\| `([a-z_]+):<", keys.__doc__ or "", re.MULTILINE))
    named = {
        kind
        for path in LUA.rglob("*.lua")
        for kind in re.findall(r"\bk\('([a-z_]+)'", path.read_text())
    }
    assert len(named) > 10
    assert named - table == set()
