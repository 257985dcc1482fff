"""GPUs that are missing, full, lost, or that lack something. Read by docs/errors.py; docs/stand_in.py plays the GPU."""

from exprc.errors import CompileError, DeviceError

TITLE = "GPUs"
MAKE = """
    x = T.vector("x")
    f = exprc.function([x], T.exp(x).sum(), device="cuda")
    f(np.ones(3, "float32"))
    """
GIVEN = """
    class Tensor:
        "An array of another library."
        __cuda_array_interface__ = {"data": (4096, False), "shape": (3,), "typestr": "<f4", "version": 3}

    x = T.vector("x")
    f = exprc.function([x], x + 1, device="cuda")
    f(Tensor())
    """
CASES = [
    ("No driver", DeviceError, MAKE, ("no NVIDIA driver found: cannot load library 'libcuda.so.1'",
         "install the driver of the GPU; in a container",
         'device="cpu" and device="cuda-emulator" need no GPU'), "there is no driver", "no_driver()"),
    ("A driver that is too old", DeviceError, MAKE, ("the NVIDIA driver is too old: it knows CUDA 11.4, exprc needs 12.0",
         "update the driver"),
         "the driver is one for CUDA 11.4", "gpu(version=11040)"),
    ("No GPU", DeviceError, MAKE, ("the NVIDIA driver finds no GPU", "is one in the machine, and given to it?"),
         "there is a driver, and no GPU",
         "os.environ.pop('CUDA_VISIBLE_DEVICES', None); gpu(gpus=0, cuInit=100)"),
    ("A GPU that the machine does not have", DeviceError, """
        x = T.vector("x")
        exprc.function([x], x + 1, device="cuda3")
        """, ("there is no GPU cuda3: this machine has cuda (GPU)", "name one of these"), "there is one GPU", "gpu()"),
    ("No pycuda", DeviceError, MAKE, ('device="cuda" needs pycuda, which is not installed', "pip install 'exprc[cuda]'"),
         "the package pycuda is not installed", "no_pycuda()"),
    ("No compiler for CUDA", CompileError, MAKE, ("no CUDA compiler found: neither the library NVRTC nor nvcc",
         "pip install nvidia-cuda-nvrtc"),
         "neither NVRTC nor nvcc is installed", "no_cuda_compiler()"),
    ("A compiler for CUDA that fails", CompileError, MAKE, ("nvcc failed: exit status 2", "--cubin -o program.cubin unit0.cu", "source"),
         "the compiler nvcc fails", """
        no_cuda_compiler()
        compiler('echo "unit0.cu(3): error: identifier is undefined" >&2; exit 2')
        os.environ['EXPRC_NVCC'] = os.environ.pop('EXPRC_CC')
        """),
    ("A GPU whose memory is full", MemoryError, """
        weights = exprc.shared(np.zeros((2000, 1000), "float32"), name="weights")
        x = T.matrix("x")
        f = exprc.function([x], T.tanh(T.dot(x, weights)).sum(), device="cuda")
        f(np.ones((9000, 2000), "float32"))
        """, ("cuda is out of memory: 68.7 MiB more were asked for, 3.0 MiB of 64.0 MiB are free", "the largest:", "working memory: ",
         "made at", "@3", "weights made at", "@1", "take smaller batches"), "the GPU has 64 MiB", "gpu()"),
    ("A kernel that asks for more shared memory than the GPU has", DeviceError, """
        x = T.matrix("x", shape=(300, 400))
        f = exprc.function([x], T.softmax(x), device="cuda")
        f(np.ones((300, 400), "float32"))
        """, ("kernel k0 asks for ", " bytes of shared memory for a block, GPU has 512", "make the sizes smaller"),
         "a block may have 512 bytes of shared memory", "gpu(shared=512)"),
    ("A kernel that fails", DeviceError, MAKE, ("a GPU program failed; the kernels that ran last are k0",
         "a kernel used memory that is not its own", "CUDA_ERROR_ILLEGAL_ADDRESS, 700", "start it again",
         'device="cuda-emulator" finds the line'), "a kernel uses an address that is none",
         "gpu(cuStreamSynchronize=700)"),
    ("An array of another CUDA context", ValueError, GIVEN, ("wrong value for the input x: the array is in another CUDA context on "
         "cuda than the primary one", "input  x  float32, (?,)    made at", "@5", "use the device's primary context"),
         "the array lies in another context", "gpu(context=2)"),
    ("An array of another GPU", ValueError, """
        class Tensor:
            "An array of another library, on the second GPU."
            def __dlpack_device__(self):
                return 2, 1
            def __dlpack__(self, **_):
                ...

        x = T.vector("x")
        f = exprc.function([x], x + 1, device="cuda")
        f(Tensor())
        """, ("wrong value for the input x: the array is on cuda1, the function on cuda", "made at", "@8", "device='cuda1'"),
         "there are two GPUs", "gpu(gpus=2)"),
    ("An array on a device for a function on the CPU", ValueError, """
        x = T.vector("x")
        f = exprc.function([x], exprc.Out(x + 1, return_internal_type=True), device="cuda-emulator")
        g = exprc.function([x], x + 1)
        g(f(np.ones(3, "float32")))
        """, ("wrong value for the input x: the array is on cuda-emulator, the function on cpu", "made at", "@1",
         "copy it to the host first")),
    ("A number of steps that is none", ValueError, """
        x = T.vector("x")
        exprc.function([x], x + 1, steps=0)
        """, ("steps is 0: it must be a number of steps, at least 1",)),
]  # fmt: skip
