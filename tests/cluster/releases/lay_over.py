"""Lays the files of a later release over an installed service; its image runs this, and so do tests without images.

The releases' migrations are numbered from 9001, far from the checkout's own, and the first of them follows "HEAD": the
newest one that is there. So none of them changes when the checkout gets another migration.
"""

import sys
import sysconfig
from pathlib import Path

HEAD = b'down_revision = "HEAD"'


def lay_over(release: Path, installed: Path) -> None:
    """Both are folders of packages; files of the same name are replaced."""
    for source in sorted(path for path in release.rglob("*") if path.is_file()):
        target = installed / source.relative_to(release)
        target.parent.mkdir(parents=True, exist_ok=True)
        down_revision = f"down_revision = {predecessor(target)!r}"
        target.write_bytes(source.read_bytes().replace(HEAD, down_revision.encode()))


def predecessor(migration: Path) -> str | None:
    """The newest revision in a migration's folder that comes before its own; a file begins with its revision."""
    before = [path.name for path in migration.parent.glob("*[0-9]_*.py") if path.name < migration.name]
    return max(before).partition("_")[0] if before else None


if __name__ == "__main__":
    lay_over(Path(sys.argv[1]), Path(sysconfig.get_path("purelib")))
