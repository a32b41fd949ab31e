"""A map over the beat as an animation, which needs no program but Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from mmcl.atomic import atomic_path
from mmcl.interpretation.study import Beat
from mmcl.plotting.cine import SCAR, contour_handles, draw_frame, draw_overlay
from mmcl.plotting.electrocardiogram import RHYTHM
from mmcl.plotting.style import INK, new_figure, style

FRAME_DPI = 80
COLOURS = 96
"""Of the palette, so that some dozen frames stay far below 1 MiB."""

STILL = "The image is at end-diastole throughout. Bar: 50 mm."
"""Of every note: the maps move, the image does not."""


def draw_beat(beat: Beat, source: str, note: str = "") -> list[Figure]:
    """One figure for each map of `beat`, all on one scale: the image, the image under the map, and below them lead II
    with the time that the map belongs to."""
    figures = []
    for k in range(len(beat.maps)):
        with style():
            figure = new_figure(4.2, source, width=5.2, note=f"{note} {STILL}")
            grid = figure.add_gridspec(2, 2, height_ratios=(2.6, 1))
            plain, mapped, below = (figure.add_subplot(part) for part in (grid[0, 0], grid[0, 1], grid[1, :]))
            draw_frame(plain, beat.image, beat.labels)
            _draw_map(figure, [mapped], beat, [k])
            _draw_trace(below, beat, [k])
        figures.append(figure)
    return figures


def draw_stills(beat: Beat, source: str, note: str = "", count: int = 6) -> Figure:
    """A strip of `count` maps of `beat`, evenly over its window, and below them lead II with their times."""
    chosen = np.linspace(0, len(beat.maps) - 1, count).round().astype(int)
    with style():
        figure = new_figure(3.6, source, note=f"{note} {STILL}")
        grid = figure.add_gridspec(2, count, height_ratios=(1.2, 1))
        above = [figure.add_subplot(grid[0, k]) for k in range(count)]
        _draw_map(figure, above, beat, chosen)
        for axes, (start, _) in zip(above, _times(beat, chosen), strict=True):
            axes.set_title(f"{start:.1f} s", fontsize=9)
        _draw_trace(figure.add_subplot(grid[1, :]), beat, chosen)
        if beat.labels is not None:
            handles = contour_handles(SCAR in beat.labels)
            figure.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=1.2)
    return figure


def _times(beat: Beat, chosen: Sequence[int]) -> list[tuple[float, float]]:
    """Start and end of each of the `chosen` maps, s."""
    return [(beat.seconds * k / len(beat.maps), beat.seconds * (k + 1) / len(beat.maps)) for k in chosen]


def _draw_map(figure: Figure, panels: Sequence[Axes], beat: Beat, chosen: Sequence[int]) -> None:
    """The `chosen` maps over the image, with the scale of all."""
    largest = float(np.abs(beat.maps).max()) or 1.0
    for axes, k in zip(panels, chosen, strict=True):
        draw_frame(axes, beat.image, beat.labels, bar=k == chosen[0])
        shown = draw_overlay(axes, beat.maps[k], beat.image.shape, -largest, largest)
    scale = ScalarMappable(shown.norm, shown.cmap)
    figure.colorbar(scale, ax=list(panels), label="Cosine with the ECG", shrink=0.85)


def _draw_trace(axes: Axes, beat: Beat, chosen: Sequence[int]) -> None:
    """Lead II, the times of the `chosen` maps marked."""
    for start, stop in _times(beat, chosen):
        axes.axvspan(start, stop, color="#F5C9B0")
    axes.plot(np.linspace(0, beat.seconds, len(beat.trace), endpoint=False), beat.trace, color=INK, linewidth=0.9)
    axes.set(xlim=(0, beat.seconds), xlabel="Time in the window (s)", ylabel=f"Lead {RHYTHM} (SD)")


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
