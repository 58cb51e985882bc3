"""An installation whose operator runs on this machine, and which can be brought back to where it was."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.chaos.end_state import differences, end_state, found
from tests.cluster.chaos.process import NEVER, OperatorProcess
from tests.cluster.cluster import Cluster
from tests.cluster.installation import JOB_PODS, NAME, SERVICE_PODS, Installation, is_ready, succeed
from tests.cluster.kube import Object

RELEASES = ("base", "v2", "v3", "tightened", "broken-migration")
STORE = f"{NAME}-postgres-0"
REST_SECONDS = 6.0
"""A release under way is looked at every 5 s at least: who has written nothing for so long has nothing to write."""
END_SECONDS = 180
"""For an operator that has to be started again for each of its writes, too."""
# Only what a person would write: the rest of an object is the cluster's.
META = ("name", "namespace", "labels", "annotations", "ownerReferences")
_SCHEMA = """
SELECT concat_ws(' ', 'applied', revision, history, direction, checksum, release) FROM schema_history ORDER BY id;
SELECT concat_ws(' ', 'column', table_name, column_name, data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, column_name;
SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY conrelid::regclass::text, conname;
SELECT concat_ws(' ', 'index', indexdef) FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexdef
"""


@dataclass(frozen=True)
class Kept:
    """A state that was reached undisturbed; `database` is what its copy is called."""

    database: str
    objects: Object
    state: Object


class Stage:
    def __init__(self, cluster: Cluster) -> None:
        # The chart's own operator finds no room on any node, and so leaves the app to the one that runs here.
        huge = {"requests": {"cpu": "1000"}}
        self.app = Installation(cluster, redis={"enabled": False}, operator={"resources": huge})
        self.images = {cluster.image(release): release for release in RELEASES}
        self._folder = Path(tempfile.mkdtemp(prefix=f"inventory-chaos-{self.app.namespace}-"))
        self.operator = OperatorProcess(self.app.namespace, self._folder / "kubeconfig", self._folder)
        self.spec: Object = {}

    def set_up(self) -> Kept:
        """The chart's objects and an empty database, and no InventoryApp."""
        app = self.app
        app.create_namespace()
        succeed(app, app.run_helm(*app.install_words()))
        store = f"/api/v1/namespaces/{app.namespace}/pods/{STORE}"
        app.wait_for("the database answers", lambda: is_ready(app.cluster.kube.get(store) or {"status": {}}))
        self.spec = app.app["spec"]
        (self._folder / "kubeconfig").write_text(json.dumps(self._credentials()))
        self._remove_app()
        return self.keep("nothing")

    def remove(self) -> None:
        self.operator.stop()
        self.app.remove()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- there and back -------------------------------------------------------------------------------------------

    def keep(self, name: str) -> Kept:
        """What there is now, so that it can be had again."""
        self.operator.stop()
        copy = f"kept_{name.replace(' ', '_')}"
        self._sql(
            "ALTER DATABASE inventory ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'inventory'",
            f"DROP DATABASE IF EXISTS {copy}",
            f"CREATE DATABASE {copy} TEMPLATE inventory",
            "ALTER DATABASE inventory ALLOW_CONNECTIONS true",
        )
        objects = found(self.app)
        return Kept(copy, objects, end_state(objects, self.images))

    def bring_back(self, kept: Kept) -> None:
        """Returns when all is as it was, with an operator at work that finds nothing to do."""
        self.operator.stop()
        self._remove_what_is_new(kept)
        self._bring_back_database(kept)
        if kept.objects["app"] is None:
            self._remove_app()
        else:
            self._bring_back_app(kept.objects["app"])
            for job in kept.objects["jobs"]:
                self._bring_back_job(job)
            for deployment in kept.objects["deployments"]:
                self._bring_back_object("apis/apps/v1", "deployments", deployment)
            for service in kept.objects["services"]:
                self._bring_back_service(service)
            for ingress in kept.objects["ingresses"]:
                self._bring_back_object("apis/networking.k8s.io/v1", "ingresses", ingress)
        self.app.cluster.kube.delete(f"/api/v1/namespaces/{self.app.namespace}/events")
        self._end_pods(kept)
        self.operator.doom(NEVER)
        self.operator.start()
        if kept.objects["app"] is not None:
            self.wait_until_same(kept.state, seconds=1)
            self.app.wait_for("each of the ingress controller's workers answers", self.app.answers_steadily)

    def wait_until_same(self, state: Object, seconds: float) -> None:
        """Returns when what there is is this, and nothing was written for so many seconds."""
        try:
            self.app.wait_for(
                "the end is as it must be",
                lambda: self.rests(seconds) and not self.differences(state),
                END_SECONDS,
            )
        except AssertionError as error:
            different = self.differences(state) or ["it is, but the operator goes on writing"]
            raise AssertionError("\n".join([*different, str(error), self.operator.last_words()])) from error

    def wait_until_at_rest(self, what: str, reached: Callable[[], object]) -> None:
        """Returns when this is reached, and nothing was written for a while."""
        self.app.wait_for(what, lambda: self.rests(REST_SECONDS) and reached())

    def rests(self, seconds: float) -> bool:
        """Raises AssertionError if the operator has ended by itself."""
        assert not self.operator.broken, self.operator.broken
        return self.operator.quiet(seconds)

    def differences(self, state: Object) -> list[str]:
        return differences(state, self.state())

    def state(self) -> Object:
        return end_state(found(self.app), self.images)

    def schema(self) -> list[str]:
        """What the database has seen, in order, and what it has now; a line each."""
        return self._sql(_SCHEMA, database="inventory")

    # --- parts ----------------------------------------------------------------------------------------------------

    def _credentials(self) -> Object:
        """A kubeconfig with the rights of the chart's operator, and no others."""
        shown = self.app.cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output", "json")
        kubeconfig: Object = json.loads(shown)
        token = self.app.kubectl("create", "token", f"{NAME}-operator", "--duration=24h").strip()
        for user in kubeconfig["users"]:
            user["user"] = {"token": token}
        return kubeconfig

    def _sql(self, *statements: str, database: str = "postgres") -> list[str]:
        words = [word for each in statements for word in ("--command", each)]
        psql = ("psql", "--username", "postgres", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet")
        said = self.app.kubectl("exec", STORE, "--", *psql, "--set=ON_ERROR_STOP=1", f"--dbname={database}", *words)
        return said.splitlines()

    def _bring_back_database(self, kept: Kept) -> None:
        """A copy has neither the owner nor the rights of what was copied: they are those of the chart's roles.sh."""
        self._sql(
            "DROP DATABASE inventory WITH (FORCE)",
            f"CREATE DATABASE inventory TEMPLATE {kept.database} OWNER inventory_owner",
            "REVOKE ALL ON DATABASE inventory FROM PUBLIC",
            "GRANT CONNECT ON DATABASE inventory TO inventory_app",
        )

    def _remove_app(self) -> None:
        """With all that belongs to it."""
        self.app.cluster.kube.delete(self.app.app_path)

        def gone() -> bool:
            for pod in (*self.app.pods(SERVICE_PODS), *self.app.pods(JOB_PODS)):
                self.app.cluster.kube.delete(self.app.pod_path(pod), at_once=True)
            objects = found(self.app)
            left = [each for kind in ("deployments", "jobs", "services", "ingresses") for each in objects[kind]]
            return not left and objects["app"] is None and not self._replica_sets() and not self._pods()

        self.app.wait_for("the InventoryApp is gone, and all with it", gone)

    def _bring_back_app(self, kept: Object) -> None:
        kube, path = self.app.cluster.kube, self.app.app_path
        now = self.app.app
        meta = {**now["metadata"], "annotations": kept["metadata"].get("annotations") or {}}
        now = kube.request("PUT", path, {**now, "metadata": meta, "spec": kept["spec"]})
        status = {**kept["status"], "observedGeneration": now["metadata"]["generation"]}
        for condition in status["conditions"]:
            condition["observedGeneration"] = now["metadata"]["generation"]
        kube.request("PUT", f"{path}/status", {**now, "status": status})

    def _bring_back_object(self, api: str, plural: str, kept: Object) -> None:
        kube = self.app.cluster.kube
        place = f"/{api}/namespaces/{self.app.namespace}/{plural}"
        path = f"{place}/{kept['metadata']['name']}"
        meta = {key: kept["metadata"][key] for key in META if key in kept["metadata"]}
        body = {**{key: kept[key] for key in ("spec",)}, "metadata": meta}
        if kube.get(path):
            kube.request("PUT", path, body)
        else:
            kube.request("POST", place, body)

    def _bring_back_service(self, kept: Object) -> None:
        kube = self.app.cluster.kube
        place = f"/api/v1/namespaces/{self.app.namespace}/services"
        path, selector = f"{place}/{kept['metadata']['name']}", kept["spec"]["selector"]
        if kube.get(path):
            release = "inventory.dev/release"
            kube.merge(path, {"spec": {"selector": {release: None, **selector}}})
        else:
            meta = {key: kept["metadata"][key] for key in META if key in kept["metadata"]}
            spec = {"selector": selector, "ports": kept["spec"]["ports"]}
            kube.request("POST", place, {"metadata": meta, "spec": spec})

    def can_bring_back(self, kept: Kept) -> bool:
        """Whether what there was belongs to the InventoryApp that there is, or there was none."""
        app, now = kept.objects["app"], self.app.cluster.kube.get(self.app.app_path)
        return app is None or (now is not None and app["metadata"]["uid"] == now["metadata"]["uid"])

    def _bring_back_job(self, kept: Object) -> None:
        """One that has ended, without its pods: it does not run again."""
        kube = self.app.cluster.kube
        place = f"/apis/batch/v1/namespaces/{self.app.namespace}/jobs"
        path = f"{place}/{kept['metadata']['name']}"
        now = kube.get(path)
        if now and "deletionTimestamp" not in now["metadata"]:
            return
        self.app.wait_for("the Job of that name is gone", lambda: kube.get(path) is None)
        labels = {key: value for key, value in kept["spec"]["template"]["metadata"]["labels"].items() if _is_ours(key)}
        template = {**kept["spec"]["template"], "metadata": {"labels": labels}}
        spec = {key: value for key, value in kept["spec"].items() if key != "selector"}
        meta = {key: kept["metadata"][key] for key in META if key in kept["metadata"]}
        meta["labels"] = {key: value for key, value in meta["labels"].items() if _is_ours(key)}
        meta["annotations"] = {}
        # Suspended until it has its end, or the cluster would begin it.
        kube.request("POST", place, {"metadata": meta, "spec": {**spec, "template": template, "suspend": True}})
        kube.merge(f"{path}/status", {"status": kept["status"]})
        kube.merge(path, {"spec": {"suspend": False}})

    def _remove_what_is_new(self, kept: Kept) -> None:
        kinds = {
            "jobs": "apis/batch/v1",
            "deployments": "apis/apps/v1",
            "services": "api/v1",
            "ingresses": "apis/networking.k8s.io/v1",
        }
        objects = found(self.app)
        for kind, api in kinds.items():
            before = {each["metadata"]["name"] for each in kept.objects[kind]}
            now = {each["metadata"]["name"] for each in objects[kind]}
            for name in now - before:
                self.app.cluster.kube.delete(f"/{api}/namespaces/{self.app.namespace}/{kind}/{name}")

    def _end_pods(self, kept: Kept) -> None:
        """Those that are on their way out, at once; returns when only those are left that belong to what there is."""
        releases = {each["metadata"]["labels"]["inventory.dev/release"] for each in kept.objects["deployments"]}
        jobs = {each["metadata"]["name"] for each in kept.objects["jobs"]}

        def ended() -> bool:
            leaving = [
                pod
                for pod in self._pods()
                if "deletionTimestamp" in pod["metadata"]
                or not {*releases, *jobs} & {*pod["metadata"]["labels"].values()}
            ]
            for pod in leaving:
                self.app.cluster.kube.delete(self.app.pod_path(pod), at_once=True)
            old = {each["metadata"]["labels"]["inventory.dev/release"] for each in self._replica_sets()} - releases
            return not leaving and not old

        self.app.wait_for("the pods of what was are gone", ended)

    def _pods(self) -> list[Object]:
        return self.app.pods(f"inventory.dev/app={NAME}")

    def _replica_sets(self) -> list[Object]:
        path = f"/apis/apps/v1/namespaces/{self.app.namespace}/replicasets"
        return self.app.cluster.kube.items(path, f"inventory.dev/app={NAME}")

    def ask_for(self, **changes: Any) -> None:
        """What a person does: other fields in the spec."""
        self.app.cluster.kube.merge(self.app.app_path, {"spec": changes})


def _is_ours(label: str) -> bool:
    """Not the Job controller's, which are of one Job only."""
    return not label.endswith(("controller-uid", "job-name"))
