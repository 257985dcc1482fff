"""Mistakes in asking for gradients. Read by docs/errors.py."""

TITLE = "Gradients"
CASES = [
    ("A cost that is no scalar", ValueError, """
        x = T.matrix("x")
        w = exprc.shared(np.zeros(3, "float32"), name="w")
        errors = (T.dot(x, w) - 1) ** 2
        g = exprc.grad(errors, w)
        """, ("grad: the cost must be a scalar, it has 1 axes", "power(...)", "@3", "take its mean() or sum()?")),
    ("A cost that does not depend on the variable", ValueError, """
        x = T.vector("x")
        w = exprc.shared(1.0, name="w")
        unused = exprc.shared(2.0, name="unused")
        cost = (w * x).sum()
        g = exprc.grad(cost, [w, unused])
        """, ("grad: the cost does not depend on unused", "sum(...)", "@4", "unused", "@3",
         "is it the variable that the cost was built from? disconnected_inputs='ignore' gives a gradient of 0")),
    ("A cost that counts", TypeError, """
        x = T.vector("x")
        hits = T.eq(x, 1).sum()
        g = exprc.grad(hits, x)
        """, ("grad: the cost must be of a float dtype, it is int64", "sum(...)", "@2",
         "integers and bools have no gradient; use a cost that is computed in floats")),
    ("A gradient by an integer", TypeError, """
        n = T.iscalar("n")
        cost = (n * 0.5) ** 2
        g = exprc.grad(cost, n)
        """, ("grad: only float expressions have a gradient, not int32, ()", "n", "@1",
         "make it a float variable?")),
    ("A cost that is no expression", TypeError, """
        w = exprc.shared(1.0, name="w")
        g = exprc.grad(3.0, w)
        """, ("grad: the cost must be an expression, not float",
         "a number is constant; build the cost from variables, without .eval() or get_value()")),
    ("A gradient by a number", TypeError, """
        w = exprc.shared(1.0, name="w")
        g = exprc.grad(w ** 2, [w, 3.0])
        """, ("grad: wrt must hold expressions, not float: 3.0",
         "give the variables themselves, not their values")),
    ("A known gradient of another number of axes", ValueError, """
        x = T.vector("x")
        h = T.tanh(x)
        g = exprc.grad(None, x, known_grads={h: T.matrix("upper")})
        """, ("grad: known_grads: a gradient of 2 axes for an expression of 1", "tanh(...)", "@2", "upper",
         "@3", "a gradient has the shape of what it is the gradient of")),
    ("A setting of grad that is none", ValueError, """
        x = T.scalar("x")
        g = exprc.grad(x, x, disconnected_inputs="skip")
        """, ("grad: disconnected_inputs='skip' is none of 'raise', 'warn', 'ignore",)),
    ("A gradient checked of an expression", TypeError, """
        x = T.vector("x")
        exprc.verify_grad(x ** 2, [[1.0, 2.0]])
        """, ("verify_grad: a function of expressions is needed, not power(...)", "for example verify_grad(lambda x: x**2, [[1.0, 2.0]])")),
    ("A gradient checked at an array", TypeError, """
        exprc.verify_grad(lambda x: x ** 2, np.ones(3))
        """, ("verify_grad: points is a list with one array per argument, not an array", "for a function of one argument: [points]")),
    ("A gradient by nothing", TypeError, """
        x = T.vector("x")
        g = exprc.grad(x.sum(), None)
        """, ("grad: wrt must hold expressions, not NoneType: None", "give the variables themselves, not their values")),
    ("Several costs", TypeError, """
        x = T.vector("x")
        g = exprc.grad([x.sum(), x.max()], x)
        """, ("grad: the cost must be an expression, not list", "add several costs up, or take the gradient of each")),
    ("A number to be held constant", TypeError, """
        x = T.vector("x")
        g = exprc.grad(x.sum(), x, consider_constant=[2.0])
        """, ("grad: consider_constant must hold expressions, not float: 2.0", "give the expressions themselves, not their values")),
]
