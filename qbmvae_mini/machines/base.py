"""What every Boltzmann machine shares, and what may be asked of it."""

import math

import dimod
import torch
from torch import nn

from qbmvae_mini.checks import check_seed, dense

#: Couplings start small but not zero, so that left and right units can part.
INITIAL_COUPLING_SD = 0.01


class Machine(nn.Module):
    """What every Boltzmann machine shares: a graph, an energy, a dimod twin.

    A child provides ``bias`` (n_units,), ``coupling`` (n_edges,), ``energy``,
    ``conditionals`` and ``_assign``. The graph and the offset are buffers, so
    ``state_dict`` restores the whole machine.
    """

    def __init__(self, n_units, edges):
        super().__init__()
        self.n_units = n_units
        self.register_buffer("edges", edges)  # (2, n_edges)
        self.register_buffer("offset", torch.zeros(()))

    def check(self):
        """Raise ValueError if a weight or the offset is NaN or infinite."""
        numbers = {**self._parameters, "offset": self.offset}
        # A finite sum clears all of them, in a third of the time.
        total = sum(value.detach().sum() for value in numbers.values())
        if math.isfinite(total):
            return
        for name, value in numbers.items():
            if not torch.isfinite(value).all():
                raise ValueError(
                    f"the machine's {name} holds NaN or infinite values; "
                    "training has diverged, try a smaller learning rate"
                )

    @property
    def n_visible(self):
        """Units that see data: all of them, unless a layer is hidden."""
        return self.n_units

    def visible_energy(self, v):
        """What a visible state costs, (..., n_visible) -> (...), in nats.

        The energy, or the free energy where a layer is hidden. Its mean over
        draws of ``v`` alone has the gradient of the energy's mean, with the
        hidden units' share of the noise averaged away.
        """
        return self.energy(v)

    def log_ratio(self, z, now, then):
        """How the weight of a state changes with the temperature.

        Log of ``exp(-then E) / exp(-now E)``, with units summed out that a
        sweep draws first, and so whatever they were, where that can be done.

        Parameters
        ----------
        z : Tensor, shape (n, n_units)
        now, then : float
            Inverse temperatures.

        Returns
        -------
        Tensor, shape (n,)
        """
        return (now - then) * self.energy(z)

    def settings(self):
        """What to build it with again, fit for JSON; weights apart."""
        return {
            "kind": type(self).__name__,
            "n_units": self.n_units,
            "n_edges": self.edges.shape[1],
        }

    @torch.no_grad()
    def set_couplings(self, coupling):
        """Put other values on the edges, in the order of `edges`."""
        self._assign(self.bias, coupling)

    def mean_energy(self, z):
        """Mean energy of `n` states in nats, (n, n_units) -> a scalar."""
        return self.energy(z).mean()

    def to_bqm(self):
        """The same energy as a `dimod.BinaryQuadraticModel`, offset and all.

        Variables are the units' numbers 0 to n_units - 1.
        """
        self.check()
        row, column = self.edges.cpu().numpy()
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            -self.bias.detach().double().cpu().numpy(),
            (row, column, -self.coupling.detach().double().cpu().numpy()),
            float(self.offset),
            dimod.BINARY,
        )

    @torch.no_grad()
    def _fill(self, bqm, order):
        """Copy the numbers of `bqm` (binary) into this machine's tensors."""
        linear = [-bqm.get_linear(v) for v in order]
        pairs = [(order[i], order[j]) for i, j in self.edges.T.tolist()]
        quadratic = [-bqm.get_quadratic(u, v, default=0.0) for u, v in pairs]
        self._assign(
            torch.tensor(linear, dtype=torch.float64),
            torch.tensor(quadratic, dtype=torch.float64),
        )
        self.offset.copy_(torch.tensor(bqm.offset, dtype=torch.float64))
        numbers = (*self.parameters(), self.offset)
        if not all(torch.isfinite(value).all() for value in numbers):
            raise ValueError(
                "the model holds NaN or infinite weights, or some too large "
                "for float32; give finite ones"
            )
        return self


def check_classical(machine, who):
    """Refuse what is no classical machine, and weights that are no numbers.

    Parameters
    ----------
    machine : Machine
    who : str
        Names the sampler or estimator in the sentence.

    Raises
    ------
    TypeError
        For a quantum machine, whose law is not exp(-E) / Z, or no machine.
    ValueError
        See `Machine.check`.
    """
    if isinstance(machine, Machine):
        machine.check()
    elif hasattr(machine, "gamma"):
        raise TypeError(
            f"{who} knows classical machines alone, and this one has a "
            "transverse field; use qbmvae_mini.machines and PathIntegralSampler"
        )
    else:
        raise TypeError(
            f"{who} wants a machine, a BoltzmannMachine or an RBM, "
            f"not {type(machine).__name__}"
        )


def _small_random(*shape, seed):
    generator = torch.Generator().manual_seed(check_seed(seed))
    return INITIAL_COUPLING_SD * torch.randn(shape, generator=generator)


def _as_bits(bqm):
    """The model over bits, and its variables in the order of the units."""
    if not isinstance(bqm, dimod.BinaryQuadraticModel):
        raise TypeError(
            f"bqm is a dimod.BinaryQuadraticModel, not {type(bqm).__name__}"
        )
    if not bqm.num_variables:
        raise ValueError("bqm has no variables; a machine has at least one")
    try:
        variables = sorted(bqm.variables)
    except TypeError:  # labels of mixed kinds keep the model's own order
        variables = list(bqm.variables)
    return bqm.change_vartype(dimod.BINARY, inplace=False), variables


def checked_bits(machine, data):
    """`data` as a tensor like the weights of `machine`, or a sentence."""
    if not (isinstance(machine, nn.Module) and hasattr(machine, "n_units")):
        raise TypeError(
            "machine is an RBM, a BoltzmannMachine or a "
            f"QuantumBoltzmannMachine, not {machine!r}"
        )
    like = next(machine.parameters())
    data = dense("data", data)
    width = machine.n_visible
    if data.ndim != 2 or data.shape[1] != width:
        raise ValueError(
            f"data has a row an example and a column a visible unit, so its "
            f"shape is (n, {width}), not {tuple(data.shape)}"
        )
    if not len(data):
        raise ValueError("data has no rows; give at least one example")
    wrong = (data != 0) & (data != 1)
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"data holds bits, 0 or 1, but row {row}, column {column} is "
            f"{data[row, column].item():g}; set a threshold first"
        )
    return data.to(like)
