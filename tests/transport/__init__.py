"""Tests of livestream.transport."""
