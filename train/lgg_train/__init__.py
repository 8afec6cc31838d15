"""Dataset to checkpoint: cases, splits, the U-Net and its training loop."""
