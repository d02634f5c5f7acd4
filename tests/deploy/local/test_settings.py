"""The settings of `make up`."""

from __future__ import annotations

import pytest

from deploy.local.settings import BadSetting, UpSettings, read_settings


def test_without_variables_two_workers_and_one_gateway_run_until_stopped() -> None:
    """Make passes variables that were not given as empty ones."""
    assert read_settings({}) == UpSettings()
    assert read_settings({"WORKERS": "", "PORT": "", "ONCE": ""}) == UpSettings(workers=2, web=1)


def test_variables_are_read() -> None:
    """WORKERS=4 PORT=9000 ONCE=1."""
    settings = read_settings({"WORKERS": "4", "PORT": "9000", "ONCE": "1"})
    assert (settings.workers, settings.port, settings.once) == (4, 9000, True)


@pytest.mark.parametrize("env", [{"WORKERS": "0"}, {"PORT": "70000"}, {"WEB": "two"}])
def test_a_wrong_number_is_refused_by_name(env: dict[str, str]) -> None:
    """The message names the variable."""
    with pytest.raises(BadSetting, match=next(iter(env))):
        read_settings(env)
