"""Short-axis CMR: end-diastole and end-systole with contours, beside a real volume, and maps laid over the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.ndimage import zoom

from mmcl.plotting.style import WIDTH, new_figure, style


@dataclass(frozen=True)
class Contour:
    """How one structure is drawn: the label values it encloses, its name and colour."""

    labels: tuple[int, ...]
    name: str
    colour: str


CONTOURS = (
    Contour((1,), "RV cavity", "#56B4E9"),
    Contour((2, 3, 4), "LV epicardium", "#2FD19B"),
    Contour((3,), "LV endocardium", "#FF7F2A"),
)
SCAR, SCAR_COLOUR = 4, "#FFE34D"


@dataclass(frozen=True)
class SliceStack:
    """Short-axis slices at two moments: `end_diastole`, `end_systole` (slices, rows, columns), base to apex, any range;
    `spacing` mm a pixel, `title` of the row they are drawn in.
    """

    title: str
    end_diastole: np.ndarray
    end_systole: np.ndarray
    spacing: float


def draw_frames(
    titles: Sequence[str],
    end_diastole: Sequence[np.ndarray],
    end_systole: Sequence[np.ndarray],
    source: str,
    end_diastole_labels: Sequence[np.ndarray] | None = None,
    end_systole_labels: Sequence[np.ndarray] | None = None,
    spacing: float = 1.8,
) -> Figure:
    """ED above ES of several hearts or slices, one a column.

    Images are (rows, columns), any range; labels the same shape, 0 background, 1 RV, 2 myocardium, 3 LV cavity, 4 scar.
    `spacing` is mm a pixel.
    """
    columns = len(titles)
    cell = min(1.9, WIDTH / columns)
    with style():
        figure = new_figure(2 * cell + 0.85, source, width=max(cell * columns + 0.35, 4.5), note="Bar: 50 mm.")
        panels = figure.subplots(2, columns, squeeze=False)
        frames = (("ED", end_diastole, end_diastole_labels), ("ES", end_systole, end_systole_labels))
        for row, (phase, images, labels) in enumerate(frames):
            for column, title in enumerate(titles):
                axes = panels[row, column]
                draw_frame(axes, images[column], None if labels is None else labels[column], spacing, phase)
                if row == 0:
                    axes.set_title(title, fontsize=9)
        if end_diastole_labels is not None or end_systole_labels is not None:
            given = [m for labels in (end_diastole_labels, end_systole_labels) if labels is not None for m in labels]
            scarred = any((np.asarray(m) == SCAR).any() for m in given)
            figure.legend(handles=contour_handles(scarred), loc="outside upper center", ncols=4, handlelength=1.2)
    return figure


def draw_frame(
    axes: Axes,
    image: np.ndarray,
    labels: np.ndarray | None = None,
    spacing: float = 1.8,
    caption: str = "",
    bar: bool = True,
) -> None:
    """One frame (rows, columns) in grey with contours of `labels`, a bar of 50 mm and a `caption` in its corner."""
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 2:
        raise ValueError(f"image has shape {image.shape}; expected (rows, columns)")
    axes.imshow(image, cmap="gray", vmin=image.min(), vmax=np.quantile(image, 0.998), interpolation="bilinear")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != image.shape:
            raise ValueError(f"labels have shape {labels.shape}, the image {image.shape}; expected the same")
        if (labels == SCAR).any():
            scar = np.where(labels == SCAR, 1.0, np.nan)
            axes.contourf(np.nan_to_num(scar), levels=[0.5, 1.5], colors=[SCAR_COLOUR], alpha=0.6)
        for contour in CONTOURS:
            inside = np.isin(labels, contour.labels)
            if inside.any():
                axes.contour(inside.astype(float), levels=[0.5], colors=[contour.colour], linewidths=1.1)
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    if caption:
        outline = [withStroke(linewidth=2, foreground="black")]
        corner = {"transform": axes.transAxes, "va": "top", "path_effects": outline}
        axes.text(0.03, 0.97, caption, color="white", weight="bold", size=9, **corner)
    if bar:
        length = 50 / spacing / image.shape[1]
        axes.plot([0.96 - length, 0.96], [0.045, 0.045], transform=axes.transAxes, color="white", linewidth=2)


def contour_handles(scarred: bool) -> list:
    """Legend entries of the contours, and of scar where there is any."""
    handles: list = [Line2D([], [], color=c.colour, linewidth=1.6, label=c.name) for c in CONTOURS]
    return handles + [Patch(color=SCAR_COLOUR, alpha=0.7, label="Scar")] * scarred


def draw_maps(
    images: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    titles: Sequence[str],
    label: str,
    source: str,
    labels: Sequence[np.ndarray] | None = None,
    spacing: float = 1.8,
    diverging: bool = True,
    note: str = "",
) -> Figure:
    """Each image (rows, columns) beside itself under its map, which may be coarser and covers the same field of view.

    `label` names the map and its unit on the colour bar. `diverging` maps share a scale symmetric about zero, others
    one from the smallest to the largest value.
    """
    values = np.concatenate([np.asarray(m, dtype=np.float64).ravel() for m in maps])
    largest = float(np.nanmax(np.abs(values))) or 1.0
    low, high = (-largest, largest) if diverging else (float(np.nanmin(values)), float(np.nanmax(values)))
    columns = len(images)
    cell = min(1.9, (WIDTH - 0.8) / columns)
    with style():
        note = " ".join(filter(None, (note, "Bar: 50 mm.")))
        figure = new_figure(2 * cell + 0.8, source, width=max(cell * columns + 1.1, 4.5), note=note)
        panels = figure.subplots(2, columns, squeeze=False)
        for column, (image, overlay, title) in enumerate(zip(images, maps, titles, strict=True)):
            contours = None if labels is None else labels[column]
            draw_frame(panels[0, column], image, contours, spacing)
            draw_frame(panels[1, column], image, contours, spacing, bar=False)
            panels[0, column].set_title(title, fontsize=9)
            shown = draw_overlay(panels[1, column], overlay, np.shape(image), low, high, diverging)
        if labels is not None:
            handles = contour_handles(any((np.asarray(m) == SCAR).any() for m in labels))
            figure.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=1.2)
        scale = ScalarMappable(shown.norm, shown.cmap)
        figure.colorbar(scale, ax=panels.ravel().tolist(), label=label, shrink=0.5, anchor=(0, 0), pad=0.02)
    return figure


def draw_overlay(
    axes: Axes, overlay: np.ndarray, shape: tuple[int, int], low: float, high: float, diverging: bool = True
) -> AxesImage:
    """A map (rows, columns) over an image of `shape`, from `low` to `high`; values near the middle of a `diverging`
    scale, or near its lower end, let the anatomy through."""
    overlay = _enlarged(np.asarray(overlay, dtype=np.float64), shape)
    strength = np.abs(overlay) / high if diverging else (overlay - low) / max(high - low, 1e-12)
    colours, alpha = "RdBu_r" if diverging else "inferno", 0.1 + 0.7 * np.clip(strength, 0, 1)
    shown = axes.imshow(overlay, cmap=colours, vmin=low, vmax=high, alpha=alpha, gid="map")
    shown.set_interpolation("nearest")
    return shown


def read_real_stack(folder: str | Path, title: str = "real (ACDC)") -> SliceStack:
    """The volumes `acdc_sax_ed.nii.gz` and `acdc_sax_es.nii.gz` of `folder`; FileNotFoundError names one that misses.

    They may not be passed on, so that they stay outside the repository, and so do figures of them.
    """
    import nibabel

    frames = []
    for moment in ("ed", "es"):
        path = Path(folder) / f"acdc_sax_{moment}.nii.gz"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected a short-axis volume")
        volume = nibabel.load(path)
        frames.append(np.asarray(volume.dataobj, dtype=np.float64).transpose(2, 1, 0))
    return SliceStack(title, *frames, spacing=float(volume.header.get_zooms()[0]))


def draw_beside(
    stacks: Sequence[SliceStack], slices: Sequence[int], source: str, field: float = 158.0, spacing: float = 1.8
) -> Figure:
    """Stacks in rows, ED and ES of the chosen `slices` in columns, all at the same scale and the same grey levels.

    Each image is cut to the middle `field` mm and brought to `spacing` mm, so that sharpness can be compared.
    ValueError when a stack does not have the slices or covers less than the field.
    """
    side = round(field / spacing)
    columns = [(k, moment) for k in slices for moment in ("ED", "ES")]
    cell = min(1.9, 11 / len(columns))
    with style():
        note = f"Resampled to {spacing:g} mm, {field:g} mm wide. Bar: 50 mm."
        figure = new_figure(cell * len(stacks) + 0.8, source, width=cell * len(columns) + 0.5, note=note)
        panels = figure.subplots(len(stacks), len(columns), squeeze=False)
        for row, stack in zip(panels, stacks, strict=True):
            for axes, (k, moment) in zip(row, columns, strict=True):
                volume = np.asarray(stack.end_diastole if moment == "ED" else stack.end_systole, dtype=np.float64)
                if not 0 <= k < len(volume) or min(volume.shape[1:]) * stack.spacing < field - spacing:
                    raise ValueError(
                        f"{stack.title}: {volume.shape} at {stack.spacing:g} mm; expected slice {k} and {field:g} mm"
                    )
                axes.imshow(
                    _middle(volume[k], stack.spacing / spacing, side),
                    cmap="gray",
                    vmin=0,
                    vmax=np.quantile(volume, 0.995),
                    interpolation="bilinear",
                )
                axes.set(xticks=[], yticks=[])
                length = 50 / field
                axes.plot([0.96 - length, 0.96], [0.045, 0.045], transform=axes.transAxes, color="white", linewidth=1.5)
            row[0].set_ylabel(stack.title, fontsize=9)
        for axes, (k, moment) in zip(panels[0], columns, strict=True):
            axes.set_title(f"slice {k + 1}, {moment}", fontsize=9)
    return figure


def _middle(image: np.ndarray, factor: float, side: int) -> np.ndarray:
    """The middle `side` x `side` pixels of `image` (rows, columns) brought to a grid finer by `factor`."""
    image = zoom(image, factor, order=1, mode="nearest", grid_mode=True)
    first = [max((length - side) // 2, 0) for length in image.shape]
    return image[first[0] : first[0] + side, first[1] : first[1] + side]


def _enlarged(overlay: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A coarse map, bilinearly at the image's resolution; cells keep their centres."""
    factors = (shape[0] / overlay.shape[0], shape[1] / overlay.shape[1])
    return zoom(overlay, factors, order=1, mode="nearest", grid_mode=True)
