"""`make fuzz`: asks a real service what nobody thought of, operation by operation, from its own contract."""

import argparse
import subprocess
import sys
from pathlib import Path

import httpx

from tests.integration.api.services import EMAIL, PASSWORD, served
from tests.integration.stores import SERVICE, running_postgres

CONTRACT = Path(__file__).parents[2] / "docs" / "openapi.json"
# What an answer may be: one that the contract has, in its shape, and never a 5xx. That each invalid request is refused
# is asked too; which of several refusals it gets is the service's to choose.
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# These end the session that everything else is asked with.
_LEFT_OUT = ("sign_out", "sign_out_everywhere", "change_my_password", "end_session")


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="of each operation")
    parser.add_argument("--seed", type=int, default=1)
    options, more = parser.parse_known_args()
    with running_postgres() as postgres:
        database = postgres.migrated_database()
        with served(postgres.url(database, SERVICE), INVENTORY_RATE_LIMITS="off") as service:
            answer = httpx.post(f"{service.url}/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD})
            token = answer.json()["access_token"]
            command = [str(Path(sys.executable).with_name("schemathesis")), "run", str(CONTRACT)]
            command += ["--url", service.url, "--header", f"Authorization: Bearer {token}"]
            command += ["--checks", _CHECKS, "--max-examples", str(options.cases), "--seed", str(options.seed)]
            for operation in _LEFT_OUT:
                command += ["--exclude-operation-id", operation]
            return subprocess.run([*command, *more], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
