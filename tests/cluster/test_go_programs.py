"""Programs are built of Go modules with the versions that the modules themselves name."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.go_programs import KUBERNETES, MODULES, GoModule, missing, wrapper

UPSTREAM = """\
module example.org/it

go 1.26.0

require example.org/alone v1.0.0

require (
\texample.org/staged v0.0.0
\texample.org/one v1.2.3 // indirect
)

replace (
\texample.org/staged => ./staging/src/example.org/staged
\texample.org/test => ../test
\texample.org/fork => example.org/other v2.0.0
)
"""
MODULE = GoModule("it", "example.org/it", "v1.9.2", {"it": "example.org/it/cmd"}, replaced={"./staging/src/": "v0.9.2"})


def test_the_versions_are_those_of_the_module() -> None:
    """The wrapper requires the module and all that its go.mod requires, at the same versions and with the same Go."""
    lines = wrapper(MODULE, UPSTREAM).splitlines()
    assert "go 1.26.0" in lines
    assert [line for line in lines if line.startswith("require")] == [
        "require example.org/it v1.9.2",
        "require example.org/staged v0.0.0",
        "require example.org/one v1.2.3",
        "require example.org/alone v1.0.0",
    ]


def test_folders_of_the_repository_become_versions() -> None:
    """A replacement by a staged folder becomes its published version, another folder is left out, a fork stays."""
    lines = wrapper(MODULE, UPSTREAM).splitlines()
    assert [line for line in lines if line.startswith("replace")] == [
        "replace example.org/staged => example.org/staged v0.9.2",
        "replace example.org/fork => example.org/other v2.0.0",
    ]


def test_a_module_beside_another_takes_the_later_versions() -> None:
    """Both lists of requirements are in the wrapper, of which Go takes the later version."""
    lines = wrapper(MODULE, UPSTREAM, "module m\n\ngo 1.25\n\nrequire example.org/one v1.3.0\n").splitlines()
    assert {"require example.org/one v1.2.3", "require example.org/one v1.3.0"} <= set(lines)


def test_the_programs_of_a_version_have_their_own_folder(tmp_path: Path) -> None:
    """A new version is built beside the old one, and what is not built yet is named."""
    assert missing(cache=tmp_path) == [module.name for module in MODULES]
    (tmp_path / KUBERNETES.folder).mkdir()
    assert KUBERNETES.name not in missing(cache=tmp_path)
    assert KUBERNETES.folder == f"kubernetes-{KUBERNETES.version}"
    names = [name for module in MODULES for name in module.programs]
    assert len(set(names)) == len(names)
