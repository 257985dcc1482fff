"""Machines without a compiler or with a broken one, caches that cannot be trusted, settings that are none. Read by docs/errors.py."""

from exprc.errors import CompileError
from exprc.runtime.compiler import NoCompiler

TITLE = "The machine: compiler, cache, settings"
NEXT = """
    x = T.scalar("x")
    f = exprc.function([x], x + 1, mode="compiled")
    f(1)
    """
CASES = [
    ("No compiler", NoCompiler, NEXT,
         ("no C compiler found: neither EXPRC_CC nor CC names one, and cc, gcc and clang are not on the path",
         "or conda install gcc"), "no compiler is installed", "os.environ['PATH'] = str(folder)"),
    ("A compiler that does not exist", CompileError, NEXT, ("EXPRC_CC names the compiler 'icc -fast', which does not exist",
         "correct EXPRC_CC, or unset it to use cc, gcc or clang"), "`EXPRC_CC=icc -fast`",
         "os.environ['EXPRC_CC'] = 'icc -fast'"),
    ("A compiler that is no program", CompileError, NEXT, ("the C compiler cannot be started: Exec format error", "command",
         "--version",
         "correct EXPRC_CC or CC, or unset it"), "`EXPRC_CC` names a text file", """
        compiler('')
        Path(os.environ['EXPRC_CC']).write_bytes(bytes(100))
        """),
    ("A compiler that fails", CompileError, NEXT, ("the C compiler failed: exit status 1", "command  cd",
         "unit0.c -shared -o program.so -lm",
         "source", "run the command by hand to look closer; EXPRC_CC names another compiler"),
         "the compiler prints an error and ends with status 1", """
        compiler('echo "unit0.c:1:10: fatal error: stdint.h: No such file or directory" >&2; exit 1')
        """),
    ("A compiler that crashes", CompileError, NEXT, ("the C compiler failed: killed by SIGSEGV", "command  cd",
         "unit0.c -shared -o program.so -lm",
         "source", "run the command by hand to look closer; EXPRC_CC names another compiler"), "the compiler crashes",
         "compiler('kill -SEGV $$')"),
    ("A compiler that hangs", CompileError, NEXT,
         ("the C compiler failed: it did not finish in 2 s (EXPRC_CC_TIMEOUT sets the limit)",
         "command  cd", "unit0.c -shared -o program.so -lm", "source",
         "give it more time, or compile a smaller function"), "the compiler never ends, with `EXPRC_CC_TIMEOUT=2`", """
        compiler('sleep 300')
        os.environ['EXPRC_CC_TIMEOUT'] = '2'
        """),
    ("A compiler that prints ten megabytes", CompileError, NEXT, ("the C compiler failed: exit status 1", "command  cd",
         "unit0.c -shared -o program.so -lm",
         "source", "run the command by hand to look closer; EXPRC_CC names another compiler"),
         "the compiler prints ten megabytes", """
        compiler("yes 'In file included from unit0.c:1:' | head -c 10000000; exit 1")
        """),
    ("A compiler that writes nonsense", CompileError, NEXT, ("the C compiler failed: what it wrote cannot be loaded",
         "command  cd",
         "unit0.c -shared -o program.so -lm", "source",
         "is it a compiler for another machine? EXPRC_CC names another one"), "the compiler writes nonsense",
         "compiler('echo nonsense > program.so')"),
    ("A compiler for another processor", CompileError, NEXT, ("the C compiler failed: what it wrote cannot be loaded",
         "command  cd",
         "unit0.c -shared -o program.so -lm", "source",
         "is it a compiler for another machine? EXPRC_CC names another one"),
         "the compiler writes a program for another processor", """
        (folder / 'other.so').write_bytes(bytes.fromhex('7f454c46020101' + '00' * 9 + '0300f20001000000') + bytes(400))
        compiler(f'cat {folder}/other.so > program.so')
        """),
    ("A compiler that writes nothing", CompileError, NEXT, ("the C compiler failed: it reported success but wrote no program",
         "command  cd",
         "unit0.c -shared -o program.so -lm", "source",
         "is it a compiler at all? EXPRC_CC names another one"), "the compiler reports success and writes nothing",
         "compiler('exit 0')"),
    ("A compiler that is killed", CompileError, NEXT, ("the C compiler failed: exit status 1", "command  cd",
         "unit0.c -shared -o program.so -lm",
         "source",
         "the machine may be out of memory: close other programs, or compile a smaller function"),
         "the machine runs out of memory and kills the compiler", """
        compiler('echo "cc: fatal error: Killed signal terminated program cc1"; exit 1')
        """),
    ("A compiler that may not write long files", CompileError, NEXT, ("the C compiler failed: exit status 1", "command  cd",
         "unit0.c -shared -o program.so -lm",
         "source", "the process may not write files this big: raise ulimit -f"), "`ulimit -f` is small", """
        compiler('echo "cc1: internal compiler error: File size limit exceeded"; exit 1')
        """),
    ("A time limit that is none", ValueError, NEXT, ("EXPRC_CC_TIMEOUT is 'soon', which is not a number of seconds above 0",
         "for example 300"), "`EXPRC_CC_TIMEOUT=soon`", """
        compiler('')
        os.environ['EXPRC_CC_TIMEOUT'] = 'soon'
        """),
    ("A size of the cache that is none", ValueError, """
        from exprc.runtime import cache
        cache.build("ab", lambda folder: (folder / "program.so").write_bytes(b"program"))
        """, ("EXPRC_CACHE_BYTES is '2GB', which is not a number of bytes", "for example 1000000000"),
         "`EXPRC_CACHE_BYTES=2GB`", "os.environ['EXPRC_CACHE_BYTES'] = '2GB'"),
    ("A cache folder that others can write", RuntimeWarning, NEXT, ("the cache folder",
         "can be written by others (mode 0777; chmod go-w mends it)",
         "programs are built again in every process; name another folder in EXPRC_CACHE"), "the cache folder has mode 777", """
        (folder / 'cache').mkdir()
        (folder / 'cache').chmod(0o777)
        """),
    ("A cache folder that is a link", RuntimeWarning, NEXT, ("the cache folder", "is a symbolic link",
         "programs are built again in every process; name another folder in EXPRC_CACHE"),
         "the cache folder is a symbolic link", """
        (folder / 'real').mkdir()
        (folder / 'cache').symlink_to(folder / 'real')
        """),
    ("A cache folder of someone else", RuntimeWarning, NEXT, ("the cache folder", "belongs to user", ", not to user",
         "programs are built again in every process; name another folder in EXPRC_CACHE"),
         "the cache folder belongs to another user", """
        from exprc.runtime import cache
        cache._user = lambda: os.geteuid() + 1
        """),
    ("A cache folder that is a file", RuntimeWarning, NEXT, ("the cache folder", "is not a folder",
         "programs are built again in every process; name another folder in EXPRC_CACHE"),
         "a file stands where the cache folder should be", """
        (folder / 'cache').write_text('')
        """),
    ("A cache folder that cannot be made", RuntimeWarning, NEXT, ("the cache folder", "cannot be made: File exists",
         "programs are built again in every process; name another folder in EXPRC_CACHE"),
         "the cache folder would lie below a file", """
        (folder / 'file').write_text('')
        os.environ['EXPRC_CACHE'] = str(folder / 'file' / 'cache')
        """),
    ("A cache folder in a place where anyone can exchange it", RuntimeWarning, NEXT, ("the cache folder", "lies in",
         "where anyone can exchange it",
         "programs are built again in every process; name another folder in EXPRC_CACHE"),
         "the folder above the cache has mode 777", """
        (folder / 'open').mkdir()
        (folder / 'open').chmod(0o777)
        os.environ['EXPRC_CACHE'] = str(folder / 'open' / 'cache')
        """),
    ("A relative cache folder", RuntimeWarning, NEXT, ("the cache folder cache is not an absolute path",
         "programs are built again in every process; name another folder in EXPRC_CACHE"), "`EXPRC_CACHE=cache`",
         "os.environ['EXPRC_CACHE'] = 'cache'"),
    ("A full disk", RuntimeWarning, """
        from exprc.runtime import cache
        cache.build("ab", write)
        """, ("the cache folder", "cannot be used: No space left on device",
         "programs are built again in every process; name another folder in EXPRC_CACHE"),
         "the disk that holds the cache is full", """
        def write(build):
            raise OSError(28, 'No space left on device')
        """),
    ("A cache folder that cannot be written", RuntimeWarning, NEXT, ("the cache folder", "cannot be used: File exists",
         "programs are built again in every process; name another folder in EXPRC_CACHE"),
         "the cache is on a disk that can only be read", """
        (folder / 'cache').mkdir(mode=0o700)
        (folder / 'cache' / 'programs').write_text('')
        """),
    ("A setting that does not exist", AttributeError, """
        exprc.config.flaotX = "float64"
        """, ("config has no setting 'flaotX", "did you mean 'floatX'?")),
    ("A setting with a wrong value", ValueError, """
        exprc.config.floatX = "float16"
        """, ("config.floatX: 'float16' is none of float32, float64",
         "dtype of inputs of unstated dtype and of mathematics on integers; the default is 'float32'")),
    ("A number of threads that is none", ValueError, """
        exprc.set_threads(0)
        """, ("set_threads: 0 is not a number of threads", "give a whole number of at least 1")),
    ("A CPU that is none", ValueError, NEXT, ("EXPRC_CPU is 'avx9', which is none of avx512, avx2, neon, scalar",
         "this CPU has avx2, scalar"), "`EXPRC_CPU=avx9`", "os.environ['EXPRC_CPU'] = 'avx9'"),
]
