"""Lists: never older than what was seen of the collection before, and no newer than that costs."""

import json
from typing import Any, cast
from urllib.parse import parse_qs

import kopf
import pytest
from inventory_operator import handlers
from inventory_operator.kube import ApiError, Kube
from inventory_operator.model import Object
from inventory_operator.queue import Queue
from kubernetes.aio.client import ApiClient

DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
AT_LEAST = "NotOlderThan"
LABELS = {"inventory.dev/app": "a"}


class Answers:
    """The official client, as far as ours uses it: the API server's answers, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.version = "10"
        self.behind = False
        self.reason = ""
        self.pages: list[list[str]] = []
        """Names on each page that is still to be asked for, of a list in pages."""

    async def param_serialize(self, method: str, path: str, **_: Any) -> tuple[str, str]:
        return method, path

    async def call_api(self, method: str, path: str, **_: Any) -> "Answers":
        self.asked.append((method, path.partition("?")[2]))
        return self

    @property
    def status(self) -> int:
        return 504 if self.behind and AT_LEAST in self.asked[-1][1] else 200

    async def read(self) -> bytes:
        named = self.pages.pop(0) if self.pages else []
        meta = {"resourceVersion": self.version, **({"continue": "the next"} if self.pages else {})}
        return json.dumps({"metadata": meta, "items": [{"metadata": {"name": name}} for name in named]}).encode()

    def asked_for(self) -> str | None:
        """The version that the last list was to have at least; None where it was to be consistent."""
        query = parse_qs(self.asked[-1][1])
        assert query.get("resourceVersionMatch", [AT_LEAST]) == [AT_LEAST]
        return query["resourceVersion"][0] if "resourceVersionMatch" in query else None


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def kube(answers: Answers) -> Kube:
    return Kube(cast(ApiClient, answers))


def of(version: str) -> Object:
    return {"metadata": {"uid": "uid-1", "resourceVersion": version}}


async def test_the_first_list_is_consistent_and_the_next_is_not_older(kube: Kube, answers: Answers) -> None:
    await kube.list(DEPLOYMENTS, "a=b")
    assert answers.asked_for() is None
    await kube.list(DEPLOYMENTS, "a=c")
    assert answers.asked_for() == "10"
    await kube.list("/api/v1/namespaces/shop/pods", "a=b")
    assert answers.asked_for() is None


async def test_one_that_must_be_consistent_is(kube: Kube, answers: Answers) -> None:
    await kube.list(DEPLOYMENTS)
    await kube.list(DEPLOYMENTS, consistent=True)
    assert answers.asked_for() is None


async def test_it_shows_what_was_written_and_what_was_heard(kube: Kube, answers: Answers) -> None:
    await kube.list(DEPLOYMENTS)
    for version, write in (("12", kube.create(DEPLOYMENTS, {})), ("14", kube.patch(f"{DEPLOYMENTS}/a", {}))):
        answers.version = version
        await write
        answers.version = "11"
        await kube.list(DEPLOYMENTS)
        assert answers.asked_for() == version
    for version, most in (("13", "14"), ("16", "16"), ("", "16")):
        kube.heard(DEPLOYMENTS, of(version))
        await kube.list(DEPLOYMENTS)
        assert answers.asked_for() == most


async def test_another_collection_has_versions_of_its_own(kube: Kube, answers: Answers) -> None:
    await kube.list(DEPLOYMENTS)
    answers.version = "20"
    await kube.merge("/apis/inventory.dev/v1alpha1/namespaces/shop/inventoryapps/a/status", {})
    kube.heard("/apis/batch/v1/namespaces/shop/jobs", of("20"))
    await kube.list(DEPLOYMENTS)
    assert answers.asked_for() == "10"


async def test_an_api_server_that_went_back_is_believed(kube: Kube, answers: Answers) -> None:
    """As after etcd was restored from a backup: it answers that the version is too large, after three seconds."""
    await kube.list(DEPLOYMENTS)
    answers.behind, answers.version = True, "5"
    await kube.list(DEPLOYMENTS)
    assert answers.asked_for() is None
    answers.behind = False
    await kube.list(DEPLOYMENTS)
    assert answers.asked_for() == "5"


async def test_only_too_large_a_version_is_asked_past(kube: Kube, answers: Answers) -> None:
    answers.behind = True
    kube.heard(DEPLOYMENTS, of("9"))  # nothing was listed yet
    await kube.list(DEPLOYMENTS)
    answers.behind = False
    await kube.list(DEPLOYMENTS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Answers, "status", 500)
        with pytest.raises(ApiError):
            await kube.list(DEPLOYMENTS)
    assert len(answers.asked) == 3


async def told(kube: Kube, version: str) -> list[object]:
    """What is to be looked at when the watch tells of a Deployment of app a."""
    registry, asked = kopf.OperatorRegistry(), list[object]()
    queue = Queue(cast(Any, None), 0)
    queue.add = lambda key, **_: asked.append(key)  # type: ignore[method-assign]
    handlers.register(registry, queue, kube, handlers.Asked())
    body = kopf.Body({"metadata": {"resourceVersion": version, "uid": "uid-1", "namespace": "shop", "labels": LABELS}})
    resource = kopf.Resource("apps", "v1", "deployments", namespaced=True)
    for handler in registry._watching.get_all_handlers():
        if handler.selector and handler.selector.group == "apps":
            meta = {"namespace": "shop", "labels": body.metadata.labels}
            await cast(Any, handler.fn)(type="MODIFIED", resource=resource, body=body, **meta)
    return asked


async def test_an_event_tells_how_new_the_next_list_has_to_be(kube: Kube, answers: Answers) -> None:
    await kube.list(DEPLOYMENTS)
    assert await told(kube, "17") == [("shop", "a")]
    await kube.list(DEPLOYMENTS)
    assert answers.asked_for() == "17"


async def test_an_answer_that_a_plan_went_on_from_is_no_news(kube: Kube) -> None:
    kube.take(of("17"))
    assert await told(kube, "16") == []
    assert await told(kube, "17") == []
    assert await told(kube, "18") == [("shop", "a")]


async def test_after_an_api_server_went_back_all_is_news(kube: Kube, answers: Answers) -> None:
    await kube.list(DEPLOYMENTS)
    kube.take(of("17"))
    answers.behind = True
    await kube.list(DEPLOYMENTS)
    assert await told(kube, "12") == [("shop", "a")]


async def test_what_came_after_it_is_news_though_the_event_of_it_never_came(kube: Kube) -> None:
    kube.take(of("17"))
    assert await told(kube, "18") == [("shop", "a")]
    assert await told(kube, "17") == [("shop", "a")]  # nothing is held of it any more


async def test_metadata_comes_page_by_page_and_each_before_the_next_is_asked_for(kube: Kube, answers: Answers) -> None:
    answers.pages = [["a", "b"], ["c"]]
    found = [(meta["name"], len(answers.asked)) async for meta in kube.metadata(DEPLOYMENTS)]
    assert found == [("a", 1), ("b", 1), ("c", 2)]
    first, second = (parse_qs(query) for _, query in answers.asked)
    assert "continue" not in first
    assert second["continue"] == ["the next"]
