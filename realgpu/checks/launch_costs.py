"""How many kernels a batch or a training step of each model launches, and what asking for them takes."""

from __future__ import annotations

from typing import Any, Final

from realgpu.checks.cold_start import is_shortage
from realgpu.checks.driver import need_driver
from realgpu.checks.gate_setting import BEGIN_WITHIN_S, Gated, begin, gated
from realgpu.checks.record import Findings, Skipped
from realgpu.checks.settings import Settings
from realgpu.checks.subject import SubjectError
from realgpu.gate import Mode

MODELS: Final = (
    "bert-base",
    "roberta-large",
    "resnet152",
    "vgg19",
    "gpt2-large",
    "llama2-7b",
    "chatglm3-6b",
)
"""Of the catalog, those that experiments serve most first."""

_BATCHES: Final = (1, 16)
_DECODED: Final = 8
_REPEATS: Final = 5
_TRAINING_BATCH: Final = 8
_MOST_TRAINED_PARAMETERS: Final = 10**9
"""Larger ones are not trained in single precision by AdamW here: its 16 bytes a weight need the room."""

_TASK_WITHIN_S: Final = 90.0


def launch_costs(findings: Findings, settings: Settings) -> list[str]:
    """Run each model under the counting gate."""
    need_driver()
    if not settings.use_torch:
        raise Skipped("without torch there is no model to run")
    faults: list[str] = []
    done: list[str] = []
    reason = "no model was asked for"
    with gated("models") as setting:
        setting.slot.set_mode(Mode.COUNT)
        begin(setting.subject, "torch")
        for model in settings.launch_models or MODELS:
            found: dict[str, Any] = {}
            try:
                _run(model, setting, settings, found)
            except SubjectError as error:
                found["not_done"] = reason = str(error)
                if not is_shortage(error) and "needs transformers" not in str(error):
                    faults.append(f"{model}: {error}")
            findings.note(model, found)
            if "not_done" not in found:
                done.append(model)
                findings.note("headline", f"launches of {', '.join(done)}")
    if not done and not faults:
        raise Skipped(reason)
    return faults


def _run(model: str, setting: Gated, settings: Settings, found: dict[str, Any]) -> None:
    """Serve batches and take training steps; what was found stands in `found`, as far as it came."""
    ask = setting.subject.ask
    built = ask("torch", "build", _TASK_WITHIN_S, model=model, scale=settings.scale)
    found |= {"build_s": built["seconds"], "parameters": built["parameters"]}
    for batch in _BATCHES:
        first = _counted(setting, "serve", batch=batch)
        if built["kind"] != "decoder":
            found[f"serve {batch}"] = first
            continue
        found[f"prompt {batch}"] = first
        longer = _counted(setting, "serve", batch=batch, iterations=1 + _DECODED)
        found[f"decode {batch}"] = {
            name: (longer[name] - first[name]) / _DECODED
            for name in ("launches", "blocks", "seconds", "asked_s")
        }
    if built["parameters"] < _MOST_TRAINED_PARAMETERS and built["kind"] != "decoder":
        found[f"train {_TRAINING_BATCH}"] = _counted(setting, "train", batch=_TRAINING_BATCH)


def _counted(setting: Gated, task: str, **arguments: Any) -> dict[str, Any]:
    """Do a task once to warm up, then some times; return what one took and launched."""
    setting.subject.ask("torch", task, max(BEGIN_WITHIN_S, _TASK_WITHIN_S), **arguments)
    before = setting.counters()
    took = setting.subject.ask("torch", task, _TASK_WITHIN_S, repeats=_REPEATS, **arguments)
    counted = setting.since(before)
    launches = counted["launches"] / _REPEATS
    return {
        "launches": launches,
        "blocks": counted["spent"] / _REPEATS,
        **took,
        "us_per_launch": 1e6 * took["seconds"] / launches if launches else None,
    }
