import os
import time

import pytest
import torch

# seconds since the epoch after which no test is started: those that are left are skipped, and named by -rs
DEADLINE = "FXSCOPE_TEST_DEADLINE"


os.environ.setdefault("FXSCOPE_CHECK_IR", "1")  # every graph is checked between the passes


def pytest_configure(config):
    torch.set_num_threads(1 if hasattr(config, "workerinput") else 2)


def pytest_runtest_setup(item):
    if time.time() > float(os.environ.get(DEADLINE, "inf")):
        pytest.skip(f"the time of this run was over before {item.nodeid}")


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)
