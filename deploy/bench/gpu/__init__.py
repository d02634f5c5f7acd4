"""What a GPU worker's device can do, on a machine with a GPU and nothing else: no Redis, no store.

    needs.py      the packages of Python that it takes, and how to bring those that are missing
    __main__.py   runs the two parts below as a worker runs its device process
    own_tests.py  what pytest needs to find the tests marked `gpu`
    figures.py    measures the cases, and prints ours beside what plain torch does on the same GPU
    cases.py      the cases; models.py: what they load

`python -m deploy.bench.gpu`. Nothing here is imported by what it measures.
"""
