"""How a model comes onto a device: orders, leases, and the way from the repository."""
