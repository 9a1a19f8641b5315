"""
The peers in Go, built here: Debian's own Go and its packages of docker/leadership, libkv, Consul's and etcd's clients.

All are of one suite, the last one whose libkv knows Consul. They are fetched as the servers are, without root and
outside the checkout's files, and nothing is installed; a second run fetches nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from servers import ServersMissing
from servers._where import home
from servers.fetch import Apt

SUITE: Final = "bullseye"
PACKAGES: Final = (
    "golang-1.15-go",
    "golang-1.15-src",
    "golang-etcd-server-dev",
    "golang-github-armon-go-metrics-dev",
    "golang-github-coreos-go-semver-dev",
    "golang-github-coreos-go-systemd-dev",
    "golang-github-coreos-pkg-dev",
    "golang-github-docker-leadership-dev",
    "golang-github-docker-libkv-dev",
    "golang-github-fatih-color-dev",
    "golang-github-gogo-protobuf-dev",
    "golang-github-google-uuid-dev",
    "golang-github-hashicorp-consul-dev",
    "golang-github-hashicorp-go-cleanhttp-dev",
    "golang-github-hashicorp-go-hclog-dev",
    "golang-github-hashicorp-go-immutable-radix-dev",
    "golang-github-hashicorp-go-rootcerts-dev",
    "golang-github-hashicorp-golang-lru-dev",
    "golang-github-hashicorp-serf-dev",
    "golang-github-mattn-go-colorable-dev",
    "golang-github-mattn-go-isatty-dev",
    "golang-github-mitchellh-mapstructure-dev",
    "golang-github-samuel-go-zookeeper-dev",
    "golang-go.uber-atomic-dev",
    "golang-go.uber-multierr-dev",
    "golang-go.uber-zap-dev",
    "golang-golang-x-net-dev",
    "golang-golang-x-sys-dev",
    "golang-golang-x-text-dev",
    "golang-google-genproto-dev",
    "golang-google-grpc-dev",
    "golang-goprotobuf-dev",
)
SOURCE: Final = Path(__file__).parent / "peers_go"
NAMED: Final = ("docker-leadership", "docker-libkv", "hashicorp-consul", "etcd-server", "samuel-go-zookeeper")
"""Of the packages, those whose versions belong beside a figure."""


class NoGo(Exception):
    """
    The peers in Go cannot be had here, and why.
    """


def _folder() -> Path:
    return home() / "go"


def _fetch() -> None:
    stamp = _folder() / "fetched"
    if stamp.exists() and stamp.read_text(encoding="utf-8").split() == list(PACKAGES):
        return
    shutil.rmtree(_folder(), ignore_errors=True)
    debs = _folder() / "debs"
    debs.mkdir(parents=True)
    print(f"fetching from Debian into {_folder()}: Go, and libraries of the peers in Go", file=sys.stderr)
    Apt(_folder() / "apt").download({SUITE: PACKAGES}, debs)
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(deb), str(_folder() / "root")], check=True)
    (_folder() / "versions").write_text("\n".join(sorted(path.name for path in debs.iterdir())), encoding="utf-8")
    shutil.rmtree(debs)
    shutil.rmtree(_folder() / "apt")
    stamp.write_text("\n".join(PACKAGES), encoding="utf-8")


def build() -> str:
    """
    The program. Raises NoGo.
    """
    try:
        _fetch()
        root = _folder() / "root" / "usr"
        (go,) = root.glob("lib/go-*")
        made = _folder() / "peers"
        environment = {
            **os.environ,
            "GOROOT": str(go),
            "GOPATH": str(root / "share" / "gocode"),
            "GOCACHE": str(_folder() / "cache"),
            "GO111MODULE": "off",
            "GOFLAGS": "",
            "CGO_ENABLED": "0",
        }
        command = [str(go / "bin" / "go"), "build", "-o", str(made), "."]
        subprocess.run(command, cwd=SOURCE, env=environment, check=True, capture_output=True, text=True)
    except ServersMissing as error:
        raise NoGo(str(error)) from error
    except subprocess.CalledProcessError as error:
        msg = f"{' '.join(error.cmd)} failed: {error.stderr}"
        raise NoGo(msg) from error
    except OSError as error:
        msg = f"{error.filename or error}: {error.strerror}"
        raise NoGo(msg) from error
    return str(made)


def versions() -> dict[str, str]:
    """
    Of Go and the libraries, as Debian names them.
    """
    found: dict[str, str] = {}
    for name in (_folder() / "versions").read_text(encoding="utf-8").split():
        package, version, _ = name.split("_")
        if package.endswith("-go") or any(each in package for each in NAMED):
            found[package.removesuffix("-dev")] = version.replace("%3a", ":")
    return found
