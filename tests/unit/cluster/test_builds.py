import json
from pathlib import Path

import pytest

from tests.cluster.local import addons, build, images, kind, release
from tests.cluster.local.console import Problem
from tests.cluster.local.state import CHECKOUT


def test_what_a_dockerfile_copies_is_what_its_tag_depends_on() -> None:
    text = "FROM a AS b\nCOPY one two \\\n  /src/\nCOPY --from=b /x /x\nCOPY --chmod=755 ${PROGRAM} /p\nADD three /\n"
    assert images.copied(text, {"PROGRAM": "etcd"}) == ["one", "two", "etcd", "three"]


def test_the_tag_follows_content_mode_and_arguments_but_no_caches(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("COPY app /app\n")
    (tmp_path / "app" / "__pycache__").mkdir(parents=True)
    (tmp_path / "app" / "main.py").write_text("1")

    def tag(**arguments: str) -> str:
        return images.Image("x", tmp_path / "Dockerfile", tmp_path, arguments=arguments).tag()

    first = tag()
    (tmp_path / "app" / "__pycache__" / "main.pyc").write_text("cached")
    (tmp_path / "other").write_text("not copied")
    assert tag() == first
    assert tag(VERSION="2") != first
    (tmp_path / "app" / "main.py").chmod(0o755)
    assert tag() != first
    (tmp_path / "app" / "main.py").chmod(0o644)
    (tmp_path / "app" / "main.py").write_text("2")
    assert tag() != first


def test_an_image_whose_source_is_missing_says_which(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("COPY absent /\n")
    with pytest.raises(Problem, match="absent is not there"):
        images.Image("x", tmp_path / "Dockerfile", tmp_path).tag()


def test_a_store_takes_its_lines_of_the_lock_alone() -> None:
    lock = "a==1 \\\n    --hash=sha256:aa\n    # via b\nab==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    assert images.locked(lock, "ab") == "ab==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    with pytest.raises(Problem, match="make lock"):
        images.locked(lock, "absent")


def test_of_the_callers_pip_only_where_packages_come_from_is_taken() -> None:
    listed = "global.index-url='https://a/'\nglobal.cert='/x'\n:env:.index-url='https://b/'\n:env:.find-links='/w /v'\n"
    assert images.parse_pip_settings(listed) == {"index-url": "https://b/", "find-links": "/w\n  /v"}


@pytest.mark.parametrize(
    ("version", "toolchain", "objection"),
    [
        ("go1.26.8", "auto", ""),
        ("go1.27", "local", ""),
        ("go1.22.1", "auto", ""),
        ("go1.22.1", "local", "GOTOOLCHAIN=local"),
        ("go1.19.8", "", "too old"),
        ("", "", "unknown"),
    ],
)
def test_a_go_that_can_not_build_the_cluster_is_refused(version: str, toolchain: str, objection: str) -> None:
    said = build.go_objection(version, toolchain, "1.21", "1.26.0")
    assert objection in said
    assert bool(said) == bool(objection)


def test_an_edit_whose_text_is_gone_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.go").write_text("b := 1\n")
    with pytest.raises(Problem, match=r"a\.go does not have this text once"):
        build.edit(tmp_path, (("a.go", "c := 1", "c := 2"),))


def test_every_placeholder_of_the_manifests_is_filled() -> None:
    ports = {name.replace("-", "_"): str(port) for name, port in kind.INSIDE.items()}
    values = {"image": "i", "node_ip": "n", "user": "33", "capabilities": "[]", "dns": "10.96.0.10", **ports}
    for manifest in addons.MANIFESTS.glob("*.yaml"):
        for value in values:
            assert f"{{{value}}}" not in addons.fill(manifest.stem, **values)


def test_kind_offers_the_ingress_on_loopback_alone() -> None:
    text = kind.configuration({"ingress-http": 8080, "ingress-https": 8443})
    assert "{containerPort: 80, hostPort: 8080, listenAddress: 127.0.0.1}" in text
    assert "{containerPort: 443, hostPort: 8443, listenAddress: 127.0.0.1}" in text


def test_each_image_is_named_to_the_chart() -> None:
    references = {"api": "127.0.0.1:5000/inventory-api:abc", "valkey": "127.0.0.1:5000/inventory-valkey:def"}
    assert release.settings(references) == [
        "image.repository=127.0.0.1:5000/inventory-api",
        "image.tag=abc",
        "redis.image.repository=127.0.0.1:5000/inventory-valkey",
        "redis.image.tag=def",
    ]


def test_the_image_settings_are_values_of_the_chart() -> None:
    schema = json.loads((CHECKOUT / "chart" / "values.schema.json").read_text())
    references = dict.fromkeys(("api", "operator", "postgres", "valkey"), "r/x:t")
    for setting in release.settings(references):
        place = schema
        for name in setting.partition("=")[0].split("."):
            while "$ref" in place:
                place = schema[place["$ref"].split("/")[1]][place["$ref"].split("/")[2]]
            place = place["properties"][name]
