"""What is made of a spec, and that the parser's defaults are the CRD's."""

from dataclasses import replace
from typing import Any

import pytest
import yaml
from inventory_operator import observe, spec
from inventory_operator.job_manifests import GATE_SECONDS
from inventory_operator.model import COMMANDS, Analyse, Contract, Gate, Metric, Pause, Router, SetWeight, Strategy

from . import schemas

SAMPLES = sorted((schemas.CHECKOUT / "manifests" / "samples").glob("*.yaml"))
EVERY_SAMPLE = pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)


def sample(name: str) -> dict[str, Any]:
    path = schemas.CHECKOUT / "manifests" / "samples" / f"{name}.yaml"
    (found,) = [each for each in yaml.safe_load_all(path.read_text()) if each["kind"] == "InventoryApp"]
    return dict(found)


def test_without_a_strategy_pods_are_replaced() -> None:
    assert spec.strategy({}) == spec.strategy({"strategy": {}}) == Strategy("rolling", "25%", 0)
    assert spec.strategy({"strategy": {"rolling": {"maxSurge": 1, "maxUnavailable": "50%"}}}) == Strategy(
        "rolling", 1, "50%"
    )


def test_steps_keep_their_order_and_kind() -> None:
    gate = {"args": ["smoke"]}
    steps: list[dict[str, Any]] = [
        {"weight": 0},
        {"pause": {}},
        {"pause": {"seconds": 5}},
        {"analysis": {}},
        {"gate": gate},
    ]
    found = spec.strategy({"strategy": {"canary": {"maxSurge": 2, "steps": steps}}})
    assert found == Strategy(
        "canary", 2, 0, steps=(SetWeight(0), Pause(None), Pause(5), Analyse(), Gate(gate)), router=None, warm=0
    )


def test_a_router_needs_a_moment_in_which_the_former_release_still_serves() -> None:
    ingress = spec.strategy({"strategy": {"canary": {"ingress": {"name": "shop", "header": "X-A"}}}})
    assert (ingress.router, ingress.warm) == (Router("ingress", "shop", {"header": "X-A"}), 30)
    route = spec.strategy({"strategy": {"canary": {"httpRoute": {"name": "shop"}, "warmSeconds": 0}}})
    assert (route.router, route.warm) == (Router("httpRoute", "shop"), 0)


def test_a_blue_green_release_that_a_person_promotes_ends_with_a_pause() -> None:
    steps: list[dict[str, Any]] = [{"analysis": {}}]
    manual = spec.strategy({"strategy": {"blueGreen": {"steps": steps, "autoPromote": False}}})
    automatic = spec.strategy({"strategy": {"blueGreen": {"steps": steps}}})
    assert manual.steps == (Analyse(), Pause(None))
    assert automatic == Strategy("blueGreen", steps=(Analyse(),), warm=300)


def test_an_analysis_by_address_alone_measures_the_built_in_metrics() -> None:
    found = spec.analysis({"analysis": {"prometheus": {"address": "http://p:9090/"}}})
    assert found is not None
    assert (found.address, found.range) == ("http://p:9090", "1m")
    assert [metric.name for metric in found.metrics] == ["error-ratio", "p99"]


def test_metrics_of_the_users_take_the_place_of_the_built_in_ones_unless_both_are_asked_for() -> None:
    metric = {"name": "queue", "query": "q", "success": {"max": 0}, "failure": {"min": 10}, "onEmpty": "Success"}
    own = Metric("queue", "q", good_max=0, bad_min=10, empty="Success")
    asked = {"prometheus": {"address": "http://p"}, "metrics": [metric]}
    alone, both = spec.analysis({"analysis": asked}), spec.analysis({"analysis": {**asked, "builtIn": {}}})
    assert alone is not None
    assert both is not None
    assert alone.metrics == (own,)
    assert [each.name for each in both.metrics] == ["error-ratio", "p99", "queue"]


def test_limits_of_the_built_in_metrics_reach_them() -> None:
    built_in = {"errorRatio": {"max": 0.5}, "p99Seconds": {"max": 3}}
    found = spec.analysis({"analysis": {"prometheus": {"address": "http://p"}, "builtIn": built_in}})
    assert found is not None
    assert [metric.good_max for metric in found.metrics] == [0.5, 3]


def test_contracts_wait_for_a_person_unless_told() -> None:
    manual = spec.migrations({"migrations": {"secret": "owner"}})
    automatic = spec.migrations(
        {"migrations": {"secret": "owner", "contract": {"mode": "Automatic", "soakSeconds": 0}}}
    )
    assert manual is not None
    assert automatic is not None
    assert manual.contract == Contract(automatic=False)
    assert automatic.contract == Contract(automatic=True, soak=0)
    assert spec.migrations({}) is None


def test_commands_are_those_annotations_that_a_person_may_give() -> None:
    given = {f"inventory.dev/{name}": f"7/{name}" for name in COMMANDS}
    others = {"inventory.dev/record": "x", "inventory.dev/undo": "7", "example.com/abort": "7", "promote": "7/1"}
    assert spec.commands(given | others) == {name: f"7/{name}" for name in COMMANDS}
    assert spec.commands({}) == {}


def test_freeze_is_only_what_says_so() -> None:
    app = sample("canary")
    app["metadata"] |= {"namespace": "shop", "uid": "u", "generation": 1}
    assert not observe.parse_app(app).freeze
    app["spec"]["rollback"] = "Freeze"
    assert observe.parse_app(app).freeze


@EVERY_SAMPLE
def test_the_crd_knows_every_field_of_a_sample(path: Any) -> None:
    app = sample(path.stem)
    assert schemas.objections(app, schemas.of_inventory_app()) == []


@EVERY_SAMPLE
def test_a_sample_means_the_same_before_and_after_the_crds_defaults(path: Any) -> None:
    wanted = sample(path.stem)["spec"]
    stored = schemas.filled(wanted, schemas.of_inventory_app()["properties"]["spec"])
    for parse in (spec.analysis, spec.migrations):
        assert parse(stored) == parse(wanted)
    assert with_limits(spec.strategy(stored)) == with_limits(spec.strategy(wanted))


def with_limits(found: Strategy) -> Strategy:
    """A gate's time limit is filled in where its Job is made."""
    steps = tuple(
        Gate({"timeoutSeconds": GATE_SECONDS, **step.job}) if isinstance(step, Gate) else step for step in found.steps
    )
    return replace(found, steps=steps)


def test_every_strategy_has_a_sample() -> None:
    found = {path.stem: spec.strategy(sample(path.stem)["spec"]) for path in SAMPLES}
    assert {(each.kind, each.router and each.router.kind) for each in found.values()} == {
        ("rolling", None),
        ("canary", None),
        ("canary", "ingress"),
        ("canary", "httpRoute"),
        ("blueGreen", None),
    }


def test_a_sample_names_only_what_is_there() -> None:
    for each in SAMPLES:
        objects = {(found["kind"], found["metadata"]["name"]) for found in yaml.safe_load_all(each.read_text())}
        wanted = sample(each.stem)["spec"]
        router = spec.strategy(wanted).router
        backup = (wanted.get("migrations") or {}).get("backup") or {}
        if router:
            assert ({"ingress": "Ingress", "httpRoute": "HTTPRoute"}[router.kind], router.name) in objects
        if "volumeClaim" in backup:
            assert ("PersistentVolumeClaim", backup["volumeClaim"]) in objects


def bounds(schema: dict[str, Any], where: str = "spec") -> list[str]:
    """Lists, maps and texts of the spec without a bound: CEL's costs are counted by them, and so is etcd's room."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    found = []
    if schema.get("type") == "array" and "maxItems" not in schema:
        found.append(where)
    if "additionalProperties" in schema and "maxProperties" not in schema:
        found.append(where)
    if schema.get("type") == "string" and not {"maxLength", "enum"} & schema.keys():
        found.append(where)
    for key, inner in schema.get("properties", {}).items():
        found += bounds(inner, f"{where}.{key}")
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        found += bounds(inner, f"{where}[]") if inner else []
    return found


def test_every_new_list_and_text_of_the_spec_has_a_bound() -> None:
    unbound = bounds(schemas.of_inventory_app()["properties"]["spec"])
    # From before; Kubernetes bounds what they become.
    assert {where for where in unbound if not where.startswith("spec.template.")} == set()


def test_every_field_of_the_spec_that_decides_something_says_what_follows() -> None:
    known = schemas.of_inventory_app()["properties"]["spec"]["properties"]
    for name in ("strategy", "analysis", "rollback"):
        assert known[name]["description"]
    for kind in ("rolling", "canary", "blueGreen"):
        assert known["strategy"]["properties"][kind]["description"]
