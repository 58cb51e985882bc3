"""Each sample runs as it is, under steady traffic, with what it says that it needs and nothing else.

Only names are others here: of the images, of the host, and of where Prometheus is. The sample for the Gateway API is
with its controller's tests.
"""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import yaml

from tests.cluster import prometheus, volumes
from tests.cluster.cluster import CHECKOUT
from tests.cluster.installation import NAME, Installation, succeed
from tests.cluster.installations import Installations
from tests.cluster.kube import Object

pytestmark = pytest.mark.slow

SAMPLES = CHECKOUT / "manifests" / "samples"
RUN = ("inventoryapp", "canary", "canary-ingress", "blue-green", "analysis", "contract-and-backup")
KEY = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def house(installations: Installations) -> Installation:
    """Whose PostgreSQL has the samples' databases."""
    return installations.serving()


@pytest.fixture(scope="module")
def places(installations: Installations) -> Iterator[dict[str, Installation]]:
    """A namespace for each sample; one operator watches them."""
    found = {name: installations.new() for name in RUN}
    for place in found.values():
        place.create_namespace()
    watch = {"scope": "namespaces", "namespaces": [place.namespace for place in found.values()]}
    operator = installations.new(app={"enabled": False}, ingress={"enabled": False}, operator={"watch": watch})
    operator.create_namespace()
    succeed(operator, operator.run_helm(*operator.install_words(), "--wait"))
    yield found
    for place in (operator, *found.values()):
        place.remove()


@pytest.fixture
def app(places: dict[str, Installation], house: Installation, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """The first release of a sample serves, with the two Secrets that it names and a way through the ingress."""
    found = places[request.param]
    make_secrets(found, house)
    (ingress,) = [each for each in documents(found, "canary-ingress") if each["kind"] == "Ingress"]
    found.kubectl("apply", "-f", "-", stdin=json.dumps(ingress))
    apply(found, request.param)
    found.wait_until_serving()
    found.wait_for("each of the ingress controller's workers answers", found.answers_steadily)
    yield found
    found.remove()


def sample(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("app", [name], indirect=True)


@sample("inventoryapp")
def test_the_sample_for_rolling_runs_as_it_is(app: Installation) -> None:
    with app.traffic() as traffic, traffic.during("rolling"):
        expect_promoted(app, released(app))


@sample("canary")
def test_the_sample_for_a_canary_by_pods_runs_as_it_is(app: Installation) -> None:
    with app.traffic() as traffic, traffic.during("canary by pods"):
        revision = released(app)
        status = app.wait_until_waiting("AwaitingPromotion")
        assert (status["step"], status["weight"]) == (3, 25)
        assert len(app.pods_of(status["candidateRelease"])) == 1
        app.order("promote", f"{revision}/3")
        promote_at(app, 5, 50)
        expect_promoted(app, revision)
    assert f"{NAME}-{revision}-gate1-1" in app.jobs()


@sample("canary-ingress")
def test_the_sample_for_a_canary_by_ingress_runs_as_it_is(app: Installation) -> None:
    with app.traffic() as traffic, traffic.during("canary by ingress"):
        revision = released(app)
        step(app, 2, 0)
        candidate = app.status["candidateRelease"]
        app.wait_for("who asks gets it", lambda: app.answer("/", **{"X-Candidate": "always"}) == (200, candidate))
        assert app.answer("/") == (200, app.status["stableRelease"])
        promote_at(app, 2, 0)
        promote_at(app, 4, 5)
        promote_at(app, 6, 50)
        expect_promoted(app, revision)
        app.wait_for("it answers", lambda: traffic.released() == candidate)


@sample("blue-green")
def test_the_sample_for_blue_green_runs_as_it_is(app: Installation) -> None:
    with app.traffic() as traffic, traffic.during("blue-green"):
        revision, stable = released(app), app.status["stableRelease"]
        status = app.wait_until_waiting("AwaitingPromotion")
        assert {by for _, by in traffic.answers} == {stable}
        app.order("promote", f"{revision}/2")
        expect_promoted(app, revision)
        app.wait_for("it answers", lambda: traffic.released() == status["candidateRelease"])
    assert len(app.pods_of(stable)) == 2, "the former release is warm"


@sample("analysis")
def test_the_sample_for_analysis_runs_as_it_is(app: Installation) -> None:
    prometheus.start(app)
    with app.traffic() as traffic, traffic.during("canary with analysis"):
        revision = released(app)
        app.wait_for("it is found good", lambda: app.status.get("step") == 3, seconds=240)
        said = app.events("StepDone")[-1]
        assert "error-ratio: 0 (good: at most 0.01), " in said
        assert "database-timeouts: 0 (good: at most 0, bad: at least 10), 4 of 4 good" in said
        app.order("promote-full", str(revision))
        expect_promoted(app, revision)


@sample("contract-and-backup")
def test_the_sample_for_contract_and_backup_runs_as_it_is_and_its_way_back_too(app: Installation) -> None:
    volumes.provide(app.cluster, app.namespace, "inventory-backups")
    with app.traffic() as traffic, traffic.during("contract and backup"):
        revision = released(app, image=app.cluster.image("tightened"))
        expect_promoted(app, revision)
        changed(app, migrations={"contract": {"soakSeconds": 0}})
        app.wait_for("it is contracted", lambda: app.status["schema"]["contract"] == "c9002")
    taken = app.status["history"][0]["backup"]
    apply(app, "contract-and-backup")
    assert f"restore the backup {taken}" in app.wait_until_failed("SchemaIncompatible")["message"]
    number = app.status["operation"]["number"] + 1
    app.order("restore", f"{app.app['metadata']['uid']}/{revision}/{number}")
    app.wait_for("it is restored", lambda: app.status["operation"].get("stage") == "done")
    assert app.wait_until_serving()["schema"]["contract"] == ""


# --- what a person does -----------------------------------------------------------------------------------------------


def apply(place: Installation, name: str) -> None:
    place.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents(place, name)))


def released(app: Installation, **more: object) -> int:
    """Other content is asked for; the revision that it gets."""
    before = app.status["history"][0]["revision"]
    changed(app, config={"NOTE": f"after revision {before}"}, **more)
    app.wait_for("the release begins", lambda: app.status["history"][0]["revision"] > before)
    return int(app.status["history"][0]["revision"])


def changed(app: Installation, **spec: object) -> None:
    app.kubectl("patch", "iapp", NAME, "--type=merge", f"--patch={json.dumps({'spec': spec})}")


def step(app: Installation, number: int, weight: int) -> None:
    """Returns when the release is at a pause that ends by itself."""

    def reached() -> bool:
        status = app.status
        pauses = app.condition("Ready")["reason"] == "Pausing"
        return pauses and (status.get("step"), status.get("weight")) == (number, weight)

    app.wait_for(f"step {number}, with {weight} %", reached)


def promote_at(app: Installation, number: int, weight: int) -> None:
    step(app, number, weight)
    app.order("promote", f"{app.status['candidateRevision']}/{number}")


def expect_promoted(app: Installation, revision: int) -> None:
    def promoted() -> bool:
        status = app.status
        return status.get("stableRevision") == revision and status["phase"] == "Healthy"

    app.wait_for(f"revision {revision} serves", promoted)


# --- what a sample asks for -------------------------------------------------------------------------------------------


def documents(place: Installation, name: str) -> list[Object]:
    references = place.cluster.references
    text = (SAMPLES / f"{name}.yaml").read_text()
    others = {
        "inventory-api:0.1.0": references["api"],
        "docker.io/library/postgres:18": references.get("postgres", "docker.io/library/postgres:18"),
        "http://prometheus-operated.monitoring:9090": prometheus.address(place),
        # Without a host it has all of them: with the chart's first look in the same cluster, the older one gets them.
        "    - http:\n": f"    - host: {place.host}\n      http:\n",
    }
    for ours, here in others.items():
        text = text.replace(ours, here)
    return list(yaml.safe_load_all(text))


def make_secrets(place: Installation, house: Installation) -> None:
    database = place.namespace.replace("-", "_")
    make_database(house, database)
    email, password = house.admin()
    admin = {"INVENTORY_ADMIN_EMAIL": email, "INVENTORY_ADMIN_PASSWORD": password}
    serving = url(house, database, "inventory_app", "INVENTORY_APP_PASSWORD")
    migrating = url(house, database, "inventory_owner", "INVENTORY_OWNER_PASSWORD")
    place.create_secret("inventory-service", INVENTORY_DATABASE_URL=serving, INVENTORY_SECRET_KEY=KEY, **admin)
    place.create_secret("inventory-migrations", INVENTORY_MIGRATION_DATABASE_URL=migrating)
    place.create_secret(f"{NAME}-admin", **admin)  # for whoever lends and returns while a sample runs


def make_database(house: Installation, name: str) -> None:
    """As docs/chart.md says; the roles are there."""
    house.administer(f"CREATE DATABASE {name} OWNER inventory_owner")
    house.administer(
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO inventory_app;"
        "ALTER SCHEMA public OWNER TO inventory_owner",
        database=name,
    )


def url(house: Installation, database: str, role: str, key: str) -> str:
    password = quote(house.secret(f"{NAME}-postgres")[key], safe="")
    return f"postgresql://{role}:{password}@{NAME}-postgres.{house.namespace}:5432/{database}"
