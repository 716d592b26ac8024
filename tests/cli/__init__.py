"""Tests of livestream.cli."""
