"""Thousands of models in a store, by manifests alone: all of them have the blobs of one sample."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace as changed

from deploy.local.s3_server import S3Server
from deploy.samples.store import BuiltSample
from shared.repository import Repository
from shared.repository.base import manifest_key
from shared.repository.s3_client import make_client

AT_ONCE = 12


def fill(server: S3Server, repository: Repository, sample: BuiltSample, count: int) -> None:
    """Models made-up-00000 and so on, put as other tools do: not noted in the index, which is
    removed. Those that are there stay."""
    client = make_client(server.endpoint_url, server.region, server.access_key, server.secret_key)
    there = {row.name for row in repository.list_all()}
    names = [name for name in map("made-up-{:05}".format, range(count)) if name not in there]

    def put(name: str) -> None:
        raw = changed(sample.manifest(), name=name).encode()
        client.put_object(Bucket=server.bucket, Key=manifest_key(name, 1), Body=raw)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, names))
    for note in repository.notes.list(""):
        repository.notes.delete(note)
    for name in there:
        if name.startswith("pushed-"):
            repository.delete_manifest(name, 1)
