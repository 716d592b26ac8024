"""Tests of livestream.pieces."""
