"""What several test modules share."""

import pytest
import tiny_world as world


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory):
    """A folder with a tiny trained model (model/) and 40 sums it half knows (sums.jsonl)."""
    folder = tmp_path_factory.mktemp("tiny_world")
    world.build(folder)
    return folder
