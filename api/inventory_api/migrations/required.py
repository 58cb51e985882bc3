"""The contract migrations that this release's code cannot do without.

Declare one only when this release no longer keeps up what that contract removes, so that rows it writes would be
unreadable for an older release. Each entry takes a rollback target away.
"""

REQUIRED_CONTRACT: tuple[str, ...] = ()
