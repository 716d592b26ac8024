"""Jobs on all cores, and on a real Dask cluster of one worker."""

from __future__ import annotations

import subprocess
import sys

import pytest
from distributed import LocalCluster

from livestream.errors import NetworkError, UsageError
from livestream.runtime.jobs import run_all
from tests.runtime.squares import fails_at_three, slow_at_first


def test_results_come_in_the_order_of_the_jobs() -> None:
    done: list[int] = []
    assert run_all(slow_at_first, range(5), on_done=done.append) == [0, 1, 4, 9, 16]
    assert done == [1, 2, 3, 4, 5]


def test_an_error_of_a_job_is_raised_as_it_is() -> None:
    with pytest.raises(UsageError, match="three is refused"):
        run_all(fails_at_three, range(5))


def test_a_cluster_gives_the_same_results_and_errors() -> None:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as cluster:
        where = cluster.scheduler_address
        done: list[int] = []
        squares = run_all(slow_at_first, range(5), scheduler=where, on_done=done.append)
        assert squares == [0, 1, 4, 9, 16]
        assert done == [1, 2, 3, 4, 5]
        with pytest.raises(UsageError, match="three is refused"):
            run_all(fails_at_three, range(5), scheduler=where)


def test_a_scheduler_that_is_not_there_is_named() -> None:
    with pytest.raises(NetworkError, match="scheduler answers at tcp"):
        run_all(slow_at_first, [1], scheduler="tcp://127.0.0.1:9", timeout_s=0.5)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="nonsense://here"):
        run_all(slow_at_first, [1], scheduler="nonsense://here")


def test_without_dask_the_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['distributed'] = None\n"
        "from livestream.runtime.jobs import run_all\n"
        "run_all(len, ['a'], scheduler='tcp://127.0.0.1:9')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert "livestream[cluster]" in ended.stderr
