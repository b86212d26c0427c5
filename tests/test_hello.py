import pytest

from oobcodec import hello
from oobcodec.errors import AuthenticationError, HeaderError
from oobcodec.hello import HELLO_SIZE, Hello, check_agreement, check_start, decode_hello, new_hello

NONCE = bytes(range(16))
OTHER = bytes(range(16, 32))


def raw(magic=b"\xd0OOBconn", version=1, flags=0, unused=bytes(6), nonce=NONCE):
    """Return a hello, made without oobcodec."""
    return magic + bytes([version, flags]) + unused + nonce


@pytest.mark.parametrize(("listening", "signing", "flags"), [(0, 0, 0), (1, 0, 1), (0, 1, 2), (1, 1, 3)])
def test_a_hello_is_32_documented_bytes(listening, signing, flags):
    said = Hello(listening=bool(listening), signing=bool(signing), nonce=NONCE)
    assert said.encode() == raw(flags=flags)
    assert decode_hello(raw(flags=flags)) == said
    assert len(raw()) == HELLO_SIZE == 32


def test_no_two_hellos_have_one_nonce():
    nonces = {new_hello(listening=False, signing=True).nonce for _ in range(100)}
    assert len(nonces) == 100
    assert {len(nonce) for nonce in nonces} == {16}


def test_a_start_is_accepted_at_any_length():
    for length in range(HELLO_SIZE + 1):
        check_start(raw()[:length])


@pytest.mark.parametrize("position", range(8))
def test_a_start_is_refused_at_the_first_wrong_byte(position):
    wrong = bytearray(raw()[: position + 1])
    wrong[position] ^= 1
    with pytest.raises(HeaderError, match="the peer is not an oobcodec connection: it starts with b"):
        check_start(bytes(wrong))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"OOB\x01\x00\x00", "It sends bare messages, as oobcodec.sockets.send does: use oobcodec.sockets.connect"),
        (b"\x16\x03\x01\x02\x00", "It sends TLS: give ssl= on this side too"),
        (b"\x15\x03\x01", "It sends TLS"),
        (b"GET / HTTP/1.1\r\n", "starts with b'GET / HT'. It sends HTTP"),
        (b"POST /x", "It sends HTTP"),
        (b"HTTP/1.1 400 Bad Request", "It sends HTTP"),
        (b"SSH-2.0-OpenSSH", "it starts with b'SSH-2.0-'"),
    ],
)
def test_what_other_peers_send_is_named(data, words):
    with pytest.raises(HeaderError) as caught:
        check_start(data)
    assert words in str(caught.value)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_refused(version):
    # Whatever else that version may have changed.
    with pytest.raises(HeaderError, match=f"format version {version}, this oobcodec version 1: upgrade the older side"):
        decode_hello(raw(version=version, flags=0xFF, unused=b"abcdef"))


@pytest.mark.parametrize("change", [{"flags": 4}, {"flags": 0x83}, {"unused": b"\0\0\0\0\0\1"}])
def test_what_is_not_known_is_refused(change):
    with pytest.raises(HeaderError, match=r"unknown flags 0x\w\w \w{12} in the hello: the peer is a newer oobcodec"):
        decode_hello(raw(**change))


def test_no_other_bytes_are_a_hello():
    with pytest.raises(HeaderError, match="not an oobcodec connection"):
        decode_hello(raw(magic=b"\xd0OOBConn"))


@pytest.mark.parametrize("signing", [False, True])
@pytest.mark.parametrize("listening", [False, True])
def test_two_roles_and_two_nonces_agree(listening, signing):
    check_agreement(
        Hello(listening=listening, signing=signing, nonce=NONCE),
        Hello(listening=not listening, signing=signing, nonce=OTHER),
    )


@pytest.mark.parametrize(("listening", "role"), [(False, "client"), (True, "server")])
def test_one_role_twice_is_refused(listening, role):
    with pytest.raises(HeaderError, match=f"both sides are the {role}: .* sends back what it gets"):
        check_agreement(
            Hello(listening=listening, signing=True, nonce=NONCE), Hello(listening=listening, signing=True, nonce=OTHER)
        )


@pytest.mark.parametrize("signing", [False, True])
def test_our_own_nonce_is_refused_in_the_other_role(signing):
    with pytest.raises(AuthenticationError, match="the peer sends back our own nonce"):
        check_agreement(
            Hello(listening=False, signing=signing, nonce=NONCE), Hello(listening=True, signing=signing, nonce=NONCE)
        )


@pytest.mark.parametrize(
    ("signing", "words"),
    [
        (True, "this side signs its messages and the peer does not: both sides need keyring="),
        (False, "the peer signs its messages and this side does not: both sides need keyring="),
    ],
)
def test_a_keyring_on_one_side_is_refused(signing, words):
    with pytest.raises(AuthenticationError, match=words):
        check_agreement(
            Hello(listening=False, signing=signing, nonce=NONCE),
            Hello(listening=True, signing=not signing, nonce=OTHER),
        )


def test_the_version_is_that_of_the_messages(monkeypatch):
    monkeypatch.setattr(hello, "VERSION", 7)
    assert new_hello(listening=False, signing=False).encode()[8] == 7
