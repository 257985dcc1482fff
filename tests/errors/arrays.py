"""Mistakes in expressions: shapes, dtypes, axes and indices that do not go together. Read by docs/errors.py."""

TITLE = "Arrays"
CASES = [
    ("Inner sizes of a product", ValueError, """
        x = T.matrix("x", shape=(32, 784))
        W = exprc.shared(np.zeros((100, 10), "float32"), name="W")
        y = T.dot(x, W)
        """, ("dot: inner sizes differ: (32, 784) · (100, 10): 784 ≠ 100", "x", "@1", "W", "@2",
         "the last axis of the left must be as long as the one of the right that is summed over with it")),
    ("Inner sizes of a product, known only at the call", ValueError, """
        x, W = T.matrix("x"), T.matrix("W")
        T.dot(x, W).eval({x: np.zeros((32, 784)), W: np.zeros((100, 10))})
        """, ("dot: inner sizes differ: (32, 784) · (100, 10): 784 ≠ 100", "x", "@1", "W", "@1")),
    ("A mask of another length, known only at the call", IndexError, """
        x, y = T.vector("x"), T.vector("y")
        x[y > 0].eval({x: np.zeros(3), y: np.ones(2)})
        """, ("boolean index did not match: 2 ≠ 3", "x", "@1")),
    ("Lengths given one by one", TypeError, """
        y = T.zeros(3, 4)
        """, ("4 is no dtype", "several lengths or axes go in one tuple: zeros((3, 4)), sum(axis=(0, 1))")),
    ("Arrays that cannot be stacked", ValueError, """
        x, v = T.matrix("x", shape=(3, 4)), T.vector("v")
        y = T.stack([x, v])
        """, ("stack: arrays of one shape are needed: (3, 4) ≠ (?,)", "x", "@1", "v", "@1",
         "concatenate joins along an axis that is there; broadcast_to repeats")),
    ("A matrix that should be transposed", ValueError, """
        h = T.matrix("h", shape=(32, 100))
        V = exprc.shared(np.zeros((10, 100), "float32"), name="V")
        y = h @ V
        """, ("dot: inner sizes differ: (32, 100) · (10, 100): 100 ≠ 10", "h", "@1", "V", "@2",
         "did you mean dot(h, V.T)?")),
    ("A product with a scalar", ValueError, """
        x = T.vector("x")
        rate = T.scalar("rate")
        y = rate @ x
        """, ("matmul: operands need at least one axis", "rate", "@2", "x", "@1", "use * for scalars")),
    ("Shapes that do not broadcast", ValueError, """
        x = T.matrix("x", shape=(32, 10))
        bias = T.vector("bias", shape=(32,))
        y = x + bias
        """, ("add: shapes do not broadcast: (32, 10) · (32,): 10 ≠ 32", "x", "@1", "bias", "@2",
         "axes are matched from the last one; x[:, None] or dimshuffle puts an axis of length 1 where one is lacking")),
    ("A row of the wrong length in a broadcast_to", ValueError, """
        b = T.vector("b", shape=(3,))
        y = T.broadcast_to(b, (2, 4))
        """, ("broadcast_to: shapes do not broadcast: (3,) · (2, 4): 3 ≠ 4", "b", "@1",
         "axes are matched from the last one; x[:, None] or dimshuffle puts an axis of length 1 where one is lacking")),
    ("A reshape that loses elements", ValueError, """
        images = T.tensor4("images", shape=(32, 1, 28, 28))
        y = images.reshape((32, 1000))
        """, ("reshape: cannot reshape (32, 1, 28, 28) to (32, 1000): numbers of elements differ: 25088 ≠ 32000",
         "images", "@1", "one dim may be -1: it takes what the others leave over")),
    ("Two dims left open in a reshape", ValueError, """
        x = T.matrix("x")
        y = x.reshape((-1, -1, 3))
        """, ("reshape: only one dim may be -1: (-1, -1, 3)", "x", "@1",
         "-1 is what the other dims leave over; give all but one as numbers")),
    ("An axis that is not there", ValueError, """
        x = T.matrix("x")
        y = x.sum(axis=2)
        """, ("sum: axis 2 is out of bounds for an array of 2 dimensions", "x", "@1",
         "its axes are 0 to 1, or -2 to -1 from the end")),
    ("An axis named twice", ValueError, """
        x = T.tensor3("x")
        y = x.mean(axis=(0, -3))
        """, ("mean: an axis is named twice: (0, -3)", "x", "@1", "name each axis once; -1 is the last one")),
    ("The greatest of no elements", ValueError, """
        x = T.matrix("x", shape=(0, 5))
        y = x.max(axis=0)
        """, ("max: no elements to take the max of: shape (0, 5), axes (0,)", "x", "@1",
         "reduce along axes that are not empty, or join with something that is always there")),
    ("A dimshuffle that drops a long axis", ValueError, """
        x = T.matrix("x", shape=(3, 4))
        y = x.dimshuffle(0)
        """, ("dimshuffle: axis 1 of length 4 cannot be dropped: order (0,) of shape (3, 4)", "x", "@1",
         "only axes of length 1 may be left out")),
    ("A dimshuffle to an axis that is not there", ValueError, """
        x = T.matrix("x")
        y = x.dimshuffle(0, "x", 2)
        """, ("dimshuffle: axis 2 is out of bounds for an array of 2 dimensions", "x", "@1",
         "its axes are 0 to 1, or -2 to -1 from the end")),
    ("Arrays that cannot be joined", ValueError, """
        a = T.matrix("a", shape=(2, 3))
        b = T.matrix("b", shape=(2, 4))
        y = T.concatenate([a, b], axis=0)
        """, ("concatenate: lengths of axis 1 differ (only those of axis 0, along which they are joined, may): 3 ≠ 4",
         "a", "@1", "b", "@2", "did you mean axis=1?")),
    ("Scalars that cannot be joined", ValueError, """
        a, b = T.scalar("a"), T.scalar("b")
        y = T.concatenate([a, b])
        """, ("concatenate: scalars have no axis to be joined along", "a", "@1", "b", "@1",
         "stack() puts them along a new axis")),
    ("Nothing to be joined", ValueError, """
        y = T.concatenate([])
        """, ("concatenate: at least one array is needed", "is the list that was given empty?")),
    ("Too many indices", IndexError, """
        x = T.matrix("x")
        y = x[0, 1, 2]
        """, ("too many indices: 3 for an array of 2 dimensions", "x", "@1",
         "give at most one index for each axis")),
    ("An index out of bounds, known while building", IndexError, """
        x = T.vector("x", shape=(5,))
        y = x[7]
        """, ("index 7 is out of bounds for axis 0 of length 5", "x", "@1",
         "indices go from 0 to 4, or from -5 to -1 from the end")),
    ("A float as index", TypeError, """
        x = T.vector("x")
        middle = T.scalar("middle")
        y = x[middle]
        """, ("an index must be of an integer dtype, not float32", "x", "@1", "cast it to 'int64'?")),
    ("A text as index", TypeError, """
        x = T.vector("x")
        y = x["first"]
        """, ("an index must be an integer, a slice, None, ... or integers in an array, not <U5", "x", "@1",
         "round a number and cast it to an integer; a list of texts or records has no place here")),
    ("A slice with step 0", ValueError, """
        x = T.vector("x")
        y = x[::0]
        """, ("the step of a slice must be a number other than 0", "x", "@1",
         "leave it out to take every element")),
    ("Values that do not fit the part they are set in", ValueError, """
        x = T.matrix("x", shape=(4, 5))
        row = T.vector("row", shape=(4,))
        y = T.set_subtensor(x[0], row)
        """, ("set_subtensor: a value of (4,) does not fit in a part of (5,): 4 ≠ 5", "subtensor(...)", "@3",
         "row", "@2", "the value must have the shape of the part, or broadcast to it")),
    ("set_subtensor of something that is not indexed", TypeError, """
        x = T.vector("x")
        y = T.set_subtensor(x, 0)
        """, ("set_subtensor: the first argument must be an indexed expression x[...], not 'x", "x", "@1",
         "the whole of x is x[:]")),
    ("A condition asked for its truth", TypeError, """
        x = T.scalar("x")
        y = 1 if x > 0 else 2
        """, ("an expression is neither true nor false: it has no value until it is compiled and called",
         "gt(...)", "@2",
         "use where(condition, a, b); (a < x) & (x < b) for a < x < b; & | ~ for and, or, not; maximum for max; .eval() for a value")),
    ("An expression used as a number", TypeError, """
        import math
        x = T.scalar("x")
        y = math.exp(x)
        """, ("an expression is no number: it has no value until it is compiled and called", "x", "@2",
         "use .eval() for its value")),
    ("A loop over an axis of unknown length", TypeError, """
        x = T.vector("x")
        for element in x:
            print(element)
        """, ("the length of the first axis is not known", "x", "@1",
         "state it, shape=(10,), to walk over it; arrays go in a list: concatenate([x, y]); x.sum(), x.max() ... need no loop")),
    ("The length of an axis of unknown length", TypeError, """
        x = T.vector("x")
        n = len(x)
        """, ("the length of the first axis is not known", "x", "@1",
         "state it, shape=(10,), or use x.shape[0], an expression, instead of len(x)")),
    ("A NumPy function that expressions do not have", TypeError, """
        x = T.matrix("x")
        y = np.linalg.eig(x)
        """, ("np.eig is not supported on expressions", "x", "@1",
         "exprc.tensor lists what there is; x.eval() gives an array first")),
    ("A misspelt operation", AttributeError, """
        x = T.matrix("x")
        y = T.softmx(x)
        """, ("exprc.tensor has no 'softmx", "did you mean 'softmax'?")),
    ("Class numbers that are floats", TypeError, """
        p = T.matrix("p")
        labels = T.vector("labels")
        y = T.categorical_crossentropy(p, labels)
        """, ("categorical_crossentropy: class numbers must be integers, not float32", "p", "@1", "labels",
         "@2", "cast them to 'int32'?")),
    ("Bits of floats", TypeError, """
        x = T.vector("x")
        y = x & 1
        """, ("bitwise_and takes bools and integers, not float32, float32", "x", "@1",
         "compare first, (x > 0) & (y > 0), or cast to an integer")),
    ("An operand too few", TypeError, """
        x = T.vector("x")
        y = T.maximum(x)
        """, ("maximum takes 2 operands, 1 was given", "x", "@1", "call it as maximum(a, b)")),
    ("A dtype that is not supported", TypeError, """
        x = T.vector("x", dtype="complex64")
        """, ("dtype 'complex64' is not supported", "expressions take bool, int8,", "float32, float64")),
    ("A dim below zero", ValueError, """
        x = T.matrix("x", shape=(3, -2))
        """, ("a dim must be 0 or more, not -2", "None stands for a length that is not known")),
    ("A shape of another number of axes", ValueError, """
        x = T.matrix("x", shape=(3,))
        """, ("matrix: shape (3,) does not fit: a matrix has the shape (None, None)",
         "give 2 lengths, None where one is not known, or take another kind of variable")),
    ("A list of texts as operand", TypeError, """
        x = T.vector("x")
        y = x + ["a", "b"]
        """, ("cannot make an expression of ['a', 'b'] (list): a number, an array or an expression is needed",
         "x", "@1")),
    ("An integer that does not fit", OverflowError, """
        x = T.vector("x", dtype="uint8")
        y = x + 300
        """, ("Python integer 300 is out of bounds for uint8", "x", "@1",
         "cast the other operand to a wider dtype first: x.astype('int64')")),
    ("A size that is a float", TypeError, """
        x = T.vector("x")
        n = T.scalar("n")
        y = T.zeros((n, 3))
        """, ("a size must be an integer scalar, not float32, ()", "n", "@2", "cast it to 'int64'?")),
    ("A convolution of other channels", ValueError, """
        images = T.tensor4("images", shape=(8, 3, 32, 32))
        filters = exprc.shared(np.zeros((16, 1, 5, 5), "float32"), name="filters")
        y = T.conv2d(images, filters)
        """, ("conv2d: the images have another number of channels than the filters take: 3 ≠ 1", "images", "@1",
         "filters", "@2", "filters are (filters, channels of the images, rows, columns)")),
    ("A filter larger than the image", ValueError, """
        images = T.tensor4("images", shape=(8, 3, 4, 4))
        filters = exprc.shared(np.zeros((16, 3, 5, 5), "float32"), name="filters")
        y = T.conv2d(images, filters)
        """, ("conv2d: filters that cover (5, 5) do not fit in images of (4, 4) (padding included)", "images",
         "@1", "filters", "@2", "larger images, smaller filters or border_mode='half'")),
    ("A convolution of a matrix", ValueError, """
        image = T.matrix("image")
        filters = T.tensor4("filters")
        y = T.conv2d(image, filters)
        """, ("conv2d: images and filters need 4 axes, not 2 and 4", "image", "@1", "filters", "@2",
         "images are (images, channels, rows, columns); x.dimshuffle('x', 'x', 0, 1) makes one of a matrix")),
    ("A window larger than the image", ValueError, """
        images = T.tensor4("images", shape=(8, 3, 2, 2))
        y = T.pool_2d(images, (3, 3))
        """, ("max_pool: windows of (3, 3) do not fit in images of (2, 2)", "images", "@1",
         "smaller windows, or ignore_border=False")),
    ("Pooling in an unknown way", ValueError, """
        images = T.tensor4("images")
        y = T.pool_2d(images, 2, mode="median")
        """, ("pool_2d: mode 'median' is none of max, sum, average_inc_pad, average_exc_pad", "images", "@1")),
    ("tensordot over axes that differ", ValueError, """
        a = T.tensor3("a", shape=(2, 3, 4))
        b = T.matrix("b", shape=(3, 5))
        y = T.tensordot(a, b, axes=1)
        """, ("tensordot: axis 2 of the left and axis 0 of the right differ: 4 ≠ 3", "a", "@1", "b", "@2",
         "axes=1 pairs the last axis of the left with the first of the right; axes=([0], [1]) names both")),
    ("arange with step 0", ValueError, """
        y = T.arange(0, 10, 0)
        """, ("arange: step must not be 0", "a step of 1 or -1 counts up or down")),
    ("A random seed that is a text", ValueError, """
        random = T.RandomStreams("lucky")
        """, ("a seed must be an int from 0 to 2**64 - 1: 'lucky",
         "for example 1234; without one a seed is drawn anew in every process")),
    ("An attribute of an expression", AttributeError, """
        x = T.vector("x")
        x.dtype = "float64"
        """, ("an expression is immutable: only its name can be set, not 'dtype", "x", "@1",
         "an operation makes a new expression: x.astype(dtype), x.reshape(shape)")),
    ("Arrays to be joined without a list", TypeError, """
        x, y = T.matrix("x"), T.matrix("y")
        z = T.concatenate(x, y)
        """, ("concatenate: the axis must be an integer, not the expression y", "x", "@1", "y", "@1",
         "the arrays go in a list: concatenate([a, b])")),
    ("An expression formatted as a number", TypeError, """
        x = T.vector("x")
        print(f"{x.mean():.3f}")
        """, ("an expression is no number: it has no value until it is compiled and called", "mean(...)", "@2", "format .eval() of it")),
    ("A method of PyTorch's", AttributeError, """
        x = T.tensor4("x")
        y = x.permute(0, 2, 3, 1)
        """, ("an expression has no attribute 'permute'", "x", "@1", "x.transpose(axes), or x.dimshuffle(axes), does that here")),
    ("A module of Theano's", AttributeError, """
        x = T.vector("x")
        y = T.nnet.softmax(x)
        """, ("exprc.tensor has no 'nnet'", "its operations stand in exprc.tensor itself: T.softmax")),
    ("A masked array in an expression", TypeError, """
        x = T.vector("x")
        y = T.maximum(x, np.ma.masked_array([1.0, 2.0], [False, True]))
        """, ("an array with masked elements has no value for them", "x", "@1", "say what they are: value.filled(0)")),
    ("A clone with another number of axes", TypeError, """
        x, m = T.vector("x"), T.matrix("m")
        y = exprc.clone(x.sum(axis=0), {x: m})
        """, ("clone: x has 1 axes, what takes its place 2", "x", "@1", "m", "@1", "strict=False replaces it all the same")),
    ("A clone by a name", TypeError, """
        x = T.vector("x")
        y = exprc.clone(x + 1, {"x": 3.0})
        """, ("clone: a key of replace must be an expression, not 'x'", "give the variable itself, not its name")),
    ("A tree of something else", TypeError, """
        exprc.debugprint(L.InputLayer((None, 3)))
        """, ("debugprint: an expression is needed, not InputLayer", "a layer is shown by exprc.nn.layers.get_output(layer)")),
    ("Sizes that are not in a tuple", TypeError, """
        y = T.zeros(2, 3)
        """, ("3 is no dtype", "several lengths or axes go in one tuple: zeros((3, 4))")),
    ("An array where its sizes belong", TypeError, """
        x = T.matrix("x")
        y = T.zeros(x)
        """, ("a size must be an integer scalar, not float32, (?, ?)", "x", "@1",
         "x.shape has the sizes of an array x; zeros_like(x) and its kin take it whole")),
    ("An operation looked for in the wrong module", AttributeError, """
        x = T.vector("x")
        y = exprc.softmax(x)
        """, ("exprc has no 'softmax'", "it is exprc.tensor.softmax")),
]
