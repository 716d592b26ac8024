"""Tests of livestream.live."""
