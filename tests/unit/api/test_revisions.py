from pathlib import Path

import pytest
from inventory_api.migrations.revisions import BrokenHistoryError, identifiers, read_image


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for history in ("expand", "contract"):
            (folder / history / "versions").mkdir(parents=True)

    def write(self, history: str, name: str, *lines: str) -> None:
        (self.folder / history / "versions" / name).write_text("\n".join(lines))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_history_is_read_in_its_order(files: Files) -> None:
    files.write("expand", "0002_b.py", "revision = '0002'", "down_revision = '0001'", "running_code_is_unharmed = 'x'")
    files.write("expand", "0001_a.py", "revision: str = '0001'", "down_revision: str | None = None")
    files.write(
        "contract",
        "c0001_c.py",
        "revision = 'c0001'",
        "down_revision = None",
        "requires_expand = '0002'",
        "lossless_downgrade = True",
        "def downgrade():",
        "    op.execute('SELECT 1')",
    )

    image = read_image(files.folder, required=("c0001",))

    assert identifiers(image.expand) == ("0001", "0002")
    assert image.expand[1].running_code_is_unharmed == "x"
    assert (image.contract[0].requires_expand, image.contract[0].lossless_downgrade) == ("0002", True)
    assert image.schema.required_contract == ("c0001",)


def test_a_revision_says_in_its_first_line_what_it_is(files: Files) -> None:
    files.write("expand", "0001_a.py", '"""Where an item is.', "", 'And why."""', "revision = '0001'")
    files.write("expand", "0002_b.py", "revision = '0002'", "down_revision = '0001'")

    assert [revision.summary for revision in read_image(files.folder, ()).expand] == ["Where an item is.", ""]


@pytest.mark.parametrize(
    "downgrade",
    [
        "",
        "def downgrade(): pass",
        "def downgrade(): ...",
        "def downgrade(): return",
        "def downgrade(): return None",
        "def downgrade(): raise NotImplementedError",
        "def downgrade():\n    'Brings it back.'\n    pass",
        "def upgrade(): op.execute('SELECT 1')",
    ],
)
def test_what_calls_itself_lossless_must_have_a_downgrade(files: Files, downgrade: str) -> None:
    lines = ["revision = 'c0001'", "requires_expand = '0001'", "lossless_downgrade = True", downgrade]
    files.write("contract", "c0001_c.py", *lines)

    with pytest.raises(BrokenHistoryError, match=r"c0001_c\.py: lossless_downgrade is True"):
        read_image(files.folder, ())


@pytest.mark.parametrize("declared", ["", "lossless_downgrade = False", "lossless_downgrade = bool(1)"])
def test_what_does_not_plainly_call_itself_lossless_is_not(files: Files, declared: str) -> None:
    files.write("contract", "c0001_c.py", "revision = 'c0001'", "requires_expand = '0001'", declared)

    assert not read_image(files.folder, ()).contract[0].lossless_downgrade


def test_the_checksum_is_of_the_file(files: Files) -> None:
    files.write("expand", "0001_a.py", "revision = '0001'")
    before = read_image(files.folder, ()).expand[0].checksum
    files.write("expand", "0001_a.py", "revision = '0001'", "# a word more")

    assert read_image(files.folder, ()).expand[0].checksum != before


@pytest.mark.parametrize(
    ("history", "name", "lines", "words"),
    [
        ("expand", "0002_b.py", ["revision = '0002'", "down_revision = None"], "both follow None"),
        ("expand", "0003_b.py", ["revision = '0003'", "down_revision = '0002'"], "0003 not reachable"),
        (
            "expand",
            "2_b.py",
            ["revision = '2'", "down_revision = '0001'"],
            "does not name one of the expand migrations",
        ),
        ("expand", "0002_b.py", ["revision = '0002"], "0002_b.py is not valid Python"),
        ("expand", "b.py", ["revision = '0002'", "down_revision = '0001'"], "must be named 0002_"),
        ("expand", "0002_b.py", ["revision = '0002'", "down_revision = '0001'", "depends_on = 'c0001'"], "depends_on"),
        ("contract", "c0001_b.py", ["revision = 'c0001'", "down_revision = None"], "requires_expand"),
        (
            "contract",
            "0002_b.py",
            ["revision = '0002'", "down_revision = None"],
            "does not name one of the contract migrations",
        ),
    ],
)
def test_what_is_no_line_of_revisions_is_refused(
    files: Files, history: str, name: str, lines: list[str], words: str
) -> None:
    files.write("expand", "0001_a.py", "revision = '0001'", "down_revision = None")
    files.write(history, name, *lines)

    with pytest.raises(BrokenHistoryError, match=words):
        read_image(files.folder, ())


def test_a_required_contract_must_be_there(files: Files) -> None:
    with pytest.raises(BrokenHistoryError, match="c0001"):
        read_image(files.folder, required=("c0001",))
