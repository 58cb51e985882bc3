"""A real Prometheus beside an app, which finds its pods and scrapes each every second."""

import json

import yaml

from tests.cluster.installation import Installation, is_ready

NAME = "prometheus"
LABELS = {"app.kubernetes.io/component": NAME}
# With the labels that Prometheus Operator gives to what a PodMonitor selects: the built-in queries count on them.
SCRAPING = {
    "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
    "scrape_configs": [
        {
            "job_name": "inventory",
            "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"own_namespace": True}}],
            "relabel_configs": [
                {
                    "source_labels": [
                        "__meta_kubernetes_pod_label_app_kubernetes_io_component",
                        "__meta_kubernetes_pod_container_port_name",
                    ],
                    "regex": "service;http",
                    "action": "keep",
                },
                {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            ],
        }
    ],
}


def address(app: Installation) -> str:
    """Where operators of the cluster find it."""
    return f"http://{NAME}.{app.namespace}:9090"


def start(app: Installation) -> None:
    """Returns when it answers; it goes with the namespace."""
    image = app.cluster.tool_image("prometheus")
    app.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": _objects(image)}))
    app.wait_for("Prometheus is ready", lambda: all(map(is_ready, app.pods(f"app.kubernetes.io/component={NAME}"))))


def _objects(image: str) -> list[object]:
    meta = {"name": NAME, "labels": LABELS}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    files = {"prometheus.yaml": yaml.safe_dump(SCRAPING)}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": meta,
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": NAME}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": files},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": LABELS, "ports": [{"port": 9090}]},
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": _pod(image)},
    ]


def _pod(image: str) -> object:
    return {
        "serviceAccountName": NAME,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": NAME,
                "image": image,
                "args": [
                    "--config.file=/etc/prometheus/prometheus.yaml",
                    "--storage.tsdb.path=/data",
                    # What it finds is else taken up after five seconds.
                    "--scrape.discovery-reload-interval=100ms",
                ],
                "ports": [{"containerPort": 9090}],
                "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "configuration", "mountPath": "/etc/prometheus"},
                    {"name": "data", "mountPath": "/data"},
                ],
            }
        ],
        "volumes": [{"name": "configuration", "configMap": {"name": NAME}}, {"name": "data", "emptyDir": {}}],
    }
