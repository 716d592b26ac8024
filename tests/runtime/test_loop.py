"""The loop that a command runs in."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from livestream.errors import NotFoundError
from livestream.runtime.loop import run_to_end


def test_a_command_ends_with_its_code_or_its_error() -> None:
    async def work(code: int) -> int:
        if code == 3:
            raise NotFoundError("nobody")
        return code

    assert run_to_end(work(7)) == 7
    with pytest.raises(NotFoundError):
        run_to_end(work(3))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_command_say_goodbye(number: signal.Signals, code: int) -> None:
    said: list[str] = []

    async def work() -> int:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)
            said.append("goodbye")
        return 0

    assert run_to_end(work()) == code
    assert said == ["goodbye"]


def test_what_strangers_send_does_not_fill_the_terminal() -> None:
    async def work() -> int:
        return int(logging.getLogger("quic").isEnabledFor(logging.WARNING))

    assert run_to_end(work()) == 0
