"""
Throw-away certificates, made with the program `openssl`.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

LOCAL: Final = "IP:127.0.0.1,DNS:localhost"
ELSEWHERE: Final = "IP:127.0.0.9,DNS:elsewhere.example"


@dataclass(frozen=True)
class Pair:
    """
    A certificate and its key, as files.
    """

    cert_file: str
    key_file: str


@dataclass(frozen=True)
class ServerTls:
    """
    What a server is given: its certificate, and the authority of its clients' certificates if it demands one.
    """

    pair: Pair
    ca_file: str
    ask_client: bool = False


class Certificates:
    """
    An authority and what it signs, each made when it is first asked for.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)

    def for_server(self, *, wrong_host: bool = False, ask_client: bool = False) -> ServerTls:
        """
        The TLS of a server: with the name of another host, or demanding a certificate of its clients.
        """
        return ServerTls(self.elsewhere if wrong_host else self.server, self.ca_file, ask_client)

    @cached_property
    def ca_file(self) -> str:
        """
        The certificate of the authority.
        """
        return self._authority("ca")

    @cached_property
    def foreign_ca_file(self) -> str:
        """
        The certificate of an authority that signed none of these.
        """
        return self._authority("foreign-ca")

    @cached_property
    def server(self) -> Pair:
        """
        A server's: for 127.0.0.1 and localhost.
        """
        return self._signed("server", LOCAL)

    @cached_property
    def elsewhere(self) -> Pair:
        """
        A server's: for `elsewhere.example` only.
        """
        return self._signed("elsewhere", ELSEWHERE)

    @cached_property
    def client(self) -> Pair:
        """
        A client's.
        """
        return self._signed("client", LOCAL)

    @cached_property
    def foreign_client(self) -> Pair:
        """
        A client's, of the authority that no server trusts.
        """
        return self._signed("foreign-client", LOCAL, self.foreign_ca_file)

    def keystore(self, what: Pair | str, name: str) -> str:
        """
        A certificate, with its key if it is a pair, in one PEM file with the ending that ZooKeeper asks for.
        """
        files = [what] if isinstance(what, str) else [what.key_file, what.cert_file]
        path = self.folder / f"{name}.pem"
        path.write_text("".join(Path(each).read_text(encoding="ascii") for each in files), encoding="ascii")
        return str(path)

    def _authority(self, name: str) -> str:
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"),
            *("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", f"{name}.key", "-out", f"{name}.crt"),
        )
        return str(self.folder / f"{name}.crt")

    def _signed(self, name: str, names: str, ca_file: str | None = None) -> Pair:
        ca = Path(ca_file or self.ca_file).stem
        (self.folder / f"{name}.ext").write_text(
            f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n", encoding="ascii"
        )
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial"),
            *("-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.crt"),
        )
        return Pair(str(self.folder / f"{name}.crt"), str(self.folder / f"{name}.key"))

    def _openssl(self, *words: str) -> None:
        try:
            done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            msg = "the tests of TLS make certificates with the program openssl, which is missing"
            raise RuntimeError(msg) from None
        if done.returncode != 0:
            msg = f"openssl {words[0]} failed:\n{done.stderr}"
            raise RuntimeError(msg)
