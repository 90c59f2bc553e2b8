"""A small chapter without faults, from which tests make faulty ones."""

from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

PROMISE = """\
# Energy becomes probability

You will turn the energy of two bits into a probability.
"""
OWN = """\
import torch

from qbmvae_mini import RBM

machine = RBM(2, 2, seed=1)


def energy(z):
    v, h = z[:, :2], z[:, 2:]
    return -v @ machine.a - h @ machine.c - ((v @ machine.W) * h).sum(1)"""
AGREE = """\
z = torch.ones(1, 4)
mine = energy(z)
assert torch.allclose(mine, machine.energy(z))"""


def chapter():
    """A notebook that follows the template in every point."""
    text, code = new_markdown_cell, new_code_cell
    checked = code(
        "from qbmvae_mini import all_states\n\nprint(len(all_states(2)))",
        execution_count=1,
        outputs=[new_output("stream", name="stdout", text="4\n")],
        metadata={"tags": ["nbval-check-output"]},
    )
    figure = code(
        "import matplotlib.pyplot as plt\n\nplt.bar(range(3), [1, 2, 3]);",
        metadata={
            "mystnb": {
                "image": {"alt": "Three bars of heights one, two and three."},
                "figure": {"name": "fig-stub-bars", "caption": "Three bars."},
            }
        },
    )
    questions = "\n\n".join(
        f"{n}. How many states have {n} bits?\n\n"
        f"```{{dropdown}} Answer\n${2**n}$, that is $2^{n}$.\n```"
        for n in range(1, 6)
    )
    grades = ["Warm-up", "Warm-up", "Core", "Core", "Stretch", "Stretch"]
    exercises = []
    for n, grade in enumerate(grades):
        body = f":label: ex-stub-{n}\n\nCount the states of {n} bits."
        exercises += [
            text(f"```{{exercise}} {grade}: count, {n}\n{body}\n```"),
            code(
                f"assert len(all_states({n + 1})) == {2 ** (n + 1)}",
                metadata={"tags": ["solution", "hide-cell"]},
            ),
        ]
    notebook = new_notebook(
        cells=[
            text(PROMISE),
            text("## At a glance\n\nYou will be able to count."),
            text("## A question\n\n$$p(z) = e^{-E(z)} / Z$$\n"),
            checked,
            text("**Predict first.** How tall is the third bar?"),
            figure,
            text("**What to notice.** The third bar is three tall."),
            code(OWN),
            code(AGREE),
            text("## When it goes wrong\n\nCount twice."),
            text("## Summary\n\n- one\n- two\n- three\n- four\n- five"),
            text("## Check yourself\n\n" + questions),
            text("## Exercises"),
            *exercises,
            text("## Project\n\nCount everything."),
            text("## Further reading\n\n- A book, because it is good."),
        ]
    )
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i}"
    return notebook
