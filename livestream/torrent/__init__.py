"""Torrents: the file side of the seams."""
