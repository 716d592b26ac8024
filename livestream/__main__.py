"""`python -m livestream` and the `livestream` command."""

from __future__ import annotations

import sys

from livestream.cli.app import run

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
