"""The optional build hook that compiles the hot modules with mypyc; pyproject.toml lists them.

It runs only with `HATCH_BUILD_HOOKS_ENABLE=1` in the environment. An editable installation gets the
modules beside their sources, as `make compiled` does (`python hatch_build.py`), and keeps `build/`:
if nothing has changed, the next time takes seconds.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from mypyc.build import mypycify
from setuptools import Distribution
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError, LinkError

if TYPE_CHECKING:
    from hatchling.builders.config import BuilderConfig

    Hook = BuildHookInterface[BuilderConfig]
else:
    Hook = BuildHookInterface  # Generic for type checkers only.

FAILED: Final = (
    "The hot modules could not be compiled; why is said above. If a compiler or Python.h is "
    "missing: apt-get install gcc libc6-dev python3-dev (Debian). Nothing has to be compiled: "
    "without HATCH_BUILD_HOOKS_ENABLE the installation is pure Python, and does the same."
)
COMPILED: Final = "*.cpython-*.so"
GROUP: Final = "livestream"  # All in one library, `livestream__mypyc`: calls between them are C's.


class CustomBuildHook(Hook):
    """Puts the compiled modules into a wheel, or into the checkout."""

    _scratch: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; `version` is "editable" or "standard".

        Raises:
            RuntimeError: types do not fit, or there is no compiler.
        """
        root = Path(self.root)
        modules: list[str] = self.config["modules"]
        if version == "editable":
            compile_in_place(modules, root)
            return
        self._scratch = Path(tempfile.mkdtemp(prefix="livestream-build-"))
        library = self._scratch / "library"
        compile_modules(modules, self._scratch, library)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for path in library.rglob(COMPILED):
            build_data["force_include"][str(path)] = str(path.relative_to(library))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was made on the way to the wheel."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch)


def compile_in_place(modules: list[str], root: Path) -> None:
    """Compile `modules` beside their sources, and remove what was compiled of others.

    Raises:
        RuntimeError: types do not fit, or there is no compiler.
    """
    compile_modules(modules, root / "build", root)
    kept = {module.removesuffix(".py") for module in modules}
    for path in [*root.glob("livestream/**/" + COMPILED), *root.glob("viewer/" + COMPILED)]:
        if str(path.relative_to(root)).partition(".")[0] in kept:
            path.touch()  # As new as its source, though the compiler had nothing to do.
        else:
            path.unlink()


def compile_modules(modules: list[str], build: Path, library: Path) -> None:
    """Compile `modules` by way of the folder `build`, and put what comes out into `library`.

    Raises:
        RuntimeError: types do not fit, or there is no compiler.
    """
    try:
        extensions = mypycify(
            [f"--cache-dir={build / 'mypy'}", *modules],
            opt_level="3",
            debug_level="0",
            multi_file=True,  # A C file each: several compilers at once.
            target_dir=str(build),
            group_name=GROUP,
        )
        command = build_ext(Distribution({"name": GROUP, "ext_modules": extensions}))
        command.build_lib = str(library)
        command.build_temp = str(build)
        command.parallel = os.cpu_count()
        command.ensure_finalized()
        command.run()
    except (BaseError, CompileError, LinkError, SystemExit) as error:
        raise RuntimeError(FAILED) from error


def main() -> None:
    """Compile in place, for whoever works on the code."""
    root = Path(__file__).parent
    project = tomllib.loads((root / "pyproject.toml").read_text())
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    os.chdir(root)  # mypyc makes modules' names of paths, and reads mypy's settings there.
    compile_in_place(hook["modules"], root)


if __name__ == "__main__":
    main()
