"""Errors a user can mend, and the one place that turns them into an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from utils.clock import command_begins, command_ends
from utils.interrupt import Interrupted, printable_streams, signals_raise
from utils.text import one_line


class UserError(Exception):
    """A failure whose message names the cause and the cure in one line (exit code 1), whatever names of files hold."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class UsageError(UserError):
    """A command line or configuration that cannot be right (exit code 2)."""

    exit_code = 2


def describe_os_error(error: OSError, path: object) -> str:
    """Return one line with the cause and the cure for an operating-system error at `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: could not write {path}; free some space or choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission for {path}; choose another folder or change its permissions"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{path}: {error.strerror}, a file is in the way; move it or choose another folder"
    if error.errno == errno.EISDIR:
        return f"{path} is a folder where a file is expected; move it or give the name of a file"
    return f"{path}: {error.strerror or error}"


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and leave the process: 0, 1 (failure), 2 (usage), 130 (Ctrl-C) or 143 (SIGTERM).

    A `UserError` prints one line to stderr; any other exception is a bug and keeps its traceback. `main` should import
    what is slow to import, so that a signal in the first second ends in one line too.
    """
    command_begins()
    printable_streams()
    try:
        with signals_raise():
            code = main() or 0
            sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except OSError as error:
        print(f"error: {one_line(describe_os_error(error, error.filename or 'the system'))}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt as error:
        print(str(error) or "interrupted", file=sys.stderr)
        code = error.exit_code if isinstance(error, Interrupted) else 130
    finally:
        command_ends()
    sys.exit(code)
