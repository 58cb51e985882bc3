"""Installations that tests share: a test says which state it needs, and gets one that is in it, or a fresh one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.installation import Installation
from tests.cluster.waiting import wait_for


class Installations:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._all: list[Installation] = []

    def new(self, helm: str | Path = "helm", **values: Any) -> Installation:
        """Not installed yet; it is shared once it serves, and removed in the end in any case."""
        installation = Installation(self.cluster, helm, **values)
        self._all.append(installation)
        return installation

    def serving(self, fits: Callable[[Installation], bool] = lambda _: True) -> Installation:
        """One that helm 4 has installed and that fits, as the cluster has it now; else a fresh one."""
        for installation in self._all:
            present = not installation.removed and self.cluster.kube.get(installation.app_path)
            if present and installation.helm == "helm" and installation.serving() and fits(installation):
                installation.wait_until_at_rest()
                return installation
        fresh = self.new()
        fresh.install()
        return fresh

    def installed_by(self, helm: str) -> Installation:
        """An app that serves; helm 4's may be any, helm 3's is its own."""
        if helm == "helm":
            return self.serving()
        app = self.new(helm=self.cluster.tool(helm))
        app.install()
        return app

    def remove(self) -> None:
        """All of them, to the end."""
        for installation in self._all:
            installation.remove()
        for installation in self._all:
            self._await_end(f"/api/v1/namespaces/{installation.namespace}")

    def _await_end(self, path: str) -> None:
        wait_for(f"{path} is gone", lambda: self.cluster.kube.get(path) is None)
