"""The picture of a run: lag against its bound, continuity over time, what the publisher sends.

The only module that draws: matplotlib is slow to import, and imported when a picture is drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from livestream.errors import DiskError, UsageError
from livestream.machine import SECOND
from livestream.sim.result import Result
from livestream.sim.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_plot", "draw", "save"]

INK: Final = "#22303c"
BLUE: Final = "#1f77b4"
PALE: Final = "#9ecae1"
RED: Final = "#c0392b"
GREEN: Final = "#2a9d6f"
LOGARITHMIC_FROM: Final = 50  # Viewers; fewer are told apart on a plain axis.
GOAL_PUBLISHER_X: Final = 2.25  # live.md, section 5.
GOAL_CONTINUITY: Final = 0.999


def check_plot(where: str) -> None:
    """Find out before a long run whether there can be a picture. Raises UsageError."""
    if Path(where).suffix.lower() != ".png":
        raise UsageError(f"--plot {where}: pictures are PNG files. Give a name such as run.png.")


def draw(result: Result, scenario: Scenario, where: str) -> None:
    """Draw one run into a PNG file.

    Raises:
        UsageError: not the name of a PNG file.
        DiskError: the file cannot be written.
    """
    check_plot(where)
    from matplotlib.figure import Figure  # noqa: PLC0415 - see above.

    figure = Figure(figsize=(12, 7.2), dpi=120, layout="constrained")
    axes = figure.subplot_mosaic(
        [["lag", "lag"], ["continuity", "publisher"]], height_ratios=(1.15, 1)
    )
    figure.suptitle(
        f"{scenario.name}: {scenario.summary}\n"
        f"{result.viewers} viewers, {scenario.rate_bps / 1e6:g} Mbit/s, design {result.design}, "
        f"seed {result.seed}, {scenario.seconds:g} s",
        color=INK,
        fontsize=13,
    )
    _draw_lag(axes["lag"], result, scenario)
    _draw_continuity(axes["continuity"], result, scenario)
    _draw_publisher(axes["publisher"], result)
    save(figure, where)


def save(figure: Figure, where: str) -> None:
    """Write a picture, all of whose axes look alike. Raises DiskError: it cannot be written."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    try:
        figure.savefig(Path(where))
    except (OSError, ValueError) as error:
        raise DiskError(f"{where}: the picture cannot be written: {error}.") from error


def _draw_lag(axes: Axes, result: Result, scenario: Scenario) -> None:
    """Cumulative distributions over viewers: of delivery, of release, and of the bound."""
    axes.set_title("How far behind the camera", loc="left", color=INK)
    curves = (
        (result.bound_lags_s, GREEN, "--", "bound: postal model, no losses, no queues"),
        (result.delivery_lags_s, BLUE, "-", "delivery: 99 % of a viewer's pieces are there"),
        (result.lags_s, INK, "-", "release to the decoder, median of a viewer"),
    )
    for values, colour, style, label in curves:
        if values:
            ordered = sorted(values)
            shares = [100 * (number + 1) / len(ordered) for number in range(len(ordered))]
            axes.step(
                ordered, shares, where="post", color=colour, linestyle=style, label=label, lw=2
            )
    word = "first target" if scenario.latency_fixed_s is None else "deadline"
    axes.axvline(scenario.latency_us / SECOND, color=RED, lw=1, ls=":", label=word)
    axes.set_xlabel("lag behind the capture, s")
    axes.set_ylabel("viewers with at most this lag, %")
    axes.set_ylim(0, 101)
    longest = max([*result.delivery_lags_s, *result.lags_s, scenario.latency_s], default=1.0)
    axes.set_xlim(0, min(longest, 4 * scenario.latency_s) * 1.05)
    axes.legend(loc="lower right", framealpha=0.85, edgecolor="none")


def _draw_continuity(axes: Axes, result: Result, scenario: Scenario) -> None:
    """Of each second of capture, what was there in time; and what befell the swarm."""
    axes.set_title("Pieces there by their deadline", loc="left", color=INK)
    known = [
        (second + 0.5, 100 * share)
        for second, share in enumerate(result.series.continuity)
        if share is not None
    ]
    at, shares = [second for second, _ in known], [share for _, share in known]
    axes.plot(at, shares, color=BLUE, lw=2, marker="o", ms=3)
    axes.fill_between(at, shares, color=PALE, alpha=0.3)
    axes.axhline(100 * GOAL_CONTINUITY, color=GREEN, lw=1.5, ls="--", label="goal: 99.9 %")
    _shade_warm_up(axes, scenario)
    for happening in scenario.happenings:
        axes.axvspan(
            happening.at_s, happening.at_s + max(happening.for_s, 0.15), color=RED, alpha=0.25
        )
        axes.annotate(
            happening.kind.value,
            (happening.at_s, 4),
            rotation=90,
            fontsize=8,
            color=RED,
            xytext=(-10, 0),
            textcoords="offset points",
        )
    axes.set_xlabel("simulated time of capture, s")
    axes.set_ylabel("of what was due, %")
    axes.set_xlim(0, scenario.seconds)
    axes.set_ylim(0, 104)
    axes.legend(loc="lower right", framealpha=0.85, edgecolor="none")


def _draw_publisher(axes: Axes, result: Result) -> None:
    """What the publisher sends in each second, over the number of viewers that were there then."""
    axes.set_title("What the publisher sends, however many watch", loc="left", color=INK)
    viewers, sent = result.series.viewers, result.series.publisher_x
    most = max([*viewers, 2])
    bound = result.bounds["publisher_upload_x"]
    numbers = range(1, most + 1)
    axes.plot(numbers, numbers, color=INK, lw=1, ls="-.", label="if it sent to each viewer")
    axes.axhline(GOAL_PUBLISHER_X, color=GREEN, lw=1.5, ls="--", label="goal: 2.25")
    axes.axhline(bound, color=INK, lw=1, ls=":", label=f"bound: {bound:g}")
    dots = axes.scatter(
        viewers,
        sent,
        c=[second + 0.5 for second in range(len(sent))],
        cmap="viridis",
        s=28,
        zorder=3,
        label="one second each",
    )
    axes.figure.colorbar(dots, ax=axes, label="simulated time, s", pad=0.02)
    if most > LOGARITHMIC_FROM:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("viewers there")
    axes.set_ylabel("upload / rate of the channel")
    axes.set_xlim(0.9 if most > LOGARITHMIC_FROM else 0, most * 1.15)
    axes.set_ylim(0, max([*sent, GOAL_PUBLISHER_X, bound]) * 1.3)
    axes.legend(loc="lower right", framealpha=0.85, edgecolor="none")


def _shade_warm_up(axes: Axes, scenario: Scenario) -> None:
    """What counts in no figure."""
    axes.axvspan(0, scenario.warm_up_us / 1e6, color=INK, alpha=0.05, lw=0, label="warming up")
