"""Measures the whole system beside a reference, in the same run on the same machine.

    measure.py     rounds in which ours and the reference take turns; medians and spreads
    results.py     a figure, its target, `.bench/results.json` and the table
    load.py        a light load generator over connection.py; posts.py: what it sends and gets
    servers.py     the processes: an echo, and Redis, S3, gateway and workers as `make up` has them
    workbench.py   what a case works with: folders, samples, settings, running stacks
    plain.py       the same models without any of our runtime, in a process of their own
    ranged.py      the same bytes from S3 without any of our repository code
    usage.py       processor time of each process, and of each script in Redis
    memory.py      the memory of a process, and whether it grows
    caching.py     traces, and what the best cache of whole models (and LRU) would load for them
    watch.py       looks at the residency beside a load: budgets, copies, loads
    history.py     what the event log says about copies: who held what when
    operator.py    loads, unloads, pins and sessions over HTTP
    soak/          requests beside all of these at random, and what must hold meanwhile
    cases/         one module per measurement

`python -m deploy.bench [--only NAME]`. Nothing here is imported by what it measures.
"""
