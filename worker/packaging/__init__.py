"""Packing a model: from a file or a module to the files of a model version."""
