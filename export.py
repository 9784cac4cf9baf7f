"""Exports a run as a SavedModel for serving. `python export.py --help` lists the flags."""

from pathlib import Path

from tf_advseg import cli, config
from tf_advseg.evaluation import results


def main() -> None:
    settings = config.export_config()

    # Late: TensorFlow takes seconds, wrong flags should not.
    from tf_advseg.saved_run import load_run
    from tf_advseg.serving import exporter

    run_dir = Path(settings.run_dir)
    checkpoint = settings.checkpoint or config.stored_config(run_dir).eval_checkpoint
    run = load_run(run_dir, checkpoint)
    version = exporter.export(
        run, Path(settings.output), settings.max_pixels, lambda line: print(line, flush=True)
    )
    print(f"exported step {run.step} of {settings.run_dir} to {version}; equal to its checkpoint")
    results.warn_unfinished(run_dir, run.config.steps)


if __name__ == "__main__":
    cli.run(main)
