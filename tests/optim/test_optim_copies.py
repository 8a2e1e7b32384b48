"""Copies of optimizers and schedules, and those that come back from pickles, go on as the original does."""

from __future__ import annotations

import copy
import inspect
import pickle  # noqa: TID251 - optimizers can be pickled; no file is read so
from collections.abc import Callable
from typing import Any

import pytest

import gradkit
from gradkit import optim, scalar
from gradkit.optim.schedules import SCHEDULES

MADE: dict[str, list[Any]] = {
    "constant": [optim.constant(0.1)],
    "cosine_decay": [optim.cosine_decay(0.1, 10), optim.cosine_decay(0.1, 10, alpha=0.1, exponent=2.0)],
    "exponential_decay": [optim.exponential_decay(0.1, 3, 0.5), optim.exponential_decay(0.1, 3, 0.5, 1, True, 0.01)],
    "inverse_time_decay": [optim.inverse_time_decay(0.1, 2.0, 0.5), optim.inverse_time_decay(0.1, 2, 0.5, True)],
    "linear_decay": [optim.linear_decay(0.1, 0.01, 10, 2)],
    "piecewise_constant": [optim.piecewise_constant(0.1, {4: 0.5, 2: 0.1}), optim.piecewise_constant(0.1)],
    "polynomial_decay": [optim.polynomial_decay(0.1, 0.01, 2, 10, 1)],
    "warmup": [optim.warmup(0.1, 4), optim.warmup(optim.cosine_decay(0.1, 9), 2, 0.01)],
}
ALL = [schedule for several in MADE.values() for schedule in several]


def through_pickle(protocol: int) -> Callable[[Any], Any]:
    return lambda value: pickle.loads(pickle.dumps(value, protocol))


COPYING: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": through_pickle(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}


def test_every_schedule_is_here() -> None:
    assert set(MADE) == set(SCHEDULES)
    assert all(type(schedule) is SCHEDULES[name] for name, several in MADE.items() for schedule in several)


@pytest.mark.parametrize("way", COPYING)
@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_a_schedule_is_an_object(schedule: Any, way: str) -> None:
    other = COPYING[way](schedule)
    assert other == schedule
    assert hash(other) == hash(schedule)
    assert eval(repr(schedule), dict(SCHEDULES)) == schedule
    assert [other(step) for step in range(20)] == [schedule(step) for step in range(20)]
    assert sum(schedule == another for another in ALL) == 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_takes_its_arguments_by_name(name: str) -> None:
    for schedule in MADE[name]:
        names = inspect.signature(SCHEDULES[name]).parameters
        assert SCHEDULES[name](**{given: getattr(schedule, given) for given in names}) == schedule


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "plain": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.1, momentum=0.9),
    "nesterov": lambda: optim.SGD(0.05, momentum=0.5, nesterov=True, weight_decay=0.01),
    "clipped": lambda: optim.SGD(0.1, momentum=0.9, clip_norm=0.5),
    "Array": lambda: optim.SGD(gradkit.numpy.asarray(0.1), momentum=0.9),
    **{
        f"schedule {i}": lambda schedule=schedule: optim.SGD(schedule, momentum=0.9)  # type: ignore[misc]
        for i, schedule in enumerate(
            [optim.exponential_decay(0.1, 3, 0.5), optim.warmup(optim.cosine_decay(0.1, 9), 2)]
        )
    },
}


def module() -> Any:
    return gradkit.nn.MLP(2, [3, 1], key=gradkit.random.key(0))


def numbers() -> Any:
    return scalar.MLP(2, [2, 1])


def steps(model: Any, optimizer: Any, count: int = 3) -> None:
    for _ in range(count):
        model.zero_grad()
        out = model([0.5, -1.0])
        loss = (out if hasattr(out, "backward") else out[0]) ** 2
        (loss.sum() if hasattr(loss, "sum") else loss).backward()
        optimizer.step(model)


def values(model: Any) -> list[Any]:
    return [p.data if isinstance(p, gradkit.Value) else gradkit.device_get(p).tolist() for p in model.parameters()]


PAIRS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "deepcopy, the model first": lambda m, o: copy.deepcopy((m, o)),
    "deepcopy, the optimizer first": lambda m, o: copy.deepcopy([o, {"model": m}])[::-1],
    "deepcopy of the optimizer": lambda m, o: (m, copy.deepcopy(o)),
    "deepcopy of each": lambda m, o: (copy.deepcopy(m), copy.deepcopy(o)),
    "deepcopy of each, the optimizer first": lambda m, o: (copy.deepcopy(o), copy.deepcopy(m))[::-1],
    "deepcopy twice": lambda m, o: (copy.deepcopy(m), copy.deepcopy(copy.deepcopy(o))),
    "copy": lambda m, o: (m, copy.copy(o)),
    "copy of the optimizer, deepcopy of the model": lambda m, o: (copy.deepcopy(m), copy.copy(o)),
    "copy of a copy, deepcopy of the model": lambda m, o: (copy.deepcopy(m), copy.copy(copy.deepcopy(o))),
    "pickle": lambda m, o: pickle.loads(pickle.dumps((m, o))),
    "pickle, the optimizer first": lambda m, o: pickle.loads(pickle.dumps([o, m]))[::-1],
    "pickle of each": lambda m, o: (pickle.loads(pickle.dumps(m)), pickle.loads(pickle.dumps(o))),
    "pickle of the optimizer": lambda m, o: (m, pickle.loads(pickle.dumps(o))),
    "pickle twice": lambda m, o: (m, pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(o))))),
    "deepcopy of what was pickled": lambda m, o: (m, copy.deepcopy(pickle.loads(pickle.dumps(o)))),
}


def check_a_pair(make: Callable[[], Any], optimizer: str, how: str) -> None:
    model, opt = make(), OPTIMIZERS[optimizer]()
    steps(model, opt)
    other, other_opt = PAIRS[how](model, opt)
    if isinstance(other, dict):
        other = other["model"]
    assert repr(other_opt) == repr(opt)
    kept, restored = opt.state_of(model), other_opt.state_of(other)
    assert restored.step == kept.step == 3
    assert (restored.velocity is None) == (kept.velocity is None)
    before = values(model)
    steps(other, other_opt)
    assert opt.state_of(model).step == 3
    expected = values(other)
    if other is model:
        for parameter, value in zip(model.parameters(), before, strict=True):
            data = parameter.data
            parameter.data = value if isinstance(value, float) else _like(data, value)
    assert values(model) == before
    steps(model, opt)
    assert values(model) == expected


def _like(data: Any, value: Any) -> Any:
    import array_api_compat

    return array_api_compat.array_namespace(data).asarray(value, dtype=data.dtype)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("how", PAIRS)
def test_a_copied_optimizer_goes_on(how: str, optimizer: str, xp: Any) -> None:
    check_a_pair(module, optimizer, how)


@pytest.mark.parametrize("how", PAIRS)
def test_and_one_of_values(how: str) -> None:
    check_a_pair(numbers, "momentum", how)


def test_a_loaded_optimizer_gives_a_state_to_one_model_of_its_shapes() -> None:
    model, opt = module(), optim.SGD(0.1, momentum=0.9)
    steps(model, opt)
    loaded = pickle.loads(pickle.dumps(opt))
    assert loaded.state_of(gradkit.nn.MLP(3, [3, 1], key=gradkit.random.key(0))).step == 0
    assert loaded.state_of(model).step == 3
    assert loaded.state_of(module()).step == 0


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_state_goes_on_with_one_model(way: Callable[[Any], Any]) -> None:
    model, opt = module(), optim.SGD(0.1, momentum=0.9)
    steps(model, opt)
    copied, other = way(opt), way(opt)
    steps(model, copied, 1)
    assert copied.state_of(copy.deepcopy(model)).step == 0
    assert other.state_of(copy.deepcopy(model)).step == 3
    assert copied.state_of(model).step == 4
    assert opt.state_of(copy.deepcopy(model)).step == 0  # the original knows its model
    assert not copied._unclaimed
    assert not other._unclaimed


def test_the_state_of_a_model_that_is_gone_is_gone() -> None:
    model, opt = module(), optim.SGD(0.1, momentum=0.9)
    steps(model, opt)
    other, other_opt = pickle.loads(pickle.dumps((model, opt)))
    steps(other, other_opt)
    del model, other
    assert not opt._states
    assert not other_opt._states
    assert not other_opt._unclaimed
