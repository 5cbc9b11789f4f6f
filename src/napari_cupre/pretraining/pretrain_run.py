"""A pretraining run from start to end, as a stream of events; it can be stopped or killed and resumed."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre import __version__
from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, Notice, RunState, Saved, StateChanged, StepDone, Validated
from napari_cupre.io.pairing import labels_notice
from napari_cupre.io.unlabelled import UnlabelledIndex
from napari_cupre.model.checkpoint import Model, ModelInfo, save_model
from napari_cupre.model.config import preset
from napari_cupre.model.device import choose_device, memory_format, training_dtype
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.runs import training_in
from napari_cupre.pretraining.amt2 import Amt2
from napari_cupre.pretraining.balance import read_weights, write_weights
from napari_cupre.pretraining.labelled_sources import collate_fields
from napari_cupre.pretraining.monitor import HeldOut, HeldOutScores
from napari_cupre.pretraining.pretrain_folder import MetricsLog, PretrainFolder
from napari_cupre.pretraining.pretrain_report import Material, report_page
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.ranks import Ranks
from napari_cupre.pretraining.start import (
    Sources,
    light_fields,
    looking_model,
    make_contrast,
    make_fields,
    make_held_out,
    make_network,
    make_sources,
    open_index,
    unmet_notice,
)
from napari_cupre.pretraining.state import Counters, load_state, save_state
from napari_cupre.pretraining.streams import batches, default_workers
from napari_cupre.pretraining.tasks import Iteration
from napari_cupre.pretraining.view_pairs import ViewPairs, collate_views

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COLUMNS = (
    "total",
    "contrast",
    "rpn_score",
    "rpn_box",
    "score",
    "box",
    "mask",
    "contrast_accuracy",
    "gradient_cosine",
    "held_out_ap",
    "held_out_ap50",
    "contrast_lr",
    "supervised_lr",
    "contrast_gradient",
    "supervised_gradient",
    "iterations_per_second",
)

GRADIENTS = ("contrast_gradient", "supervised_gradient")
"""Columns with the norm of a task's gradient; an update with a norm that is not finite is skipped."""


class PretrainRun:
    """One run of AMT2 or of one of its baselines.

    Parameters
    ----------
    settings : PretrainSettings
        The settings, which are checked here.
    out : Path
        The run's folder.
    resume : bool, optional
        Continue the run in that folder.

    Raises
    ------
    InputError
        If the settings cannot work or the folder contains another run; then nothing is written.
    """

    def __init__(self, settings: PretrainSettings, out: Path, resume: bool = False) -> None:
        settings.check()
        self.settings = settings
        self.folder = PretrainFolder(Path(out))
        self.folder.check(settings, resume)
        self.resumed = resume and self.folder.state.exists()
        self.state = RunState.IDLE
        self.counters = Counters()
        self.losses: dict[str, float] = {}
        self.was_stopped = False
        self.is_first = True
        self._stop = threading.Event()
        self._held = ExitStack()
        self._log: MetricsLog | None = None
        self._skipped: set[str] = set()
        self._unnamed: list[tuple[str, str]] = []
        self._pairs: ViewPairs | None = None
        self._held_out: HeldOut | None = None
        self._judgement: HeldOutScores | None = None
        self._left_out = 0

    def stop(self) -> None:
        """Ask the run to save and stop after this iteration; safe in signal handlers and from any thread."""
        self._stop.set()

    def events(self) -> Generator[Event, None, None]:
        """Run until the budget is used or `stop` is called.

        Yields
        ------
        Event
            States, notices, steps, validations and saved files; `Finished` comes last.
        """
        yield self._enter(RunState.PREPARING)
        try:
            yield from self._prepare()
            yield self._enter(RunState.RUNNING)
            yield from self._loop()
            yield from self._save()
        except BaseException:
            self.state = RunState.FAILED
            raise
        finally:
            self._close()
        yield self._enter(RunState.STOPPED if self.was_stopped else RunState.DONE)
        yield Finished(self._verdict(), {"step": self.counters.step, "model": str(self.folder.model)})

    def _enter(self, state: RunState) -> StateChanged:
        self.state = state
        return StateChanged(state)

    def _prepare(self) -> Iterator[Event]:
        """Make everything that the loop needs, and start the other processes of the run."""
        fabric = make_fabric(self.settings)
        fabric.launch()
        self.ranks = Ranks(fabric)
        self.is_first = self.ranks.is_first
        settings = self.settings
        sources = make_sources(settings, preset(settings.preset).diameter)
        network = make_network(settings, sources)
        network.to(fabric.device, memory_format=memory_format(fabric.device))  # type: ignore[call-overload]
        if self.is_first:
            self._held.enter_context(training_in(self.folder.path))
            self.folder.write_settings(settings)
        objective = None
        if settings.contrastive or settings.real_light:
            index = yield from self._index(network)
        if settings.real_light:
            light_fields(settings, sources, index)
        if settings.contrastive:
            weights = read_weights(self.folder.weights, index) if settings.balance else None
            self._pairs, objective, remark = make_contrast(settings, index, weights, network.backbone)
            objective.to(fabric.device)
            sources.notices += [remark] if remark else []
        if not self.resumed:
            yield from map(Notice, sources.notices)
        self._teaches_cells = sources.teach_cells
        self.learner = Amt2(network, objective, settings, self.ranks)
        if self.resumed:
            self.counters, self._judgement = load_state(self.folder.state, self.learner)
            self._skipped = self.folder.read_skipped()
        self._begin_streams(sources)

    def _index(self, network: CellRCNN) -> Generator[Event, None, UnlabelledIndex]:
        """Return the unlabelled files; the first process lists and weights them when the run starts."""
        settings, folder = self.settings, self.folder
        if self.is_first:
            if not self.resumed:
                folder.forget_images()
            index = open_index(settings, folder.index)
            if index.unmet:
                yield Notice(unmet_notice(index.unmet))
            if index.labels:
                yield Notice(labels_notice(index.labels))
            if settings.balance and not folder.weights.exists():
                looking = looking_model(settings, network)
                yield from write_weights(folder.weights, index, looking, settings.seed)
        self.ranks.fabric.barrier()
        return UnlabelledIndex(folder.index)

    def _begin_streams(self, sources: Sources) -> None:
        """Start the loader workers at the current step, and the log."""
        settings = self.settings
        self._views = self._stream(
            self._pairs, collate_views, settings.contrastive_batch, settings.contrastive_steps
        )
        fields = make_fields(settings, sources) if settings.supervised else None
        self._fields = self._stream(fields, collate_fields, settings.batch, settings.supervised_steps)
        if self.is_first:
            self._held_out = make_held_out(settings, sources)
            self._log = MetricsLog(self.folder, COLUMNS, settings.log_every, self.counters.step)

    def _stream(self, dataset: Any, collate: Any, batch: int, per_iteration: int) -> Iterator[Any]:
        if dataset is None:
            return iter(())
        workers = default_workers() if self.settings.workers is None else self.settings.workers
        return batches(
            dataset,
            collate,
            first=self.counters.step * per_iteration,
            batch=batch,
            share=self.ranks.part(batch),
            workers=workers,
        )

    def _loop(self) -> Iterator[Event]:
        counters = self.counters
        begun = time.monotonic() - counters.seconds
        saved = time.monotonic()
        while (fraction := self._used()) < 1.0:
            if self.ranks.agree(self._stop.is_set()):
                self.was_stopped = True
                return
            before = time.monotonic()
            done = self.learner.iterate(
                counters.step, fraction, self._watched(self._views), self._watched(self._fields)
            )
            counters.step += 1
            counters.seconds = self.ranks.same_number(time.monotonic() - begun)
            done.metrics["iterations_per_second"] = 1.0 / max(1e-9, time.monotonic() - before)
            yield from self._name_skipped()
            yield from self._name_left_out(done)
            yield from self._validate(done)
            yield self._step_done(done)
            if self.ranks.agree(time.monotonic() - saved > 60.0 * self.settings.checkpoint_minutes):
                yield from self._save()
                saved = time.monotonic()

    def _name_left_out(self, done: Iteration) -> Iterator[Event]:
        """Report once that an update was skipped; a single bad batch does not end a run."""
        broken = [name for name in GRADIENTS if not math.isfinite(done.metrics.get(name, 0.0))]
        if broken and not self._left_out:
            yield Notice(
                f"The gradient of iteration {self.counters.step} was not finite, so that update was "
                "skipped; if metrics.csv shows many of these, lower the learning rates."
            )
        self._left_out += len(broken)

    def _validate(self, done: Iteration) -> Iterator[Event]:
        """Measure the AP of the averaged weights on held-out fields, regularly and at the end."""
        every, step = self.settings.validate_every, self.counters.step
        if self._held_out is None or (step % every and self._used() < 1.0):
            return
        average = self.learner.average
        with average.statistics.standing_in("source"), self.ranks.fabric.autocast():
            found = self._judgement = self._held_out.judge(average.network)
        done.metrics |= {"held_out_ap": found.ap, "held_out_ap50": found.ap50}
        is_best = found.ap50 > self.counters.best_ap50
        self.counters.best_ap50 = max(found.ap50, self.counters.best_ap50)
        # Only detection is scored; the losses of one sampled training step would mean little here.
        yield Validated(step, found.ap50, found.ap, float("nan"), found.cells, is_best)

    def _used(self) -> float:
        """Return the used share of the budget, 0 to 1."""
        shares = [0.0]
        if self.settings.iterations is not None:
            shares.append(self.counters.step / max(1, self.settings.iterations))
        if self.settings.minutes is not None:
            shares.append(self.counters.seconds / (60.0 * self.settings.minutes))
        return max(shares)

    def _watched(self, stream: Iterator[Any]) -> Iterator[Any]:
        """Pass on the batches of a stream, and note files that could not be read."""
        for batch in stream:
            self._unnamed += batch.skipped
            yield batch

    def _name_skipped(self) -> Iterator[Event]:
        found, self._unnamed = self._unnamed, []
        for path, reason in found:
            if path in self._skipped:
                continue
            self._skipped.add(path)
            self.counters.skipped += 1
            with self.folder.skipped.open("a", encoding="utf-8") as stream:
                stream.write(path + "\n")
            yield Notice(f"Skipped {path}, which cannot be read ({reason}).")

    def _step_done(self, done: Iteration) -> StepDone:
        counters = self.counters
        self.losses = done.losses
        if self._log is not None:
            self._log.add(counters.step, counters.seconds, {**done.losses, **done.metrics})
        fraction = self._used()
        remaining = counters.seconds / fraction * (1.0 - fraction) if fraction else 0.0
        return StepDone(counters.step, min(1.0, fraction), max(0.0, remaining), done.losses, done.metrics)

    def _save(self) -> Iterator[Event]:
        """Write the checkpoint and the current model, each completely or not at all."""
        self.learner.statistics.average_over(self.ranks.mean)
        if self._log is not None:
            self._log.write(self.counters.step, self.counters.seconds)
        if self.ranks.is_first:
            save_state(self.folder.state, self.learner, self.counters, self._judgement)
            yield Saved(str(self.folder.state), "run", self.counters.step)
            save_model(self.finished_model(), self.folder.model)
            kind = "final" if self._used() >= 1.0 else "last"
            yield Saved(str(self.folder.model), kind, self.counters.step)
            self.folder.write_text(self.folder.report, report_page(self._material()))
        self.ranks.fabric.barrier()

    def _material(self) -> Material:
        fields = self._held_out.fields if self._judgement is not None and self._held_out is not None else []
        return Material(
            f"{self.settings.objective}, preset {self.settings.preset}: {self.counters.step} iterations in "
            f"{self.counters.seconds / 60:.1f} minutes.",
            self.settings,
            self.folder.read_metrics(),
            [self._pairs[number] for number in range(10)] if self._pairs is not None else [],
            fields,
            self._judgement.predicted if self._judgement is not None else [],
        )

    def finished_model(self) -> Model:
        """Return the averaged weights as a model with the single class "cell".

        If no source has that class, the class scores any object.
        """
        settings, counters = self.settings, self.counters
        average = self.learner.average
        with average.statistics.standing_in(settings.saved_domain):
            network = copy.deepcopy(average.network).cpu().requires_grad_(True)
        if not self._teaches_cells:
            network.score_as_any_object("cell")
        network.keep_classes(["cell"])
        training = {
            "objective": settings.objective,
            "contrast": settings.contrast if settings.contrastive else None,
            "norm": settings.norm,
            "norm_kept": settings.saved_domain,
            "source": [Path(spec.json).name for spec in settings.source],
            "synthetic": settings.synthetic,
            "unlabelled": [Path(folder).name for folder in settings.unlabelled],
            "parent": Path(settings.init).name,
            "steps": counters.step,
            "seconds": round(counters.seconds),
            "seed": settings.seed,
            "code_version": __version__,
        }
        metrics = {}
        if self._judgement is not None:
            metrics = {
                "held_out_ap50": self._judgement.ap50,
                "held_out_ap50_by_source": self._judgement.by_source,
            }
        name = self.folder.path.resolve().name
        info = ModelInfo(name=name, config=network.config, training=training, metrics=metrics)
        return Model(network, info)

    def _close(self) -> None:
        if self._log is not None:
            self._log.write(self.counters.step, self.counters.seconds)
            self._log.close()
            self._log = None
        self._views = self._fields = iter(())
        self._held.close()

    def figures(self) -> dict[str, Any]:
        """Return the results of the run, for the JSON line."""
        return {
            "out": str(self.folder.path),
            "model": str(self.folder.model),
            "iterations": self.counters.step,
            "seconds": self.counters.seconds,
            "skipped": self.counters.skipped,
            "stopped": self.was_stopped,
            "losses": self.losses,
        }

    def _verdict(self) -> str:
        how = "Stopped" if self.was_stopped else "Finished"
        skipped = f"; {self.counters.skipped} files could not be read" if self.counters.skipped else ""
        return (
            f"{how} after {self.counters.step} iterations and {self.counters.seconds / 60:.1f} minutes; "
            f"the model is {self.folder.model}{skipped}."
        )


def make_fabric(settings: PretrainSettings) -> Fabric:
    """Make a Lightning Fabric for the settings' device, precision, processes and nodes.

    Raises
    ------
    InputError, EnvironmentFault
        If the device does not exist.
    """
    from lightning_fabric import Fabric

    device = choose_device(settings.device)
    precision = settings.precision
    if precision == "auto":
        precision = "32-true" if training_dtype(device) is None else "bf16-mixed"
    several = settings.devices * settings.nodes > 1
    try:
        return Fabric(
            accelerator=device.type,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy="ddp" if several else "auto",
            precision=precision,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{settings.devices} devices on {settings.nodes} nodes cannot be used: {error}"
        ) from error
