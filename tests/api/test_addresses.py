"""One pattern for all routes finds what looking through them one by one does."""

from __future__ import annotations

import re

import pytest

from headgate.api.http.addresses import Addresses
from headgate.api.http.route import Route
from headgate.api.http.table import ROUTES

FIVE = Addresses(
    [
        ("GET", "/runs/{id}", "show"),
        ("POST", "/runs/{id}", "change"),
        ("DELETE", "/cache/{key}", "delete"),
        ("POST", "/cache/all", "delete all"),
        ("POST", "/cache/{key}", "keep"),
        ("GET", "/a.b/{run}/of/{place}", "two"),
    ]
)


def fits(route: Route, path: str) -> bool:
    return re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route.address)), path) is not None


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.address}")
def test_of_all_routes_each_is_found_by_its_address(route: Route):
    names = re.findall(r"\{(\w+)\}", route.address)
    path = re.sub(r"\{(\w+)\}", r"some-\1~of@3", route.address)

    found = Addresses((one.method, one.address, one) for one in ROUTES).find(route.method, path)

    first = next(one for one in ROUTES if one.method == route.method and fits(one, path))
    assert found == (first, {name: f"some-{name}~of@3" for name in names})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.address}")
def test_of_each_address_it_is_known_which_methods_it_takes(route: Route):
    path = re.sub(r"\{\w+\}", "x", route.address)
    takes = {one.method for one in ROUTES if fits(one, path)}

    found = Addresses((one.method, one.address, one) for one in ROUTES).methods(path)

    assert found == takes | ({"HEAD"} if "GET" in takes else set())


@pytest.mark.parametrize(
    ("method", "path", "end", "parameters"),
    [
        ("GET", "/runs/abc", "show", {"id": "abc"}),
        ("HEAD", "/runs/abc", "show", {"id": "abc"}),
        ("POST", "/runs/abc", "change", {"id": "abc"}),
        ("GET", "/runs/a b\n?ü", "show", {"id": "a b\n?ü"}),
        ("POST", "/cache/all", "delete all", {}),
        ("POST", "/cache/some", "keep", {"key": "some"}),
        ("DELETE", "/cache/all", "delete", {"key": "all"}),
        ("GET", "/a.b/1/of/2", "two", {"run": "1", "place": "2"}),
    ],
)
def test_a_parameter_is_one_segment_and_the_first_that_fits_is_meant(
    method: str, path: str, end: str, parameters: dict[str, str]
):
    assert FIVE.find(method, path) == (end, parameters)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/runs/abc"),
        ("GET", "/runs/"),
        ("GET", "/runs/abc/"),
        ("GET", "/runs/abc/more"),
        ("GET", "/runs/abc\n/"),
        ("GET", "/more/runs/abc"),
        ("GET", "/axb/1/of/2"),
        ("GET", "/cache/all"),
        ("get", "/runs/abc"),
        ("GET", ""),
    ],
)
def test_nothing_is_found_where_nothing_is(method: str, path: str):
    assert FIVE.find(method, path) is None


def test_there_may_be_no_routes_at_all():
    assert Addresses[str]([]).find("GET", "/") is None
    assert Addresses[str]([]).methods("/") == set()
