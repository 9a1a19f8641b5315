"""
Fetches the real servers of the tests from Debian's packages: `make servers-fetch`, `python -m servers.fetch`.

Debian's own apt does it, with a state of its own and without root: nothing is installed, the packages are unpacked into
a folder that git ignores. The mirror is the one that this machine's apt is set up with, and apt checks the signatures.
A second run does nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from servers._where import FETCH, ServersMissing, home, java_here, root

KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGES: Final = {
    "trixie": ("etcd-server", "etcd-client"),  # 3.5; bookworm's 3.4 is past its life
    "bullseye": ("consul",),  # 1.8, the last one in Debian
    "bookworm": (
        "libzookeeper-java",
        "libcommons-cli-java",
        "libdropwizard-metrics-java",
        "libjctools-java",
        "libnetty-java",
        "libslf4j-java",
        "libsnappy-java",
        "haproxy",
        "liblua5.3-0",
        "libopentracing-c-wrapper0",
        "libopentracing1",
        "libpcre2-8-0",
        "prometheus",  # for its promtool
    ),
}
JAVA: Final = ("bookworm", ("openjdk-17-jre-headless",))
ATTEMPTS: Final = 3
HELP: Final = f"""
The tests in tests/stores need real etcd, Consul and ZooKeeper servers, which are fetched from Debian's packages here.
  * `make test-embedded` runs every test that needs no server.
  * `{FETCH}` tries again; LEADERSHIP_SERVERS=folder names a folder that another checkout has filled.
  * With Docker, `docker compose up` starts the three servers for trying things out (compose.yaml)."""


def wanted() -> dict[str, tuple[str, ...]]:
    """
    The packages by suite; a Java is among them where the machine has none.
    """
    packages = dict(PACKAGES)
    if shutil.which("java") is None:
        suite, names = JAVA
        packages[suite] = (*packages.get(suite, ()), *names)
    return packages


def stamp() -> Path:
    """
    The file that says what was fetched.
    """
    return home() / "fetched"


def complete() -> bool:
    """
    Whether all that is wanted here was fetched before; a Java more than needed does no harm.
    """
    try:
        said = set(stamp().read_text(encoding="utf-8").split())
    except OSError:
        return False
    return {f"{suite}/{name}" for suite, names in wanted().items() for name in names} <= said and root().is_dir()


def run(command: Sequence[str], folder: Path, attempts: int = 1) -> str:
    """
    What a command prints; tried again where the network may have been at fault.
    """
    attempt = 1
    while True:
        try:
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False
            )
        except OSError as error:
            msg = f"{command[0]} cannot be run here: {error.strerror}"
            raise ServersMissing(msg) from None
        if done.returncode == 0:
            return done.stdout
        if attempt == attempts:
            break
        print(f"{command[0]} failed (attempt {attempt} of {attempts}), trying again", file=sys.stderr)
        time.sleep(2.0 * attempt)
        attempt += 1
    said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if line[:2] in {"E:", "W:"})
    options = {index for index, word in enumerate(command, 1) if word == "-o"}
    words = [word for index, word in enumerate(command) if word != "-o" and index not in options]
    msg = f"`{' '.join(words)}` failed:\n{said or done.stderr}"
    raise ServersMissing(msg)


class Apt:
    """
    An apt with lists, cache and sources of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = folder / "sources.list"
        for each in ("lists/partial", "cache/archives/partial"):
            (folder / each).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        self.state = (
            f"Dir::State={folder}",
            f"Dir::State::lists={folder}/lists",
            f"Dir::State::status={folder}/status",
            f"Dir::Cache={folder}/cache",
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
            *(("APT::Sandbox::User=root",) if os.geteuid() == 0 else ()),
        )
        self.own = (f"Dir::Etc::SourceList={self.sources}", "Dir::Etc::SourceParts=/dev/null")

    def get(self, *words: str, options: Sequence[str] = (), folder: Path | None = None, attempts: int = 1) -> str:
        """
        Run apt-get.
        """
        command = ["apt-get", *(word for option in options for word in ("-o", option)), *words]
        return run(command, folder or self.folder, attempts)

    def mirror(self) -> str:
        """
        The address of the Debian archive that this machine's apt is set up with.
        """
        wanted = "$(REPO_URI)|$(ORIGIN)|$(CODENAME)|$(COMPONENT)"
        listed = self.get("indextargets", "--format", wanted)
        if "|Debian|" not in listed:  # the lists of a fresh image are empty
            self.get("update", options=self.state, attempts=ATTEMPTS)
            listed = self.get("indextargets", "--format", wanted, options=self.state)
        for line in listed.splitlines():
            uri, origin, codename, component = line.split("|")
            if origin == "Debian" and "-" not in codename and component == "main":
                return uri
        msg = "this machine's apt knows no archive of Debian (origin Debian, component main)"
        raise ServersMissing(msg)

    def download(self, packages: dict[str, tuple[str, ...]], into: Path) -> None:
        """
        Fetch packages, each from its suite.
        """
        uri = self.mirror()
        signed = f"[signed-by={KEYRING}] " if os.path.exists(KEYRING) else ""
        text = "".join(f"deb {signed}{uri} {suite} main\n" for suite in packages)
        self.sources.write_text(text, encoding="utf-8")
        options = (*self.state, *self.own)
        self.get("update", "--error-on=any", options=options, attempts=ATTEMPTS)
        names = [f"{name}/{suite}" for suite, each in packages.items() for name in each]
        self.get("download", *names, options=options, folder=into, attempts=ATTEMPTS)


def mend(folder: Path) -> None:
    """
    Point absolute symbolic links (Java's into /etc) to the same file inside the folder.
    """
    for path in folder.rglob("*"):
        if path.is_symlink() and os.path.isabs(target := os.readlink(path)):
            inside = folder / target.lstrip("/")
            if os.path.lexists(inside):
                path.unlink()
                path.symlink_to(os.path.relpath(inside, path.parent))


def unpack(debs: Path) -> None:
    """
    Put the packages' files in place, all at once.
    """
    new = home() / "root.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for deb in sorted(debs.glob("*.deb")):
        run(["dpkg", "-x", str(deb), str(new)], debs)
    mend(new)
    shutil.rmtree(root(), ignore_errors=True)
    new.rename(root())


def fetch() -> bool:
    """
    Fetch what is not here; whether anything was.
    """
    if complete():
        return False
    home().mkdir(parents=True, exist_ok=True)
    with open(home() / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it
        if complete():
            return False
        stamp().unlink(missing_ok=True)
        packages = wanted()
        print(f"fetching from Debian into {home()}: {', '.join(sorted(sum(packages.values(), ())))}", file=sys.stderr)
        debs = home() / "debs"
        shutil.rmtree(debs, ignore_errors=True)
        debs.mkdir()
        Apt(home() / "apt").download(packages, debs)
        unpack(debs)
        if java_here() is None:
            msg = f"the package {JAVA[1][0]} brought no java"
            raise ServersMissing(msg)
        shutil.rmtree(debs)
        shutil.rmtree(home() / "apt")
        said = "\n".join(f"{suite}/{name}" for suite, names in packages.items() for name in names)
        stamp().write_text(said + "\n", encoding="utf-8")
    return True


def main() -> int:
    """
    Fetch, and say loudly what could not be had.
    """
    try:
        fetch()
    except ServersMissing as error:
        print(f"\nThe servers for the tests cannot be had on this machine.\n{error}\n{HELP}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
