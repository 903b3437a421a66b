"""Build configs/ and the published numbers into the wheel; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "configs/**/*.yaml",
    "results/paper/*.csv",
)  # read by defensive_tensorization/config/files.py


class WithFiles(build_py):
    """Copy the files of SHIPPED to defensive_tensorization/shipped/, at the same paths.

    An editable install reads them where they lie.
    """

    def _sources(self) -> list[str]:
        top = Path(__file__).parent
        found = [path for each in SHIPPED for path in sorted(top.glob(each))]
        return [str(path.relative_to(top)) for path in found]

    def _targets(self) -> dict[str, str]:
        into = Path(self.build_lib, "defensive_tensorization", "shipped")
        return {} if self.editable_mode else {str(into / each): each for each in self._sources()}

    def run(self) -> None:
        super().run()
        for target, source in self._targets().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *self._targets()]

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *self._sources()]


setup(cmdclass={"build_py": WithFiles})
