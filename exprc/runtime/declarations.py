"""What Python calls in compiled programs, in the engine of the emulator and in the libraries of CUDA, in C.

The modules ``*entry.py`` are generated from it.

cffi would parse these declarations at every start, which takes longer than loading a program. Its out-of-line ABI mode
(cffi's documentation, "Preparing and Distributing modules") stores them parsed. After a change run
``python -m exprc.runtime.declarations``.
"""

from __future__ import annotations

from pathlib import Path

DECLARATIONS = """
    int exprc_run(void **buffers, const int64_t *sizes, char *arena, int64_t threads, int64_t *status);
    void exprc_set_forked(void);
"""

#: kernels/cuda/emulator_engine.c.
EMULATOR = """
    int64_t exprc_emulator_allocate(int64_t bytes, int tracked);
    void exprc_emulator_free(int64_t address);
    int exprc_emulator_write(int64_t address, const void *host, int64_t bytes, int64_t *told);
    int exprc_emulator_read(int64_t address, void *host, int64_t bytes, int64_t *told);
    int exprc_emulator_copy(int64_t source, int64_t target, int64_t bytes, int64_t *told);
    int exprc_emulator_forget(int64_t address, int64_t bytes, int64_t *told);
    void *exprc_emulator_open(const char *path, char *said, int64_t room);
    void exprc_emulator_close(void *module);
    void *exprc_emulator_kernel(void *module, const char *name);
    int exprc_emulator_launch(void *module, void *kernel, const int64_t *shape, const int64_t *arguments,
                              const unsigned char *read_only, const int64_t *extents, int64_t count, int64_t *fault);
"""

#: CUDA Driver API Reference. Devices and results are int, handles void *, addresses on a device uint64_t.
LIBCUDA = """
    int cuInit(unsigned flags);
    int cuDriverGetVersion(int *version);
    int cuGetErrorName(int error, const char **text);
    int cuGetErrorString(int error, const char **text);

    int cuDeviceGetCount(int *count);
    int cuDeviceGet(int *device, int ordinal);
    int cuDeviceGetName(char *name, int length, int device);
    int cuDeviceTotalMem_v2(size_t *bytes, int device);
    int cuDeviceGetAttribute(int *value, int attribute, int device);

    int cuCtxGetCurrent(void **context);
    int cuCtxPushCurrent_v2(void *context);
    int cuCtxPopCurrent_v2(void **context);
    int cuCtxSynchronize(void);
    int cuPointerGetAttribute(void *value, int attribute, uint64_t pointer);
    int cuMemGetInfo_v2(size_t *free, size_t *total);

    int cuMemcpyHtoDAsync_v2(uint64_t target, const void *source, size_t bytes, void *stream);
    int cuMemcpyDtoHAsync_v2(void *target, uint64_t source, size_t bytes, void *stream);
    int cuMemcpyDtoDAsync_v2(uint64_t target, uint64_t source, size_t bytes, void *stream);
    int cuStreamSynchronize(void *stream);
    int cuEventCreate(void **event, unsigned flags);
    int cuEventDestroy_v2(void *event);
    int cuEventRecord(void *event, void *stream);
    int cuEventSynchronize(void *event);
    int cuEventElapsedTime(float *milliseconds, void *begin, void *end);
    int cuStreamWaitEvent(void *stream, void *event, unsigned flags);

    int cuStreamBeginCapture_v2(void *stream, int mode);
    int cuStreamEndCapture(void *stream, void **graph);
    int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags);
    int cuGraphLaunch(void *executable, void *stream);
    int cuGraphDestroy(void *graph);
    int cuGraphExecDestroy(void *executable);
"""

#: NVRTC (the documentation of that library): from CUDA text to machine code, without a GPU.
NVRTC = """
    int nvrtcVersion(int *major, int *minor);
    const char *nvrtcGetErrorString(int result);
    int nvrtcCreateProgram(void **program, const char *text, const char *name, int headers, const char **contents, const char **names);
    int nvrtcDestroyProgram(void **program);
    int nvrtcCompileProgram(void *program, int count, const char **options);
    int nvrtcGetProgramLogSize(void *program, size_t *size);
    int nvrtcGetProgramLog(void *program, char *log);
    int nvrtcGetCUBINSize(void *program, size_t *size);
    int nvrtcGetCUBIN(void *program, char *cubin);
"""

#: cuBLAS (the documentation of that library): products of matrices in column-major order. Handles are void *, addresses uint64_t.
CUBLAS = """
    int cublasCreate_v2(void **handle);
    int cublasDestroy_v2(void *handle);
    int cublasGetProperty(int which, int *value);
    int cublasSetStream_v2(void *handle, void *stream);
    int cublasSetWorkspace_v2(void *handle, uint64_t workspace, size_t bytes);
    int cublasSetMathMode(void *handle, int mode);
    int cublasSgemmStridedBatched(void *handle, int of_a, int of_b, int m, int n, int k, const float *alpha,
                                  uint64_t a, int lda, long long stride_a, uint64_t b, int ldb, long long stride_b,
                                  const float *beta, uint64_t c, int ldc, long long stride_c, int batch);
    int cublasDgemmStridedBatched(void *handle, int of_a, int of_b, int m, int n, int k, const double *alpha,
                                  uint64_t a, int lda, long long stride_a, uint64_t b, int ldb, long long stride_b,
                                  const double *beta, uint64_t c, int ldc, long long stride_c, int batch);
"""

#: cuDNN (its headers): convolutions. Handles and descriptors are void *, addresses uint64_t.
CUDNN = """
    typedef struct {
        int algorithm, status; float milliseconds; size_t memory; int deterministic, math, reserved[3];
    } cudnn_way;
    size_t cudnnGetVersion(void);
    const char *cudnnGetErrorString(int status);
    int cudnnCreate(void **handle);
    int cudnnDestroy(void *handle);
    int cudnnSetStream(void *handle, void *stream);

    int cudnnCreateTensorDescriptor(void **tensor);
    int cudnnDestroyTensorDescriptor(void *tensor);
    int cudnnSetTensor4dDescriptorEx(void *tensor, int dtype, int n, int c, int h, int w, int step_n, int step_c, int step_h, int step_w);
    int cudnnCreateFilterDescriptor(void **filters);
    int cudnnDestroyFilterDescriptor(void *filters);
    int cudnnSetFilter4dDescriptor(void *filters, int dtype, int format, int o, int c, int h, int w);
    int cudnnCreateConvolutionDescriptor(void **convolution);
    int cudnnDestroyConvolutionDescriptor(void *convolution);
    int cudnnSetConvolution2dDescriptor(void *convolution, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
                                        int mode, int dtype);
    int cudnnSetConvolutionGroupCount(void *convolution, int groups);
    int cudnnSetConvolutionMathType(void *convolution, int math);

    int cudnnGetConvolutionForwardAlgorithm_v7(void *handle, void *x, void *w, void *convolution, void *y, int room, int *count,
                                               cudnn_way *ways);
    int cudnnGetConvolutionBackwardDataAlgorithm_v7(void *handle, void *w, void *y, void *convolution, void *x, int room, int *count,
                                                    cudnn_way *ways);
    int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void *handle, void *x, void *y, void *convolution, void *w, int room, int *count,
                                                      cudnn_way *ways);
    int cudnnConvolutionForward(void *handle, const void *one, void *x_is, uint64_t x, void *w_is, uint64_t w, void *convolution,
                                int algorithm, uint64_t room, size_t bytes, const void *zero, void *y_is, uint64_t y);
    int cudnnConvolutionBackwardData(void *handle, const void *one, void *w_is, uint64_t w, void *y_is, uint64_t y, void *convolution,
                                     int algorithm, uint64_t room, size_t bytes, const void *zero, void *x_is, uint64_t x);
    int cudnnConvolutionBackwardFilter(void *handle, const void *one, void *x_is, uint64_t x, void *y_is, uint64_t y, void *convolution,
                                       int algorithm, uint64_t room, size_t bytes, const void *zero, void *w_is, uint64_t w);
"""

FOLDER = Path(__file__).parent
MODULES = {
    "entry": DECLARATIONS, "emulator_entry": EMULATOR, "libcuda_entry": LIBCUDA, "nvrtc_entry": NVRTC, "cublas_entry": CUBLAS,
    "cudnn_entry": CUDNN,
}  # fmt: skip


def write(name: str, path: Path | None = None) -> None:
    """Write a module of `MODULES`, which holds its declarations parsed; by default where it belongs."""
    import cffi  # type: ignore[import-untyped]

    path = path or FOLDER / f"{name}.py"
    ffi = cffi.FFI()
    ffi.cdef(MODULES[name])
    ffi.set_source(f"exprc.runtime.{name}", None)
    ffi.emit_python_code(str(path))
    path.write_text("# ruff: noqa\n# mypy: ignore-errors\n" + path.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    for module in MODULES:
        write(module)
