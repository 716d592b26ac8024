"""What a channel costs its publisher, for ten viewers and for thirty: the simulator as a library.

`python examples/audience.py [seconds]`. Each run is a publisher and its viewers, the code of the
product, in virtual time; the same seed gives the same run on any machine.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from livestream.sim.run import simulate
from livestream.sim.scenarios import design_named, scenario_named


def main() -> None:
    """Print a line for each size of audience."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    for viewers in (10, 30):
        scenario = replace(scenario_named("L0"), viewers=viewers, seconds=seconds)
        result = simulate(scenario, design_named("trees"), seed=1)
        print(
            f"{viewers} viewers: the publisher sends {result.publisher_upload_x:.2f} times the"
            f" rate, the median viewer is {result.lag_p50_s:.2f} s behind,"
            f" {result.continuity:.2%} of the pieces come in time"
        )


if __name__ == "__main__":
    main()
