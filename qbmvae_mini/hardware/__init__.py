"""Hardware: annealers behind the sampler contract, and what they need.

::

    sampler = backend(BACKEND, machine)

is the one line that changes between an exact law, a simulation, a mock device
whose truth is known, a recording, and a device. dwave-system is imported when
a mock or a device is made, and not before.

- `backend` turns a word into a sampler, `connect` opens a real device.
- `Annealer` draws at temperature 1 by a device of any temperature: scale,
  embedding, chains, reversals, and the temperature estimated and tracked.
- `embed` lays a machine out on a device; `native_machine` takes its graph.
- `MockAnnealer` has a known temperature, drift, noise, misreadings and faults.
- `IsingSolver` adapts any ``solve(ising_matrix)``.
- `Budget` refuses the call that would exceed it, before it is made.
- `Recorder` keeps answers on a `Tape`, and `Replay` gives them again.
- `Fallback` goes on with a simulator where a device fails, and says so.
"""

from qbmvae_mini.hardware.annealer import Annealer
from qbmvae_mini.hardware.backends import backend, connect
from qbmvae_mini.hardware.budget import Budget, Cost, access_time
from qbmvae_mini.hardware.embedding import embed, native_machine
from qbmvae_mini.hardware.errors import BudgetError, DeviceError, TapeError
from qbmvae_mini.hardware.fallback import Fallback
from qbmvae_mini.hardware.mock import MockAnnealer, ThermalSpins
from qbmvae_mini.hardware.solve import IsingSolver
from qbmvae_mini.hardware.tape import (
    Recorder,
    Replay,
    Tape,
    kind_of_answers,
    problem_key,
)

__all__ = [
    "Annealer",
    "Budget",
    "BudgetError",
    "Cost",
    "DeviceError",
    "Fallback",
    "IsingSolver",
    "MockAnnealer",
    "Recorder",
    "Replay",
    "Tape",
    "TapeError",
    "ThermalSpins",
    "access_time",
    "backend",
    "connect",
    "embed",
    "kind_of_answers",
    "native_machine",
    "problem_key",
]
