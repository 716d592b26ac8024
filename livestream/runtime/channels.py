"""Channels kept on disk: a publisher's keys, and the links that a viewer has watched."""

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import Final

import platformdirs

from livestream.discovery.link import ChannelLink
from livestream.errors import DiskError, DiskFullError, ExistsError, NotFoundError, UsageError
from livestream.runtime.keys import (
    new_private_key,
    private_key_pem,
    public_key_of,
    read_private_key,
)

__all__ = ["ChannelStore", "StoredChannel"]

FOLDER_VARIABLE: Final = "LIVESTREAM_DATA_DIR"
_NAME: Final = re.compile(r"[\w][\w .-]{0,63}")


@dataclass(slots=True)
class StoredChannel:
    """A channel of our own: whoever holds the private key is its publisher."""

    name: str
    private_key: bytes
    public_key: bytes
    key_path: Path
    state_path: Path
    last_epoch: int = 0
    port: int = 0
    "Where it was last on the air; 0: never."


class ChannelStore:
    """A folder of keys (mode 0600) and small state files, each written whole or not at all."""

    def __init__(self, folder: Path | None = None) -> None:
        given = os.environ.get(FOLDER_VARIABLE)
        data = Path(given) if given else platformdirs.user_data_path("livestream")
        self._folder = folder or data

    def create(self, name: str, key_file: str | None = None) -> StoredChannel:
        """Make a channel. Raises ExistsError, UsageError, KeyMismatchError."""
        if self._key_path(name).exists():
            raise ExistsError(f"There is a channel {name!r} already. Choose another name.")
        return self.open_or_create(name, key_file)

    def open_or_create(self, name: str, key_file: str | None = None) -> StoredChannel:
        """Open a channel by name; made with its key at first use."""
        own = self._key_path(name)
        key_path = Path(key_file) if key_file else own
        if not key_path.exists():
            # Whoever comes first makes the key, and both use that one.
            _write_whole(key_path, private_key_pem(new_private_key()), 0o600, is_new=True)
        private_key = read_private_key(key_path)
        public_key = public_key_of(private_key)
        state_path = self._folder / "channels" / f"{public_key.hex()}.json"
        stored = StoredChannel(name, private_key, public_key, key_path, state_path)
        if key_path != own and not own.exists():
            _write_whole(own, private_key_pem(private_key), 0o600, is_new=True)
        state = _read_json(state_path)
        stored.last_epoch = _integer(state.get("epoch"))
        stored.port = _integer(state.get("port"))
        return stored

    def open(self, name: str) -> StoredChannel:
        """Open a channel that exists. Raises NotFoundError."""
        if not self._key_path(name).exists():
            raise NotFoundError(f"No channel {name!r} here. Known: {self._known()}.")
        return self.open_or_create(name)

    def names(self) -> list[str]:
        """Return the names of our own channels."""
        return sorted(path.stem for path in (self._folder / "channels").glob("*.key"))

    def next_epoch(self, stored: StoredChannel, unix_s: int) -> int:
        """Return an epoch that was never used, and remember it before it is."""
        stored.last_epoch = max(unix_s, stored.last_epoch + 1)
        self._save(stored)
        return stored.last_epoch

    def save_port(self, stored: StoredChannel, port: int) -> None:
        """Remember where the channel listens, so that its links stay good."""
        stored.port = port
        self._save(stored)

    def remember(self, link: ChannelLink) -> None:
        """Keep a watched channel's link under its name."""
        if _NAME.fullmatch(link.name):
            known = _read_json(self._folder / "known.json")
            known[link.name] = str(link)
            data = json.dumps(known, indent=1).encode()
            with suppress(DiskError):  # A convenience: a full disk is no reason not to watch.
                _write_whole(self._folder / "known.json", data, 0o600)

    def resolve(self, text: str) -> ChannelLink:
        """Return the link that a link, a key or a known name stands for."""
        known = _read_json(self._folder / "known.json").get(text)
        if isinstance(known, str):
            return ChannelLink.parse(known)
        if not text.startswith("magnet:") and len(text) not in (52, 64):
            raise NotFoundError(
                f"{text[:70]!r} is no link and no channel known here (known: {self._known()}). "
                "Give the magnet link that publish printed, in quotes."
            )
        return ChannelLink.parse(text)

    def _known(self) -> str:
        names = sorted({*self.names(), *_read_json(self._folder / "known.json")})
        return ", ".join(names[:10]) or "none yet"

    def _key_path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name[:70]!r} cannot name a channel: use letters, digits, - . _ or spaces."
            )
        return self._folder / "channels" / f"{name}.key"

    def _save(self, stored: StoredChannel) -> None:
        state = {"epoch": stored.last_epoch, "port": stored.port}
        _write_whole(stored.state_path, json.dumps(state).encode(), 0o600)


def _read_json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _integer(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _write_whole(path: Path, data: bytes, mode: int, *, is_new: bool = False) -> None:
    """Write and rename, so that a crash leaves the old file or the new one.

    Args:
        path: What to write.
        data: All of it.
        mode: Its permissions.
        is_new: Leave a file that is there by now as it is.

    Raises:
        DiskError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, draft = mkstemp(prefix=".", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if not is_new or not _is_linked(draft, path):
                Path(draft).replace(path)
        finally:
            Path(draft).unlink(missing_ok=True)
    except OSError as error:
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else DiskError
        raise kind(
            f"{path} cannot be written ({error.strerror}). "
            f"Make its folder writable, or set {FOLDER_VARIABLE} to one that is."
        ) from error


def _is_linked(draft: str, path: Path) -> bool:
    """Give a draft its name unless that is taken; False where a file can have only one name."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return True
    except OSError:
        return path.exists()
    return True
