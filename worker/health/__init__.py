"""The health of a worker: it notices that it fails what healthy workers can do, and says so."""
