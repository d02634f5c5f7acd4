"""Pushes as the tests of `warmroute push` make them, and the module that they push."""

from __future__ import annotations

import json

import pytest

from deploy.cli.main import main
from shared.manifest import Manifest, parse
from shared.repository import open_repository

MODULE = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.two(self.one(x).relu())

class Fixed(Net):
    def forward(self, x):
        return super().forward(x.reshape(2, 4))

class Decides(Net):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x

number = 3

def function():
    return lambda x: x

def broken():
    return {}["gpu"]
"""


def push(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """Run `warmroute push --json`; what it printed."""
    status = main(["push", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out)


def manifest(url: str, name: str, version: int) -> Manifest:
    raw = open_repository(url).read_manifest(name, version)
    return parse(raw, name=name, version=version)
