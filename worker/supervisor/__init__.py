"""The parent process of a worker: starts, watches, fences and restarts the device process."""
