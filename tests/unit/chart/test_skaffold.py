"""skaffold.yaml names things of this repository: they must be there."""

import yaml

from tests.cluster.local.images import copied
from tests.cluster.local.state import CHECKOUT

CONFIG = yaml.safe_load((CHECKOUT / "skaffold.yaml").read_text())
IMAGES = {"inventory-api", "inventory-operator"}


def test_both_images_are_built_in_every_profile_and_set_in_the_chart() -> None:
    (release,) = CONFIG["deploy"]["helm"]["releases"]
    for build in (CONFIG["build"], *(profile["build"] for profile in CONFIG["profiles"])):
        assert {artifact["image"] for artifact in build["artifacts"]} == IMAGES
    assert release["setValueTemplates"] == {
        "image.repository": "{{.IMAGE_REPO_inventory_api}}",
        "image.tag": "{{.IMAGE_TAG_inventory_api}}",
        "operator.image.repository": "{{.IMAGE_REPO_inventory_operator}}",
        "operator.image.tag": "{{.IMAGE_TAG_inventory_operator}}",
    }
    for path in [release["chartPath"], release["valuesFiles"][0]]:
        assert (CHECKOUT / path).exists()


def test_whatever_the_dockerfile_copies_makes_skaffold_build_anew() -> None:
    sources = set(copied((CHECKOUT / "Dockerfile").read_text(), {}))
    for artifact in CONFIG["build"]["artifacts"]:
        watched = artifact["custom"]["dependencies"]["paths"]
        assert not [path for path in watched if not (CHECKOUT / path).exists()]
        if artifact["image"] == "inventory-api":
            unwatched = {source for source in sources if not any(source.startswith(path) for path in watched)}
            assert unwatched == {"operator/requirements.lock"}  # of the other image
