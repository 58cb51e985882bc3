"""What a pod that isn't ready says of it: the cluster's own probes keep the status and drop the reason."""

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import replace

import aiohttp

from .manifests import PORT
from .model import Pod

SECONDS = 1.0
MOST = 3
"""Pods that are asked in a pass: one release's tell the same."""


async def ask(pods: Sequence[Pod]) -> tuple[Pod, ...]:
    """The pods, some of those that run and aren't ready with their own words; one that can't be reached has none."""
    unready = [pod for pod in pods if pod.address and not (pod.ready or pod.migrates or pod.deleting or pod.finished)]
    asked = unready[:MOST]
    if not asked:
        return tuple(pods)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session:
        answers = await asyncio.gather(*(_ask(session, pod) for pod in asked))
    by_name = {pod.name: pod for pod in answers}
    return tuple(by_name.get(pod.name, pod) for pod in pods)


async def _ask(session: aiohttp.ClientSession, pod: Pod) -> Pod:
    host = f"[{pod.address}]" if ipaddress.ip_address(pod.address).version == 6 else pod.address
    try:
        async with session.get(f"http://{host}:{PORT}/readyz") as response:
            said = await response.json()
        reasons = [str(reason) for reason in said.get("reasons", ())]
        return replace(pod, unready=" ".join(reasons), waits=said.get("waiting") is True)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError, TypeError):
        return pod
