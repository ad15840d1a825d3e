"""A folder with the pictures that rows name."""

import pytest

from tests.conftest import picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    for name in ("a.png", "b, c.png"):
        picture().save(folder / name)
    return folder
