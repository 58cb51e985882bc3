"""One run of schemathesis against a real service with things and people in it, and what came of it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.api.services import PASSWORD, SECRET_KEY, served
from tests.integration.stores import SERVICE, Postgres

CONTRACT = Path(__file__).parents[2] / "docs" / "openapi.json"
PHASES = ("examples", "coverage", "fuzzing", "stateful")
_HOOKS = Path(__file__).with_name("hooks.py")
# No example has their addresses, so that nobody else tries to sign in as them until they may no more.
_ASKER, _PERSON = "asker@example.com", "person@example.com"
# Who asks stays an admin with the same password, whatever they ask for of themselves.
_KEEP_THE_ADMIN = f"""
CREATE FUNCTION keep_the_admin() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  NEW.email := OLD.email; NEW.role := OLD.role; NEW.active := OLD.active; NEW.password_hash := OLD.password_hash;
  RETURN NEW;
END $$;
CREATE TRIGGER keep_the_admin BEFORE UPDATE ON users FOR EACH ROW WHEN (OLD.email = '{_ASKER}')
EXECUTE FUNCTION keep_the_admin();
"""


@dataclass(frozen=True)
class Outcome:
    cases: int
    operations: int
    seconds: float
    findings: list[str]
    answered: int
    """Requests, as the service counted them: cases, what the checks asked besides, and things made for either."""
    never_accepted: list[str]
    """Operations that refused every case."""


def fuzz(
    postgres: Postgres,
    cases: int,
    chains: int,
    seed: int,
    phases: Sequence[str] = PHASES,
    at_least: int = 0,
    more: Sequence[str] = (),
) -> Outcome:
    """`cases` are of each operation, `chains` are of several along links; the findings are printed as they come.

    More chains are made until there are `at_least` so many cases in all, or something was found.
    """
    database = postgres.migrated_database()
    try:
        return _fuzz(postgres, database, _config(cases, chains), seed, phases, at_least, more)
    finally:
        postgres.drop(database)


def _fuzz(
    postgres: Postgres,
    database: str,
    config: str,
    seed: int,
    phases: Sequence[str],
    at_least: int,
    more: Sequence[str],
) -> Outcome:
    url = postgres.url(database, SERVICE)
    with served(
        url, INVENTORY_RATE_LIMITS="off", INVENTORY_ENVIRONMENT="testing", INVENTORY_ADMIN_EMAIL=_ASKER
    ) as service:
        postgres.execute(_KEEP_THE_ADMIN, database=database)
        _fill(url, service.url)
        with tempfile.TemporaryDirectory(prefix="inventory-fuzz-") as folder:
            Path(folder, "schemathesis.toml").write_text(config)
            accepted = Path(folder, "accepted")
            accepted.touch()
            options = ["--url", service.url, *more]
            environment = {**os.environ, **_for_hooks(service.url, accepted)}
            reports = [_run(folder, environment, seed, phases, options)]
            while not _findings(reports) and _cases(reports[-1:]) > 0 and _cases(reports) < at_least:
                reports.append(_run(folder, environment, seed + len(reports), ("stateful",), options))
            return _outcome(reports, _answered(service.url), set(accepted.read_text().split()))


def _for_hooks(url: str, accepted: Path) -> dict[str, str]:
    """What `hooks.py` needs to make things of its own, and where it notes which operations have accepted a case."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "FUZZ_URL": url,
        "FUZZ_EMAIL": _ASKER,
        "FUZZ_PASSWORD": PASSWORD,
        "FUZZ_ACCEPTED": str(accepted),
    }


def _run(
    folder: str, environment: dict[str, str], seed: int, phases: Sequence[str], options: Sequence[str]
) -> dict[str, Any]:
    report = Path(folder, "report.json")
    command: list[str | Path] = [Path(sys.executable).with_name("schemathesis")]
    command += ["--config-file", "schemathesis.toml", "run", CONTRACT, "--checks", "all", "--continue-on-failure"]
    command += ["--seed", str(seed), "--phases", ",".join(phases)]
    command += ["--report", "json", "--report-json-path", report, *options]
    subprocess.run(command, cwd=folder, env=environment, check=False)
    found: dict[str, Any] = json.loads(report.read_text())
    report.unlink()
    return found


def _fill(database_url: str, url: str) -> None:
    environment = {
        **os.environ,
        "INVENTORY_ENVIRONMENT": "testing",
        "INVENTORY_DATABASE_URL": database_url,
        "INVENTORY_SECRET_KEY": SECRET_KEY,
    }
    command = [sys.executable, "-m", "inventory_api", "fill", "--items", "40", "--units", "40", "--people", "4"]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    with httpx.Client(base_url=f"{url}/api/v1", timeout=30) as http:
        token = http.post("/auth/token", json={"email": _ASKER, "password": PASSWORD}).json()["access_token"]
        person = {"email": _PERSON, "name": "Person", "password": PASSWORD, "role": "staff"}
        http.post("/users", json=person, headers={"Authorization": f"Bearer {token}"}).raise_for_status()


def _answered(url: str) -> int:
    """How many requests, by the service's own count."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return sum(int(sample.value) for sample in samples if sample.name == "http_requests_total")


def _cases(reports: Sequence[dict[str, Any]]) -> int:
    return sum(report["test_cases"]["generated"] for report in reports)


def _findings(reports: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    for report in reports:
        found += [f"{each['code']} {each['title']}: {', '.join(each['operations'])}" for each in report["failures"]]
        found += [each["title"] for each in report["errors"]]
        if report["auth"]["reauth_broke"]:
            found.append("Whoever asks could not sign in again.")
    return found


def _outcome(reports: Sequence[dict[str, Any]], answered: int, accepted: set[str]) -> Outcome:
    contract = json.loads(CONTRACT.read_text())
    operations = [each["operationId"] for methods in contract["paths"].values() for each in methods.values()]
    return Outcome(
        _cases(reports),
        reports[0]["operations"]["tested"],
        sum(report["running_time"] for report in reports),
        _findings(reports),
        answered,
        [each for each in operations if each not in accepted],
    )


def _config(cases: int, chains: int) -> str:
    """What schemathesis can't know of the service from its contract."""
    now = datetime.now(UTC)
    return _CONFIG.format(
        hooks=_HOOKS,
        cases=cases,
        chains=chains,
        email=_ASKER,
        password=PASSWORD,
        person=_PERSON,
        soon=[(now + timedelta(days=days)).strftime("%FT12:00:00Z") for days in (1, 2)],
        later=[(now + timedelta(days=days)).strftime("%FT12:00:00Z") for days in (3, 5)],
    )


_CONFIG = """
hooks = "{hooks}"
generation.max-examples = {cases}
phases.stateful.generation.max-examples = {chains}
generation.with-security-parameters = false
phases.stateful.max-steps = 12

# Whoever has signed out signs in again.
[auth.dynamic.openapi.HTTPBearer]
path = "/api/v1/auth/token"
payload = {{ email = "{email}", password = "{password}" }}
extract_selector = "/access_token"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "412", "428", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "428", "429"]

# What it would learn of refusals is no contract.
[phases.fuzzing.error-feedback]
enabled = false

[dictionaries]
few = {{ values = [1, 2, 3, 4, 5, 6] }}
soon = {{ values = {soon} }}
later = {{ values = {later} }}
person = {{ values = ["{person}"] }}
password = {{ values = ["{password}"] }}
version = {{ values = ["*", '"1"'] }}

# What is lent or reserved is so for a time to come.
[parameters]
"path.item_id" = {{ dictionary = "few", probability = 0.5 }}
"path.unit_id" = {{ dictionary = "few", probability = 0.5 }}
"path.loan_id" = {{ dictionary = "few", probability = 0.5 }}
"path.reservation_id" = {{ dictionary = "few", probability = 0.5 }}
"path.stocktake_id" = {{ dictionary = "few", probability = 0.5 }}
"path.scan_id" = {{ dictionary = "few", probability = 0.5 }}
"path.category_id" = {{ dictionary = "few", probability = 0.5 }}
"path.location_id" = {{ dictionary = "few", probability = 0.5 }}
"body.item_id" = {{ dictionary = "few", probability = 0.5 }}
"body.unit_id" = {{ dictionary = "few", probability = 0.5 }}
"body.location_id" = {{ dictionary = "few", probability = 0.5 }}
"body.from_location_id" = {{ dictionary = "few", probability = 0.5 }}
"body.to_location_id" = {{ dictionary = "few", probability = 0.5 }}
"body.user_id" = {{ dictionary = "few", probability = 0.5 }}
"body.category_id" = {{ dictionary = "few", probability = 0.5 }}
"body.parts[*].item_id" = {{ dictionary = "few", probability = 0.7 }}
"body.quantity" = {{ dictionary = "few", probability = 0.7 }}
"body.due_at" = {{ dictionary = "later", probability = 0.8 }}
"body.starts_at" = {{ dictionary = "soon", probability = 0.4 }}
"body.ends_at" = {{ dictionary = "later", probability = 0.4 }}
"body.expires_at" = {{ dictionary = "later", probability = 0.5 }}
"header.If-Match" = {{ dictionary = "version", probability = 0.8 }}
"body.current_password" = {{ dictionary = "password", probability = 0.5 }}

[[operations]]
include-operation-id = "sign_in"

[operations.parameters]
"body.email" = {{ dictionary = "person", probability = 0.5 }}
"body.password" = {{ dictionary = "password", probability = 0.5 }}
"""
