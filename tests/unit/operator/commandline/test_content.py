"""Old content comes back exactly, or not at all."""

import gzip
import json
from base64 import b64encode

import pytest
import yaml
from inventory_operator.commandline.apps import App, parse
from inventory_operator.commandline.content import content_of, target
from inventory_operator.commandline.helm import spec_of

from .objects import HASHES, SPECS, at_rest, deployment, in_mid_canary, inventory_app


def kept(**options: object) -> App:
    return parse(inventory_app(), [deployment(6, 4), deployment(5, 0, **options)], [], [])  # type: ignore[arg-type]


def test_the_content_on_the_deployment_is_taken() -> None:
    app = kept()
    assert content_of(app, app.releases[1]) == SPECS[5]


def test_content_that_is_not_what_the_hash_says_is_not_taken() -> None:
    found = deployment(5, 0)
    changed = SPECS[5] | {"config": {"LOG_LEVEL": "info", "MORE": "1"}}
    found["metadata"]["annotations"]["inventory.dev/content"] = json.dumps(changed)
    found["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "MORE", "value": "1"})
    app = parse(inventory_app(), [found], [], [])
    assert content_of(app, app.releases[0]) is None


def test_without_it_what_can_be_rebuilt_to_the_same_hash_is_taken() -> None:
    app = kept(content=False)
    assert content_of(app, app.releases[1]) == SPECS[5]


def test_what_cannot_be_rebuilt_is_not_guessed() -> None:
    found = deployment(5, 0, content=False)
    found["spec"]["template"]["spec"]["containers"][0]["env"] = []
    app = parse(inventory_app(), [found], [], [])
    assert content_of(app, app.releases[0]) is None


def test_in_mid_release_a_rollback_leads_to_what_serves() -> None:
    assert target(in_mid_canary(), None).revision == 6


def test_at_rest_a_rollback_leads_to_the_release_before() -> None:
    assert target(at_rest(), None).revision == 6


def test_a_release_that_never_served_is_no_way_back() -> None:
    kept = [deployment(7, 4, stage="promoted"), deployment(6, 0, stage="failed"), deployment(5, 0)]
    assert target(parse(at_rest().found, kept, [], []), None).revision == 5


def test_a_revision_whose_content_came_back_later_is_found_under_its_old_number() -> None:
    again = deployment(5, 4, revision=8)
    app = parse(inventory_app(), [again, deployment(6, 0)], [], [])
    assert target(app, 5).revision == 8


def test_a_revision_that_is_gone_is_named() -> None:
    with pytest.raises(LookupError, match="revision 4 is not kept any more \\(kept: 7, 6, 5\\)"):
        target(at_rest(), 4)


def test_helms_own_memory_is_read() -> None:
    documents = [
        {"kind": "Service", "metadata": {"name": "inventory"}},
        {"kind": "InventoryApp", "metadata": {"name": "inventory"}, "spec": SPECS[5]},
    ]
    release = json.dumps({"version": 3, "manifest": yaml.safe_dump_all(documents)})
    secret = {"data": {"release": b64encode(b64encode(gzip.compress(release.encode()))).decode()}}
    assert spec_of(secret, "inventory") == SPECS[5]
    assert spec_of(secret, "another") is None
    assert spec_of({"data": {"release": b64encode(b"nonsense").decode()}}, "inventory") is None


def test_the_examples_are_of_different_releases() -> None:
    assert len(set(HASHES.values())) == 3
