"""What several test modules share."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # two busy OpenMP pools slow each other down; kernels and commands inherit it
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
import tiny_world as world  # noqa: E402
from execute import workplace  # noqa: E402


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory):
    """A folder with a tiny trained model (model/) and 40 sums it half knows (sums.jsonl)."""
    folder = tmp_path_factory.mktemp("tiny_world")
    world.build(folder)
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Where notebooks run, in a kernel and in a browser: what one has made, the next goes on with."""
    home = tmp_path_factory.mktemp("site")
    workplace(home)
    return home
