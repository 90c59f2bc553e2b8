"""Go on with a simulator where a device fails, and say so."""

import copy

import torch

from qbmvae_mini.checks import warn
from qbmvae_mini.hardware.errors import DeviceError
from qbmvae_mini.samplers.base import Sampler, check_is_sampler

#: Names of the tensors of the state, by which part they belong to.
_PARTS = ("device", "simulator")


class Fallback(Sampler):
    """A device's sampler, and another one from the first failure on.

    Without it a failure ends the training, whose checkpoint is whole.

    Parameters
    ----------
    device : Sampler
        For example an `Annealer`.
    simulator : Sampler

    Attributes
    ----------
    failed : bool
        Whether the simulator has taken over.

    Warns
    -----
    UserWarning
        Once, with what went wrong.
    """

    def __init__(self, device, simulator):
        check_is_sampler(device)
        check_is_sampler(simulator)
        self.device, self.simulator = device, simulator
        self.draws, self.seed = device.draws, device.seed
        self.failed = False

    def sample(self, machine, n):
        """Draw `n` states by the device, or else by the simulator."""
        if not self.failed:
            try:
                return self.device.sample(machine, n)
            except DeviceError as error:
                self.failed = True
                warn(
                    f"{error}; from here on "
                    f"{type(self.simulator).__name__} draws, a simulation"
                )
        return self.simulator.sample(machine, n)

    def fork(self, seed):
        """A copy whose parts are forks."""
        twin = copy.copy(self)
        twin.device = self.device.fork(seed)
        twin.simulator = self.simulator.fork(seed)
        return twin

    def settings(self):
        """Those of both."""
        return {name: getattr(self, name).settings() for name in _PARTS}

    def state_dict(self):
        """Those of both, and whether the device has failed."""
        state = {"failed": torch.tensor(self.failed)}
        for name in _PARTS:
            for key, value in getattr(self, name).state_dict().items():
                state[f"{name}.{key}"] = value
        return state

    def load_state_dict(self, state):
        """Restore what `state_dict` gave."""
        if not isinstance(state, dict) or "failed" not in state:
            raise ValueError(
                "this state is none of a Fallback; start anew with reset()"
            )
        of_device, of_simulator = (
            {
                key.removeprefix(f"{name}."): value
                for key, value in state.items()
                if key.startswith(f"{name}.")
            }
            for name in _PARTS
        )
        before = self.device.state_dict()
        self.device.load_state_dict(of_device)
        try:
            self.simulator.load_state_dict(of_simulator)
        except ValueError:
            self.device.load_state_dict(before)
            raise
        self.failed = bool(state["failed"])

    def reset(self):
        """Ask the device again, both from the start."""
        self.failed = False
        self.device.reset()
        self.simulator.reset()
