"""Imports modules of one's own from folders that Python does not know, and says in one line what fails."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

from policies import PolicyError

_LOADED: Final[dict[str, tuple[Path, str]]] = {}
"""The modules imported here: the file of each, and its SHA-256 when it was imported."""

_NOT_THEIRS: Final = sys.stdlib_module_names | {"experiments", "policies", "profiles"}
"""Packages whose frames say less about a failure than those of the module that called them."""


def import_from(name: str, folders: Sequence[Path]) -> ModuleType:
    """Import a module that is found in `folders`, or else where Python looks.

    `sys.path` is longer only meanwhile, and no byte code is written. What was imported this way before is
    imported anew if a file has changed, or if `folders` now lead to another one.

    Raises
    ------
    PolicyError
        In one line with file and line, if there is no such module or it fails.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise PolicyError(f"found {name!r}, allowed is a name that Python can import")
    folders = [folder.resolve() for folder in folders]
    importlib.invalidate_caches()
    _forget_stale(folders)
    _refuse_namesake(name, folders)
    known = set(sys.modules)
    try:
        with _python_looks_in(folders), failing_in_one_line(name):
            return importlib.import_module(name)
    finally:
        _remember(set(sys.modules) - known, known, name, folders)


def sha256_of(module: str) -> str | None:
    """Return the SHA-256 of an imported module's file; `None` if it has none."""
    if module in _LOADED:
        return _LOADED[module][1]
    file = _file(sys.modules[module])
    return None if file is None else _digest(file)


@contextmanager
def failing_in_one_line(module: str) -> Iterator[None]:
    """Turn whatever the code of a module raises into a `PolicyError` that names file and line."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise PolicyError(_one_line(error, module)) from None
        places = "beside the experiment, in the current folder or where Python looks"
        raise PolicyError(f"found no module {error.name!r} {places}") from None
    except (Exception, SystemExit) as error:
        raise PolicyError(_one_line(error, module)) from None


def _one_line(error: BaseException, module: str) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}: SyntaxError: {error.msg}"
    places = [
        f"{_shown(file)}:{line}: "
        for file, line, package in _frames(error)
        if _is_theirs(file, package, module)
    ]
    return f"{places[-1] if places else ''}{text}"


def _frames(error: BaseException) -> Iterator[tuple[str, int, str]]:
    """File, line and top-level package of each step to an error, the last one innermost."""
    step = error.__traceback__
    while step is not None:
        package = _top(str(step.tb_frame.f_globals.get("__name__", "")))
        yield step.tb_frame.f_code.co_filename, step.tb_lineno, package
        step = step.tb_next


def _is_theirs(file: str, package: str, module: str) -> bool:
    if file.startswith("<"):
        return False
    return package == _top(module) or not (package in _NOT_THEIRS or "site-packages" in file)


def _shown(file: str) -> str:
    """Write a file's name as from the current folder, if it lies there."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


@contextmanager
def _python_looks_in(folders: Sequence[Path]) -> Iterator[None]:
    path, wrote_none = sys.path[:], sys.dont_write_bytecode
    sys.path[:0] = [str(folder) for folder in folders]
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = wrote_none


def _forget_stale(folders: Sequence[Path]) -> None:
    """Forget all that was imported here if any of it would be another module now."""
    if any(_is_stale(name, file, digest, folders) for name, (file, digest) in _LOADED.items()):
        for name in _LOADED:
            sys.modules.pop(name, None)
        _LOADED.clear()


def _is_stale(name: str, file: Path, digest: str, folders: Sequence[Path]) -> bool:
    if not file.exists() or _digest(file) != digest:
        return True
    home = _home(name, folders)
    return home is not None and not file.is_relative_to(home)


def _refuse_namesake(name: str, folders: Sequence[Path]) -> None:
    """Refuse a file by whose name Python has imported something else: it would give us that instead."""
    top = _top(name)
    home = _home(top, folders)
    if home is None or top not in sys.modules:
        return
    imported = _file(sys.modules[top])
    if imported is None or not imported.is_relative_to(home):
        where = "Python itself" if imported is None else imported
        raise PolicyError(
            f"{_shown(str(home))}: found another module {top!r} ({where}); give it another name"
        )


def _home(name: str, folders: Sequence[Path]) -> Path | None:
    """Return the file or package folder that `folders` hold for a module's top-level name."""
    spec = PathFinder.find_spec(_top(name), [str(folder) for folder in folders])
    if spec is None or spec.origin is None:  # nothing, or a folder that is no package by itself
        return None
    return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)


def _remember(new: set[str], known: set[str], name: str, folders: Sequence[Path]) -> None:
    """Remember which of the modules that an import brought are one's own, and not what those need."""
    others = {_top(module) for module in known} - {_top(module) for module in _LOADED}
    for module in sorted(new):
        file, top = _file(sys.modules[module]), _top(module)
        if file is None or top in others:
            continue
        places = [place for folder in folders for place in (folder / top, folder / f"{top}.py")]
        if top == _top(name) or any(file.is_relative_to(place) for place in places):
            _LOADED[module] = file, _digest(file)


def _top(name: str) -> str:
    """Return the package of a module's name."""
    return name.partition(".")[0]


def _file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
