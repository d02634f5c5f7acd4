"""The sample models' architectures in plain torch, with the names of their published state dicts.

They are independent of `worker/runtimes`: what a sample's answer is compared to is computed here.
"""
