"""Every notebook follows the template, and the checks would see if not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook, new_output
from notebooks import outputs, template
from notebooks.example import chapter

BOOK = sorted((template.ROOT / "book").glob("*.ipynb"))


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_notebook_follows_the_template(path):
    found = template.faults(path, template.read(path))
    assert not found, f"\n{path.name}:\n" + "\n".join(found)


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_strip_would_change_nothing(path):
    notebook = template.read(path)
    before = str(notebook)
    assert str(outputs.strip(notebook)) == before, "run `make strip`"


def test_contents_and_files_agree():
    assert BOOK, "the book has no notebook"
    assert not list(template.toc_faults())


def test_names_are_unique_in_the_book():
    notebooks = {path.name: template.read(path) for path in BOOK}
    assert not list(template.label_faults(notebooks))


# --- the checks themselves ------------------------------------------------


def cell_of(notebook, start):
    """First cell whose source starts with, or holds, `start`."""
    return next(c for c in notebook.cells if start in c.source)


def replace(old, new, count=-1):
    def mutate(nb):
        cell = cell_of(nb, old)
        cell.source = cell.source.replace(old, new, count)

    return mutate


def append(old, text):
    def mutate(nb):
        cell_of(nb, old).source += text

    return mutate


def drop(start):
    def mutate(nb):
        nb.cells.remove(cell_of(nb, start))

    return mutate


def move_up(start):
    def mutate(nb):
        i = nb.cells.index(cell_of(nb, start))
        nb.cells[i - 1 : i + 1] = nb.cells[i - 1 : i + 1][::-1]

    return mutate


def with_tag(start, tag):
    def mutate(nb):
        cell_of(nb, start).metadata.setdefault("tags", []).append(tag)

    return mutate


def without_tag(start, tag):
    def mutate(nb):
        cell_of(nb, start).metadata["tags"].remove(tag)

    return mutate


def with_output(start, kind, **fields):
    def mutate(nb):
        cell_of(nb, start).outputs = [new_output(kind, **fields)]

    return mutate


def with_figure(**fields):
    def mutate(nb):
        cell_of(nb, "plt.bar").metadata["mystnb"].update(fields)

    return mutate


def set_count(start, count):
    def mutate(nb):
        cell_of(nb, start).execution_count = count

    return mutate


def insert_code(source, **metadata):
    """Put a code cell before the section When it goes wrong."""

    def mutate(nb):
        i = nb.cells.index(cell_of(nb, "## When it goes wrong"))
        cell = new_code_cell(source, metadata=metadata, id="inserted")
        nb.cells.insert(i, cell)

    return mutate


def long_cells(nb):
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source += "\nx = 1" * 12


def other_kernel(nb):
    nb.metadata.kernelspec.name = "conda-env"


def no_ids(nb):
    for cell in nb.cells:
        del cell["id"]


def same_ids(nb):
    nb.cells[1]["id"] = nb.cells[0]["id"]


def invalid(nb):
    nb.cells[0]["cell_type"] = "poem"
    nb.cells[0]["source"] = "# Energy"


def older(nb):
    nb.nbformat_minor = 4


def second_check(nb):
    """A checked cell that ran before the first one."""
    insert_code("print(4)", tags=["nbval-check-output"])(nb)
    cell = cell_of(nb, "print(4)")
    cell.outputs = [new_output("stream", name="stdout", text="4\n")]
    cell.execution_count = 1


CHECKED = "print(len(all_states(2)))"
PNG = {"image/png": "aaaa", "text/plain": "<Figure>"}
BROKEN = {
    # heading_faults
    "no title": (replace("# Energy", "Energy"), "exactly one `# Title`"),
    "two titles": (
        append("What to notice", "\n\n# Again"),
        "exactly one `# Title`",
    ),
    "title not first": (move_up("## At a glance"), "exactly one `# Title`"),
    "no promise": (
        replace("You will turn the energy of two bits into a probability.", ""),
        "promise",
    ),
    "two promises": (
        replace("a probability.", "a probability. You will like it."),
        "more than one sentence",
    ),
    "no glance": (replace("## At a glance", "## Overview"), "At a glance"),
    "no failure": (drop("## When it goes wrong"), "not, in order"),
    "no summary": (drop("## Summary"), "not, in order"),
    "wrong order": (move_up("## Further reading"), "not, in order"),
    "section after the end": (
        append("## Further reading", "\n\n## More"),
        "not, in order",
    ),
    "no content": (replace("## A question", "A question"), "of its own"),
    # summary, questions, exercises
    "four bullets": (replace("\n- five", ""), "4 bullets"),
    "six bullets": (append("## Summary", "\n- six"), "6 bullets"),
    "four answers": (
        replace("```{dropdown} Answer\n$2$, that is $2^1$.\n```", ""),
        "4 folded answers",
    ),
    "open answer": (replace("{dropdown}", "{note}", 1), "4 folded answers"),
    "empty answer": (replace("$2$, that is $2^1$.", " "), "empty answer"),
    "no question": (
        replace("How many states have 3 bits?", "Count."),
        "answer 3 follows no question",
    ),
    "five exercises": (drop("Stretch: count, 5"), "5 graded exercises"),
    "grade missing": (
        lambda nb: [replace("Stretch: ", "Core: ")(nb) for _ in range(2)],
        "no exercise is graded Stretch",
    ),
    "grade unknown": (replace("Core: ", "Hard: "), "has no grade"),
    "no label": (replace(":label: ex-stub-3", ""), "has no label"),
    "label twice": (replace("ex-stub-3", "ex-stub-2"), "label occurs twice"),
    "no solution": (drop("assert len(all_states(3))"), "no tested solution"),
    "last solution missing": (
        drop("assert len(all_states(6))"),
        "no tested solution",
    ),
    "empty solution": (
        replace("assert len(all_states(3)) == 8", ""),
        "no tested solution",
    ),
    "solution in the open": (
        without_tag("assert len(all_states(3))", "hide-cell"),
        "not tagged hide-cell",
    ),
    # prediction, agreement
    "no prediction": (drop("Predict first"), "Predict first"),
    "no agreement": (
        replace("assert torch.allclose(mine, machine.energy(z))", ""),
        "no visible assert",
    ),
    "agreement with itself": (
        replace("machine.energy(z))", "energy(z))"),
        "no visible assert",
    ),
    "library with itself": (
        replace("mine = energy(z)", "mine = machine.energy(z)"),
        "no visible assert",
    ),
    "agreement hidden": (
        with_tag("mine = energy(z)", "hide-cell"),
        "no visible assert",
    ),
    # tags, outputs
    "unknown tag": (with_tag("mine =", "remove-output"), "'remove-output'"),
    "stored output": (
        with_output("mine =", "stream", name="stdout", text="1"),
        "make strip",
    ),
    "stored count": (set_count("mine =", 3), "make strip"),
    "checked, empty": (
        lambda nb: cell_of(nb, CHECKED).outputs.clear(),
        "make refresh",
    ),
    "checked, no count": (set_count(CHECKED, None), "make refresh"),
    "counts fall": (second_check, "do not increase"),
    "checked stderr": (
        with_output(CHECKED, "stream", name="stderr", text="careful"),
        "not plain text (stderr)",
    ),
    "checked plot": (
        with_output(CHECKED, "display_data", data=PNG),
        "not plain text",
    ),
    "checked error": (
        with_output(CHECKED, "error", ename="E", evalue="e", traceback=[]),
        "not plain text (error)",
    ),
    "checked figure": (
        with_tag("plt.bar", "nbval-check-output"),
        "draws a figure",
    ),
    "checked text": (
        with_tag("**What to notice.**", "nbval-check-output"),
        "on a text cell",
    ),
    # figures
    "no alt": (with_figure(image={}), "without alt text"),
    "short alt": (with_figure(image={"alt": "plot"}), "without alt text"),
    "no caption": (with_figure(figure={}), "without caption"),
    "nothing to notice": (replace("**What to notice.**", ""), "to notice"),
    "bare figure": (insert_code("fig"), "without alt text"),
    "library figure": (
        insert_code("axes = plotting.states(machine)"),
        "without alt text",
    ),
    "hidden plotting": (
        insert_code("from qbmvae_mini.plotting import states"),
        "import the module",
    ),
    # code
    "long cell": (append("mine =", "\nx = 1" * 40), "more than 40"),
    "long cells": (long_cells, "median"),
    "long line": (append("mine =", "\nx = '" + "x" * 80 + "'"), "80 columns"),
    "home": (insert_code("open('/home/me/cells.h5ad')"), "absolute path"),
    "disk": (insert_code('open("C:/cells.h5ad")'), "absolute path"),
    "url": (insert_code("x = 'http://example.org/a'"), "asks the network"),
    "download": (insert_code("urlretrieve(x)"), "asks the network"),
    "shell": (insert_code("!wget example.org"), "asks the network"),
    "install": (insert_code("%pip install neal"), "asks the network"),
    "token": (insert_code("token = 'abc'"), "token"),
    "key": (insert_code("x = 'DEV-0123456789abcdef01'"), "token"),
    "not Python": (insert_code("print 4"), "not Python"),
    # format
    "kernel": (other_kernel, "conda-env"),
    "no ids": (no_ids, "cell id"),
    "same ids": (same_ids, "cell id"),
    "invalid": (invalid, "not a valid notebook"),
    "old format": (older, "4.5"),
}


def test_the_example_has_no_fault():
    assert template.faults("01_example.ipynb", chapter()) == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_chapter_is_rejected(name):
    mutate, expected = BROKEN[name]
    notebook = chapter()
    mutate(notebook)
    found = template.faults("01_example.ipynb", notebook)
    assert any(expected in fault for fault in found), found


def test_pages_without_number_need_no_template():
    notebook = chapter()
    drop("## Summary")(notebook)
    assert template.faults("intro.ipynb", notebook) == []
    with_tag("mine =", "remove-output")(notebook)
    assert template.faults("intro.ipynb", notebook)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ("root: book/a\nchapters: [{file: book/b}]", None),
        ("root: book/a", "book/b.ipynb is not in _toc.yml"),
        ("root: book/a\nchapters: [{file: book/c}]", "stands for 0 files"),
        ("root: book/a\nchapters: [{file: book/a}]", "listed twice"),
    ],
)
def test_contents_that_disagree_are_rejected(tmp_path, contents, expected):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "a.md").touch()
    (tmp_path / "book" / "b.ipynb").touch()
    (tmp_path / "_toc.yml").write_text(contents)
    found = list(template.toc_faults(tmp_path))
    if expected is None:
        assert found == []
    else:
        assert any(expected in fault for fault in found), found


def test_a_label_in_two_chapters_is_rejected():
    found = list(template.label_faults({"a": chapter(), "b": chapter()}))
    assert len(found) == 7  # six exercises and a figure
    assert list(template.label_faults({"a": chapter()})) == []


def test_strip_keeps_checked_text_only():
    notebook = chapter()
    with_output("mine =", "stream", name="stdout", text="1")(notebook)
    set_count("mine =", 9)(notebook)
    cell_of(notebook, "mine =").metadata["collapsed"] = True
    notebook.metadata["widgets"] = {}
    checked = cell_of(notebook, CHECKED)
    checked.outputs.append(
        new_output("stream", name="stderr", text="a warning")
    )
    outputs.strip(notebook)
    assert notebook == chapter()
    assert [output.text for output in checked.outputs] == ["4\n"]


def test_refresh_stores_what_checked_cells_print(tmp_path):
    notebook = chapter()
    cell_of(notebook, CHECKED).source = "print(2)\nprint(3, flush=True)"
    keep = cell_of(notebook, "print(2)"), cell_of(notebook, "## Summary")
    notebook.cells = list(keep)
    outputs.refresh(notebook, tmp_path)
    assert keep[0].execution_count == 1
    assert [output.text for output in keep[0].outputs] == ["2\n3\n"]


# What the comparison has run


def executed(tmp_path, source):
    """A notebook of two cells after `make notebooks` on it, and its cache."""
    notebook = new_notebook(cells=[new_code_cell(text) for text in source])
    path, folder = tmp_path / "two.ipynb", tmp_path / "cache"
    write(notebook, path)
    script = (
        "import sys, pytest; from pathlib import Path; "
        "from notebooks import executed; "
        f"executed.cache.__defaults__ = (Path({str(folder)!r}),); "
        "sys.exit(pytest.main(['-q', '-p', 'notebooks.executed', '-p', "
        "'no:cacheprovider', '--nbval-lax', '--nbval-current-env', "
        f"{str(path)!r}]))"
    )
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(here)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    return notebook, folder, done.returncode


def test_the_site_shows_what_the_comparison_has_run(tmp_path):
    from jupyter_cache import get_cache

    notebook, folder, status = executed(tmp_path, ["x = 2", "print(x + 1)\nx"])
    assert status == 0
    _, shown = get_cache(str(folder)).merge_match_into_notebook(notebook)
    printed, value = shown.cells[1].outputs
    assert printed.text == "3\n"
    assert value.data["text/plain"] == "2"
    assert [cell.execution_count for cell in shown.cells] == [1, 2]


def test_a_notebook_that_fails_is_not_kept_for_the_site(tmp_path):
    _, folder, status = executed(tmp_path, ["print(1)", "1 / 0"])
    assert status == 1
    assert not folder.exists()
