"""One `helm install` in a namespace of its own, and what a person sees of it and does with it."""

import copy
import http.client
import json
import tempfile
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from inventory_operator.commandline.ownership import difference
from inventory_operator.model import release_content

from tests.cluster import volumes
from tests.cluster.cluster import CHART, CRD_PATH, OVERLAYS, Cluster, Ended
from tests.cluster.kube import Object
from tests.cluster.traffic import Client, Traffic
from tests.cluster.waiting import wait_for

NAME = "inventory"
SERVICE_PODS = f"inventory.dev/app={NAME},app.kubernetes.io/component=service"
JOB_PODS = f"inventory.dev/app={NAME},app.kubernetes.io/component=migration"
OPERATOR_PODS = "app.kubernetes.io/component=operator"
LINES_SHOWN = 40
WORKERS_ASKED = 50
"""A new connection goes to any worker: with so many none of a few is missed."""
T = TypeVar("T")

# Small requests: several installations share a node of two cores.
_TINY = {"requests": {"cpu": "10m", "memory": "64Mi"}}


class Installation:
    def __init__(self, cluster: Cluster, helm: str | Path = "helm", **values: Any) -> None:
        self.cluster = cluster
        self.helm = helm
        self.namespace = f"test-{uuid.uuid4().hex[:8]}"
        self.host = f"{self.namespace}.example"
        self.values = merged(self._first_look(), values)
        self.specs: dict[str, Object] = {}
        """What each release that has served looked like, by its hash."""
        self.helm_revisions: dict[str, int] = {}
        """Helm's own number of it, if it came by Helm."""
        self.removed = False
        self._of_values = ""
        """The hash of the release that the values made."""
        self._taken_over = False
        """kubectl has set fields of the app, and owns what helm doesn't take back; with the same value both own one."""

    def create_namespace(self) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted", "inventory.dev/cluster-tests": "true"},
            },
        }
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def create_secret(self, name: str, **values: str) -> None:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
        self.cluster.kubectl("create", "--namespace", self.namespace, "-f", "-", stdin=json.dumps(body))

    def create_claim(self, name: str) -> None:
        """A PersistentVolumeClaim, and a volume for it. One that is there is kept."""
        path = f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims"
        if self.cluster.kube.get(f"{path}/{name}"):
            return
        volumes.provide(self.cluster, self.namespace, name)
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
        self.cluster.kube.request("POST", path, {"metadata": {"name": name}, "spec": spec})

    # --- what a person does ---------------------------------------------------------------------------------------

    def install_words(self, chart: Path = CHART) -> tuple[str, ...]:
        """`helm install`, as the chart's notes say it: the CRD comes with the cluster's first one alone."""
        skip = ("--skip-crds",) if self.cluster.kube.get(CRD_PATH) else ()
        return ("install", NAME, str(chart), "--namespace", self.namespace, *self._values_file(), *skip)

    def install(self) -> None:
        """Namespace and all; returns when the service serves."""
        if not self.cluster.kube.get(f"/api/v1/namespaces/{self.namespace}"):
            self.create_namespace()
        succeed(self, self.run_helm(*self.install_words(), *self._waiting()))
        self.installed()

    def installed(self) -> Object:
        """The status, once the first release serves and the ingress controller knows of it."""
        status = self.wait_until_serving()
        self.wait_for("each of the ingress controller's workers answers", self.answers_steadily)
        self._made_by_values(status, 1)
        return status

    def upgrade(self, image: str = "", *words: str, wait: bool = True, chart: Path = CHART, **changes: Any) -> Ended:
        """`helm upgrade` to an image, by its release's name or its reference, and to other values.

        They stay for the next upgrade if this one succeeds. With `wait` it returns at the release's end.
        """
        if image:
            known = image in ("base", *OVERLAYS)
            changes["image"] = image_values(self.cluster.image(image) if known else image)
        before, self.values = self.values, merged(self.values, changes)
        forced = ("--force-conflicts",) if self._taken_over else ()
        waiting = self._waiting() if wait else ()
        place = ("upgrade", NAME, str(chart), "--namespace", self.namespace)
        ended = self.run_helm(*place, *self._values_file(), *waiting, *forced, *words)
        if ended.code == 0 and wait:
            self._made_by_values(self.wait_until_serving(), self.helm_revision())
        elif ended.code == 0:
            self._of_values = ""
        else:
            self.values = before
        return ended

    def release(self, image: str = "", **changes: Any) -> None:
        """`helm upgrade` that must succeed."""
        succeed(self, self.upgrade(image, **changes))

    def rollback(self, revision: int) -> Ended:
        forced = ("--force-conflicts",) if self._taken_over else ()
        words = ("rollback", NAME, str(revision), "--namespace", self.namespace)
        return self.run_helm(*words, *self._waiting(), *forced)

    def apply(self, spec: Object) -> None:
        """`kubectl apply` of the InventoryApp."""
        body = {
            "apiVersion": "inventory.dev/v1alpha1",
            "kind": "InventoryApp",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": spec,
        }
        self.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(body))
        self._taken_over = True

    def edit(self, **spec: object) -> None:
        """`kubectl edit`: what is given as None goes. What it adds stays, whatever is applied later."""
        self.cluster.kube.merge(self.app_path, {"spec": spec})
        self._taken_over = True

    def order(self, command: str, value: str) -> None:
        """What a person orders by annotation."""
        self.kubectl("annotate", f"inventoryapp/{NAME}", f"inventory.dev/{command}={value}", "--overwrite")

    def scale_operator(self, replicas: int) -> None:
        """Returns when so many operators are ready, and no other is left."""
        name = f"{NAME}-operator"
        self.kubectl("scale", f"deployment/{name}", f"--replicas={replicas}")

        def scaled() -> bool:
            pods = self.pods(OPERATOR_PODS)
            return len(pods) == replicas and all(is_ready(pod) for pod in pods)

        self.wait_for(f"{replicas} operators", scaled)

    def run_helm(self, *words: str) -> Ended:
        return self.cluster.run(self.helm, *words)

    def kubectl(self, *words: str, stdin: str = "") -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *words, stdin=stdin)

    def remove(self) -> None:
        """Deletes the namespace, and does not wait for its end."""
        self.removed = True
        self._values_path.unlink(missing_ok=True)
        self.cluster.kube.delete(f"/api/v1/namespaces/{self.namespace}")
        volumes.remove(self.cluster, self.namespace)

    # --- what a person sees ---------------------------------------------------------------------------------------

    @property
    def app(self) -> Object:
        """The InventoryApp. Raises AssertionError if there is none."""
        found = self.cluster.kube.get(self.app_path)
        assert found, f"no InventoryApp in {self.namespace}"
        return found

    @property
    def app_path(self) -> str:
        return f"/apis/inventory.dev/v1alpha1/namespaces/{self.namespace}/inventoryapps/{NAME}"

    @property
    def status(self) -> Object:
        found: Object = self.app["status"]
        return found

    def condition(self, kind: str) -> Object:
        found: Object = next(each for each in self.status["conditions"] if each["type"] == kind)
        return found

    def pods(self, selector: str) -> list[Object]:
        return self.cluster.kube.items(f"/api/v1/namespaces/{self.namespace}/pods", selector)

    def pods_of(self, release: str) -> dict[str, int]:
        """UIDs of a release's pods that are there to stay, with how often each was restarted."""
        found = self.pods(f"{SERVICE_PODS},inventory.dev/release={release}")
        return {pod["metadata"]["uid"]: restarts(pod) for pod in found if "deletionTimestamp" not in pod["metadata"]}

    def deployments(self) -> dict[str, Object]:
        """By the release's hash."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        found = self.cluster.kube.items(path, f"inventory.dev/app={NAME}")
        return {each["metadata"]["labels"]["inventory.dev/release"]: each for each in found}

    def former_releases(self) -> list[str]:
        """Hashes of releases that have served, came by Helm, and can be rolled back to at once; newest last.

        None that lacks a field of what serves: Helm leaves what kubectl has set, and so brings back other content.
        """
        present, stable = self.deployments(), self.status.get("stableRelease")
        former = [each for each in self.helm_revisions if each in self.specs and each in present and each != stable]
        serving = release_content(self.app["spec"])
        return [each for each in former if not difference(serving, release_content(self.specs[each])).removed]

    def is_of_its_values(self) -> bool:
        """Whether an upgrade without other values makes no release: nobody has released by another way since."""
        return self.status.get("stableRelease") == self._of_values

    def jobs(self) -> list[str]:
        """Names of the migration Jobs."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        return [each["metadata"]["name"] for each in self.cluster.kube.items(path, f"inventory.dev/app={NAME}")]

    def service_selector(self) -> Object:
        service = self.cluster.kube.get(f"/api/v1/namespaces/{self.namespace}/services/{NAME}")
        assert service
        found: Object = service["spec"]["selector"]
        return found

    def administer(self, sql: str, database: str = "inventory") -> None:
        """What only the superuser of the chart's PostgreSQL can do."""
        psql = ("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--username=postgres", f"--dbname={database}")
        self.kubectl("exec", f"{NAME}-postgres-0", "--", *psql, f"--command={sql}")

    def events(self, reason: str) -> list[str]:
        """The messages of the app's Events with this reason, oldest first."""
        found = self.cluster.kube.items(f"/api/v1/namespaces/{self.namespace}/events")
        return [
            each["message"] for each in found if each["reason"] == reason and each["involvedObject"]["name"] == NAME
        ]

    def secret(self, name: str) -> dict[str, str]:
        found = self.cluster.kube.get(f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
        assert found, f"no Secret {name}"
        return {key: b64decode(value).decode() for key, value in found["data"].items()}

    def admin(self) -> tuple[str, str]:
        """The first user's e-mail address and password."""
        found = self.secret(f"{NAME}-admin")
        return found["INVENTORY_ADMIN_EMAIL"], found["INVENTORY_ADMIN_PASSWORD"]

    def helm_revision(self) -> int:
        ended = self.run_helm("status", NAME, "--namespace", self.namespace, "--output", "json")
        return int(json.loads(ended.output)["version"])

    def expanded(self) -> tuple[str, ...]:
        """The expand migrations that the database has, by the status."""
        return tuple(self.status.get("schema", {}).get("expand", "").split())

    def applied(self, revision: str) -> list[str]:
        """`up` or `down` of each time that the database has seen this migration."""
        return self.query("SELECT direction FROM schema_history WHERE revision = %s ORDER BY id", revision)

    def query(self, sql: str, *parameters: str) -> list[str]:
        """The first column of what the service's role gets to see, asked from one of the service's pods."""
        program = (
            "import os, sys, psycopg2\n"
            "with psycopg2.connect(os.environ['INVENTORY_DATABASE_URL']) as connection:\n"
            "    cursor = connection.cursor()\n"
            "    cursor.execute(sys.argv[1], sys.argv[2:])\n"
            "    for row in cursor:\n"
            "        print(row[0])\n"
        )
        pod = next(pod for pod in self.pods(SERVICE_PODS) if is_ready(pod))
        name = pod["metadata"]["name"]
        return self.kubectl("exec", name, "--", "python3", "-c", program, sql, *parameters).splitlines()

    def answer(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and release of an answer through the ingress; 0 if there is none."""
        address = urlsplit(self.cluster.record.ingress_http)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": self.host, **headers})
            response = connection.getresponse()
            return response.status, response.headers.get("X-Inventory-Release", "")
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether the way through the ingress leads here; until it does, it may lead to an app without a host."""
        status, release = self.answer("/")
        return status == 200 and release in self.deployments()

    def answers_steadily(self) -> bool:
        """Whether every worker of the ingress controller has heard of it, each within a second on its own."""
        return all(self.answers() for _ in range(WORKERS_ASKED))

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The first user, signed in, through the ingress."""
        client = Client(self.cluster.record.ingress_http, self.host)
        try:
            client.sign_in(*self.admin())
            yield client
        finally:
            client.close()

    def traffic(self) -> Traffic:
        return Traffic(self.cluster.record.ingress_http, self.host, *self.admin())

    def pod_path(self, pod: Object) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"

    # --- waiting --------------------------------------------------------------------------------------------------

    def wait_for(self, what: str, condition: Callable[[], T | None], seconds: float = 120) -> T:
        return wait_for(what, condition, seconds, self.describe)

    def wait_until_waiting(self, reason: str) -> Object:
        """The status once the release waits for a person, for this reason."""

        def waits() -> Object | None:
            app = self.app
            status: Object = app["status"]
            seen = status.get("observedGeneration") == app["metadata"]["generation"]
            paused = status.get("phase") == "Paused" and self.condition("Ready")["reason"] == reason
            return status if seen and paused else None

        return self.wait_for(f"the release waits: {reason}", waits)

    def wait_until_serving(self, seconds: float = 180) -> Object:
        """The status once the operator has seen the present spec and its release serves alone."""
        return self.wait_for("the release that the spec asks for serves", self.serving, seconds)

    def serving(self) -> Object | None:
        """The status if what the spec asks for serves, alone and at full strength."""
        app = self.app
        status: Object = app["status"]
        seen = status.get("observedGeneration") == app["metadata"]["generation"]
        if not seen or status.get("phase") != "Healthy":
            return None
        if status["replicas"] != app["spec"]["replicas"] or status["readyReplicas"] != app["spec"]["replicas"]:
            return None
        self.specs[status["stableRelease"]] = app["spec"]
        return status

    def wait_until_at_rest(self) -> None:
        """Returns when pods of former releases are gone, and so nothing but what serves can answer."""
        self.wait_for("the pods that are going are gone", lambda: all(map(is_ready, self.pods(SERVICE_PODS))))

    def wait_until_gone(self) -> None:
        """Returns when a removed installation's namespace has ended."""
        path = f"/api/v1/namespaces/{self.namespace}"
        self.wait_for(f"{self.namespace} is gone", lambda: self.cluster.kube.get(path) is None)

    def wait_until_failed(self, reason: str) -> Object:
        """The status once the release has failed for this reason."""

        def failed() -> Object | None:
            app = self.app
            seen = app["status"].get("observedGeneration") == app["metadata"]["generation"]
            status: Object = app["status"]
            return status if seen and status.get("phase") == "Failed" else None

        status = self.wait_for(f"the release fails: {reason}", failed)
        stalled = self.condition("Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", reason), self.describe()
        return status

    def describe(self) -> str:
        """All that helps to see why something is not as expected."""
        parts = [
            ("get", "inventoryapp", NAME, "-o", "jsonpath={.status}"),
            ("get", "deployments,jobs,pods", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "--selector", OPERATOR_PODS, "--tail=40", "--prefix"),
            ("logs", "--selector", JOB_PODS, "--tail=20", "--prefix"),
        ]
        said = [self.cluster.run("kubectl", "--namespace", self.namespace, *words).said for words in parts]
        newest = ["\n".join(each.splitlines()[-LINES_SHOWN:]) for each in said]
        return "\n\n".join([f"--- {self.namespace}", *newest])

    # --- parts ----------------------------------------------------------------------------------------------------

    def _made_by_values(self, status: Object, helm_revision: int) -> None:
        self._of_values = status["stableRelease"]
        self.helm_revisions[self._of_values] = helm_revision

    def _first_look(self) -> Object:
        references = self.cluster.references
        stores = {
            chart: {"image": image_values(references[image])}
            for chart, image in (("postgres", "postgres"), ("redis", "valkey"))
            if image in references
        }
        return merged(
            {
                "image": image_values(references["api"]),
                "operator": {"image": image_values(references["operator"]), "resources": _TINY},
                "app": {
                    "replicas": 2,
                    # So that no other app in the cluster has a release with the same hash.
                    "config": {"INSTALLATION": self.namespace},
                    "template": {"resources": _TINY},
                    "progressDeadlineSeconds": 120,
                    "imagePullDeadlineSeconds": 60,
                },
                "ingress": {"enabled": True, "className": "nginx", "host": self.host},
                "postgres": {"storage": {"persistent": False}, "resources": _TINY},
                "redis": {"resources": _TINY},
            },
            stores,
        )

    @property
    def _values_path(self) -> Path:
        return Path(tempfile.gettempdir()) / f"inventory-{self.namespace}.json"

    def _values_file(self) -> tuple[str, ...]:
        self._values_path.write_text(json.dumps(self.values, indent=1))
        return ("--values", str(self._values_path))

    def _waiting(self) -> tuple[str, ...]:
        return ("--wait", "--timeout", "5m")


def succeed(app: Installation, ended: Ended) -> None:
    """Raises AssertionError if a program that worked on this app did not end well."""
    assert ended.code == 0, f"{ended.said}\n{app.describe()}"


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Object:
    """Both, maps within maps too; a change wins."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def image_values(reference: str) -> Object:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def restarts(pod: Object) -> int:
    return sum(int(each["restartCount"]) for each in pod["status"].get("containerStatuses", []))
