"""Work in copies of the process: every answer in its order, and errors that arrive as they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from livestream.runtime.hashing import FORK_RUNS_MIN, RUN_BYTES

# pytest's own process may have threads, of numpy for one, and those cannot be copied.
ANSWERS = """
import os
from livestream.runtime.forks import in_forks
for count in (0, 1, 2, 1000):
    answers = list(in_forks(lambda number: b"%d" % number * number, count, 3))
    assert answers == [b"%d" % number * number for number in range(count)], count
pids = set(in_forks(lambda number: b"%d" % os.getpid(), 100, 3))
assert len(pids) > 1 and b"%d" % os.getpid() not in pids
"""
FAILS = """
from livestream.errors import DiskError
from livestream.runtime.forks import in_forks
def work(number):
    if number == 7:
        raise DiskError("seven is bad")
    return b""
try:
    list(in_forks(work, 20, 2))
except DiskError as error:
    print(error)
"""
DIES = """
import os
from livestream.errors import DiskError
from livestream.runtime.forks import in_forks
try:
    list(in_forks(lambda number: os._exit(1) if number == 7 else b"", 20, 2))
except DiskError as error:
    print(error)
"""
LEFT = """
import os
from livestream.runtime.forks import in_forks
answers = in_forks(lambda number: b"", 1000, 2)
next(answers)
answers.close()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("nobody left")
"""
THREAD = """
from threading import Event, Thread
from livestream.runtime.forks import can_fork
end = Event()
thread = Thread(target=end.wait)
thread.start()
print(can_fork())
end.set()
thread.join()
"""
SAME = """
import sys
from pathlib import Path
from threading import Event, Thread
from livestream.runtime.forks import can_fork
from livestream.runtime.hashing import find_files, hash_pieces
from livestream.torrent.create import Version, lay_out
path = Path(sys.argv[1])
files, is_single = find_files(path)
layouts = [lay_out(path.name, files, 1 << 20, each, is_single=is_single) for each in Version]
def hash_all():
    return [hash_pieces(*each) for each in zip(layouts, [path.parent] * 3, Version)]
forked = hash_all()
end = Event()
thread = Thread(target=end.wait)
thread.start()
assert not can_fork()
assert hash_all() == forked
assert [len(each) for each in forked] == [layout.piece_count for layout in layouts]
end.set()
thread.join()
"""


def run(script: str, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *words],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.strip()


def test_answers_come_in_order_whoever_is_quicker() -> None:
    """Nothing, less than there are processes, and many."""
    run(ANSWERS)


def test_an_error_arrives_as_it_was_said() -> None:
    assert run(FAILS) == "seven is bad"


def test_a_process_that_dies_is_an_error_and_not_a_wait_for_ever() -> None:
    assert "ended" in run(DIES)


def test_nobody_is_left_behind_when_the_rest_is_not_wanted() -> None:
    assert run(LEFT) == "nobody left"


def test_a_process_with_threads_is_not_copied() -> None:
    assert run(THREAD) == "False"


def test_processes_find_the_hashes_that_threads_find(tmp_path: Path) -> None:
    """The last run is shorter than the others, and so is its last piece."""
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(251)) * ((FORK_RUNS_MIN + 1) * RUN_BYTES // 251))
    run(SAME, str(path))
