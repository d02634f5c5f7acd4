"""A cluster on this machine, for `make up`, the benchmarks and the tests.

cluster.py       Redis, a repository, gateways and workers: `Cluster`
servers.py       its Redis and repository; redis_server.py, s3_server.py: embedded ones
child.py         one child process; processes.py launches it, process_tree.py looks below it
ports.py         free and reserved ports
folders.py       folders that one process at a time may use
up.py            `make up` from the first step to the last; demo.py, farewell.py: what it shows
install.py       `make venv`
progress.py      progress bars of everything in `deploy`
"""
