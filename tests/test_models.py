"""The models' public face: refusals, arrays, files."""

import functools
import inspect
import math
import re

import anndata
import neal
import numpy as np
import pytest
import scipy.sparse
import torch
from synthetic import FIT, two_clusters, unchanged

from qbmvae_mini.__main__ import main
from qbmvae_mini.cells.genes import choose_genes
from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    GaussianLatent,
    QuantumLatent,
)
from qbmvae_mini.latents.relaxations import (
    BinaryConcrete,
    OverlappingExponentials,
    SpikeAndExponential,
)
from qbmvae_mini.machines import RBM, QuantumBoltzmannMachine
from qbmvae_mini.models import QBMVAE, CellVAE, GaussianVAE, cell_vae
from qbmvae_mini.samplers import GibbsSampler, Sampler

MAKE = {
    "gaussian": lambda adata, **k: GaussianVAE(adata, n_latent=4, **k),
    "qbm": lambda adata, **k: QBMVAE(adata, n_latent=8, **k),
    "bernoulli": lambda adata, **k: CellVAE(adata, BernoulliLatent(6), **k),
}
GET = (
    "get_latent_representation",
    "get_energy",
    "get_log_likelihood",
    "get_normalized_expression",
    "get_elbo",
)
EMBED = GET[:2]
DECODE = GET[2:]


@pytest.fixture
def adata():
    return two_clusters()


@functools.cache
def trained(name):
    """A trained model; tests that change it make their own."""
    return MAKE[name](two_clusters(), batch_key="batch").fit(**FIT)


@pytest.fixture(params=MAKE)
def model(request):
    return trained(request.param)


def same(model, one, other, methods=GET):
    """Both sets of cells give the same numbers."""
    for name in methods:
        ask = getattr(model, name)
        np.testing.assert_array_equal(ask(one), ask(other), err_msg=name)


def alike(one, other, methods=GET):
    """Both models give the same numbers for their own cells."""
    for name in methods:
        np.testing.assert_array_equal(
            getattr(one, name)(), getattr(other, name)(), err_msg=name
        )


class Broken(Sampler):
    """A sampler whose answer is spoilt."""

    def __init__(self, spoil):
        self.spoil = spoil

    def sample(self, machine, n):
        return self.spoil(torch.ones(n, machine.n_units))


@pytest.mark.parametrize("n_latent", [0, 1, 7, -2, 8.0, "8", None, True])
def test_bits_that_do_not_make_two_layers_are_refused(adata, n_latent):
    words = f"n_latent is an even number.*at least 2, not {n_latent!r}"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        QBMVAE(adata, n_latent=n_latent)


@pytest.mark.parametrize("n_latent", [0, -1, 2.5, "8", None])
def test_a_gaussian_code_of_no_width_is_refused(adata, n_latent):
    words = f"n_latent is a whole number of at least 1, not {n_latent!r}"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        GaussianVAE(adata, n_latent=n_latent)
    with pytest.raises(ValueError, match=words):
        BernoulliLatent(n_latent)


@pytest.mark.parametrize("name", ["seed", "n_hidden"])
@pytest.mark.parametrize("value", [-1, 1.5, None, "a", True])
def test_seed_and_width_are_whole_numbers(adata, name, value):
    words = f"{name} is a whole number of at least ., not {value!r}"
    for make in MAKE.values():
        with pytest.raises(ValueError, match=words):
            make(adata, **{name: value})


@pytest.mark.parametrize("name", ["encoder_dropout", "decoder_dropout"])
@pytest.mark.parametrize("value", [1.0, -0.1, math.nan, "0.1", None, True])
def test_a_dropout_is_a_share(adata, name, value):
    words = f"{name} is a finite number.*below 1, not {value!r}"
    for make in MAKE.values():
        with pytest.raises(ValueError, match=words):
            make(adata, **{name: value})


def test_each_network_has_a_dropout_of_its_own(adata):
    for make in MAKE.values():
        module = make(adata, encoder_dropout=0.3, decoder_dropout=0.0).module
        assert (module.encoder[3].p, module.decoder[3].p) == (0.3, 0.0)


def test_a_seed_that_no_generator_takes_is_refused(adata):
    for make in MAKE.values():
        with pytest.raises(ValueError, match=r"seed is at most 2\^63 - 1"):
            make(adata, seed=2**64)
    with pytest.raises(ValueError, match=r"seed is at most 2\^63 - 1"):
        trained("gaussian").generate(3, seed=2**64)


@pytest.mark.parametrize("latent", [GaussianLatent, "gaussian", None, 10])
def test_what_is_no_latent_is_refused_at_once(adata, latent):
    words = r"latent is an object of a class.*such as GaussianLatent\(32\), not"
    with pytest.raises(TypeError, match=words):
        CellVAE(adata, latent)


@pytest.mark.parametrize("name", ["layer", "batch_key"])
def test_a_key_is_one_name(adata, name):
    for value in (["batch", "kind"], 3, ("batch",)):
        with pytest.raises(TypeError, match=f"^{name} is the name of one"):
            GaussianVAE(adata, **{name: value})


def test_numbers_from_numpy_are_as_good_as_others(adata, tmp_path):
    numbers = {"n_hidden": np.int32(16), "encoder_dropout": np.float32(0.1)}
    model = QBMVAE(adata, n_latent=np.int64(8), seed=np.int64(3), **numbers)
    model.save(tmp_path)
    assert QBMVAE.load(tmp_path).module.encoder[4].weight.shape == (8, 16)
    model = QBMVAE(adata, n_latent=np.int64(8), seed=np.int64(3))
    plain = QBMVAE(adata, n_latent=8, seed=3)
    alike(model, plain)
    assert model.get_elbo() != QBMVAE(adata, n_latent=8).get_elbo()


def test_an_unknown_relaxation_is_refused_with_the_known_ones(adata):
    words = "'gumbel'; there are 'straight-through', 'score function'"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        QBMVAE(adata, n_latent=8, relaxation="gumbel")


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "8", None])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BinaryConcrete, "temperature"),
        (SpikeAndExponential, "sharpness"),
        (OverlappingExponentials, "sharpness"),
    ],
)
def test_an_impossible_sharpness_is_refused(adata, kind, name, value):
    words = f"{name} is a number above 0 and finite.*not {value!r}"
    with pytest.raises(ValueError, match=words):
        QBMVAE(adata, n_latent=8, relaxation=kind(value))


@pytest.mark.parametrize("name", MAKE)
def test_logarithms_of_counts_are_refused(adata, name):
    adata.X = adata.X.log1p()
    words = r"adata.X holds values that are not whole.*\(the first is 2.1972"
    words += r"\d*\); it looks log-transformed, use the raw counts"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        MAKE[name](adata)
    adata.layers["log"], adata.X = adata.X, two_clusters().X
    with pytest.raises(ValueError, match=r"adata.layers\['log'\] holds"):
        MAKE[name](adata, layer="log")


@pytest.mark.parametrize("other", [RBM(3, 3), RBM(4, 4)])
def test_the_chains_of_another_machine_are_refused(adata, other):
    sampler = GibbsSampler(chains=20)
    sampler.sample(other, 5)
    model = QBMVAE(adata, n_latent=8, sampler=sampler)
    before = model.get_latent_representation()
    words = "chains belong to another machine; use one GibbsSampler a machine"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        model.fit(**FIT)
    np.testing.assert_array_equal(model.get_latent_representation(), before)


def test_restored_chains_of_another_width_are_refused(adata):
    old, sampler = GibbsSampler(chains=20), GibbsSampler(chains=20)
    old.sample(RBM(3, 3), 5)
    sampler.load_state_dict(old.state_dict())
    model = QBMVAE(adata, n_latent=8, sampler=sampler)
    words = "chains have 6 units, the machine has 8; use a new GibbsSampler"
    with pytest.raises(ValueError, match=words):
        model.fit(**FIT)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda z: z[:, 1:], ValueError, r"\(256, 7\), asked for \(256, 8\)"),
        (lambda z: z[1:], ValueError, r"\(255, 8\), asked for \(256, 8\)"),
        (lambda z: z.T, ValueError, r"\(8, 256\), asked for \(256, 8\)"),
        (lambda z: -z, ValueError, r"bits, 0 or 1.*spins.*\(s \+ 1\)"),
        (lambda z: z / 2, ValueError, "bits, 0 or 1"),
        (lambda z: z * np.nan, ValueError, "bits, 0 or 1"),
        (lambda z: z.numpy(), TypeError, "a ndarray; .* torch.Tensor"),
        (lambda z: None, TypeError, "a NoneType; .* torch.Tensor"),
    ],
)
def test_what_a_sampler_returns_is_checked(adata, spoil, error, words):
    model = QBMVAE(adata, n_latent=8, sampler=Broken(spoil))
    with unchanged(adata), pytest.raises(error, match="Broken.*" + words):
        model.fit(**FIT)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.float64])
def test_bits_of_any_number_type_are_bits(adata, dtype):
    losses = [
        QBMVAE(adata, n_latent=8, sampler=Broken(spoil)).fit(**FIT).history_
        for spoil in (lambda z: z, lambda z: z.to(dtype))
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        (GibbsSampler, r"sampler is an object.*such as GibbsSampler\(\)"),
        ("gibbs", "sampler is an object of a class.*not 'gibbs'"),
        (neal.SimulatedAnnealingSampler(), r"over as DimodSampler\(Simul"),
    ],
)
def test_what_is_no_sampler_is_refused_at_once(adata, sampler, words):
    with pytest.raises(TypeError, match=words):
        QBMVAE(adata, n_latent=8, sampler=sampler)


@pytest.mark.parametrize("key", ["kind", "batch"])
def test_cells_of_an_unseen_batch_are_embedded_but_not_decoded(key):
    adata = two_clusters()
    adata.obs["kind"] = adata.obs["kind"].astype(str)
    model = GaussianVAE(adata, n_latent=2, batch_key=key)
    new = adata[:6].copy()
    new.obs[key] = ["other", *new.obs[key][1:]]
    with unchanged(new):
        same(model, new, adata[:6], EMBED)
        for name in DECODE:
            words = rf"'other' of adata.obs\['{key}'\].*embedded.*not decoded"
            with pytest.raises(ValueError, match=words):
                getattr(model, name)(new)


def test_cells_without_batch_labels_are_embedded_but_not_decoded(model):
    absent = two_clusters(n_cells=10)
    missing = absent.copy()
    missing.obs["batch"] = np.nan
    del absent.obs["batch"]
    with unchanged(absent), unchanged(missing):
        same(model, absent, missing, EMBED)
        for name in DECODE:
            with pytest.raises(KeyError, match="no column 'batch'"):
                getattr(model, name)(absent)
            with pytest.raises(ValueError, match="missing for 10 cells"):
                getattr(model, name)(missing)


def test_new_cells_are_checked_like_the_training_cells(model, adata):
    broken = adata.copy()
    broken.X = broken.X * 0.5
    with unchanged(broken):
        for name in GET:
            with pytest.raises(ValueError, match="not whole numbers"):
                getattr(model, name)(broken)
            with pytest.raises(KeyError, match="lacks 1 .* 'gene7'"):
                getattr(model, name)(adata[:, adata.var_names != "gene7"])


def test_new_cells_without_counts_in_the_models_genes_are_refused(model):
    wider = two_clusters(n_cells=10, n_genes=40)
    counts = wider.X.toarray()
    counts[4, :30] = 0  # the other ten genes are none of the model's
    assert counts[4].sum() > 0
    wider.X = counts
    words = "no count in the model's genes for 1 of 10 .*first is 'cell4'"
    with unchanged(wider):
        for name in GET:
            with pytest.raises(ValueError, match=words):
                getattr(model, name)(wider)


def test_the_order_of_genes_and_further_genes_change_nothing(model, adata):
    rng = np.random.default_rng(0)
    shuffled = adata[:, rng.permutation(adata.n_vars)].copy()
    wider = two_clusters(n_genes=40)
    wider = wider[:, rng.permutation(40)].copy()
    part = wider[:, adata.var_names].copy()
    with unchanged(shuffled), unchanged(wider):
        same(model, adata, shuffled)
        same(model, part, wider)


def test_the_embedding_ignores_the_batch_but_the_decoder_does_not(adata):
    model = trained("qbm")
    swapped = adata.copy()
    names = {"left": "right", "right": "left"}
    swapped.obs["batch"] = swapped.obs["batch"].map(names)
    same(model, adata, swapped, EMBED)
    for name in DECODE:
        ask = getattr(model, name)
        assert np.all(np.not_equal(ask(adata), ask(swapped)))


def test_every_array_has_one_row_a_cell(model, adata):
    width = model.module.latent.n_latent
    shapes = {
        "get_latent_representation": (width,),
        "get_energy": (),
        "get_log_likelihood": (),
        "get_normalized_expression": (30,),
    }
    for name, shape in shapes.items():
        for n in (1, 5, adata.n_obs):
            array = getattr(model, name)(adata[:n])
            assert array.shape == (n, *shape)
            assert array.dtype == np.float32
            assert np.isfinite(array).all()
    assert isinstance(model.get_elbo(), float)


def test_asking_twice_gives_the_same_and_leaves_global_noise_alone(model):
    before = torch.get_rng_state()
    same(model, None, None)
    same(model, None, two_clusters())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_cell_gets_the_same_code_alone_and_among_others(model, adata):
    for name in EMBED:
        ask = getattr(model, name)
        alone = np.concatenate([ask(adata[i]) for i in range(5)])
        np.testing.assert_allclose(alone, ask(adata)[:5], atol=2e-6)


def test_expression_sums_to_one_in_each_cell(model):
    shares = model.get_normalized_expression()
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)


def test_the_energy_is_that_of_the_mean_bits():
    model = trained("qbm")
    a, c, w = (
        getattr(model.module.latent.machine, name).detach().numpy()
        for name in ("a", "c", "W")
    )
    mu = (model.get_latent_representation() + 1) / 2
    v, h = mu[:, :4], mu[:, 4:]
    by_hand = -v @ a - h @ c - np.einsum("ni,ij,nj->n", v, w, h)
    np.testing.assert_allclose(model.get_energy(), by_hand, atol=1e-5)
    assert by_hand.std() > 0.01


def test_the_likelihood_lies_above_the_elbo(model):
    assert model.get_log_likelihood(n_samples=200).mean() > model.get_elbo()


@functools.cache
def smoothed(relaxation):
    latent = BernoulliLatent(2, relaxation=relaxation)
    return CellVAE(two_clusters(), latent).fit(**FIT)


@pytest.mark.parametrize(
    "relaxation", [SpikeAndExponential(0.5), OverlappingExponentials(3.0)]
)
def test_expression_is_read_from_the_numbers_that_the_decoder_knows(relaxation):
    """By quadrature over both numbers; true bits would give others."""
    model = smoothed(relaxation)
    module, b = model.module, float(relaxation.sharpness)
    cells = two_clusters(n_cells=3)
    q = module.encode(torch.from_numpy(cells.X.toarray())).sigmoid().detach()
    nodes, weights = np.polynomial.legendre.leggauss(30)
    ones = np.log1p((nodes + 1) / 2 * np.expm1(b)) / b
    zeros = 1 - ones
    if isinstance(relaxation, SpikeAndExponential):
        zeros = 0 * ones
    x = torch.from_numpy(np.hstack([zeros, ones])).float()
    w = torch.from_numpy(np.hstack([weights, weights]) / 2).float()
    codes = torch.cartesian_prod(x, x)
    output = module.decode(codes, torch.zeros(len(codes), dtype=torch.long))
    found = model.get_normalized_expression(cells, n_samples=20_000)
    for row, (first, second) in zip(found, q, strict=True):
        bit = torch.arange(60) >= 30
        one, other = (
            w * torch.where(bit, mean, 1 - mean) for mean in (first, second)
        )
        share = torch.outer(one, other).flatten()
        expected = (share @ output.softmax(-1)).detach().numpy()
        np.testing.assert_allclose(row, expected, rtol=0.02)


def test_a_smoothed_model_has_two_scores(adata):
    model = smoothed(SpikeAndExponential(0.5))
    own = model.get_log_likelihood(n_samples=200)
    bits = model.get_log_likelihood(n_samples=200, discrete=True)
    assert np.abs(own - bits).mean() > 0.2
    again = model.get_log_likelihood(adata, 200, discrete=True)
    np.testing.assert_array_equal(bits, again)
    with pytest.raises(TypeError, match="positional"):
        model.get_log_likelihood(adata, 200, True)


@pytest.mark.parametrize("n", [0, -1, 2.5, None])
def test_a_number_of_draws_is_at_least_one(model, n):
    words = f"is a whole number of at least 1, not {n!r}"
    with pytest.raises(ValueError, match="n " + words):
        model.generate(n)
    for name in ("get_log_likelihood", "get_normalized_expression"):
        with pytest.raises(ValueError, match="n_samples " + words):
            getattr(model, name)(n_samples=n)


def test_generated_cells_are_counts_of_training_depth(model, adata):
    made = model.generate(500)
    assert made.shape == (500, adata.n_vars)
    assert list(made.var_names) == list(adata.var_names)
    assert isinstance(made.X, np.ndarray) and made.X.dtype == np.float32
    np.testing.assert_array_equal(made.X, np.round(made.X))
    assert made.X.min() == 0
    # Each cell has the depth and batch of one and the same training cell.
    depth = adata.X.toarray().sum(axis=1)
    drawn = np.asarray(made.X.sum(axis=1)).ravel()
    assert drawn.mean() == pytest.approx(depth.mean(), rel=0.1)
    share = (adata.obs["batch"] == "left").mean()
    assert (made.obs["batch"] == "left").mean() == pytest.approx(share, abs=0.1)


def test_many_generated_cells_are_sparse(model, monkeypatch):
    """The same numbers, without room for the zeros."""
    dense = model.generate(50)
    monkeypatch.setattr(cell_vae, "SPARSE_FROM", 50 * dense.n_vars)
    made = model.generate(50)
    assert scipy.sparse.issparse(made.X) and made.X.format == "csr"
    assert made.X.dtype == np.float32 and made.X.data.all()
    np.testing.assert_array_equal(made.X.toarray(), dense.X)


def test_depth_and_batch_of_a_new_cell_come_together(adata, monkeypatch):
    model, asked = trained("qbm"), {}
    generate = model.module.generate

    def spy(n, library, batch, seed):
        asked.update(library=library.numpy(), batch=batch.numpy())
        return generate(n, library, batch, seed)

    monkeypatch.setattr(model.module, "generate", spy)
    made = model.generate(300)
    depth = adata.X.toarray().sum(axis=1)
    real = set(zip(depth, adata.obs["batch"], strict=True))
    drawn = set(zip(asked["library"], made.obs["batch"], strict=True))
    assert drawn <= real
    assert len(drawn) > 50


def test_one_seed_gives_the_same_cells_and_another_one_others(model):
    chains = {k: v.clone() for k, v in model.module.latent.state().items()}
    noise = torch.get_rng_state()
    first = model.generate(40)
    for seed in (0, np.int64(0)):
        again = model.generate(40, seed=seed)
        np.testing.assert_array_equal(first.to_df(), again.to_df())
    other = model.generate(40, seed=1)
    assert (first.to_df() != other.to_df()).any(axis=None)
    assert (first.X.sum(1) != other.X.sum(1)).any()
    assert torch.equal(torch.get_rng_state(), noise)
    found = model.module.latent.state()
    assert chains.keys() == found.keys()
    for name, value in chains.items():
        assert torch.equal(found[name], value)
    with pytest.raises(ValueError, match="seed is a whole number"):
        model.generate(3, seed=0.5)


@pytest.mark.parametrize("layer", [None, "umi"])
def test_generated_cells_go_where_cells_go(layer, tmp_path):
    """Scored and mapped, written and read, trained on and saved."""
    adata = two_clusters()
    if layer is not None:
        adata.layers[layer] = adata.X
        adata.X = adata.X.log1p()
    where = {"layer": layer, "batch_key": "batch"}
    model = QBMVAE(adata, n_latent=8, **where).fit(**FIT)
    made = model.generate(200)
    for name in GET:
        assert np.isfinite(getattr(model, name)(made)).all()
    made.write_h5ad(tmp_path / "made.h5ad")
    made = anndata.read_h5ad(tmp_path / "made.h5ad")
    again = GaussianVAE(made, n_latent=2, **where).fit(**FIT)
    again.save(tmp_path)
    loaded = GaussianVAE.load(tmp_path, made)
    assert loaded.get_latent_representation().shape == (200, 2)


def test_without_a_prior_there_is_no_energy(adata):
    model = QBMVAE(adata, n_latent=8).fit(**FIT | {"kl_weight": 0})
    assert model.get_latent_representation().shape == (120, 8)
    for ask in (model.get_energy, lambda: model.generate(3)):
        with pytest.raises(ValueError, match="kl_weight=0.*no energy, no"):
            ask()


def test_a_likelihood_of_a_quantum_prior_is_said_to_be_a_bound(adata):
    for gamma, bound in ((0.0, False), (0.5, True)):
        machine = QuantumBoltzmannMachine(RBM(2, 2), gamma)
        model = CellVAE(adata, QuantumLatent(machine))
        assert model.is_bound is bound
    assert not trained("qbm").is_bound
    assert not trained("gaussian").is_bound


def test_long_scoring_shows_what_is_left(capsys, monkeypatch):
    monkeypatch.setattr(cell_vae, "BAR_AFTER", 0)
    monkeypatch.setattr(cell_vae, "SCORED_AT_ONCE", 40)
    model = trained("gaussian")
    model.get_log_likelihood()
    model.get_normalized_expression()
    assert capsys.readouterr().err.count("120/120") >= 2
    model.get_log_likelihood(progress=False)
    model.get_latent_representation()
    assert capsys.readouterr().err == ""


def test_blocks_of_cells_change_no_code(monkeypatch):
    model = trained("qbm")
    whole = model.get_latent_representation()
    monkeypatch.setattr(cell_vae, "SCORED_AT_ONCE", 50)  # and 20 are left
    parts = model.get_latent_representation()
    np.testing.assert_allclose(parts, whole, atol=2e-6)
    assert model.get_normalized_expression().shape == (120, 30)


def test_the_command_line_and_python_share_their_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    ask = inspect.signature
    kinds = {QBMVAE: "bits, an even number", GaussianVAE: "Gaussian numbers"}
    for kind, words in kinds.items():
        default = ask(kind).parameters["n_latent"].default
        assert re.search(rf"{words} \((default )?{default}\)", said)
    for name in ("max_epochs", "lr", "validation"):
        default = ask(CellVAE.fit).parameters[name].default
        assert f"(default {default})" in said
    default = ask(choose_genes).parameters["n_genes"].default
    assert f"(default {default})" in said


def test_the_latent_is_the_only_difference(adata):
    by_hand = BoltzmannLatent(
        RBM(4, 4, seed=0), GibbsSampler(chains=256, sweeps=5, seed=0)
    )
    general = CellVAE(adata, by_hand).fit(**FIT)
    short = QBMVAE(adata, n_latent=8).fit(**FIT)
    assert general.history_ == short.history_
    alike(general, short)
