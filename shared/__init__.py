"""What gateways and workers agree on: words, messages, keys, scripts, the model repository.

Imports nothing of router, worker or deploy. The written protocol is PROTOCOL.md beside this file.
"""
