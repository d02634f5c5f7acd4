"""A worker is two processes: the parent, the device process, and what lies between them."""
