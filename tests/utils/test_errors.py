"""Every line for an error of the operating system names the path and says what to do."""

import errno
import os

import pytest

from utils.errors import UserError, describe_os_error
from utils.files import read_json, require_writable_folder, write_json


@pytest.mark.parametrize(
    "number, cure",
    [
        (errno.ENOSPC, "free some space"),
        (errno.EACCES, "permission"),
        (errno.EEXIST, "move it"),
        (errno.ENOTDIR, "move it"),
        (errno.EISDIR, "name of a file"),
    ],
)
def test_errors_of_the_system_come_with_a_cure(number, cure):
    line = describe_os_error(OSError(number, os.strerror(number)), "out/run")
    assert "out/run" in line and cure in line and "\n" not in line


def test_a_file_where_a_folder_belongs_says_to_move_it(tmp_path):
    (tmp_path / "taken").write_text("")
    for path in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(UserError, match="taken.*(move it|choose another)"):
            require_writable_folder(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows calls it a missing permission")
def test_a_folder_where_a_file_belongs_asks_for_a_file(tmp_path):
    for use in (lambda: read_json(tmp_path), lambda: write_json(tmp_path, {})):
        with pytest.raises(UserError, match="is a folder where a file is expected"):
            use()
    assert list(tmp_path.iterdir()) == []
