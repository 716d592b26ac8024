"""Tests of livestream.swarm."""
