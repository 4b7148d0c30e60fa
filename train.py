"""Train a neural texture from a folder of images, or decode a trained one: `python train.py --help`."""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import utils.threads  # noqa: F401, before torch
from training.flags import make_config, parse_flags, resume_config, run_settings
from utils.errors import UsageError, run_command


def main(argv: list[str] | None = None) -> int:
    """Read the command line and do what it says; returns the exit code."""
    flags = parse_flags(argv)
    run = run_settings(flags)
    resumes = bool(run.load_dir) or run.load_iter is not None or run.mode == "infer"
    if run.groups_batching:
        if resumes:
            raise UsageError(
                "--groups_batching trains whole materials; leave out --load_dir, --load_iter and --mode infer "
                "(--groups_resume goes on with a batch)"
            )
        config = make_config(flags)
        # Its processes load PyTorch, for which the batch itself has no use.
        from batch.groups import train_groups
        from reporting.console import say
        from training.combinations import ineffective

        for line in ineffective(config):
            say("note", line)
        return train_groups(config)
    # Not at the top, since they take a second: a signal in it ends in one line, and a wrong flag at once.
    from training.checkpoint import find_checkpoint, load_checkpoint
    from training.finish import infer
    from training.header import note_ineffective
    from training.run import train

    if not resumes:
        train(make_config(flags))
        return 0
    if not run.load_dir:
        raise UsageError("--load_dir is missing; give the run folder, such as outputs/2025-01-31-12-00-00")
    path = find_checkpoint(run.load_dir, run.load_iter)
    saved = load_checkpoint(path)
    config = resume_config(saved.config, flags, path)
    if config.run.mode == "infer":
        note_ineffective(config)
        infer(config, saved, path)
    else:
        train(config, saved, path)
    return 0


def run() -> int:
    """Run `main`; memory that runs out ends it like any other `UserError`."""
    try:
        return main()
    except (MemoryError, RuntimeError) as error:
        from training.run import memory_error

        cause = memory_error(error)
        if cause:
            raise cause from error
        raise


if __name__ == "__main__":
    run_command(run)
