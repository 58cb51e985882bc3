"""Installations that tests share: a test says which state it needs, and gets one that is in it, or a fresh one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.installation import Installation


class Installations:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._all: list[Installation] = []

    def new(self, helm: str | Path = "helm", **values: Any) -> Installation:
        """Not installed yet; it is shared once it serves, and removed in the end in any case."""
        installation = Installation(self.cluster, helm, **values)
        self._all.append(installation)
        return installation

    def serving(
        self, fits: Callable[[Installation], bool] = lambda _: True, helm: str = "helm", **values: Any
    ) -> Installation:
        """One that this Helm has installed and that fits, as the cluster has it now; else a fresh one, with values."""
        program = self.cluster.tool(helm) if helm != "helm" else helm
        for installation in self._all:
            present = not installation.removed and self.cluster.kube.get(installation.app_path)
            if present and installation.helm == program and installation.serving() and fits(installation):
                installation.wait_until_at_rest()
                return installation
        fresh = self.new(program, **values)
        fresh.install()
        return fresh

    def remove(self) -> None:
        """All of them, to the end."""
        for installation in self._all:
            installation.remove()
        for installation in self._all:
            installation.wait_until_gone()
