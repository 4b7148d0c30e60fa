"""Report on one trained run beside conventional codecs: `python compare.py --data_dir MATERIAL --load_dir RUN`."""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from baselines.cache import ResultCache
from baselines.codecs import choose_codecs
from baselines.results import measure_baselines, measure_export
from baselines.summary import CHART_CAPTION, crop_label, map_table, rate_distortion_chart, shown_beside, summary_table
from dataset import load_texture_set
from formats.manifest import find_export, image_settings
from formats.reader import NeuralTextureReader
from reporting.console import say
from reporting.decoding import decode_and_measure
from reporting.quality import deep_figures, error_figures, similarity_figures
from reporting.rendered import render_beside
from reporting.report import Picture, Section, write_report
from reporting.sections import RunRecord, run_sections
from reporting.summary import view_command
from utils.arguments import OneLineParser
from utils.errors import UsageError, run_command
from utils.files import require_writable_folder


def _parse(argv: Sequence[str] | None) -> Namespace:
    parser = OneLineParser(prog="compare.py", description=__doc__.partition(":")[0])
    parser.add_argument("--data_dir", required=True, metavar="MATERIAL", help="the images the run was trained on")
    parser.add_argument("--load_dir", required=True, metavar="RUN", help="a run folder, or an exported folder")
    parser.add_argument(
        "--load_iter", type=int, default=-1, metavar="N", help="the iteration; -1, the default: the newest"
    )
    parser.add_argument("--out", metavar="FILE.html", help="the report (default RUN/compare.html)")
    parser.add_argument(
        "--codecs",
        nargs="*",
        default=["bc7", "bc7+bc5", "astc"],
        metavar="CODEC",
        help="baselines to show (default bc7 bc7+bc5 astc); none given: the run alone",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure a run and the baselines and write the report."""
    options = _parse(argv)
    run_dir = Path(options.load_dir)
    if not run_dir.is_dir():
        raise UsageError(f"load_dir {run_dir} is no folder; give a run folder such as outputs/2025-01-31-12-00-00")
    choose_codecs(options.codecs)
    out = Path(options.out) if options.out else run_dir / "compare.html"
    export = find_export(run_dir, options.load_iter)
    require_writable_folder(out.parent)
    reader = NeuralTextureReader(export)
    textures = load_texture_set(options.data_dir, images=image_settings(reader.manifest, options.data_dir))
    for notice in textures.notices:
        say("note", notice)

    run, time_s = RunRecord(), None
    if (export / "model.pth").is_file():
        # An exported folder has no checkpoint, and PyTorch takes seconds to import.
        from training.checkpoint import load_checkpoint
        from training.resume import other_images_note

        checkpoint = load_checkpoint(export / "model.pth")
        other_images = other_images_note(checkpoint, textures, export / "model.pth")
        if other_images:
            say("note", other_images)
        run.config, run.lineage, run.history = checkpoint.config, checkpoint.lineage, checkpoint.history
        time_s = checkpoint.training_time_s
        run.times = {"training": time_s}
    decoded, deep_errors = decode_and_measure(reader, textures)
    ours = measure_export(textures, reader, decoded[0], time_s=time_s)
    references = {mip: textures.mips[mip] for mip in decoded}
    with tempfile.TemporaryDirectory() as folder:
        cache = ResultCache(Path(folder))
        records = [ours, *measure_baselines(textures, options.codecs, cache)]
        others = {crop_label(record): cache.decoded(record) for record in shown_beside(records, ours)}
    manifest = {
        **reader.manifest,
        "psnr_used": {},
        **error_figures(references, decoded, textures.present, textures.mask_for(reader.manifest["wrap"])),
        **deep_figures(deep_errors),
        **similarity_figures(references, decoded, textures.present),
    }
    shown = {crop_label(ours): decoded[0], **others}
    rendered = render_beside(textures.mips[0], shown, textures.shading_maps, textures.normal_convention)
    sections = run_sections(
        manifest,
        references,
        decoded,
        run,
        others=others,
        label=crop_label(ours),
        rendered=rendered,
        viewer=view_command(run_dir),
    )
    if len(records) > 1:
        comparison = Section(
            "Beside conventional codecs, finest mip",
            [Picture(rate_distortion_chart(records), CHART_CAPTION), summary_table(records), map_table(records)],
        )
        sections.insert(1, comparison)
    write_report(out, f"{textures.name}: {run_dir.resolve().name}", sections)
    say("report", out)
    return 0


if __name__ == "__main__":
    run_command(main)
