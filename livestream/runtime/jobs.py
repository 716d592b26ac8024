"""Many computations that do not need each other: on all cores here, or on a cluster through Dask.

There is no scheduler of our own: here it is the standard library's pool of processes, elsewhere
Dask's (`tcp://…`, the extra `cluster`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final, TypeVar

from livestream.errors import NetworkError, UsageError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["run_all"]

CONNECT_TIMEOUT_S: Final = 10
EXTRA: Final = "pip install 'livestream[cluster]'"

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_all(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    scheduler: str | None = None,
    timeout_s: float = CONNECT_TIMEOUT_S,
    on_done: Callable[[int], None] | None = None,
) -> list[Result]:
    """Call a function with each job, many at once; returns the results in the order of the jobs.

    Args:
        function: At the top of a module, so that other processes find it; as are its jobs' types.
        jobs: What it is called with.
        scheduler: The address of a Dask scheduler; None: processes here, one for each core.
        timeout_s: How long the scheduler may take to answer.
        on_done: Told how many jobs are done, each time that one is.

    Raises:
        UsageError: a scheduler is given, and Dask is not installed, or the address is none.
        NetworkError: the scheduler does not answer.
        Exception: whatever the first job that fails raises; those not begun are not begun then.
    """
    if scheduler is None:
        return _run_here(function, jobs, on_done)
    with _client(scheduler, timeout_s) as client:
        return _run_there(client, function, jobs, on_done)


def _run_here(
    function: Callable[[Job], Result], jobs: Sequence[Job], on_done: Callable[[int], None] | None
) -> list[Result]:
    # Spawned, not forked: a fork takes the threads' locks along, in whatever state they are.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        futures: list[Future[Result]] = [pool.submit(function, job) for job in jobs]
        try:
            for count, future in enumerate(as_completed(futures), start=1):
                future.result()
                if on_done is not None:
                    on_done(count)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _run_there(
    client: Client,
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    on_done: Callable[[int], None] | None,
) -> list[Result]:
    from distributed import as_completed as as_dask_completes  # noqa: PLC0415 - an extra.

    # Not pure: two jobs that are the same are still to be run twice, if somebody asks for that.
    futures = [client.submit(function, job, pure=False) for job in jobs]
    try:
        with client.as_current():  # Which is where `as_completed` looks for it.
            done = as_dask_completes(futures)
        for count, future in enumerate(done, start=1):
            future.result()
            if on_done is not None:
                on_done(count)
        return [future.result() for future in futures]
    except BaseException:
        client.cancel(futures)
        raise


@contextmanager
def _client(scheduler: str, timeout_s: float) -> Iterator[Client]:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra, and slow to import.
    except ImportError:
        raise UsageError(
            f"--scheduler needs Dask's distributed, which is not installed. Install it: {EXTRA}."
        ) from None
    try:
        client = Client(scheduler, timeout=timeout_s, set_as_default=False)
    except ValueError as error:
        raise UsageError(
            f"--scheduler {scheduler}: not an address of a Dask scheduler, such as "
            f"tcp://192.0.2.1:8786: {error}."
        ) from error
    except OSError as error:
        raise NetworkError(
            f"No Dask scheduler answers at {scheduler} within {timeout_s:g} s. "
            "Is `dask scheduler` running there?"
        ) from error
    try:
        yield client
    finally:
        client.close()
