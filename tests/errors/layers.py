"""Mistakes in networks. Read by docs/errors.py."""

TITLE = "Networks"
CASES = [
    ("A filter larger than what is left of the image", ValueError, """
        net = L.InputLayer((None, 1, 28, 28), name="images")
        net = L.Conv2DLayer(net, 20, 5, name="conv1")
        net = L.MaxPool2DLayer(net, 8)
        net = L.Conv2DLayer(net, 50, 5, name="conv2")
        """, ("conv2 (Conv2DLayer): the output would be empty: axis 2 has size 3 (pad 0), the filter 5",
         "(None, 1, 28, 28)", "@1", "(None, 20, 24, 24)", "@2", "(None, 20, 3, 3)", "@3",
         "does not fit", "@4", "use a smaller filter, more padding, or less pooling before")),
    ("A window larger than what is left of the image", ValueError, """
        net = L.InputLayer((None, 1, 4, 4), name="images")
        net = L.Conv2DLayer(net, 20, 3, name="conv1")
        net = L.MaxPool2DLayer(net, 3, name="pool1")
        """, ("pool1 (MaxPool2DLayer): the output would be empty: axis 2 has size 2 (pad 0), the window 3",
         "(None, 1, 4, 4)", "@1", "(None, 20, 2, 2)", "@2", "does not fit", "@3",
         "use a smaller window, less pooling before, or ignore_border=False")),
    ("A convolution of flat images", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.Conv2DLayer(net, 20, 5, name="conv1")
        """, ("conv1 (Conv2DLayer): a 2D convolution takes 4 axes (batch, channels, 2 spatial), got (None, 784)",
         "(None, 784)", "@1", "does not fit", "@2",
         "put a ReshapeLayer before it, or give the InputLayer all of these sizes")),
    ("Channels that are not known", ValueError, """
        net = L.InputLayer((None, None, 28, 28), name="images")
        net = L.Conv2DLayer(net, 20, 5, name="conv1")
        """, ("conv1 (Conv2DLayer): the number of channels must be known, got (None, None, 28, 28)",
         "(None, None, 28, 28)", "@1", "does not fit", "@2",
         "give it in the shape of the InputLayer")),
    ("Groups that do not divide the channels", ValueError, """
        net = L.InputLayer((None, 3, 28, 28), name="images")
        net = L.Conv2DLayer(net, 20, 5, num_groups=2, name="conv1")
        """, ("conv1 (Conv2DLayer): num_groups=2 must divide the 3 channels and the 20 filters",
         "(None, 3, 28, 28)", "@1", "does not fit", "@2",
         "num_groups=1, an ordinary convolution, always does")),
    ("An even filter with pad='same'", NotImplementedError, """
        net = L.InputLayer((None, 3, 28, 28), name="images")
        net = L.Conv2DLayer(net, 20, 4, pad="same", name="conv1")
        """, ("conv1 (Conv2DLayer): pad='same' needs odd filter sizes, got (4, 4): an even filter has no middle",
         "(None, 3, 28, 28)", "@1", "does not fit", "@2", "use an odd size, or give pad as numbers")),
    ("Padding by an unknown word", ValueError, """
        net = L.InputLayer((None, 3, 28, 28), name="images")
        net = L.Conv2DLayer(net, 20, 5, pad="some", name="conv1")
        """, ("conv1 (Conv2DLayer): pad is an int, a tuple of int, 'full', 'same' or 'valid', got 'some",
         "(None, 3, 28, 28)", "@1", "does not fit", "@2", "did you mean 'same'?")),
    ("Padding not smaller than the window", ValueError, """
        net = L.InputLayer((None, 3, 28, 28), name="images")
        net = L.MaxPool2DLayer(net, 2, pad=2, name="pool1")
        """, ("pool1 (MaxPool2DLayer): the padding (2, 2) must be smaller than the window (2, 2)",
         "(None, 3, 28, 28)", "@1", "does not fit", "@2",
         "some windows would hold nothing but padding: pad less, or pool wider")),
    ("Pooling in an unknown way, in a layer", ValueError, """
        net = L.InputLayer((None, 3, 28, 28), name="images")
        net = L.Pool2DLayer(net, 2, mode="median", name="pool1")
        """, ("pool1 (Pool2DLayer): mode is one of max, sum, average_inc_pad, average_exc_pad, got 'median",
         "(None, 3, 28, 28)", "@1", "does not fit", "@2",
         "the usual ones are max and average_inc_pad")),
    ("Pooling of flat images", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.MaxPool2DLayer(net, 2, name="pool1")
        """, ("pool1 (MaxPool2DLayer): 2D pooling takes 4 axes (batch, channels, rows, columns), got (None, 784)",
         "(None, 784)", "@1", "does not fit", "@2",
         "put a ReshapeLayer before it, or give the InputLayer all of these sizes")),
    ("Dense units on sizes that are not known", ValueError, """
        net = L.InputLayer((None, 1, None, 28), name="images")
        net = L.DenseLayer(net, 10, name="classes")
        """, ("classes (DenseLayer): the inputs of a unit need fixed sizes, got (None, 1, None, 28) with num_leading_axes=1",
         "(None, 1, None, 28)", "@1", "does not fit", "@2",
         "give the size in the shape of the InputLayer, or keep the axis with num_leading_axes")),
    ("Dense units with no axis left", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, num_leading_axes=2, name="classes")
        """, ("classes (DenseLayer): num_leading_axes=2 leaves no axis of the 2-dimensional input for the dot product",
         "(None, 784)", "@1", "does not fit", "@2", "give a number from -2 to 1")),
    ("A reshape that loses elements, in a layer", ValueError, """
        net = L.InputLayer((32, 784), name="images")
        net = L.ReshapeLayer(net, (32, 1, 28, 29), name="square")
        """, ("square (ReshapeLayer): (32, 784) cannot be reshaped to (32, 1, 28, 29): 25088 elements do not make 25984",
         "(32, 784)", "@1", "does not fit", "@2",
         "one size may be -1: it takes what the others leave over")),
    ("A flattening to too many axes", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.FlattenLayer(net, outdim=3, name="flat")
        """, ("flat (FlattenLayer): outdim=3 must be from 1 to 2, the input's axes", "(None, 784)", "@1",
         "does not fit", "@2", "outdim=2 keeps the batch and merges the rest")),
    ("Branches that cannot be joined", ValueError, """
        net = L.InputLayer((None, 3, 28, 28), name="images")
        left = L.Conv2DLayer(net, 8, 3, name="left")
        right = L.Conv2DLayer(net, 8, 5, name="right")
        net = L.ConcatLayer([left, right], name="both")
        """, ("both (ConcatLayer): the input shapes must be the same except along axis 1, got (None, 8, 26, 26), (None, 8, 24, 24)",
         "(None, 8, 26, 26)", "@2", "(None, 8, 24, 24)", "@3", "does not fit", "@4",
         "crop with cropping=, or change the layers before")),
    ("Coefficients that do not match the branches", ValueError, """
        net = L.InputLayer((None, 10), name="numbers")
        net = L.ElemwiseSumLayer([net, net], coeffs=[1, 2, 3], name="sum")
        """, ("sum (ElemwiseSumLayer): 3 coefficients for 2 inputs", "(None, 10)", "@1", "(None, 10)", "@1",
         "does not fit", "@2", "give one coefficient for each input, or a single number for all")),
    ("An array in place of a layer", TypeError, """
        x = T.matrix("x")
        net = L.DenseLayer(x, 10)
        """, ("incoming is a layer or a tuple (a shape), got x of type Input", "x", "@1",
         "anything with an attribute output_shape can be a layer; data enter by an InputLayer")),
    ("A size of zero", ValueError, """
        net = L.InputLayer((None, 0, 28, 28), name="images")
        """, ("images (InputLayer): every size must be positive or None, got shape (None, 0, 28, 28)",
         "does not fit", "@1", "give None for a size that may vary")),
    ("A variable of other axes for an InputLayer", ValueError, """
        x = T.matrix("x")
        net = L.InputLayer((None, 1, 28, 28), input_var=x, name="images")
        """, ("images (InputLayer): the shape (None, 1, 28, 28) has 4 dimensions, but the variable 'x' has 2",
         "images (InputLayer)", "@2", "x", "@1",
         "give the variable the layer's shape, or leave input_var out: the layer then makes one that fits")),
    ("Weights of another shape", RuntimeError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, W=np.zeros((10, 784), "float32"), name="classes")
        """, ("create_param: the value for the parameter 'classes.W' has shape (10, 784), it should be (784, 10)",
         "classes.W", "@2",
         "give a value of that shape, or an initialiser, which is told the shape")),
    ("Weights of an unknown kind", TypeError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, W="glorot", name="classes")
        """, ("create_param: the value for the parameter 'classes.W' is of type str", "classes.W", "@2",
         "give a number, an array, an expression, or a callable that returns one of these")),
    ("A dropout that drops everything", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DropoutLayer(net, p=1, name="drop")
        """, ("drop (DropoutLayer): p is the probability of zero, 0 <= p < 1, got 1", "(None, 784)", "@1",
         "does not fit", "@2", "p=0.5 drops half of the units; p=1 would leave nothing")),
    ("Batch normalisation over axes that are not there", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.BatchNormLayer(net, axes=(0, 2), name="norm")
        """, ("norm (BatchNormLayer): axes=(0, 2) are out of range for a 2-dimensional input", "(None, 784)",
         "@1", "does not fit", "@2",
         "axes='auto' normalises over all axes but that of the channels")),
    ("Too few values for the parameters", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, name="classes")
        L.set_all_param_values(net, [np.zeros((784, 10))])
        """, ("mismatch: got 1 values to set 2 parameters", "classes.W", "@2", "classes.b", "@2",
         "get_all_param_values() of the same network gives as many, in this order")),
    ("A value of another shape for a parameter", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, name="classes")
        L.set_all_param_values(net, [np.zeros((10, 784)), np.zeros(10)])
        """, ("mismatch: the parameter 'classes.W' has shape (784, 10), but the value to set has shape (10, 784)",
         "classes.W", "@2", "these are the values of another network, or in another order")),
    ("A layer without input", ValueError, """
        net = L.DenseLayer((None, 784), 10, name="classes")
        y = L.get_output(net)
        """, ("get_output(): the layer classes (DenseLayer) was made from a bare shape and was given no input expression",
         "classes (DenseLayer)", "@1",
         "call get_output() with a dictionary that maps it to an input expression, or start with an InputLayer")),
    ("A layer of one's own that lacks a method", NotImplementedError, """
        class Twice(L.Layer):
            pass
        net = L.InputLayer((None, 10), T.matrix("x"), name="numbers")
        y = L.get_output(Twice(net))
        """, ("Twice does not define get_output_for(input, **kwargs)", "Twice", "@4",
         "every class of layers needs it, to say what the layer makes of its input")),
    ("An initialiser for a vector", RuntimeError, """
        W = nn.init.GlorotUniform().sample((100,))
        """, ("GlorotUniform: the shape needs at least 2 dimensions to have inputs and outputs, got (100,)",
         "for biases and other vectors take Constant, Uniform or Normal")),
    ("Parameters that are expressions", ValueError, """
        w = exprc.shared(1.0, name="w")
        updates = nn.updates.sgd(w ** 2, [2 * w], learning_rate=0.1)
        """, ("params must be shared variables: only their values can be updated", "mul(...)", "@2",
         "exprc.nn.utils.collect_shared_vars() finds those inside expressions")),
    ("Targets of other axes than the predictions", TypeError, """
        p, t = T.tensor3("p"), T.scalar("t", dtype="int32")
        y = nn.objectives.categorical_accuracy(p, t)
        """, ("targets have 0 axes, predictions 3", "t", "@1", "p", "@1",
         "targets need as many axes, or one less (class numbers)")),
    ("A sum normalised by no weights", ValueError, """
        loss = T.vector("loss")
        y = nn.objectives.aggregate(loss, mode="normalized_sum")
        """, ("mode='normalized_sum' requires weights: the sum is divided by theirs", "loss", "@1",
         "give weights, or take mode='mean'")),
    ("A generator that is none of NumPy's", TypeError, """
        nn.random.set_rng(42)
        """, ("set_rng: int has no method normal",
         "give a numpy.random.RandomState; for a Generator g, numpy.random.RandomState(g.bit_generator)")),
    ("An activation by its name", TypeError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, nonlinearity="relu", name="hidden")
        """, ("hidden (DenseLayer): nonlinearity must be a function of expressions, not 'relu'", "@2",
         "nonlinearities.rectify does that here")),
    ("A class in place of an activation", TypeError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, nonlinearity=nn.nonlinearities.LeakyRectify)
        """, ("DenseLayer: nonlinearity must be a function of expressions, not the class LeakyRectify", "@2",
         "make one of it: LeakyRectify()")),
    ("A class in place of an initialiser", TypeError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, W=nn.init.GlorotUniform)
        """, ("create_param: the value for the parameter 'W' is the class GlorotUniform", "@2", "make one of it: GlorotUniform()")),
    ("Biases switched off by a bool", TypeError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 10, b=False)
        """, ("create_param: the value for the parameter 'b' is the bool False", "@2", "None leaves the parameter out")),
    ("Half a unit", TypeError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DenseLayer(net, 2.5)
        """, ("create_param: every size must be an int, got shape=(784, 2.5) for the parameter 'W'", "@2",
         "give a whole number of units, filters or channels")),
    ("An argument that a layer does not have", TypeError, """
        net = L.InputLayer((None, 1, 28, 28), name="images")
        net = L.Conv2DLayer(net, 20, 5, padding=2)
        """, ("Conv2DLayer() has no argument 'padding'", "@2", "did you mean 'pad'?")),
    ("Steps of no length", ValueError, """
        net = L.InputLayer((None, 1, 28, 28), name="images")
        net = L.Conv2DLayer(net, 20, 5, stride=0, name="conv")
        """, ("conv (Conv2DLayer): stride must be at least 1, got 0", "(None, 1, 28, 28)", "@1", "does not fit", "@2")),
    ("Three sizes for two axes", ValueError, """
        net = L.InputLayer((None, 1, 28, 28), name="images")
        net = L.MaxPool2DLayer(net, (2, 2, 2), name="pool")
        """, ("pool (MaxPool2DLayer): pool_size must be an int, or 2 of them, got (2, 2, 2)", "(None, 1, 28, 28)", "@1", "does not fit",
         "@2")),
    ("Dropout along an axis that is not there", ValueError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.DropoutLayer(net, shared_axes=(2, 3), name="drop")
        """, ("drop (DropoutLayer): shared_axes=(2, 3) are out of range for a 2-dimensional input", "@1", "does not fit", "@2")),
    ("A number as the shape of an input", TypeError, """
        net = L.InputLayer(784, name="images")
        """, ("images (InputLayer): shape must be a tuple of int or None, got 784", "@1", "did you mean (None, 784)?")),
    ("An array as the variable of an input", TypeError, """
        net = L.InputLayer((None, 784), np.zeros((5, 784)), name="images")
        """, ("images (InputLayer): input_var must be a variable, not ndarray", "@1", "values are given to get_output(layer, inputs)")),
    ("Layers to be merged without a list", TypeError, """
        a, b = L.InputLayer((None, 3), name="a"), L.InputLayer((None, 3), name="b")
        net = L.ElemwiseSumLayer(a, b)
        """, ("ElemwiseSumLayer: incomings is a list of layers, got a (InputLayer)", "@2", "put the layers in a list: [first, second]")),
    ("An expression in place of a layer", TypeError, """
        net = L.DenseLayer(L.InputLayer((None, 784), name="images"), 10)
        probabilities = L.get_output(net)
        params = L.get_all_params(probabilities, trainable=True)
        """, ("a layer, or a list of layers, is needed, not an expression", "@2",
         "get_output() of a layer is an expression; here the layer itself is needed")),
    ("A network that nobody returned", TypeError, """
        def build():
            net = L.DenseLayer(L.InputLayer((None, 784)), 10)
        L.get_output(build())
        """, ("a layer, or a list of layers, is needed, not None", "has the function that builds the network no return?")),
    ("An output that a layer does not return", TypeError, """
        class Twice(L.Layer):
            def get_output_for(self, input, **kwargs):
                2 * input
        net = Twice(L.InputLayer((None, 10), name="numbers"))
        y = L.get_output(net)
        """, ("Twice: get_output_for() gave None", "@4", "has it no return?")),
    ("A parameter before the layer is set up", RuntimeError, """
        class Scale(L.Layer):
            def __init__(self, incoming):
                self.factor = self.add_param(nn.init.Constant(1), (1,))
        net = Scale(L.InputLayer((None, 10), name="numbers"))
        """, ("Scale: add_param() before the layer is set up", "call super().__init__(incoming, name=name) first")),
    ("A dict of weights", TypeError, """
        net = L.DenseLayer(L.InputLayer((None, 784)), 10, name="classes")
        L.set_all_param_values(net, {"W": np.zeros((784, 10)), "b": np.zeros(10)})
        """, ("set_all_param_values takes a list of arrays, not a dict",
         "list(values.values()), where they stand in the order of get_all_params()")),
    ("A parameter alone where a list belongs", ValueError, """
        w = exprc.shared(np.zeros(3, "float32"), name="w")
        updates = nn.updates.sgd((w ** 2).sum(), w, learning_rate=0.1)
        """, ("params must be a list of shared variables, not one variable alone", "w", "@1", "did you mean [w]?")),
    ("Nothing to train", ValueError, """
        w = exprc.shared(np.zeros(3, "float32"), name="w")
        updates = nn.updates.sgd((w ** 2).sum(), [], learning_rate=0.1)
        """, ("params is empty: there is nothing to train",
         "exprc.nn.layers.get_all_params(layer, trainable=True) lists those of a network")),
    ("A layer in place of its parameters", TypeError, """
        net = L.DenseLayer(L.InputLayer((None, 784)), 10, name="classes")
        penalty = nn.regularization.apply_penalty(net, nn.regularization.l2)
        """, ("apply_penalty takes expressions, not the layer classes (DenseLayer)",
         "regularize_layer_params(layer, penalty) penalises the parameters of a layer")),
    ("A penalty by its name", TypeError, """
        net = L.DenseLayer(L.InputLayer((None, 784)), 10, name="classes")
        penalty = nn.regularization.regularize_network_params(net, "l2")
        """, ("a penalty is a function of an expression, not 'l2'", "for example exprc.nn.regularization.l2")),
    ("A range from high to low", ValueError, """
        W = nn.init.Uniform((1, -1))
        """, ("Uniform: range is a number or a pair (low, high), got (1, -1)", "a number r, at least 0, stands for (-r, r)")),
    ("A layer of PyTorch's", AttributeError, """
        net = L.Linear(L.InputLayer((None, 784)), 10)
        """, ("exprc.nn.layers has no 'Linear'", "DenseLayer(incoming, num_units, nonlinearity=None) does that here")),
    ("A merge by its name", TypeError, """
        net = L.InputLayer((None, 784), name="images")
        net = L.ElemwiseMergeLayer([net, net], merge_function="maximum", name="both")
        """, ("both (ElemwiseMergeLayer): merge_function must be a function of expressions, not 'maximum'", "@2",
         "for example exprc.tensor.maximum")),
]
