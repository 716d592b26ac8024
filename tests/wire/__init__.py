"""Tests of livestream.wire."""
