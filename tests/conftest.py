import pytest
import torch


def pytest_configure(config):
    torch.set_num_threads(1 if hasattr(config, "workerinput") else 2)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)
