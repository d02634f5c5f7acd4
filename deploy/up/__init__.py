"""The local stack: everything that runs, on one machine, with one command (`make up`)."""
