"""A volume for one claim of a namespace, where the cluster has no StorageClass that makes it."""

import shutil
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.kube import Object
from tests.cluster.local import state
from tests.cluster.local.node import NODE

VOLUMES = "/api/v1/persistentvolumes"
DEFAULT = "storageclass.kubernetes.io/is-default-class"


def provide(cluster: Cluster, namespace: str, claim: str) -> None:
    """The claim may come before it or after it. On the node of our own it is a folder of this machine."""
    if _has_default_class(cluster):
        return
    assert cluster.record.kind == "own", "the cluster needs a default StorageClass"
    if cluster.kube.get(f"{VOLUMES}/{namespace}"):
        return
    folder = _folder(namespace)
    folder.mkdir(parents=True, exist_ok=True)
    cluster.kube.request("POST", VOLUMES, _volume(namespace, claim, folder))


def remove(cluster: Cluster, namespace: str) -> None:
    """It goes when the claim has gone with its namespace."""
    cluster.kube.delete(f"{VOLUMES}/{namespace}")
    shutil.rmtree(_folder(namespace), ignore_errors=True)


def _has_default_class(cluster: Cluster) -> bool:
    classes = cluster.kube.items("/apis/storage.k8s.io/v1/storageclasses")
    return any(each["metadata"].get("annotations", {}).get(DEFAULT) == "true" for each in classes)


def _folder(namespace: str) -> Path:
    return state.layout().run / "volumes" / namespace


def _volume(namespace: str, claim: str, folder: Path) -> Object:
    """A local one, not a hostPath: only of the first does kubelet give the files to the pod's fsGroup."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace, "labels": {"inventory.dev/cluster-tests": "true"}},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": namespace, "name": claim},
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
