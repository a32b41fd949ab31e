"""A map over the beat as an animation, which needs no program but Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from mmcl.atomic import atomic_path
from mmcl.plotting.cine import draw_frame, draw_overlay
from mmcl.plotting.style import INK, new_figure, style

FRAME_DPI = 80
COLOURS = 96
"""Of the palette, so that some dozen frames stay far below 1 MiB."""


def draw_beat(
    image: np.ndarray,
    maps: np.ndarray,
    trace: np.ndarray,
    seconds: float,
    source: str,
    labels: np.ndarray | None = None,
    lead: str = "II",
) -> list[Figure]:
    """One figure for each of `maps` (times, rows, columns), which divide a window of `seconds` evenly.

    The image (rows, columns) beside itself under the map, above the `trace` (samples,) of a `lead` with the time that
    the map belongs to. All maps share one scale.
    """
    largest = float(np.abs(maps).max()) or 1.0
    time = np.linspace(0, seconds, len(trace), endpoint=False)
    figures = []
    for k, one in enumerate(maps):
        start, stop = seconds * k / len(maps), seconds * (k + 1) / len(maps)
        with style():
            figure = new_figure(4.0, source, width=5.2, note="Bar: 50 mm.")
            grid = figure.add_gridspec(2, 2, height_ratios=(2.6, 1))
            plain, mapped, below = (figure.add_subplot(part) for part in (grid[0, 0], grid[0, 1], grid[1, :]))
            draw_frame(plain, image, labels)
            draw_frame(mapped, image, labels, bar=False)
            shown = draw_overlay(mapped, one, image.shape, -largest, largest)
            figure.colorbar(ScalarMappable(shown.norm, shown.cmap), ax=mapped, label="Cosine with the ECG", shrink=0.85)
            below.axvspan(start, stop, color="#F5C9B0")
            below.plot(time, trace, color=INK, linewidth=0.9)
            below.set(xlim=(0, seconds), xlabel="Time in the window (s)", ylabel=f"Lead {lead} (SD)")
        figures.append(figure)
    return figures


def show_animation(figures: Sequence[Figure], path: Path, seconds: float) -> None:
    """Save an animation as `save_animation` does, and show it in the notebook."""
    from IPython.display import Image, display

    display(Image(filename=str(save_animation(figures, path, seconds)), alt=Path(path).name.replace("_", " ")))


def save_animation(figures: Sequence[Figure], path: Path, seconds: float) -> Path:
    """Write `figures` as the frames of the GIF `path`, `seconds` a round, over and over; the same bytes every time."""
    from PIL import Image

    frames = []
    for figure in figures:
        with style(), BytesIO() as buffer:
            figure.savefig(buffer, format="png", dpi=FRAME_DPI, metadata={"Software": None})
            frames.append(Image.open(buffer).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE))
    with atomic_path(Path(path).with_suffix(".gif")) as part:
        duration = round(1000 * seconds / len(frames))
        frames[0].save(part, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0, optimize=True)
    return Path(path).with_suffix(".gif")
