"""The wheel holds what the library needs, and importing it is cheap."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ["scanpy", "lightning_fabric", "sklearn", "matplotlib"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without network and without isolation."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_package_and_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "qbmvae_mini").rglob("*.py")
    }
    kinds = ("data/*.h5ad", "data/*.csv", "data/results/*.csv")
    data = [path for kind in kinds for path in ROOT.glob(kind)]
    assert data
    expected = sources | {
        f"qbmvae_mini/{path.relative_to(ROOT)}" for path in data
    }
    rest = {name for name in held if ".dist-info/" not in name}
    assert rest == expected
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from qbmvae_mini.cells import datasets;"
        "assert datasets.__file__.startswith(sys.argv[1]), datasets.__file__;"
        "print(datasets.load('marrow').shape)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(1000,")


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, qbmvae_mini;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_version_is_one():
    import tomllib

    import qbmvae_mini

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == qbmvae_mini.__version__
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {qbmvae_mini.__version__}\n" in citation
