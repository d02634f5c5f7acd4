"""The JSON form of an inference request, as the Open Inference Protocol writes it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

MAX_TENSORS = 256
MAX_ID = 256

Parameters = dict[str, Any] | None


class JsonInput(Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: Parameters = None


class JsonOutput(Struct):
    name: str
    parameters: Parameters = None


class JsonRequest(Struct):
    inputs: Annotated[list[JsonInput], Meta(min_length=1, max_length=MAX_TENSORS)]
    outputs: Annotated[list[JsonOutput], Meta(max_length=MAX_TENSORS)] | None = None
    id: Annotated[str, Meta(max_length=MAX_ID)] = ""
    parameters: Parameters = None
