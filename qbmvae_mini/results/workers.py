"""Processes that compute rows, and that can be stopped at any time."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait


class Workers:
    """Processes that work one job each at a time; leaving the block ends them.

    They leave Ctrl-C to this process, and end when it ends, however it does.

    Parameters
    ----------
    compute : callable
        `Job` -> rows; of a module, since the processes are new ones.
    count : int
    """

    def __init__(self, compute, count):
        self._compute = compute
        self._count = count
        self._idle = []
        self._busy = {}  # connection -> (process, job)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        processes = [process for process, _ in self._busy.values()]
        processes += [process for process, _ in self._idle]
        for process in processes:
            process.kill()
        for process in processes:
            process.join()

    @property
    def busy(self):
        """How many jobs are being worked on."""
        return len(self._busy)

    @property
    def has_room(self):
        """Whether one more job can be given."""
        return len(self._busy) < self._count

    def give(self, job):
        """Have a job worked on."""
        self._idle = [idle for idle in self._idle if idle[0].is_alive()]
        process, connection = self._idle.pop() if self._idle else self._start()
        self._busy[connection] = process, job
        connection.send(job)

    def finished(self, timeout=None):
        """Wait for jobs that are done.

        Returns
        -------
        list of (job, rows, problem)
            `rows` are None if there was a problem, which is told in words.
        """
        done = []
        for connection in wait(list(self._busy), timeout):
            process, job = self._busy[connection]
            try:
                rows, problem = connection.recv()
                self._idle.append((process, connection))
            except (EOFError, OSError):
                process.join()
                rows = None
                problem = f"its process was ended ({_ending(process)})"
            del self._busy[connection]
            done.append((job, rows, problem))
        return done

    def _start(self):
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._compute))
        # Ignored from the first moment on: a new process takes this over.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()
        return process, ours


def _ending(process):
    if process.exitcode < 0:
        return signal.Signals(-process.exitcode).name
    return f"status {process.exitcode}"


def _serve(connection, compute):
    """What a worker does: one job after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    # Two processes of one thread beat one process of two.
    torch.set_num_threads(1)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            answer = compute(job), None
        except Exception as error:
            answer = None, _sentence(error)
        connection.send(answer)


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _sentence(error):
    """An error in one line, with its kind where that is no clear word."""
    words = " ".join(str(error).split())
    if isinstance(error, ImportError | ValueError) and words:
        return words
    return f"{type(error).__name__}: {words}"
