"""Tests of the local page's server."""
