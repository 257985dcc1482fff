"""A GPU: pycuda for its primary context, memory, streams and modules, CUDA graphs through cffi; see `exprc.runtime.launch.Device`.

pycuda is imported, and a context retained, when the first device is opened. pycuda keeps a stack of contexts for each thread and
aborts a process that ends with one on it, so the context is pushed for the length of a call, in whatever thread that comes.
At the end of the process one hook gives everything back in the order that pycuda and the driver need: work done, graphs,
memory, streams, context.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import math
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any
from weakref import WeakSet

import numpy as np

from exprc.collector import collector_paused
from exprc.errors import DeviceError, bytes_text, report
from exprc.library import Work
from exprc.runtime import cubin, libcuda, roundtrip
from exprc.runtime.launch import CUDA, Launch, precisions
from exprc.runtime.libcuda_entry import ffi
from exprc.runtime.libraries import Libraries, allowed
from exprc.runtime.others import Others, event
from exprc.runtime.staging import Staging

Array = np.ndarray[Any, Any]

_NON_BLOCKING = 1  # a stream that does not wait for the default stream, which other libraries use
_RELAXED = 2  # a capture that leaves this and other threads free to do anything else meanwhile
_PLAIN_SHARED = 48 * 1024  # bytes that a block may have without being asked
_SHOWN = 5
_CONTEXT, _ORDINAL = 1, 9  # CUpointer_attribute

_opened: dict[int, Cuda] = {}
_forked = False


def open_device(name: str) -> Cuda:
    """Return the GPU called ``cuda`` (the first), ``cuda1`` (the second) ...

    Raises
    ------
    DeviceError
        where there is no driver, no such GPU, or no pycuda.
    """
    number = re.fullmatch(r"cuda(\d*)", name)
    if number is None:
        raise ValueError(report(f"{name!r} is no GPU", fix="GPUs are called cuda, cuda1, cuda2 ..."))
    index, found = int(number[1] or 0), libcuda.gpus()
    if index >= len(found):
        have = ", ".join(f"{gpu.device} ({gpu.name})" for gpu in found)
        raise DeviceError(report(f"there is no GPU {name}: this machine has {have}", fix="name one of these"))
    if index not in _opened:
        _opened[index] = Cuda(found[index])
    return _opened[index]


def import_pycuda() -> Any:
    """Return pycuda.driver.

    Raises
    ------
    DeviceError
        where it is not installed, or does not fit the driver.
    """
    try:
        return import_module("pycuda.driver")
    except ModuleNotFoundError:
        raise DeviceError(report('device="cuda" needs pycuda, which is not installed', fix="pip install 'exprc[cuda]'")) from None
    except ImportError as error:
        fix = "it may be built for a newer driver: update the driver, or pip install --force-reinstall --no-binary :all: pycuda"
        raise DeviceError(report(f"pycuda cannot be loaded: {error}", fix=fix)) from None


class Memory:
    """A piece of a GPU's memory, or of pinned memory of the host, freed when nothing holds it any more."""

    __slots__ = ("__weakref__", "_device", "_piece", "address", "label", "nbytes")

    def __init__(self, device: Cuda, piece: Any, address: int, nbytes: int, label: str):
        self._device, self._piece = device, piece
        self.address, self.nbytes, self.label = address, nbytes, label

    def free(self) -> None:
        """Give the memory back now; at the end of the process pycuda could not."""
        piece, self._piece = self._piece, None
        if piece is not None:
            self._device.give_back(piece)

    def __del__(self) -> None:
        self.free()


class Module:
    """A text compiled and loaded: its kernels by name."""

    def __init__(self, device: Cuda, text: str, flush: bool):
        made = cubin.load_cubin(text, device.gpu.architecture, flush)
        self.cached, self.compile_seconds = made.cached, made.compile_seconds
        self._device = device
        with device.pycuda_current("a GPU program cannot be loaded"):
            self._module = device.pycuda.module_from_buffer(made.code)
        self._functions: dict[str, Any] = {}
        self.threads: dict[str, int] = {}  # that a block of a kernel may have
        self._shared: dict[str, int] = {}  # bytes that kernels were prepared for

    def function(self, launch: Launch) -> Any:
        """The kernel of a launch, prepared for as much shared memory as that asks for. The context is current."""
        name = launch.kernel
        if name not in self._functions:
            self._functions[name] = self._module.get_function(name)
            self.threads[name] = self._functions[name].max_threads_per_block
        function = self._functions[name]
        if launch.shared > self._shared.get(name, _PLAIN_SHARED):
            function.set_attribute(self._device.pycuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, launch.shared)
            self._shared[name] = launch.shared
        return function

    def free(self) -> None:
        """Unload the code now, in any thread; at the end of the process pycuda could not."""
        module, self._module = getattr(self, "_module", None), None
        if module is None:
            return
        try:
            with self._device.pycuda_current("a GPU program cannot be unloaded"):
                self._functions.clear()
                module = None
        except DeviceError:
            _leave(module, self._functions)

    def __del__(self) -> None:
        self.free()


class Graph:
    """Launches captured in a CUDA graph: one call of the driver starts them all."""

    def __init__(self, device: Cuda, executable: Any, module: Module, kernels: tuple[str, ...], room: Memory | None):
        self._device, self.executable = device, executable
        self._module, self._room = module, room  # whose code the graph runs, and what libraries use meanwhile
        self.kernels = kernels

    def run(self) -> None:
        """Start the launches; the call does not wait for them."""
        self._device.start(self.executable, self.kernels)

    def free(self) -> None:
        """Give the graph back; one that still runs goes away when it is done."""
        executable, self.executable = self.executable, None
        if executable is not None:
            self._device.destroy(executable)

    def __del__(self) -> None:
        self.free()


class Nothing:
    """No launches at all, ready to run."""

    kernels: tuple[str, ...] = ()
    executable = ffi.NULL

    def run(self) -> None:
        """Do nothing."""


class Cuda:
    """A GPU that is in use; see `exprc.runtime.launch.Device` for what it does.

    Attributes
    ----------
    gpu : what the driver says of it. pycuda : the module pycuda.driver.
    """

    target = CUDA

    def __init__(self, gpu: libcuda.Gpu):
        self.gpu, self.name, self.precisions = gpu, gpu.device, precisions(gpu.capability)
        self.dlpack = (2, gpu.index)
        self.pycuda = import_pycuda()
        self._driver = libcuda.library()
        self.lock = threading.RLock()
        self._lost = ""
        self._recent: tuple[str, ...] = ()
        self._keepers: WeakSet[Any] = WeakSet()
        self._memories: WeakSet[Memory] = WeakSet()
        self._pinned: WeakSet[Memory] = WeakSet()
        self._graphs: WeakSet[Graph] = WeakSet()
        self._modules: WeakSet[Module] = WeakSet()
        self._popped = ffi.new("void **")
        with self._told("the GPU cannot be opened"):
            self.pycuda.init()
            self._context = self.pycuda.Device(gpu.index).retain_primary_context()
            self._handle = ffi.cast("void *", self._context.handle)
        with self.pycuda_current("the GPU cannot be opened"):
            self._work, self._captured = self.pycuda.Stream(_NON_BLOCKING), self.pycuda.Stream(_NON_BLOCKING)
            self._stream, self._capture = (ffi.cast("void *", s.handle) for s in (self._work, self._captured))
            self.stream = int(self._work.handle)
            self._libraries = Libraries(self._captured.handle)
            self._room: Memory | None = None
            self._others = Others(self._driver, self._stream, self._check)
            self._before = event(self._driver, self._check)  # round trips record it when their copies to the GPU are asked for
            self._staging = Staging(self._driver, self.pycuda, self._stream, self._check)

    def __repr__(self) -> str:
        return f"Cuda({self.name}: {self.gpu.name})"

    # -- the context, and errors

    def _usable(self) -> None:
        if _forked:
            fix = "start processes with multiprocessing.set_start_method('spawn'), or fork before the first use of the GPU"
            raise DeviceError(report(f"{self.name} cannot be used in a forked process", fix=fix))
        if self._lost:
            raise DeviceError(self._lost)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn an error of pycuda's in the block into ours."""
        try:
            yield
        except self.pycuda.Error as error:
            raise self._failed(libcuda.status_of(self._driver, error), what, str(error)) from None

    @contextmanager
    def pycuda_current(self, what: str) -> Iterator[None]:
        """Hold the device with its context on pycuda's stack, which what pycuda makes needs; errors begin with `what`."""
        self._usable()
        with self.lock, self._told(what):
            self._context.push()
            try:
                yield
            finally:
                self.pycuda.Context.pop()

    def __enter__(self) -> None:
        """Hold the device with its context current for calls of the driver itself: quicker than pycuda's stack."""
        self._usable()
        self.lock.acquire()
        status = self._driver.cuCtxPushCurrent_v2(self._handle)
        if status:
            self.lock.release()
            raise self._failed(status, "the GPU cannot be used")

    def __exit__(self, *_: object) -> None:
        self._driver.cuCtxPopCurrent_v2(self._popped)
        self.lock.release()

    def _check(self, status: int, what: str) -> None:
        if status:
            raise self._failed(status, what)

    def _failed(self, status: int, what: str, said: str = "") -> Exception:
        """The exception for a result of the driver. An error of a kernel ends the use of the device; it names those that ran last."""
        if not status:  # pycuda's own
            return DeviceError(report(f"{what}: {said}", fix="python -m exprc doctor looks at the driver and the GPU"))
        if status in libcuda.LOST and self._recent:
            shown = ", ".join(self._recent[:_SHOWN]) + (" ..." if len(self._recent) > _SHOWN else "")
            what = f"a GPU program failed; the kernels that ran last are {shown}"  # whichever call it was that told so
        error = libcuda.error(self._driver, status, what)
        if status in libcuda.FINAL:
            self._lost = str(error)
        return error

    # -- programs

    def load(self, text: str, flush: bool = False) -> Module:
        """Compile a text, or take it from the cache, and load it; with `flush`, subnormal numbers of float32 count as 0."""
        made = Module(self, text, flush)
        self._modules.add(made)
        return made

    def prepare(self, module: Module, launches: Sequence[Launch]) -> Graph | Nothing:
        """Capture launches in a graph. Those without blocks are left out."""
        launches = [launch for launch in launches if all(launch.grid)]
        for launch in launches:
            self._check_launch(launch)
        if not launches:
            return Nothing()
        room = self._room_for([launch.work for launch in launches if launch.work])
        kernels = tuple(dict.fromkeys(launch.kernel for launch in launches))
        with self.pycuda_current(f"the kernels {', '.join(kernels[:_SHOWN])} cannot be prepared"):
            functions = [self._function(module, launch) for launch in launches]
            with collector_paused():  # what it finds would be given back in the middle of the capture
                graph = self._captured_graph(functions, launches, room.address if room else 0)
            try:
                executable = ffi.new("void **")
                self._check(self._driver.cuGraphInstantiateWithFlags(executable, graph, 0), "a graph cannot be made")
            finally:
                self._driver.cuGraphDestroy(graph)
            made = Graph(self, executable[0], module, kernels, room)
            self._graphs.add(made)
        return made

    def _check_launch(self, launch: Launch) -> None:
        if launch.shared > self.gpu.shared:
            have = f"{self.gpu.name} has {self.gpu.shared}"
            what = f"kernel {launch.kernel} asks for {launch.shared} bytes of shared memory for a block, {have}"
            raise DeviceError(report(what, fix="make the sizes smaller, or use a GPU with more shared memory"))

    def _function(self, module: Module, launch: Launch) -> Any:
        function, threads, most = module.function(launch), math.prod(launch.block), module.threads[launch.kernel]
        if threads > most:
            what = f"kernel {launch.kernel} is started with {threads} threads a block, and can have {most}"
            raise DeviceError(report(what, fix=f"it uses {function.num_regs} registers a thread"))
        return function

    def libraries(self) -> tuple[str, ...]:
        """Those that may compute in the place of kernels."""
        return allowed()

    def refusal(self, work: Work) -> str:
        """Why a library leaves something to the kernel, or ""."""
        with self:
            return self._libraries.of(work).refusal(work)

    def _room_for(self, works: Sequence[Work]) -> Memory | None:
        """The memory that libraries use meanwhile: the same for all, since all work is done in one order."""
        with self:
            nbytes = self._libraries.room(works)
        if nbytes and (self._room is None or self._room.nbytes < nbytes):
            self._room = self.allocate(nbytes, "the workspace of cuBLAS and cuDNN")
        return self._room if nbytes else None

    def _captured_graph(self, functions: Sequence[Any], launches: Sequence[Launch], room: int) -> Any:
        graph = ffi.new("void **")
        self._check(self._driver.cuStreamBeginCapture_v2(self._capture, _RELAXED), "a capture cannot begin")
        try:
            for function, launch in zip(functions, launches, strict=True):
                if launch.work:
                    self._libraries.of(launch.work).start(launch.work, launch.arguments, room)
                    continue
                with self._told(f"kernel {launch.kernel} cannot be started with grid {launch.grid} and block {launch.block}"):
                    how = {"grid": launch.grid, "block": launch.block, "shared": launch.shared, "stream": self._captured}
                    function(*launch.numbers(), **how)
        except BaseException:
            if not self._driver.cuStreamEndCapture(self._capture, graph):
                self._driver.cuGraphDestroy(graph[0])
            raise
        self._check(self._driver.cuStreamEndCapture(self._capture, graph), "a capture cannot end")
        return graph[0]

    def start(self, executable: Any, kernels: tuple[str, ...]) -> None:
        """Start a graph."""
        with self._working():
            self._recent = kernels
            self._check(self._driver.cuGraphLaunch(executable, self._stream), "a GPU program cannot be started")

    def round_trip(self, prepared: Graph | Nothing, journey: roundtrip.Journey) -> roundtrip.RoundTrip | None:
        """The short way to run launches (`exprc.runtime.roundtrip`), or None where there is none; who takes it asks `may_start` first."""
        if not (roundtrip.run() and journey.fits):
            return None
        with self.pycuda_current("no pinned memory can be had"):
            array = self.pycuda.pagelocked_empty(max(journey.nbytes, 1), np.uint8)
            pinned = Memory(self, array.base, array.ctypes.data, array.nbytes, "")
            self._pinned.add(pinned)
            handles = self._handle, self._stream, prepared.executable, self._before
            return roundtrip.RoundTrip(self._driver, handles, pinned, journey, self._check, prepared)

    def may_start(self, prepared: Graph | Nothing) -> bool:
        """Whether launches may be started by a round trip: not where others must be waited for, or the device is out of use."""
        self._recent = prepared.kernels
        return not (self._others.there or self._lost or _forked)

    def destroy(self, executable: Any) -> None:
        """Give a graph back; where the device is gone, so is the graph."""
        with suppress(DeviceError), self:
            self._driver.cuGraphExecDestroy(executable)

    repeats = 10  # starting a graph takes as long as a small kernel

    def seconds(self, prepared: Graph | Nothing) -> float:
        """Run launches, and return how long the GPU was at it: between an event before and one after."""
        with self:
            return libcuda.timed(self._driver, self._stream, self._check, prepared.run)

    # -- memory

    def allocate(self, nbytes: int, label: str = "") -> Memory:
        """Return memory of this size; that of size 0 has the address 0.

        Raises
        ------
        MemoryError
            where the GPU has not that much left, after what no call is using and what Python no longer needs were given back.
        """
        piece = self._piece(nbytes) if nbytes else None
        made = Memory(self, piece, 0 if piece is None else int(piece), nbytes, label)
        with self.lock:  # others may be listing them
            self._memories.add(made)
        return made

    def may_ask(self, keeper: Any) -> None:
        """Note who keeps memory ready for calls to come, and gives it back when asked."""
        with self.lock:
            self._keepers.add(keeper)

    def _piece(self, nbytes: int) -> Any:
        for tidy in (self._tidy, gc.collect, lambda: None):
            with self.pycuda_current("no memory of the GPU can be had"), suppress(self.pycuda.MemoryError):
                return self.pycuda.mem_alloc(nbytes)
            tidy()
        raise self._out_of_memory(nbytes)

    def _tidy(self) -> None:
        """Give back what is only kept ready."""
        with self.lock:  # others may be joining them
            keepers = list(self._keepers)
        for keeper in keepers:
            keeper.give_back()

    def _out_of_memory(self, nbytes: int) -> MemoryError:
        free, total = ffi.new("size_t *"), ffi.new("size_t *")
        with self:
            self._driver.cuMemGetInfo_v2(free, total)
            largest = sorted(self._memories, key=lambda m: -m.nbytes)
        rows = [(bytes_text(m.nbytes), m.label or "a buffer of a program", "") for m in largest[:_SHOWN] if m.nbytes]
        ours = sum(m.nbytes for m in largest)
        have = f"{bytes_text(free[0])} of {bytes_text(total[0])} are free, {bytes_text(ours)} are exprc's{', the largest:' if rows else ''}"
        fix = "take smaller batches, or let go of functions and variables that are not needed; nvidia-smi shows who else has some"
        return MemoryError(report(f"{self.name} is out of memory: {bytes_text(nbytes)} more were asked for, {have}", rows, fix))

    def give_back(self, piece: Any) -> None:
        """Free a piece of memory, in any thread."""
        try:
            with self.pycuda_current("memory cannot be given back"):
                piece.free()
        except DeviceError:
            _leave(piece)

    def write(self, address: int, array: Array) -> None:
        """Copy a C-contiguous array to the GPU."""
        if array.nbytes:
            with self._working():
                self._staging.write(address, array)

    def read(self, address: int, array: Array) -> None:
        """Fill a C-contiguous array from the GPU, after all work so far."""
        if not array.nbytes:
            self.synchronize()
            return
        if not array.flags.c_contiguous:
            raise ValueError("only a C-contiguous array can be filled from a GPU")
        with self._working():
            self._staging.read(address, array)

    def copy(self, source: int, target: int, nbytes: int) -> None:
        """Copy from one place on the GPU to another."""
        if nbytes:
            with self._working():
                self._check(self._driver.cuMemcpyDtoDAsync_v2(target, source, nbytes, self._stream), "a copy on the GPU failed")

    def check_own(self, address: int) -> None:
        """Raise ValueError for memory of another GPU, or of another context."""
        index, context = ffi.new("int *"), ffi.new("void **")
        with self:
            unknown = self._driver.cuPointerGetAttribute(index, _ORDINAL, address)
            apart = not self._driver.cuPointerGetAttribute(context, _CONTEXT, address) and context[0] not in (ffi.NULL, self._handle)
        if unknown:
            raise ValueError(report("the array is in no memory that a GPU has", fix="copy it to the host first"))
        if index[0] != self.gpu.index:
            what = f"the array is on cuda{index[0] or ''}, the function on {self.name}"
            raise ValueError(report(what, fix=f"copy it to the host first, or make the function with device='cuda{index[0] or ''}'"))
        if apart:
            what = f"the array is in another CUDA context on {self.name} than the primary one, in which the function runs"
            raise ValueError(report(what, fix="use the device's primary context, as PyTorch and CuPy do, or copy the array to the host"))

    # -- other libraries in the same context

    def wait_for(self, stream: int | None) -> None:
        """Let nothing begin before what others have asked for on a stream of theirs is done; None: wait for all that use the context."""
        with self:
            if stream is None:
                self._check(self._driver.cuCtxSynchronize(), "a GPU program failed")
            else:
                self._others.wait_for(stream)

    def let_wait(self, stream: int) -> None:
        """Let nothing begin on a stream of others before what was asked for here is done."""
        with self:
            self._others.let_wait(stream)

    def shared_with_others(self, array: Any) -> None:
        """Do work in turn with that of others, who have the memory of an array."""
        with self.lock:
            self._others.given(array)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        with self:
            self._others.begin()
            yield
            self._others.end()

    def _working(self) -> Any:
        """Hold the device for work that may be on memory that others have, too."""
        return self._in_turn() if self._others.there else self

    def forget(self, address: int, nbytes: int) -> None:
        """Nothing to do: what lies there is written again before it is read."""

    def synchronize(self) -> None:
        """Wait until all work is done; raise what went wrong in it."""
        with self:
            self._check(self._driver.cuStreamSynchronize(self._stream), "a GPU program failed")

    # -- the end

    def close(self) -> None:
        """Give everything back; afterwards the device cannot be used."""
        with suppress(DeviceError):
            self.synchronize()
        if self._lost:
            self.leave()
            return
        for graph in list(self._graphs):
            graph.free()
        for module in list(self._modules):
            module.free()
        for memory in [*self._memories, *self._pinned]:
            memory.free()
        with suppress(DeviceError), self.pycuda_current("the GPU cannot be closed"):
            self._staging.close()
            self._libraries.close()
            self._others.close()
            self._driver.cuEventDestroy_v2(self._before)
            del self._work, self._captured
        self._lost = report(f"{self.name} is closed: the process is ending")
        with suppress(self.pycuda.Error):
            self._context.detach()

    def leave(self) -> None:
        """Never let go of what pycuda made: where the context is broken, or the process forked, that would end the process."""
        pieces = [memory._piece for memory in (*self._memories, *self._pinned)] + [module._module for module in self._modules]
        _leave(self._context, self._work, self._captured, self._staging.pinned, *pieces)


def _leave(*things: Any) -> None:
    """Keep objects until the process has ended; its memory of the GPU goes then, too."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@atexit.register
def _close_all() -> None:
    if not _forked:
        for device in _opened.values():
            device.close()


def _after_fork() -> None:
    """In a forked child the driver answers nothing."""
    global _forked
    _forked = bool(_opened)
    for device in _opened.values():
        device.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
