"""What the compiler asks of the modules that it is given, and that all happens as without it.

mypyc says nothing where this is not so: the code fails where it is run, or does something else.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOOK = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
MODULES: list[str] = HOOK["modules"]
PACKAGES = ("livestream", "viewer", "publisher", "tests", "benchmarks", "examples")
PURE = {"int", "len", "max", "min"}
SIMULATION = ("simulate", "L0", "--viewers", "20", "--seconds", "8", "--seed", "1", "--json", "-")


def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def origins(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Return where names come from: the module's file, and the name that they have there."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                file = node.module.replace(".", "/") + ".py"
                found[alias.asname or alias.name] = file, alias.name
    return found


def open_bases() -> set[tuple[str, str]]:
    """Return the compiled classes that interpreted ones may have as a base: file and name."""
    return {
        (module, each.name)
        for module in MODULES
        for each in classes(parsed(module))
        if any("allow_interpreted_subclasses=True" in ast.unparse(d) for d in each.decorator_list)
    }


def test_the_list_names_modules_in_order_and_once() -> None:
    assert sorted(set(MODULES)) == MODULES
    assert [module for module in MODULES if not (ROOT / module).is_file()] == []


def test_interpreted_classes_have_no_compiled_base_that_does_not_allow_it() -> None:
    """Goal: `class X(Y)` works in tests and elsewhere, too, where Y is compiled and X is not."""
    allowed, closed = open_bases(), set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        module = str(path.relative_to(ROOT))
        if module in MODULES:
            continue
        tree = parsed(module)
        known = origins(tree)
        for each in classes(tree):
            for base in each.bases:
                name = base.value if isinstance(base, ast.Subscript) else base
                origin = known.get(ast.unparse(name))
                if origin is not None and origin[0] in MODULES and origin not in allowed:
                    closed.add(f"{module}: {each.name} of {origin[0]}: {origin[1]}")
    assert closed == set(), "give the base mypyc_attr(allow_interpreted_subclasses=True)"


def test_bounds_of_slices_are_free_of_calls() -> None:
    """Goal: nothing happens twice. mypyc evaluates the bounds of most slices twice."""
    found = [
        f"{module}:{each.lineno}: {ast.unparse(call)}"
        for module in MODULES
        for each in ast.walk(parsed(module))
        if isinstance(each, ast.Slice)
        for call in ast.walk(each)
        if isinstance(call, ast.Call) and ast.unparse(call.func) not in PURE
    ]
    assert found == [], "call before the slice"


def test_slices_are_no_constants() -> None:
    """Goal: `data[SLICE]` of bytes works. mypyc takes what is in the brackets for a number."""
    found = [
        f"{module}:{call.lineno}"
        for module in MODULES
        for call in ast.walk(parsed(module))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "slice"
    ]
    assert found == []


def simulated(library: Path) -> tuple[str, str]:
    """Return the hash of a simulation's events, with the packages in `library`; and its machine."""
    environment = {**os.environ, "PYTHONPATH": str(library)}
    command = [sys.executable, "-m", "livestream", *SIMULATION]
    done = subprocess.run(
        command, cwd=library, env=environment, capture_output=True, check=True, timeout=100
    )
    told = [sys.executable, "-c", "import livestream.machine as m; print(m.__file__)"]
    where = subprocess.run(told, cwd=library, env=environment, capture_output=True, check=True)
    return str(json.loads(done.stdout)["trace_hash"]), where.stdout.decode().strip()


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_a_compiled_wheel_simulates_as_a_pure_one_does(tmp_path: Path) -> None:
    """Goal: without the variable no compiler runs; with it everything happens as without."""
    told = []
    for name, variables in (("pure", {}), ("compiled", {"HATCH_BUILD_HOOKS_ENABLE": "1"})):
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "--wheel-dir", str(tmp_path / name), str(ROOT)]
        subprocess.run(command, env={**os.environ, **variables}, check=True, timeout=1_000)
        (wheel,) = (tmp_path / name).glob("*.whl")
        zipfile.ZipFile(wheel).extractall(tmp_path / name)
        told.append((wheel.name.endswith("-none-any.whl"), *simulated(tmp_path / name)))
    (is_pure, expected, source), (is_compiled_pure, found, library) = told
    assert is_pure
    assert not is_compiled_pure
    assert source.endswith(".py")
    assert library.endswith(".so")
    assert found == expected
