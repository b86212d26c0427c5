import socket
from pathlib import Path

import pytest

from oobcodec.addresses import check_exposure, is_loopback, parse, peer_of, resolve, text
from oobcodec.errors import InsecureError, OobError

HERE = (socket.AF_INET, ("127.0.0.1", 4000))
THERE = (socket.AF_INET, ("10.0.0.7", 4000))


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        (("localhost", 4000), ("localhost", 4000)),
        (("", 0), ("", 0)),
        (("::1", 65535), ("::1", 65535)),
        ("example.org:80", ("example.org", 80)),
        (":4000", ("", 4000)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:4000", ("::1", 4000)),
        ("[fe80::1%eth0]:4000", ("fe80::1%eth0", 4000)),
        ("/run/oob", "/run/oob"),
        ("./oob:1", "./oob:1"),
        ("unix:oob", "oob"),
        ("unix:/run/oob", "/run/oob"),
        (Path("oob"), "oob"),
    ],
)
def test_addresses_are_hosts_with_ports_or_paths(address, parsed):
    assert parse(address) == parsed


@pytest.mark.parametrize(
    "address", [4000, None, b"localhost:4000", ("localhost",), ("localhost", "4000"), ("localhost", True), (1, 2)]
)
def test_other_types_are_no_addresses(address):
    with pytest.raises(TypeError, match=r"is no address: give \(host, port\), 'host:port', or the path"):
        parse(address)


@pytest.mark.parametrize(
    "address",
    ["localhost", "", "oob.sock", "::1:4000", "localhost:http", "localhost:", "localhost:-1", "a:٣", "tcp://a:1"],
)
def test_other_texts_are_no_addresses(address):
    with pytest.raises(ValueError, match="is no address: write 'host:port'"):
        parse(address)


@pytest.mark.parametrize("address", [("a", 65536), ("a", -1), "a:65536"])
def test_a_port_has_two_bytes(address):
    with pytest.raises(ValueError, match="is no port: they are 0 to 65535"):
        parse(address)


class PathOfBytes:
    def __fspath__(self):
        return b"oob"


# What starts with a zero byte would be a name that every user of this machine can connect to.
@pytest.mark.parametrize("address", ["unix:", "unix:\0oob", "/a\0b", PathOfBytes()])
def test_a_path_is_text_that_names_a_file(address):
    with pytest.raises(ValueError, match="is not the path of a Unix socket"):
        parse(address)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (("127.0.0.1", 4000), "127.0.0.1:4000"),
        (("::1", 4000, 0, 0), "[::1]:4000"),
        ("/run/oob", "unix:/run/oob"),
        ("oob", "unix:oob"),
        (b"\0oob", "unix:\0oob"),
        ("", ""),
        (b"", ""),
    ],
)
def test_the_text_of_an_address_is_one_that_parse_takes(name, expected):
    assert text(name) == expected
    if expected and "\0" not in expected:
        assert parse(expected) == (name[:2] if isinstance(name, tuple) else name)


def test_the_peer_of_a_tcp_socket_is_its_address():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        host, port = server.getsockname()
        assert peer_of(client) == f"{host}:{port}"
        with server.accept()[0] as accepted:
            assert peer_of(accepted) == "{}:{}".format(*client.getsockname())
        # Not connected: then its own is all there is to tell.
        assert peer_of(server) == f"{host}:{port}"


def test_the_peer_of_a_unix_socket_is_the_path_on_both_sides(tmp_path):
    path = str(tmp_path / "oob")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        with server.accept()[0] as accepted:
            assert peer_of(client) == peer_of(accepted) == f"unix:{path}"


def test_the_peer_of_a_nameless_or_closed_socket_is_called_so():
    ends = socket.socketpair()
    assert peer_of(ends[0]) == "an unnamed socket"
    for end in ends:
        end.close()
    assert peer_of(ends[0]) == "an unnamed socket"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::ffff:127.9.9.9", "::1%lo"]
)
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "128.0.0.1", "10.0.0.7", "192.168.1.1", "169.254.1.1", "::ffff:10.0.0.7", "::2", "fe80::1%lo"],
)
def test_no_loopback(host):
    assert not is_loopback(host)


def test_an_empty_host_is_all_interfaces():
    assert {name[0] for _, name in resolve("", 4000)} == {"0.0.0.0"}
    assert resolve("127.0.0.1", 4000) == [HERE]


def test_a_host_that_does_not_exist_is_an_os_error(monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match="not known"):
        resolve("nowhere.invalid", 4000)


def test_loopback_alone_is_not_exposed():
    check_exposure("localhost", [HERE, (socket.AF_INET6, ("::1", 4000, 0, 0))])


@pytest.mark.parametrize(
    ("host", "names", "shown"),
    [
        ("10.0.0.7", [THERE], "10.0.0.7"),
        ("", [(socket.AF_INET, ("0.0.0.0", 4000))], "0.0.0.0"),
        ("example.org", [THERE], "example.org (10.0.0.7)"),
        ("example.org", [HERE, THERE], "example.org (10.0.0.7)"),
    ],
)
def test_an_address_that_others_reach_is_refused(host, names, shown):
    with pytest.raises(InsecureError) as caught:
        check_exposure(host, names)
    assert isinstance(caught.value, OobError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == (
        f"refused to listen on {shown} with policy=TRUSTED: whoever can connect could run any code in this process. "
        "Choose policy=oobcodec.DATA, keyring=oobcodec.Keyring(...), ssl=ssl.SSLContext, a loopback address such as "
        "127.0.0.1, or insecure=True."
    )
