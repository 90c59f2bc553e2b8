"""Signs and units, each against numbers worked out by hand.

The chapter `notation` shows the same numbers. A comment before each assert
holds the sum, so that a reader can redo it without running anything.
"""

import math

import pytest
import torch

from qbmvae_mini import (
    RBM,
    VAE,
    BernoulliLatent,
    BernoulliMixtureLatent,
    BoltzmannLatent,
    BoltzmannMachine,
    ExactSampler,
    GaussianLatent,
    QuantumBoltzmannMachine,
    SigmoidBeliefLatent,
    all_states,
    exact_log_z,
    learning,
)
from qbmvae_mini.vae import NegativeBinomial

E = math.e
LOG_2 = math.log(2)

# Z of the machine below: exp(-4) (1 + e^-1 + e + e^2)
LOG_Z = -4 + math.log(1 + 1 / E + E + E**2)


@pytest.fixture
def machine():
    """Two units: offset 4, b = (1, -1), W_12 = 2."""
    machine = BoltzmannMachine(2).double()
    with torch.no_grad():
        machine.offset.fill_(4)
        machine.bias.copy_(torch.tensor([1.0, -1.0]))
        machine.coupling.copy_(torch.tensor([2.0]))
    return machine


@pytest.fixture
def rbm():
    """Two left units, one right unit: a = (1, 2), c = -3, W = (4, 5)."""
    rbm = RBM(2, 1).double()
    with torch.no_grad():
        rbm.a.copy_(torch.tensor([1.0, 2.0]))
        rbm.c.copy_(torch.tensor([-3.0]))
        rbm.W.copy_(torch.tensor([[4.0], [5.0]]))
    return rbm


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def numbers(tensor):
    """All numbers of a tensor in one list, to compare with those by hand."""
    return pytest.approx(tensor.detach().flatten().tolist(), abs=1e-12)


# --- machines -------------------------------------------------------------


def test_biases_and_couplings_lower_the_energy(machine):
    # 00: 4   01: 4 + 1   10: 4 - 1   11: 4 - 1 + 1 - 2
    assert numbers(machine.energy(all_states(2))) == [4, 5, 3, 2]


def test_low_energy_is_probable(machine):
    p = (-machine.energy(all_states(2))).softmax(0)
    # weights 1, e^-1, e, e^2, whatever the offset; p(11) is the largest
    total = 1 + 1 / E + E + E**2
    assert numbers(p) == [1 / total, 1 / E / total, E / total, E**2 / total]


def test_an_offset_lowers_log_z(machine):
    assert exact_log_z(machine) == pytest.approx(LOG_Z, abs=1e-12)


def test_a_state_of_an_rbm_is_left_then_right(rbm):
    # v = 10, h = 1: -1 + 3 - 4     v = 01, h = 1: -2 + 3 - 5
    # v = 11, h = 0: -1 - 2         v = 11, h = 1: -3 + 3 - 9
    z = double([1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1])
    assert numbers(rbm.energy(z)) == [-2, -4, -3, -9]


def test_free_energy_has_the_sign_of_an_energy(rbm):
    # v = 00: -log(1 + e^-3)        v = 10: -log(e + e^(1 - 3 + 4))
    by_hand = [-math.log(1 + E**-3), -math.log(E + E**2)]
    assert numbers(rbm.free_energy(double([0, 0], [1, 0]))) == by_hand


def test_free_energy_of_the_right_layer(rbm):
    # h = 1: c gives +3 to E; each left unit sums to 1 + e^(a + W)
    by_hand = 3 - math.log(1 + E**5) - math.log(1 + E**7)
    assert numbers(rbm.free_energy(double([1]), "right")) == [by_hand]


# --- dimod ----------------------------------------------------------------


def test_dimod_over_bits_has_plus_signs(machine):
    bqm = machine.to_bqm()
    assert bqm.linear == {0: -1, 1: 1}
    assert bqm.quadratic == {(0, 1): -2}
    assert bqm.offset == 4


def test_dimod_over_spins_has_a_quarter_of_each_coupling(machine):
    spin = machine.to_bqm().spin
    # h_i = -b_i/2 - W/4: -1/2 - 2/4 and 1/2 - 2/4;  J = -2/4
    assert spin.linear == {0: -1, 1: 0}
    assert spin.quadratic == {(0, 1): -0.5}
    # 4 - (1 - 1)/2 - 2/4
    assert spin.offset == 3.5
    # the energies of 00 and 11, as above
    assert spin.energy({0: -1, 1: -1}) == 4
    assert spin.energy({0: 1, 1: 1}) == 2


# --- latents --------------------------------------------------------------


@pytest.fixture
def latent(machine):
    return BoltzmannLatent(machine, ExactSampler()).eval()


LOGITS = double([0.0, math.log(3)])  # mu = 1/2, 3/4
# H = log 2 + (log 4 - 3/4 log 3)
ENTROPY = LOG_2 + math.log(4) - 0.75 * math.log(3)


def test_a_positive_logit_means_one(latent):
    z = double([1, 1])
    assert numbers(latent.log_q(LOGITS, z)) == [math.log(1 / 2 * 3 / 4)]
    # as spins: 2 * 1/2 - 1 and 2 * 3/4 - 1
    assert numbers(latent.mean(LOGITS)) == [0, 0.5]
    assert latent.decoder_input(double([0, 1])).tolist() == [[-1, 1]]


def test_kl_is_minus_entropy_plus_energy_plus_log_z(latent):
    # E(mu) = 4 - 1/2 + 3/4 - 2 * 1/2 * 3/4 = 3.5
    assert numbers(latent.entropy(LOGITS)) == [ENTROPY]
    assert numbers(latent.energy(LOGITS)) == [3.5]
    assert numbers(latent.kl(LOGITS)) == [-ENTROPY + 3.5 + LOG_Z]


def test_each_row_holds_the_full_log_z(latent):
    one = latent.kl(LOGITS)
    three = latent.kl(LOGITS.expand(3, 2))
    assert numbers(three) == one.tolist() * 3


def test_log_prior_is_minus_energy_minus_log_z(latent):
    assert numbers(latent.log_prior(double([1, 1]))) == [-2 - LOG_Z]


def test_kl_gradient_is_negative_minus_positive_phase(latent):
    latent.train().kl(LOGITS).sum().backward()
    total = 1 + 1 / E + E + E**2
    z1, z2, both = (E + E**2) / total, (1 / E + E**2) / total, E**2 / total
    machine = latent.machine
    # d E / d b_i = -z_i, d E / d W = -z_1 z_2: mean under p minus under q
    assert numbers(machine.bias.grad) == [z1 - 1 / 2, z2 - 3 / 4]
    assert numbers(machine.coupling.grad) == [both - 3 / 8]


def test_kl_gradient_reaches_the_encoder(latent):
    logits = LOGITS.clone().requires_grad_()
    latent.train().kl(logits).sum().backward()
    # mu (1 - mu) (logit + dE/dmu): dE/dmu_1 = -1 - 2 * 3/4,
    # dE/dmu_2 = 1 - 2 * 1/2
    by_hand = [1 / 4 * (0 - 2.5), 3 / 16 * (math.log(3) + 0)]
    assert numbers(logits.grad[0]) == by_hand


def test_bernoulli_prior_with_the_posteriors_logits_costs_nothing():
    latent = BernoulliLatent(2).double()
    with torch.no_grad():
        latent.bias.copy_(LOGITS[0])
    assert numbers(latent.kl(LOGITS)) == [0]
    # fair coins as posterior: -2 log 2 - 1/2 log 3 + log 2 + log 4
    by_hand = LOG_2 - math.log(3) / 2
    assert numbers(latent.kl(torch.zeros_like(LOGITS))) == [by_hand]


def test_a_coupling_of_a_belief_network_points_to_the_later_bit():
    network = SigmoidBeliefLatent(2).double()
    torch.nn.init.constant_(network.coupling, math.log(3))
    p = network.log_prior(double([1, 1], [0, 1], [1, 0])).exp()
    # sigmoid(log 3) = 3/4: 1/2 * 3/4, 1/2 * 1/2, 1/2 * 1/4
    assert numbers(p) == [3 / 8, 1 / 4, 1 / 8]


def test_a_mixture_of_products_adds_their_probabilities():
    mixture = BernoulliMixtureLatent(2, components=2).double()
    with torch.no_grad():
        mixture.logits.copy_(math.log(3) * double([1, 1], [-1, -1]))
    p = mixture.log_prior(double([1, 1], [1, 0])).exp()
    # (9/16 + 1/16) / 2, (3/16 + 3/16) / 2
    assert numbers(p) == [5 / 16, 3 / 16]


def test_gaussian_parameters_are_mean_then_log_variance():
    latent = GaussianLatent(1)
    params = double([3, math.log(4)])
    # (9 + 4 - log 4 - 1) / 2
    assert numbers(latent.kl(params)) == [6 - LOG_2]
    assert numbers(latent.mean(params)) == [3]
    # the mean of z^2 / 2: (9 + 4) / 2
    assert numbers(latent.energy(params)) == [6.5]


# --- learning and the transverse field ------------------------------------


def test_the_likelihood_grows_where_data_have_more_ones(machine):
    # all data are 11: 1 - p(10) - p(11), 1 - p(01) - p(11), 1 - p(11)
    total = 1 + 1 / E + E + E**2
    data = double(1, 1)[None]
    positive = learning.positive_phase(machine, data)
    negative = learning.negative_phase(machine, ExactSampler(), data, 1)
    (negative - positive).backward()
    by_hand = [1 - (E + E**2) / total, 1 - (1 / E + E**2) / total]
    assert numbers(machine.bias.grad) == by_hand
    assert numbers(machine.coupling.grad) == [1 - E**2 / total]


@pytest.mark.parametrize("bias", [1.0, -3.0])
def test_one_qubit_in_a_field(bias):
    qubit = QuantumBoltzmannMachine(BoltzmannMachine(1).double(), gamma=2.0)
    qubit.classical.bias.data.fill_(bias)
    # H = -b/2 - (b/2) (-sigma^z) - Gamma sigma^x, levels -b/2 -+ r
    r = math.sqrt(bias**2 / 4 + 4)
    log_trace = math.log(2 * math.cosh(r)) + bias / 2
    assert numbers(qubit.log_partition()) == [log_trace]
    p_1 = 1 / 2 + bias / (4 * r) * math.tanh(r)
    assert numbers(qubit.log_prob(all_states(1)).exp()) == [1 - p_1, p_1]


# --- cells ----------------------------------------------------------------


def test_negative_binomial_with_r_one_is_geometric():
    # mean 2: p(x) = 1/3 (2/3)^x
    x = double(0, 1, 2)[:, None]
    law = NegativeBinomial(1).double()
    log_p = law.log_prob(x, torch.zeros_like(x), torch.full_like(x, 2))
    assert numbers(log_p.exp()) == [1 / 3, 2 / 9, 4 / 27]


def test_r_is_an_inverse_dispersion():
    law = NegativeBinomial(1).double()
    with torch.no_grad():
        law.log_r.fill_(math.log(2))
    x = torch.arange(400, dtype=torch.float64)[:, None]
    with torch.no_grad():
        p = law.log_prob(x, torch.zeros_like(x), torch.full_like(x, 6)).exp()
    mean = p @ x[:, 0]
    variance = p @ (x[:, 0] - mean).square()
    # mean m = 6, variance m + m^2 / r = 6 + 36 / 2
    assert float(mean) == pytest.approx(6)
    assert float(variance) == pytest.approx(24)


def test_mean_is_library_times_share():
    law = NegativeBinomial(2)
    output = torch.tensor([[0.0, math.log(3)]])
    mean = law.mean(output, torch.tensor([[8.0]]))
    assert mean.tolist() == [pytest.approx([2, 6])]


def test_elbo_is_reconstruction_minus_kl():
    vae = VAE(3, GaussianLatent(2), n_hidden=4).eval()
    x, batch = torch.tensor([[2.0, 0.0, 1.0]]), torch.zeros(1).long()
    with torch.no_grad():
        kl = vae.latent.kl(vae.encode(x))
        torch.manual_seed(0)
        without = vae.elbo(x, batch, kl_weight=0.0)
        torch.manual_seed(0)
        bound = vae.elbo(x, batch)
        torch.manual_seed(0)
        loss = vae(x, batch)
    assert float(kl) > 0.01
    assert float(bound) == pytest.approx(float(without - kl), rel=1e-5)
    assert float(loss) == pytest.approx(-float(bound))
