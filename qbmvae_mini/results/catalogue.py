"""What is compared: one entry a model says all that the table knows of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    GaussianLatent,
    MixtureLatent,
)
from qbmvae_mini.machines.boltzmann import BoltzmannMachine
from qbmvae_mini.machines.rbm import RBM
from qbmvae_mini.models import controls
from qbmvae_mini.results.rivals import Noise, PrincipalComponents, ScVI
from qbmvae_mini.results.studies import DATASETS, TEST, VALIDATION
from qbmvae_mini.samplers import DimodSampler, GibbsSampler

#: Tried by a model on every bundled set.
DROPOUTS = (0.1, 0.3, 0.5)

#: Given to `CellVAE.fit` for every model alike.
FIT = {"max_epochs": 1000}

#: Neighbours of a unit in the sparse machine: a quarter of the RBM's pairs.
DEGREE = 8


@dataclass(frozen=True)
class Model:
    """A model of the table, or a rival that is none of ours.

    Parameters
    ----------
    latent : callable, optional
        Seed -> the latent of a `CellVAE`.
    rival : callable, optional
        Training cells, batch column, dropout and seed -> a rival that is
        ready. Either this or `latent`.
    trained : bool
        Whether it is: what is not has an embedding alone.
    dropouts : tuple of float
        Those that its search on split 0 tries.
    dropout_of : str, optional
        The model whose dropout it takes over instead of a search.
    kl_weight : float
        Of the training. A prior without weight has no likelihood.
    datasets : sequence of str
        The bundled sets that it is made on.
    embeds : bool
        Whether its embedding gets the scores of the tasks.
    other_studies : bool
        Whether it is made on the studies that are no bundled set, too.
    energy : bool
        Whether the energy of its codes is tried as an order of cells.
    package : str, optional
        Module of the extra ``baselines`` that it calls.
    family : str, optional
        Name of the rows of the family's best; see `with_best`.
    derived : mapping of str to callable
        Rows of a bundled set that the finished model gives without its
        training: name -> function of model and seed.
    """

    latent: Callable | None = None
    rival: Callable | None = None
    trained: bool = True
    dropouts: tuple = DROPOUTS
    dropout_of: str | None = None
    kl_weight: float = 1
    datasets: tuple = tuple(DATASETS)
    embeds: bool = False
    other_studies: bool = False
    energy: bool = False
    package: str | None = None
    family: str | None = None
    derived: Mapping = field(default_factory=dict)


def _rbm(relaxation="straight-through"):
    def make(seed):
        sampler = GibbsSampler(chains=256, sweeps=5, seed=seed)
        return BoltzmannLatent(
            RBM(32, 32, seed=seed), sampler, relaxation=relaxation
        )

    return make


def _on_graph(edges):
    def make(seed):
        # Coupled units are redrawn in turn, so a sweep costs more.
        sampler = GibbsSampler(chains=128, sweeps=2, seed=seed)
        machine = BoltzmannMachine(64, edges(), seed=seed)
        return BoltzmannLatent(machine, sampler)

    return make


def _regular_graph():
    import networkx

    return sorted(networkx.random_regular_graph(DEGREE, 64, seed=0).edges)


def _by_neal(seed):
    import neal

    sampler = DimodSampler(neal.SimulatedAnnealingSampler(), seed=seed)
    return BoltzmannLatent(RBM(32, 32, seed=seed), sampler, negatives=128)


def _gaussian(n_latent, **facts):
    return Model(
        lambda seed: GaussianLatent(n_latent), family="best Gaussian", **facts
    )


def _relaxed(relaxation):
    """A straight-through model's variant, which costs several times as much."""
    return Model(
        _rbm(relaxation), dropout_of="Boltzmann 32+32", datasets=("pbmc68k",)
    )


def _scvi(n_latent, **facts):
    def make(cells, batch_key, dropout, seed):
        return ScVI(
            cells,
            n_latent,
            batch_key=batch_key,
            encoder_dropout=dropout,
            seed=seed,
        ).fit()

    return Model(rival=make, embeds=True, package="scvi", **facts)


def _untrained(make):
    """A rival without training, on the bundled sets that have a task."""
    return Model(
        rival=make,
        trained=False,
        dropouts=(0.0,),
        datasets=("pancreas", "immune"),
        embeds=True,
        other_studies=True,
    )


def _refitted(vae, seed):
    return controls.refit_prior(
        vae,
        _rbm()(seed),
        validation=VALIDATION / (1 - TEST),
        progress=False,
        **FIT,
    )


#: Name -> model. Rivals have as many numbers a cell as the encoder of 64 bits
#: gives, where no width is scVI's own.
MODELS = {
    "Boltzmann 32+32": Model(
        _rbm(),
        embeds=True,
        other_studies=True,
        energy=True,
        derived={
            "Boltzmann 32+32, shuffled W": controls.shuffle_couplings,
            "Boltzmann 32+32, random W": controls.randomise_couplings,
        },
    ),
    "Gaussian 10": _gaussian(10),
    "Gaussian 20": _gaussian(20),
    "Gaussian 32": _gaussian(32, embeds=True, other_studies=True),
    "Gaussian 64": _gaussian(64),
    "Mixture 32": Model(
        lambda seed: MixtureLatent(32, seed=seed),
        embeds=True,
        other_studies=True,
    ),
    "Bernoulli 64": Model(
        lambda seed: BernoulliLatent(64),
        derived={"Bernoulli 64, RBM afterwards": _refitted},
    ),
    "Boltzmann dense 64": Model(
        _on_graph(lambda: None), dropout_of="Boltzmann 32+32"
    ),
    "Boltzmann sparse 64": Model(
        _on_graph(_regular_graph), dropout_of="Boltzmann 32+32"
    ),
    "Boltzmann 32+32, KL weight 0": Model(
        _rbm(),
        dropout_of="Boltzmann 32+32",
        kl_weight=0,
        datasets=("pancreas", "immune"),
    ),
    "Boltzmann 32+32, neal": Model(
        _by_neal, dropout_of="Boltzmann 32+32", datasets=("pbmc68k",)
    ),
    "Boltzmann 32+32, score function": _relaxed("score function"),
    "Boltzmann 32+32, binary concrete": _relaxed("binary concrete"),
    "Boltzmann 32+32, spike-and-exponential": _relaxed("spike-and-exponential"),
    "Boltzmann 32+32, overlapping exponentials": _relaxed(
        "overlapping exponentials"
    ),
    "scVI 10": _scvi(10, dropouts=(0.1,)),  # at its defaults
    "scVI 32": _scvi(32, other_studies=True),
    "PCA 32": _untrained(
        lambda cells, batch_key, dropout, seed: PrincipalComponents(cells, 32)
    ),
    "Noise 32": _untrained(
        lambda cells, batch_key, dropout, seed: Noise(cells, 32, seed)
    ),
}

#: What embeds cells for the tasks.
TASK_MODELS = tuple(name for name, model in MODELS.items() if model.embeds)

#: Name of a row -> the model that gives it, itself or derived.
SOURCES = {name: name for name in MODELS} | {
    row: name for name, model in MODELS.items() for row in model.derived
}


def entry_of(row):
    """The model behind a row; what is derived has no scores of tasks."""
    model = MODELS[SOURCES[row]]
    if row in MODELS:
        return model
    return replace(model, embeds=False, energy=False, derived={})


def families():
    """Name of a family's best -> the models of which validation picks one."""
    found = {}
    for name, model in MODELS.items():
        if model.family is not None:
            found.setdefault(model.family, []).append(name)
    return found
