"""What holds for every figure of the book, whatever it shows."""

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_hex

from qbmvae_mini import plotting

#: Points. Smaller letters are no longer read on a phone.
LEAST_LETTERS = 13


def check_figure(name, draw):
    """The figure `name` is public, in one style, shown once, not clipped."""
    assert name in plotting.__all__
    before = dict(mpl.rcParams)
    figure = draw()
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []  # closed, so shown once
    assert to_hex(figure.get_facecolor()) == "#ffffff"
    assert figure.get_figwidth() == plotting.WIDTH
    for ax in figure.axes:
        letters = [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()]
        sizes = {text.get_fontsize() for text in letters if text.get_text()}
        assert all(size >= LEAST_LETTERS for size in sizes), sizes
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert drawn.x0 >= -1
    assert drawn.y0 >= -1
    assert drawn.x1 <= figure.bbox.x1 + 1
    assert drawn.y1 <= figure.bbox.y1 + 1
