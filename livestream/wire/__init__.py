"""Bytes to objects and back, both directions in one file; no state, no I/O."""
