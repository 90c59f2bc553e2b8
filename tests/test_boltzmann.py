"""Energies, signs and graphs, against loops over every unit and pair."""

import copy
import itertools
import json
import math
import pickle

import dimod
import numpy as np
import pytest
import torch
from oracles import (
    KINDS,
    SPARSE_EDGES,
    energies,
    law,
    listed,
    listed_energy,
    listed_log_q,
    log_z,
    random_machine,
    randomise,
)

from qbmvae_mini import estimates, learning, machines, samplers
from qbmvae_mini.machines import (
    RBM,
    BoltzmannMachine,
    Machine,
    QuantumBoltzmannMachine,
    all_states,
    check_classical,
    graphs,
)
from qbmvae_mini.samplers import (
    DimodSampler,
    ExactSampler,
    GibbsSampler,
    TemperingSampler,
)

DOUBLE = torch.float64


@pytest.fixture(params=KINDS)
def machine(request):
    """Each kind of machine in turn, in double precision."""
    return random_machine(request.param, dtype=DOUBLE)


@torch.no_grad()
def all_energies(machine):
    states = all_states(machine.n_units, dtype=machine.bias.dtype)
    return machine.energy(states).numpy()


def test_energy_is_the_sum_over_units_and_pairs(machine):
    np.testing.assert_allclose(
        all_energies(machine), energies(machine), rtol=1e-12
    )


def test_signs_of_a_two_unit_machine_are_those_of_the_book():
    machine = BoltzmannMachine(2).double()
    machine.load_state_dict(
        {
            "bias": torch.tensor([1.0, 20.0]),
            "coupling": torch.tensor([300.0]),
            "edges": torch.tensor([[0], [1]]),
            "offset": torch.tensor(4000.0),
        }
    )
    # 00, 01, 10, 11
    assert all_energies(machine).tolist() == [4000, 3980, 3999, 3679]


def test_signs_of_a_two_by_one_rbm_are_those_of_the_book():
    machine = RBM(2, 1).double()
    with torch.no_grad():
        machine.a.copy_(torch.tensor([1.0, 2.0]))
        machine.c.copy_(torch.tensor([10.0]))
        machine.W.copy_(torch.tensor([[100.0], [200.0]]))
    z = torch.tensor([[1, 0, 0], [0, 1, 1], [1, 1, 1]], dtype=DOUBLE)
    assert machine.energy(z).tolist() == [-1, -212, -313]
    v, h = machine.split(z)
    assert v.shape == (3, 2)
    assert h.tolist() == [[0], [1], [1]]


def test_energy_keeps_leading_axes(machine):
    z = all_states(machine.n_units)[:12].reshape(2, 3, 2, -1)
    energy = machine.energy(z)
    assert energy.shape == (2, 3, 2)
    assert torch.equal(energy.flatten(), machine.energy(z.flatten(0, 2)))


def test_mean_energy_of_independent_bits_is_the_energy_of_their_means(machine):
    logits = torch.randn(4, machine.n_units, dtype=DOUBLE) * 2
    by_listing = listed_log_q(logits).exp() @ torch.from_numpy(
        energies(machine)
    )
    torch.testing.assert_close(
        machine.energy(logits.sigmoid()), by_listing, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("layer", ["left", "right"])
def test_free_energy_sums_the_other_layer_out(layer):
    machine = random_machine("rbm", dtype=DOUBLE)
    n_left, n_right = machine.n_left, machine.n_right
    table = -energies(machine).reshape(2**n_left, 2**n_right)
    expected = -np.logaddexp.reduce(table, axis=1 if layer == "left" else 0)
    kept = torch.from_numpy(listed(n_left if layer == "left" else n_right))
    found = machine.free_energy(kept, layer).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_free_energy_knows_two_layers_only():
    with pytest.raises(ValueError, match='"left" or "right", not \'top\''):
        RBM(2, 2).free_energy(torch.zeros(2), "top")


@pytest.fixture(params=[(1, 32), (8, 3), (8, 32)], ids=str)
def groups(request, monkeypatch):
    """Small machines redrawn by colours, in several runs, in one."""
    at_once, in_turn = request.param
    monkeypatch.setattr(graphs, "AT_ONCE", at_once)
    monkeypatch.setattr(graphs, "IN_TURN", in_turn)


@pytest.mark.parametrize("kind", KINDS)
def test_conditionals_are_those_of_the_law(groups, kind):
    machine = random_machine(kind, dtype=DOUBLE)
    n = machine.n_units
    p = dict(zip(map(tuple, listed(n)), law(machine), strict=True))
    z = all_states(n)
    for target, source, weight, bias, inner in machine.conditionals():
        field = bias + z[:, source] @ weight
        if inner is not None:  # the units before, as if they were redrawn
            field += z[:, target] @ inner
        on = torch.sigmoid(field)
        for unit, column in zip(
            np.atleast_1d(np.arange(n)[target]), on.T, strict=True
        ):
            for state, found in zip(listed(n), column, strict=True):
                one, zero = state.copy(), state.copy()
                one[unit], zero[unit] = 1, 0
                one, zero = p[tuple(one)], p[tuple(zero)]
                assert float(found) == pytest.approx(one / (one + zero))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_redraws_every_unit_once_and_no_coupled_pair_together(
    groups, kind
):
    machine = random_machine(kind, dtype=DOUBLE)
    coupled = {frozenset(edge) for edge in machine.edges.T.tolist()}
    redrawn = []
    for target, _, weight, _, inner in machine.conditionals():
        block = np.atleast_1d(np.arange(machine.n_units)[target]).tolist()
        redrawn += block
        if inner is None:
            together = map(frozenset, itertools.combinations(block, 2))
            assert coupled.isdisjoint(together)
        else:  # the old bits of units before are not looked at
            assert not weight[target].triu().any()
            assert not inner.tril().any()
    assert sorted(redrawn) == list(range(machine.n_units))


def test_an_odd_ring_takes_three_colours(monkeypatch):
    monkeypatch.setattr(graphs, "AT_ONCE", 1)
    assert len(random_machine("sparse").conditionals()) == 3


def test_large_colours_are_redrawn_at_once_and_the_rest_in_turn():
    star = [(0, unit) for unit in range(1, 10)]
    (leaves, *_, no_inner), (hub, *_, inner) = BoltzmannMachine(
        10, star
    ).conditionals()
    assert (leaves, hub) == (slice(1, 10), slice(0, 1))
    assert no_inner is None
    assert inner is not None
    sizes = [len(s.bias) for s in BoltzmannMachine(70).conditionals()]
    assert sizes == [32, 32, 6]


def test_coupling_matrix_is_symmetric_with_zero_diagonal():
    matrix = random_machine("sparse").coupling_matrix().detach()
    assert torch.equal(matrix, matrix.T)
    assert matrix.diagonal().abs().max() == 0
    assert int((matrix != 0).sum()) == 2 * len(SPARSE_EDGES)


# dimod


def test_dimod_agrees_on_the_energy_of_every_state(machine):
    bqm = machine.to_bqm()
    assert bqm.vartype is dimod.BINARY
    states = listed(machine.n_units)
    found = bqm.energies((states, list(range(machine.n_units))))
    np.testing.assert_allclose(found, energies(machine), rtol=1e-12)
    assert bqm.offset == float(machine.offset)


def test_a_machine_survives_the_way_to_dimod_and_back(machine):
    args = (machine.n_left,) if isinstance(machine, RBM) else ()
    back = type(machine).from_bqm(machine.to_bqm(), *args)
    pairs = {frozenset(edge) for edge in machine.edges.T.tolist()}
    assert {frozenset(edge) for edge in back.edges.T.tolist()} == pairs
    np.testing.assert_allclose(
        all_energies(back.double()), energies(machine), atol=1e-6
    )


@pytest.mark.parametrize("labels", ["abcd", [3, 10, 2, 1], [2, 3, 1, "x"]])
def test_units_follow_sorted_labels_or_else_the_models_own_order(labels):
    rng = np.random.default_rng(0)
    spins = dimod.BinaryQuadraticModel(dimod.SPIN)
    spins.offset = 1.5
    for label in labels:
        spins.add_linear(label, rng.normal())
    for i, j in [(0, 2), (3, 1), (2, 3)]:
        spins.add_quadratic(labels[i], labels[j], rng.normal())
    order = labels if "x" in labels else sorted(labels)
    machine = BoltzmannMachine.from_bqm(spins)
    found = all_energies(machine.double())
    expected = spins.energies((2 * listed(4) - 1, order))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert machine.edges.shape == (2, 3)
    assert spins.vartype is dimod.SPIN  # the caller's model is left alone


def test_a_sparse_model_becomes_an_rbm_with_zeros_for_missing_couplings():
    bqm = dimod.BinaryQuadraticModel(
        {0: 1.0, 1: 2.0, 2: -1.0, 3: 0.5}, {(0, 2): -3.0}, 2.5, "BINARY"
    )
    machine = RBM.from_bqm(bqm, n_left=2)
    expected = bqm.energies((listed(4), [0, 1, 2, 3]))
    np.testing.assert_allclose(all_energies(machine.double()), expected)


def test_a_coupling_within_a_layer_is_no_rbm():
    bqm = dimod.BinaryQuadraticModel({}, {("a", "b"): 1.0}, 0.0, "BINARY")
    bqm.add_variable("c")
    with pytest.raises(ValueError, match="'[ab]' and '[ab]' are coupled"):
        RBM.from_bqm(bqm, n_left=2)


# Saved and restored


def test_state_dict_restores_graph_offset_and_weights():
    old = random_machine("sparse")
    # As many edges, between other units.
    new = BoltzmannMachine(8, [(0, i) for i in range(1, 8)] + [(1, 2)])
    new.load_state_dict(old.state_dict())
    assert torch.equal(new.edges, old.edges)
    assert float(new.offset) == float(old.offset) != 0
    np.testing.assert_array_equal(all_energies(new), all_energies(old))
    for ours, theirs in zip(
        new.conditionals(), old.conditionals(), strict=True
    ):
        # grouped anew for the loaded graph
        assert str(ours.target) == str(theirs.target)
        assert torch.equal(ours[2], theirs[2])


def test_state_dict_restores_an_rbm():
    old, new = random_machine("rbm"), RBM(3, 5)
    new.load_state_dict(old.state_dict())
    np.testing.assert_array_equal(all_energies(new), all_energies(old))


@pytest.mark.parametrize(
    "make", [lambda s: RBM(3, 4, seed=s), lambda s: BoltzmannMachine(5, seed=s)]
)
def test_the_seed_decides_the_small_first_couplings(make):
    one, same, other = (make(s).coupling.detach() for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert 0 < one.abs().max() < 0.1


# States


def test_states_count_upwards_with_the_last_unit_fastest():
    np.testing.assert_array_equal(all_states(4).numpy(), listed(4))
    np.testing.assert_array_equal(all_states(4, 5, 9), listed(4)[5:9])
    assert all_states(3, dtype=torch.float32).dtype == torch.float32


# What is refused


@pytest.mark.parametrize(
    ("edges", "sentence"),
    [
        ([(0, 1), (2, 2)], "unit 2 is coupled to itself"),
        ([(0, 1), (1, 0)], r"edge \(1, 0\) is given twice"),
        ([(0, 4)], r"edge \(0, 4\) names a unit outside 0 to 3"),
        ([(-1, 2)], r"edge \(-1, 2\) names a unit outside 0 to 3"),
    ],
)
def test_a_wrong_graph_is_refused_with_the_edge_named(edges, sentence):
    with pytest.raises(ValueError, match=sentence):
        BoltzmannMachine(4, edges)


@pytest.mark.parametrize("size", [0, -1, 2.0, "3", None])
def test_a_size_is_a_whole_number(size):
    with pytest.raises(ValueError, match="n_units is a whole number"):
        BoltzmannMachine(size)
    with pytest.raises(ValueError, match="n_right is a whole number"):
        RBM(2, size)


def test_too_many_states_are_not_listed():
    with pytest.raises(ValueError, match=r"25 units have 2\^25 states.*24"):
        all_states(25)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["a", "c", "W"])
def test_nan_weights_end_in_a_sentence_that_names_them(name, value):
    machine = randomise(RBM(2, 2))
    getattr(machine, name).data.view(-1)[0] = value
    with pytest.raises(ValueError, match=f"machine's {name} holds NaN or inf"):
        machine.to_bqm()


# Who is a classical machine


STATES = torch.zeros(4, 3)
CLASSICAL = {
    "GibbsSampler": lambda m: GibbsSampler().sample(m, 2),
    "TemperingSampler": lambda m: TemperingSampler().sample(m, 2),
    "ExactSampler": lambda m: ExactSampler().sample(m, 2),
    "ExactSampler ": lambda m: ExactSampler().mean_energy(m),
    "DimodSampler": lambda m: DimodSampler(dimod.RandomSampler()).sample(m, 2),
    "ContrastiveDivergence": lambda m: (
        samplers.ContrastiveDivergence().sample_from(m, STATES)
    ),
    "log_likelihood": lambda m: learning.log_likelihood(m, STATES),
    "exact_log_z": estimates.exact_log_z,
    "annealed importance sampling": estimates.ais,
    "annealed importance sampling ": lambda m: estimates.reverse_ais(m, STATES),
    "annealed importance sampling  ": estimates.log_z_bracket,
    "effective_beta": lambda m: estimates.effective_beta(m, STATES),
    "distance_to_exact": lambda m: estimates.distance_to_exact(m, STATES),
}


@pytest.mark.parametrize("who", CLASSICAL)
def test_what_is_classical_refuses_a_quantum_machine(who):
    machine = QuantumBoltzmannMachine(BoltzmannMachine(3), gamma=1.0)
    sentence = f"^{who.strip()} knows classical machines alone, and this one"
    with pytest.raises(TypeError, match=sentence):
        CLASSICAL[who](machine)


def test_what_is_no_machine_is_refused_and_a_machine_is_not():
    with pytest.raises(TypeError, match="AIS wants a machine, .* not float"):
        check_classical(3.0, "AIS")
    check_classical(RBM(2, 2), "AIS")


@pytest.mark.parametrize("part", [(-1, 3), (0, 9), (5, 2)])
def test_states_outside_the_list_are_refused(part):
    with pytest.raises(ValueError, match=r"between 0 and 2\^3|at least 0"):
        all_states(3, *part)


def test_a_range_or_a_precision_that_is_none_is_refused():
    with pytest.raises(ValueError, match="start is a whole number"):
        all_states(3, None)
    with pytest.raises(ValueError, match="stop is a whole number"):
        all_states(3, 0, "8")
    with pytest.raises(TypeError, match="dtype is one of torch's, not 'float'"):
        all_states(3, dtype="float")


@pytest.mark.parametrize("n_units", [-1, 2.0, "3", None])
def test_a_number_of_units_that_is_none_is_refused(n_units):
    with pytest.raises(ValueError, match="n_units is a whole number"):
        all_states(n_units)


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ([(0, 1, 2)], "a pair of units, not 3 of them"),
        ([(0,)], "a pair of units, not 1"),
        ([0, 1], "edges is a sequence of pairs"),
        (5, "edges is a sequence of pairs"),
        ([("a", "b")], "by no whole number"),
        ([(None, 1)], "by no whole number"),
        ([(math.nan, 1)], "by no whole number"),
        ([(math.inf, 1)], "by no whole number"),
        (BoltzmannMachine(3).edges, "not 3 of them; .* give edges.T"),
    ],
)
def test_edges_are_pairs_of_units(edges, said):
    with pytest.raises(ValueError, match=said):
        BoltzmannMachine(3, edges)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_offset_that_is_no_number_is_seen(bad):
    machine = RBM(2, 2)
    machine.offset.fill_(bad)
    with pytest.raises(ValueError, match="machine's offset holds NaN"):
        machine.check()


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e60])
@pytest.mark.parametrize("where", ["linear", "quadratic", "offset"])
def test_models_without_finite_weights_are_refused(where, bad):
    linear, quadratic = {0: 1.0, 1: 1.0}, {(0, 1): 1.0}
    if where == "linear":
        linear[0] = bad
    elif where == "quadratic":
        quadratic[0, 1] = bad
    offset = bad if where == "offset" else 0.0
    bqm = dimod.BinaryQuadraticModel(linear, quadratic, offset, "BINARY")
    for make in (BoltzmannMachine.from_bqm, lambda bqm: RBM.from_bqm(bqm, 1)):
        with pytest.raises(ValueError, match="model holds NaN or infinite"):
            make(bqm)


def test_what_is_no_model_is_refused():
    for make in (BoltzmannMachine.from_bqm, lambda bqm: RBM.from_bqm(bqm, 1)):
        with pytest.raises(TypeError, match="bqm is a dimod.Bin.*, not dict"):
            make({(0, 1): 1.0})
        with pytest.raises(ValueError, match="bqm has no variables"):
            make(dimod.BinaryQuadraticModel("BINARY"))
    model = dimod.BinaryQuadraticModel({0: 1, 1: 1}, {}, 0, "BINARY")
    for n_left in (0, 1.5, "1", None):
        with pytest.raises(ValueError, match="n_left is a whole number"):
            RBM.from_bqm(model, n_left)


def test_a_machine_can_be_sent_to_another_process():
    machine = BoltzmannMachine(3, [(0, 2)])
    twin = pickle.loads(pickle.dumps(machine))
    assert torch.equal(twin.coupling, machine.coupling)
    other = BoltzmannMachine(3, [(1, 2)])
    twin.load_state_dict(other.state_dict())  # and groups its units anew
    assert str(twin.conditionals()) == str(other.conditionals())


@pytest.mark.parametrize("kind", KINDS)
def test_mean_energy_is_the_mean_of_the_energies_in_value_and_gradient(kind):
    machine = random_machine(kind, dtype=torch.float64)
    states = torch.from_numpy(listed(machine.n_units))
    z = states[torch.randperm(len(states), generator=torch.manual_seed(0))[:9]]
    found, expected = machine.mean_energy(z), machine.energy(z).mean()
    torch.testing.assert_close(found, expected)
    weights = list(machine.parameters())
    pairs = zip(
        torch.autograd.grad(found, weights),
        torch.autograd.grad(expected, weights),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)


# By edges or by products of matrices: the same numbers


@pytest.fixture(params=[False, True], ids=["matrix", "edges"])
def way(request, machine):
    """Each machine worked out in either way."""
    machine._by_edges = request.param
    return machine


def test_energies_and_fields_are_the_same_by_edges(way):
    states = all_states(way.n_units)
    found = way.energy(states)
    np.testing.assert_allclose(
        found.detach().numpy(), energies(way), rtol=1e-12
    )
    z = torch.rand(2, 3, way.n_units, dtype=DOUBLE).requires_grad_()
    (slope,) = torch.autograd.grad(way.energy(z).sum(), z)
    torch.testing.assert_close(way.field(z), -slope)
    torch.testing.assert_close(way.field(z[0, 0]), -slope[0, 0])


def test_gradients_of_the_weights_are_the_same_by_edges(way):
    z = all_states(way.n_units)
    p = torch.rand(len(z), dtype=DOUBLE, generator=torch.manual_seed(0))
    weights = list(way.parameters())
    found = torch.autograd.grad(p @ way.energy(z), weights)
    expected = torch.autograd.grad(p @ listed_energy(way), weights)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    found = torch.autograd.grad(way.mean_energy(z), weights)
    expected = torch.autograd.grad(listed_energy(way).mean(), weights)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_flip_costs_what_the_field_says(machine):
    states = listed(machine.n_units)
    table = energies(machine)
    worth = 2 ** np.arange(machine.n_units)[::-1]
    found = machine.rise_if_flipped(states).detach().numpy()
    for unit in range(machine.n_units):
        flipped = np.abs(states - np.eye(machine.n_units)[unit])
        expected = table[(flipped @ worth).astype(int)] - table
        np.testing.assert_allclose(found[:, unit], expected, atol=1e-12)


def ring_and_chords(n, chords):
    """Edges of an annealer's kind: each unit has a handful."""
    return [
        (i, (i + step) % n) for step in range(1, chords + 1) for i in range(n)
    ]


def test_a_sparse_graph_is_worked_by_its_edges():
    assert BoltzmannMachine(2000, ring_and_chords(2000, 3))._by_edges
    assert not BoltzmannMachine(60)._by_edges
    assert not BoltzmannMachine(60, ring_and_chords(60, 3))._by_edges


class NoMatrices(torch.utils._python_dispatch.TorchDispatchMode):
    """Refuses to make a tensor of a number for each pair of units."""

    def __init__(self, n_units):
        super().__init__()
        self.most = n_units**2 // 8

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            assert made.numel() < self.most, func
        return made


def test_an_annealers_graph_needs_no_matrix_of_all_pairs():
    n = 3000
    with NoMatrices(n):
        machine = BoltzmannMachine(n, ring_and_chords(n, 7))
        z = torch.rand(32, n).round().requires_grad_()
        machine.energy(z).sum().backward()
        machine.mean_energy(z).backward()
        machine.field(z)
        machine.set_couplings(machine.coupling.detach() + 1)
        machine.settings()
        twin = BoltzmannMachine.from_bqm(copy.deepcopy(machine).to_bqm())
    torch.testing.assert_close(
        twin.energy(z), machine.energy(z), rtol=1e-5, atol=0
    )


# The contract of a machine


@pytest.mark.parametrize("kind", KINDS)
def test_the_law_is_the_list_of_probabilities(kind):
    machine = random_machine(kind)
    np.testing.assert_allclose(machine.law().numpy(), law(machine), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_a_listing_sums_to_the_partition_function(kind, beta):
    machine = random_machine(kind, dtype=DOUBLE)
    listing = machine.listing()
    states = all_states(listing.n_units)
    found = listing.log_weights(states, beta).logsumexp(0).item()
    assert found == pytest.approx(log_z(machine, beta), abs=1e-12)
    # The rest has the means that the law gives it.
    p = listing.log_weights(states).softmax(0)
    whole = listing.join(states, listing.rest_means(states))
    means = (p @ whole).detach().numpy()
    np.testing.assert_allclose(means, law(machine) @ listed(machine.n_units))


@pytest.mark.parametrize("sizes", [(2, 6), (6, 2)])
def test_an_rbm_lists_its_smaller_layer(sizes):
    assert RBM(*sizes).listing().n_units == 2
    assert RBM(*sizes).listing().layer == ("left", "right")[sizes[0] > sizes[1]]
    assert BoltzmannMachine(6).listing().n_units == 6


BUILT = {
    "rbm": lambda: RBM(2, 3),
    "all pairs": lambda: BoltzmannMachine(5),
    "graph": lambda: BoltzmannMachine(8, SPARSE_EDGES),
    "all pairs in another order": lambda: BoltzmannMachine(
        3, [(1, 2), (0, 1), (0, 2)]
    ),
    "no pairs": lambda: BoltzmannMachine(4, []),
    "quantum": lambda: QuantumBoltzmannMachine(BoltzmannMachine(3), 0.5),
}


def built_from(settings):
    settings = dict(settings)
    kind = getattr(machines, settings.pop("kind"))
    if "classical" in settings:
        settings["classical"] = built_from(settings["classical"])
    return kind(**settings)


@pytest.mark.parametrize("name", BUILT)
def test_settings_through_json_build_the_machine_again(name):
    machine = BUILT[name]()
    settings = json.loads(json.dumps(machine.settings()))
    again = built_from(settings)
    assert again.settings() == settings == machine.settings()
    assert torch.equal(again.edges, machine.edges)
    again.load_state_dict(machine.state_dict())


def test_settings_tell_two_graphs_of_one_size_apart():
    one, other = (BoltzmannMachine(4, [(0, i)]) for i in (1, 2))
    assert one.settings() != other.settings()
    one.load_state_dict(other.state_dict())
    assert one.settings() == other.settings()


@pytest.mark.parametrize("name", BUILT)
def test_every_machine_answers_what_its_neighbours_ask(name):
    machine = BUILT[name]()
    assert isinstance(machine, Machine)
    n, n_edges = machine.n_units, machine.edges.shape[1]
    z = torch.ones(3, n)
    assert machine.bias.shape == (n,)
    assert machine.coupling.shape == (n_edges,)
    assert machine.energy(z).shape == (3,)
    assert machine.mean_energy(z).shape == ()
    assert machine.field(z).shape == machine.rise_if_flipped(z).shape == (3, n)
    assert machine.visible_energy(z[:, : machine.n_visible]).shape == (3,)
    matrix = machine.coupling_matrix()
    assert torch.equal(matrix[tuple(machine.edges)], machine.coupling)
    machine.set_couplings(torch.arange(n_edges))
    assert machine.coupling.tolist() == list(range(n_edges))
    assert machine.law().sum().item() == pytest.approx(1)


def test_a_quantum_machine_has_no_sweep_no_listing_and_no_bqm():
    machine = QuantumBoltzmannMachine(RBM(2, 2), 0.5)
    for use in (machine.conditionals, machine.listing, machine.to_bqm):
        with pytest.raises(TypeError, match="classical machines alone"):
            use()
    with pytest.raises(TypeError, match="classical machines alone"):
        estimates.enumerable(machine)


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda c: c.tolist() + [1.0], "one number an edge"),
        (lambda c: c[:, None].expand(-1, 2), "one number an edge"),
        (lambda c: "many", "coupling is a dense array"),
        (lambda c: None, "coupling is a dense array"),
    ],
)
def test_couplings_that_do_not_fit_change_nothing(name, bad, said):
    machine = BUILT[name]()
    before = machine.coupling.detach().clone()
    with pytest.raises((TypeError, ValueError), match=said):
        machine.set_couplings(bad(before))
    assert torch.equal(machine.coupling, before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_couplings_are_finite(value):
    machine = RBM(2, 2)
    with pytest.raises(ValueError, match="coupling holds NaN or infinite"):
        machine.set_couplings(torch.full((4,), value))
    machine.check()


# What a reader has at hand


AS = {
    "bool": lambda z: z.bool(),
    "int": lambda z: z.long(),
    "float64": lambda z: z.double(),
    "float16": lambda z: z.half(),
    "NumPy": lambda z: z.numpy(),
    "NumPy int": lambda z: z.numpy().astype("i1"),
    "read-only": lambda z: np.broadcast_to(z.numpy(), tuple(z.shape)),
    "list": lambda z: z.tolist(),
}


@pytest.mark.parametrize("way", AS)
@pytest.mark.parametrize("name", BUILT)
def test_bits_may_come_as_a_reader_has_them(name, way):
    machine = randomise(BUILT[name]()) if name != "quantum" else BUILT[name]()
    z = all_states(machine.n_units, dtype=torch.float32)
    v = z[:, : machine.n_visible]
    for use in ("energy", "mean_energy", "field", "rise_if_flipped"):
        found = getattr(machine, use)(AS[way](z))
        assert torch.equal(found, getattr(machine, use)(z))
    found = machine.visible_energy(AS[way](v))
    assert torch.equal(found, machine.visible_energy(v))


@pytest.mark.parametrize(
    ("z", "said"),
    [
        (torch.zeros(2, 4), r"5 units in their last .* shape \(2, 4\)"),
        (torch.zeros(()), r"5 units in their last .* shape \(\)"),
        ([], r"5 units in their last .* shape \(0,\)"),
        (None, "states is a dense array of numbers, not NoneType"),
        ("00000", "states is a dense array of numbers, not str"),
        ([[1], [0, 1]], "states is a dense array of numbers"),
        (torch.zeros(2, 5).to_sparse(), "states is a dense array of numbers"),
        (torch.zeros(2, 5, dtype=torch.complex64), "states is a dense array"),
    ],
)
@pytest.mark.parametrize("name", ["rbm", "all pairs"])
def test_what_is_no_state_ends_in_a_sentence(name, z, said):
    machine = BUILT[name]()
    for use in ("energy", "mean_energy", "field", "rise_if_flipped"):
        with pytest.raises((TypeError, ValueError), match=said):
            getattr(machine, use)(z)


@pytest.mark.parametrize("layer", ["left", "right"])
def test_a_layer_of_another_width_ends_in_a_sentence(layer):
    machine = RBM(2, 3)
    n = 2 if layer == "left" else 3
    for use in (machine.free_energy, machine.layer_field):
        with pytest.raises(ValueError, match=f"states have {n} units"):
            use(torch.zeros(4, 5), layer)
        with pytest.raises(ValueError, match='"left" or "right", not 0'):
            use(torch.zeros(4, n), 0)


def test_bits_in_double_precision_keep_their_gradient():
    machine, z = random_machine("rbm"), torch.rand(3, 8, dtype=DOUBLE)
    z.requires_grad_()
    machine.energy(z).sum().backward()
    assert z.grad.dtype == DOUBLE
    torch.testing.assert_close(z.grad.float(), -machine.field(z))


def test_a_class_is_no_machine():
    with pytest.raises(TypeError, match="the class RBM; make one first"):
        check_classical(RBM, "AIS")
