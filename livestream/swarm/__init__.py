"""Peers and pieces become decisions. Knows neither live nor torrent; no I/O."""
