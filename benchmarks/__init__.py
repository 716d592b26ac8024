"""Benchmarks: each prints our figures beside others', and writes them as JSON."""
