"""`python -m mmcl.simulation.layouts LAYOUT FOLDER`: a small simulated cohort, written as a user of LAYOUT has it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from mmcl.config import CohortConfig
from mmcl.simulation.export import export_raw
from mmcl.simulation.layouts import LAYOUTS, export_layout


def main(arguments: list[str] | None = None) -> None:
    """Parse `arguments`, those of the command line by default, and write the folder."""
    known = "; ".join(f"{name}, {layout.what}" for name, layout in LAYOUTS.items())
    parser = argparse.ArgumentParser("python -m mmcl.simulation.layouts", description=known)
    parser.add_argument("layout", choices=list(LAYOUTS))
    parser.add_argument("folder", type=Path, help="new or empty")
    parser.add_argument("--subjects", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--matrix", type=int, default=88, help="pixels a side")
    parser.add_argument("--oddities", action="store_true", help="give subjects each known oddity in turn")
    given = parser.parse_args(arguments)
    oddities = ("", *LAYOUTS[given.layout].oddities) if given.oddities else ()
    sizes = {"slices": given.slices, "frames": given.frames, "matrix": given.matrix}
    with tempfile.TemporaryDirectory() as raw:
        cohort = CohortConfig(given.subjects, 0, 0, **sizes)
        try:
            folder = export_layout(
                given.layout, export_raw(given.seed, cohort, Path(raw) / "raw"), given.folder, oddities
            )
        except ValueError as error:
            parser.error(str(error))
    print(f"{folder}: {given.subjects} subjects as {given.layout}")


if __name__ == "__main__":
    main()
