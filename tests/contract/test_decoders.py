"""Decoders of our types are made when a module is imported, not when they are first needed.

msgspec caches what it knows of a type while it is still finding it out. Threads that decode the
same type for the first time at once (a gateway that has just started reads manifests so) take the
half made: one process in ten died of SIGSEGV.
"""

from __future__ import annotations

import ast

from tests.contract.sources import files, named, tree

THREADED = ("shared", "router", "worker")


def test_no_code_that_threads_may_run_decodes_into_a_type_by_its_name() -> None:
    """`msgspec.json.Decoder(T)` at the top of the module, then its `decode`."""
    found = [
        f"{named(path)}:{node.lineno}"
        for path in files(".py", *THREADED)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and _decodes_into_a_type(node)
    ]
    assert found == []


def test_manifests_are_decoded_so() -> None:
    """The rule above looks for what is really used."""
    wrong = ast.parse("msgspec.json.decode(raw, type=Manifest)", mode="eval").body
    assert isinstance(wrong, ast.Call) and _decodes_into_a_type(wrong)


def _decodes_into_a_type(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return name == "decode" and any(keyword.arg == "type" for keyword in call.keywords)
