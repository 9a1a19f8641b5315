"""
What the URLs of the stores with a network say, and how a wrong one is refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from leadership import ConfigError, connect
from leadership.backends._address import Address, Tls, as_bool, as_number, as_text, parse, show, tls_options


def test_an_address_is_taken_apart() -> None:
    """
    Several hosts, IPv6, credentials with percent signs, and a path.
    """
    found = parse("etcd", "ann%40x:p%3Aw%2F@a:1,b,[::1]:3,[fe80::2]/service/x%20y/", 2379)

    assert (("a", 1), ("b", 2379), ("::1", 3), ("fe80::2", 2379)) == found.hosts
    assert ("ann@x", "p:w/", "service/x y") == (found.user, found.password, found.path)
    assert "etcd://ann%40x@a:1,b:2379,[::1]:3,[fe80::2]:2379/service/x%20y" == found.url("etcd")
    assert "[::1]:3" == show(found.hosts[2])


def test_an_address_shows_no_password() -> None:
    """
    Neither as a URL nor as an object.
    """
    found = parse("etcd", "ann:secret@a", 1)
    assert "secret" not in f"{found!r} {found.url('etcd')}"
    assert Address((("a", 1),), "", "ann") == parse("etcd", "ann@a:1", 2)


def test_a_host_is_counted_once() -> None:
    """
    The same host twice is one, with the port said or not.
    """
    assert (("a", 1),) == parse("x", "a,a:1", 1).hosts


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "'' is no host of a consul store: write consul://host:8500 or consul://a:8500,b:8500"),
        ("a:", "'a:' is no host"),
        ("a:0", "'a:0' is no host"),
        ("a:65536", "'a:65536' is no host"),
        ("a:x", "'a:x' is no host"),
        ("a,,b", "'' is no host"),
        ("::1", "'::1' is no host"),
        ("a b", "'a b' is no host"),
        (":pw@a", "empty user"),
        ("a//x", "empty part"),
        ("a/x%0Ay", "control character"),
        ("a/x//", "empty part"),
    ],
)
def test_refuses_an_address(address: str, why: str) -> None:
    """
    The message shows the part that is wrong, and the right form.
    """
    with pytest.raises(ConfigError, match=why):
        parse("consul", address, 8500)


@pytest.mark.parametrize("url", ["redis://ann:secret@a", "redis://a?token=secret", "redis://a?x=1&Password=secret&y=2"])
def test_a_refused_url_shows_no_secret(url: str) -> None:
    """
    What is wrong with a URL can be said without its password.
    """
    with pytest.raises(ConfigError, match="no URL of a known store") as error:
        connect(url)
    assert "secret" not in str(error.value)


def test_options_are_understood_as_text_too() -> None:
    """
    They may come from a URL's query.
    """
    assert [True, True, False, False] == [as_bool("tls", value) for value in ("true", "1", "off", False)]
    assert (2.5, 2.0) == (as_number("timeout", "2.5"), as_number("timeout", 2))
    assert ("x", None) == (as_text("user", "x"), as_text("user", None))


def test_refuses_an_option() -> None:
    """
    With its name and value, unless it is a secret.
    """
    with pytest.raises(ConfigError, match="'tls' must be true or false, not 'maybe'"):
        as_bool("tls", "maybe")
    with pytest.raises(ConfigError, match="timeout must be a number of seconds, more than 0, not '0s'"):
        as_number("timeout", "0s", exclusive=True)
    with pytest.raises(ConfigError, match="'user' must be text and not empty, not ''"):
        as_text("user", "")
    with pytest.raises(ConfigError, match="'password' must be text and not empty, not something else"):
        as_text("password", 12345)


def test_tls_is_asked_for_by_any_of_its_files(tmp_path: Path) -> None:
    """
    No option: no TLS; a file or a name: TLS, with the host's name checked.
    """
    file = tmp_path / "x.pem"
    file.write_text("x")

    assert tls_options() is None
    assert tls_options(tls=False) is None
    assert Tls() == tls_options(tls="true")
    assert Tls(ca_file=str(file)) == tls_options(ca_file=file)
    assert Tls(server_name="a", check_host_name=True) == tls_options(server_name="a")


def test_refuses_tls_options(tmp_path: Path) -> None:
    """
    What contradicts itself, and what cannot be read, is refused before anything starts.
    """
    file = tmp_path / "x.pem"
    file.write_text("x")
    with pytest.raises(ConfigError, match="'cert_file' needs 'key_file'"):
        tls_options(cert_file=file)
    with pytest.raises(ConfigError, match="'key_file' needs 'cert_file'"):
        tls_options(key_file=file)
    with pytest.raises(ConfigError, match=r"'ca_file' names 'nowhere\.pem', which cannot be read: No such file"):
        tls_options(ca_file="nowhere.pem")
    with pytest.raises(ConfigError, match="tls is off, and other options of TLS are given"):
        tls_options(tls=False, ca_file=file)


SECRETS = [
    "redis://ann:SEC@RET@h",
    "redis://ann:SEC/RET@h",
    "redis:/ann:SECRET@h",
    "ann:SECRET@h",
    *(f"{scheme}://ann:SEC/RET@h" for scheme in ("consul", "etcd", "zookeeper")),
    *(f"{scheme}://ann:SEC?RET@h/x" for scheme in ("consul", "etcd", "zookeeper")),
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_password_that_was_not_encoded_is_not_shown(url: str) -> None:
    """
    Wherever a URL is cut by what should have been encoded in its password, no part of the password is in the error.
    """
    with pytest.raises(ConfigError) as error:
        connect(url)
    assert "SEC" not in str(error.value)
    assert "RET" not in str(error.value)


@pytest.mark.parametrize("scheme", ["etcd", "zookeeper"])
def test_credentials_are_decoded_once(scheme: str) -> None:
    """
    A percent sign, a slash, a colon and an @ in a password; a slash that is encoded in the path.

    ZooKeeper's address was decoded twice, so that a correct URL was refused, and the error had a part of the password.
    """
    with connect(f"{scheme}://ann:p%2540%2F%3A%40@h:1/a%252Fb") as store:
        assert f"{scheme}://ann@h:1/a%252Fb" == store.url
    with pytest.raises(ConfigError, match="part that is"):
        connect(f"{scheme}://h/a/../b")


def test_a_password_in_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    CONSUL_HTTP_ADDR and ETCDCTL_ENDPOINTS take no user.
    """
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "http://ann:SECRET@h:8500")
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", "http://ann:SECRET@a:1,http://ann:SECRET@b:1")
    for url, name in (("consul://", "CONSUL_HTTP_ADDR"), ("etcd://", "ETCDCTL_ENDPOINTS")):
        with pytest.raises(ConfigError, match=name) as error:
            connect(url)
        assert "SECRET" not in str(error.value)
