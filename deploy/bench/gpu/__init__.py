"""What a GPU worker's device can do, on a machine with a GPU and nothing else: no Redis, no store.

`python -m deploy.bench.gpu` first runs the tests marked `gpu`, then measures each case against what
plain torch does on the same GPU, and prints ratios.
"""
