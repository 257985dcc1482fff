"""Files of images and weights that are damaged, hostile or not there. Read by docs/errors.py."""

TITLE = "Files"
CASES = [
    ("Images cut off", ValueError, """
        header = bytes([0, 0, 8, 3]) + np.array([10, 28, 28], ">u4").tobytes()
        (folder / "t10k-images-idx3-ubyte").write_bytes(header + bytes(7000))
        images = datasets.read_idx(folder / "t10k-images-idx3-ubyte")
        """, ("the file is truncated", "remove the file and fetch it again; it is damaged or something else")),
    ("Images cut off, compressed", ValueError, """
        import gzip
        packed = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9]) + bytes(range(9)))
        (folder / "labels.gz").write_bytes(packed[:-4])
        labels = datasets.read_idx(folder / "labels.gz")
        """, ("the compressed data is damaged",
         "remove the file and fetch it again; it is damaged or something else")),
    ("A file that would unpack to a thousand times its size", ValueError, """
        import gzip
        bomb = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9]) + bytes(50_000_000))
        (folder / "labels.gz").write_bytes(bomb)
        labels = datasets.read_idx(folder / "labels.gz")
        """, ("the file is longer than it claims",
         "remove the file and fetch it again; it is damaged or something else")),
    ("A file of nine bytes that claims 73 exabytes", ValueError, """
        header = bytes([0, 0, 8, 2]) + bytes([255] * 8)
        (folder / "images").write_bytes(header)
        images = datasets.read_idx(folder / "images")
        """, ("the file claims more than may be read",
         "remove the file and fetch it again; it is damaged or something else")),
    ("A header cut off", ValueError, """
        (folder / "images").write_bytes(bytes([0, 0, 8, 3, 0, 0]))
        images = datasets.read_idx(folder / "images")
        """, ("the file ends inside its header",
         "remove the file and fetch it again; it is damaged or something else")),
    ("A file of another kind", ValueError, """
        (folder / "images").write_bytes(b"<!DOCTYPE html><title>404</title>")
        images = datasets.read_idx(folder / "images")
        """, ("not an IDX file", "remove the file and fetch it again; it is damaged or something else")),
    ("Images of another shape", ValueError, """
        (folder / "labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]))
        labels = datasets.read_idx(folder / "labels", shape=(10_000,))
        """, ("the shape is another one", "remove the file and fetch it again; it is damaged or something else")),
    ("Images with another checksum", ValueError, """
        (folder / "labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]))
        labels = datasets.read_idx(folder / "labels", sha256="ba891046" * 8)
        """, ("the content is not the published one",
         "remove the file and fetch it again; it is damaged or something else")),
    ("No MNIST and no network", FileNotFoundError, """
        data = datasets.load_mnist(folder)
        """, ("MNIST is not on this machine",
         "put the four files into one of these folders, or name theirs in EXPRC_DATA; --data digits works without them")),
    ("A download that is not https", ValueError, """
        from exprc.datasets.fetch import fetch
        fetch("http://example.org/train-images-idx3-ubyte.gz", folder / "images.gz", check=print)
        """, ("fetch: only https addresses are fetched, not http://example.org/train-images-idx3-ubyte.gz",
         "what comes over http can be changed on its way")),
    ("A download while offline", OSError, """
        from exprc.datasets.fetch import fetch
        fetch("https://example.org/train-images-idx3-ubyte.gz", folder / "images.gz", check=print)
        """, ("fetch: https://example.org/train-images-idx3-ubyte.gz not fetched, EXPRC_OFFLINE is set",
         "unset it to allow downloads")),
    ("More images asked for than there are", ValueError, """
        parts = datasets.split(datasets.digits(50), 40, 10, 10)
        """, ("split: 40 + 10 + 10 images asked for, there are 50", "ask for fewer, or draw more with digits(n)")),
    ("Floats where images are needed", ValueError, """
        x = datasets.as_floats(np.zeros((10, 784)))
        """, ("as_floats: takes uint8 (n, height, width), got float64 (10, 784)",
         "images read by exprc.datasets have that form")),
    ("Weights of another network", ValueError, """
        io.save_npz(folder / "weights.npz", {"W": np.zeros((784, 100)), "c": np.zeros(100)})
        weights = io.load_npz(folder / "weights.npz", expected={"W": (784, 10), "b": (10,)})
        """, ("3 differences from what was expected",
         "the file was written by another network, or by another version of this one")),
    ("Weights cut off", ValueError, """
        io.save_npz(folder / "weights.npz", {"W": np.zeros((784, 100))})
        content = (folder / "weights.npz").read_bytes()
        (folder / "weights.npz").write_bytes(content[: len(content) // 2])
        weights = io.load_npz(folder / "weights.npz")
        """, ("the file is damaged, or no .npz file",
         "nothing of it was loaded; take another copy of it, or write it again")),
    ("Weights with a flipped bit", ValueError, """
        io.save_npz(folder / "weights.npz", {"W": np.zeros((784, 100))})
        content = bytearray((folder / "weights.npz").read_bytes())
        content[5000] ^= 1
        (folder / "weights.npz").write_bytes(content)
        weights = io.load_npz(folder / "weights.npz")
        """, ("the file is damaged, or no .npz file",
         "nothing of it was loaded; take another copy of it, or write it again")),
    ("Weights that would run a program", ValueError, """
        np.savez(folder / "weights.npz", W=np.array([print], dtype=object))
        weights = io.load_npz(folder / "weights.npz")
        """, ("the file is damaged, or no .npz file",
         "nothing of it was loaded; take another copy of it, or write it again")),
    ("Weights that would fill the memory", ValueError, """
        np.savez_compressed(folder / "weights.npz", W=np.zeros(4_000_000))
        weights = io.load_npz(folder / "weights.npz", limit=1_000_000)
        """, ("the arrays take 32,000,128 bytes, the limit is 1,000,000",
         "give load_npz a greater limit if the file is to be trusted")),
    ("An array whose header lies about its size", ValueError, """
        import io as memory, zipfile
        member = memory.BytesIO()
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
        zipfile.ZipFile(folder / "weights.npz", "w").writestr("W.npy", member.getvalue())
        weights = io.load_npz(folder / "weights.npz")
        """, ("W.npy is not as long as its header says",
         "nothing of it was loaded; take another copy of it, or write it again")),
    ("An archive with other things in it", ValueError, """
        import zipfile
        zipfile.ZipFile(folder / "weights.npz", "w").writestr("readme.txt", "hello")
        weights = io.load_npz(folder / "weights.npz")
        """, ("member 'readme.txt' is not an array",
         "only files that save_npz, numpy.savez or numpy.savez_compressed wrote are read")),
    ("A member under a name that is there already", ValueError, """
        import warnings, zipfile
        with warnings.catch_warnings(), zipfile.ZipFile(folder / "weights.npz", "w") as archive:
            warnings.simplefilter("ignore")
            archive.writestr("W.npy", b"one")
            archive.writestr("W.npy", b"another")
        weights = io.load_npz(folder / "weights.npz")
        """, ("member 'W.npy' is there twice",
         "only files that save_npz, numpy.savez or numpy.savez_compressed wrote are read")),
    ("Texts saved as weights", TypeError, """
        io.save_npz(folder / "weights.npz", {"optimiser": "adam"})
        """, ("save_npz: optimiser has dtype <U4: only numbers and booleans are written",
         "write texts and settings to a JSON file beside it")),
    ("Weights under a name that no file can hold", ValueError, """
        io.save_npz(folder / "weights.npz", {"a\\nb": np.zeros(3)})
        """, ("save_npz: 'a\\nb' cannot name an array", "a name is a printable text without backslashes")),
    ("A network in place of its weights", TypeError, """
        net = L.DenseLayer(L.InputLayer((None, 784)), 10)
        io.save_npz(folder / "weights.npz", net)
        """, ("arrays are given as a dict or a list, not as DenseLayer",
         "those of a network are exprc.nn.layers.get_all_param_values(layer)")),
    ("A folder that is not there", FileNotFoundError, """
        io.save_npz(folder / "runs" / "weights.npz", [np.zeros(3)])
        """, ("there is no such folder; make it first", "runs")),
]
