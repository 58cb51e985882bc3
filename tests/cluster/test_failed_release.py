"""Releases that fail: each is blocked and says why, what serves is left as it is, and a good release goes on top."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.cluster.cluster import Ended
from tests.cluster.installation import Installation

RELEASE = "inventory.dev/release"
SOON_SECONDS = 90
"""Well before helm's time limit of five minutes."""


def test_a_release_whose_migration_fails_is_blocked(app_at_base: Installation) -> None:
    reason = 'migration 9001 failed: column "shelf" of relation "items" contains null values'
    with blocked(app_at_base, "MigrationFailed", reason, lambda: app_at_base.upgrade("broken-migration")):
        assert app_at_base.query("SELECT to_regclass('shelves')") == ["None"]
        assert app_at_base.applied("9001") == []
        app_at_base.release("v2")
    assert app_at_base.applied("9001") == ["up"]


def test_a_release_whose_image_does_not_exist_is_blocked(serving_app: Installation) -> None:
    image = serving_app.cluster.references["api"].rpartition(":")[0] + ":not-there"
    deadline = {"imagePullDeadlineSeconds": 5}
    with blocked(serving_app, "ImagePullFailed", image, lambda: serving_app.upgrade(image, app=deadline)):
        serving_app.release(app={"config": {"NOTE": "after an image that does not exist"}})


def test_a_release_whose_pods_never_get_ready_is_blocked(serving_app: Installation) -> None:
    bad = {"config": {"INVENTORY_ACCESS_TOKEN_SECONDS": "1"}, "progressDeadlineSeconds": 15}
    reason = "INVENTORY_ACCESS_TOKEN_SECONDS"
    with blocked(serving_app, "ProgressDeadlineExceeded", reason, lambda: serving_app.upgrade(app=bad)):
        serving_app.release(app={"config": {"NOTE": "after pods that never got ready"}})


def test_a_release_that_a_quota_refuses_says_so_and_goes_on_once_it_may(serving_app: Installation) -> None:
    app, before = serving_app, serving_app.status
    quota = f"/api/v1/namespaces/{app.namespace}/resourcequotas"
    hard = {"count/deployments.apps": "1"}
    app.cluster.kube.request("POST", quota, {"metadata": {"name": "tight"}, "spec": {"hard": hard}})
    app.wait_for(
        "the quota is counted", lambda: app.cluster.kube.request("GET", f"{quota}/tight")["status"].get("used")
    )
    with app.traffic() as traffic:
        with traffic.during("a release that a quota refuses"):
            ended = app.upgrade(app={"config": {"NOTE": "more than the quota"}})
            status = app.wait_until_failed("Refused")
        assert ended.code != 0
        assert "exceeded quota: tight" in status["message"]
        assert status["stableRevision"] == before["stableRevision"]
        app.cluster.kube.delete(f"{quota}/tight")
        with traffic.during("the same release without the quota"):
            after = app.wait_until_serving()
    assert after["stableRevision"] == before["stableRevision"] + 1


@contextmanager
def blocked(app: Installation, reason: str, sentence: str, release: Callable[[], Ended]) -> Iterator[None]:
    """A release that must fail, under traffic that goes on through the good release in the block."""
    before = app.status
    stable = before["stableRelease"]
    pods = app.pods_of(stable)
    with app.traffic() as traffic:
        with traffic.during(f"a release that ends as {reason}"):
            ended = release()
            status = app.wait_until_failed(reason)
            app.wait_for("the stable release serves alone", lambda: app.service_selector().get(RELEASE) == stable)
        assert ended.code != 0, ended.said
        assert ended.seconds < SOON_SECONDS
        assert sentence in status["message"], status["message"]
        assert sentence in app.condition("Stalled")["message"]
        assert status["stableRevision"] == before["stableRevision"]
        assert app.pods_of(stable) == pods
        assert {release for _, release in traffic.answers} == {stable}
        with traffic.during("a good release on top"):
            yield
        after = app.wait_until_serving()
        assert after["stableRevision"] == before["history"][0]["revision"] + 2
        app.wait_for("it answers", lambda: traffic.released() == after["stableRelease"])
