"""Runs a results table. `python -m tf_advseg.reproduce --help` lists the flags."""

import shlex
import sys

from tf_advseg import cli
from tf_advseg.reproduce import settings

# What imports NumPy or TensorFlow is imported after help and wrong flags were told.


def main() -> None:
    own, arguments = settings.parse()
    from tf_advseg.reproduce import grid

    planned = grid.make_grid(own, arguments)
    if own.dry_run:
        from tf_advseg.reproduce import timing

        print(timing.estimate(planned))
        return
    from tf_advseg.reproduce import all_runs, write

    command = shlex.join(["python", "-m", "tf_advseg.reproduce", *sys.argv[1:]])
    table = all_runs.run_all(planned, command)
    print(write.markdown(table, command))
    print(f"table, numbers and plot in {planned.output_dir}")


if __name__ == "__main__":
    cli.run(main, stopped="stopped; the same command goes on")
