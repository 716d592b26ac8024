"""Key files: what may be in them, and clear errors for all else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from livestream.errors import KeyMismatchError
from livestream.runtime.keys import (
    new_identity,
    new_private_key,
    private_key_pem,
    public_key_of,
    read_private_key,
)

KEY = bytes(range(32))
EC = generate_private_key(SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
LOCKED = Ed25519PrivateKey.from_private_bytes(KEY).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
)


@pytest.mark.parametrize(
    "content",
    [private_key_pem(KEY), KEY.hex().encode(), b"\n" + KEY.hex().upper().encode() + b"\n"],
)
def test_a_key_is_read_as_pem_or_hex(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert read_private_key(tmp_path / "key") == KEY


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"zz" * 32,
        b"ab " * 20 + b"abab",
        b"\xff" * 64,
        KEY,
        private_key_pem(KEY)[:60],
        EC,
        LOCKED,
        b"x" * 100_000,
    ],
    ids=["empty", "no hex", "spaces", "no text", "raw", "cut", "EC", "locked", "long"],
)
def test_anything_else_is_a_key_error_with_exit_code_5(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.key"
    path.write_bytes(content)
    with pytest.raises(KeyMismatchError, match=r"some\.key") as caught:
        read_private_key(path)
    assert caught.value.exit_code == 5


def test_a_folder_and_nothing_are_no_keys_either(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(KeyMismatchError):
            read_private_key(path)


def test_every_key_and_every_identity_is_new_and_fits_together() -> None:
    assert new_private_key() != new_private_key()
    first, second = new_identity(), new_identity()
    assert first.public_key != second.public_key
    assert public_key_of(first.private_key) == first.public_key
    assert first.public_key in first.certificate
