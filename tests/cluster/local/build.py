"""The cluster's programs, built from Go modules. A program is built again when what it is made of has changed."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.local.console import Problem, step
from tests.cluster.local.state import Layout, write
from tests.cluster.local.system import run

HERE = Path(__file__).resolve().parent
VERSIONS = tomllib.loads((HERE / "versions.toml").read_text())
MODULES: dict[str, str] = VERSIONS["modules"]
TOOLS: dict[str, str] = VERSIONS["tools"]
TOOLCHAINS: dict[str, str] = VERSIONS["toolchains"]

KUBERNETES, CONTAINERD = "k8s.io/kubernetes", "github.com/containerd/containerd/v2"
REGISTRY, METRICS_SERVER = "github.com/distribution/distribution/v3", "sigs.k8s.io/metrics-server"
HELM, HELM3, SKAFFOLD = "helm.sh/helm/v4", "helm.sh/helm/v3", "github.com/GoogleContainerTools/skaffold/v2"
INGRESS, PROCESS_EXPORTER = "k8s.io/ingress-nginx", "github.com/ncabatoff/process-exporter"
PROMETHEUS = "github.com/prometheus/prometheus"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
CLOUDNATIVEPG, GATEWAY_API = "github.com/cloudnative-pg/cloudnative-pg", "sigs.k8s.io/gateway-api"
TRAEFIK = "github.com/traefik/traefik/v3"
KWOK, ARGO_ROLLOUTS = "sigs.k8s.io/kwok", "github.com/argoproj/argo-rollouts"

KUBERNETES_VERSION = MODULES[KUBERNETES]
_MINOR = KUBERNETES_VERSION.split(".")[1]
NO_SNAPSHOTTERS = "no_btrfs no_devmapper no_zfs"


@dataclass(frozen=True)
class Program:
    name: str
    package: str  # ./name is a main.go of ours
    variables: tuple[tuple[str, str], ...] = ()  # set by the linker
    tags: str = ""
    links: tuple[str, ...] = ()  # the names that it is called by
    tool: str = ""  # the module of a program that is built on demand, by itself


PROGRAMS = {
    program.name: program
    for program in (
        Program("pause", "./pause"),
        Program("etcd", "go.etcd.io/etcd/server/v3"),
        Program(
            "kubernetes",
            "./kubernetes",
            (
                ("k8s.io/component-base/version.gitVersion", KUBERNETES_VERSION),
                ("k8s.io/component-base/version.gitMajor", "1"),
                ("k8s.io/component-base/version.gitMinor", _MINOR),
                ("k8s.io/client-go/pkg/version.gitVersion", KUBERNETES_VERSION),
            ),
            links=(
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kube-proxy",
                "kubelet",
                "kubeadm",
                "kubectl",
            ),
        ),
        Program(
            "containerd",
            f"{CONTAINERD}/cmd/containerd",
            ((f"{CONTAINERD}/version.Version", MODULES[CONTAINERD]),),
            NO_SNAPSHOTTERS,
        ),
        Program(
            "containerd-shim-runc-v2",
            f"{CONTAINERD}/cmd/containerd-shim-runc-v2",
            ((f"{CONTAINERD}/version.Version", MODULES[CONTAINERD]),),
            NO_SNAPSHOTTERS,
        ),
        Program("registry", f"{REGISTRY}/cmd/registry", ((f"{REGISTRY}/version.version", MODULES[REGISTRY]),)),
        Program("coredns", "./coredns"),
        Program(
            "metrics-server",
            f"{METRICS_SERVER}/cmd/metrics-server",
            (("k8s.io/client-go/pkg/version.gitVersion", MODULES[METRICS_SERVER]),),
        ),
        Program(
            "nginx-ingress-controller",
            f"{INGRESS}/cmd/nginx",
            ((f"{INGRESS}/version.RELEASE", "v1.11.0"), (f"{INGRESS}/version.COMMIT", MODULES[INGRESS][-12:])),
        ),
        Program(
            "helm",
            f"{HELM}/cmd/helm",
            ((f"{HELM}/internal/version.version", MODULES[HELM]), (f"{HELM}/internal/version.metadata", "")),
        ),
        Program(
            "helm3",
            f"{HELM3}/cmd/helm",
            (
                (f"{HELM3}/internal/version.version", TOOLS[HELM3]),
                (f"{HELM3}/internal/version.metadata", ""),
                (f"{HELM3}/pkg/lint/rules.k8sVersionMajor", "1"),
                (f"{HELM3}/pkg/lint/rules.k8sVersionMinor", _MINOR),
                (f"{HELM3}/pkg/chartutil.k8sVersionMajor", "1"),
                (f"{HELM3}/pkg/chartutil.k8sVersionMinor", _MINOR),
            ),
            tool=HELM3,
        ),
        Program(
            "skaffold",
            f"{SKAFFOLD}/cmd/skaffold",
            ((f"{SKAFFOLD}/pkg/skaffold/version.version", TOOLS[SKAFFOLD]),),
            "timetzdata osusergo netgo static_build release",
            tool=SKAFFOLD,
        ),
        Program("kind", "sigs.k8s.io/kind", tool="sigs.k8s.io/kind"),
        # Without what finds targets in clouds, which is most of its code.
        Program(
            "prometheus", f"{PROMETHEUS}/cmd/prometheus", tags="remove_all_sd enable_kubernetes_sd", tool=PROMETHEUS
        ),
        Program("traefik", "./cmd/traefik", tool=TRAEFIK),
        Program("kwok", f"{KWOK}/cmd/kwok", tool=KWOK),
        Program(
            "argo-rollouts",
            f"{ARGO_ROLLOUTS}/cmd/rollouts-controller",
            ((f"{ARGO_ROLLOUTS}/utils/version.version", TOOLS[ARGO_ROLLOUTS].removeprefix("v")),),
            tool=ARGO_ROLLOUTS,
        ),
    )
}


def build(where: Layout, name: str) -> Path:
    """The path of the program, which is built first if it is not there as the versions ask for it."""
    program, target, stamp = PROGRAMS[name], where.bin / name, where.bin / f".{name}.stamp"
    wanted = hashlib.sha256(f"{program}{_ingredients(program)}".encode()).hexdigest()
    if _is_built(target, program, stamp, wanted):
        return target
    check_go()
    log = where.cache / "log" / f"build-{name}.log"
    log.unlink(missing_ok=True)
    with step(f"building {name}"):
        folder = _tool_module(where, program, log) if program.tool else cluster_module(where)
        flags = " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in program.variables)])
        fresh = target.with_name(f".{name}.new")
        target.parent.mkdir(parents=True, exist_ok=True)
        run(
            ["go", "build", "-trimpath", "-tags", program.tags, "-ldflags", flags, "-o", fresh, program.package],
            f"Building {name}",
            log=log,
            env=go_environment(program.tool),
            cwd=folder,
        )
        fresh.replace(target)
        for link in program.links:
            _hard_link(target, where.bin / link)
        write(stamp, wanted)
    return target


def _ingredients(program: Program) -> str:
    if program.tool:
        own = f"{TOOLCHAINS.get(program.tool, '')}{TOOL_EDITS.get(program.tool, '')}"
        return f"{program.tool} {TOOLS[program.tool]} {VERSIONS['go']}{own}"
    return f"{sorted(MODULES.items())}{VERSIONS['go']}{_sources()}{EDITS}"


def _is_built(target: Path, program: Program, stamp: Path, wanted: str) -> bool:
    paths = [target, *(target.parent / link for link in program.links)]
    return all(path.exists() for path in paths) and stamp.exists() and stamp.read_text() == wanted


def _hard_link(target: Path, link: Path) -> None:
    """Not a symbolic one: so the executable of a process tells which program it is."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    os.link(target, fresh)
    fresh.replace(link)


# Go


def check_go() -> None:
    """Raises a Problem where Go is absent, or too old to fetch the toolchain that the modules ask for."""
    oldest, needed = VERSIONS["go"]["oldest"], VERSIONS["go"]["toolchain"]
    advice = f"Install Go {oldest} or newer (https://go.dev/dl); one older than {needed} fetches that by itself."
    if not shutil.which("go"):
        raise Problem(f"The cluster's programs are built from Go modules, and there is no go in PATH. {advice}")
    said = subprocess.run(["go", "env", "GOVERSION", "GOTOOLCHAIN"], capture_output=True, text=True, check=False)
    version, _, toolchain = said.stdout.partition("\n")
    if objection := go_objection(version.strip(), toolchain.strip(), oldest, needed):
        raise Problem(f"{objection} {advice}")


def go_objection(version: str, toolchain: str, oldest: str, needed: str) -> str:
    """Why this Go can't build the cluster; empty if it can."""

    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", text)[:3])

    if number(version) < number(oldest):
        return f"Go is too old ({version or 'its version is unknown'})."
    if number(version) < number(needed) and toolchain == "local":
        return f"Go is too old ({version}), and GOTOOLCHAIN=local keeps it from fetching a newer one."
    return ""


def go_environment(module: str = "") -> dict[str, str]:
    # The caller's workspace, flags and target are about other code.
    found = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=mod", "GOWORK": "off", "GOOS": "", "GOARCH": ""}
    return found | ({"GOTOOLCHAIN": f"go{TOOLCHAINS[module]}"} if module in TOOLCHAINS else {})


def download(module: str, version: str, sums: Collection[str] = ()) -> Path:
    """The folder of a module's archive in Go's cache. With `sums`, these lines of a go.sum vouch for it."""
    check_go()
    said = run(
        ["go", "mod", "download", "-json", f"{module}@{version}"],
        f"Downloading the Go module {module}",
        env={**go_environment(module), **({"GONOSUMDB": module} if sums else {})},
        cwd=Path("/"),
    )
    answer = json.loads(said)
    if sums and f"{module} {version} {answer['Sum']}" not in sums:
        raise Problem(f"The Go module {module} {version} is not the one that is known: its sum is {answer['Sum']}.")
    return Path(answer["Dir"])


def _tool_module(where: Layout, program: Program, log: Path) -> Path:
    """A module of its own for a tool, with the replace lines of the tool's go.mod: they are not inherited.

    One that needs an edit is built in a copy of its archive.
    """
    version = TOOLS[program.tool]
    archive = download(program.tool, version)
    own = re.findall(r"^(?:replace|exclude) (?:[^(].*$|\([^)]*^\))", (archive / "go.mod").read_text(), re.MULTILINE)
    go = TOOLCHAINS.get(program.tool, VERSIONS["go"]["toolchain"])
    head = [f"module tool/{program.name}", f"go {go}", f"require {program.tool} {version}"]
    folder = where.cache / "modules" / program.name
    if program.tool in TOOL_EDITS:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(archive, folder)
        edit(folder, TOOL_EDITS[program.tool])
        return folder
    write(folder / "go.mod", "\n".join([*head, *own]) + "\n")
    sums = archive / "go.sum"
    write(folder / "go.sum", sums.read_text() if sums.exists() else "")
    return folder


# The one module of the cluster


def _sources() -> dict[str, str]:
    return {file.parent.name: file.read_text() for file in sorted((HERE / "go").glob("*/main.go"))}


def cluster_module(where: Layout) -> Path:
    """The module that requires all of `modules`; go build adds the rest to its go.mod and go.sum as it goes."""
    folder, stamp = where.cache / "modules" / "cluster", where.cache / "modules" / "cluster" / ".stamp"
    wanted = hashlib.sha256(_ingredients(PROGRAMS["kubernetes"]).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in _sources().items():
        write(folder / name / "main.go", text)
    staging = _staging((download(KUBERNETES, KUBERNETES_VERSION) / "go.mod").read_text())
    lines = ["module cluster", f"go {VERSIONS['go']['toolchain']}"]
    lines += [f"require {module} {version}" for module, version in MODULES.items()]
    lines += [f"replace {name} => {name} {version}" for name, version in staging.items()]
    sums: set[str] = set()
    for module in (KUBERNETES, METRICS_SERVER, INGRESS, PROCESS_EXPORTER):
        # The checksum database does not know the last of them; ingress-nginx's go.sum does.
        archive = download(module, MODULES[module], sums if module == PROCESS_EXPORTER else ())
        sums.update((archive / "go.sum").read_text().splitlines())
        if module in EDITS:
            copy = folder / module.rpartition("/")[2]
            shutil.copytree(archive, copy)
            edit(copy, EDITS[module])
            lines.append(f"replace {module} => ./{copy.name}")
    write(folder / "go.mod", "\n".join(lines) + "\n")
    write(folder / "go.sum", "\n".join(sorted(sums)) + "\n")
    write(stamp, wanted)
    return folder


def _staging(go_mod: str) -> dict[str, str]:
    """Kubernetes points at staging folders that its archive lacks: their published modules take their place."""
    names = re.findall(r"^\s+(k8s\.io/[a-z0-9-]+) => \./staging", go_mod, re.MULTILINE)
    return dict.fromkeys(names, f"v0.{KUBERNETES_VERSION.removeprefix('v1.')}")


# What is built with newer libraries than it was written for needs an edit here and there, and so does ingress-nginx for
# Debian's nginx 1.22, where modules are dynamic, http2 is a word of `listen`, and streams have no Lua. Each edit
# replaces text that has to be there exactly once.
EDITS: dict[str, tuple[tuple[str, str, str], ...]] = {
    INGRESS: (
        (
            "internal/ingress/controller/nginx.go",
            "\tif streamConfigurationChanged {",
            "\tif false && streamConfigurationChanged {",
        ),
        (
            "internal/ingress/controller/template/template.go",
            'lo = append(lo, co, "ssl;")',
            'lo = append(lo, co, "ssl", "http2;")',
        ),
        ("rootfs/etc/nginx/template/nginx.tmpl", "            http2 on;\n", ""),
        (
            "rootfs/etc/nginx/template/nginx.tmpl",
            "pid {{ .PID }};\n",
            "pid {{ .PID }};\n"
            "load_module /etc/nginx/modules/ndk_http_module.so;\n"
            "load_module /etc/nginx/modules/ngx_http_lua_module.so;\n"
            "load_module /etc/nginx/modules/ngx_http_headers_more_filter_module.so;\n"
            "load_module /etc/nginx/modules/ngx_http_set_misc_module.so;\n",
        ),
    ),
    # Newer Kubernetes looks its types up under other names, which the older generated file does not have.
    METRICS_SERVER: (
        (
            "cmd/metrics-server/app/options/options.go",
            '"sigs.k8s.io/metrics-server/pkg/api/generated/openapi"',
            '"k8s.io/kubernetes/pkg/generated/openapi"',
        ),
    ),
    PROCESS_EXPORTER: (
        ("proc/read.go", "strconv.ParseInt(status.UIDs[1], 10, 64)", "int64(status.UIDs[1]), error(nil)"),
    ),
}
# The same for tools, which are built apart.
TOOL_EDITS: dict[str, tuple[tuple[str, str, str], ...]] = {
    # Without what proves to certificate authorities that one owns a domain, by the APIs of some two hundred providers,
    # and without Amazon's ECS: that is most of its code. Without what its archive lacks: its dashboard, and fields that
    # others may add. And with a version of a library that is published as a Go module.
    TRAEFIK: (
        ("pkg/provider/acme/provider.go", '\t"github.com/go-acme/lego/v5/providers/dns"\n', ""),
        (
            "pkg/provider/acme/provider.go",
            "provider, err = dns.NewDNSChallengeProviderByName(p.DNSChallenge.Provider)",
            'err = errors.New("there is no DNS challenge")',
        ),
        ("pkg/config/static/static_config.go", '\t"github.com/traefik/traefik/v3/pkg/provider/ecs"\n', ""),
        ("pkg/config/static/static_config.go", "\tecs.ProviderName,\n", ""),
        ("pkg/config/static/static_config.go", "*ecs.Provider ", "*docker.Provider "),
        ("webui/embed.go", "//go:embed static", "//go:embed embed.go"),
        ("pkg/config/dynamic/http_config.go", '\t"github.com/traefik/traefik/dynamic/ext"\n', ""),
        ("pkg/config/dynamic/http_config.go", '\text.HTTP `yaml:",inline"`\n', ""),
        ("pkg/config/dynamic/http_config.go", '\text.Router `yaml:",inline"`\n', ""),
        ("pkg/config/dynamic/zz_generated.deepcopy.go", "\tout.HTTP = in.HTTP\n", ""),
        ("pkg/config/dynamic/zz_generated.deepcopy.go", "\tout.Router = in.Router\n", ""),
        ("go.mod", "\tgithub.com/traefik/traefik/dynamic/ext v0.0.0-00010101000000-000000000000\n", ""),
        ("go.mod", "replace github.com/traefik/traefik/dynamic/ext => ./pkg/config/dynamic/ext\n", ""),
        ("go.mod", "v0.4.1-0.20260804094822-b975dcaa8c48", "v0.4.1-0.20200324110947-a37a7636d23e"),
    ),
}
STREAMS = re.compile(r"^stream \{.*?^\}\n", re.MULTILINE | re.DOTALL)


def edit(folder: Path, edits: tuple[tuple[str, str, str], ...]) -> None:
    """Replaces each text in its file of a copied archive."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)
    for name, old, new in edits:
        file = folder / name
        text = file.read_text()
        if text.count(old) != 1:
            raise Problem(f"{folder.name} has changed: {name} does not have this text once, as an edit needs it: {old}")
        write(file, text.replace(old, new))
    template = folder / "rootfs" / "etc" / "nginx" / "template" / "nginx.tmpl"
    if template.exists():
        write(template, STREAMS.sub("", template.read_text(), count=1))


def ingress_files(where: Layout) -> Path:
    """The folder of ingress-nginx's nginx template and Lua code, as edited."""
    return cluster_module(where) / "ingress-nginx" / "rootfs" / "etc" / "nginx"
