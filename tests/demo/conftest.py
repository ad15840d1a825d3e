"""A small world of drawings, made once."""

from pathlib import Path

import pytest

from demo.world import WorldConfig, write_world

SIZES = dict(art="drawings", num_names=32, num_train=300, num_val=20, num_test=60, num_new=12, picture_px=48)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("world")
    write_world(WorldConfig(output=str(output), **SIZES))
    return output
