"""The house: rooms import downwards only, and ask parts by their contract."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "qbmvae_mini"

#: From the ground up; a room imports from those before it.
ROOMS = (
    "checks",
    "machines",
    "samplers",
    "estimates",
    "hardware",
    "latents",
    "learning",
    "cells",
    "vae",
    "metrics",
    "models",
    "results",
    "plotting",
    "__main__",
)

SOURCES = sorted(
    path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"
)

#: Classes of parts; what one is, is asked in its own room alone.
PARTS = {
    "machines": r"\w*Machine|RBM",
    "samplers": r"\w*Sampler|Chains|ContrastiveDivergence",
    "latents": r"\w*Latent|Relaxation|\w*Exponentials?|StraightThrough"
    r"|ScoreFunction|BinaryConcrete|Schedule",
}


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """The project's modules that a file imports, as lists of names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "qbmvae_mini" and len(parts) == 1:
                yield from ([alias.name] for alias in node.names)
            elif parts[0] == "qbmvae_mini":
                yield parts[1:]


def calls(path, *names):
    """Calls of these functions in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if call and node.func.id in names:
            yield node


def test_every_file_stands_in_a_room():
    assert {room_of(path) for path in SOURCES} == set(ROOMS)


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_go_downwards(path):
    height = ROOMS.index(room_of(path))
    for module, *_ in imported(path):
        assert ROOMS.index(module) <= height, f"{room_of(path)} <- {module}"


def test_no_files_import_each_other_in_a_circle():
    names = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in SOURCES
    }
    graph = {}
    for name, path in names.items():
        below = {".".join(parts) for parts in imported(path)}
        graph[name] = {n for n in below if n in names}
    graphlib.TopologicalSorter(graph).prepare()  # raises on a circle


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_parts_are_asked_by_their_contract(path):
    room = room_of(path)
    foreign = "|".join(kinds for home, kinds in PARTS.items() if home != room)
    for call in calls(path, "isinstance"):
        kinds = ast.unparse(call.args[1])
        found = re.search(rf"\b({foreign})\b", kinds)
        # dimod's samplers and the table of torch are no parts of ours.
        assert found is None or "dimod" in kinds, ast.unparse(call)
    for call in calls(path, "hasattr", "getattr"):
        asked = ast.unparse(call.args[0])
        parts = r"machine|sampler|latent|relaxation|classical"
        assert not re.search(rf"\b({parts})\b", asked), ast.unparse(call)
