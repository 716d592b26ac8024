"""Writes to files past the system's cache, where the system can do so (`Writer`)."""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import Final

__all__ = ["DONTCACHE_MIN", "Writer", "has_dontcache"]

RWF_DONTCACHE: Final = 0x80  # <linux/fs.h>.
# It came with 6.14, but until 6.16 a page could be dropped that was written to again meanwhile.
DONTCACHE_SINCE: Final = (6, 16)
DONTCACHE_MIN: Final = 128 * 1024  # For less, a request to the disk costs more than a page does.


class Writer:
    """Writes so that the data goes to the disk at once, and takes no memory once it is there.

    Left to itself, the system keeps all that is downloaded: other programs' pages make way, each
    new page costs up to 5 µs in a virtual machine, and some day all of it has to be written
    together. Who reads the data while it is on its way finds it in the cache still.

    Where the kernel or the file system cannot do so, everything is written as usual.
    """

    def __init__(self) -> None:
        self._has_dontcache = sys.platform == "linux" and has_dontcache(os.uname().release)

    def write(self, descriptor: int, data: memoryview, offset: int) -> None:
        """Write all of `data`. Safe to use from several threads. Raises OSError."""
        while data:
            count = self._write_some(descriptor, data, offset)
            data, offset = data[count:], offset + count

    def _write_some(self, descriptor: int, data: memoryview, offset: int) -> int:
        if self._has_dontcache and len(data) >= DONTCACHE_MIN:
            try:
                return os.pwritev(descriptor, [data], offset, RWF_DONTCACHE)
            except OSError as error:
                # EINVAL may have another reason; then writing as usual fails, too.
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                self._has_dontcache = False
        return os.pwrite(descriptor, data, offset)


def has_dontcache(release: str) -> bool:
    """Whether a Linux of this release, as `uname` says it, can be trusted with RWF_DONTCACHE."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is not None and (int(found[1]), int(found[2])) >= DONTCACHE_SINCE
