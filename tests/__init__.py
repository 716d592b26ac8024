"""Mirrors the packages, plus interop and e2e."""
