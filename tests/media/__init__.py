"""Tests of livestream.media."""
