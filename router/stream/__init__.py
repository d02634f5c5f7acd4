"""The stream door: requests from a Redis stream, and outcomes into one."""
