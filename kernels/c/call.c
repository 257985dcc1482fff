/* call.c: calls a compiled program straight from Python, for arrays of exactly one dtype and shape each.
 *
 * What Python does to check two arrays, bind them and call a program takes some microseconds; here it takes tenths. The
 * program is bound once (exprc/runtime/direct.py fills in a Call, and exprc_direct makes a callable of it). A call whose
 * values are anything else than plain arrays of just these types is refused: it returns NotImplemented and has done nothing,
 * and the caller goes the general way, which knows all cases and says what is wrong.
 *
 * Programs of a GPU are called in the same way (roundtrip.c is what runs then); their variables are not looked at, only
 * whether the copies of them that the device has are still those that the program was bound to.
 *
 * The functions below are of CPython's stable ABI (docs.python.org, "C API Stability"), declared here, so that no header of
 * Python is needed. The interpreter lock is held throughout, but while a program of much work runs.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Object Object;
typedef struct {
    void *data; Object *owner; intptr_t bytes, itemsize; int readonly, axes;
    char *format; intptr_t *shape, *strides, *suboffsets; void *internal;
} Buffer;                                                          /* Py_buffer */
typedef struct { const char *name; Object *(*call)(Object *, Object *const *, intptr_t); int flags; const char *doc; } Method;
enum { BUFFER_FORMAT = 0x04, BUFFER_SHAPE = 0x08, BUFFER_C_CONTIGUOUS = 0x38, METHOD_VARARGS = 0x01, METHOD_FASTCALL = 0x80 };

int PyObject_GetBuffer(Object *, Buffer *, int flags);
void PyBuffer_Release(Buffer *);
Object *PyObject_Type(Object *);
Object *PyObject_GetAttr(Object *, Object *name);
int PyObject_SetAttr(Object *, Object *name, Object *value);
Object *PyObject_Call(Object *callable, Object *arguments, Object *named);
Object *PyObject_CallMethodObjArgs(Object *, Object *name, ...);   /* arguments, then NULL */
Object *PyNumber_Add(Object *, Object *);
Object *PyList_New(intptr_t);
int PyList_SetItem(Object *, intptr_t, Object *);
Object *PyTuple_GetItem(Object *, intptr_t);
void *PyLong_AsVoidPtr(Object *);
Object *PyCFunction_NewEx(Method *, Object *self, Object *module);
void PyErr_Clear(void);
void PyErr_Fetch(Object **type, Object **value, Object **trace);
void PyErr_Restore(Object *type, Object *value, Object *trace);
void *PyEval_SaveThread(void);
void PyEval_RestoreThread(void *);
void Py_IncRef(Object *);
void Py_DecRef(Object *);

enum { MOST = 64, MOST_LOCKS = 2048 };   /* arrays of a call, locks of one; exprc/runtime/direct.py asks */

typedef struct {
    Object *container;        /* of a shared variable, whose storage is the array; NULL: the array is an argument */
    const char *format;       /* of an element, in the words of Python's struct */
    int64_t itemsize, axes;
    const int64_t *shape;
    int64_t slot;             /* in the program's table of buffers; -1: in none */
    int64_t limit;            /* where its elements are indices of an axis of this length; -1: they are none */
    int64_t written;          /* whether the program writes it */
} Operand;

typedef struct {
    Object *make, *arguments; /* what makes an array for the result */
    int64_t slot;
} Result;

typedef struct {
    Object *container;        /* of a variable whose value is on a device */
    Object *resident;         /* the copy of the value there; */
    Object *version;          /* the container's, when the program was bound */
    int64_t written;
} Resident;

typedef struct {
    int (*run)(void **table, const int64_t *sizes, char *arena, int64_t threads, int64_t *status);
    void **table;
    const int64_t *sizes;
    char *arena;              /* what the program works in; NULL: what its table says */
    int64_t *status;
    int64_t threads;
    int64_t releases;         /* whether others may use the interpreter meanwhile */
    int64_t arguments, operands, residents, results;
    int64_t busy;             /* a thread is in the program, or in an allocation: the table is in use */
    const Operand *operand;   /* the arguments in order, then the variables */
    const Resident *there;
    const Result *result;
    Object *array, *none, *refused, *no, *yes, *one;                      /* numpy.ndarray, None, NotImplemented, False, True, 1 */
    Object *storage, *resident, *lent, *version, *edits, *behind, *ahead; /* names of attributes of containers, and of residents */
} Call;

/* Whether an object is an array of just this type; then `view` is its memory, to be released. */
static int fits(const Call *c, const Operand *o, Object *x, Buffer *view) {
    Object *type = PyObject_Type(x);
    Py_DecRef(type);   /* the object holds it */
    if (type != c->array) return 0;
    if (PyObject_GetBuffer(x, view, BUFFER_C_CONTIGUOUS | BUFFER_FORMAT) != 0) {   /* not contiguous, for one */
        PyErr_Clear();
        return 0;
    }
    int same = view->axes == o->axes && view->itemsize == o->itemsize && strcmp(view->format, o->format) == 0;
    for (int64_t a = 0; same && a < o->axes; a++) same = view->shape[a] == o->shape[a];
    same = same && (uintptr_t)view->data % (uintptr_t)o->itemsize == 0;
    if (!same) PyBuffer_Release(view);
    return same;
}

/* The same of a variable's storage; not where the latest value may be on a device. */
static int fits_storage(const Call *c, const Operand *o, Buffer *view) {
    Object *resident = PyObject_GetAttr(o->container, c->resident);
    if (resident) Py_DecRef(resident);
    Object *x = resident == c->none ? PyObject_GetAttr(o->container, c->storage) : NULL;
    if (!x) {
        PyErr_Clear();
        return 0;
    }
    const int same = fits(c, o, x, view);
    Py_DecRef(x);      /* the view holds it */
    return same;
}

/* Whether an attribute of an object is just this object. */
static int is(Object *x, Object *name, const Object *wanted) {
    Object *value = PyObject_GetAttr(x, name);
    if (!value) PyErr_Clear();
    else Py_DecRef(value);   /* x holds it */
    return value == wanted;
}

/* Whether a device has the values that it had when the program was bound, or later ones of its own. */
static int fits_residents(const Call *c) {
    int same = 1;
    for (int64_t k = 0; same && k < c->residents; k++) {
        const Resident *r = &c->there[k];
        same = is(r->container, c->resident, r->resident) && is(r->resident, c->behind, c->no)
               && is(r->container, c->lent, c->no) && is(r->container, c->version, r->version);
    }
    return same;
}

/* Count another edit of a container. */
static int edited(const Call *c, Object *container) {
    Object *edits = PyObject_GetAttr(container, c->edits), *more = edits ? PyNumber_Add(edits, c->one) : NULL;
    const int good = more && PyObject_SetAttr(container, c->edits, more) == 0;
    if (edits) Py_DecRef(edits);
    if (more) Py_DecRef(more);
    return good;
}

/* Tell the containers that the program writes. */
static int told(const Call *c) {
    int good = 1;
    for (int64_t k = c->arguments; good && k < c->operands; k++)
        if (c->operand[k].written) good = edited(c, c->operand[k].container);
    for (int64_t k = 0; good && k < c->residents; k++)
        if (c->there[k].written) good = edited(c, c->there[k].container) && PyObject_SetAttr(c->there[k].resident, c->ahead, c->yes) == 0;
    return good;
}

/* Whether all indices are within -limit..limit-1: a program that updates variables must not find out halfway. */
#define WITHIN(T) { const T *x = view->data; for (int64_t i = 0; i < n; i++) good &= (int64_t)x[i] < limit && (int64_t)x[i] >= -limit; break; }
static int within(const Buffer *view, int64_t limit) {
    const int64_t n = view->bytes / view->itemsize;
    int good = 1;
    switch (view->format[0]) {
    case 'b': WITHIN(int8_t)
    case 'B': WITHIN(uint8_t)
    case 'h': WITHIN(int16_t)
    case 'H': WITHIN(uint16_t)
    case 'i': WITHIN(int32_t)
    case 'I': WITHIN(uint32_t)
    case 'l': case 'q': WITHIN(int64_t)
    default: good = 0;   /* 64 bits without a sign, for one */
    }
    return good;
}

/* Whether an array that the program writes shares memory with one that the call gives. */
static int overlap(const Call *c, const Buffer *views) {
    for (int64_t k = c->arguments; k < c->operands; k++) {
        const char *begin = views[k].data, *end = begin + views[k].bytes;
        for (int64_t a = 0; c->operand[k].written && a < c->arguments; a++) {
            const char *data = views[a].data;
            if (data < end && begin < data + views[a].bytes) return 1;
        }
    }
    return 0;
}

/* Bind the arrays of a call; return how many are held and to be released: all, or fewer where one does not fit. */
static int64_t bind(const Call *c, Object *const *arguments, Buffer *views) {
    for (int64_t k = 0; k < c->operands; k++) {
        const Operand *o = &c->operand[k];
        if (!(o->container ? fits_storage(c, o, &views[k]) : fits(c, o, arguments[k], &views[k]))) return k;
        if (o->limit >= 0 && !within(&views[k], o->limit)) return PyBuffer_Release(&views[k]), k;
        if (o->slot >= 0) c->table[o->slot] = views[k].data;
    }
    return c->operands;
}

/* Make the arrays of the results: in a list, or one by itself. NULL, with an exception, where memory is out. */
static Object *results_of(const Call *c) {
    Object *all = c->results == 1 ? NULL : PyList_New(c->results);
    if (!all && c->results != 1) return NULL;
    for (int64_t k = 0; k < c->results; k++) {
        Object *made = PyObject_Call(c->result[k].make, c->result[k].arguments, NULL);
        Buffer view;
        if (!made || PyObject_GetBuffer(made, &view, BUFFER_SHAPE) != 0) {
            if (made) Py_DecRef(made);
            if (all) Py_DecRef(all);
            return NULL;
        }
        if (c->result[k].slot >= 0) c->table[c->result[k].slot] = view.data;
        PyBuffer_Release(&view);   /* the result holds it */
        if (!all) return made;
        PyList_SetItem(all, k, made);
    }
    return all;
}

static int run(const Call *c) {
    c->status[0] = 0;
    if (!c->releases) return c->run(c->table, c->sizes, c->arena, c->threads, c->status);
    void *thread = PyEval_SaveThread();
    const int failed = c->run(c->table, c->sizes, c->arena, c->threads, c->status);
    PyEval_RestoreThread(thread);
    return failed;
}

static Object *refused(const Call *c) {
    Py_IncRef(c->refused);
    return c->refused;
}

static Object *call(Object *self, Object *const *arguments, intptr_t count) {
    Call *c = PyLong_AsVoidPtr(PyTuple_GetItem(self, 0));
    if (c->busy || count != c->arguments || c->operands > MOST) return refused(c);
    c->busy = 1;
    Buffer views[MOST];
    int64_t held = bind(c, arguments, views);
    const int fitting = held == c->operands && !overlap(c, views) && fits_residents(c);
    Object *results = fitting ? results_of(c) : refused(c);
    if (fitting && results) {
        const int failed = run(c);        /* an index out of bounds: the general way tells of it */
        const int good = told(c);
        if (failed || !good) Py_DecRef(results);
        if (failed || !good) results = good ? refused(c) : NULL;
    }
    while (held > 0) PyBuffer_Release(&views[--held]);
    c->busy = 0;
    return results;
}

static Method method = {"call", call, METHOD_FASTCALL, "Run a program that is bound to arrays of one dtype and shape each."};

/* Return the callable of (address of a Call, whatever must live as long). */
__attribute__((visibility("default"))) Object *exprc_direct(Object *owner) {
    return PyCFunction_NewEx(&method, owner, NULL);
}

/* ---------------------------------------------------------------- calls with locks held */

typedef struct {
    Object *inner;            /* what is called */
    Object *const *holders;   /* whose locks are taken, in this order */
    int64_t count;
    Object *lock, *acquire, *release;   /* names of attributes */
} Holding;

/* Take a lock; NULL, with an exception, where a signal came first. */
static Object *taken(const Holding *h, Object *holder) {
    Object *lock = PyObject_GetAttr(holder, h->lock);
    Object *got = lock ? PyObject_CallMethodObjArgs(lock, h->acquire, NULL) : NULL;
    if (got) return Py_DecRef(got), lock;
    if (lock) Py_DecRef(lock);
    return NULL;
}

/* No line of Python comes between taking a lock and being sure to give it back: no signal, either. */
static Object *holding(Object *self, Object *arguments) {
    const Holding *h = PyLong_AsVoidPtr(PyTuple_GetItem(self, 0));
    Object *locks[MOST_LOCKS], *type, *value, *trace;
    int64_t held = 0;
    while (held < h->count && (locks[held] = taken(h, h->holders[held]))) held++;
    Object *result = held == h->count ? PyObject_Call(h->inner, arguments, NULL) : NULL;
    PyErr_Fetch(&type, &value, &trace);
    while (held > 0) {
        Object *done = PyObject_CallMethodObjArgs(locks[--held], h->release, NULL);
        if (done) Py_DecRef(done);
        else PyErr_Clear();
        Py_DecRef(locks[held]);
    }
    PyErr_Restore(type, value, trace);
    return result;
}

static Method holding_method = {"holding", (Object *(*)(Object *, Object *const *, intptr_t))holding, METHOD_VARARGS, "Call with locks held."};

/* Return the callable of (address of a Holding, whatever must live as long). */
__attribute__((visibility("default"))) Object *exprc_holding(Object *owner) {
    return PyCFunction_NewEx(&holding_method, owner, NULL);
}
