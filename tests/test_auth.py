import copy
import hashlib
import hmac
import pickle
import struct
import sys
from importlib.util import find_spec

import msgpack
import numpy as np
import pytest
from helpers import first_frame, packed_length

import oobcodec
from oobcodec import header
from oobcodec.auth import Keyring, Session, session_nonces
from oobcodec.errors import AuthenticationError, DecodeError, EncodeError, HeaderError, IntegrityError, TruncatedError
from oobcodec.integrity import check
from oobcodec.packed import pack, unpack

KEY, OTHER = bytes(range(32)), bytes(range(100, 140))
NONCE_A, NONCE_B = b"a" * 16, b"b" * 16
HMAC = "hmac-sha256"
ALGORITHMS = [
    HMAC,
    pytest.param("blake3", marks=pytest.mark.skipif(not find_spec("blake3"), reason="blake3 is not installed")),
]


def message(*contents):
    """Return a message whose frames hold these bytes."""
    placements = tuple((index, 0, len(content), False) for index, content in enumerate(contents, 1))
    first = header.encode("test", None, tuple(map(len, contents)), 0, placements)
    return [memoryview(first), *map(memoryview, contents)]


def keyring(**options):
    return Keyring({"k": KEY}, sign_with="k", **options)


def opened(frames, keys):
    """Do what a receiver of frames does before it believes them."""
    first = bytes(frames[0])
    keys.verify(first)
    decoded = header.decode(first)
    assert len(frames) == 1 + len(decoded.lengths)
    check(decoded, [memoryview(frame) for frame in frames[1:]], keys)
    return decoded


def refused(frames, keys, text, error=AuthenticationError):
    with pytest.raises(error, match=text):
        opened(frames, keys)
    return True


def with_block(frames, block):
    """Return a message with another authentication block, to which the prelude is fitted."""
    first = bytes(frames[0])
    covered = first[: 24 + struct.unpack_from("<Q", first, 8)[0]]
    return [covered[:6] + struct.pack("<H", len(block)) + covered[8:] + block, *frames[1:]]


def block_of(frames):
    return header.split_first(bytes(frames[0]))[2]


def sessions(keys=None):
    """Return the two ends of a connection."""
    keys = keys or keyring()
    return Session(keys, NONCE_A, NONCE_B), Session(keys, NONCE_B, NONCE_A)


# Keys


@pytest.mark.parametrize("key", [b"", b"x" * 31, bytearray(31), "x" * 32, None, 32, memoryview(bytes(32))])
def test_a_key_is_32_bytes_or_more(key):
    with pytest.raises(ValueError, match=r"the key 'new' is .*; it needs 32 bytes or more: secrets\.token_bytes\(32\)"):
        Keyring({"good": KEY, "new": key})


@pytest.mark.parametrize("key_id", ["", "é" * 128, 1, None, b"k"])
def test_a_key_id_is_text_of_at_most_255_bytes(key_id):
    with pytest.raises(ValueError, match="the id of a key is text of 1 to 255 bytes in UTF-8, not "):
        Keyring({key_id: KEY})


def test_the_longest_key_id():
    keys = Keyring({"é" * 127 + "e": OTHER}, sign_with="é" * 127 + "e")
    assert opened(keys.seal(message(b"abc")), keys).lengths == (3,)


def test_a_keyring_has_a_key():
    with pytest.raises(ValueError, match="without a key"):
        Keyring({})


def test_the_key_that_signs_is_one_of_the_keys():
    with pytest.raises(ValueError, match="sign_with='b' is not the id of a key"):
        Keyring({"a": KEY}, sign_with="b")


def test_algorithms_are_known_by_name():
    with pytest.raises(ValueError, match="algorithm='none' is not known; there are hmac-sha256, blake3"):
        keyring(algorithm="none")


def test_an_algorithm_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(ImportError, match=r"needs the package blake3, .*: pip install oobcodec\[blake3\]"):
        keyring(algorithm="blake3")


def test_a_keyring_shows_no_key():
    assert repr(Keyring({"a": KEY, "b": OTHER})) == "<Keyring of 'a', 'b', algorithm='hmac-sha256'>"
    assert repr(keyring()) == "<Keyring of 'k', sign_with='k', algorithm='hmac-sha256'>"


def test_keys_are_copied():
    secret = bytearray(KEY)
    keys = Keyring({"k": secret}, sign_with="k")
    secret[:] = bytes(32)
    opened(keys.seal(message()), keyring())


@pytest.mark.parametrize("make", [keyring, lambda: sessions()[0]])
@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_keys_do_not_travel(make, take):
    with pytest.raises(TypeError, match="can be neither pickled nor copied"):
        take(make())


def test_keys_do_not_travel_with_an_object():
    with pytest.raises(EncodeError, match="keys do not travel"):
        oobcodec.dumps({"config": keyring()})


def test_a_keyring_cannot_be_changed():
    keys = keyring()
    for change in (
        lambda: setattr(keys, "_signer", None),
        lambda: delattr(keys, "_keys"),
        lambda: setattr(keys, "x", 1),
    ):
        with pytest.raises(AttributeError, match="cannot be changed"):
            change()


def test_a_keyring_without_a_signer_only_verifies():
    keys = Keyring({"k": KEY})
    with pytest.raises(EncodeError, match=r"only verifies: name the key that signs with Keyring\(\.\.\., sign_with="):
        keys.seal(message(b"abc"))
    assert opened(keyring().seal(message(b"abc")), keys)


# What is signed


def test_every_byte_of_a_signed_message_is_where_the_format_says():
    plain = message(b"one", b"", b"three")
    first, *frames = keyring().seal(plain)
    fields = msgpack.unpackb(plain[0][24:], use_list=False)
    digests = ("sha256", tuple(hashlib.sha256(content).digest() for content in (b"one", b"", b"three")))
    body = msgpack.packb((*fields[:5], digests, fields[6]))
    packed = packed_length([24 + len(body) + 60, 3, 0, 5])
    covered = b"OOB\1\0\0" + struct.pack("<HQQ", 60, len(body), packed) + body
    block = b"\1\1\1k" + bytes(16) + bytes(8)
    mac = hmac.digest(KEY, b"oobcodec message authentication\0" + b"\1" + block + covered, "sha256")
    assert bytes(first) == covered + block + mac
    assert frames == plain[1:]


def test_the_frames_of_a_signed_message_are_the_same_memory():
    values = np.arange(1000.0)
    plain = oobcodec.dumps(values)
    sealed = keyring().seal(plain)
    assert np.shares_memory(np.frombuffer(sealed[2]), values)
    assert [frame.readonly for frame in sealed] == [True, *[frame.readonly for frame in plain[1:]]]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_signed_is_verified(algorithm):
    keys = keyring(algorithm=algorithm)
    for contents in ([], [b""], [b"abc", b"", bytes(1000)]):
        decoded = opened(keys.seal(message(*contents)), keys)
        assert decoded.digests.algorithm == keys.digest_algorithm
        assert [len(value) for value in decoded.digests.values] == [32] * len(contents)


def test_a_signed_message_can_be_signed_again():
    new = Keyring({"n": OTHER}, sign_with="n")
    assert opened(new.seal(keyring().seal(message(b"abc"))), new)
    assert new.seal(keyring().seal(message(b"abc"))) == new.seal(message(b"abc"))


def test_keys_are_changed_without_a_gap():
    old, new = Keyring({"1": KEY}, sign_with="1"), Keyring({"2": OTHER}, sign_with="2")
    both = Keyring({"1": KEY, "2": OTHER}, sign_with="2")
    for signer in (old, new, both):
        assert opened(signer.seal(message(b"abc")), both)
    assert opened(both.seal(message(b"abc")), new)
    assert refused(both.seal(message(b"abc")), old, r"signed with the key '2', which is not in <Keyring of '1', ")


# What is refused


def test_what_is_not_signed_is_refused():
    text = r"^frames are unsigned but keyring= was given\.$"
    assert refused(message(b"abc"), keyring(), text)
    assert refused(with_block(keyring().seal(message(b"abc")), b""), keyring(), text)


def test_a_checksum_is_no_signature():
    plain = message(b"abc")
    fields = header.decode(bytes(plain[0]))
    first = header.checksummed(fields, header.Digests("xxh3_64", (bytes(8),)))
    assert refused([first, *plain[1:]], keyring(), r"^frames are unsigned but keyring= was given\.$")


def test_another_key_of_the_same_name_is_refused():
    mallory = Keyring({"k": OTHER}, sign_with="k")
    assert refused(mallory.seal(message(b"abc")), keyring(), "the header is not what the key 'k' has signed")


def test_the_name_of_the_key_is_signed():
    keys = Keyring({"k": KEY, "l": KEY}, sign_with="k")
    frames = keys.seal(message(b"abc"))
    block = block_of(frames)
    assert refused(with_block(frames, block[:3] + b"l" + block[4:]), keys, "not what the key 'l' has signed")


def test_a_key_id_that_is_no_text_is_refused():
    frames = keyring().seal(message(b"abc"))
    block = block_of(frames)
    assert refused(
        with_block(frames, block[:3] + b"\xff" + block[4:]), keyring(), r"the key '\\\\xff', which is not in"
    )


@pytest.mark.parametrize(("number", "name"), [(2, "blake3"), (3, "algorithm 3"), (255, "algorithm 255")])
def test_the_receiver_chooses_the_algorithm(number, name):
    frames = keyring().seal(message(b"abc"))
    block = bytearray(block_of(frames))
    block[1] = number
    text = f"the message is signed with {name}, the keyring takes hmac-sha256 only"
    assert refused(with_block(frames, bytes(block)), keyring(), text)


@pytest.mark.skipif(not find_spec("blake3"), reason="blake3 is not installed")
def test_algorithms_are_not_mixed():
    fast, standard = keyring(algorithm="blake3"), keyring()
    assert refused(fast.seal(message(b"abc")), standard, "signed with blake3, the keyring takes hmac-sha256 only")
    assert refused(standard.seal(message(b"abc")), fast, "signed with hmac-sha256, the keyring takes blake3 only")


def test_a_truncated_block_is_refused():
    frames = keyring().seal(message(b"abc"))
    block = block_of(frames)
    for size in range(1, len(block)):
        assert refused(with_block(frames, block[:size]), keyring(), "authentication block|unsigned")
    assert refused(with_block(frames, block + b"\0"), keyring(), "has 61 bytes instead of 60")
    assert refused(with_block(frames, b"\2" + block[1:]), keyring(), "that this oobcodec cannot read")
    long_id = block[:2] + b"\xff" + block[3:]
    assert refused(with_block(frames, long_id), keyring(), "has 60 bytes instead of 314")


def test_a_frame_that_is_cut_off_is_truncated():
    first = bytes(keyring().seal(message(b"abc"))[0])
    for size in range(len(first)):
        with pytest.raises(TruncatedError):
            keyring().verify(first[:size])
    with pytest.raises(HeaderError):
        keyring().verify(first + b"\0")


def test_nothing_is_parsed_before_it_is_verified(monkeypatch):
    frames = keyring().seal(message(b"abc"))
    body = first_frame(b"\xc1" * 100, auth=60, packed=24 + 100 + 60)
    monkeypatch.setattr(msgpack, "unpackb", None)
    assert keyring().verify(frames[0]) == (bytes(16), 0)
    with pytest.raises(AuthenticationError, match="not what the key 'k' has signed"):
        keyring().verify(body + block_of(frames))


def test_another_header_with_the_digests_of_other_frames_is_refused():
    frames = keyring().seal(message(b"abc", b"def"))
    forged = [b"xyz", b"def"]
    decoded = header.decode(bytes(frames[0]))
    digests = header.Digests("sha256", tuple(hashlib.sha256(content).digest() for content in forged))
    first = header.encode(*decoded[:5], digests=digests, auth_length=60) + block_of(frames)
    assert refused([first, *forged], keyring(), "not what the key 'k' has signed")


def test_other_frames_are_refused_by_their_digests():
    frames = keyring().seal(message(b"abc", b"def"))
    text = "frame {} is not what was sent: its sha256 digest is another"
    assert refused([frames[0], b"xyz", b"def"], keyring(), text.format(1), IntegrityError)
    assert refused([frames[0], b"abc", b"abc"], keyring(), text.format(2), IntegrityError)
    assert refused([frames[0], b"def", b"abc"], keyring(), text.format(1), IntegrityError)


def test_no_signature_makes_another_header_pass():
    one, two = keyring().seal(message(b"abc")), keyring().seal(message(b"abcd"))
    assert refused([bytes(with_block(one, block_of(two))[0]), b"abc"], keyring(), "not what the key 'k' has signed")


def read(packed):
    """Do what a receiver of the packed form does before it believes it."""
    frames = unpack(packed, keyring=keyring())
    check(header.decode(frames[0].tobytes()), frames[1:], keyring())


@pytest.mark.parametrize("contents", [[], [b"abc"], [b"", bytes(70), b"x"]], ids=len)
def test_every_bit_of_a_signed_message_counts(contents):
    packed = bytes(pack(keyring().seal(message(*contents))))
    read(packed)
    for bit in range(8 * len(packed)):
        changed = bytearray(packed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            read(changed)
    for size in range(len(packed)):
        with pytest.raises(DecodeError):
            read(packed[:size])


def test_every_bit_of_signed_frames_counts():
    frames = [bytearray(frame) for frame in keyring().seal(message(b"abc", b"de"))]
    for frame in frames:
        for bit in range(8 * len(frame)):
            frame[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DecodeError):
                opened(frames, keyring())
            frame[bit // 8] ^= 1 << bit % 8
    opened(frames, keyring())


def test_no_error_tells_a_key_or_what_a_message_holds():
    secret = b"the secret payload"
    frames = keyring().seal(message(secret))
    wrong = Keyring({"k": OTHER})
    one, two = sessions()
    attempts = [
        lambda: opened(frames, wrong),
        lambda: opened(frames, Keyring({"m": KEY})),
        lambda: opened([frames[0], secret[::-1]], keyring()),
        lambda: two.open_first(frames[0]),
        lambda: Keyring({"k": KEY[:31]}),
        lambda: Keyring({"k": KEY}).seal(frames),
        lambda: pickle.dumps(one),
    ]
    for attempt in attempts:
        with pytest.raises((DecodeError, EncodeError, ValueError, TypeError)) as caught:
            attempt()
        text = str(caught.value) + repr(caught.value)
        for hidden in (KEY[:31], OTHER, secret, secret[::-1]):
            assert repr(hidden)[2:-1] not in text
            assert hidden.hex() not in text


# Connections


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_messages_of_a_connection_in_their_order(algorithm):
    one, two = sessions(keyring(algorithm=algorithm))
    for number in range(3):
        two.open_first(one.seal(message(b"%d" % number))[0])
    one.open_first(two.seal(message(b"back"))[0])
    assert repr(one).endswith(": 3 sent, 1 received>")
    assert KEY.hex() not in repr(one)


def test_a_session_writes_its_nonce_and_number():
    one, _ = sessions()
    frames = [one.seal(message(b"abc")) for _ in range(2)]
    assert [keyring().verify(first) for first, _ in frames] == [(NONCE_A, 0), (NONCE_A, 1)]


def test_a_message_that_comes_again_is_refused():
    one, two = sessions()
    first = one.seal(message(b"pay"))[0]
    two.open_first(first)
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="message 0 of the connection arrived where number 1 is the next"):
            two.open_first(first)
    two.open_first(one.seal(message(b"next"))[0])


def test_a_message_out_of_order_is_refused():
    one, two = sessions()
    earlier, later = (one.seal(message(b"abc"))[0] for _ in range(2))
    with pytest.raises(AuthenticationError, match="message 1 of the connection arrived where number 0 is the next"):
        two.open_first(later)
    two.open_first(earlier)
    two.open_first(later)


def test_a_message_that_is_sent_back_is_refused():
    one, _ = sessions()
    with pytest.raises(AuthenticationError, match="for another connection, or for the other direction"):
        one.open_first(one.seal(message(b"abc"))[0])


def test_a_message_of_another_connection_is_refused():
    _, two = sessions()
    elsewhere = Session(keyring(), b"c" * 16, NONCE_B)
    for frames in (elsewhere.seal(message(b"abc")), keyring().seal(message(b"abc"))):
        with pytest.raises(AuthenticationError, match="for another connection"):
            two.open_first(frames[0])


def test_a_forgery_does_not_block_the_genuine_message():
    one, two = sessions()
    first = bytes(one.seal(message(b"abc"))[0])
    for position in range(len(first)):
        forged = bytearray(first)
        forged[position] ^= 1
        with pytest.raises(DecodeError):
            two.open_first(forged)
    two.open_first(first)


def test_what_cannot_be_signed_takes_no_number():
    one, two = sessions()
    with pytest.raises(HeaderError):
        one.seal([b"no message, but long enough for one"])
    two.open_first(one.seal(message(b"abc"))[0])


@pytest.mark.parametrize("nonces", [(b"short", NONCE_B), (NONCE_A, b"x" * 17), (NONCE_A, "x" * 16)])
def test_a_nonce_is_16_bytes(nonces):
    with pytest.raises(ValueError, match="a nonce is 16 bytes"):
        Session(keyring(), *nonces)
    with pytest.raises(ValueError, match="a nonce is 16 bytes"):
        session_nonces(*nonces, listening=True)


def test_the_directions_of_a_connection_differ():
    with pytest.raises(AuthenticationError, match="both directions"):
        Session(keyring(), NONCE_A, NONCE_A)
    with pytest.raises(AuthenticationError, match="sends back our own nonce"):
        session_nonces(NONCE_A, NONCE_A, listening=False)


def test_both_sides_make_the_same_nonces():
    here = session_nonces(NONCE_A, NONCE_B, listening=False)
    assert session_nonces(NONCE_B, NONCE_A, listening=True) == here[::-1]
    # Who listened counts: two sides that both asked are two connections that somebody has joined.
    assert set(session_nonces(NONCE_B, NONCE_A, listening=False)).isdisjoint(here)
    assert set(session_nonces(NONCE_A, b"c" * 16, listening=False)).isdisjoint(here)
    assert here[0] == hashlib.sha256(b"oobcodec connection nonce\0" + b"\0" + NONCE_A + NONCE_B).digest()[:16]
