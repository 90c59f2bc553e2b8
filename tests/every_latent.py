"""Every latent, small: enter a new one here, once.

Contract tests, `check_latent` and a model of cells take each of them.
"""

import neal

from qbmvae_mini.latents import (
    BernoulliLatent,
    BernoulliMixtureLatent,
    BoltzmannLatent,
    GaussianLatent,
    MixtureLatent,
    QuantumLatent,
    SigmoidBeliefLatent,
)
from qbmvae_mini.latents.relaxations import (
    RELAXATIONS,
    BinaryConcrete,
    Schedule,
)
from qbmvae_mini.machines import RBM, BoltzmannMachine, QuantumBoltzmannMachine
from qbmvae_mini.samplers import (
    DimodSampler,
    ExactSampler,
    GibbsSampler,
    PathIntegralSampler,
    TemperingSampler,
)


def quantum(sampler=None):
    """Five qubits in a field."""
    machine = QuantumBoltzmannMachine(RBM(2, 3), 0.9)
    return QuantumLatent(machine, sampler, negatives=64)


def annealed():
    """neal behind the seam to dimod."""
    return DimodSampler(neal.SimulatedAnnealingSampler(), num_sweeps=30)


LATENTS = {
    "gaussian": lambda: GaussianLatent(2),
    "mixture": lambda: MixtureLatent(2, 3),
    "rbm": lambda: BoltzmannLatent(RBM(2, 3), ExactSampler()),
    "rbm, chains": lambda: BoltzmannLatent(RBM(2, 3), GibbsSampler(60)),
    "rbm, fresh chains": lambda: BoltzmannLatent(
        RBM(2, 3), GibbsSampler(60, sweeps=30, persistent=False)
    ),
    "rbm, tempering": lambda: BoltzmannLatent(
        RBM(2, 3), TemperingSampler(60, 3, sweeps=5)
    ),
    "rbm, neal": lambda: BoltzmannLatent(RBM(2, 3), annealed(), negatives=60),
    "dense": lambda: BoltzmannLatent(BoltzmannMachine(5), ExactSampler()),
    "sparse": lambda: BoltzmannLatent(
        BoltzmannMachine(5, [(0, 1), (1, 2), (2, 0)]), GibbsSampler(200)
    ),
    "quantum": quantum,
    "quantum, sampled": lambda: quantum(PathIntegralSampler(sweeps=30)),
    "mixture of bits": lambda: BernoulliMixtureLatent(5, 3),
    "mixture of bits, smoothed": lambda: BernoulliMixtureLatent(
        5, 3, relaxation="overlapping exponentials"
    ),
    "belief network": lambda: SigmoidBeliefLatent(5),
    "scheduled": lambda: BernoulliLatent(
        5, relaxation=BinaryConcrete(Schedule(2.0, 0.5, 6))
    ),
} | {
    f"bernoulli, {name}": lambda name=name: BernoulliLatent(5, relaxation=name)
    for name in RELAXATIONS
}
