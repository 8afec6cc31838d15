"""A run over a folder: files in, results out, and a record of what was done."""
