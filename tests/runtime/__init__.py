"""Tests of livestream.runtime."""
