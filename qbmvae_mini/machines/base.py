"""What may be asked of every machine, classical or quantum."""

import copy
import math

import dimod
import torch
from torch import nn

from qbmvae_mini.checks import check_seed, dense, kind_of
from qbmvae_mini.machines.graphs import groups
from qbmvae_mini.machines.listing import Listing
from qbmvae_mini.machines.states import all_states

#: Couplings start small but not zero, so that left and right units can part.
INITIAL_COUPLING_SD = 0.01

#: Measured: a matrix product does 100 numbers while an edge fetches its two
#: bits. A graph with fewer edges than units^2 / 100 is worked by its edges.
PRODUCTS_AN_EDGE = 100


class Machine(nn.Module):
    """Bits with an energy: a graph of couplings, and what follows from it.

    ``E(z) = offset - b.z - sum over edges of W_ij z_i z_j``, in nats. A child
    calls ``super().__init__(n_units, edges)`` and has the two attributes
    `bias` and `coupling`, parameters or tensors worked out from parameters.
    All else has a default, which a child may replace by something faster.

    The graph and the offset are buffers, so ``state_dict`` restores the whole
    machine. The package's own machines are float32, whatever torch's default
    dtype is, and ``machine.double()`` asks for more.

    Parameters
    ----------
    n_units : int
    edges : Tensor of int, shape (2, n_edges)
    dtype : torch.dtype, optional
        Of the offset; torch's default, as of weights that name none.

    Attributes
    ----------
    n_units : int
    edges : Tensor, shape (2, n_edges)
        Coupled pairs of units.
    offset : Tensor, shape ()
    bias : Tensor, shape (n_units,)
    coupling : Tensor, shape (n_edges,)
        In the order of `edges`.
    is_classical : bool
        Whether the law is ``exp(-E) / Z``; false in a transverse field.
    """

    is_classical = True

    def __init__(self, n_units, edges, dtype=None):
        super().__init__()
        self.n_units = n_units
        self.register_buffer("edges", edges)
        self.register_buffer("offset", torch.zeros((), dtype=dtype))
        self._by_edges = edges.shape[1] * PRODUCTS_AN_EDGE < n_units**2
        self._groups = None  # made when first needed
        # A loaded state may bring another graph of the same size.
        self.register_load_state_dict_post_hook(_forget_groups)

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

    def settings(self):
        """What to build it with again, fit for JSON; weights apart.

        ``kind`` names the class, the rest are its arguments. `edges` is None
        where all pairs are coupled, in order.
        """
        edges = None if self._couples_all() else self.edges.T.tolist()
        return {
            "kind": kind_of(self),
            "n_units": self.n_units,
            "edges": edges,
        }

    # Energies and fields

    def energy(self, z):
        """Energy of each state in nats, (..., n_units) -> (...).

        `z` may be a tensor, an array or a list, of bits or of their means.
        """
        z = self._as_states(z)
        return self.offset - z @ self.bias - self._coupled(z)

    def mean_energy(self, z):
        """Mean energy of `n` states in nats, (n, n_units) -> a scalar.

        From the means of the units and of the coupled pairs, which hold all
        that the weights' gradient depends on.
        """
        z = self._as_states(z)
        pairs = self._pair_means(z)  # (n_edges,)
        return self.offset - z.mean(0) @ self.bias - pairs @ self.coupling

    def field(self, z):
        """Minus the slope of E along each unit, (..., n_units) -> the same.

        ``b_i + sum_j W_ij z_j``: given all others, unit i is on with
        probability ``sigmoid(field_i)`` in a classical machine.
        """
        z = self._as_states(z)
        if not self._by_edges:
            return self.bias + z @ self.coupling_matrix()
        i, j = self.edges
        columns, weight = _columns(z), self.coupling[:, None]
        pull = torch.zeros_like(columns)  # (n_units, states)
        pull = pull.index_add(0, i, weight * columns.index_select(0, j))
        pull = pull.index_add(0, j, weight * columns.index_select(0, i))
        return self.bias + pull.T.reshape(z.shape)

    def rise_if_flipped(self, z):
        """E with unit i flipped, minus E, (..., n_units) -> the same.

        E is a straight line in each unit, so its slope is the difference.
        """
        z = self._as_states(z)
        return (2 * z - 1) * self.field(z)

    def coupling_matrix(self):
        """Symmetric W with a zero diagonal, shape (n_units, n_units)."""
        upper = self._upper_couplings()
        return upper + upper.T

    @torch.no_grad()
    def set_couplings(self, coupling):
        """Put other values on the edges, in the order of `edges`.

        Raises
        ------
        ValueError
            For another number of them, or values that are not finite.
        TypeError
            If they are no numbers, or worked out from other weights.
        """
        coupling = dense("coupling", coupling).to(self.offset)
        if coupling.shape != self.coupling.shape:
            raise ValueError(
                f"coupling holds one number an edge, {self.edges.shape[1]} of "
                f"them, not an array of shape {tuple(coupling.shape)}"
            )
        if not torch.isfinite(coupling).all():
            raise ValueError("coupling holds NaN or infinite values")
        self._assign(self.bias, coupling)

    # Visible units

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

    # Sampling and listing

    def conditionals(self):
        """One sweep of heat-bath, a list of `qbmvae_mini.machines.Conditional`.

        Large groups of uncoupled units are redrawn at once, others in turn.
        """
        if self._groups is None:
            self._groups = groups(self.edges, self.n_units)
        coupling, bias = self.coupling.detach(), self.bias.detach()
        return [group.conditional(coupling, bias) for group in self._groups]

    def listing(self):
        """How its states are enumerated, a `qbmvae_mini.machines.Listing`."""
        return Listing(self)

    def log_ratio(self, z, now, then):
        """How the weight of a state changes with the temperature.

        Log of ``exp(-then E) / exp(-now E)``, with units summed out that a
        sweep draws first, and so whatever they were, where that can be done.

        Parameters
        ----------
        z : Tensor, shape (..., n_units)
        now, then : float or Tensor, shape (..., 1)
            Inverse temperatures, of all states or such that they broadcast
            against `z`.

        Returns
        -------
        Tensor, shape (...)
        """
        return ((now - then) * self.energy(z)[..., None]).squeeze(-1)

    @torch.no_grad()
    def law(self):
        """Probability of each state, (2^n_units,), in double precision.

        In the order of `all_states`, for at most 24 units.
        """
        states = all_states(self.n_units)
        machine = copy.deepcopy(self).cpu().double()
        return machine.energy(states).neg().softmax(0)

    # dimod

    def to_bqm(self):
        """The same energy as a `dimod.BinaryQuadraticModel`, offset and all.

        Variables are the units' numbers 0 to n_units - 1.
        """
        self.check()
        row, column = self.edges.cpu().numpy()
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            -self.bias.detach().cpu().double().numpy(),
            (row, column, -self.coupling.detach().cpu().double().numpy()),
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

    def _assign(self, bias, coupling):
        """Copy numbers into the weights; a child may keep them otherwise."""
        if not {"bias", "coupling"} <= set(self._parameters):
            raise TypeError(
                f"{type(self).__name__} works its biases or couplings out from "
                "other weights, so there are none to set"
            )
        self.bias.copy_(bias)
        self.coupling.copy_(coupling)

    def _couples_all(self):
        """Whether the edges are all pairs in order."""
        n = self.n_units
        if 2 * self.edges.shape[1] != n * (n - 1):
            return False
        return torch.equal(self.edges.cpu(), torch.triu_indices(n, n, 1))

    # Arithmetic

    def _as_states(self, z, n_units=None):
        """`z` as a tensor like the weights, (..., n_units), or a sentence.

        What is a tensor already keeps its gradient.
        """
        n_units = self.n_units if n_units is None else n_units
        strided = isinstance(z, torch.Tensor) and z.layout is torch.strided
        if not strided or z.is_complex():
            z = dense("states", z)
        like = self.offset
        if z.dtype != like.dtype or z.device != like.device:
            z = z.to(like)
        if z.shape[-1:] != (n_units,):
            raise ValueError(
                f"states have {n_units} units in their last dimension, not "
                f"the shape {tuple(z.shape)}"
            )
        return z

    def _upper_couplings(self):
        """W_ij at i, j of each edge and 0 elsewhere, (n_units, n_units)."""
        upper = self.coupling.new_zeros(self.n_units, self.n_units)
        return upper.index_put(tuple(self.edges), self.coupling)

    def _coupled(self, z):
        """The coupling term of -E, (..., n_units) -> (...)."""
        if not self._by_edges:
            return ((z @ self._upper_couplings()) * z).sum(-1)
        return (self.coupling @ self._both(z)).view(z.shape[:-1])

    def _pair_means(self, z):
        """Mean over `n` states of the product of each coupled pair."""
        if self._by_edges:
            return self._both(z).mean(1)
        return (z.T @ z)[tuple(self.edges)] / len(z)

    def _both(self, z):
        """Products of the coupled bits, (n_edges, states)."""
        i, j = self.edges
        columns = _columns(z)
        return columns.index_select(0, i) * columns.index_select(0, j)


def _columns(z):
    """A row a unit, so that an edge fetches two rows, (n_units, states)."""
    return z.reshape(-1, z.shape[-1]).T.contiguous()


def _forget_groups(machine, _):
    """By name, for a nested function could not be pickled with the machine."""
    machine._groups = None


def check_is_machine(machine, who):
    """Refuse what is no `Machine`, with a word on what to do.

    Parameters
    ----------
    machine : Machine
    who : str
        Names the sampler or estimator in the sentence.

    Raises
    ------
    TypeError
    """
    if isinstance(machine, Machine):
        return
    found = type(machine).__name__
    if isinstance(machine, type):
        found = f"the class {machine.__name__}; make one first"
    raise TypeError(
        f"{who} wants a machine, an object of a class derived from "
        f"qbmvae_mini.machines.Machine such as RBM(2, 2), not {found}"
    )


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
    check_is_machine(machine, who)
    if not machine.is_classical:
        raise TypeError(
            f"{who} knows classical machines alone, and this one has a "
            "transverse field; take its diagonal, machine.classical, or draw "
            "with PathIntegralSampler"
        )
    machine.check()


def check_quantum(machine, who):
    """Refuse what has no transverse field, and weights that are no numbers.

    Parameters and errors as `check_classical`.
    """
    check_is_machine(machine, who)
    if machine.is_classical:
        raise TypeError(
            f"{who} wants a QuantumBoltzmannMachine; "
            f"{type(machine).__name__} has no transverse field, see "
            "QuantumBoltzmannMachine(machine, gamma)"
        )
    machine.check()


def _zeros(*shape):
    # Not the default dtype, which another library may have set.
    return torch.zeros(shape, dtype=torch.float32)


def _small_random(*shape, seed):
    generator = torch.Generator().manual_seed(check_seed(seed))
    numbers = torch.randn(shape, generator=generator, dtype=torch.float32)
    return INITIAL_COUPLING_SD * numbers


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
    return data.to(machine.offset)
