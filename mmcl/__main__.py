"""Command line: `python -m mmcl <command> --help`. The same functions as in the notebooks, for a shell or a cluster.

`pretrain` may run under torchrun or SLURM; the notebooks then find the finished weights.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run one command; a ValueError becomes a one-line message and exit status 2."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"mmcl: {error}")
    except KeyboardInterrupt:
        print("mmcl: interrupted; the same command goes on from what is finished", file=sys.stderr)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmcl", description="Commands of the mmcl compendium.")
    commands = parser.add_subparsers(required=True, metavar="command")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--profile", default="demo", help="smoke, demo or paper (default: demo)")
    common.add_argument("--cohort", default="simulated", help="name of a manifest (default: simulated)")
    common.add_argument("--seed", type=int, default=0)
    common.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    common.add_argument(
        "--preset",
        default="corrected",
        help="corrected, paper, or one of them with choices changed, as paper+tile_crops (default: corrected)",
    )

    fetch = commands.add_parser("fetch", help="download an open cohort; goes on where it was interrupted")
    fetch.add_argument("cohort", help="name of a manifest")
    fetch.add_argument("folder", type=Path, help="where the raw files go")
    fetch.set_defaults(command=_fetch)

    preprocess = commands.add_parser("preprocess", parents=[common], help="raw files to a store, or go on with it")
    preprocess.add_argument("--raw", default="", help="folder of raw files (default: that of the last time)")
    preprocess.add_argument("--workers", type=int, default=0, help="processes (default: one a processor)")
    preprocess.add_argument("--dask", default="", help="address of a Dask scheduler, in place of processes here")
    preprocess.add_argument("--strict", action="store_true", help="fail if anything cannot be used")
    preprocess.add_argument("--splits", type=Path, help="a store whose subjects keep their splits (default: this one)")
    preprocess.set_defaults(command=_preprocess)

    identify = commands.add_parser("identify", help="who has a pseudonym of a restricted cohort, for who has its key")
    identify.add_argument("cohort", help="name of a manifest")
    identify.add_argument("raw", type=Path, help="folder of raw files")
    identify.add_argument("names", nargs="+", metavar="pseudonym")
    identify.set_defaults(command=_identify)

    pretrain = commands.add_parser("pretrain", parents=[common], help="pre-train an arm, or resume it")
    pretrain.add_argument(
        "arm",
        help="mdm, mmcl, mdm+mmcl, joint, simclr, byol, barlow_twins, clocs, cmr_simclr, or any other in"
        " mmcl/training/experiments.yaml",
    )
    pretrain.set_defaults(command=_pretrain)

    finetune = commands.add_parser("finetune", parents=[common], help="train arms on both tasks, few and all labels")
    finetune.add_argument("arms", nargs="+", help="scratch, cmr, or any arm of pretrain")
    finetune.add_argument(
        "--task", action="append", help="risk, phenotypes, or one of the cohort's own (default: those that have labels)"
    )
    finetune.set_defaults(command=_finetune)

    probe = commands.add_parser("probe", parents=[common], help="probe frozen encoders on both tasks")
    probe.add_argument("arms", nargs="+", help="random, cmr, or any arm of pretrain")
    probe.add_argument(
        "--task", action="append", help="risk, phenotypes, or one of the cohort's own (default: those that have labels)"
    )
    probe.add_argument("--mode", action="append", help="probe (linear) or knn (nearest neighbours) (default: both)")
    probe.set_defaults(command=_probe)

    experiments = commands.add_parser("experiments", parents=[common], help="the grid of arms, tasks, labels and seeds")
    experiments.add_argument("what", choices=("list", "run", "status"), help="name the cells, make them, count them")
    experiments.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="FIELD=PATTERN,...",
        help="cells that fit: arm=mdm*,task=risk; fields are arm, mode, task, labels, seed; several add up",
    )
    experiments.add_argument("--part", default="1/1", help="of the cells, such as 3/8: the third of eight parts")
    experiments.add_argument("--workers", type=int, default=1, help="processes that share them (default: 1)")
    experiments.set_defaults(command=_experiments, task=None)

    embed = commands.add_parser("embed", parents=[common], help="embed every WFDB record in a folder")
    embed.add_argument("folder", type=Path)
    embed.add_argument("--output", type=Path, help="CSV file (default: embeddings.csv in the run's folder)")
    embed.set_defaults(command=_embed)
    return parser


def _setting(options: argparse.Namespace):
    from mmcl.setting import open_setting

    return open_setting(options.profile, options.cohort, options.seed, options.device, options.preset)


def _fetch(options: argparse.Namespace) -> None:
    from mmcl.data.fetch import fetch
    from mmcl.data.manifest import cohort_manifest

    files = fetch(cohort_manifest(options.cohort), options.folder)
    print(f"{len(files)} files of {options.cohort} in {options.folder}")


def _preprocess(options: argparse.Namespace) -> None:
    from mmcl.data.quality import quality_table
    from mmcl.data.request import request_store

    setting = _setting(options)
    how = {"dask": options.dask, "strict": options.strict, "splits": options.splits}
    store = request_store(setting, options.raw, options.workers or setting.workers, **how)
    for what, reason, count, meaning, _ in quality_table(store).itertuples(index=False):
        print(f"{what:12}{count:8}  {reason}{': ' if meaning else ''}{meaning}")
    counts = store.meta["counts"]
    print(f"{'withdrawn':12}{counts.get('withdrawn', 0):8}  subjects of the cohort who are on its list of withdrawals")
    print(f"{counts['summary']}; {counts['as_they_came']} as they came, {counts['repaired']} repaired: {store.folder}")


def _identify(options: argparse.Namespace) -> None:
    from mmcl.data.cohort import list_cohort
    from mmcl.data.manifest import cohort_manifest

    names = list_cohort(cohort_manifest(options.cohort), options.raw).names
    for name in options.names:
        if name not in names:
            raise ValueError(f"{name}: nobody in {options.raw} has this pseudonym under the key at hand")
        print(f"{name}\t{names.identifier(name)}")


def _tasks(options: argparse.Namespace, setting) -> list[str]:
    """The tasks asked for, else risk or the cohort's own, and phenotypes, of which the store has labels."""
    from mmcl.data.store import Store
    from mmcl.training.tasks import task_targets

    if options.task:
        return options.task
    store = Store.open(setting.run.store)
    own = store.meta["provenance"].get("tasks", {})
    train = store.subjects.iloc[store.indices("train")]
    known = [
        name
        for name, targets in task_targets(store).items()
        if name in (*(own if "risk" not in own else ("risk",)), "phenotypes")
        and train.reindex(columns=list(targets)).notna().any(axis=None)
    ]
    if not known:
        raise ValueError(f"{store.folder}: no labels of any task; see labels and tables.phenotypes in the manifest")
    return known


def _pretrain(options: argparse.Namespace) -> None:
    import torch.distributed

    from mmcl.training.features import stored_features
    from mmcl.training.pretraining import pretrain, summary

    setting = _setting(options)
    folder = pretrain(options.arm, setting)
    if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
        return
    for name, value in summary(folder).items():
        print(f"{name}: {value}")
    subjects, width = stored_features(options.arm, setting).shape
    print(f"features: {subjects} subjects, width {width}")


def _finetune(options: argparse.Namespace) -> None:
    from mmcl.training.finetuning import finetune_seeds

    setting = _setting(options)
    downstream = setting.profile.downstream
    for arm in options.arms:
        for task in _tasks(options, setting):
            for few in (*downstream.few_labels, None):
                for outcome in finetune_seeds(arm, task, few, downstream.seeds, setting).values():
                    print(f"{task}: {outcome.stem}")


def _probe(options: argparse.Namespace) -> None:
    from mmcl.training.probing import PROBES, probe

    setting = _setting(options)
    for arm in options.arms:
        for task in _tasks(options, setting):
            for few in (*setting.profile.downstream.few_labels, None):
                for mode in options.mode or PROBES:
                    print(f"{task}: {probe(arm, task, few, setting, mode).stem}")


def _experiments(options: argparse.Namespace) -> None:
    from mmcl.provenance import write_json
    from mmcl.training.cells import FAILED, cells, error, how_made, state
    from mmcl.training.runner import part_of, progress, read_part, run, run_parts, select

    setting = _setting(options)
    every = cells(setting, _tasks(options, setting))
    number, count = read_part(options.part)
    chosen = part_of(select(every, options.only), number, count)
    if options.what == "list":
        print("\n".join(cell.name for cell in chosen))
    elif options.what == "status":
        states = {cell: state(cell, setting) for cell in chosen}
        print(progress(states).to_string())
        for cell in chosen:
            if states[cell] == FAILED:
                print(f"{cell.name}: {error(cell, setting)}")
    else:
        if options.workers > 1:
            passed = [
                f"--{name}={getattr(options, name)}" for name in ("profile", "cohort", "seed", "device", "preset")
            ]
            passed += [f"--only={text}" for text in options.only]
            whole = run_parts(options.workers, number, count, passed)
        else:
            whole = not run(chosen, setting)
        write_json(setting.run.results("experiments"), how_made(every, setting))
        if not whole:
            sys.exit("mmcl: some cells failed; see `python -m mmcl experiments status`")


def _embed(options: argparse.Namespace) -> None:
    from mmcl.embedding import embed_folder

    setting = _setting(options)
    output = options.output or setting.run.folder / "embeddings.csv"
    counts = embed_folder(options.folder, output, setting)
    print(f"{counts['used']} of {counts['found']} records embedded: {output}")


if __name__ == "__main__":
    main()
