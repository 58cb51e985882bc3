"""An authority of its own for a test, and certificates that it issues. Needs `openssl`."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


class Authority:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.own = Pair(folder / "authority.crt", folder / "authority.key")
        _openssl(
            "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "1", "-subj", "/CN=authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", self.own.key, "-out", self.own.certificate,
        )  # fmt: skip

    def issue(self, name: str) -> Pair:
        """A certificate for that host name, or of a client of that name."""
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        _openssl(
            "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "1", "-subj", f"/CN={name}",
            "-CA", self.own.certificate, "-CAkey", self.own.key,
            "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", pair.key, "-out", pair.certificate,
        )  # fmt: skip
        return pair


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
