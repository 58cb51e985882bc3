"""What Sentry is told, as a transport gets it that sends nothing."""

import json
from typing import Any

import pytest
from inventory_api.error_reports import ErrorReports
from inventory_api.settings import ServiceSettings
from pydantic import BaseModel, SecretStr, ValidationError
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from sqlalchemy.exc import IntegrityError

HUSH = "correct horse battery"


class Kept(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    def event(self) -> dict[str, Any]:
        (envelope,) = self.envelopes
        event: dict[str, Any] = json.loads(envelope.items[0].payload.get_bytes())
        return event


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def reports(kept: Kept) -> ErrorReports:
    settings = ServiceSettings(
        environment="staging",
        database_url=SecretStr("postgresql://app:hush@db/inventory"),
        secret_key=SecretStr("k" * 32),
        sentry_dsn=SecretStr("https://key@sentry.example/1"),
        version="1.2.3",
        release="r1",
        revision="7",
    )
    return ErrorReports(settings, transport=kept)


def fail(error: Exception, password: str = HUSH) -> Exception:
    """The error, as raised where a secret is among the variables."""
    headers = {"Authorization": f"Bearer {password}", "Cookie": password}
    try:
        assert headers
        raise error
    except Exception as raised:
        return raised


def test_a_report_says_which_request_of_which_release_failed_where(reports: ErrorReports, kept: Kept) -> None:
    reports.report(fail(ValueError("as nobody expected")), request_id="r-1", method="GET", route="/api/v1/items")

    event = kept.event()
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("ValueError", "as nobody expected")
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert (event["release"], event["environment"]) == ("inventory@1.2.3", "staging")
    assert event["tags"] == {
        "release": "r1",
        "revision": "7",
        "request_id": "r-1",
        "method": "GET",
        "route": "/api/v1/items",
    }


def test_a_report_has_no_variable_and_nothing_of_request_user_or_host_environment(
    reports: ErrorReports, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVENTORY_SECRET_KEY", HUSH)

    reports.report(fail(ValueError("as nobody expected")), request_id="r-1")

    event = kept.event()
    assert HUSH not in json.dumps(event)
    assert not {"request", "user", "breadcrumbs", "extra", "modules"} & set(event)
    assert not any("vars" in frame for frame in event["exception"]["values"][0]["stacktrace"]["frames"])


class Credentials(BaseModel):
    email: str
    pin: int


def validation_error() -> Exception:
    try:
        Credentials.model_validate({"email": "bob@example.com", "pin": HUSH})
    except ValidationError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"password='{HUSH}' is wrong"),
        ValueError("cannot connect to postgresql://app:horse@db/inventory"),
        ValueError("Authorization: Bearer horse.battery"),
        ValueError("no user has bob@example.com"),
        ValueError("GET /api/v1/users?email=bob@example.com&token=horse"),
        IntegrityError(
            "INSERT INTO users (email) VALUES ($1)",
            {"email": "bob@example.com"},
            Exception('violates "users_email_key"\nDETAIL:  Key (email)=(bob@example.com) already exists.'),
        ),
        validation_error(),
    ],
    ids=lambda error: str(error)[:30],
)
def test_a_message_keeps_its_first_line_without_secrets_and_addresses(
    reports: ErrorReports, kept: Kept, error: Exception
) -> None:
    try:
        raise error
    except Exception as raised:
        reports.report(raised)

    said = kept.event()["exception"]["values"][0]["value"]
    assert said
    for secret in (HUSH, "horse", "bob@", "DETAIL"):
        assert secret not in said


def test_the_cause_of_an_error_is_told_in_the_same_way(reports: ErrorReports, kept: Kept) -> None:
    try:
        try:
            raise ValueError("token=horse")
        except ValueError as cause:
            raise RuntimeError("it failed") from cause
    except RuntimeError as error:
        reports.report(error)

    errors = kept.event()["exception"]["values"]
    assert {error["type"] for error in errors} == {"ValueError", "RuntimeError"}
    assert "horse" not in json.dumps([error["value"] for error in errors])
