"""Graphs of couplings: sound edges, and which units may move together."""

from typing import NamedTuple

import torch

#: Uncoupled units are redrawn at once if they are at least this many.
AT_ONCE = 8

#: Coupled units whose fields are worked out by one matrix product.
IN_TURN = 32


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
    weight: torch.Tensor  # (n_source, n_target)
    bias: torch.Tensor  # (n_target,)
    inner: torch.Tensor | None = None  # (n_target, n_target), i < j only


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


def blocks(edges, n_units):
    """Units in the groups in which a sweep redraws them.

    A greedy colouring; colours of few units are strung together, to be
    redrawn one unit after the other.

    Parameters
    ----------
    edges : Tensor, shape (2, n_edges)
    n_units : int

    Returns
    -------
    list of (list of int, bool)
        Each unit occurs once. True: its group is coupled and goes in turn.
    """
    colours = _colours(edges, n_units)
    together = [(units, False) for units in colours if len(units) >= AT_ONCE]
    single = [u for units in colours if len(units) < AT_ONCE for u in units]
    starts = range(0, len(single), IN_TURN)
    return together + [(single[s : s + IN_TURN], True) for s in starts]


def heat_bath(units, coupled, matrix, bias):
    """The `Conditional` of some units.

    Parameters
    ----------
    units : list of int
    coupled : bool
        Whether they are redrawn in turn.
    matrix : Tensor, shape (n_units, n_units)
        Symmetric couplings with a zero diagonal.
    bias : Tensor, shape (n_units,)
    """
    first = units[0]
    # A slice is a view and so much faster than a list, where it will do.
    if units == list(range(first, first + len(units))):
        target = slice(first, first + len(units))
    else:
        target = torch.tensor(units, device=matrix.device)
    weight, inner = matrix[:, target], None
    if coupled:
        within = weight[target]
        weight, inner = weight.clone(), within.triu(1)
        weight[target] = within.tril(-1)
    return Conditional(target, slice(None), weight, bias[target], inner)


def _colours(edges, n_units):
    """Greedy colouring: units of one colour are not coupled."""
    neighbours = [set() for _ in range(n_units)]
    for i, j in edges.T.tolist():
        neighbours[i].add(j)
        neighbours[j].add(i)
    colours = []
    for unit in range(n_units):
        for colour in colours:
            if neighbours[unit].isdisjoint(colour):
                colour.append(unit)
                break
        else:
            colours.append([unit])
    return colours
