"""Who calls, as the service sees it through the ingress: by the chart's own values, and whatever a caller writes."""

import json
import uuid
from dataclasses import dataclass

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.installation import SERVICE_PODS, Installation
from tests.cluster.kube import Object

CONTROLLER = "app.kubernetes.io/name=ingress-nginx,app.kubernetes.io/component=controller"
ELSEWHERE = "203.0.113.7"
ITS_OWN = "127.0.0.1"
# A wrong sign-in counts for the address that it comes from; and for whom it is tried, who is another one each time.
PROGRAM = """
import http.client, json, sys
host, port, who, headers = json.loads(sys.argv[1])
connection = http.client.HTTPConnection(host, port, timeout=10)
body = json.dumps({"email": who + "@example.com", "password": "wrong"})
connection.request("POST", "/api/v1/auth/token", body, headers)
answer = connection.getresponse()
print(json.dumps([answer.status, answer.getheader("RateLimit"), answer.read().decode()]))
"""


@dataclass(frozen=True)
class Seen:
    """What came of a request: its caller as the log has it, and how many more sign-ins are left to that caller."""

    client: str
    left: int


@pytest.fixture
def callers(serving_app: Installation) -> tuple[Object, Object]:
    """Two pods, which call from addresses of their own."""
    first, second = serving_app.pods(SERVICE_PODS)[:2]
    return first, second


def test_the_service_sees_the_address_of_who_calls(serving_app: Installation, callers: tuple[Object, Object]) -> None:
    for caller in callers:
        assert guess(serving_app, caller).client == caller["status"]["podIP"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": ELSEWHERE},
        {"X-Forwarded-For": f"{ELSEWHERE}, 10.0.0.1"},
        {"X-Real-IP": ELSEWHERE},
        {"Forwarded": f"for={ELSEWHERE}"},
        {"X-Original-Forwarded-For": ELSEWHERE},
        {"X-Forwarded-For": ITS_OWN},
    ],
)
def test_what_a_caller_writes_makes_it_no_other(
    serving_app: Installation, callers: tuple[Object, Object], headers: dict[str, str]
) -> None:
    assert guess(serving_app, callers[0], **headers).client == callers[0]["status"]["podIP"]


def test_what_one_caller_may_do_is_not_used_up_by_another(
    serving_app: Installation, callers: tuple[Object, Object]
) -> None:
    """Each pod may have got a few of a caller's requests beforehand, so what is left is not told to the last one."""
    first, second = callers
    before = guess(serving_app, second).left
    used = [guess(serving_app, first, **{"X-Forwarded-For": f"198.51.100.{number}"}).left for number in range(1, 13)]

    assert used[-1] < used[0] - 3
    assert guess(serving_app, second).left > before - 6


def guess(app: Installation, caller: Object, **headers: str) -> Seen:
    """A sign-in from a pod, through the ingress, that is refused."""
    request = uuid.uuid4().hex
    given = {"Host": app.host, "Content-Type": "application/json", "X-Request-ID": request, **headers}
    target = json.dumps([*ingress(app.cluster), request, given])
    said = app.kubectl("exec", caller["metadata"]["name"], "--", "python3", "-c", PROGRAM, target)
    status, limit, body = json.loads(said)
    assert status == 401, body
    left = limit.split(";")[1].removeprefix("r=")
    return Seen(client_of(app, request), int(left))


def ingress(cluster: Cluster) -> tuple[str, int]:
    """Address and port of the ingress controller within the cluster."""
    controller = cluster.kube.items("/api/v1/pods", CONTROLLER)[0]
    arguments = controller["spec"]["containers"][0]["args"]
    ports = [each.removeprefix("--http-port=") for each in arguments if each.startswith("--http-port=")]
    return controller["status"]["podIP"], int(ports[0]) if ports else 80


def client_of(app: Installation, request: str) -> str:
    """The caller in the log line of a request."""

    def line() -> Object | None:
        logs = [app.cluster.kube.log(app.pod_path(pod)) for pod in app.pods(SERVICE_PODS)]
        lines = [json.loads(text) for log in logs for text in log.splitlines() if request in text]
        return next((found for found in lines if found["event"] == "request"), None)

    client: str = app.wait_for("the request is in the log", line)["client"]
    return client
