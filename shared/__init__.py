"""What gateways and workers share: names, messages, keys, scripts, the model repository.

Imports nothing of router, worker or deploy. The written protocol is PROTOCOL.md beside this file.
"""
