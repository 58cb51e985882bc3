"""People who use an installed service through the ingress, for the very tests that tests/integration/api has.

What runs is what can: a test that asks for anything but these people, such as the service's own object or its database,
is not among them.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from tests.cluster.again import OnTheCluster
from tests.cluster.api import as_it_was
from tests.cluster.installation import NAME, SERVICE_PODS, Installation, is_ready
from tests.cluster.installations import Installations
from tests.integration.api.people import Visitor, admin, anybody, member, shelf
from tests.integration.api.services import EMAIL, LENIENT, PASSWORD, Api

__all__ = ["admin", "anybody", "member", "shelf"]

TIMEOUT_SECONDS = 30
# With a hundred callers at once, a busy machine takes longer than a service would let them wait.
SETTINGS = {
    **LENIENT,
    "database_lock_seconds": 25,
    "database_pool_wait_seconds": 25,
    "database_statement_seconds": 25,
}


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest, installations: Installations) -> Installation:
    """A service that has the tests' first user, and puts up with as many requests as they make."""
    tests = [item for item in request.session.items if isinstance(item.getparent(pytest.Module), OnTheCluster)]
    print(f"{len(tests)} of the API's tests, through the ingress")
    app = installations.new(app={"config": {f"INVENTORY_{name.upper()}": str(SETTINGS[name]) for name in SETTINGS}})
    app.create_namespace()
    app.create_secret(f"{NAME}-admin", INVENTORY_ADMIN_EMAIL=EMAIL, INVENTORY_ADMIN_PASSWORD=PASSWORD)
    app.install()
    return app


@pytest.fixture(scope="package")
def restore(installed: Installation) -> Iterator[Callable[[], None]]:
    """Makes the service's stores what they were before the first test."""
    pod = next(pod for pod in installed.pods(SERVICE_PODS) if is_ready(pod))
    program = Path(as_it_was.__file__).read_text()
    words = ("exec", "-i", pod["metadata"]["name"], "--namespace", installed.namespace, "--", "python3", "-c", program)
    password = installed.secret(f"{NAME}-postgres")["POSTGRES_PASSWORD"]
    with installed.cluster.start("kubectl", *words) as process:
        assert process.stdin
        assert process.stdout
        said, told = process.stdout, process.stdin

        def tell(line: str, expected: str) -> None:
            told.write(f"{line}\n")
            told.flush()
            assert said.readline().strip() == expected

        tell(f"postgresql://postgres:{password}@{NAME}-postgres/inventory", "remembered")
        yield lambda: tell("", "as it was")


@pytest.fixture
def as_before(restore: Callable[[], None]) -> Iterator[None]:
    yield
    restore()


@pytest.fixture
def visitor(installed: Installation, as_before: None) -> Visitor:
    return lambda: client_of(installed)


@pytest.fixture(scope="session")
async def signed_in(installed: Installation) -> AsyncIterator[Api]:
    async with client_of(installed) as api:
        yield api


@pytest.fixture
async def quiet_admin(signed_in: Api) -> Api:
    """One for all tests of what leaves nothing behind, signed in anew where another test has ended that."""
    if (await signed_in.get("/api/v1/users/me")).status_code == HTTPStatus.UNAUTHORIZED:
        await signed_in.sign_in()
    return signed_in


@asynccontextmanager
async def client_of(installed: Installation) -> AsyncIterator[Api]:
    address, host = installed.cluster.record.ingress_http, {"Host": installed.host}
    async with httpx.AsyncClient(base_url=address, headers=host, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
        yield Api(http)
