"""Tests of livestream.torrent."""
