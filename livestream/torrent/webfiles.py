"""Where a web server has a torrent's files: URLs by BEP 19's rules (`web_sources`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from livestream.torrent.metainfo import FileEntry, Metainfo
from livestream.torrent.weburl import is_web_url
from livestream.transport.fetch import FileRun
from livestream.transport.webseed import WebSource

__all__ = ["TorrentFiles", "web_sources"]


class TorrentFiles(WebSource):
    """The files of a torrent below one URL.

    "If the URL ends in a slash, the client must add the name; a torrent of several files gets
    the path as well" (BEP 19). A torrent of one file is at the URL itself where it has no slash.
    """

    def __init__(self, metainfo: Metainfo, url: str) -> None:
        self.info_hash = metainfo.info_hash
        self.url = url
        self._base = url.replace(" ", "%20")  # Seen in the wild; no URL has spaces.
        self._metainfo = metainfo

    def runs(self, index: int, begin: int, length: int) -> Iterator[FileRun]:
        """Yield the runs in files that a block of a piece is, in order."""
        metainfo = self._metainfo
        for span in metainfo.spans(index * metainfo.piece_length + begin, length):
            entry = metainfo.files[span.file]
            url = "" if entry.is_padding else self._url(entry)
            yield FileRun(url, span.start, span.length, entry.length)

    def _url(self, entry: FileEntry) -> str:
        if self._metainfo.is_single and not self._base.endswith("/"):
            return self._base
        # The server has the files under the torrent's own names, not under those that are safe
        # here; but a name that climbs out of its folder is none.
        is_plain = bool(entry.names) and not {"", ".", ".."}.intersection(entry.names)
        names: Sequence[str] = entry.names if is_plain else entry.path
        return f"{self._base.removesuffix('/')}/" + "/".join(quote(name, safe="") for name in names)


def web_sources(metainfo: Metainfo) -> list[TorrentFiles]:
    """Return the web seeds of a torrent that can be used, each once."""
    urls = dict.fromkeys(metainfo.web_seeds)
    return [TorrentFiles(metainfo, url) for url in urls if is_web_url(url)]
