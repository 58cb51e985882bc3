"""Images of other releases: the migrations of this checkout and more."""

import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path

from inventory_api.migrations.revisions import HISTORIES, MIGRATIONS, History, Image, read_image, versions_folder

from tests.cluster.releases.lay_over import lay_over, predecessor

RELEASES = Path(__file__).parents[2] / "cluster" / "releases"


class Overlay:
    """Its own revisions are numbered from 9001; each follows the newest one before it."""

    def __init__(self, installed: Path) -> None:
        self.installed = installed
        self.folder = installed / "inventory_api" / "migrations"
        for history in HISTORIES:
            shutil.copytree(versions_folder(history, MIGRATIONS), versions_folder(history, self.folder))

    def expand(self, revision: str, body: str) -> "Overlay":
        return self._write("expand", revision, "", {"upgrade": body})

    def contract(self, revision: str, requires: str, body: str, *, lossless: str = "") -> "Overlay":
        """`lossless` is the body of its downgrade; without one it can't be taken back."""
        attributes = f"requires_expand = {requires!r}\nlossless_downgrade = {bool(lossless)}"
        bodies = {"upgrade": body, "downgrade": lossless} if lossless else {"upgrade": body}
        return self._write("contract", revision, attributes, bodies)

    def release(self, name: str) -> "Overlay":
        """What a release of the cluster tests brings, laid over what is here as in its image."""
        lay_over(RELEASES / name, self.installed)
        return self

    def image(self, required: tuple[str, ...] = ()) -> Image:
        return read_image(self.folder, required)

    def _write(self, history: History, revision: str, attributes: str, bodies: Mapping[str, str]) -> "Overlay":
        file = versions_folder(history, self.folder) / f"{revision}_overlay.py"
        functions = (
            f"def {name}() -> None:\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
            for name, body in bodies.items()
        )
        source = f"""\
from alembic import op
from inventory_api.migrations.indexes import create_index_concurrently

revision = {revision!r}
down_revision = {predecessor(file)!r}
{attributes}


"""
        file.write_text(source + "\n\n".join(functions))
        return self
