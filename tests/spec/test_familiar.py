"""The door's settings in the names that users of Ray Serve know."""

from __future__ import annotations

from typing import Any

import pytest

from salver.spec.familiar import (
    HTTPOptions,
    ProxyLocation,
    TracingConfig,
    http_settings,
    without_door,
)
from salver.spec.http import HttpSettings


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, HttpSettings()),
        ({"port": 1234}, HttpSettings(port=1234)),
        (HTTPOptions(host="0.0.0.0", port=9), HttpSettings(host="0.0.0.0", port=9)),
        (HTTPOptions(request_timeout_s=3), HttpSettings(request_timeout_s=3)),
        (
            HTTPOptions(root_path="/api", ssl_certfile="c", ssl_keyfile="k"),
            HttpSettings(root_path="/api", ssl_certfile="c", ssl_keyfile="k"),
        ),
        (HTTPOptions(keep_alive_timeout_s=7), HttpSettings(keep_alive_timeout_s=7)),
        (HTTPOptions(root_url="https://x.org/a"), HttpSettings(root_url="https://x.org/a")),
        ({"max_headers": 10}, HttpSettings(max_headers=10)),
    ],
)
def test_each_form_is_understood(given: Any, expected: HttpSettings) -> None:
    assert http_settings(given) == expected


def test_what_is_not_given_keeps_the_default_of_the_environment() -> None:
    default = HttpSettings(host="1.2.3.4", port=5)
    assert http_settings({"port": 6}, default=default) == HttpSettings(host="1.2.3.4", port=6)
    assert http_settings(HTTPOptions(port=6), default=default).host == "1.2.3.4"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"prt": 1}, TypeError, r"^'prt' is not an option of the HTTP door. Did you mean port\?$"),
        ({"port": 70000}, ValueError, "port"),
        (5, TypeError, r"^http_options=5 is not valid"),
        ({"ssl_keyfile": "k"}, ValueError, r"ssl_keyfile is given and ssl_certfile is not"),
        ({"ssl_ca_certs": "k"}, ValueError, r"nothing without ssl_certfile"),
        ({"root_path": "api"}, ValueError, r"root_path"),
        ({"root_path": "/api/"}, ValueError, r"root_path"),
        ({"root_url": "x.org"}, ValueError, r"root_url"),
        ({"middlewares": []}, ValueError, r"'middlewares'\] is not there any more: put them on"),
        ({"num_cpus": 1}, ValueError, r"'num_cpus'\] is not there any more"),
        ({"location": "Nowhere"}, ValueError, r"Nowhere"),
    ],
)
def test_what_is_wrong_is_named(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        http_settings(given)


@pytest.mark.parametrize("name", ["middlewares", "num_cpus"])
def test_what_a_door_once_had_says_where_it_is_now(name: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}'\] is not there any more"):
        HTTPOptions.parse_obj({name: None})


def test_a_part_of_a_later_version_says_so_when_it_is_used() -> None:
    with pytest.raises(NotImplementedError, match=r"^TracingConfig: not there yet"):
        TracingConfig()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, False),
        ({}, False),
        ({"host": "0.0.0.0"}, False),
        ({"host": None}, True),
        ({"location": "Disabled"}, True),
        ({"location": "NoServer"}, True),
        (HTTPOptions(), False),
        (HTTPOptions(host=None), True),
        (HTTPOptions(location=ProxyLocation.HeadOnly), False),
    ],
)
def test_no_door_can_be_asked_for(given: Any, expected: bool) -> None:
    assert without_door(given) is expected
    http_settings(given)


def test_options_are_checked_where_they_are_made() -> None:
    assert HTTPOptions(host=None).location is ProxyLocation.Disabled
    assert HTTPOptions(location="NoServer").location is ProxyLocation.Disabled  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"ssl_keyfile is given and ssl_certfile is not"):
        HTTPOptions(ssl_keyfile="k")
