"""``python -m qbmvae_mini``: a model of your own cells, without a notebook.

::

    python -m qbmvae_mini fit cells.h5ad MODEL --batch-key donor
    python -m qbmvae_mini embed new.h5ad MODEL out.h5ad

`fit` trains and saves, `embed` maps cells with what was saved. To draw new
cells call `qbmvae_mini.CellVAE.generate` on the loaded model.
"""

import argparse
import contextlib
import inspect
import io
import os
import re
import signal
import sys
import time
import warnings
from pathlib import Path

#: Epochs over which the KL weight rises; a third of all if that is fewer.
WARMUP = 40

#: Flags of what a sentence of the library calls by its Python name.
FLAGS = {
    "batch_key": "--batch-key",
    "lr": "--lr",
    "max_epochs": "--max-epochs",
    "n_genes": "--n-genes",
    "n_latent": "--n-latent",
    "resume": "--checkpoint",
    "seed": "--seed",
    "validation": "--validation",
}


def main(argv=None):
    """Run one command; bad input ends in one sentence on stderr.

    Parameters
    ----------
    argv : list of str, optional
        By default the arguments of the process.

    Returns
    -------
    int
        Exit status: 0 if all went well, 2 for bad input, 130 where it was
        stopped by Ctrl-C or SIGTERM.
    """
    arguments = _parser().parse_args(argv)
    command = f"python -m qbmvae_mini {arguments.command}"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not all can write a gamma
    try:
        with warnings.catch_warnings(), _stopped_by_sigterm():
            # Two cells may share a name; of two genes our own words tell.
            warnings.filterwarnings("ignore", ".*names are not unique")
            arguments.run(arguments)
    except KeyboardInterrupt:
        _say(f"{command}: stopped before it was done", to_stderr=True)
        return 130
    except Exception as error:
        said = _sentence(error)
        if said is None:
            raise
        _say(f"{command}: {said}", to_stderr=True)
        return 2
    return 0


def fit(arguments):
    """Choose genes, train, save."""
    from qbmvae_mini.models import files
    from qbmvae_mini.models.named import QBMVAE, GaussianVAE

    _check_checkpoint(arguments)
    with files.new_folder(arguments.model, arguments.force) as folder:
        adata = files.read_h5ad(arguments.cells)
        _say(f"{arguments.cells}: {adata.n_obs} cells, {adata.n_vars} genes")
        cells, layer = files.find_counts(adata, arguments.layer)
        genes = _choose(cells, layer, arguments)
        kind = {"boltzmann": QBMVAE, "gaussian": GaussianVAE}[arguments.latent]
        width = arguments.n_latent
        model = kind(
            cells[:, genes].copy(),
            layer=layer,
            batch_key=arguments.batch_key,
            seed=arguments.seed,
            **({} if width is None else {"n_latent": width}),
        )
        if arguments.batch_key is not None:
            _say(f"batches: {_some(model.batches)}")
        warmup = min(WARMUP, arguments.max_epochs // 3)
        start = time.perf_counter()
        model.fit(
            arguments.max_epochs,
            lr=arguments.lr,
            kl_warmup=warmup,
            validation=arguments.validation,
            resume=arguments.checkpoint,
            progress=_is_watched(),
        )
        seconds = time.perf_counter() - start
        _say(f"training: {len(model.history_)} epochs in {seconds:.1f} s")
        held_out = round(arguments.validation * cells.n_obs)
        _say(f"{held_out} held-out cells: {_judged(model.history_, warmup)}")
        files.save_model(model, folder, arguments.force)
    _say(f"saved in {arguments.model}")


def embed(arguments):
    """Map cells with a saved model, and write them to a new file."""
    from qbmvae_mini.models import files
    from qbmvae_mini.models.named import GaussianVAE

    if _same_file(arguments.cells, arguments.out):
        raise ValueError(
            f"{arguments.out!r} is the file to read; name another one to write"
        )
    if _is_of_model(arguments.out, arguments.model):
        raise ValueError(
            f"{arguments.out!r} is one of the model's own files; name another "
            "one to write"
        )
    with files.new_file(arguments.out, arguments.force) as file:
        model = files.load_model(arguments.model)
        adata = files.read_h5ad(arguments.cells)
        layer, key = model.layer, model.batch_key
        place = files.find_counts(adata, arguments.layer or layer)
        cells = _as_trained(*place, model.genes, layer)
        adata.obsm["X_qbmvae"] = model.get_latent_representation(cells)
        _say(f"obsm['X_qbmvae']: {adata.n_obs} cells")
        known = _known(cells, key, model.batches)
        if model.module.kl_weight == 0:
            _say(
                "no energy and no likelihood, since training left the prior out"
            )
        else:
            if not isinstance(model, GaussianVAE):
                adata.obs["qbmvae_energy"] = model.get_energy(cells)
                _say("obs['qbmvae_energy']: the prior energy of their codes")
            if known.any():
                adata.obs["qbmvae_log_likelihood"] = _likelihood(
                    model, cells, known
                )
        files.write_h5ad(adata, file, arguments.out)
    _say(f"written to {arguments.out}")


def _choose(cells, layer, arguments):
    """Genes for the model, with a word on those left out."""
    from qbmvae_mini.cells.genes import choose_genes, counted_genes

    where = {"layer": layer, "batch_key": arguments.batch_key}
    counted = counted_genes(cells, layer=layer)
    absent = cells.n_vars - len(counted)
    said = f"genes: {absent} without a count are left out, "
    if arguments.n_genes == "all" or arguments.n_genes >= len(counted):
        _say(f"{said}all other {len(counted)} are read")
        return counted
    chosen = choose_genes(cells, arguments.n_genes, **where)
    _say(f"{said}the {len(chosen)} most variable of {len(counted)} are read")
    return chosen


def _judged(history, warmup):
    """Words on the validation that chose the weights.

    Before the end of the warm-up none is a candidate.
    """
    scores = [
        (entry["validation"], entry["epoch"] + 1)
        for entry in history
        if entry.get("validation") is not None and entry["epoch"] + 1 >= warmup
    ]
    if not scores:
        return "not scored, since too few epochs were trained"
    best, epoch = max(scores)
    return f"log-likelihood {best:.1f} nats a cell, in epoch {epoch}"


def _as_trained(cells, layer, genes, place):
    """The model's genes of `cells`, their counts where training had them."""
    import anndata
    import pandas

    from qbmvae_mini.cells.reading import read_cells

    counts = read_cells(cells, layer=layer, genes=genes)[0].counts
    return anndata.AnnData(
        counts,
        obs=cells.obs,
        var=pandas.DataFrame(index=genes),
        layers={} if place is None else {place: counts},
    )


def _known(cells, batch_key, batches):
    """Whether the model knows each cell's batch; says which it does not."""
    import numpy as np

    from qbmvae_mini.checks import check_names

    if batch_key is None:
        return np.ones(cells.n_obs, dtype=bool)
    if batch_key not in cells.obs:
        _say(f"no likelihood, since obs has no column {batch_key!r}")
        return np.zeros(cells.n_obs, dtype=bool)
    column = cells.obs[batch_key]
    known = column.notna().to_numpy()
    names = check_names(f"obs[{batch_key!r}]", column[known])
    known[known] = np.isin(names, batches)
    if not known.all():
        unseen = sorted(set(column[~known].astype(str)))
        _say(
            f"no likelihood for {(~known).sum()} cells, since their batch was "
            f"not in training: {_some(unseen)}"
        )
    return known


def _likelihood(model, cells, known):
    """Log-likelihood in nats of the cells of known batches, NaN elsewhere."""
    import numpy as np

    score = np.full(cells.n_obs, np.nan, dtype=np.float32)
    score[known] = model.get_log_likelihood(
        cells[known].copy(), progress=_is_watched()
    )
    bound = "at least " if model.is_bound else ""
    _say(
        f"obs['qbmvae_log_likelihood']: {known.sum()} cells, "
        f"{bound}{score[known].mean():.1f} nats a cell"
    )
    return score


def _same_file(one, other):
    one, other = Path(one), Path(other)
    return one.exists() and other.exists() and one.samefile(other)


def _is_of_model(path, model):
    """Whether a path names one of the files that make a saved model."""
    from qbmvae_mini.models.saving import MODEL_FILES

    path = Path(os.path.realpath(path))
    inside = path.parent == Path(os.path.realpath(model))
    return inside and MODEL_FILES.fullmatch(path.name) is not None


def _some(names, n=5):
    """The first `n` names, in words."""
    more = [] if len(names) <= n else [f"and {len(names) - n} more"]
    return ", ".join([*names[:n], *more])


def _check_checkpoint(arguments):
    """Refuse a place where checkpoint and model would be in the way."""
    place, model = arguments.checkpoint, arguments.model
    if place is None:
        return
    same = os.path.realpath(place) == os.path.realpath(model)
    if same or _is_of_model(place, model):
        raise ValueError(
            f"--checkpoint names {place!r}, where the model "
            "goes; name another file, in that folder or elsewhere"
        )


def _sentence(error):
    """What to say of an exception, or None where it is a fault of ours."""
    from qbmvae_mini.models import files

    if files.is_lack_of_memory(error):
        return (
            "there is not enough memory; take fewer genes or cells, or a "
            "larger machine"
        )
    if isinstance(error, RecursionError):
        return "a file is nested too deep to be read; make it anew"
    if isinstance(error, (KeyError, OSError, TypeError, ValueError)):
        return _with_flags(files.sentence(error))
    return None


def _with_flags(text):
    """Flags for Python's arguments; what stands in quotes stays."""
    pattern = rf"(?<![\w-])({'|'.join(FLAGS)})(?!\w)"
    parts = re.split(r"('[^']*'|\"[^\"]*\")", text)
    parts[::2] = [
        re.sub(pattern, lambda match: FLAGS[match[1]], part)
        for part in parts[::2]
    ]
    return "".join(parts)


def _say(text, to_stderr=False):
    """Print a line; what becomes of it never decides over the work."""
    stream = sys.stderr if to_stderr else sys.stdout
    try:
        print(text, file=stream, flush=True)
    except (OSError, ValueError):  # a full disk, a broken pipe; closed
        # What is left in it would be written again at the end, and fail.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _is_watched():
    """Whether somebody sees a progress bar."""
    with contextlib.suppress(ValueError):  # it is closed
        return sys.stderr is not None and sys.stderr.isatty()
    return False


@contextlib.contextmanager
def _stopped_by_sigterm():
    """Let SIGTERM be what Ctrl-C is: all is put in order, then it ends."""

    def stop(number, frame):
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # in a thread, which gets no signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _number_of_genes(text):
    if text == "all":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f'give a whole number of at least 1, or "all", not {text!r}'
        )
    return int(text)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m qbmvae_mini",
        description="Train a QBM-VAE on your own cells, and map new ones.",
        epilog="Cells are raw counts in an .h5ad file, as scanpy writes it. "
        "Nothing is overwritten without --force.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_fit(commands.add_parser("fit", help="train a model and save it"))
    _add_embed(commands.add_parser("embed", help="map cells with a model"))
    return parser


def _add_fit(command):
    from qbmvae_mini.cells.genes import N_GENES
    from qbmvae_mini.models.named import BITS, GAUSSIANS, CellVAE

    defaults = inspect.signature(CellVAE.fit).parameters
    command.set_defaults(run=fit)
    add = command.add_argument
    add("cells", help=".h5ad file with raw counts")
    add("model", help="folder to make, for the model")
    add("--layer", help='where the counts are: a layer, "raw" or "X" (default)')
    add("--batch-key", help="column of obs that names the batch")
    add(
        "--n-genes",
        type=_number_of_genes,
        default=N_GENES,
        help='how many genes to read, the most variable; or "all" '
        "(default %(default)s)",
    )
    add(
        "--latent",
        choices=("boltzmann", "gaussian"),
        default="boltzmann",
        help="the prior: a Boltzmann machine (default) or its Gaussian rival",
    )
    add(
        "--n-latent",
        type=int,
        help=f"bits, an even number (default {BITS}), or Gaussian numbers "
        f"({GAUSSIANS})",
    )
    add(
        "--max-epochs",
        type=int,
        default=defaults["max_epochs"].default,
        help="held-out cells may stop the training earlier "
        "(default %(default)s)",
    )
    add(
        "--lr",
        type=float,
        default=defaults["lr"].default,
        help="learning rate (default %(default)s)",
    )
    add(
        "--validation",
        type=float,
        metavar="SHARE",
        default=defaults["validation"].default,
        help="share of the cells held out to stop the training in time; 0 "
        "trains on all (default %(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="of weights, noise and the choice of held-out cells (default 0)",
    )
    add(
        "--checkpoint",
        metavar="FILE",
        help="written during training; if it exists, training goes on from it",
    )
    add("--force", action="store_true", help="replace the model in the folder")


def _add_embed(command):
    command.set_defaults(run=embed)
    add = command.add_argument
    add("cells", help=".h5ad file with raw counts")
    add("model", help="folder that fit made")
    add(
        "out",
        help="file to write: the cells as they came, and obsm['X_qbmvae'], "
        "obs['qbmvae_energy'], obs['qbmvae_log_likelihood']",
    )
    add("--layer", help="where the counts are (default: as in training)")
    add("--force", action="store_true", help="replace the file")


if __name__ == "__main__":
    sys.exit(main())
