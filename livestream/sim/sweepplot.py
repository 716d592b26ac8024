"""The picture of several runs: their figures over what was swept, or over their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from livestream.sim.plot import (
    BLUE,
    GOAL_CONTINUITY,
    GOAL_PUBLISHER_X,
    GREEN,
    INK,
    RED,
    check_plot,
    save,
)
from livestream.sim.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Positions", "Run", "curve_of", "draw_runs", "positions_of"]

Run = tuple[Mapping[str, object], Result]
"What was changed for it, by key, and what came of it."
LOGARITHMIC_FROM: Final = 20  # So many times the least: else all but the last would be one dot.


class Positions(NamedTuple):
    """Where runs stand from left to right."""

    label: str
    at: list[float]
    "Of each run."
    names: list[str]
    "Of each run; empty where numbers speak for themselves."


class _Panel(NamedTuple):
    title: str
    curves: tuple[tuple[str, str, str], ...]
    "Key, words, colour."
    scale: float
    goals: tuple[float, ...]
    is_from_zero: bool


_PANELS: Final = (
    _Panel(
        "How far behind the camera, s",
        (("lag_p50_s", "median viewer", INK), ("lag_p99_s", "99 % of viewers", BLUE)),
        1.0,
        (0.9, 1.5),
        is_from_zero=True,
    ),
    _Panel(
        "Pieces there by their deadline, %",
        (("continuity", "of what was due", BLUE),),
        100.0,
        (100 * GOAL_CONTINUITY,),
        is_from_zero=False,
    ),
    _Panel(
        "What the publisher sends, times the rate",
        (("publisher_upload_x", "publisher", BLUE),),
        1.0,
        (GOAL_PUBLISHER_X,),
        is_from_zero=True,
    ),
    _Panel(
        "What it costs, %",
        (
            ("overhead_share", "all beyond payload", INK),
            ("control_share", "control", BLUE),
            ("duplicate_share", "what came twice", RED),
        ),
        100.0,
        (),
        is_from_zero=True,
    ),
)


def positions_of(runs: Sequence[Run]) -> Positions:
    """Return where to put runs: by the one number that was swept, by their seeds, or in order."""
    keys = list(dict.fromkeys(key for changes, _ in runs for key in changes))
    if not keys:
        return Positions("seed", [float(result.seed) for _, result in runs], [])
    values = [changes.get(keys[0]) for changes, _ in runs]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    if len(keys) == 1 and len(numbers) == len(runs):
        return Positions(keys[0], numbers, [])
    names = [", ".join(map(str, changes.values())) for changes, _ in runs]
    order = list(dict.fromkeys(names))
    return Positions(", ".join(keys), [float(order.index(name)) for name in names], names)


def curve_of(key: str, runs: Sequence[Run], positions: Positions) -> list[tuple[float, float]]:
    """Return the median of a figure at each place, from left to right; where there is one."""
    found: dict[float, list[float]] = {}
    for at, value in _dots(key, runs, positions):
        found.setdefault(at, []).append(value)
    return [(at, median(values)) for at, values in sorted(found.items())]


def _dots(key: str, runs: Sequence[Run], positions: Positions) -> list[tuple[float, float]]:
    figures = (result.to_json()[key] for _, result in runs)
    return [
        (at, float(value))
        for at, value in zip(positions.at, figures, strict=True)
        if isinstance(value, (int, float))
    ]


def draw_runs(runs: Sequence[Run], where: str) -> None:
    """Draw all runs into one PNG file: a dot each, and a line through the medians of seeds.

    Raises:
        UsageError: not the name of a PNG file.
        DiskError: the file cannot be written.
    """
    check_plot(where)
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import.

    figure = Figure(figsize=(12, 7.2), dpi=120, layout="constrained")
    result = runs[0][1]
    figure.suptitle(
        f"{result.scenario}, design {result.design}, {len(runs)} runs", color=INK, fontsize=13
    )
    positions = positions_of(runs)
    for axes, panel in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
        _draw_panel(axes, panel, runs, positions)
    save(figure, where)


def _draw_panel(axes: Axes, panel: _Panel, runs: Sequence[Run], positions: Positions) -> None:
    axes.set_title(panel.title, loc="left", color=INK)
    for key, words, colour in panel.curves:
        curve, dots = curve_of(key, runs, positions), _dots(key, runs, positions)
        scaled = [panel.scale * value for _, value in curve]
        axes.plot([at for at, _ in curve], scaled, color=colour, lw=2, label=words)
        scaled = [panel.scale * value for _, value in dots]
        axes.scatter([at for at, _ in dots], scaled, color=colour, s=22, zorder=3)
    for goal in panel.goals:
        axes.axhline(goal, color=GREEN, lw=1.5, ls="--", label=f"goal: {goal:g}")
    if positions.names:
        named = dict(zip(positions.at, positions.names, strict=True))
        axes.set_xticks(list(named), list(named.values()))
    elif min(positions.at) > 0 and max(positions.at) >= LOGARITHMIC_FROM * min(positions.at):
        axes.set_xscale("log")
        axes.set_xticks(sorted(set(positions.at)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    axes.set_xlabel(positions.label)
    if panel.is_from_zero:
        axes.set_ylim(bottom=0)
    axes.legend(loc="best", framealpha=0.85, edgecolor="none")
