"""Contract, the rollback that it shuts out, and each of the ways back, on a real database."""

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import EXPANDS
from tests.cluster.installation import NAME, Installation, succeed
from tests.cluster.installations import Installations


@pytest.fixture
def contracted(installations: Installations) -> Iterator[Installation]:
    """Revision 2 serves, which has a contract migration that shuts revision 1 out, and declares itself lossless."""
    app = installations.new()
    app.install()
    app.release("tightened")
    app.wait_until_at_rest()
    status = app.status
    uid = app.app["metadata"]["uid"]
    assert f"waits for the order inventory.dev/contract={uid}/2/1" in status["message"]
    with app.traffic() as traffic, traffic.during("a contract by order"):
        app.order("contract", f"{uid}/2/1")
        app.wait_for("it is contracted", lambda: app.applied("c9002") == ["up"])
        app.wait_for("the operator knows", lambda: app.status["schema"].get("contract") == "c9002")
        app.wait_until_serving()
    yield app
    app.remove()


def test_a_rollback_past_a_contract_is_refused_and_a_downgrade_makes_way_for_it(contracted: Installation) -> None:
    app = contracted
    uid = app.app["metadata"]["uid"]
    serving = app.status["stableRelease"]
    with app.traffic() as traffic:
        with traffic.during("a rollback that is refused"):
            ended = app.rollback(1)
            assert ended.code != 0
            status = app.wait_until_failed("SchemaIncompatible")
            assert status["stableRelease"] == serving
            assert "apply revision 2" in status["message"]
            down = f"inventory.dev/downgrade={uid}/{status['candidateRevision']}/2"
            assert down in status["message"]
            assert "restore a backup" in status["message"]
        with traffic.during("the downgrade, and the rollback after it"):
            app.order("downgrade", down.partition("=")[2])
            after = app.wait_until_serving()
    assert app.applied("c9002") == ["up", "down"]
    assert after["stableRevision"] == status["candidateRevision"] + 1
    assert after["history"][0]["image"] == app.cluster.image("base")
    assert app.expanded() == (*EXPANDS, "9001")


def test_orders_that_were_given_once_are_not_carried_out_again(contracted: Installation) -> None:
    app = contracted
    jobs = app.jobs()
    app.kubectl("annotate", f"inventoryapp/{NAME}", "inventory.dev/contract-")
    app.order("contract", f"{app.app['metadata']['uid']}/2/1")
    states = app.wait_for("it is said", lambda: [c["state"] for c in app.status.get("commands", ())])
    assert states == ["Done"]
    assert app.jobs() == jobs
    assert app.applied("c9002") == ["up"]
    succeed(app, app.upgrade(app={"config": {"NOTE": "a release after a contract"}}))
