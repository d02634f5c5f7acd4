"""How a model is loaded: orders, leases, and the pipeline from the repository to the device."""
