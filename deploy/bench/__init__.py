"""Measures the whole system beside a reference, in the same run on the same machine.

    measure.py     rounds in which ours and the reference take turns; medians and spreads
    results.py     a figure, its target, and `.bench/results.json`; report.py shows it
    workbench.py   what a case works with: folders, samples, settings, running clusters
    load.py        a light load generator over connection.py; posts.py: what it sends and gets
    references.py  a bare echo (echo.py), and the same bytes from S3 without our repository code
    plain.py       the same models without any of our runtime, in a process of their own
    models.py      the models that cases ask, and what each must answer
    probes.py      processor time and memory of processes, and of each script in Redis
    watched_gateway.py  a gateway that notes how long its event loop stands still
    lister.py      reads lists beside a load; many_models.py: thousands of them in a store
    caching.py     traces, and what the best cache of whole models (and LRU) would load for them
    observer.py       looks at the residency beside a load: budgets, copies, loads
    history.py     what the event log says about copies: which worker held what when
    traffic.py     the callers and the operator of the soak
    cases/         the measurements

`python -m deploy.bench [--only NAME]`. Nothing here is imported by what it measures.
"""
