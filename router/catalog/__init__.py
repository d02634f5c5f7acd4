"""Which models exist, and which version a request gets."""
