from dataclasses import replace
from pathlib import Path

import pytest
from inventory_api.migrations.decision import Decision, Facts, decide_contract, decide_expand
from inventory_api.migrations.history import AppliedRevision
from inventory_api.migrations.revisions import History, Image, Revision


def revision(identifier: str, requires: str | None = None) -> Revision:
    history: History = "contract" if identifier.startswith("c") else "expand"
    return Revision(identifier, history, None, Path(), f"checksum of {identifier}", requires)


def applied(*identifiers: str) -> tuple[AppliedRevision, ...]:
    known = (revision(identifier) for identifier in identifiers)
    return tuple(AppliedRevision(each.identifier, each.history, each.checksum, "old") for each in known)


IMAGE = Image(
    expand=(revision("0001"), revision("0002"), revision("0003")),
    contract=(revision("c0001", "0002"), revision("c0002", "0003")),
)
FACTS = Facts(IMAGE)


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        (FACTS, Decision(("0001", "0002", "0003"))),
        (replace(FACTS, applied=applied("0001")), Decision(("0002", "0003"))),
        (replace(FACTS, applied=applied("0001", "0002", "0003")), Decision()),
        (replace(FACTS, applied=applied("0001", "0002", "0003", "0004")), Decision()),
        (replace(FACTS, contract_follows=True), Decision(("0001", "0002", "0003"), ("c0001", "c0002"))),
        (
            replace(FACTS, applied=applied("0001", "0002", "0003", "c0001"), contract_follows=True),
            Decision((), ("c0002",)),
        ),
        (replace(FACTS, applied=applied("0001"), app_uid="a", owner="a"), Decision(("0002", "0003"))),
        (replace(FACTS, applied=applied("0001"), app_uid="a", owner=""), Decision(("0002", "0003"))),
        (replace(FACTS, applied=applied("0001"), app_uid="", owner="a"), Decision(("0002", "0003"))),
        (replace(FACTS, applied=applied("0001"), other_sessions=("inventory-api/old",)), Decision(("0002", "0003"))),
    ],
)
def test_expand_applies_what_is_pending(facts: Facts, decision: Decision) -> None:
    assert decide_expand(facts) == decision


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(FACTS, app_uid="mine", owner="theirs"), ["theirs", "mine", "adopt"]),
        (replace(FACTS, service_role="app", service_role_exists=False), ["role app"]),
        (replace(FACTS, applied=applied("0002")), ["0002 is applied but 0001"]),
        (replace(FACTS, applied=applied("0001", "0004")), ["0004", "release old"]),
        (replace(FACTS, applied=applied("0001", "c0003")), ["c0003", "release old"]),
        (
            replace(FACTS, applied=(AppliedRevision("0001", "expand", "another checksum", "old"),)),
            ["0001 was edited", "release old"],
        ),
    ],
)
def test_expand_is_refused_with_the_reason(facts: Facts, words: list[str]) -> None:
    decision = decide_expand(facts)

    assert (decision.expand, decision.contract) == ((), ())
    assert all(word in decision.refusal for word in words), decision.refusal


def test_contract_applies_what_is_pending() -> None:
    facts = replace(FACTS, applied=applied("0001", "0002", "0003", "c0001"))

    assert decide_contract(facts) == Decision(contract=("c0002",))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(FACTS, applied=applied("0001", "0002")), ["c0002 requires expand migration 0003"]),
        (
            replace(FACTS, applied=applied("0001", "0002", "0003"), other_sessions=("inventory-api/old",)),
            ["inventory-api/old"],
        ),
        (replace(FACTS, applied=applied("0001", "0002", "0003", "c0009")), ["c0009", "release old"]),
    ],
)
def test_contract_is_refused_with_the_reason(facts: Facts, words: list[str]) -> None:
    decision = decide_contract(facts)

    assert decision.contract == ()
    assert all(word in decision.refusal for word in words), decision.refusal


def test_sessions_do_not_matter_to_a_contract_that_is_applied() -> None:
    done = applied("0001", "0002", "0003", "c0001", "c0002")

    assert decide_contract(replace(FACTS, applied=done, other_sessions=("inventory-api/old",))) == Decision()


def test_expand_migrations_of_newer_releases_do_not_stand_in_the_way_of_a_contract() -> None:
    facts = replace(FACTS, applied=applied("0001", "0002", "0003", "0004"))

    assert decide_contract(facts) == Decision(contract=("c0001", "c0002"))
