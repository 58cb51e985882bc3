"""Releases with a migration, and the way back, under steady traffic."""

from tests.cluster.cluster import EXPANDS
from tests.cluster.installation import NAME, Installation, succeed
from tests.cluster.traffic import Traffic


def test_a_release_with_a_migration_by_helm_upgrade_fails_no_request(app_at_base: Installation) -> None:
    app, before = app_at_base, app_at_base.status
    with app.traffic() as traffic, traffic.during("helm upgrade to v2"):
        succeed(app, app.upgrade("v2"))
        release = expect_serving(app, traffic, app.cluster.image("v2"), before["stableRevision"] + 1)
    assert {each for _, each in traffic.answers} == {before["stableRelease"], release}
    assert app.expanded() == (*EXPANDS, "9001")
    assert app.applied("9001") == ["up"]


def test_a_release_with_a_migration_by_kubectl_apply_fails_no_request(app_at_v2: Installation) -> None:
    app, before = app_at_v2, app_at_v2.status
    with app.traffic() as traffic, traffic.during("kubectl apply of v3"):
        app.apply({**app.app["spec"], "image": app.cluster.image("v3")})
        app.kubectl("wait", "--for=condition=Ready", f"inventoryapp/{NAME}", "--timeout=3m")
        release = expect_serving(app, traffic, app.cluster.image("v3"), before["stableRevision"] + 1)
    assert {each for _, each in traffic.answers} == {before["stableRelease"], release}
    assert app.expanded() == (*EXPANDS, "9001", "9002")
    assert app.applied("9002") == ["up"]


def test_helm_rollback_is_instant_and_fails_no_request(app_with_a_past: Installation) -> None:
    app, before, jobs = app_with_a_past, app_with_a_past.status, app_with_a_past.jobs()
    former = app.former_releases()[-1]
    uid = app.deployments()[former]["metadata"]["uid"]
    with app.traffic() as traffic, traffic.during("helm rollback"):
        succeed(app, app.rollback(app.helm_revisions[former]))
        release = expect_serving(app, traffic, app.specs[former]["image"], before["stableRevision"] + 1)
    assert release == former
    assert app.deployments()[former]["metadata"]["uid"] == uid
    assert set(app.jobs()) <= set(jobs)


def test_applying_old_content_is_a_rollback_and_fails_no_request(app_with_a_past: Installation) -> None:
    app, before, jobs = app_with_a_past, app_with_a_past.status, app_with_a_past.jobs()
    former = app.former_releases()[-1]
    uid = app.deployments()[former]["metadata"]["uid"]
    with app.traffic() as traffic, traffic.during("kubectl apply of what served before"):
        app.apply(app.specs[former])
        release = expect_serving(app, traffic, app.specs[former]["image"], before["stableRevision"] + 1)
    assert release == former
    assert app.deployments()[former]["metadata"]["uid"] == uid
    assert set(app.jobs()) <= set(jobs)


def test_releases_beyond_the_history_limit_go_with_their_jobs(serving_app: Installation) -> None:
    app, spec = serving_app, serving_app.app["spec"]
    app.apply({**spec, "config": {**spec["config"], "NOTE": "without a past"}, "revisionHistoryLimit": 0})
    status = app.wait_until_serving()
    app.wait_for("the others are gone", lambda: list(app.deployments()) == [status["stableRelease"]])
    app.wait_for("so are their Jobs", lambda: app.jobs() == [f"{NAME}-{status['stableRevision']}-expand-1"])
    app.apply({**app.app["spec"], "revisionHistoryLimit": spec["revisionHistoryLimit"]})


def expect_serving(app: Installation, traffic: Traffic, image: str, revision: int) -> str:
    """The hash of the release that must serve now, alone."""
    status = app.wait_until_serving()
    release = str(status["stableRelease"])
    assert status["stableRevision"] == revision
    assert status["history"][0]["image"] == image
    app.wait_for(f"{image} answers", lambda: traffic.released() == release)
    assert app.service_selector()["inventory.dev/release"] == release
    return release
