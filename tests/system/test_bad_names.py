"""Models that are not there, and names that no model can have, as clients send them."""

from __future__ import annotations

import pytest

from tests.helpers.http import request
from tests.helpers.models import Mlp
from tests.helpers.stack import Stack
from tests.system.setup import Refused, post


def test_an_unknown_model_is_not_found(refused: Refused) -> None:
    """404 with its name."""
    assert refused(post("/v2/models/no-such/infer")) == (
        404,
        "model 'no-such' is not in the repository",
    )


def test_an_unknown_version_is_not_found(refused: Refused, mlp: Mlp) -> None:
    """404 with the model's name and the version."""
    status, error = refused(post(f"/v2/models/{mlp.name}/versions/2/infer"))
    assert (status, error) == (404, f"model '{mlp.name}' has no version 2")


@pytest.mark.parametrize("version", ["0", "-1", "01", "1.0", "one", "9" * 30, "%20", "1%2F2"])
def test_a_version_that_is_no_number_is_not_found(refused: Refused, mlp: Mlp, version: str) -> None:
    """404 that says what versions are."""
    status, error = refused(post(f"/v2/models/{mlp.name}/versions/{version}/infer"))
    assert status == 404
    assert "version" in error and "integers from 1" in error


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a%2Fb", id="slash"),
        pytest.param("..%2F..%2Fetc%2Fpasswd", id="path"),
        pytest.param("a..b", id="dots"),
        pytest.param("a%00b", id="zero"),
        pytest.param("a%0Ab", id="newline"),
        pytest.param("%1B%5B31m", id="escape"),
        pytest.param("caf%C3%A9", id="not ASCII"),
        pytest.param("%FF%FE", id="not UTF-8"),
        pytest.param("%20", id="space"),
        pytest.param("a:1:0123456789ab", id="reference"),
        pytest.param("blobs", id="reserved"),
        pytest.param("a" * 129, id="129 letters"),
        pytest.param("a" * 7000, id="7000 letters"),
    ],
)
def test_a_name_that_no_model_can_have_is_refused(refused: Refused, name: str) -> None:
    """400 that says what names look like, and shows no more than the start of a long one."""
    status, error = refused(post(f"/v2/models/{name}/infer"))
    assert status == 400
    assert error.startswith("model name ") and "1 to 128 of A-Z a-z 0-9" in error
    assert len(error) < 300


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/v2/models/../infer", id="dots"),
        pytest.param("/v2/models/%2E%2E/infer", id="encoded dots"),
        pytest.param("/v2/models//infer", id="no name"),
        pytest.param("/v2/models/a/b/infer", id="slash"),
        pytest.param("/v2/models/%7Bwarmroute%7D/infer", id="hash tag"),
        pytest.param("/v2/models/caf\xc3\xa9/infer", id="bytes that are not ASCII"),
        pytest.param("/v2/models/" + "a" * 10_240 + "/infer", id="10 KB"),
        pytest.param("/v2/models/" + "%C3%A9" * 3_000 + "/infer", id="18 KB, encoded"),
        pytest.param("/../../etc/passwd", id="out of the tree"),
        pytest.param("//evil.test/v2", id="another host"),
    ],
)
def test_a_path_that_leads_to_no_model_is_refused(refused: Refused, path: str) -> None:
    """4xx, whoever in the gateway notices first."""
    assert len(refused(post(path)).error) < 300


@pytest.mark.parametrize("verb", ["GET", "DELETE"])
def test_metadata_of_an_unknown_model_is_refused_for_every_verb(
    refused: Refused, stack: Stack, verb: str
) -> None:
    """404 for GET; for a verb that the path does not take, 405."""
    status, _ = refused(request(verb, "/v2/models/no-such", {}, {}, b""))
    assert status == {"GET": 404, "DELETE": 405}[verb]
