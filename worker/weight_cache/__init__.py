"""The cache of model files on this host: content-addressed, verified, within a budget."""
