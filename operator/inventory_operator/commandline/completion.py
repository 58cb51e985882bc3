"""Completion for bash, zsh and fish; kubectl's own asks `kubectl_complete-inventory` by the same protocol.

That is: the words so far as arguments, candidates as `value<tab>description` lines, and last `:4` (no file names) or
`:0` (file names).
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..kube import ApiError, UnreachableError
from .apps import app_path
from .arguments import parser
from .client import Client
from .exits import Ended

SECONDS = 2.0
"""Who presses the key does not wait longer for a cluster."""
FILES, NO_FILES = ":0", ":4"
_LIVE = {"name": "apps", "namespace": "namespaces", "to": "revisions", "revision": "revisions"}

BASH = """# kubectl inventory completes by itself where kubectl does; this is for calling kubectl-inventory
_kubectl_inventory() {
  local line last
  COMPREPLY=()
  while IFS= read -r line; do
    last=$line
    [[ $line == :* ]] || COMPREPLY+=("${line%%$'\\t'*}")
  done < <(kubectl_complete-inventory "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  [[ $last == :0 ]] && compopt -o default
}
complete -F _kubectl_inventory kubectl-inventory
"""
ZSH = """#compdef kubectl-inventory
_kubectl_inventory() {
  local -a found
  local line last
  while IFS= read -r line; do
    last=$line
    [[ $line == :* ]] || found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
  done < <(kubectl_complete-inventory "${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe 'kubectl inventory' found
  [[ $last == :0 ]] && _files
}
compdef _kubectl_inventory kubectl-inventory
"""
FISH = """function __kubectl_inventory
  set -l words (commandline -opc) (commandline -ct)
  kubectl_complete-inventory $words[2..-1] 2>/dev/null | string match -v ':*'
end
complete -c kubectl-inventory -f -a '(__kubectl_inventory)'
complete -c kubectl-inventory -n '__fish_seen_argument -s f -l filename' -F
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@dataclass(frozen=True)
class Wanted:
    """What could stand in the last word's place."""

    candidates: tuple[tuple[str, str], ...] = ()
    """Value and description."""
    live: str = ""
    """apps, namespaces or revisions: only the cluster knows them."""
    files: bool = False
    given: argparse.Namespace = field(default_factory=argparse.Namespace)
    """Options that say which cluster and app."""


def main() -> None:
    """Entry point of the console script `kubectl_complete-inventory`."""
    wanted = complete(sys.argv[1:] or [""])
    found = list(wanted.candidates)
    if wanted.live:
        # Nothing is better than an error in the middle of a line.
        with contextlib.suppress(Ended, ApiError, UnreachableError, TimeoutError, OSError):
            found += [(value, "") for value in asyncio.run(asyncio.wait_for(_live(wanted), SECONDS))]
    last = (sys.argv[1:] or [""])[-1]
    for value, description in found:
        if value.startswith(last):
            print(f"{value}\t{description}" if description else value)
    print(FILES if wanted.files else NO_FILES)


def complete(words: Sequence[str]) -> Wanted:
    """By the parser itself, so that it never knows less; pure."""
    *before, _ = words
    actions = parser()._actions
    verbs = next(action for action in actions if isinstance(action, argparse._SubParsersAction))
    if not before:
        return Wanted(tuple((each.dest, each.help or "") for each in verbs._choices_actions))
    verb = verbs.choices.get(before[0])
    if verb is None:
        return Wanted()
    options = {name: action for action in verb._actions for name in action.option_strings}
    given, positions, pending = _read(before[1:], options)
    if pending is not None:
        return _values(pending, given)
    if words[-1].startswith("-"):
        said = {name: _help(action) for name, action in options.items() if name.startswith("--")}
        return Wanted(tuple(said.items()))
    places = [action for action in verb._actions if not action.option_strings]
    return _values(places[positions], given) if positions < len(places) else Wanted()


def _read(
    words: Sequence[str], options: dict[str, argparse.Action]
) -> tuple[argparse.Namespace, int, argparse.Action | None]:
    """Options given so far, how many positions are filled, and the option that still wants its value."""
    given, positions = argparse.Namespace(name="", namespace="", context="", kubeconfig=""), 0
    pending: argparse.Action | None = None
    for word in words:
        name, equals, value = word.partition("=")
        if pending is not None:
            setattr(given, pending.dest, word)
            pending = None
        elif name in options:
            if equals:
                setattr(given, options[name].dest, value)
            elif options[name].nargs != 0:
                pending = options[name]
        elif not word.startswith("-"):
            given.name = given.name or word
            positions += 1
    return given, positions, pending


def _values(action: argparse.Action, given: argparse.Namespace) -> Wanted:
    if action.choices is not None:
        return Wanted(tuple((str(each), "") for each in action.choices))
    if action.dest in ("filename", "kubeconfig"):
        return Wanted(files=True)
    return Wanted(live=_LIVE.get(action.dest, ""), given=given)


def _help(action: argparse.Action) -> str:
    return (action.help or "") % vars(action)


async def _live(wanted: Wanted) -> list[str]:
    given = wanted.given
    client = await Client.open(given.kubeconfig, given.context, given.namespace)
    try:
        if wanted.live == "namespaces":
            return [each["metadata"]["name"] for each in await client.list("/api/v1/namespaces")]
        apps = await client.list(app_path(client.namespace))
        if wanted.live == "apps":
            return [each["metadata"]["name"] for each in apps]
        chosen = [each for each in apps if given.name in ("", each["metadata"]["name"])]
        history = [entry for each in chosen for entry in (each.get("status") or {}).get("history", ())]
        return [str(entry["revision"]) for entry in history]
    finally:
        await client.close()
