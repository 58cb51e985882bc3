"""Where the chart has the operator tell of releases."""

from inventory_operator import cli

from .render import Object, pod_templates, refusal, render


def container(*settings: str) -> Object:
    arguments = ("--set", ",".join(settings)) if settings else ()
    pod = pod_templates(render(*arguments))["Deployment inventory-operator"]
    found: Object = pod["spec"]["containers"][0]
    return found


def environment(found: Object) -> Object:
    return {each["name"]: each for each in found["env"]}


def test_the_operator_tells_nobody_unless_the_chart_is_told_to() -> None:
    assert "INVENTORY_WEBHOOK_URL" not in environment(container())


def test_the_operator_gets_the_address_from_a_secret_and_the_form_as_the_values_have_them() -> None:
    found = container("operator.webhook.secretName=chat", "operator.webhook.key=hook", "operator.webhook.format=slack")

    assert environment(found)["INVENTORY_WEBHOOK_URL"]["valueFrom"] == {"secretKeyRef": {"name": "chat", "key": "hook"}}
    assert cli._parser().parse_args(found["args"]).webhook_format == "slack"


def test_the_form_and_the_key_have_defaults() -> None:
    found = container("operator.webhook.secretName=chat")

    assert environment(found)["INVENTORY_WEBHOOK_URL"]["valueFrom"] == {"secretKeyRef": {"name": "chat", "key": "url"}}
    assert cli._parser().parse_args(found["args"]).webhook_format == "generic"


def test_a_form_that_the_operator_does_not_know_is_refused() -> None:
    assert "/operator/webhook/format" in refusal("--set", "operator.webhook.format=teams")
