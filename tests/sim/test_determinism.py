"""The same seed is the same run, whatever the process; another seed is another run."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def trace_hash(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "livestream", "simulate", "L0", "--viewers", "6"]
    command += ["--seconds", "7", "--seed", str(seed), "--json", "-"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        timeout=100,
    )
    figures = json.loads(done.stdout)
    assert figures["seed"] == seed
    return str(figures["trace_hash"])


def test_two_processes_with_different_hash_seeds_run_the_same() -> None:
    first = trace_hash(1, "1")
    assert trace_hash(1, "2") == first
    assert trace_hash(2, "1") != first
