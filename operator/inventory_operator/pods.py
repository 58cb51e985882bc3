"""What a pod that isn't ready says of it: the cluster's own probes keep the status and drop the reason."""

import asyncio
import ipaddress
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import aiohttp

from .manifests import PORT
from .model import Pod

SECONDS = 1.0
BYTES = 16_384
CHARACTERS = 500
MOST = 2
"""Pods of a release that are asked in a pass: they tell the same."""


async def ask(pods: Sequence[Pod]) -> tuple[Pod, ...]:
    """The pods, some of those that run and aren't ready with their own words; one that can't be reached has none."""
    unready: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        if pod.address and not (pod.ready or pod.migrates or pod.deleting or pod.finished):
            unready[pod.owner].append(pod)
    asked = [pod for release in unready.values() for pod in release[:MOST]]
    if not asked:
        return tuple(pods)
    limit = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(timeout=limit, auto_decompress=False) as session:
        answers = await asyncio.gather(*(_ask(session, pod) for pod in asked))
    by_name = {pod.name: pod for pod in answers}
    return tuple(by_name.get(pod.name, pod) for pod in pods)


async def _ask(session: aiohttp.ClientSession, pod: Pod) -> Pod:
    """Whatever a pod answers, or does instead, harms no pass: it is somebody's code."""
    host = f"[{pod.address}]" if ipaddress.ip_address(pod.address).version == 6 else pod.address
    try:
        async with session.get(f"http://{host}:{PORT}/readyz", allow_redirects=False) as response:
            said = json.loads(await _bounded(response))
        reasons = " ".join(str(reason) for reason in said.get("reasons", ()))
        return replace(pod, unready=reasons[:CHARACTERS], waits=said.get("waiting") is True)
    except Exception:
        return pod


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises ValueError for one that is longer than any answer of ours."""
    try:
        await response.content.readexactly(BYTES)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    raise ValueError("too long")
