"""A model in a folder, and back: the old one or the new one, never half of it.

``weights.DIGEST.safetensors`` holds the weights, the chains of the sampler and
the facts; ``model.json`` holds the same facts in plain sight and says which
weights are theirs. The weights are written first, under a name of their own,
and ``model.json`` takes its place in one step, so that a killed process leaves
a whole model. What does not belong together is refused.

Facts are the settings, how the latent is built, names of genes and batches,
and the history. Of the reader's cells there are the library size and the batch
of each training cell, so that `CellVAE.generate` works without them; no counts
and no names of cells. Nothing is pickled.
"""

import contextlib
import json
import os
import re
from pathlib import Path

from qbmvae_mini.checks import check_real, check_seed, check_whole, kind_of
from qbmvae_mini.latents import (
    BernoulliLatent,
    BernoulliMixtureLatent,
    BoltzmannLatent,
    GaussianLatent,
    MixtureLatent,
    QuantumLatent,
    SigmoidBeliefLatent,
)
from qbmvae_mini.latents.relaxations.names import RELAXATIONS
from qbmvae_mini.machines import RBM, BoltzmannMachine, QuantumBoltzmannMachine
from qbmvae_mini.samplers import (
    ExactSampler,
    GibbsSampler,
    PathIntegralSampler,
    TemperingSampler,
)
from qbmvae_mini.vae.checkpoints import state_tensors
from qbmvae_mini.vae.storage import (
    FORMAT,
    lock,
    packed,
    read_tensors,
    write_file,
)

#: What tells a folder with a model from others.
FACTS_FILE = "model.json"

#: Names of all files that `CellVAE.save` writes, or once wrote.
MODEL_FILES = re.compile(r"model\.json|weights(\.[0-9a-f]{16})?\.safetensors")

#: Samplers that are built again from their settings. An adapter of somebody
#: else's sampler is not: nobody knows how that one was made.
SAMPLERS = {
    kind.__name__: kind
    for kind in (
        ExactSampler,
        GibbsSampler,
        PathIntegralSampler,
        TemperingSampler,
    )
}
# A quantum prior of a few bits lists its law itself.
SAMPLERS["_ListedLaw"] = lambda seed: None

#: Relaxations likewise.
RELAXATIONS_BY_KIND = {kind.__name__: kind for kind in RELAXATIONS.values()}


def write_model(directory, vae, facts, depths):
    """Write a model into a folder, which is made where there is none.

    Parameters
    ----------
    directory : path
    vae : VAE
    facts : dict
        What JSON holds.
    depths : dict of Tensor
        Library size and batch of each training cell.

    Raises
    ------
    OSError
        If nothing can be written there; an old model stays as it was.
    ValueError
        If a weight is NaN or infinite, before anything is written.
    """
    check_weights(vae, "this model")
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(f"{str(directory)!r} is a file; name a folder")
    tensors = state_tensors(vae)
    tensors |= {f"cells.{name}": value for name, value in depths.items()}
    content, digest = packed(tensors, facts)
    weights = f"weights.{digest[:16]}.safetensors"
    about = {"format": FORMAT, "weights": weights, **facts}
    # Facts with NumPy's numbers in them are plain once they are packed.
    text = json.dumps(about, indent=1, default=lambda number: number.item())
    with contextlib.suppress(OSError):  # of which `write_file` will tell
        directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        _clear(directory)
        write_file(directory / weights, content).close()
        try:
            write_file(directory / FACTS_FILE, text.encode()).close()
        finally:
            _clear(directory)


def _clear(directory):
    """Remove weights that ``model.json`` does not name, whole or half."""
    if not directory.is_dir():
        return
    named = None
    if (directory / FACTS_FILE).exists():
        try:
            named = _read_facts(directory / FACTS_FILE)["weights"]
        except (OSError, ValueError):
            return  # of another version, which may know what is its own
    for path in directory.iterdir():
        # Half-written ones are ".NAME.CODE.TOKEN.new", see `storage`.
        name = re.sub(r"^\.(.*)(\.[0-9a-f]{8}){2}\.new$", r"\1", path.name)
        if MODEL_FILES.fullmatch(name) and name not in (FACTS_FILE, named):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(directory):
    """Let nobody else save here meanwhile, where folders can be locked."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            opened = os.open(directory, os.O_RDONLY)
            held.callback(os.close, opened)
            lock(opened, wait=True)
        yield


def read_model(directory):
    """The facts and tensors that `write_model` wrote, each of them checked.

    Returns
    -------
    facts : dict
    tensors : dict of Tensor

    Raises
    ------
    FileNotFoundError
        If the folder holds no saved model.
    OSError, ValueError
        If the files cannot be read, are damaged, or are none of one model.
    """
    path = Path(directory) / FACTS_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(directory)!r} holds no saved model (no {FACTS_FILE})"
        )
    about = _read_facts(path)
    tensors, facts = read_tensors(path.with_name(about["weights"]))
    if facts != {
        name: value
        for name, value in about.items()
        if name not in ("format", "weights")
    }:
        raise ValueError(
            f"{str(path)!r} does not belong to its weights: it was edited, or "
            "is of another model; train the model again"
        )
    try:
        _check_facts(facts, tensors)
    except _BadFactError as error:
        raise ValueError(
            f"{str(path)!r} is of no model of this version: {error}; train "
            "the model again, or use the version that wrote it"
        ) from error
    return facts, tensors


def _read_facts(path):
    """What ``model.json`` says, of this version's format."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    except OSError as error:
        raise type(error)(
            f"{str(path)!r} cannot be read ({error.strerror})"
        ) from error
    if not isinstance(about, dict):
        raise _damaged(path)
    if about.get("format") != FORMAT:
        found = about.get("format", "none, as of an older version")
        raise ValueError(
            f"{str(path)!r} has another format ({found}) than this version of "
            f"qbmvae_mini reads ({FORMAT}); use the version that wrote it, or "
            "train the model again"
        )
    weights = about.get("weights")
    if not (isinstance(weights, str) and MODEL_FILES.fullmatch(weights)):
        raise _damaged(path)
    return about


def _damaged(path):
    return ValueError(
        f"{str(path)!r} is damaged or was not written by qbmvae_mini; train "
        "the model again"
    )


def absent_parts(latent):
    """Parts that a file does not hold, {name: class}, from its settings.

    Those of a class of the reader's own, and samplers that stand on somebody
    else's. They are handed over at loading.
    """
    if latent["kind"] not in _LATENTS:
        return {"latent": latent["kind"]}
    known = {
        "machine": _MACHINES,
        "sampler": SAMPLERS,
        "relaxation": RELAXATIONS_BY_KIND,
    }
    absent = {}
    for name, kinds in known.items():
        part = latent.get(name)
        while part is not None and name not in absent:
            if part["kind"] not in kinds:
                absent[name] = part["kind"]
            part = part.get("classical")  # a quantum machine holds another
    return absent


def build_latent(settings, tensors, given, where):
    """The latent of a file, from its settings and from parts `given`.

    Parameters
    ----------
    settings : dict
        What `Latent.settings` gave.
    tensors : dict of Tensor
    given : dict
        Some of ``latent``, ``machine``, ``sampler``, ``relaxation``.
    where : str
        Names the file in the sentence.

    Returns
    -------
    Latent

    Raises
    ------
    TypeError
        If a part is missing, or one too many is given.
    ValueError
        If the settings are none of that latent.
    """
    absent = absent_parts(settings)
    parts = {"latent"} | settings.keys() & {"machine", "sampler", "relaxation"}
    for name in given:
        if name not in parts or ("latent" in given and len(given) > 1):
            raise TypeError(
                f"{name}= has no place in the {settings['kind']} of {where}; "
                "leave it out"
            )
    if "latent" in given:
        return given["latent"]
    for name, kind in absent.items():
        if name not in given:
            kind = kind.rpartition(".")[2]
            raise TypeError(
                f"{where} was trained with a {name} that no file holds; pass "
                f"{name}={kind}(...)"
                + (", or another one" if name == "sampler" else "")
            )

    def part(name):
        if name in given:
            return given[name]
        return _BUILD[name](settings[name], tensors)

    try:
        return _LATENTS[settings["kind"]](settings, part)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where} holds a {settings['kind']} that cannot be built from "
            f"its settings ({_first_words(error)}); train the model again"
        ) from error


def latent_settings(latent):
    """The settings of a latent, with its class as `kind_of` names it."""
    return latent.settings() | {"kind": kind_of(latent)}


def same_sampler(latent, settings):
    """Whether the chains of a file are those of this latent's sampler.

    Chains of one kind of sampler mean nothing to another.
    """
    kinds = [
        part.get("sampler", {}).get("kind")
        for part in (latent.settings(), settings)
    ]
    return kinds[0] == kinds[1]


def find_class(name, asked, where):
    """The class of a saved model: the one `asked` for, or a child of it.

    Raises
    ------
    ValueError
        If it is another one.
    """
    children = [asked]
    for kind in children:  # which grows
        children += kind.__subclasses__()
    for kind in children:
        if kind.__name__ == name:
            return kind
    raise ValueError(
        f"{where} holds a {name}, not a {asked.__name__}; call {name}.load"
    )


def check_weights(module, who):
    """Refuse weights that are NaN or infinite.

    Raises
    ------
    ValueError
    """
    for name, value in module.state_dict().items():
        # log Z is NaN until it is first estimated.
        if name != "latent.log_z" and not value.isfinite().all():
            raise ValueError(
                f"{who} has NaN or infinite weights in {name}; train it again, "
                "with a smaller learning rate"
            )


class _BadFactError(Exception):
    """A fact that no model of this version would have written."""


def _check_facts(facts, tensors):
    """Refuse what would fail later, or ask for memory out of proportion."""

    def check(right, what):
        if not right:
            raise _BadFactError(what)

    for name in ("class", "settings", "latent", "genes", "batches", "history"):
        check(name in facts, f"it has no {name!r}")
    settings, genes, batches = (
        facts[name] for name in ("settings", "genes", "batches")
    )
    check(isinstance(facts["class"], str), "its class is no word")
    check(_are_names(genes), "its genes are no names")
    check(_are_names(batches), "its batches are no names")
    history = facts["history"]
    check(
        isinstance(history, list)
        and all(isinstance(epoch, dict) for epoch in history),
        "its history is no list of epochs",
    )
    check(isinstance(settings, dict), "its settings are no dictionary")
    dropouts = ("encoder_dropout", "decoder_dropout")
    wanted = {"layer", "batch_key", "n_hidden", *dropouts, "seed"}
    check(set(settings) == wanted, "its settings are not those of a CellVAE")
    for name in ("layer", "batch_key"):
        name = settings[name]
        check(name is None or isinstance(name, str), f"{name!r} is no name")
    try:
        check_whole("n_hidden", settings["n_hidden"], 1)
        for name in dropouts:
            check_real(name, settings[name], least=0, below=1)
        check_seed(settings["seed"])
        check_real("kl_weight", facts.get("kl_weight"), least=0)
    except ValueError as error:
        raise _BadFactError(error) from error
    latent = facts["latent"]
    check(_are_settings(latent), "its latent is described by no settings")
    _check_depths(tensors, len(batches), check)
    others = [
        name
        for name in tensors
        if not name.startswith(("vae.", "sampler.", "cells."))
    ]
    check(not others, f"it holds {', '.join(sorted(others)[:3])}")
    _check_sizes(facts, tensors, check)


def _check_sizes(facts, tensors, check):
    """Sizes that the facts name are those of the weights in the file."""
    n_hidden, latent = facts["settings"]["n_hidden"], facts["latent"]
    n_genes, n_batches = len(facts["genes"]), len(facts["batches"])
    shape = {name: tuple(value.shape) for name, value in tensors.items()}
    labels = n_batches if n_batches > 1 else 0
    width = shape.get("vae.decoder.0.weight", (0, 0))[-1] - labels
    found = shape.get("vae.decoder.4.weight")
    check(
        found == (n_genes, n_hidden),
        f"its n_hidden is {n_hidden} and its genes are {n_genes}, which its "
        "weights are not made for",
    )
    machine = latent.get("machine", {})
    machine = machine.get("classical", machine)
    n_units = machine.get("n_units", width)
    if "n_left" in machine and "n_right" in machine:
        n_units = machine["n_left"] + machine["n_right"]
    left = machine.get("n_left")
    layer = tensors.get("vae.latent.machine.a", ())
    layer = tensors.get("vae.latent.machine.classical.a", layer)
    components = len(tensors.get("vae.latent.weight_logits", ()))
    for name, value, wanted in (
        ("n_latent", latent.get("n_latent"), width),
        ("number of units", n_units, width),
        ("n_left", left, left if left is None else len(layer)),
        ("components", latent.get("components", components), components),
    ):
        check(
            value == wanted,
            f"its {name} is {value}, and its weights are made for {wanted}",
        )


def _check_depths(tensors, n_batches, check):
    library, batch = (tensors.get(f"cells.{x}") for x in ("library", "batch"))
    check(
        library is not None
        and batch is not None
        and library.ndim == 1
        and library.shape == batch.shape
        and len(library) > 0
        and bool((library > 0).all() and library.isfinite().all())
        and not batch.is_floating_point()
        and bool(((batch >= 0) & (batch < n_batches)).all()),
        "library sizes and batches of its cells are missing or do not fit",
    )


def _are_names(names):
    plain = (str, int, float)
    return (
        isinstance(names, list)
        and len(names) > 0
        and all(isinstance(name, plain) for name in names)
        and len(set(names)) == len(names)
    )


def _are_settings(part):
    """Whether this describes a part, and the parts in it, by settings."""
    inner = ("machine", "classical", "sampler", "relaxation")
    return (
        isinstance(part, dict)
        and isinstance(part.get("kind"), str)
        and all(_are_settings(part[name]) for name in inner if name in part)
    )


def _first_words(error):
    text = error.args[0] if isinstance(error, KeyError) else error
    return " ".join(str(text).split())[:200]


# -- parts, from the settings that they gave ---------------------------------


def _build_machine(settings, tensors, prefix="vae.latent.machine."):
    return _MACHINES[settings["kind"]](settings, tensors, prefix)


def _build_rbm(settings, tensors, prefix):
    return RBM(settings["n_left"], settings["n_right"])


def _build_graph(settings, tensors, prefix):
    edges = tensors[f"{prefix}edges"].T.tolist()
    return BoltzmannMachine(settings["n_units"], edges)


def _build_quantum(settings, tensors, prefix):
    inner = _build_machine(
        settings["classical"], tensors, f"{prefix}classical."
    )
    return QuantumBoltzmannMachine(inner, settings["gamma"])


def _build_sampler(settings, tensors):
    return SAMPLERS[settings["kind"]](**_numbers(settings))


def _build_relaxation(settings, tensors):
    return RELAXATIONS_BY_KIND[settings["kind"]](**_numbers(settings))


def _numbers(settings):
    """The settings without the name of the class."""
    return {name: settings[name] for name in settings if name != "kind"}


def _build_boltzmann(kind):
    def build(settings, part):
        return kind(
            part("machine"),
            part("sampler"),
            relaxation=part("relaxation"),
            negatives=settings["negatives"],
        )

    return build


_MACHINES = {
    "RBM": _build_rbm,
    "BoltzmannMachine": _build_graph,
    "QuantumBoltzmannMachine": _build_quantum,
}

_BUILD = {
    "machine": _build_machine,
    "sampler": _build_sampler,
    "relaxation": _build_relaxation,
}

_LATENTS = {
    "GaussianLatent": lambda settings, part: GaussianLatent(
        settings["n_latent"]
    ),
    "MixtureLatent": lambda settings, part: MixtureLatent(
        settings["n_latent"],
        settings["components"],
        draws=settings["draws"],
        seed=settings["seed"],
    ),
    "BernoulliLatent": lambda settings, part: BernoulliLatent(
        settings["n_latent"], relaxation=part("relaxation")
    ),
    "BernoulliMixtureLatent": lambda settings, part: BernoulliMixtureLatent(
        settings["n_latent"],
        settings["components"],
        relaxation=part("relaxation"),
        draws=settings["draws"],
        seed=settings["seed"],
    ),
    "SigmoidBeliefLatent": lambda settings, part: SigmoidBeliefLatent(
        settings["n_latent"],
        relaxation=part("relaxation"),
        draws=settings["draws"],
    ),
    "BoltzmannLatent": _build_boltzmann(BoltzmannLatent),
    "QuantumLatent": _build_boltzmann(QuantumLatent),
}
