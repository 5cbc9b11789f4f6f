"""The few-shot trainer: one run, from annotated images to a model that is no worse than its start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_cupre import __version__
from napari_cupre.data.annotation import check_shots
from napari_cupre.data.shot import Shot
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import (
    Event,
    Finished,
    Notice,
    RunState,
    Saved,
    StateChanged,
    StepDone,
    Validated,
)
from napari_cupre.finetuning.finetune_folder import RunFolder, annotation_of, difference
from napari_cupre.finetuning.finetune_optimiser import FAMILIAR, make_optimiser, set_rates
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.finetuning.judge import (
    Judgement,
    decision,
    figures,
    hold_batchnorm,
    in_words,
    is_as_good,
    to_batch,
)
from napari_cupre.finetuning.mixing import best_share, down_to_chance, mixed, usual_share, words_of_mix
from napari_cupre.finetuning.preview import preview
from napari_cupre.finetuning.scaling import model_diameter
from napari_cupre.finetuning.shrinking import smaller
from napari_cupre.finetuning.teaching import Teaching, learned_from
from napari_cupre.model.average import WeightAverage
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.device import autocast, choose_device, memory_format, training_dtype
from napari_cupre.model.hardware import is_out_of_memory
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.runs import nothing_learned, training_in
from napari_cupre.model.targets import target_from_labels

CLIP = 5.0  # norm of the gradient
JUDGE_EVERY = 0.1  # of the budget
JUDGE_SHARE = 0.1  # of the time at most goes into judging
SAVE_EVERY = 30.0  # seconds


class FinetuneRun:
    """One training; `events` runs it and reports what happens.

    Parameters
    ----------
    start : Model
        The model to start from; it is not changed.
    shots : list of Shot
        Annotated images at their own scale.
    settings : FinetuneSettings, optional
        Budget and the like.
    out : Path, optional
        File of the finished model; its run folder `<stem>.run` holds the training set and, while training,
        everything that `resume` needs. None keeps the run in memory.
    start_path : Path, optional
        File of the starting model, if it has one.
    clock : callable, optional
        Clock for the minutes, in seconds; `time.process_time` ignores the load of other programs.
    start_name : str, optional
        Name or path by which `resume` finds the starting model.

    Raises
    ------
    InputError
        If nothing is annotated, or `out` would overwrite the starting model.
    """

    def __init__(
        self,
        start: Model,
        shots: list[Shot],
        settings: FinetuneSettings | None = None,
        out: Path | None = None,
        start_path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        start_name: str | None = None,
    ) -> None:
        check_shots(shots)
        if out is not None and start_path is not None and out.resolve() == start_path.resolve():
            raise InputError(
                f"The new model would overwrite the one it starts from, {out}: choose another name."
            )
        self.settings = settings or FinetuneSettings()
        self.start, self.shots, self.out, self.clock = start, shots, out, clock
        self.start_name = start_name
        self.folder = RunFolder(out) if out is not None else None
        self.state = RunState.IDLE
        self.result: Model | None = None
        self.step, self.elapsed = 0, 0.0
        self.history: list[dict[str, Any]] = []
        self.batch, self.crop = self.settings.batch, self.settings.crop
        self._stop = threading.Event()
        self._preview: np.ndarray | None = None
        self._best: tuple[Judgement, dict[str, torch.Tensor], int] | None = None
        self._is_resumed, self._unlike = False, ""

    def stop(self) -> None:
        """End after the present step, with the best weights so far as the result."""
        self._stop.set()

    def preview(self, image: np.ndarray) -> None:
        """Ask for a `Preview` of `image`, float32 (Y, X, 3) normalised, after the present step."""
        self._preview = image

    @classmethod
    def resume(
        cls,
        out: Path,
        start: Model,
        settings: FinetuneSettings | None = None,
        annotation: Mapping[str, str] | None = None,
    ) -> FinetuneRun:
        """Continue the stopped or killed run of `out`.

        Parameters
        ----------
        start : Model
            The model the run was started from; the verdict compares with it.
        settings : FinetuneSettings, optional
            New settings; a budget that is used up starts again. By default the old settings are kept.
        annotation : mapping of str to str, optional
            `napari_cupre.io.shot_store.digests` of the present annotation. The run continues with its own
            annotation, and reports how the two differ.
        """
        folder = RunFolder(out)
        kept = folder.read_settings()
        run = cls(start, folder.read_shots(), settings or kept, out)
        run._is_resumed = True
        run._unlike = "" if annotation is None else difference(run.shots, annotation)
        return run

    def events(self) -> Generator[Event, None, None]:
        """Train to the end of the budget or until `stop`; call it once.

        Closing the iterator early saves the run as `stop` does.

        Raises
        ------
        InputError
            If another process trains in the same folder, or the annotation cannot be learned from.
        """
        with nullcontext() if self.folder is None else training_in(self.folder.path):
            yield from self._events()

    def _events(self) -> Iterator[Event]:
        try:
            yield self._enter(RunState.PREPARING, "Preparing the annotated images")
            yield from self._prepare()
            if not self._stop.is_set():
                yield self._enter(RunState.RUNNING, "Training")
                yield from self._train()
            if self._stop.is_set() and not self.step:
                yield self._give_up()
                return
            yield self._enter(RunState.STOPPING, "Choosing the best weights")
            yield from self._finish()
            yield self._enter(RunState.STOPPED if self._stop.is_set() else RunState.DONE)
        except GeneratorExit:
            if self.state is RunState.RUNNING:
                self._save_state()
            self.state = RunState.STOPPED
            raise
        except CupreError as error:
            yield self._enter(RunState.FAILED, str(error))
            raise
        except Exception:
            self.state = RunState.FAILED
            raise

    def _enter(self, state: RunState, message: str = "") -> StateChanged:
        self.state = state
        return StateChanged(state, message)

    def _give_up(self) -> StateChanged:
        """End before the first step: there is no model, and a resumed run stays as it was."""
        if self.folder is not None and not self._is_resumed:
            self.folder.discard()
        return self._enter(RunState.STOPPED, nothing_learned(self._is_resumed))

    def _prepare(self) -> Iterator[Event]:
        """Prepare everything; a stop ends this early, between two parts that take seconds each."""
        settings = self.settings
        if self.folder is not None:
            self.folder.check_room(self.start.network)
            if self._is_resumed:
                self.folder.write_settings(settings)
            else:
                self.folder.create(self.shots, settings, self.start_name)
        self.device = choose_device(settings.device)
        # Processors save a fifth of the time in bfloat16, but accuracy may suffer (docs/performance.md).
        self.dtype = None if self.device.type == "cpu" else training_dtype(self.device)
        self.scratch = self.start.info.training.get("objective", "none").startswith("none")
        self.teaching = Teaching(self.shots, settings, self.start.network.config.diameter, self.scratch)
        if self._stop.is_set():
            return
        model = self.start.copy(diameter=self.teaching.scaling.common).to(self.device)
        self.model, self.network = model, model.network.to(memory_format=memory_format(self.device))
        self.judge = self.teaching.judge
        self.skill = 0.0 if self.scratch else self.teaching.skill(self.network, self.dtype)
        if self._stop.is_set():
            return
        self.knew = self.teaching.knew(self.network, self.dtype, self.start.info.training, self.skill)
        self.optimiser = make_optimiser(self.network, self.skill)
        self.contrast = self.teaching.contrast(self.network, self.skill, self.skill >= FAMILIAR)
        self.average = WeightAverage(self.network)
        self.batch = max(self.batch, self._least_batch())
        self._began = self._judging = 0.0
        found = "" if self.scratch else f"; the start finds them with an AP50 of {self.skill:.2f}"
        yield Notice(f"Training on {self.teaching.in_words()}, {self.device.type}{found}.")
        yield from (Notice(said) for said in (self.teaching.remark, self._unlike) if said)
        if self._is_resumed:
            yield from self._load_state()

    def _train(self) -> Iterator[Event]:
        self._began = self.clock() - self.elapsed
        last_saved = self.clock()
        judged, judged_at = self._fraction(), self.elapsed
        while not self._stop.is_set() and self._fraction() < 1:
            yield from self._one_step()
            windows = self.teaching.windows_due(self.step, self._fraction())
            if windows and (learned := self.teaching.look(self.average.network, self.dtype, windows)):
                yield Notice(learned)
            yield from self._answer_preview()
            yield from self._judge_start()
            is_due = self._fraction() >= judged + JUDGE_EVERY
            if self.judge and is_due and (self.elapsed - judged_at) * JUDGE_SHARE >= self._judging:
                yield self._judge_now("average", self.average.network, self.step)
                judged, judged_at = self._fraction(), self.elapsed
            if self.folder is not None and self.clock() - last_saved > SAVE_EVERY:
                fault, where = self._save_state(), str(self.folder.state_path)
                yield Notice(f"{fault} Training goes on.") if fault else Saved(where, "run", self.step)
                last_saved = self.clock()

    def _fraction(self) -> float:
        """Return the used share of the budget."""
        self.elapsed = self.clock() - self._began
        used = 0.0
        if self.settings.minutes is not None:
            used = self.elapsed / (60 * self.settings.minutes)
        if self.settings.steps is not None:
            used = max(used, self.step / self.settings.steps)
        return used

    def _one_step(self) -> Iterator[Event]:
        fraction = self._fraction()
        try:
            losses = self._learn(fraction)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            yield self._shrink(error)
            return
        self.step += 1
        self.average.update(self.network, self.step)
        used = self._fraction()
        remaining = self.elapsed / used * (1 - used) if used > 0 else 0.0
        rates = {
            "rate_backbone": self.optimiser.param_groups[0]["lr"],
            "rate": self.optimiser.param_groups[1]["lr"],
        }
        yield StepDone(self.step, min(used, 1.0), max(remaining, 0.0), losses, rates)

    def _learn(self, fraction: float) -> dict[str, float]:
        """One optimiser step on freshly drawn crops; its randomness depends only on seed and step."""
        rng = np.random.default_rng([self.settings.seed, self.step])
        crops = [self.teaching.sampler.draw(rng, self.crop) for _ in range(self.batch)]
        targets = [target_from_labels(crop.labels, crop.known).to(self.device) for crop in crops]
        self.network.train()
        if self.skill >= FAMILIAR:
            hold_batchnorm(self.network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**31)))
            with autocast(self.device, self.dtype):
                losses = self.network(to_batch([crop.image for crop in crops], self.device), targets)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise InputError(
                "The training diverged (the loss is not a number): start it again from another model."
            )
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        set_rates(self.optimiser, self.step, fraction)
        self.optimiser.step()
        if self.contrast is not None:
            losses["contrast"] = torch.tensor(self.contrast.step(self.step, fraction, self.dtype))
        return {name: value.item() for name, value in losses.items()} | {"total": total.item()}

    def _shrink(self, error: BaseException) -> Notice:
        """Use fewer, then smaller crops, because memory ran out."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.batch, self.crop, said = smaller(self.batch, self.crop, self._least_batch(), error)
        return Notice(said)

    def _least_batch(self) -> int:
        """Return the smallest batch: BatchNorm in training needs two crops to have a variance."""
        return 1 if self.skill >= FAMILIAR else 2

    def _judge_start(self) -> Iterator[Event]:
        """Judge the start once, after the first step, for which a user waits; this takes no training time."""
        if self.judge is None or self.scratch or self.history or not self.step:
            return
        network = self.start.copy().to(self.device).network.to(memory_format=memory_format(self.device))
        judged = self._judge_now("start", network.eval(), 0)
        self._began += self._judging
        yield judged

    def _judge_now(self, which: str, network: CellRCNN, step: int) -> Validated:
        """Judge the weights of a step, and keep them if they are the best so far."""
        if self.judge is None:
            raise RuntimeError("nothing is held out")
        begun = self.clock()
        judgement = self.judge(network, self.dtype)
        self._judging = self.clock() - begun
        chance = down_to_chance(self.knew, judgement)
        best = self._best is None or is_as_good(judgement, self.history, self.scratch, chance)
        if best:
            kept = {key: value.clone() for key, value in network.state_dict().items()}
            self._best = (judgement, kept, step)
        self.history.append({"step": step, "which": which, **asdict(judgement)})
        return Validated(step, judgement.ap50, judgement.ap, judgement.loss, judgement.cells, best)

    def _answer_preview(self) -> Iterator[Event]:
        image, self._preview = self._preview, None
        if image is None:
            return
        scale = self.network.config.diameter / self.teaching.scaling.typical
        yield from preview(self.average.network, image, scale, self.dtype, self.step)

    def _finish(self) -> Iterator[Event]:
        if self.folder is not None and not self._save_state():
            yield Saved(str(self.folder.state_path), "run", self.step)
        yield from self._judge_start()
        if self.judge and self.step and self.history and self.history[-1]["step"] != self.step:
            yield self._judge_now("average", self.average.network, self.step)
        tensors, at = yield from self._settled()
        self.result = self._as_model(tensors, at)
        if self.folder is not None:
            yield Saved(str(self.folder.publish(self.result)), "final", at)
            at_end = (self._counters(), self.average)
            if fault := self._save_state() if self._stop.is_set() else self.folder.write_end(*at_end):
                yield Notice(f"{fault} The model is there, but its training cannot be resumed.")
        best = at if self._best else None
        said = decision(self.history, best, self.scratch) if self.step else None
        yield Finished(
            in_words(self.history, best, self.step, self.scratch, self.start.info.name),
            {
                "step": self.step,
                "best_step": at,
                "parent": self.start.info.name,
                "history": [figures(entry) for entry in self.history],
                "decision": None if said is None else said.as_dict(),
            },
        )

    def _settled(self) -> Generator[Event, None, tuple[dict[str, torch.Tensor], int]]:
        """Return the weights to keep, and the step that they are from."""
        best, averaged = self._best, self.average.network.state_dict()
        trained, at = (best[1], best[2]) if best is not None and best[2] else (averaged, self.step)
        if self.scratch or not self.step:
            return (averaged, self.step) if best is None else (best[1], best[2])
        share = usual_share(self.knew, self.teaching.cells)
        if self.judge is not None:
            share, judgement = best_share(self.start.network, trained, share, self.judge, self.dtype)
            least = 0.0 if best is None else best[0].score - down_to_chance(self.knew, judgement)
            if best is not None and not best[2] and judgement.score <= least:
                return best[1], 0  # worse than the start
            self._best = (judgement, trained, at)
            self.history.append({"step": at, "which": "mix", "share": share, **asdict(judgement)})
        if said := words_of_mix(share, self.start.info.name):
            yield Notice(said)
        return mixed(self.start.network, trained, share).state_dict(), at

    def _as_model(self, tensors: dict[str, torch.Tensor], step: int) -> Model:
        name = self.out.stem if self.out is not None else "finetuned"
        training = {
            "objective": "few-shot fine-tuning",
            "parent": self.start.info.name,
            "parent_training": self.start.info.training,
            **learned_from(self.shots, self.start.info.training, self.knew),
            "steps": step,
            "seconds": round(self.elapsed, 1),
            "seed": self.settings.seed,
            "code": __version__,
        }
        metrics = {"held_out": [figures(entry) for entry in self.history if entry["step"] == step][-1:]}
        start = None if self.scratch else self.start
        diameter = model_diameter(self.teaching.scaling, self.settings.diameter, start, self.shots)
        model = self.model.copy(name=name, diameter=diameter, training=training, metrics=metrics)
        model.network.load_state_dict(tensors)
        model.network.eval()
        return model

    def _save_state(self) -> str:
        if self.folder is None:
            return ""
        best = self._best[1] if self._best else None
        return self.folder.write_state(self._counters(), self.network, self.average, self.optimiser, best)

    def _counters(self) -> dict[str, Any]:
        best = self._best
        return {
            "annotation": annotation_of(self.shots),
            "step": self.step,
            "elapsed": self.elapsed,
            "batch": self.batch,
            "crop": self.crop,
            "history": self.history,
            "best": {**asdict(best[0]), "step": best[2]} if best else None,
        }

    def _load_state(self) -> Iterator[Event]:
        if self.folder is None or not self.folder.state_path.is_file():
            yield Notice("The earlier run had not saved a step yet: starting from the beginning.")
            return
        counters, best = self.folder.read_state(self.network, self.average, self.optimiser)
        if counters.get("annotation") != annotation_of(self.shots):
            raise InputError(
                f'The weights in "{self.folder.path}" belong to a different annotation: start a new training.'
            )
        self.step, self.history = counters["step"], counters["history"]
        self.batch, self.crop = counters["batch"], counters["crop"]
        if counters["best"] and best is not None:
            at = counters["best"]["step"]
            self._best = (Judgement.of(counters["best"]), best, at)
        self.elapsed = counters["elapsed"]
        self.settings = self.settings.renewed(self.step, self.elapsed)
        yield Notice(f"Continuing from step {self.step}.")
