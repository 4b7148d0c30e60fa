"""The tests' own npm packages: they load in Node.js at the version that was asked for."""

from __future__ import annotations

import pytest

from tests.runtime.npm import PINNED, npm_package, run_node


@pytest.mark.parametrize("name", PINNED)
def test_a_package_is_installed_once_and_its_folder_returned(name):
    folder = npm_package(name)
    assert npm_package(name) == folder
    assert (folder / "node_modules" / name / "package.json").is_file()
    assert run_node(
        f'import.meta.resolve("{name}"); console.log(JSON.stringify(process.argv.slice(2)))', 7, package=name
    ) == ["7"]
