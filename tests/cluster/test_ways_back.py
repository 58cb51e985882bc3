"""Backup, contract, the rollback that it shuts out, and each of the ways back, on a real database."""

import re
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.cluster import EXPANDS, Cluster
from tests.cluster.installation import NAME, Installation, succeed
from tests.cluster.installations import Installations
from tests.cluster.kube import Object

CLAIM = "backups"
ENOUGH = 40
"""Answers that show that the service serves."""


@pytest.fixture
def tightened(installations: Installations) -> Installation:
    """Its release has a contract migration, which shuts the one before it out and declares itself lossless.

    It waits for an order, and backs up first. Helm's revision 1 is the release before.
    """
    return at_tightened(installations, lambda app: not app.status["schema"]["contract"])


@pytest.fixture
def contracted(installations: Installations) -> Installation:
    """The same, after that contract."""
    app = at_tightened(installations, lambda app: not app.status["schema"]["contract"] or "backup" in serving(app))
    if not app.status["schema"]["contract"]:
        with app.traffic() as traffic, traffic.during("a backup and a contract by order"):
            app.order("contract", ordered("contract", app.status["message"]))
            app.wait_for("it is contracted", lambda: app.status["schema"]["contract"] == "c9002")
            app.wait_until_serving()
    return app


@pytest.fixture
def cloudnativepg(cluster: Cluster) -> Iterator[None]:
    """The CRD of its Backups, and not its controller."""
    file = cluster.tool("cloudnativepg-crds") / "postgresql.cnpg.io_backups.yaml"
    with cluster.foreign_crds(file, "backups.postgresql.cnpg.io"):
        yield


def test_a_backup_that_fails_stops_the_contract_and_says_so(tightened: Installation) -> None:
    app, before = tightened, tightened.applied("c9002")
    order = ordered("contract", app.status["message"])
    app.administer("CREATE TABLE not_for_the_owner (id int)")
    try:
        with app.traffic() as traffic, traffic.during("a contract whose backup fails"):
            app.order("contract", order)
            failed = app.wait_for("the contract fails", lambda: operation(app, order, "failed"))
            app.wait_until_serving()
    finally:
        app.administer("DROP TABLE not_for_the_owner")
    assert failed["message"].startswith("no contract without its backup: ")
    assert "permission denied for table not_for_the_owner" in failed["message"]
    assert failed["message"] in app.events("ContractFailed")[-1]
    assert app.applied("c9002") == before
    assert "backup" not in app.status["history"][0]
    assert ordered("contract", app.status["message"]) != order, "the next one is told"


def test_a_rollback_past_a_contract_is_refused_and_the_release_that_it_names_serves_at_once(
    contracted: Installation,
) -> None:
    app, before = contracted, contracted.status
    pods = app.pods_of(before["stableRelease"])
    with app.traffic() as traffic, traffic.during("a rollback that is refused, and what is to be applied instead"):
        status = refused_rollback(app)
        found = re.search(r"apply revision (\d+) \((\S+)\), which runs on this schema", status["message"])
        assert found, status["message"]
        [named] = [each for each in status["history"] if each["revision"] == int(found[1])]
        assert named["image"] == found[2]
        jobs = app.jobs()
        succeed(app, app.rollback(app.helm_revisions[named["release"]]))
        after = app.wait_until_serving()
    assert after["stableRelease"] == named["release"]
    assert set(app.jobs()) <= set(jobs), "no Job is needed; one of a number that is past may be forgotten"
    assert app.pods_of(named["release"]) == pods
    assert {by for _, by in traffic.answers} == {named["release"]}


def test_a_rollback_past_a_contract_is_refused_and_a_downgrade_makes_way_for_it(contracted: Installation) -> None:
    app, before = contracted, contracted.applied("c9002")
    with app.traffic() as traffic:
        with traffic.during("a rollback that is refused"):
            status = refused_rollback(app)
        with traffic.during("the downgrade, and the rollback after it"):
            app.order("downgrade", ordered("downgrade", status["message"]))
            after = app.wait_until_serving()
    assert app.applied("c9002") == [*before, "down"]
    expect_former_release(app, after, status)


def test_a_rollback_past_a_contract_is_refused_and_a_restore_makes_way_for_it(contracted: Installation) -> None:
    app, before = contracted, contracted.applied("c9002")
    taken = serving(app)["backup"]
    assert taken.startswith(f"{CLAIM}/{NAME}-")
    early = app.query("SELECT sku FROM items ORDER BY id")
    late = uuid.uuid4().hex
    with app.client() as client:
        client.call("POST", "/api/v1/items", {"name": "later", "sku": late, "quantity": 1}, expect=201)
    with app.traffic() as traffic, traffic.during("a rollback that is refused"):
        status = refused_rollback(app)
        assert f"restore the backup {taken} by the order" in status["message"]
    order = ordered("restore", status["message"])
    app.order("restore", order)
    app.wait_for("it is restored", lambda: operation(app, order, "done"))
    after = app.wait_until_serving()
    app.wait_for("each of the ingress controller's workers answers", app.answers_steadily)
    with app.traffic() as traffic, traffic.during("steady traffic after a restore"):
        app.wait_for("it serves", lambda: len(traffic.answers) >= ENOUGH)
        assert {release for _, release in traffic.answers} == {after["stableRelease"]}
    expect_former_release(app, after, status)
    assert app.applied("c9002") == before[:-1], "the database is as it was before the contract"
    kept = app.query("SELECT sku FROM items ORDER BY id")
    assert early == kept[: len(early)]
    assert late not in kept


def test_orders_that_were_given_once_are_not_carried_out_again(contracted: Installation) -> None:
    app = contracted
    jobs, applied = app.jobs(), app.applied("c9002")
    order = app.app["metadata"]["annotations"]["inventory.dev/contract"]
    app.kubectl("annotate", f"inventoryapp/{NAME}", "inventory.dev/contract-")
    app.order("contract", order)
    found = app.wait_for("it is said", lambda: [c for c in app.status.get("commands", ()) if c["value"] == order])
    assert [each["state"] for each in found] == ["Done"]
    assert app.jobs() == jobs
    assert app.applied("c9002") == applied
    succeed(app, app.upgrade(app={"config": {"NOTE": "a release after a contract"}}))


def test_a_contract_waits_for_a_backup_by_cloudnativepg(tightened: Installation, cloudnativepg: None) -> None:
    """What its controller would say of the Backup is said here."""
    app = tightened
    instead = {"volumeClaim": None, "image": None, "cloudNativePG": {"cluster": "pg", "method": "volumeSnapshot"}}
    app.cluster.kube.merge(app.app_path, {"spec": {"migrations": {"backup": instead}}})

    def backed_up(phase: str, **more: str) -> str:
        """Orders the contract, and ends its Backup, whose name this is."""
        order = ordered("contract", app.status["message"])
        app.order("contract", order)
        number, revision = order.rpartition("/")[2], app.status["stableRevision"]
        name = f"{NAME}-{revision}-backup{number}-1"
        path = f"/apis/postgresql.cnpg.io/v1/namespaces/{app.namespace}/backups/{name}"
        made = app.wait_for("the Backup is made", lambda: app.cluster.kube.get(path))
        assert (made["spec"]["cluster"], made["spec"]["method"]) == ({"name": "pg"}, "volumeSnapshot")
        app.cluster.kube.merge(f"{path}/status", {"status": {"phase": phase, **more}})
        app.wait_for("it is over", lambda: operation(app, order, "done") or operation(app, order, "failed"))
        app.wait_until_serving()
        return name

    with app.traffic() as traffic, traffic.during("contracts with a Backup of CloudNativePG"):
        backed_up("failed", error="no space left")
        assert "no contract without its backup: " in app.status["operation"]["message"]
        assert app.status["operation"]["message"].endswith("no space left")
        name = backed_up("completed")
    assert app.status["history"][0]["backup"].endswith(name)
    assert app.status["schema"]["contract"] == "c9002"


def at_tightened(installations: Installations, fits: Callable[[Installation], bool]) -> Installation:
    backs_up_first = {"migrations": {"backup": backup(installations.cluster)}}
    app = installations.serving(lambda app: backs_up(app) and fits(app), app=backs_up_first)
    app.create_claim(CLAIM)
    if app.app["spec"]["image"] != app.cluster.image("tightened"):
        app.release("tightened")
        app.wait_until_at_rest()
    return app


def serving(app: Installation) -> Object:
    """The release that serves, as the history has it."""
    found: Object = next(each for each in app.status["history"] if each["outcome"] == "Stable")
    return found


def refused_rollback(app: Installation) -> Object:
    """The status with the three ways back, none of which is taken."""
    before = app.status
    assert app.rollback(1).code != 0
    status = app.wait_until_failed("SchemaIncompatible")
    assert status["stableRelease"] == before["stableRelease"]
    assert f"apply revision {before['stableRevision']}" in status["message"]
    uid, revision = app.app["metadata"]["uid"], status["candidateRevision"]
    assert ordered("downgrade", status["message"]).startswith(f"{uid}/{revision}/")
    assert ordered("restore", status["message"]).startswith(f"{uid}/{before['stableRevision']}/")
    return status


def expect_former_release(app: Installation, after: Object, refused: Object) -> None:
    assert after["stableRevision"] == refused["candidateRevision"] + 1
    assert after["history"][0]["image"] == app.cluster.image("base")
    assert app.expanded() == (*EXPANDS, "9001")


def backup(cluster: Cluster) -> Object:
    image = {"image": cluster.references["postgres"]} if "postgres" in cluster.references else {}
    return {"volumeClaim": CLAIM, **image}


def backs_up(app: Installation) -> bool:
    return "volumeClaim" in app.app["spec"]["migrations"].get("backup", {})


def ordered(command: str, message: str) -> str:
    """The value of the order that a message has ready to copy."""
    found = re.search(rf"inventory\.dev/{command}=([\w/-]+)", message)
    assert found, message
    return found[1]


def operation(app: Installation, order: str, stage: str) -> Object | None:
    """What an order has begun, once it has come to this stage."""
    found: Object = app.status.get("operation", {})
    return found if found.get("number") == int(order.rpartition("/")[2]) and found["stage"] == stage else None
