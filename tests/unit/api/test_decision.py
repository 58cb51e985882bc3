from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inventory_api.migrations.decision import BASE, Decision, Facts, decide_contract, decide_downgrade, decide_expand
from inventory_api.migrations.history import AppliedRevision
from inventory_api.migrations.revisions import History, Image, Revision, identifiers
from inventory_api.migrations.rule import ImageSchema, objections


def revision(identifier: str, requires: str | None = None, *, lossless: bool = False) -> Revision:
    history: History = "contract" if identifier.startswith("c") else "expand"
    return Revision(identifier, history, None, Path(), f"checksum of {identifier}", requires, lossless)


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


EXPANDED = ("0001", "0002", "0003")
REVERSIBLE = replace(
    FACTS,
    image=replace(
        IMAGE,
        contract=(
            revision("c0001", "0002"),
            revision("c0002", "0003", lossless=True),
            revision("c0003", "0003", lossless=True),
        ),
    ),
    applied=applied(*EXPANDED, "c0001", "c0002", "c0003"),
)


@pytest.mark.parametrize(
    ("contract", "to", "reverted"),
    [
        (("c0001", "c0002", "c0003"), "c0001", ("c0003", "c0002")),
        (("c0001", "c0002", "c0003"), "c0002", ("c0003",)),
        (("c0001", "c0002", "c0003"), "c0003", ()),
        (("c0001", "c0002"), "c0001", ("c0002",)),
        (("c0001",), "c0001", ()),
        (("c0001",), "c0003", ()),
        ((), BASE, ()),
    ],
)
def test_a_downgrade_takes_back_what_came_after_the_one_that_stays_newest_first(
    contract: tuple[str, ...], to: str, reverted: tuple[str, ...]
) -> None:
    facts = replace(REVERSIBLE, applied=applied(*EXPANDED, *contract))

    assert decide_downgrade(facts, to) == Decision(revert=reverted)


def test_base_takes_back_all_of_them() -> None:
    image = replace(IMAGE, contract=(revision("c0001", "0002", lossless=True),))
    facts = replace(FACTS, image=image, applied=applied(*EXPANDED, "c0001"))

    assert decide_downgrade(facts, BASE) == Decision(revert=("c0001",))


@pytest.mark.parametrize(
    ("facts", "to", "words"),
    [
        (replace(REVERSIBLE, app_uid="mine", owner="theirs"), "c0001", ["theirs", "mine", "adopt"]),
        (replace(REVERSIBLE, service_role="app", service_role_exists=False), "c0001", ["role app"]),
        (replace(REVERSIBLE, applied=applied("0002", "c0001")), "c0001", ["0002 is applied but 0001"]),
        (replace(REVERSIBLE, applied=applied(*EXPANDED, "c0001", "c0003")), "c0001", ["c0003 is applied but c0002"]),
        (
            replace(REVERSIBLE, applied=(AppliedRevision("c0001", "contract", "another checksum", "old"),)),
            "c0001",
            ["c0001 was edited", "release old"],
        ),
        (REVERSIBLE, "c0009", ["c0009 is no contract migration of this image", "base, c0001, c0002, c0003"]),
        (REVERSIBLE, "0002", ["0002 is no contract migration of this image"]),
        (REVERSIBLE, "", ["no contract migration of this image"]),
        (
            replace(REVERSIBLE, applied=applied(*EXPANDED, "c0001", "c0002", "c0003", "c0004", "c0005")),
            "c0002",
            ["c0005", "this image lacks", "release old has it", "from the image of that one"],
        ),
        (REVERSIBLE, BASE, ["contract migration c0001 can't be taken back without loss", "restore", "before c0001"]),
        (
            replace(REVERSIBLE, image=replace(REVERSIBLE.image, required_contract=("c0002",))),
            "c0001",
            ["this release requires contract migration c0002", "restore"],
        ),
        (replace(REVERSIBLE, other_sessions=("inventory-api/x",)), "c0001", ["inventory-api/x", "may require"]),
    ],
)
def test_a_downgrade_is_refused_with_the_reason(facts: Facts, to: str, words: list[str]) -> None:
    decision = decide_downgrade(facts, to)

    assert decision == Decision(refusal=decision.refusal)
    assert all(word in decision.refusal for word in words), decision.refusal


def test_nothing_stands_in_the_way_of_a_downgrade_that_has_nothing_to_do() -> None:
    image = replace(REVERSIBLE.image, required_contract=("c0001", "c0003"))
    facts = replace(REVERSIBLE, image=image, other_sessions=("inventory-api/old",))

    assert decide_downgrade(facts, "c0003") == Decision()


def test_a_contract_that_is_required_may_stay_while_later_ones_go() -> None:
    facts = replace(REVERSIBLE, image=replace(REVERSIBLE.image, required_contract=("c0001",)))

    assert decide_downgrade(facts, "c0001") == Decision(revert=("c0003", "c0002"))


def test_expand_migrations_of_newer_releases_do_not_stand_in_the_way_of_a_downgrade() -> None:
    facts = replace(REVERSIBLE, applied=(*REVERSIBLE.applied, *applied("0004")))

    assert decide_downgrade(facts, "c0002") == Decision(revert=("c0003",))


LINE = ("c0001", "c0002", "c0003", "c0004", "c0005")


@given(
    st.lists(st.booleans(), min_size=len(LINE), max_size=len(LINE)),
    st.integers(0, len(LINE)),
    st.integers(0, len(LINE)),
    st.integers(0, len(LINE)),
    st.sets(st.sampled_from(LINE)),
)
def test_a_downgrade_lets_the_releases_run_that_it_is_for_or_is_refused(
    lossless: list[bool], known: int, done: int, stays: int, required: set[str]
) -> None:
    """Those that know just the contract migrations that stay; and the one that serves goes on."""
    line = tuple(revision(name, "0001", lossless=each) for name, each in zip(LINE, lossless, strict=True))
    image = Image((revision("0001"),), line[:known], tuple(sorted(required & set(LINE[:done]) & set(LINE[:known]))))
    facts = Facts(image, applied=applied("0001", *LINE[:done]))

    decision = decide_downgrade(facts, LINE[stays - 1] if stays else BASE)

    reverted = {*decision.revert}
    after = replace(facts, applied=tuple(each for each in facts.applied if each.identifier not in reverted))
    if decision.refusal:
        beyond = done > known or stays > known
        assert beyond or not all(lossless[stays:done]) or required & set(LINE[stays:done])
        assert not reverted
    else:
        assert not objections(ImageSchema(("0001",), LINE[:stays]), after.schema)
        assert not objections(image.schema, after.schema)
        assert all(each.lossless_downgrade for each in line if each.identifier in reverted)
        assert list(decision.revert) == sorted(decision.revert, reverse=True)
        assert decide_downgrade(after, LINE[stays - 1] if stays else BASE) == Decision()


def test_what_was_taken_back_can_be_applied_again() -> None:
    facts = replace(REVERSIBLE, applied=applied(*EXPANDED, "c0001"))

    assert decide_contract(facts) == Decision(contract=identifiers(REVERSIBLE.image.contract[1:]))
    assert decide_expand(facts) == Decision()
