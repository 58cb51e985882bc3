"""`history` and `schema`, to the letter and in 80 columns."""

from inventory_operator.commandline.tables import history, schema
from inventory_operator.commandline.text import Paper, shown

from .objects import NOW, at_rest, in_mid_canary


def test_the_history_tells_what_can_come_back() -> None:
    assert history(in_mid_canary(), Paper(), NOW) == HISTORY


HISTORY = """\
REV  OUTCOME      BACK  SCHEMA      AGE  TOOK  IMAGE
7    Progressing  yes   0023 c0002  6m   -     …stry.example/inventory-api:1.4.0
6    Stable       yes   0022 c0001  30h  36s   …stry.example/inventory-api:1.3.0
5    Superseded   yes   0020 c0001  10d  86s   …stry.example/inventory-api:1.2.0
    backup before its contract: inventory-5.dump
4    Failed       gone  0020        11d  86s   …nventory-api@sha256:abababababab
    MigrationFailed: migration 0020 failed: column "shelf" of relation "items"
    contains null values"""


def test_after_a_contract_the_history_and_the_schema_say_who_is_lost() -> None:
    app = at_rest(contract=("c0001", "c0002"))
    assert [line.split()[2] for line in history(app, Paper(), NOW).splitlines() if line[0].isdigit()] == [
        "yes",
        "no",
        "no",
        "gone",
    ]
    assert schema(app, Paper(), NOW) == SCHEMA


SCHEMA = """\
The database of inventory, as a migration Job saw it 0s ago:
  expand    0001..0023
  contract  c0001..c0002

REVISION  EXPAND  CONTRACT  RUNS ON IT
7 stable  0023    c0002     yes
6         0022    c0001     no
    The contract migration c0002 is applied, and this release does not know it:
    it may use what was removed.
5         0020    c0001     no
    The contract migration c0002 is applied, and this release does not know it:
    it may use what was removed."""


def test_no_line_is_wider_than_the_paper() -> None:
    for paper in (Paper(), Paper(60, colour=True)):
        for text in (history(in_mid_canary(), paper, NOW), schema(in_mid_canary(), paper, NOW)):
            assert max(map(shown, text.splitlines())) <= paper.width
