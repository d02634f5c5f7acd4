"""Files of model versions on this host: content-addressed, verified, within a budget."""
