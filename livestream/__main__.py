"""`python -m livestream` and the `livestream` command."""

from __future__ import annotations

import gc
import sys
from typing import Final

__all__ = ["main"]

GC_THRESHOLD: Final = 20_000  # Of 700: see `main`.


def main() -> None:
    """Run the command line and exit with its code."""
    # Imports make many objects that all stay: looking for garbage among them, hundreds of times,
    # is an eighth of what a short command takes.
    gc.set_threshold(GC_THRESHOLD)
    from livestream.cli.app import run  # noqa: PLC0415 - see above.

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
