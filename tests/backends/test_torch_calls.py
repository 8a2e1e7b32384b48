"""Plans as lists of PyTorch's calls: what is written down, whose memory results have, and CUDA graphs of the lists."""

from __future__ import annotations

import importlib.util
import threading
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, random
from gradkit.backend import get_backend
from gradkit.compiler.executables import clear_executables
from gradkit.core.namespace import PRIMITIVES

if importlib.util.find_spec("torch") is None:
    pytest.skip("PyTorch is not installed: pip install 'gradkit[torch]'", allow_module_level=True)

import torch
from gradkit_torch.calls import capture, library, program
from gradkit_torch.calls.names import CALLS, IN_STEPS, KINDS
from gradkit_torch.calls.printer import TorchPrinter
from recorded_graphs import RecordedCuda

X = np.sin(np.arange(1.0, 31.0)).reshape(5, 6).astype("float32")


@pytest.fixture(autouse=True)
def on_torch() -> Any:
    clear_executables()
    with gradkit.use_backend("torch"), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    clear_executables()


def numbers(dtype: str) -> Any:
    """Return a row of numbers of a dtype, the special ones among them."""
    if dtype == "bool":
        return torch.tensor([True, False, True, False])
    kind = getattr(torch, dtype)
    if not kind.is_floating_point:
        limits = torch.iinfo(kind)
        return torch.tensor([limits.min, limits.max, 0, 1, 2, 3], dtype=kind)
    small = torch.finfo(kind).smallest_normal
    rows = [0.0, -0.0, 1.5, -2.5, 0.5, torch.inf, -torch.inf, torch.nan, small / 4, -small / 4, torch.finfo(kind).max]
    return torch.tensor(rows, dtype=kind)


def forms(name: str) -> list[list[str]]:
    """Return the dtypes of operands that the printer takes a primitive of."""
    takes, found = TorchPrinter().takes, []
    for dtype in sorted(KINDS):
        chosen = {"masked": [[dtype, "bool"]], "where": [["bool", dtype, dtype]]}
        for operands in chosen.get(name, [[dtype], [dtype, dtype]]):
            args = [jnp.asarray(numbers(kind)[:1]) for kind in operands]
            try:
                told, made = (f(*args).dtype for f in (partial(gradkit.eval_shape, PRIMITIVES[name]), PRIMITIVES[name]))
            except (TypeError, RuntimeError, ValueError, NotImplementedError):
                continue
            if told == made and takes(name, [*operands, made.name]):
                found.append(operands)
    return found


@pytest.mark.parametrize("name", sorted({*CALLS, *IN_STEPS, "isnan", "masked", "relu", "where"}))
def test_a_call_that_writes_into_an_array_gives_what_the_kernel_gives_to_the_bit(name: str) -> None:
    tried = forms(name)
    assert tried
    for dtypes in tried:
        rows = [numbers(dtype) for dtype in dtypes]
        # Each number with each other one.
        shaped = [row.reshape(-1, *[1] * (len(rows) - 1 - i)) for i, row in enumerate(rows)]
        arrays = [jnp.asarray(row) for row in shaped]
        jitted = gradkit.jit(lambda *args: PRIMITIVES[name](*args))
        assert jitted.lower(*arrays).compile().runtime_executable().printer == "torch"
        found, expected = jitted(*arrays).data, PRIMITIVES[name](*arrays).data
        assert found.dtype is expected.dtype
        assert torch.equal(torch.isnan(found), torch.isnan(expected)), dtypes
        same = torch.nan_to_num(found.double(), 7.0), torch.nan_to_num(expected.double(), 7.0)
        assert torch.equal(*same), dtypes
        if found.dtype.is_floating_point:
            assert torch.equal(torch.signbit(found)[found == 0], torch.signbit(expected)[found == 0]), dtypes


def test_the_plan_of_a_step_is_calls_that_write_and_products_that_add() -> None:
    def step(w: Any, b: Any, x: Any) -> Any:
        slopes = gradkit.grad(lambda w, b: jnp.mean(jnp.square(x @ w + b)), argnums=(0, 1))(w, b)
        return w - 0.1 * slopes[0], b - 0.1 * slopes[1]

    given = [jnp.asarray(torch.randn(*shape)) for shape in ((3, 2), (2,), (4, 3))]
    compiled = gradkit.jit(step, donate_argnums=(0, 1)).lower(*given).compile()
    text = compiled.runtime_executable().plan
    assert [type(node).__name__ for node in text.nodes].count("Call") == 0
    printed = program.Program(text, gradkit.compiler.boxes.box_of_arrays()).text
    assert "addmm(" in printed
    assert printed.count("out=") >= 4
    expected = step(*given)
    addresses = [x.data.data_ptr() for x in given[:2]]
    found = compiled(*given)
    for one, other, address in zip(found, expected, addresses, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6, atol=1e-6)
        assert one.data.data_ptr() == address  # a donated argument's memory is its result's
    assert all(x.is_deleted() for x in given[:2])


BACKWARDS = {
    "rows": lambda x: x[::-1] * 2,
    "a product": lambda x: x[:, ::-1] @ x.T[::-1],
    "a sum": lambda x: jnp.flip(x).sum(0),
    "an update": lambda x: jnp.zeros((5, 6)).at[::-1, 1:].set(x[:, 1:] + 1),
    "a call": lambda x: jnp.cumsum(x[::-1], 0),
    "a sum of both": lambda x: (x + x[::-1, ::-1]) * x[:, ::-1],
    "a loop": lambda x: lax.scan(lambda c, r: (c[::-1] + r, c * 2), x[0, ::-1], x[::-1])[1],
}


@pytest.mark.parametrize("take", BACKWARDS.values(), ids=BACKWARDS)
def test_what_runs_backwards_is_read_and_written_though_tensors_have_no_such_views(take: Any) -> None:
    x = jnp.asarray(torch.tensor(X))
    with gradkit.use_backend("numpy"):
        expected = np.asarray(take(jnp.asarray(X)))
    jitted = gradkit.jit(take)
    for _ in range(2):
        np.testing.assert_allclose(np.asarray(jitted(x)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "complex64", "bfloat16"])
def test_what_no_statement_computes_with_is_moved_as_other_dtypes_are(dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")

    def moved(x: Any) -> Any:
        three = jnp.full((), 3, x.dtype)
        carry, rows = lax.scan(lambda c, r: (r, c), three, x[0, ::-1])
        return (
            x[::-1, ::-2],
            x.T[::-1],
            jnp.concatenate([x[::-1], x]),
            rows[::-1],
            carry,
            x[:, ::-1] + x,
            jnp.flip(x).sum(0),
        )

    rows = torch.arange(12).reshape(3, 4).to(getattr(torch, dtype))
    x = jnp.asarray(rows)
    for found, expected in zip(gradkit.jit(moved)(x), moved(x), strict=True):
        assert found.dtype == expected.dtype
        assert found.tolist() == expected.tolist()


def test_a_result_is_no_view_of_memory_that_the_next_call_writes() -> None:
    jitted = gradkit.jit(lambda x: (x.T, x * 2, jnp.broadcast_to(x.sum(), (3,)), x, jnp.sort(x, axis=1)[0]))
    given = [torch.tensor(X + i) for i in range(4)]
    kept = [jitted(jnp.asarray(x)) for x in given]
    for x, (turned, twice, total, same, first) in zip(given, kept, strict=True):
        assert torch.equal(turned.data, x.T)
        assert torch.equal(twice.data, 2 * x)
        np.testing.assert_allclose(total.data, x.sum().expand(3), rtol=1e-6)
        assert torch.equal(same.data, x)
        assert torch.equal(first.data, x.sort(1).values[0])
    memory = [out.data.untyped_storage().data_ptr() for outs in kept for i, out in enumerate(outs) if i != 3]
    assert len(set(memory)) == len(memory)
    kept[0][0].data.add_(1)
    assert torch.equal(given[0], torch.tensor(X))


def test_arguments_are_taken_however_they_lie_in_memory() -> None:
    jitted = gradkit.jit(lambda x, z: (x * 2 + 1, jnp.real(z) * x))
    x, z = torch.tensor(X), torch.complex(torch.tensor(X), torch.tensor(X) + 1)
    expected = 2 * x + 1, z.real * x
    parameter = torch.nn.Parameter(x.clone(), requires_grad=False)
    wide = torch.zeros(5, 12)
    wide[:, ::2] = x
    for one in (x, x.T.contiguous().T, wide[:, ::2], parameter, (-x * 1j).conj().imag):
        assert one.shape == x.shape
        for other in (z, z.T.contiguous().T, z.conj().resolve_conj().conj()):
            found = jitted(jnp.asarray(one), jnp.asarray(other))
            for made, wanted in zip(found, expected, strict=True):
                assert type(made.data) is torch.Tensor
                assert torch.equal(made.data, wanted)


def test_nothing_that_a_program_gives_requires_grad() -> None:
    tensor = torch.tensor(X)
    x = jnp.asarray(tensor)
    tensor.requires_grad_()  # after gradkit has taken it
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            found = gradkit.jit(lambda x: (x * 2, x @ x.T))(x)
            assert torch.is_grad_enabled() is enabled
        assert not any(out.data.requires_grad for out in found)


def test_a_program_that_began_in_inference_mode_goes_on_outside_of_it() -> None:
    jitted = gradkit.jit(lambda x: jnp.cumsum(x * 2, 0) @ x.T, donate_argnums=())
    update = gradkit.jit(lambda x: x * 2, donate_argnums=0)
    expected = torch.cumsum(torch.tensor(X) * 2, 0) @ torch.tensor(X).T
    with torch.inference_mode():
        x = jnp.array(torch.tensor(X))
        torch.testing.assert_close(jitted(x).data, expected)
    torch.testing.assert_close(jitted(x).data, expected)
    assert torch.equal(update(x).data, 2 * torch.tensor(X))  # in memory that cannot be written into here
    assert x.is_deleted()
    assert not jitted(jnp.asarray(torch.tensor(X))).data.is_inference()


def test_several_threads_run_one_program_at_a_time_each_in_memory_of_its_own() -> None:
    jitted = gradkit.jit(lambda x: jnp.cumsum(jnp.tanh(x) @ x.T, axis=0))
    given = [torch.tensor(X + i) for i in range(8)]
    expected = [jitted(jnp.asarray(x)).data.clone() for x in given]
    equal: list[bool] = []

    def run(i: int) -> None:
        with gradkit.use_backend("torch"):
            equal.extend(torch.equal(jitted(jnp.asarray(given[i])).data, expected[i]) for _ in range(40))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 8 * 40


def test_a_plan_that_fails_is_interpreted_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, plan: Any, box: Any) -> Any:
        raise KeyError("a fault of the printer")

    monkeypatch.setattr(TorchPrinter, "compiled", broken)
    jitted = gradkit.jit(lambda x: x * 2 + 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            assert torch.equal(jitted(jnp.asarray(torch.tensor(X))).data, torch.tensor(X) * 2 + 1)
    (message,) = [str(warning.message) for warning in caught]
    assert message.startswith("gradkit could not compile a function and runs it operation by operation: ")
    assert "a fault of the printer" in message


def test_a_printer_that_is_asked_for_by_name_is_that_of_its_backend_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def printer(backend: str) -> str:
        clear_executables()
        with gradkit.use_backend(backend):
            return str(gradkit.jit(lambda x: x * 3).lower(jnp.ones(2)).compile().runtime_executable().printer)

    best = next(p.name for p in get_backend("numpy").printers if p.why_unusable() is None)
    for asked, on_torch, on_numpy in (
        ("numpy", "torch", "numpy"),
        ("torch", "torch", best),
        ("interpreter", "interpreter", "interpreter"),
    ):
        monkeypatch.setenv("GRADKIT_COMPILER", asked)
        assert (printer("torch"), printer("numpy")) == (on_torch, on_numpy)
    monkeypatch.setenv("GRADKIT_COMPILER", "torsh")
    with pytest.raises(ValueError, match=r"Unknown printer 'torsh'. Known: interpreter, torch. Did you mean 'torch'"):
        printer("torch")


def test_a_program_makes_its_tensors_on_the_device_of_its_plan() -> None:
    def everything(x: Any) -> Any:
        rows = lax.scan(lambda c, r: (jnp.tanh(c + r), c * 2), x[0], x)[1]
        return rows[::-1] + jnp.arange(6.0), jnp.where(x > 0, x, 1.5).prod(1), x - 0.5 * (x @ (x.T @ x)), jnp.log1p(x)

    executable = gradkit.jit(everything).lower(jnp.asarray(torch.tensor(X))).compile().runtime_executable()
    plan, box = executable.plan, gradkit.compiler.boxes.box_of_arrays()
    plan.device = torch.device("meta")
    on_meta = program.Program(plan, box)
    given = [torch.empty(x.shape, dtype=getattr(torch, x.dtype), device="meta") for x in plan.arguments]
    for tensor in on_meta(list(map(box.close, given))):  # PyTorch refuses operands of two devices
        assert tensor.device.type == "meta"


# CUDA graphs, on a stand-in that notes calls on the CPU and runs them when it is told to


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> RecordedCuda:
    """Let programs on the CPU become graphs of the stand-in."""
    stand_in = RecordedCuda()
    monkeypatch.setattr(program, "captures", lambda device, plan: capture.is_capturable(plan))
    monkeypatch.setattr(library, "Captured", partial(capture.Captured, cuda=stand_in))
    return stand_in


def a_step(w: Any, x: Any, key: Any) -> Any:
    def loss(w: Any) -> Any:
        rows = lax.scan(lambda c, r: (jnp.tanh(c + r), c * r), x[0], x)[1]
        return jnp.mean((rows @ w - random.normal(key, (5, 3))) ** 2)

    value, slope = gradkit.value_and_grad(loss)(w)
    return value, w - 0.1 * slope, jnp.sort(x, axis=1)


@pytest.mark.parametrize("donated", [(), (0,)])
def test_a_graph_is_captured_after_the_first_calls_and_gives_for_each_call_its_own_results(
    donated: tuple[int, ...], cuda: RecordedCuda
) -> None:
    jitted = gradkit.jit(a_step, donate_argnums=donated)
    kept = []
    for i in range(7):
        w, x, key = jnp.full((6, 3), 0.1 * i), torch.tensor(X + i), random.key_data(random.key(i))
        expected = [np.array(out) for out in a_step(w, jnp.asarray(x), key)]
        address = w.data.data_ptr()
        found = jitted(w, jnp.asarray(x), key)
        assert (found[1].data.data_ptr() == address) is bool(donated)
        assert torch.equal(x, torch.tensor(X + i))
        kept.append((found, expected))
    for found, expected in kept:
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.asarray(one), other, rtol=1e-5, atol=1e-5)
    (graph,) = cuda.graphs
    assert graph.replays == 7 - capture.WARM_UP
    assert len(graph.calls) > 10
    memory = [out.data.untyped_storage().data_ptr() for found, _ in kept for out in found]
    assert len(set(memory)) == len(memory)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: lax.while_loop(lambda s: s.sum() < 9, lambda s: s + 1, x),
        lambda x: lax.cond(x[0, 0] > 0, lambda x: x * 2, lambda x: x, x),
        lambda x: gradkit.pure_callback(lambda x: np.asarray(x) * 2, gradkit.ShapeDtypeStruct((5, 6), "float32"), x),
        lambda x: lax.scan(lambda c, r: (lax.cond(r[0] > 0, lambda c: c, lambda c: c + 1, c), r), x[0], x),
    ],
    ids=["while_loop", "cond", "callback", "cond in scan"],
)
def test_what_looks_at_values_or_runs_on_the_host_is_not_captured(function: Any, cuda: RecordedCuda) -> None:
    jitted = gradkit.jit(function)
    for i in range(6):
        found, expected = (gradkit.tree.leaves(f(jnp.asarray(torch.tensor(X + i)))) for f in (jitted, function))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6)
    assert cuda.graphs == []


def test_where_cuda_refuses_to_capture_a_call_the_list_goes_on_as_it_is() -> None:
    cuda = RecordedCuda()
    runs: list[int] = []

    def scaled(x: Any, out: Any) -> None:
        runs.append(1)
        out.copy_(x * x.sum().item())

    captured = capture.Captured(scaled, 1, (), cuda)
    for i in range(7):
        x, out = torch.tensor(X + i), torch.empty(5, 6)
        captured(x, out)
        torch.testing.assert_close(out, x * x.sum())
    (graph,) = cuda.graphs
    assert graph.replays == 0
    assert cuda.current == "default"
    assert len(runs) == 7 + 1  # it was tried once


def test_inside_somebody_elses_capture_the_list_runs_so_that_it_is_captured_too(cuda: RecordedCuda) -> None:
    jitted = gradkit.jit(lambda x: jnp.tanh(x) * 2)
    for _ in range(5):
        jitted(jnp.asarray(torch.tensor(X)))
    (own,) = cuda.graphs
    outer, given = cuda.CUDAGraph(), torch.tensor(X)
    before = own.replays
    with cuda.graph(outer, None, "global"):
        found = jitted(jnp.asarray(given)).data
    assert own.replays == before
    given.add_(1)
    outer.replay()
    torch.testing.assert_close(found, torch.tanh(torch.tensor(X) + 1) * 2)


# PyTorch's own transforms and modes


def everything(x: Any) -> Any:
    """Compute with constants, memory that programs keep, a library's call and a loop."""
    looped = lax.scan(lambda c, r: (jnp.sin(c) * 0.5 + r, c.sum()), x[0], x)[1]
    return jnp.log1p(jnp.square(x)) @ jnp.arange(6.0) + jnp.cumsum(x, 0)[:, 0] + looped


def of_tensors(function: Any) -> Any:
    return lambda x: function(x).data


@pytest.mark.parametrize("first", [True, False], ids=["compiled in it", "compiled before"])
@pytest.mark.parametrize("transform", ["vmap", "jvp", "dual numbers", "a mode", "a trace"])
def test_pytorchs_transforms_see_the_operations_of_a_jitted_function(transform: str, first: bool) -> None:
    x, direction = torch.tensor(X), torch.tensor(X[::-1].copy())

    def forward(function: Any) -> Any:
        with torch.autograd.forward_ad.dual_level():
            return torch.autograd.forward_ad.unpack_dual(
                function(torch.autograd.forward_ad.make_dual(x, direction))
            ).tangent

    def counted(function: Any) -> Any:
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            function(x)
        return torch.tensor(counter.get_total_flops())

    def traced(function: Any) -> Any:
        module = torch.jit.trace(function, (x,))
        # Memory for results would be made in the graph, and a program's own be a constant that it writes into.
        return torch.cat([module(direction), torch.ones(1) * str(module.graph).count("aten::empty")])

    run = {
        "vmap": lambda function: torch.vmap(function)(torch.stack([x, direction])),
        "jvp": lambda function: torch.func.jvp(function, (x,), (direction,))[1],
        "dual numbers": forward,
        "a mode": counted,
        "a trace": traced,
    }[transform]
    jitted = of_tensors(gradkit.jit(everything))
    plain = jitted(x) if not first else of_tensors(everything)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own
        found, expected = run(jitted), run(of_tensors(everything))
    torch.testing.assert_close(found, expected)
    assert found.any()
    torch.testing.assert_close(jitted(x), plain)
    assert gradkit.jit(everything).lower(x).compile().runtime_executable().printer == "torch"


# Memory of a donated argument that others have too


def in_inference_mode(tensor: Any) -> Any:
    with torch.inference_mode():
        return tensor[1:3]


SHARING = {
    "a slice": lambda t: t[1:3], "detached": lambda t: t.detach(), "data": lambda t: t.data,
    "another shape": lambda t: t.view(-1), "a part": lambda t: t.split(2)[1], "a row": lambda t: t.unbind()[3],
    "a slice of inference mode": in_inference_mode, "by DLPack": torch.from_dlpack,
    "of the storage": lambda t: torch.empty(0).set_(t.untyped_storage(), 0, (30,)),
    "an Array's rows": lambda t: jnp.asarray(t)[1:], "an Array of another shape": lambda t: jnp.asarray(t).reshape(-1),
}  # fmt: skip


@pytest.mark.parametrize("share", SHARING.values(), ids=SHARING)
def test_a_donated_argument_leaves_tensors_that_share_its_memory_as_they_are(share: Any) -> None:
    update = gradkit.jit(lambda x: x * 2 + 1, donate_argnums=0)
    whole = torch.tensor(X)
    shape = jnp.asarray(share(whole.clone())).shape
    for _ in range(3):  # what runs a program is another thing from the second call on
        own = jnp.ones(shape) * 1
        address = own.data.data_ptr()
        assert update(own).data.data_ptr() == address
        part = jnp.asarray(share(whole))
        expected = np.asarray(part) * 2 + 1
        np.testing.assert_array_equal(np.asarray(update(part)), expected)
        np.testing.assert_array_equal(whole.numpy(), X)
        assert part.is_deleted()


def test_a_donated_argument_leaves_its_views_and_a_numpy_array_of_its_memory_as_they_are() -> None:
    update = gradkit.jit(lambda x: x * 2 + 1, donate_argnums=0)
    for view in (lambda x: x[1:], lambda x: x.reshape(-1), lambda x: x.data.numpy(), lambda x: x.data.detach()):
        for _ in range(3):
            x = jnp.array(X)
            other = view(x)
            before = np.asarray(other).copy()
            update(x)
            np.testing.assert_array_equal(np.asarray(other), before)
    array = X.copy()
    for _ in range(3):
        update(jnp.asarray(torch.from_numpy(array)))
        np.testing.assert_array_equal(array, X)


def test_arguments_are_donated_in_inference_mode_too() -> None:
    update = gradkit.jit(lambda x: x * 2 + 1, donate_argnums=0)
    for _ in range(3):
        with torch.inference_mode():
            x = jnp.array(torch.tensor(X)) * 1
            found = update(x)
        assert x.is_deleted()
        np.testing.assert_array_equal(np.asarray(update(found)), 2 * (X * 2 + 1) + 1)
