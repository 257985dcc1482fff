"""Mistakes in making functions, in calling them and in shared variables. Read by docs/errors.py."""

TITLE = "Functions and shared variables"
CASES = [
    ("An input forgotten", ValueError, """
        x, w = T.vector("x"), T.vector("w")
        y = (x * w).sum()
        f = exprc.function([x], y)
        """, ("w is needed by the outputs or updates, but is not among the inputs", "w", "@1", "w", "@1",
         "add it to inputs, or give it a value with givens=")),
    ("An input too many", ValueError, """
        x, y = T.vector("x"), T.vector("y")
        f = exprc.function([x, y], x + 1)
        """, ("an input is not needed by any output or update", "y", "@1",
         "leave it out, or pass on_unused_input='ignore'")),
    ("An input listed twice", ValueError, """
        x = T.vector("x")
        f = exprc.function([x, x], x + 1)
        """, ("the input x is listed twice", "x", "@1")),
    ("An expression as input", TypeError, """
        x = T.vector("x")
        f = exprc.function([2 * x], x + 1)
        """, ("an input must be an input variable, not the expression mul(...)", "mul(...)", "@2",
         "list an input variable, and put it there with givens={expression: variable}")),
    ("A shared variable as input", TypeError, """
        w = exprc.shared(1.0, name="w")
        f = exprc.function([w], w + 1)
        """, ("an input must be an input variable, not a shared variable", "w", "@1",
         "a shared variable is used without being listed; replace it with givens=")),
    ("float64 creeps into a float32 update", TypeError, """
        W = exprc.shared(np.zeros(3, "float32"), name="W")
        noise = T.constant(np.ones(3), name="noise")
        scaled = 0.1 * noise
        f = exprc.function([], updates={W: W - scaled})
        """, ("updates: W is float32, its update float64", "W", "@1", "sub(...)", "@4", "noise", "@2",
         "cast what brought float64 to float32, or the update: .astype('float32')")),
    ("One variable updated twice", ValueError, """
        w = exprc.shared(0.0, name="w")
        f = exprc.function([], updates=[(w, w + 1), (w, w * 2)])
        """, ("updates: w is updated twice", "w", "@1", "add(...)", "@2", "mul(...)", "@2")),
    ("An update of another shape", ValueError, """
        b = exprc.shared(np.zeros(10, "float32"), name="b")
        x = T.vector("x", shape=(5,))
        f = exprc.function([x], updates={b: x})
        """, ("updates: b has shape (10,), its update (5,)", "b", "@1", "x", "@2")),
    ("An update of another number of axes", TypeError, """
        b = exprc.shared(np.zeros(10, "float32"), name="b")
        x = T.matrix("x")
        f = exprc.function([x], updates={b: x})
        """, ("updates: b has 1 dimensions, its update 2", "b", "@1", "x", "@2")),
    ("A pair where pairs belong", TypeError, """
        w = exprc.shared(0.0, name="w")
        f = exprc.function([], updates=(w, w + 1))
        """, ("updates must be a dict or a list of pairs; it is given a shared variable", "w", "@1",
         "for example updates={variable: expression}")),
    ("A variable alone as givens", TypeError, """
        x = T.vector("x")
        f = exprc.function([x], x + 1, givens=x)
        """, ("givens must be a dict or a list of pairs; it is given the expression x", "x", "@1",
         "for example givens={variable: expression}")),
    ("The name of a variable as a key of givens", TypeError, """
        x = T.vector("x")
        f = exprc.function([], x + 1, givens={"x": [1, 2]})
        """, ("givens: a key must be an expression, not 'x'", "give the variable itself, not its name")),
    ("Fractions in the place of integers", TypeError, """
        labels = T.ivector("labels")
        data = exprc.shared(np.array([0.2, 0.9]), name="data")
        f = exprc.function([], labels + 1, givens={labels: data})
        """, ("givens: labels is int32, what takes its place float64", "labels", "@1", "data", "@2",
         "cast it where fractions may be dropped: .astype('int32')")),
    ("An output that nobody returned", TypeError, """
        x = T.vector("x")
        f = exprc.function([x], [x + 1, None])
        """, ("the output 1 is None", "an output is an expression: has the function that makes it no return?")),
    ("An update of what is no shared variable", TypeError, """
        x = T.vector("x")
        f = exprc.function([x], updates={x: x + 1})
        """, ("updates: only shared variables can be updated, not the expression x", "x", "@1")),
    ("A setting of on_unused_input that is none", ValueError, """
        x = T.vector("x")
        f = exprc.function([x], x, on_unused_input="complain")
        """, ("on_unused_input is 'complain': it must be 'raise', 'warn' or 'ignore",)),
    ("A mode of Theano's", ValueError, """
        x = T.vector("x")
        f = exprc.function([x], x, mode="FAST_COMPILE")
        """, ("mode is 'FAST_COMPILE': it must be 'compiled' or 'reference'",
         "compiled: generated C; reference: the NumPy interpreter, which needs no compiler")),
    ("A precision that there is not", ValueError, """
        x = T.matrix("x")
        f = exprc.function([x], T.dot(x, x), precision="bf16x3")
        """, ("config.precision: 'bf16x3' is none of float32, strict, tf32, bf16", "the default is 'float32'")),
    ("A precision that the device does not offer", ValueError, """
        x = T.matrix("x")
        f = exprc.function([x], T.dot(x, x), device="cpu", precision="tf32")
        """, ("cpu does not compute with precision 'tf32'", "it offers float32, strict")),
    ("An argument forgotten", TypeError, """
        x, y = T.scalar("x"), T.scalar("y")
        f = exprc.function([x, y], x + y, name="add", mode="reference")
        f(1)
        """, ("function add: 1 of 2 inputs are missing", "y", "@1")),
    ("An argument too many", TypeError, """
        x = T.scalar("x")
        f = exprc.function([x], x + 1, name="next", mode="reference")
        f(1, 2)
        """, ("function next takes 1 inputs (x), 2 were given",)),
    ("An argument of another name", TypeError, """
        x = T.scalar("x")
        f = exprc.function([x], x + 1, name="next", mode="reference")
        f(y=1)
        """, ("function next has no input named 'y': its inputs are x",)),
    ("An argument given twice", TypeError, """
        x, y = T.scalar("x"), T.scalar("y")
        f = exprc.function([x, y], x + y, name="add", mode="reference")
        f(1, x=2)
        """, ("function add: the input 'x' was given twice",)),
    ("An argument of another number of axes", TypeError, """
        images = T.matrix("images")
        f = exprc.function([images], images.sum(), name="ink", mode="reference")
        f(np.zeros((2, 28, 28), "float32"))
        """, ("function ink: wrong value for the input images: it takes 2 dimensions, the value has 3: shape (2, 28, 28)",
         "images", "@1", "value[0] is one element of it")),
    ("An argument of another shape", ValueError, """
        images = T.matrix("images", shape=(None, 784))
        f = exprc.function([images], images.sum(), name="ink", mode="reference")
        f(np.zeros((32, 28), "float32"))
        """, ("function ink: wrong value for the input images: it takes shape (?, 784), the value has (32, 28)",
         "images", "@1")),
    ("An argument of another dtype", TypeError, """
        labels = T.ivector("labels")
        f = exprc.function([labels], labels.max(), name="classes", mode="reference")
        f(np.array([0.5, 1.0]))
        """, ("function classes: wrong value for the input labels: its dtype is int32, that of the value float64",
         "labels", "@1", "pass value.astype('int32'), or allow_input_downcast=True to function()")),
    ("An integer that does not fit an input", TypeError, """
        x = T.bvector("x")
        f = exprc.function([x], x + 1, name="next", mode="reference")
        f([1, 300])
        """, ("function next: wrong value for the input x: 300 does not fit int8, -128 to 127", "x", "@1",
         "an input of a wider dtype takes it")),
    ("A masked array as argument", TypeError, """
        x = T.vector("x")
        f = exprc.function([x], x + 1, name="next", mode="reference")
        f(np.ma.masked_array([1.0, 2.0], [False, True]))
        """, ("function next: wrong value for the input x: MaskedArray cannot be made an array", "x", "@1",
         "an array with masked elements has no value for them")),
    ("A text as argument", TypeError, """
        x = T.scalar("x")
        f = exprc.function([x], x + 1, mode="reference")
        f("three")
        """, ("function: wrong value for the input x: an array of numbers is needed, not <U5: 'three", "x", "@1")),
    ("An expression as argument", TypeError, """
        x = T.scalar("x")
        f = exprc.function([x], x + 1, mode="reference")
        f(x)
        """, ("function: wrong value for the input x: an array is needed, not an expression", "x", "@1",
         "use givens= to replace an input by an expression")),
    ("Arguments whose shapes do not go together", ValueError, """
        x, y = T.vector("x"), T.vector("y")
        f = exprc.function([x, y], x + y, name="add")
        f([1, 2, 3], [1, 2])
        """, ("add: shapes do not broadcast: (3,) · (2,): 3 ≠ 2", "x", "@1", "y", "@1",
         "axes are matched from the last one; x[:, None] or dimshuffle puts an axis of length 1 where one is lacking")),
    ("An index out of bounds in a call", IndexError, """
        table = T.matrix("table")
        words = T.ivector("words")
        rows = table[words]
        f = exprc.function([table, words], rows)
        f(np.zeros((10, 4), "float32"), np.array([3, 12], "int32"))
        """, ("index 12 is out of bounds for an axis of length 10", "words", "@2",
         "indices go from 0 to 9, or from -10 to -1 from the end")),
    ("A shared variable of texts", TypeError, """
        w = exprc.shared(["a", "b"], name="w")
        """, ("shared: cannot hold <U1 values: ['a', 'b']",
         "a shared variable holds booleans, integers or floats")),
    ("A shared variable of a ragged list", TypeError, """
        w = exprc.shared([[1.0, 2.0], [3.0]], name="w")
        """, ("shared: list cannot be made an array", "are all its rows as long?")),
    ("Axes of a shared variable that cannot broadcast", ValueError, """
        w = exprc.shared(np.zeros((2, 3)), name="w", broadcastable=(True, False))
        """, ("shared: broadcastable=(True, False) does not fit a value of shape (2, 3)",
         "one bool for each axis, True only for lengths of 1")),
    ("A shared variable of an expression", TypeError, """
        x = T.vector("x")
        w = exprc.shared(x + 1, name="w")
        """, ("shared: the value must be numbers, not an expression", "add(...)", "@2",
         "use .eval() for its value")),
    ("A value of another shape for a shared variable", ValueError, """
        W = exprc.shared(np.zeros((784, 10), "float32"), name="W")
        W.set_value(np.zeros((10, 784), "float32"))
        """, ("cannot set the value of W: its shape is (784, 10), that of the value (10, 784)", "W", "@1",
         "did you mean value.T?")),
    ("A value of another number of axes for a shared variable", ValueError, """
        b = exprc.shared(np.zeros(10, "float32"), name="b")
        b.set_value(np.zeros((1, 10), "float32"))
        """, ("cannot set the value of b: it has 1 dimensions, the value 2: shape (1, 10)", "b", "@1",
         "the number of dimensions never changes; reshape the value")),
    ("A value of another dtype for a shared variable", TypeError, """
        steps = exprc.shared(0, name="steps")
        steps.set_value(np.array(0.5))
        """, ("cannot set the value of steps: its dtype is int64, that of the value float64", "steps", "@1",
         "cast the value: value.astype('int64')")),
    ("A replacement of another number of axes", TypeError, """
        x, row = T.matrix("x"), T.vector("row")
        f = exprc.function([row], x.sum(), givens={x: row})
        """, ("givens: x has 2 dimensions, what takes its place 1", "x", "@1", "row", "@1")),
    ("eval without a value", ValueError, """
        x, y = T.scalar("x"), T.scalar("y")
        print((x + y).eval({x: 1}))
        """, ("y is needed by the outputs or updates, but is not among the inputs", "y", "@1", "y", "@1",
         "add it to inputs, or give it a value with givens=")),    ("eval with a list", TypeError, """
        x = T.vector("x")
        (x + 1).eval([1, 2])
        """, ("eval takes a dict from variables to values, not [1, 2] (list)",
         "name the variable that it is the value of: .eval({x: value})")),
    ("eval with the name of a variable", TypeError, """
        x = T.vector("x")
        (x + 1).eval({"x": [1, 2]})
        """, ("eval: a key must be a variable, not 'x' (str)", "give the variable itself, not its name")),
    ("A swap for a variable of another type", TypeError, """
        w, v = exprc.shared(1.0, name="w"), exprc.shared([1.0], name="v")
        f = exprc.function([], w + 1, mode="reference")
        f.copy(swap={w: v})
        """, ("copy: what takes the place of w must be a shared variable of its type, not float32 of 1 axes",
         "w", "@1", "v", "@1", "make it with exprc.shared(value)")),
    ("A batch of another width than the network's", ValueError, """
        x = T.matrix("x")
        net = L.DenseLayer(L.InputLayer((None, 784), x), 10)
        f = exprc.function([x], L.get_output(net), name="predict")
        f(np.zeros((32, 28), "float32"))
        """, ("dot: inner sizes differ: (32, 28) · (784, 10): 28 ≠ 784", "x  float32, (32, 28)", "@1", "W  float32, (784, 10)", "@2")),
    ("Ragged values for a shared variable", TypeError, """
        w = exprc.shared([[1.0, 2.0]], name="w", shape=(None, None))
        w.set_value([[1.0, 2.0], [3.0]])
        """, ("cannot set the value of w: list cannot be made an array", "w", "@1", "are all its rows as long?")),
    ("Another number of class numbers than of rows", ValueError, """
        p, labels = T.matrix("p"), T.ivector("labels")
        loss = T.categorical_crossentropy(p, labels)
        f = exprc.function([p, labels], loss, mode="reference")
        f([[0.2, 0.8], [0.5, 0.5]], [1, 0, 1])
        """, ("categorical_crossentropy: predictions and targets differ in length: 2 ≠ 3", "labels  int32, (3,)", "@1")),
    ("A column of class numbers as distributions", ValueError, """
        p, labels = T.matrix("p"), T.imatrix("labels")
        loss = T.categorical_crossentropy(p, labels)
        f = exprc.function([p, labels], loss, mode="reference")
        f([[0.2, 0.8], [0.5, 0.5]], [[1], [0]])
        """, ("categorical_crossentropy: predictions and targets differ in length: 2 ≠ 1", "labels  int32, (2, 1)", "@1")),
    ("Half a thread", ValueError, """
        exprc.config.threads = 2.5
        """, ("config.threads: 2.5 is no whole number of at least 0", "0: as many as the process may use; the default is 0")),
    ("Two variables in one memory", ValueError, """
        values = np.zeros(3, "float32")
        a, b = exprc.shared(values, name="a", borrow=True), exprc.shared(values, name="b", borrow=True)
        f = exprc.function([], updates={a: a + 1, b: b * 2})
        """, ("updates: a and b are kept in the same memory, which was borrowed", "a", "@2", "b", "@2",
         "make one of them without borrow=True, or update only one")),
]
