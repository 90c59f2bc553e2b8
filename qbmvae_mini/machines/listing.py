"""How the states of a machine are enumerated."""

import torch


class Listing:
    """All units listed; the plain way.

    A machine whose units come apart once some of them are known needs only
    those listed: its own child of this class sums the rest out.

    Parameters
    ----------
    machine : Machine

    Attributes
    ----------
    n_units : int
        Units that have to be listed; ``all_states(n_units)`` are the states
        that the methods take.
    """

    def __init__(self, machine):
        self.machine = machine
        self.n_units = machine.n_units

    def log_weights(self, states, beta=1.0):
        """Log of the sum of exp(-beta E) over all other units, (...,)."""
        return -beta * self.machine.energy(states)

    def rest_means(self, states):
        """Means of the other units, which are independent given these.

        (n, n_units) of the listed ones -> (n, number of the others).
        """
        return states[..., :0]

    def join(self, states, rest):
        """Whole states of the machine, listed units and others in place."""
        return states


class LayerListing(Listing):
    """The smaller layer of an RBM listed, the other one summed out.

    Parameters
    ----------
    machine : RBM

    Attributes
    ----------
    n_units : int
    layer : {"left", "right"}
        The one that is listed.
    """

    def __init__(self, machine):
        self.machine = machine
        self.n_units = min(machine.n_left, machine.n_right)
        smaller = machine.n_left <= machine.n_right
        self.layer = "left" if smaller else "right"

    def log_weights(self, states, beta=1.0):
        """Minus the free energy at `beta`, (..., n_units) -> (...)."""
        return -self.machine.free_energy(states, self.layer, beta=beta)

    def rest_means(self, states):
        """Means of the other layer, given the listed one."""
        return torch.sigmoid(self.machine.layer_field(states, self.layer))

    def join(self, states, rest):
        """Whole states, left layer first."""
        layers = (states, rest) if self.layer == "left" else (rest, states)
        return torch.cat(layers, dim=-1)
