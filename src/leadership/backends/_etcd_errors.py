"""
What an answer of etcd that is no result means to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

from leadership.errors import LeadershipError, StoreRefused, StoreUnavailable

_TRUST = "CERTIFICATE_VERIFY_FAILED"
_NAME = "Hostname Verification Check failed"
_FILES = "Failed to create security handshaker"
_CLIENT = ("TSI_DATA_CORRUPTED", "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "ALERT_UNKNOWN_CA")
_TOKEN = ("invalid auth token", "user name is empty", "revision of auth store is old")
_LOST_CONTACT = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    How a call failed, in gRPC's words.
    """

    code: str
    """The name of the status code."""
    details: str
    host: str
    tls: bool

    @property
    def lost_contact(self) -> bool:
        """
        The server did not answer, or cannot serve now; another one of its cluster may.
        """
        return self.code in _LOST_CONTACT and not self._untrusted

    @property
    def token_refused(self) -> bool:
        """
        Another token may help.
        """
        return self.code == "UNAUTHENTICATED" or any(words in self.details for words in _TOKEN)

    @property
    def auth_is_off(self) -> bool:
        """
        The server asks nobody who he is.
        """
        return self.code == "FAILED_PRECONDITION" and "authentication is not enabled" in self.details

    @property
    def lease_gone(self) -> bool:
        """
        The lease that the call named does not exist (any more).
        """
        return self.code == "NOT_FOUND" and "lease not found" in self.details

    @property
    def _untrusted(self) -> bool:
        return self.code == "UNAVAILABLE" and any(words in self.details for words in (_TRUST, _NAME, _FILES, *_CLIENT))

    def explain(self, about: str, user: str | None) -> LeadershipError:
        """
        The error to raise.

        Args:
            about: What was asked for, with the keys it concerns.
            user: On whose behalf.
        """
        who = "this client, which has no user" if user is None else f"the user {user!r}"
        if self._untrusted:
            return StoreRefused(f"{self._trust()}: {self.details}")
        if self.code == "PERMISSION_DENIED" or "PermissionDenied" in self.details:
            return StoreRefused(f"{self._where} denies {who} permission for {about}: grant a role readwrite on them")
        if "authentication failed" in self.details:
            return StoreRefused(f"{self._where} does not know {who} with this password: {self.details}")
        if self.token_refused:
            return StoreRefused(f"{self._where} does not accept {who}: {self.details}; give user and password")
        if self.code == "RESOURCE_EXHAUSTED" and "space" in self.details:
            return StoreUnavailable(
                f"{self._where} is out of space (alarm NOSPACE): who leads goes on, and nobody can campaign until it is"
                f" compacted, defragmented and disarmed: {self.details}"
            )
        if self.code == "DEADLINE_EXCEEDED":
            return StoreUnavailable(f"{self._where} did not answer in time ({about})")
        return StoreUnavailable(f"{self._where} is unavailable ({about}): {self.code} {self.details}{self._hint}")

    @property
    def _where(self) -> str:
        return f"etcd at {self.host}"

    def _trust(self) -> str:
        if _FILES in self.details:
            return (
                "the files of ca_file, cert_file and key_file cannot be used: they are no PEM, or key and cert differ"
            )
        if _TRUST in self.details:
            return f"{self._where} has a certificate that ca_file (or the system's authorities) does not vouch for"
        if _NAME in self.details:
            return f"{self._where} has a certificate for another host name (server_name says which to expect)"
        return f"{self._where} refuses the client's certificate, or asks for one (cert_file, key_file)"

    @property
    def _hint(self) -> str:
        if "Socket closed" not in self.details:
            return ""
        return " (does it speak TLS?)" if self.tls else " (does it ask for TLS? then tls=True)"
