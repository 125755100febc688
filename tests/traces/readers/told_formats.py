"""Small traces of every format in one file, and how to ask for the format of a file."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from traces import Trace, TraceError, detect_format

AZURE_LLM = b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
MOONCAKE = b'{"timestamp": 0, "input_length": 600, "output_length": 7, "hash_ids": [0, 1]}\n'
EXAMPLES = {
    "azure-functions-2019": b"HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,f,http,3,0\n",
    "azure-functions-2021": b"app,func,end_timestamp,duration\na,f,1.5,0.5\n",
    "azure-llm": AZURE_LLM,
    "burstgpt": b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    b"5,ChatGPT,472,18,490,Conversation log\n",
    "mooncake": MOONCAKE,
    "rate-series": b"1.5\n0.0\n",
}


def zstd(content: bytes) -> bytes:
    """Pack as zstd."""
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return packed


def tar(members: dict[str, bytes]) -> bytes:
    """Return an archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def written(path: Path, content: bytes) -> Path:
    """Write a file, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def detected(path: Path) -> str:
    """Return the name of the format of a path that is a trace itself."""
    place, found = detect_format(path)
    assert place == path
    return found.name


def refusal(path: Path) -> str:
    """Return what is said of a path that is no trace, in one line that begins with it or a file below it."""
    with pytest.raises(TraceError) as caught:
        detect_format(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value).removeprefix(f"{path}: ")


def is_told(path: Path, names: Iterable[str]) -> bool:
    """Whether a file is of one of some formats, or refused in one line that begins with its path."""
    try:
        return detected(path) in names
    except TraceError as error:
        return str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1


def columns(trace: Trace) -> list[object]:
    """Return what a trace holds, without where it came from."""
    return [
        trace.functions,
        trace.offsets.tolist(),
        trace.arrival_s.tobytes(),
        trace.duration_s,
        *(
            None if tokens is None else tokens.tolist()
            for tokens in (trace.input_tokens, trace.output_tokens)
        ),
        {name: repr(column.tolist()) for name, column in trace.attributes.items()},
    ]
