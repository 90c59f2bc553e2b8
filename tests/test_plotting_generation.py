"""Figures of new cells show what they were given."""

import numpy as np
import pandas as pd
import pytest
from figures import check_figure

from qbmvae_mini import plotting

RNG = np.random.default_rng(0)
REAL = RNG.poisson(2, (50, 6)) * [0, 1, 1, 1, 1, 1]
MADE = RNG.poisson(3, (40, 6))
LAW = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
PAIRS = np.array([-0.3, 0.0, 0.8])
TABLE = pd.DataFrame(
    [[0.21, 0.5], [12.0, 1.25]],
    index=["other real", "cooled"],
    columns=["mean", "forest"],
)
MARKS = TABLE > 1
ENERGIES = {
    "trained well": {"codes": [-3.0, -2.0, -2.0], "drawn": [-3.0, -1.0]},
    "trained badly": {"codes": [-30.0, -20.0], "own": [-5.0], "drawn": [-9.0]},
}

FIGURES = {
    "new_cell": plotting.new_cell,
    "count_laws": lambda: plotting.count_laws(LAW, LAW[::-1]),
    "gene_checks": lambda: plotting.gene_checks(
        REAL, {"itself": REAL, "new": MADE}
    ),
    "pair_correlations": lambda: plotting.pair_correlations(
        PAIRS, {"other": PAIRS, "new": -PAIRS}
    ),
    "noticed": lambda: plotting.noticed(TABLE, MARKS),
    "beside_first": lambda: plotting.beside_first(
        TABLE, TABLE < 0.5, TABLE > 1
    ),
    "energies_of_codes": lambda: plotting.energies_of_codes(ENERGIES),
}


def test_the_picture_names_its_parts():
    (ax,) = plotting.new_cell().axes
    said = " ".join(text.get_text() for text in ax.texts)
    for part in ("machine", "bits", "decoder", "binomial", "sampler", "held-"):
        assert part in said


def test_laws_are_drawn_as_given():
    figure = FIGURES["count_laws"]()
    for ax, law, shares in zip(figure.axes, LAW, LAW[::-1], strict=True):
        assert list(ax.lines[0].get_ydata()) == list(law)
        assert [bar.get_height() for bar in ax.patches] == list(shares)


def test_genes_are_checked_three_ways():
    itself, new = np.reshape(FIGURES["gene_checks"]().axes, (2, 3))
    for row, counts in [(itself, REAL), (new, MADE)]:
        expected = [
            np.maximum(counts.mean(0), 1e-3),
            np.maximum(counts.var(0), 1e-3),
            (counts == 0).mean(0),
        ]
        for ax, numbers in zip(row, expected, strict=True):
            assert ax.lines[0].get_ydata() == pytest.approx(numbers)
    assert itself[0].lines[0].get_xdata()[0] == 1e-3  # a silent gene
    assert [ax.get_ylabel() for ax in (itself[0], new[0])] == ["itself", "new"]
    titles = ["mean", "variance", "share of zeros"]
    assert [ax.get_title() for ax in itself] == titles
    assert [ax.get_xlabel() for ax in new] == ["real cells"] * 3


def test_pairs_are_drawn_against_real_ones():
    other, new = FIGURES["pair_correlations"]().axes
    for ax, numbers in [(other, PAIRS), (new, -PAIRS)]:
        assert list(ax.lines[0].get_xdata()) == list(PAIRS)
        assert list(ax.lines[0].get_ydata()) == list(numbers)


def test_what_is_noticed_is_filled_and_bold():
    (ax,) = FIGURES["noticed"]().axes
    assert [t.get_text() for t in ax.texts] == [".21", ".50", "10+", "1.25"]
    bold = [text.get_weight() == "bold" for text in ax.texts]
    filled = [patch.get_facecolor()[:3] != (1, 1, 1) for patch in ax.patches]
    assert bold == filled == list(MARKS.to_numpy().ravel())
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row on top


def test_nearer_and_farther_are_told_apart_without_colour():
    figure = FIGURES["beside_first"]()
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.texts] == [".21", ".50", "10+", "1.25"]
    bold = [text.get_weight() == "bold" for text in ax.texts]
    assert bold == list((TABLE > 1).to_numpy().ravel())
    (line,) = ax.lines
    assert np.mean(line.get_xdata()) == 0 and 0 < line.get_ydata()[0] < 0.5
    fills = [patch.get_facecolor()[:3] for patch in ax.patches]
    nearer, plain, *farther = fills
    assert plain == (1, 1, 1)
    assert len({nearer, plain, *farther}) == 3
    (names,) = figure.legends
    said = [text.get_text() for text in names.get_texts()]
    assert said == ["nearer than the first row", "farther"]


def test_energies_are_shares_of_their_set():
    figure = FIGURES["energies_of_codes"]()
    for ax, (title, sets) in zip(figure.axes, ENERGIES.items(), strict=True):
        assert ax.get_title(loc="left") == title
        names = [text.get_text() for text in ax.get_legend().get_texts()]
        assert sorted(names) == sorted(sets)
        bars = [p.get_height() for p in ax.patches if hasattr(p, "get_height")]
        assert sum(bars) == pytest.approx(1)
    styles = [
        {p.get_label(): p.get_linestyle() for p in ax.patches if p.get_label()}
        for ax in figure.axes
    ]
    assert styles[0]["drawn"] == styles[1]["drawn"] != styles[1]["own"]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_in_the_style_of_the_book(name):
    check_figure(name, FIGURES[name])
