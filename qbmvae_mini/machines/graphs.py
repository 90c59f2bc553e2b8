"""Graphs of couplings: sound edges, and which units may move together."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

#: Uncoupled units are redrawn at once if they are at least this many.
AT_ONCE = 8

#: Coupled units whose fields are worked out by one matrix product.
IN_TURN = 32

#: Share of all couplings above which a matrix product beats a sum by edges.
DENSE = 1 / 8


class Conditional(NamedTuple):
    """One step of heat-bath for some units, given all others.

    With ``inner`` None the target units are not coupled to each other, and
    ``p(z[target] = 1 | rest) = sigmoid(bias + z[source] @ weight)``.

    Otherwise they are redrawn in turn: unit j of the target has the field
    ``bias[j] + z[source] @ weight[:, j] + sum_{i<j} new[i] inner[i, j]``,
    where ``weight`` leaves out the target's units before j, whose new bits
    come in by ``inner``.
    """

    target: slice | torch.Tensor
    source: slice
    weight: "torch.Tensor | Edges"  # (n_source, n_target)
    bias: torch.Tensor  # (n_target,)
    inner: torch.Tensor | None = None  # (n_target, n_target), i < j only

    def fields(self, units):
        """How to work out ``bias + z[source] @ weight``, again and again.

        Parameters
        ----------
        units : Tensor, shape (n_units, chains)
            Bits ``z.T``.

        Returns
        -------
        FieldsByProduct or FieldsByEdges
        """
        by_edges = isinstance(self.weight, Edges)
        return (FieldsByEdges if by_edges else FieldsByProduct)(self, units)

    def is_like(self, other):
        """Whether `other` differs in the values of its weights alone."""
        return (
            _same(self.target, other.target)
            and self.source == other.source
            and isinstance(self.weight, Edges)
            == isinstance(other.weight, Edges)
            and (self.inner is None) == (other.inner is None)
        )


class FieldsByProduct:
    """Fields of some units by a matrix product, in memory of their own.

    Parameters
    ----------
    step : Conditional
    units : Tensor, shape (n_units, chains)

    Attributes
    ----------
    in_place : bool
        Whether the fields lie where the target's bits were.
    """

    def __init__(self, step, units):
        self.in_place = _apart(step.source, step.target)
        memory = units[step.target]
        if not self.in_place:
            memory = torch.empty_like(memory)
        self._bias = step.bias[:, None].clone()
        weight = step.weight.T
        self._weight = weight.clone(memory_format=torch.contiguous_format)
        arguments = (self._bias, self._weight, units[step.source])
        #: Of no argument; gives the fields by the bits of now.
        self.now = partial(torch.addmm, *arguments, out=memory)

    def renew(self, step):
        """Take other weights into the same memory."""
        self._bias.copy_(step.bias[:, None])
        self._weight.copy_(step.weight.T)


class FieldsByEdges:
    """Fields of some units of few couplings; see `FieldsByProduct`."""

    in_place = False

    def __init__(self, step, units):
        self._units = units
        self.renew(step)

    def renew(self, step):
        """Take other weights."""
        self._bias, self._weight = step.bias[:, None], step.weight

    def now(self):
        """The fields by the bits of now, (n_target, chains)."""
        return self._weight.sums(self._units).add_(self._bias)


def _same(one, other):
    """Whether two parts of the units are equal slices, or one index."""
    if isinstance(one, slice) and isinstance(other, slice):
        return one == other
    return one is other


def _apart(one, other):
    """Whether two parts of the units are slices with nothing in common."""
    if not isinstance(one, slice) or not isinstance(other, slice):
        return False
    ends = (one.start, one.stop, other.start, other.stop)
    return None not in ends and (ends[1] <= ends[2] or ends[3] <= ends[0])


class Edges(NamedTuple):
    """A ``weight`` of few couplings: those of each target unit in a row."""

    neighbours: torch.Tensor  # (n,) units at the other ends
    starts: torch.Tensor  # (n_target,) where each target's couplings start
    coupling: torch.Tensor  # (n,)

    def sums(self, units):
        """``weight.T @ units``, (n_units, chains) -> (n_target, chains).

        An embedding bag is the fastest weighted sum of rows that PyTorch has.
        """
        return F.embedding_bag(
            self.neighbours,
            units,
            self.starts,
            mode="sum",
            per_sample_weights=self.coupling,
        )


def checked_edges(edges, n_units):
    """Edges as a (2, n_edges) tensor, or a sentence saying what is wrong.

    Raises
    ------
    ValueError
        For a self-coupling, an edge given twice, a unit that is not there, or
        what is no pair of units.
    """
    try:
        edges = [tuple(edge) for edge in edges]
    except TypeError as error:
        raise ValueError(
            "edges is a sequence of pairs of units, as [(0, 1), (1, 2)], not "
            f"{edges!r}"
        ) from error
    for edge in edges:
        if len(edge) != 2:
            raise ValueError(
                f"an edge is a pair of units, not {len(edge)} of them; of a "
                "machine's own edges give edges.T"
            )
        if not all(_is_whole(unit) for unit in edge):
            raise ValueError(f"edge {edge} names a unit by no whole number")
    edges = [(int(i), int(j)) for i, j in edges]
    seen = set()
    for i, j in edges:
        if i == j:
            raise ValueError(
                f"unit {i} is coupled to itself; z*z = z, so put the weight "
                "into its bias"
            )
        if not (0 <= i < n_units and 0 <= j < n_units):
            raise ValueError(
                f"edge ({i}, {j}) names a unit outside 0 to {n_units - 1}"
            )
        if frozenset((i, j)) in seen:
            raise ValueError(f"edge ({i}, {j}) is given twice")
        seen.add(frozenset((i, j)))
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T.contiguous()


def _is_whole(unit):
    try:
        return int(unit) == unit
    except (TypeError, ValueError, OverflowError):  # a name, NaN, infinity
        return False


class Group:
    """Units that a sweep redraws together, and where their couplings are.

    Parameters
    ----------
    units : array of int, shape (n_target,)
    coupled : bool
        Whether they are coupled, and so redrawn one after the other.
    graph : Adjacency
    """

    def __init__(self, units, coupled, graph):
        self._coupled = coupled
        self._target = _as_slice(units)
        degrees, ends = graph.ends(units)
        rows = np.arange(len(units)).repeat(degrees)
        self._shape = (len(units), graph.n_units)
        self._rows = torch.from_numpy(rows)
        self._starts = torch.from_numpy(degrees.cumsum() - degrees)
        self._neighbours = torch.from_numpy(graph.neighbours[ends])
        self._edges = torch.from_numpy(graph.edges[ends])

    def conditional(self, coupling, bias):
        """The `Conditional` of the group, with copies of the weights.

        Parameters
        ----------
        coupling : Tensor, shape (n_edges,)
        bias : Tensor, shape (n_units,)
        """
        device, target = coupling.device, self._target
        if not isinstance(target, slice):
            target = target.to(device)
        neighbours = self._neighbours.to(device)
        coupling = coupling[self._edges.to(device)]
        n_target, n_units = self._shape
        inner = None
        if not self._coupled and len(coupling) < DENSE * n_target * n_units:
            weight = Edges(neighbours, self._starts.to(device), coupling)
        else:
            weight = bias.new_zeros(n_target, n_units)
            weight[self._rows.to(device), neighbours] = coupling
            weight = weight.T
        if self._coupled:
            within = weight[target]
            inner = within.triu(1)
            weight[target] = within.tril(-1)
        return Conditional(
            target, slice(None), weight, bias[target].clone(), inner
        )


class Adjacency:
    """The couplings of each unit, those of one unit in a row.

    Parameters
    ----------
    edges : Tensor, shape (2, n_edges)
    n_units : int

    Attributes
    ----------
    neighbours, edges : array of int, shape (2 * n_edges,)
        Unit at the other end, and number of the edge, of each coupling of
        unit 0, then of unit 1, and so on.
    """

    def __init__(self, edges, n_units):
        row, column = edges.cpu().numpy()
        units = np.concatenate([row, column])
        order = np.argsort(units, kind="stable")
        self.n_units = n_units
        self.neighbours = np.concatenate([column, row])[order]
        self.edges = order % max(len(row), 1)
        self._degrees = np.bincount(units, minlength=n_units)
        self._starts = self._degrees.cumsum() - self._degrees

    def ends(self, units):
        """How many couplings `units` have, and their places in a row."""
        degrees = self._degrees[units]
        firsts = self._starts[units] - (degrees.cumsum() - degrees)
        return degrees, firsts.repeat(degrees) + np.arange(degrees.sum())

    def of(self, unit):
        """Neighbours of one unit."""
        start = self._starts[unit]
        return self.neighbours[start : start + self._degrees[unit]]


def groups(edges, n_units):
    """Units in the groups in which a sweep redraws them.

    A greedy colouring; colours of few units are strung together, to be
    redrawn one unit after the other.

    Parameters
    ----------
    edges : Tensor, shape (2, n_edges)
    n_units : int

    Returns
    -------
    list of Group
        Each unit occurs once.
    """
    graph = Adjacency(edges, n_units)
    colours = _colours(graph)
    by_colour = np.argsort(colours, kind="stable")
    sizes = np.bincount(colours)
    together, single = [], [np.array([], dtype=int)]
    for units in np.split(by_colour, sizes.cumsum()[:-1]):
        (together if len(units) >= AT_ONCE else single).append(units)
    single = np.concatenate(single)
    in_turn = np.split(single, range(IN_TURN, len(single), IN_TURN))
    return [Group(units, False, graph) for units in together] + [
        Group(units, True, graph) for units in in_turn if len(units)
    ]


def _as_slice(units):
    """A slice is a view and so much faster than a list, where it will do."""
    first, last = int(units[0]), int(units[-1])
    if np.array_equal(units, np.arange(first, last + 1)):
        return slice(first, last + 1)
    return torch.from_numpy(units)


def _colours(graph):
    """Greedy colouring, shape (n_units,): units of one are not coupled."""
    colours = np.full(graph.n_units, -1)
    for unit in range(graph.n_units):
        taken = np.zeros(len(graph.of(unit)) + 1, dtype=bool)
        known = colours[graph.of(unit)]
        taken[known[(known >= 0) & (known < len(taken))]] = True
        colours[unit] = taken.argmin()
    return colours
