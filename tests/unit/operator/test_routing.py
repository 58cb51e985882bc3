"""Dividing requests: a canary Ingress that follows the user's, and weights in the user's HTTPRoute."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_operator import routing
from inventory_operator.model import App, Router, Strategy, Traffic
from inventory_operator.routing import Routes

from . import schemas
from .world import an_app

NGINX = "nginx.ingress.kubernetes.io"


def by_ingress(**options: str) -> App:
    return an_app(strategy=Strategy("canary", router=Router("ingress", "shop", options)))


def by_route() -> App:
    return an_app(strategy=Strategy("canary", router=Router("httpRoute", "shop")))


def an_ingress() -> dict[str, Any]:
    def path(where: str, service: str) -> dict[str, Any]:
        return {
            "path": where,
            "pathType": "Prefix",
            "backend": {"service": {"name": service, "port": {"name": "http"}}},
        }

    return {
        "metadata": {
            "name": "shop",
            "namespace": "shop",
            "annotations": {
                f"{NGINX}/proxy-body-size": "33m",
                f"{NGINX}/configuration-snippet": "return 403;",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
        },
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["a.test"], "secretName": "tls"}],
            "rules": [
                {"host": "a.test", "http": {"paths": [path("/", "inventory"), path("/shop", "shop")]}},
                {"host": "b.test", "http": {"paths": [path("/", "shop")]}},
            ],
        },
    }


def a_route(*rules: dict[str, Any]) -> dict[str, Any]:
    ours = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
        "timeouts": {"request": "10s"},
        "backendRefs": [{"group": "", "kind": "Service", "name": "inventory", "port": 80, "weight": 1}],
    }
    others = {
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["a"]}}],
        "backendRefs": [{"name": "shop", "port": 80, "weight": 3}, {"name": "other", "port": 80, "weight": 4}],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "rules": [ours, others, {"matches": []}, *rules],
        },
    }


def weighted(route: dict[str, Any], weight: int | None, app: App | None = None) -> dict[str, Any]:
    rules = routing.weighted_rules(app or by_route(), route, weight)
    return {**route, "spec": {**route["spec"], "rules": rules}}


def test_the_canary_takes_only_paths_that_lead_to_our_service() -> None:
    made = routing.canary_ingress(by_ingress(), an_ingress(), 10)
    [rule] = made["spec"]["rules"]
    assert rule["host"] == "a.test"
    assert [(path["path"], path["backend"]["service"]["name"]) for path in rule["http"]["paths"]] == [
        ("/", "inventory-candidate")
    ]
    assert made["spec"]["tls"] == an_ingress()["spec"]["tls"]
    assert made["spec"]["ingressClassName"] == "nginx"
    assert made["metadata"]["name"] == "inventory-canary"
    assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == ["uid-1"]


def test_the_canary_has_the_annotations_that_nginx_reads_and_no_snippet() -> None:
    made = routing.canary_ingress(by_ingress(header="X-A", headerValue="b", cookie="c"), an_ingress(), 10)
    assert made["metadata"]["annotations"] == {
        f"{NGINX}/proxy-body-size": "33m",
        f"{NGINX}/canary": "true",
        f"{NGINX}/canary-weight": "10",
        f"{NGINX}/canary-by-header": "X-A",
        f"{NGINX}/canary-by-header-value": "b",
        f"{NGINX}/canary-by-cookie": "c",
    }


def test_an_ingress_that_leads_everything_to_our_service_is_followed_too() -> None:
    stable = {"metadata": {"name": "shop"}, "spec": {"defaultBackend": {"service": {"name": "inventory"}}}}
    made = routing.canary_ingress(by_ingress(), stable, 10)
    assert made["spec"] == {"defaultBackend": {"service": {"name": "inventory-candidate"}}}
    assert not routing.traffic(by_ingress(), Routes(stable)).trouble


@given(st.integers(0, 100))
def test_a_canary_as_written_reads_back_with_its_weight(weight: int) -> None:
    app = by_ingress(header="X-A")
    made = routing.canary_ingress(app, an_ingress(), weight)
    assert routing.traffic(app, Routes(an_ingress(), made)) == Traffic(weight, as_wanted=True, present=True)


def test_a_change_of_the_stable_ingress_is_one_that_the_canary_lacks() -> None:
    app, stable = by_ingress(), an_ingress()
    made = routing.canary_ingress(app, stable, 10)
    changes: tuple[Callable[[dict[str, Any]], None], ...] = (
        lambda found: found["spec"].update(tls=[]),
        lambda found: found["spec"].update(ingressClassName="other"),
        lambda found: found["spec"]["rules"][0].update(host="c.test"),
        lambda found: found["metadata"]["annotations"].update({f"{NGINX}/affinity": "cookie"}),
    )
    for change in changes:
        changed = copy.deepcopy(stable)
        change(changed)
        assert not routing.traffic(app, Routes(changed, made)).as_wanted
    # What nginx does not read, and rules for others, are nobody's business here.
    changed = copy.deepcopy(stable)
    changed["metadata"]["annotations"]["example.com/owner"] = "me"
    del changed["spec"]["rules"][1]
    assert routing.traffic(app, Routes(changed, made)).as_wanted


def test_other_headers_in_the_spec_are_a_change_of_the_canary() -> None:
    made = routing.canary_ingress(by_ingress(header="X-A"), an_ingress(), 10)
    assert not routing.traffic(by_ingress(header="X-B"), Routes(an_ingress(), made)).as_wanted
    assert not routing.traffic(by_ingress(), Routes(an_ingress(), made)).as_wanted


def test_a_class_that_the_cluster_adds_is_not_fought() -> None:
    app, stable = by_ingress(), an_ingress()
    del stable["spec"]["ingressClassName"]
    made = routing.canary_ingress(app, stable, 10)
    made["spec"]["ingressClassName"] = "the-clusters-default"
    assert routing.traffic(app, Routes(stable, made)).as_wanted


@pytest.mark.parametrize(
    ("routes", "trouble"),
    [
        (Routes(), "Ingress shop is not there"),
        (Routes(unreadable="no right"), "no right"),
        (
            Routes({"metadata": {"name": "shop"}, "spec": {"rules": [{"host": "a.test"}]}}),
            "Ingress shop has no backend that is Service inventory",
        ),
    ],
)
def test_an_ingress_that_cannot_be_used_says_why(routes: Routes, trouble: str) -> None:
    found = routing.traffic(by_ingress(), routes)
    assert (found.trouble, found.present) == (trouble, False)


def test_a_canary_whose_stable_ingress_has_gone_still_tells_its_weight() -> None:
    made = routing.canary_ingress(by_ingress(), an_ingress(), 40)
    found = routing.traffic(by_ingress(), Routes(None, made))
    assert (found.weight, found.present, found.trouble) == (40, True, "Ingress shop is not there")


@pytest.mark.parametrize(("weight", "read"), [("77", 77), ("", 0), ("-1", 0), ("many", 0), ("1000", 100)])
def test_a_weight_that_somebody_has_written_is_read_as_nginx_would_do(weight: str, read: int) -> None:
    made = routing.canary_ingress(by_ingress(), an_ingress(), 10)
    made["metadata"]["annotations"][f"{NGINX}/canary-weight"] = weight
    assert routing.traffic(by_ingress(), Routes(an_ingress(), made)).weight == read


@given(st.integers(0, 100))
def test_weights_in_a_route_read_back_and_nothing_else_of_it_changes(weight: int) -> None:
    route = a_route()
    before = copy.deepcopy(route)
    made = weighted(route, weight)
    assert route == before
    assert routing.traffic(by_route(), Routes(made)) == Traffic(weight, as_wanted=True, present=True)
    [ours, *others] = made["spec"]["rules"]
    assert others == before["spec"]["rules"][1:]
    assert {**ours, "backendRefs": None} == {**before["spec"]["rules"][0], "backendRefs": None}
    assert [(ref["name"], ref["weight"], ref["port"]) for ref in ours["backendRefs"]] == [
        ("inventory", 100 - weight, 80),
        ("inventory-candidate", weight, 80),
    ]
    assert weighted(made, None) == before


def test_a_route_with_weights_is_one_that_the_gateway_api_takes() -> None:
    for weight in (None, 0, 35, 100):
        assert schemas.objections(weighted(a_route(), weight), schemas.foreign("httproute")) == []


def test_a_route_without_a_candidate_has_nothing_of_ours() -> None:
    assert routing.traffic(by_route(), Routes(a_route())) == Traffic(0)
    assert weighted(a_route(), None) == a_route()


def test_a_route_whose_fields_are_still_the_operators_is_not_given_back_yet() -> None:
    """The weights go first. Whoever writes to the route then, as its controller does, keeps the rest from going."""
    route = a_route()
    theirs = {"manager": "helm", "operation": "Apply"}
    route["metadata"]["managedFields"] = [theirs, {"manager": "inventory-operator", "operation": "Update"}]
    assert routing.traffic(by_route(), Routes(route)) == Traffic(0, present=True)
    route["metadata"]["managedFields"] = [theirs]
    assert routing.traffic(by_route(), Routes(route)) == Traffic(0)


def test_filters_of_our_backend_are_the_candidates_too() -> None:
    route = a_route()
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["b"]}}]
    made = weighted(route, 10)
    route["spec"]["rules"][0]["backendRefs"][0]["filters"] = filters
    assert weighted(route, 10)["spec"]["rules"][0]["backendRefs"][1]["filters"] == filters
    # Added in the middle of a release, the candidate lacks them.
    made["spec"]["rules"][0]["backendRefs"][0]["filters"] = filters
    assert not routing.traffic(by_route(), Routes(made)).as_wanted
    assert routing.traffic(by_route(), Routes(weighted(made, 10))).as_wanted


def test_a_rule_that_comes_in_the_middle_of_a_release_is_told() -> None:
    made = weighted(a_route(), 10)
    made["spec"]["rules"].append({"backendRefs": [{"name": "inventory", "port": 80}]})
    found = routing.traffic(by_route(), Routes(made))
    assert not found.as_wanted
    assert "divide the requests differently" in found.trouble
    assert routing.traffic(by_route(), Routes(weighted(made, 10))) == Traffic(10, present=True)


def test_services_of_the_same_name_elsewhere_and_other_kinds_are_not_ours() -> None:
    for ref in ({"namespace": "elsewhere"}, {"kind": "ServiceImport", "group": "multicluster.x-k8s.io"}):
        route = a_route()
        route["spec"]["rules"][0]["backendRefs"][0] |= ref
        assert weighted(route, 10) == route
        assert "has no rule with the backend inventory" in routing.traffic(by_route(), Routes(route)).trouble


@pytest.mark.parametrize(
    ("refs", "trouble"),
    [
        ([{"name": "inventory", "port": 80}, {"name": "shop", "port": 80}], "further backends beside inventory"),
        ([{"name": "inventory", "port": 80}, {"name": "inventory", "port": 81}], "further backends beside inventory"),
        ([{"name": "inventory", "port": 80, "weight": 0}], "neither inventory nor inventory-candidate has a weight"),
    ],
)
def test_a_rule_whose_requests_cannot_be_divided_is_told(refs: list[dict[str, Any]], trouble: str) -> None:
    route = a_route()
    route["spec"]["rules"][0]["backendRefs"] = refs
    assert trouble in routing.traffic(by_route(), Routes(route)).trouble


def test_somebody_elses_weights_are_read_as_shares() -> None:
    made = weighted(a_route(), 10)
    made["spec"]["rules"][0]["backendRefs"][0]["weight"] = 3
    made["spec"]["rules"][0]["backendRefs"][1]["weight"] = 1
    assert routing.traffic(by_route(), Routes(made)) == Traffic(25, present=True)


def test_an_app_without_a_router_has_no_traffic_to_divide() -> None:
    with pytest.raises(ValueError, match="no router"):
        routing.traffic(replace(by_route(), strategy=Strategy()), Routes())
