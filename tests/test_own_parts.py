"""A sampler and a machine written from the page alone are parts like others."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import listed

from qbmvae_mini.estimates import ais, check_sampler, effective_beta
from qbmvae_mini.learning import fit
from qbmvae_mini.machines import BoltzmannMachine, QuantumBoltzmannMachine
from qbmvae_mini.samplers import ExactSampler, PathIntegralSampler

PAGE = Path(__file__).resolve().parents[1] / "book" / "api.md"


def run_code_of(heading):
    """What the code below a heading of the page defines; it runs whole."""
    part = PAGE.read_text("utf-8").split(f"\n## {heading}\n")[1]
    code = re.search(r"```python\n(.*?)```", part.split("\n## ")[0], re.S)
    names = {"__name__": "page"}
    exec(compile(code[1], heading, "exec"), names)
    return names


@pytest.fixture(scope="module")
def sampler_page():
    return run_code_of("A sampler of your own")


@pytest.fixture(scope="module")
def machine_page():
    return run_code_of("A machine of your own")


def test_the_sampler_of_the_page_trains_a_prior(sampler_page):
    latent = sampler_page["latent"].train()
    latent.kl(torch.zeros(3, 8)).sum().backward()
    assert latent.machine.W.grad.abs().sum() > 0
    assert latent.settings()["sampler"] == {
        "kind": "page.Metropolis",
        "rounds": 30,
        "seed": 0,
    }


def test_too_few_rounds_of_it_are_seen(sampler_page):
    with pytest.raises(AssertionError, match="do not follow the machine's law"):
        check_sampler(sampler_page["Metropolis"](rounds=1))


def twin_of(ring):
    """The same energy with a number of its own for each unit and edge."""
    machine = BoltzmannMachine(ring.n_units, ring.edges.T.tolist())
    with torch.no_grad():
        machine.bias.copy_(ring.bias)
        machine.coupling.copy_(ring.coupling)
    return machine


def test_the_machine_of_the_page_has_the_energy_that_it_says(machine_page):
    ring = machine_page["IsingRing"](5)
    z = listed(5)
    expected = 0.5 * z.sum(1) - (z * np.roll(z, -1, axis=1)).sum(1)
    found = ring.energy(z).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    bqm = ring.to_bqm()
    np.testing.assert_allclose(bqm.energies((z, range(5))), expected)
    n = 6  # eigenvalues of the transfer matrix
    transfer = np.exp(-np.array([[0, 0.25], [0.25, 0.5 - 1]]))
    log_z = np.log((np.linalg.eigvals(transfer) ** n).sum())
    assert machine_page["log_z"] == pytest.approx(log_z, abs=1e-6)


def test_the_machine_of_the_page_serves_its_neighbours(machine_page):
    ring = machine_page["IsingRing"](6)
    twin = twin_of(ring)
    states = ExactSampler(seed=1).sample(ring, 2000)
    assert torch.equal(states, ExactSampler(seed=1).sample(twin, 2000))
    assert effective_beta(ring, states) == effective_beta(twin, states)
    assert ais(ring, chains=50, temperatures=20) == ais(
        twin, chains=50, temperatures=20
    )
    check_sampler(
        PathIntegralSampler(12),
        QuantumBoltzmannMachine(ring, 0.7),
        draws=20_000,
    )


def test_the_machine_of_the_page_may_follow_another_default_dtype(
    machine_page,
):
    torch.set_default_dtype(torch.float64)
    try:
        ring = machine_page["IsingRing"](6)
        states = ExactSampler(seed=1).sample(ring, 50)
        found = ais(ring, chains=50, temperatures=20)
    finally:
        torch.set_default_dtype(torch.float32)
    assert ring.bias.dtype == states.dtype == torch.float64
    assert found == ais(ring, chains=50, temperatures=20)


def test_the_machine_of_the_page_learns_its_two_numbers(machine_page):
    ring = machine_page["IsingRing"](6)
    with torch.no_grad():
        ring.own.fill_(0.3)
        ring.pull.fill_(-0.7)
    data = ExactSampler(seed=2).sample(ring, 4000)
    learned = machine_page["IsingRing"](6)
    fit(
        learned,
        data,
        ExactSampler(),
        epochs=60,
        batch_size=1000,
        lr=0.2,
        progress=False,
    )
    assert abs(learned.own.item() - 0.3) < 0.1
    assert abs(learned.pull.item() + 0.7) < 0.15
    with pytest.raises(TypeError, match="works its biases or couplings out"):
        learned.set_couplings(torch.zeros(6))


def test_the_prior_of_the_page_has_a_gradient(machine_page):
    latent = machine_page["latent"].train()
    latent.kl(torch.zeros(3, 6)).sum().backward()
    assert latent.machine.pull.grad != 0
