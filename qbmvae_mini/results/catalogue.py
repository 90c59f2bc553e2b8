"""What is compared: one entry a model says all that the tables know of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from qbmvae_mini.latents import (
    BernoulliLatent,
    BernoulliMixtureLatent,
    BoltzmannLatent,
    GaussianLatent,
    MixtureLatent,
    SigmoidBeliefLatent,
)
from qbmvae_mini.machines.boltzmann import BoltzmannMachine
from qbmvae_mini.machines.rbm import RBM
from qbmvae_mini.models import controls
from qbmvae_mini.results.rivals import (
    Harmony,
    Noise,
    PrincipalComponents,
    ScVI,
)
from qbmvae_mini.results.studies import DATASETS, STUDIES, TASKS
from qbmvae_mini.samplers import DimodSampler, GibbsSampler


class Recipe(NamedTuple):
    """How a network is kept from learning its training cells by heart.

    Parameters
    ----------
    encoder_dropout, decoder_dropout : float
        Shares of the hidden units.
    decoder_precision : float
        Of the prior of the decoder's last layer, see `CellVAE.fit`.
    """

    encoder_dropout: float
    decoder_dropout: float
    decoder_precision: float

    @property
    def words(self):
        """The three numbers as the tables have them."""
        return "/".join(f"{number:g}" for number in self)

    @classmethod
    def of(cls, words):
        """The recipe that these `words` stand for."""
        return cls(*map(float, words.split("/")))


#: Tried by the first model of each family on every bundled set: little dropout
#: in both networks, as scVI has in its encoder, and a prior of the decoder
#: beside more dropout in the encoder.
RECIPES = (Recipe(0.1, 0.1, 0), Recipe(0.3, 0, 200))

#: Of all models on the learning curve.
CURVE_RECIPE = Recipe(0.3, 0, 200)

#: Of what has nothing to be kept from.
NO_RECIPE = Recipe(0, 0, 0)

#: Dropout of the models that stand in the tables by their own name, the same
#: in both networks and without a prior of the decoder: that of 0.1, 0.3 and
#: 0.5 which the validation cells of split 0 liked best. These models are asked
#: for embeddings and controls; families are asked for the likelihood.
DROPOUTS = {
    "Boltzmann 32+32": {
        "pancreas": 0.1,
        "marrow": 0.3,
        "immune": 0.3,
        "pbmc68k": 0.5,
    },
    "Gaussian 32": {
        "pancreas": 0.3,
        "marrow": 0.1,
        "immune": 0.5,
        "pbmc68k": 0.5,
    },
    "Mixture 32": {
        "pancreas": 0.3,
        "marrow": 0.3,
        "immune": 0.5,
        "pbmc68k": 0.5,
    },
}

#: Given to `CellVAE.fit` for every model alike.
FIT = {"max_epochs": 1000}

#: Draws of the prior for a gradient, and sweeps between them: all machines
#: get the same effort.
CHAINS, SWEEPS = 256, 5


@dataclass(frozen=True)
class Afterwards:
    """Another prior, fitted to the codes of a finished model.

    Parameters
    ----------
    latent : callable
        Seed -> latent of the same codes.
    family : str
        See `Model`.
    """

    latent: Callable
    family: str


@dataclass(frozen=True)
class Model:
    """A model of the tables, or a rival that is none of ours.

    Parameters
    ----------
    latent : callable, optional
        Seed -> the latent of a `CellVAE`.
    rival : callable, optional
        Training cells, batch column, recipe and seed -> a rival that is
        ready. Either this or `latent`.
    family : str, optional
        The family in whose search it takes part.
    recipes : tuple of Recipe
        Those that its search tries.
    recipes_of : str, optional
        The model that it follows: it tries the best recipe of this one's
        search alone, and has its dropout where it stands by its own name.
    named : bool
        Whether it stands in the tables by its own name, on all splits.
    trained : bool
        Whether it is: what is not has an embedding alone.
    kl_weight : float
        Of the training. A prior without weight has no likelihood.
    datasets : sequence of str
        The bundled sets that it is made on.
    embeds : bool
        Whether its embedding gets the scores of the tasks.
    other_studies : bool
        Whether it is made on the studies of tasks that are no bundled set,
        too.
    tasks : tuple of str
        Those of these studies that it is fit for; all by default.
    curve : bool
        Whether it is made on the points of the learning curve.
    energy : bool
        Whether the energy of its codes is tried as an order of cells.
    package : str, optional
        Module of the extra ``baselines`` that it calls.
    afterwards : mapping of str to Afterwards
        Rows that the finished model gives with other priors.
    controls : mapping of str to callable
        Rows of a bundled set that the finished model gives without any
        training: name -> function of model and seed.
    """

    latent: Callable | None = None
    rival: Callable | None = None
    family: str | None = None
    recipes: tuple = RECIPES
    recipes_of: str | None = None
    named: bool = False
    trained: bool = True
    kl_weight: float = 1
    datasets: tuple = tuple(DATASETS)
    embeds: bool = False
    other_studies: bool = False
    tasks: tuple = TASKS
    curve: bool = False
    energy: bool = False
    package: str | None = None
    afterwards: Mapping = field(default_factory=dict)
    controls: Mapping = field(default_factory=dict)


def _gibbs(seed):
    return GibbsSampler(chains=CHAINS, sweeps=SWEEPS, seed=seed)


def _rbm(relaxation="straight-through"):
    def make(seed):
        machine = RBM(32, 32, seed=seed)
        return BoltzmannLatent(machine, _gibbs(seed), relaxation=relaxation)

    return make


def _on_all_pairs(seed):
    return BoltzmannLatent(BoltzmannMachine(64, seed=seed), _gibbs(seed))


def _by_neal(seed):
    import neal

    sampler = DimodSampler(neal.SimulatedAnnealingSampler(), seed=seed)
    return BoltzmannLatent(RBM(32, 32, seed=seed), sampler, negatives=128)


def _gaussian(n_latent, **facts):
    return Model(
        lambda seed: GaussianLatent(n_latent), family="Gaussian", **facts
    )


def _mixture(components):
    return lambda seed: MixtureLatent(32, components, seed=seed)


def _bernoulli_mixture(components):
    return lambda seed: BernoulliMixtureLatent(64, components, seed=seed)


def _variant(latent, base):
    """Another prior of a family, with the recipe that its first one likes."""
    return Model(latent, family=MODELS[base].family, recipes_of=base)


def _relaxed(relaxation):
    """A straight-through model's variant, which costs several times as much."""
    return Model(
        _rbm(relaxation),
        recipes_of="Boltzmann 32+32",
        named=True,
        datasets=("pbmc68k",),
    )


def _scvi(n_latent, dropout, **facts):
    """scVI, whose decoder has no dropout and whose weights have no prior."""

    def make(cells, batch_key, recipe, seed):
        return ScVI(
            cells,
            n_latent,
            batch_key=batch_key,
            encoder_dropout=recipe.encoder_dropout,
            seed=seed,
        ).fit()

    return Model(
        rival=make,
        family="scVI",
        recipes=(Recipe(dropout, 0, 0),),
        named=True,
        embeds=True,
        package="scvi",
        **facts,
    )


def _untrained(make, **facts):
    """A rival without training, on the bundled sets that have a task."""
    return Model(
        rival=make,
        trained=False,
        recipes=(NO_RECIPE,),
        named=True,
        embeds=True,
        other_studies=True,
        **{"datasets": ("pancreas", "immune")} | facts,
    )


#: Name -> model. Rivals have as many numbers a cell as the encoder of 64 bits
#: gives, where no width is scVI's own.
MODELS = {
    "Boltzmann 32+32": Model(
        _rbm(),
        family="Boltzmann",
        named=True,
        curve=True,
        embeds=True,
        other_studies=True,
        energy=True,
        controls={
            "Boltzmann 32+32, shuffled W": controls.shuffle_couplings,
            "Boltzmann 32+32, random W": controls.randomise_couplings,
        },
    ),
    "Gaussian 32": _gaussian(
        32,
        named=True,
        curve=True,
        embeds=True,
        other_studies=True,
        afterwards={
            "Gaussian 32, mixture afterwards": Afterwards(
                _mixture(50), "Gaussian mixture"
            )
        },
    ),
    "Mixture 32": Model(
        _mixture(50),
        family="Gaussian mixture",
        named=True,
        embeds=True,
        other_studies=True,
    ),
    "Bernoulli 64": Model(
        lambda seed: BernoulliLatent(64),
        family="Bernoulli",
        afterwards={
            "Bernoulli 64, RBM afterwards": Afterwards(_rbm(), "Boltzmann"),
            "Bernoulli 64, mixture afterwards": Afterwards(
                _bernoulli_mixture(50), "Bernoulli mixture"
            ),
            "Bernoulli 64, belief network afterwards": Afterwards(
                lambda seed: SigmoidBeliefLatent(64), "belief network"
            ),
        },
    ),
    "Bernoulli mixture 64": Model(
        _bernoulli_mixture(50), family="Bernoulli mixture"
    ),
    "Belief network 64": Model(
        lambda seed: SigmoidBeliefLatent(64), family="belief network"
    ),
    "scVI 32": _scvi(32, 0.5, other_studies=True),
    "scVI 10": _scvi(10, 0.1),  # its defaults
    "Noise 32": _untrained(
        lambda cells, batch_key, recipe, seed: Noise(cells, 32, seed)
    ),
    "PCA 32": _untrained(
        lambda cells, batch_key, recipe, seed: PrincipalComponents(cells, 32)
    ),
    "Harmony 32": _untrained(
        lambda cells, batch_key, recipe, seed: Harmony(
            cells, 32, batch_key=batch_key, seed=seed
        ),
        datasets=(),  # it moves cells together, and makes no map for others
        tasks=("integration",),
        package="harmonypy",
    ),
}
MODELS |= {
    "Gaussian 10": _variant(lambda seed: GaussianLatent(10), "Gaussian 32"),
    "Mixture 32, 100 components": _variant(_mixture(100), "Mixture 32"),
    "Boltzmann dense 64": _variant(_on_all_pairs, "Boltzmann 32+32"),
    "Boltzmann 32+32, KL weight 0": Model(
        _rbm(),
        recipes_of="Boltzmann 32+32",
        named=True,
        kl_weight=0,
        datasets=("pancreas", "immune"),
    ),
    "Boltzmann 32+32, neal": Model(
        _by_neal,
        recipes_of="Boltzmann 32+32",
        named=True,
        datasets=("pbmc68k",),
    ),
    "Boltzmann 32+32, score function": _relaxed("score function"),
    "Boltzmann 32+32, binary concrete": _relaxed("binary concrete"),
    "Boltzmann 32+32, spike-and-exponential": _relaxed("spike-and-exponential"),
    "Boltzmann 32+32, overlapping exponentials": _relaxed(
        "overlapping exponentials"
    ),
}

#: What embeds cells for the tasks.
TASK_MODELS = tuple(name for name, model in MODELS.items() if model.embeds)

#: Name of a row -> the model that is trained for it.
SOURCES = {
    row: name
    for name, model in MODELS.items()
    for row in (name, *model.afterwards, *model.controls)
}


def families():
    """Family -> names of the rows that take part in its search."""
    found = {}
    for name, model in MODELS.items():
        for row, entry in {name: model, **model.afterwards}.items():
            if entry.family is not None:
                found.setdefault(entry.family, []).append(row)
    return found


#: Parts of the Boltzmann family, by when the couplings are trained: with the
#: codes, or to the finished codes of independent bits.
TRAINED_WHEN = {
    "Boltzmann, together": ["Boltzmann 32+32", "Boltzmann dense 64"],
    "Boltzmann, afterwards": ["Bernoulli 64, RBM afterwards"],
}


def recipe_by_name(study, name):
    """The recipe of a model that stands in the tables by its own name.

    Parameters
    ----------
    study, name : str
        Key of `STUDIES` and of `MODELS`.

    Returns
    -------
    Recipe
    """
    entry = MODELS[name]
    if len(entry.recipes) == 1:  # a rival's own
        return entry.recipes[0]
    dropouts = DROPOUTS[entry.recipes_of or name]
    dropout = dropouts[STUDIES[study].recipe_of or study]
    return Recipe(dropout, 0 if entry.rival else dropout, 0)
