"""Images of other releases: the migrations of this checkout and more."""

import shutil
import textwrap
from pathlib import Path

from inventory_api.migrations.revisions import HISTORIES, MIGRATIONS, Image, read_image, versions_folder

RELEASES = Path(__file__).parents[2] / "cluster" / "releases"


class Overlay:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for history in HISTORIES:
            shutil.copytree(versions_folder(history, MIGRATIONS), versions_folder(history, folder))

    def expand(self, revision: str, down: str, body: str) -> "Overlay":
        return self._write("expand", revision, f"{down!r}", "", body)

    def contract(self, revision: str, down: str | None, requires: str, body: str) -> "Overlay":
        return self._write("contract", revision, f"{down!r}", f"requires_expand = {requires!r}", body)

    def release(self, name: str) -> "Overlay":
        """What a release of the cluster tests brings, laid over what is here as in its image."""
        shutil.copytree(RELEASES / name / "inventory_api" / "migrations", self.folder, dirs_exist_ok=True)
        return self

    def image(self, required: tuple[str, ...] = ()) -> Image:
        return read_image(self.folder, required)

    def _write(self, history: str, revision: str, down: str, attributes: str, body: str) -> "Overlay":
        source = f"""\
from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = {revision!r}
down_revision = {down}
{attributes}


def upgrade() -> None:
{textwrap.indent(textwrap.dedent(body).strip(), "    ")}
"""
        (self.folder / history / "versions" / f"{revision}_overlay.py").write_text(source)
        return self
