"""A sample of `make fuzz`, the same each time: what it finds, that finds more of."""

import json

from tests.fuzz.known import MAKERS
from tests.fuzz.run import CONTRACT, fuzz
from tests.integration.stores import Postgres


def test_of_requests_made_up_from_the_contract_none_is_answered_against_it(postgres: Postgres) -> None:
    operations = sum(len(methods) for methods in json.loads(CONTRACT.read_text())["paths"].values())

    outcome = fuzz(postgres, cases=2, chains=10, seed=1, phases=("examples", "fuzzing", "stateful"))

    assert outcome.findings == []
    assert outcome.operations == operations
    assert outcome.cases > 2 * operations
    # What chance doesn't hit in so few cases is made known to it, and so is gone through to its success.
    assert not MAKERS.keys() & set(outcome.never_accepted)
