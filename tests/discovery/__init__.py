"""Tests of livestream.discovery."""
