"""What a terminal shows of a simulated file swarm."""

from __future__ import annotations

from typing import Final

from livestream.sim.fileresult import FileResult

__all__ = ["file_table"]

# Figure, its name in words, its unit.
_ROWS: Final = (
    ("done_last_s", "all have it after", "s"),
    ("took_p50_s", "from coming to having, median", "s"),
    ("took_p95_s", "from coming to having, 95 %", "s"),
    ("free_riders_took_p50_s", "the same, free riders, median", "s"),
    ("finished_share", "have it at the end", "%"),
    ("seed_copies", "sent by the seed / file", "x"),
    ("duplicate_share", "duplicate payload", "%"),
    ("overhead_share", "all beyond payload", "%"),
)


def file_table(result: FileResult) -> str:
    """Return the figures of a run as a table, each beside its bound."""
    figures = result.to_json()
    lines = [
        f"{result.scenario}, {result.viewers} downloaders, seed {result.seed}: "
        f"{result.wall_s:.1f} s\n",
        f"  {'':30}{'measured':>10}{'bound':>10}\n",
    ]
    for key, words, unit in _ROWS:
        measured = _shown(figures[key], unit)
        bound = _shown(result.bounds.get(key), unit) if key in result.bounds else ""
        lines.append(f"  {words:30}{measured:>10}{bound:>10}\n")
    lines.append(f"  trace {result.trace_hash}\n")
    return "".join(lines)


def _shown(value: object, unit: str) -> str:
    if not isinstance(value, (int, float)):
        return "-"
    return f"{value * 100:.2f} %" if unit == "%" else f"{value:.2f} {unit}"
