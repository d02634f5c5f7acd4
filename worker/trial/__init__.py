"""The trial of a model: inputs it can be tried with, and whether its rows may share a batch.

No torch here, no Redis and no clock: a model is anything with `run`. The worker tries a copy that
it loads, `warmroute push` what it is about to publish.
"""
