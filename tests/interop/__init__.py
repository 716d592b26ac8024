"""Ours beside real clients, on loopback."""
