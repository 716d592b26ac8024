"""The scenarios that have names: L0 and its variants (live.md §5), and files that override them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Final

from livestream.errors import UsageError
from livestream.sim.designs import DESIGNS, Design
from livestream.sim.internets import Links
from livestream.sim.names import unknown
from livestream.sim.scenario import Happening, Kind, Scenario
from livestream.wire.live import SUBSTREAMS_MAX

__all__ = [
    "L0",
    "SCENARIOS",
    "design_named",
    "links_named",
    "read_scenario",
    "scenario_named",
    "with_overrides",
]

L0: Final = Scenario("L0", "viewers at home, 1 % loss, 5 % a minute come and go")

SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        replace(L0, seconds=120.0),
        replace(
            L0, name="still", summary="L0 without loss or churn", loss=0.0, churn_per_minute=0.0
        ),
        replace(L0, name="loss", summary="L0 with 3 % loss", loss=0.03),
        replace(
            L0,
            name="churn",
            summary="3 % loss, and 20 % a minute come and go",
            loss=0.03,
            churn_per_minute=0.2,
        ),
        replace(
            L0,
            name="flash-crowd",
            summary="a tenth watches, then all others come within 10 s",
            happenings=(Happening(Kind.FLASH_CROWD, at_s=20.0, share=0.9, for_s=10.0),),
        ),
        replace(
            L0,
            name="heads-die",
            summary="all that the publisher feeds vanish at once",
            happenings=(Happening(Kind.HEADS_DIE, at_s=25.0),),
        ),
        replace(L0, name="free-riders", summary="30 % give nothing", free_rider_share=0.3),
        replace(
            L0,
            name="attackers",
            summary="5 % pollute, 5 % lie about what they have",
            polluter_share=0.05,
            liar_share=0.05,
        ),
        replace(L0, name="five", summary="5 viewers", viewers=5, churn_per_minute=0.0),
        replace(L0, name="sixteen", summary="16 viewers", viewers=16, churn_per_minute=0.0),
        replace(
            L0,
            name="home",
            summary="the publisher's home uplink carries other traffic now and then",
            publisher_uplink_x=3.0,
            happenings=(
                Happening(Kind.OTHER_TRAFFIC, at_s=20.0, share=0.5, for_s=5.0),
                Happening(Kind.OTHER_TRAFFIC, at_s=35.0, share=0.5, for_s=5.0),
            ),
        ),
        replace(
            L0,
            name="restart",
            summary="the publisher crashes, and is back after 3 s",
            happenings=(Happening(Kind.RESTART, at_s=25.0, for_s=3.0),),
        ),
        replace(
            L0,
            name="split",
            summary="half of the viewers are cut off for 5 s",
            happenings=(Happening(Kind.SPLIT, at_s=25.0, share=0.5, for_s=5.0),),
        ),
        replace(L0, name="skew", summary="clocks are up to 20 s wrong", skew_s=20.0),
        replace(
            L0, name="slow-viewers", summary="a tenth has too slow a line", slow_viewer_share=0.1
        ),
        replace(
            L0,
            name="mass-leave",
            summary="70 % leave within a second",
            happenings=(Happening(Kind.MASS_LEAVE, at_s=25.0, share=0.7, for_s=1.0),),
        ),
    )
}


def scenario_named(name: str) -> Scenario:
    """Return a scenario by its name. Raises UsageError, which names the nearest."""
    found = SCENARIOS.get(name)
    if found is None:
        raise UsageError(unknown("scenario", name, SCENARIOS))
    return found


def design_named(name: str) -> Design:
    """Return a design by its name. Raises UsageError, which names the nearest."""
    found = DESIGNS.get(name)
    if found is None:
        raise UsageError(unknown("design", name, DESIGNS))
    return found


def links_named(name: str) -> Links:
    """Return a kind of links by its name. Raises UsageError, which names the nearest."""
    kinds = {kind.value: kind for kind in Links}
    if name not in kinds:
        raise UsageError(unknown("kind of links", name, kinds))
    return kinds[name]


def read_scenario(text: str, where: str, *, is_json: bool) -> Scenario:
    """Read a scenario file: TOML or JSON, whose keys are those of `Scenario`; `base` names another.

    Raises:
        UsageError: not of that form, a key that there is not, a value of the wrong kind.
    """
    try:
        given = json.loads(text) if is_json else tomllib.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: not {'JSON' if is_json else 'TOML'}: {error}.") from error
    if not isinstance(given, dict):
        raise UsageError(f"{where}: a scenario is a table of keys and values.")
    base = scenario_named(str(given.pop("base", "L0")))
    given.setdefault("name", base.name)
    return with_overrides(base, given, where)


def with_overrides(base: Scenario, given: Mapping[str, object], where: str) -> Scenario:
    """Return a scenario with some keys changed. Raises UsageError."""
    known = {each.name: getattr(base, each.name) for each in fields(Scenario)}
    changes: dict[str, object] = {}
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"{where}: {unknown('key', key, known)}")
        changes[key] = _read(key, value, known[key], where)
    return _checked(replace(base, **changes), where)  # type: ignore[arg-type]


def _read(key: str, value: object, like: object, where: str) -> object:
    if key == "uplinks":
        return _uplinks(value, where)
    if key == "happenings":
        return _happenings(value, where)
    wanted = (int, float) if isinstance(like, float) or like is None else type(like)
    if isinstance(value, bool) or not isinstance(value, wanted):
        kind = "a text" if isinstance(like, str) else "a number"
        raise UsageError(f"{where}: {key} = {value!r} is not {kind}, such as {like!r}.")
    return float(value) if isinstance(like, float) and isinstance(value, int) else value


def _uplinks(value: object, where: str) -> tuple[tuple[float, float], ...]:
    try:
        pairs = tuple((float(share), float(multiple)) for share, multiple in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise UsageError(
            f"{where}: uplinks is a list of [share of viewers, multiple of the rate]."
        ) from None
    if abs(sum(share for share, _ in pairs) - 1.0) > 0.01:
        raise UsageError(f"{where}: the shares of uplinks do not add up to 1.")
    return pairs


def _happenings(value: object, where: str) -> tuple[Happening, ...]:
    names = [each.name for each in fields(Happening)]
    kinds = {kind.value: kind for kind in Kind}
    happenings = []
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, dict) or "kind" not in entry or "at_s" not in entry:
            raise UsageError(f"{where}: a happening has at least a kind and an at_s.")
        for key in entry:
            if key not in names:
                raise UsageError(f"{where}: {unknown('key of a happening', key, names)}")
        if entry["kind"] not in kinds:
            raise UsageError(f"{where}: {unknown('happening', str(entry['kind']), kinds)}")
        numbers = {key: each for key, each in entry.items() if key != "kind"}
        if not all(isinstance(each, (int, float)) for each in numbers.values()):
            raise UsageError(f"{where}: {entry['kind']}: its values are numbers.")
        happenings.append(Happening(kinds[entry["kind"]], **numbers))
    return tuple(happenings)


def _checked(scenario: Scenario, where: str) -> Scenario:
    """Refuse what contradicts itself."""
    for each in fields(Scenario):
        value = getattr(scenario, each.name)
        is_share = each.name.endswith("_share") or each.name == "loss"
        if is_share and not 0 <= value <= 1:
            raise UsageError(f"{where}: {each.name} = {value} is no share between 0 and 1.")
    crooks = scenario.polluter_share + scenario.liar_share + scenario.free_rider_share
    problems = {
        "viewers must be 1 to 100,000": not 1 <= scenario.viewers <= 100_000,
        "seconds must be 1 to 86,400": not 1 <= scenario.seconds <= 86_400,
        "rate_bps must be 10,000 to 100,000,000": not 10_000 <= scenario.rate_bps <= 100_000_000,
        "frames_per_second must be 1 to 240": not 1 <= scenario.frames_per_second <= 240,
        "latency_s must be 0.05 to 10": not 0.05 <= scenario.latency_s <= 10,
        "loss_burst must be 1 to 1,000": not 1 <= scenario.loss_burst <= 1_000,
        "queue_ms must be 1 to 10,000": not 1 <= scenario.queue_ms <= 10_000,
        "loss must be below 0.5": scenario.loss >= 0.5,
        "delay_ms_max is below delay_ms_min": scenario.delay_ms_max < scenario.delay_ms_min,
        "delay_ms_min is below 0": scenario.delay_ms_min < 0,
        "publisher_uplink_x must be above 0": scenario.publisher_uplink_x <= 0,
        "substreams must be 0 to 32": not 0 <= scenario.substreams <= SUBSTREAMS_MAX,
        "piece_bytes must be 0, or 1,024 to 65,536": scenario.piece_bytes
        and not 1_024 <= scenario.piece_bytes <= 65_536,
        "heads_per_substream must be 1 to 16": not 1 <= scenario.heads_per_substream <= 16,
        "polluters, liars and free riders are more than all": crooks > 1,
        "churn_per_minute must be 0 to 60": not 0 <= scenario.churn_per_minute <= 60,
        f"seconds must be more than join_s, which is {scenario.join_s:g}": scenario.join_s
        >= scenario.seconds,
        "something happens after the end: give more seconds": any(
            each.at_s >= scenario.seconds for each in scenario.happenings
        ),
    }
    for problem, is_there in problems.items():
        if is_there:
            raise UsageError(f"{where}: {problem}.")
    return scenario
