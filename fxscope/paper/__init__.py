"""The paper's experiments: the datasets of its stand-ins, and the tour."""
