"""Measurements of artifacts against the PyTorch model, each with the machine that it ran on."""
