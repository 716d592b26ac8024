"""The notary: remembered answers are those of the real check, to the byte."""

from __future__ import annotations

from livestream.live.piece import LivePiece
from livestream.live.signing import ChannelKey, Signer
from livestream.live.window import LiveVerifier, LiveWindow
from livestream.machine import SECOND
from livestream.media.records import NO_RECORD, Payload, PayloadFlags
from livestream.pieces.verifier import Verdict
from livestream.sim.signatures import Notary, NotaryKey, NotaryVerifier, SharedWindow

SIGNER = Signer(bytes(range(32)))


def piece(index: int, *, epoch: int = 7, signer: Signer = SIGNER) -> bytes:
    payload = Payload(1_000, PayloadFlags(0), NO_RECORD, bytes([index]) * 100)
    return LivePiece.sign(signer, epoch, index, payload).to_bytes()


def verifier(notary: Notary) -> NotaryVerifier:
    window = LiveWindow(15 * SECOND)
    window.start(7, 0, newest=-1)
    judge = NotaryVerifier(NotaryKey(SIGNER.public_key, notary), window, notary)
    judge.payload_bytes_max = 4_096
    return judge


def test_each_signature_is_truly_checked_once() -> None:
    notary = Notary(SIGNER.public_key)
    one, other = verifier(notary), verifier(notary)
    for judge in (one, other, one):
        assert judge.verify(3, piece(3)) is Verdict.GENUINE
    assert notary.checks == 1


def test_one_changed_byte_is_judged_as_the_real_verifier_does() -> None:
    window = LiveWindow(15 * SECOND)
    window.start(7, 0, newest=-1)
    real = LiveVerifier(ChannelKey(SIGNER.public_key), window)
    real.payload_bytes_max = 4_096
    judge = verifier(Notary(SIGNER.public_key))
    data = piece(3)
    assert judge.verify(3, data) is Verdict.GENUINE
    for at in range(len(data)):
        forged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        verdict = judge.verify(3, forged)
        assert verdict is real.verify(3, forged), at
        assert verdict is not Verdict.GENUINE, at


def test_the_cheap_checks_are_made_every_time() -> None:
    notary = Notary(SIGNER.public_key)
    judge = verifier(notary)
    assert judge.verify(3, piece(3)) is Verdict.GENUINE
    assert judge.verify(4, piece(3)) is Verdict.FORGED, "not the piece that it is said to be"
    assert judge.verify(3, piece(3, epoch=8)) is Verdict.STRANGE
    judge.payload_bytes_max = 10
    assert judge.verify(3, piece(3)) is Verdict.FORGED, "too long for this channel"
    stranger = Signer(bytes(32))
    assert verifier(notary).verify(3, piece(3, signer=stranger)) is Verdict.FORGED


def test_windows_share_the_bytes_of_genuine_pieces() -> None:
    notary = Notary(SIGNER.public_key)
    windows = [SharedWindow(15 * SECOND, notary) for _ in range(2)]
    for window in windows:
        window.start(7, 0, newest=-1)
        window.put(3, bytes(bytearray(piece(3))), 0)
    assert windows[0].get(3) is windows[1].get(3)
    assert windows[0].get(3) == piece(3)
