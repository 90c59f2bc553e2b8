"""Where the units of a machine sit on a device, one chain of qubits each."""

import networkx
import numpy as np

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.hardware.errors import DeviceError
from qbmvae_mini.machines import BoltzmannMachine
from qbmvae_mini.machines.base import check_classical

#: Seconds that the search for an embedding may take.
SEARCH = 2


def embed(machine, device, *, seed=0, timeout=SEARCH):
    """A chain of qubits for each unit, found once and kept.

    The two layers of an RBM, and machines with all pairs, are laid out by
    minorminer's templates, with the shortest chains; other graphs by its
    search. A native machine needs none: see `native_machine`.

    Parameters
    ----------
    machine : Machine
    device : dimod.Structured
    seed, timeout : int, float
        Of the search, in seconds.

    Returns
    -------
    dict of int to tuple of int
        Qubits of each unit.

    Raises
    ------
    DeviceError
        If the machine does not fit.
    """
    from minorminer import busclique, find_embedding

    check_classical(machine, "embed")
    n, qubits = machine.n_units, len(device.nodelist)
    too_large = DeviceError(
        f"{n} units with {machine.edges.shape[1]} couplings were not fitted "
        f"into the {qubits} working qubits of this device; take a smaller or "
        "a native machine, a larger device, or a longer timeout"
    )
    if n > qubits:
        raise too_large
    graph = networkx.Graph(machine.edges.T.tolist())
    graph.add_nodes_from(range(n))
    templates = busclique.busgraph_cache(device.to_networkx_graph())
    layers = _layers(graph)
    found = {}
    if graph.number_of_edges() == n * (n - 1) // 2:
        found = templates.find_clique_embedding(n)
    elif layers:
        found = templates.find_biclique_embedding(*layers)
    if not found:
        loops = [(i, i) for i in range(n)]  # for units without couplings
        found = find_embedding(
            [*graph.edges, *loops],
            device.edgelist,
            random_seed=check_seed(seed) % 2**31,
            timeout=timeout,
        )
    if len(found) < n:
        raise too_large
    return {i: tuple(int(q) for q in found[i]) for i in range(n)}


def _layers(graph):
    """The two sides of a complete bipartite graph, or None."""
    if not networkx.is_connected(graph) or not networkx.is_bipartite(graph):
        return None
    sides = [sorted(side) for side in networkx.bipartite.sets(graph)]
    complete = graph.number_of_edges() == len(sides[0]) * len(sides[1])
    return sides if complete else None


def native_machine(device, n_units, *, seed=0):
    """A machine with the graph of a part of the device, and where it sits.

    Each unit is one qubit and each coupling one coupler, so that no chain can
    break. The part grows from a random qubit by the neighbour with the most
    couplers into it.

    Parameters
    ----------
    device : dimod.Structured
    n_units : int
    seed : int
        Of the place, and of the small random couplings.

    Returns
    -------
    BoltzmannMachine
    dict of int to tuple of int
        The qubit of each unit, as `embed` gives it.
    """
    n_units = check_whole("n_units", n_units, 1)
    graph = networkx.Graph()
    graph.add_edges_from(device.edgelist)
    rng = np.random.default_rng(check_seed(seed))
    chosen = [int(rng.choice(sorted(graph)))]
    links = {}
    while len(chosen) < n_units:
        for q in graph[chosen[-1]]:
            links[q] = links.get(q, 0) + 1
        links = {q: k for q, k in links.items() if q not in chosen}
        if not links:
            raise DeviceError(
                f"n_units is {n_units}, and qubit {chosen[0]} is connected to "
                f"{len(chosen) - 1} others of this device; ask for fewer"
            )
        chosen.append(max(links, key=lambda q: (links[q], -q)))
    chosen.sort()
    unit = {q: i for i, q in enumerate(chosen)}
    edges = sorted(
        tuple(sorted((unit[u], unit[v])))
        for u, v in graph.subgraph(chosen).edges
    )
    machine = BoltzmannMachine(n_units, edges, seed=seed)
    return machine, {i: (int(q),) for q, i in unit.items()}
