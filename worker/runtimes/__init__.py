"""The platforms: how the files of a model version become a model that runs on a device."""
