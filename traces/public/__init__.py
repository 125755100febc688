"""The public traces of the field: where each comes from, under which licence, and how to get it."""

from traces.public.attribution import attribution
from traces.public.catalog import find_public_trace, public_traces, read_public_traces
from traces.public.entry import PublicFile, PublicTrace
from traces.public.store import default_folder, fetch, local_path

__all__ = [
    "PublicFile",
    "PublicTrace",
    "attribution",
    "default_folder",
    "fetch",
    "find_public_trace",
    "local_path",
    "public_traces",
    "read_public_traces",
]
