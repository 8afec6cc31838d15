"""Checkpoint to artifact: the graph, its precision, its contract, and the gate it must pass."""
