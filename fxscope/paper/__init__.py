"""What belongs to the paper: the datasets of its stand-ins, and the tour."""
