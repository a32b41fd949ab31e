"""A map over the beat as an animation, which needs no program but Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from mmcl.atomic import atomic_path
from mmcl.interpretation.study import Beat
from mmcl.plotting.cine import draw_frame, draw_maps, draw_overlay
from mmcl.plotting.style import INK, new_figure, style

FRAME_DPI = 80
COLOURS = 96
"""Of the palette, so that some dozen frames stay far below 1 MiB."""


def draw_beat(beat: Beat, source: str) -> list[Figure]:
    """One figure for each map of `beat`, all on one scale: the image, the image under the map, and below them lead II
    with the time that the map belongs to."""
    largest = float(np.abs(beat.maps).max()) or 1.0
    time = np.linspace(0, beat.seconds, len(beat.trace), endpoint=False)
    figures = []
    for k, one in enumerate(beat.maps):
        start, stop = (beat.seconds * place / len(beat.maps) for place in (k, k + 1))
        with style():
            figure = new_figure(4.0, source, width=5.2, note="Bar: 50 mm.")
            grid = figure.add_gridspec(2, 2, height_ratios=(2.6, 1))
            plain, mapped, below = (figure.add_subplot(part) for part in (grid[0, 0], grid[0, 1], grid[1, :]))
            draw_frame(plain, beat.image, beat.labels)
            draw_frame(mapped, beat.image, beat.labels, bar=False)
            shown = draw_overlay(mapped, one, beat.image.shape, -largest, largest)
            figure.colorbar(ScalarMappable(shown.norm, shown.cmap), ax=mapped, label="Cosine with the ECG", shrink=0.85)
            below.axvspan(start, stop, color="#F5C9B0")
            below.plot(time, beat.trace, color=INK, linewidth=0.9)
            below.set(xlim=(0, beat.seconds), xlabel="Time in the window (s)", ylabel="Lead II (SD)")
        figures.append(figure)
    return figures


def draw_stills(beat: Beat, source: str, count: int = 6) -> Figure:
    """A strip of `count` maps of `beat`, evenly over its window."""
    chosen = np.linspace(0, len(beat.maps) - 1, count).round().astype(int)
    titles = [f"{beat.seconds * k / len(beat.maps):.1f} s" for k in chosen]
    labels = None if beat.labels is None else [beat.labels] * count
    return draw_maps([beat.image] * count, beat.maps[chosen], titles, "Cosine with the ECG", source, labels)


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
