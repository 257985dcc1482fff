/* product.cuh: the tiled product that gemm.cuh and the convolutions are written in; pasted behind their texts
 *
 *     Y(r,g,i,j, sum over k of part r of A(g,i,k) * B(g,k,j))        g < BATCH, i < M, j < N, k < K, r < PARTS
 *
 * Each sum runs over k in rising order in one accumulator, or in SLICES of them, which are added in order at the end. K is cut in pieces of TILE_K; a text may say what the
 * pieces of a tile hold. Part r holds those from pieces*r/PARTS to pieces*(r+1)/PARTS; the caller adds the parts. K == 0 stores zeros.
 *
 * Sizes   PRODUCT_BATCH, PRODUCT_M, PRODUCT_N, PRODUCT_K, PRODUCT_PARTS   integer constants or long longs named in PARAMS
 *         TILE_M, TILE_N, TILE_K, REG_M, REG_N      constants, see below; a block has as many threads as each tile is long, or more
 *         SLICES                                    constant: so many threads share the sums of one, each takes its share of every piece of
 *                                                   K; TILE_K is a multiple of it (of 8 words each, with MATRIX)
 *         INDEX_BYTES                               4 where M, N and K are below 2^31 - 2^10, so that ints count them; else 8
 *         STAGES                                    constant: of how many pieces of K shared memory holds the tiles, 2 or more; above 2, factors
 *                                                   of 4 or 8 bytes that are STORED are copied there, see below
 * Hooks   PRODUCT_A(x,in_i,in_k,g,i,k,t,key), PRODUCT_B(x,in_k,g,k,t,j,from,may,key)   statements that end in PRODUCT_A_IS(x,inside,value),
 *                                                   PRODUCT_B_IS(x,inside,value): x is that value if the indices are inside their bounds, as
 *                                                   the flags say, else 0. k = TILE_K * piece + t; t (j, if B_ALONG_K) is from + less than
 *                                                   PRODUCT_B_STEP, and `from` the same for all threads
 *         PRODUCT_Y(r,g,i,j,x)                      statement; run once per element, or per PRODUCT_GROUP elements along j, which TILE_N is a
 *                                                   multiple of: then x is where their sums lie, and j the first of them
 *         PRODUCT_BEGIN(g,first_j,end_j)            declarations for these, once per tile
 *         PRODUCT_PIECES                            of a tile; PRODUCT_PIECE(piece) declarations, once per thread and piece
 *         PRODUCT_B_MAY(may,t,j,from)               statement that may set `may`, which says if j < N, to false; run once per tile, kept for
 *                                                   all of its pieces
 *         PRODUCT_KEY(key,k)                        where it is defined: statement that sets key.a, key.b, key.c and key.inside (is k < K?);
 *                                                   run once per k of a tile, for what all threads would work out of k
 * Flags   PRODUCT_A_ALONG_I, PRODUCT_B_ALONG_K      1: neighbouring threads load neighbours along i, along k
 *                                                   (else along k, along j)
 *         PRODUCT_A_STORED, PRODUCT_B_STORED        1: `value` is always an element of an array of T as it lies in memory
 *
 * Tiling: a block computes TILE_M x TILE_N elements, a thread REG_M x REG_N of them in registers, 16 bytes by 16 bytes:
 *
 *                     k   +-----------------+                 while the tile of one piece of K is multiplied, the next ones
 *                         | b  TILE_K x     |                 are on their way; shared memory holds STAGES tiles of a
 *              k          |       TILE_N    |                 (turned, so that rows lie side by side) and of b: one barrier
 *          +-------+      +-----------------+                 a piece.
 *        i | a     |      |4  4  .  |4  4  .|  4 x 4 of a
 *          | TILE_M|      |.        |.      |  thread: its     At the end the sums go through shared memory once more, row by
 *          | x     |      +-----------------+  other quads     row of the threads, so that neighbouring threads store (and
 *          | TILE_K|      |4  4  .  |4  4  .|  lie half a      load, where a hook reads other arrays) neighbours along j.
 *          +-------+      +-----------------+  tile away
 *
 * Ways from memory, of each factor its own, drawn for STAGES 3; | is the barrier of a piece:
 *
 *     multiplied       piece 0        | piece 1        | piece 2        | piece 3
 *     by registers     load 1 keep 1  | load 2 keep 2  | load 3 keep 3  |           a value that a hook computes, or that is kept as bfloat16:
 *                                                                                   a thread holds it in a register meanwhile
 *     by copies        2 ------------ | -- there       |                |           a value that is STORED: cp.async brings each element, or 0, to
 *                      (1 is coming)  | 3 ------------ | -- there       |           its place, and no register and no instruction of a thread waits
 *                                                                                   for it. Of tf32 the bits of floats lie there, rounded when
 *                                                                                   fragments are read: the same numbers either way.
 *
 * bfloat16 goes by registers: shared memory holds two in a word, so that packing at reading would read twice the words. GPUs before sm_80
 * have no cp.async: there everything goes by registers.
 *
 * MATRIX  0: each thread multiplies in T.  1, 2: the warps of a block multiply with matrix instructions, from factors rounded to tf32 or
 *         bfloat16, and sum in float (T is float). A product a * b is then off by 2^-10 or 2^-7 of itself at most
 *         (half of it from each factor; of a factor below 2^-126, 2^-136 at most is lost in tf32), and a sum by that share of the sum of |a * b|,
 *         and by the rounding of the sum. Infinities and NaN stay what they are.
 *         The tile of a thread is then spread over that of its warp, 8 x 4 threads, 8 * REG_M x 4 * REG_N:
 *
 *              columns 8 at a time, 2t and 2t+1 of thread (g, t)        shared memory holds words of 4 bytes, one tf32 or two bfloat16
 *            +----+----+--      +----+----+--                           that follow each other in k: word k of column i lies at
 *          g | 2t |2t+1|        |    |    |       rows 16 at a time,    k * (length + 8) + k / 4 * 2 + i, so that the 32 words that a warp
 *            +----+----+--  ..  +----+----+--     g and g+8             reads for an instruction (4 in k, 8 in i) lie in 32 banks, and
 *        g+8 |    |    |        |    |    |                             those that it stores at once (16 in k, 2 in i), too
 *            +----+----+--      +----+----+--
 *
 * Launch  (TILE_M / REG_M) * (TILE_N / REG_N) * SLICES threads, a block for each tile, or fewer: blocks take further tiles in turn;
 *         shared memory for the stages of both tiles, `product_shared` of ops/tiling.py, and for STAGES * TILE_K keys of 32 bytes.
 */
#ifndef PRODUCT_BEGIN
#define PRODUCT_BEGIN(g, first_j, end_j)
#endif
#ifndef PRODUCT_PIECES
#define PRODUCT_PIECES PRODUCT_CUT(PRODUCT_K, TILE_K)
#endif
#ifndef PRODUCT_PIECE
#define PRODUCT_PIECE(piece)
#endif
#ifndef PRODUCT_B_MAY
#define PRODUCT_B_MAY(may, t, j, from)
#endif
#ifndef PRODUCT_A_ALONG_I
#define PRODUCT_A_ALONG_I 0
#endif
#ifndef PRODUCT_B_ALONG_K
#define PRODUCT_B_ALONG_K 0
#endif
#ifndef TILE_M
#define TILE_M 64
#define TILE_N 64
#define TILE_K 16
#define REG_M 4
#define REG_N 4
#endif
#ifndef INDEX_BYTES
#define INDEX_BYTES 8
#endif
#ifndef MATRIX
#define MATRIX 0
#endif
#ifndef SLICES
#define SLICES 1
#endif
#ifndef STAGES
#define STAGES 2
#endif
#ifndef PRODUCT_GROUP
#define PRODUCT_GROUP 1
#endif
#if PRODUCT_GROUP == 1
#define PRODUCT_SUMS(at) shared[at]
#else
#define PRODUCT_SUMS(at) (shared + (at))
#endif

#if INDEX_BYTES == 4
#define PRODUCT_INT int
#else
#define PRODUCT_INT long long
#endif
#define PRODUCT_PASTE_(kernel, name) kernel##_##name
#define PRODUCT_PASTE(kernel, name) PRODUCT_PASTE_(kernel, name)
#define PRODUCT_VEC PRODUCT_PASTE(KERNEL, vec)
#define PRODUCT_CUT(n, size) (((long long)(n) + (size) - 1) / (size))
#define PRODUCT_WITHIN(x, n, size) ((n) % (size) == 0 || (x) < (n))
#define PRODUCT_WIDE ((int)(16 / sizeof(T)))                     /* elements of 16 bytes */
#define PRODUCT_DOWN (TILE_M / REG_M)                            /* threads below each other, side by side */
#define PRODUCT_ACROSS (TILE_N / REG_N)
#define PRODUCT_SLICE (PRODUCT_DOWN * PRODUCT_ACROSS)            /* threads */
#define PRODUCT_THREADS (PRODUCT_SLICE * SLICES)
#if MATRIX
#define PRODUCT_DOWN_OF(warp, lane) ((warp) / (PRODUCT_ACROSS / 4) * 8 + (lane) / 4)
#define PRODUCT_ACROSS_OF(warp, lane) ((warp) % (PRODUCT_ACROSS / 4) * 4 + (lane) % 4)
#define PRODUCT_ROW(down, r) ((down) / 8 * (8 * REG_M) + (r) / 2 * 16 + (r) % 2 * 8 + (down) % 8)
#define PRODUCT_COLUMN(across, c) ((across) / 4 * (4 * REG_N) + (c) / 2 * 8 + (across) % 4 * 2 + (c) % 2)
#else
/* A warp of 4 x 8 threads reads 4 quads of a and 8 of b, each in one go; as a row, it would read up to 32 of b. */
#define PRODUCT_SQUARE (PRODUCT_DOWN % 4 == 0 && PRODUCT_ACROSS % 8 == 0)
/* Else it goes along the shorter side first: 5 quads of a and 7 of b for a tile of 20 x 128. */
#define PRODUCT_TALL (PRODUCT_DOWN < PRODUCT_ACROSS)
#define PRODUCT_IN_ROW(thread) (PRODUCT_TALL ? (thread) % PRODUCT_DOWN : (thread) / PRODUCT_ACROSS)
#define PRODUCT_IN_COLUMN(thread) (PRODUCT_TALL ? (thread) / PRODUCT_DOWN : (thread) % PRODUCT_ACROSS)
#define PRODUCT_DOWN_OF(warp, lane) (PRODUCT_SQUARE ? (warp) / (PRODUCT_ACROSS / 8) * 4 + (lane) / 8 : PRODUCT_IN_ROW((warp) * 32 + (lane)))
#define PRODUCT_ACROSS_OF(warp, lane) (PRODUCT_SQUARE ? (warp) % (PRODUCT_ACROSS / 8) * 8 + (lane) % 8 : PRODUCT_IN_COLUMN((warp) * 32 + (lane)))
#define PRODUCT_ROW(down, r) (((r) / PRODUCT_WIDE * PRODUCT_DOWN + (down)) * PRODUCT_WIDE + (r) % PRODUCT_WIDE)
#define PRODUCT_COLUMN(across, c) (((c) / PRODUCT_WIDE * PRODUCT_ACROSS + (across)) * PRODUCT_WIDE + (c) % PRODUCT_WIDE)
#endif
/* Neighbouring threads load along the fast axis of a tile, as many rows of it at a time as there are threads for. */
#define PRODUCT_A_FAST (PRODUCT_A_ALONG_I ? TILE_M : TILE_K)
#define PRODUCT_A_SLOW (PRODUCT_A_ALONG_I ? TILE_K : TILE_M)
#define PRODUCT_A_STEP (PRODUCT_THREADS / PRODUCT_A_FAST)
#define PRODUCT_A_LOADS ((PRODUCT_A_SLOW + PRODUCT_A_STEP - 1) / PRODUCT_A_STEP)
#define PRODUCT_B_FAST (PRODUCT_B_ALONG_K ? TILE_K : TILE_N)
#define PRODUCT_B_SLOW (PRODUCT_B_ALONG_K ? TILE_N : TILE_K)
#define PRODUCT_B_STEP (PRODUCT_THREADS / PRODUCT_B_FAST)
#define PRODUCT_B_LOADS ((PRODUCT_B_SLOW + PRODUCT_B_STEP - 1) / PRODUCT_B_STEP)

/* Where element (k, i) of a tile of this length lies in a stage, and how a factor is kept there. */
#if MATRIX
#define PRODUCT_WORDS (TILE_K / MATRIX)                          /* along k */
#define PRODUCT_LINE(length, k) ((k) * ((length) + 8) + (k) / 4 * 2)
#define PRODUCT_FACTOR PRODUCT_PASTE(KERNEL, factor)
#define PRODUCT_AT_WORD(length, k, i) ((PRODUCT_LINE(length, (k) / MATRIX) + (i)) * MATRIX + (k) % MATRIX)
#if MATRIX == 1
typedef unsigned PRODUCT_FACTOR;
#define PRODUCT_ROUNDED(x) to_tf32(x)
#define PRODUCT_MULTIPLY mma_tf32
#else
typedef unsigned short PRODUCT_FACTOR;
#define PRODUCT_ROUNDED(x) to_bf16(x)
#define PRODUCT_MULTIPLY mma_bf16
#endif
#else
#define PRODUCT_WORDS TILE_K
#define PRODUCT_LINE(length, k) ((k) * ((length) + PRODUCT_WIDE)) /* no power of two: banks of shared memory */
#define PRODUCT_FACTOR T
#define PRODUCT_AT_WORD(length, k, i) (PRODUCT_LINE(length, k) + (i))
#define PRODUCT_ROUNDED(x) (x)
#endif
#define PRODUCT_SPREAD (TILE_N + (MATRIX ? 8 : 0))               /* from row to row of the sums, at the end */
#define PRODUCT_STAGE (PRODUCT_LINE(TILE_M, PRODUCT_WORDS) + PRODUCT_LINE(TILE_N, PRODUCT_WORDS))

struct alignas(16) PRODUCT_VEC { T x[16 / sizeof(T)]; };

/* The ways of the factors. By registers a hook gives a value; by copies it gives the place of an element, from which that is brought to
 * shared memory if it is inside. What was brought is rounded when it is read, what was kept was rounded before. */
#define PRODUCT_COPIES (STAGES > 2 && MATRIX < 2 && EXPRC_COPIES)
#if PRODUCT_COPIES && PRODUCT_A_STORED
#define PRODUCT_A_COPIED 1
#else
#define PRODUCT_A_COPIED 0
#endif
#if PRODUCT_COPIES && PRODUCT_B_STORED
#define PRODUCT_B_COPIED 1
#else
#define PRODUCT_B_COPIED 0
#endif
#define PRODUCT_WAY_(what, copied) PRODUCT_##what##_##copied
#define PRODUCT_WAY(what, copied) PRODUCT_WAY_(what, copied)
#define PRODUCT_COPIED (PRODUCT_A_COPIED || PRODUCT_B_COPIED)
#define PRODUCT_STAGES (PRODUCT_COPIED ? STAGES : 2)
#define PRODUCT_AHEAD (PRODUCT_STAGES - 1)                       /* pieces from a copy to its use */
#define PRODUCT_STAGE_OF(piece) ((int)((unsigned PRODUCT_INT)((piece) - begin) % PRODUCT_STAGES))
#define PRODUCT_PLACE PRODUCT_PASTE(KERNEL, place)
struct PRODUCT_PLACE { const T *at; bool there; };
#define PRODUCT_GIVEN_0 T
#define PRODUCT_GIVEN_1 struct PRODUCT_PLACE
#define PRODUCT_IS_0(x, inside, value) if (inside) x = (value)
#define PRODUCT_IS_1(x, inside, value) do { x.at = &(value); x.there = (inside); } while (0)
#define PRODUCT_PUT_0(x, to) *(to) = PRODUCT_ROUNDED(x)
#define PRODUCT_PUT_1(x, to) copy_async_if<sizeof(T)>(to, x.at, x.there)
#define PRODUCT_WORD_0(word) (word)
#define PRODUCT_WORD_1(word) PRODUCT_ROUNDED(__uint_as_float(word))
#define PRODUCT_A_IS(x, inside, value) PRODUCT_WAY(IS, PRODUCT_A_COPIED)(x, inside, value)
#define PRODUCT_B_IS(x, inside, value) PRODUCT_WAY(IS, PRODUCT_B_COPIED)(x, inside, value)

/* The keys of as many pieces lie behind the tiles: of one they are read while those of another are made. */
#ifdef PRODUCT_KEY
#define PRODUCT_KEYS PRODUCT_PASTE(KERNEL, keys)
struct alignas(16) PRODUCT_KEYS { PRODUCT_INT a, b, c, inside; };
#define PRODUCT_KEY_OF(piece, k) keys[PRODUCT_STAGE_OF(piece) * TILE_K + (k)]
#define PRODUCT_MAKE_KEYS(piece) do {                                                                     \
    if (thread < TILE_K) {                                                                                \
        struct PRODUCT_KEYS key;                                                                          \
        PRODUCT_KEY(key, (PRODUCT_INT)(piece) * TILE_K + thread);                                         \
        PRODUCT_KEY_OF(piece, thread) = key;                                                              \
    }                                                                                                     \
} while (0)
#define PRODUCT_FIRST_KEYS(piece) do { PRODUCT_MAKE_KEYS(piece); __syncthreads(); } while (0)
#else
#define PRODUCT_KEY_OF(piece, k) 0
#define PRODUCT_MAKE_KEYS(piece)
#define PRODUCT_FIRST_KEYS(piece)
#endif

/* Where element s of a thread's share of a tile lies in the tile, and whether there is one. */
#define PRODUCT_AT(X, s, fast, slow, there)                                                               \
    const bool loads_##X = PRODUCT_THREADS % PRODUCT_##X##_FAST == 0 || thread < PRODUCT_##X##_FAST * PRODUCT_##X##_STEP; \
    const int loader_##X = loads_##X ? thread : 0, fast = loader_##X % PRODUCT_##X##_FAST;                \
    const int row_##X = loader_##X / PRODUCT_##X##_FAST + (s) * PRODUCT_##X##_STEP;                       \
    const bool last_##X = PRODUCT_##X##_SLOW % PRODUCT_##X##_STEP != 0 && (s) == PRODUCT_##X##_LOADS - 1; \
    const bool there = loads_##X && (!last_##X || row_##X < PRODUCT_##X##_SLOW);                          \
    const int slow = !last_##X || row_##X < PRODUCT_##X##_SLOW ? row_##X : 0
#define PRODUCT_A_AT(s, i, k, there)                                                                      \
    PRODUCT_AT(A, s, fast, slow, there);                                                                  \
    const int i = PRODUCT_A_ALONG_I ? fast : slow, k = PRODUCT_A_ALONG_I ? slow : fast
#define PRODUCT_B_AT(s, k, j, there)                                                                      \
    PRODUCT_AT(B, s, fast, slow, there);                                                                  \
    const int j = PRODUCT_B_ALONG_K ? slow : fast, k = PRODUCT_B_ALONG_K ? fast : slow
#define PRODUCT_B_FROM(s) ((PRODUCT_B_ALONG_K ? first_j : 0) + (s) * PRODUCT_B_STEP)

/* Which elements of a thread's share may be there, whatever the piece is: a bit for each. */
#define PRODUCT_ASK(bits) do {                                                                            \
    EXPRC_UNROLL                                                                                          \
    for (int s = 0; s < PRODUCT_B_LOADS; s++) {                                                           \
        PRODUCT_B_AT(s, k, j, there);                                                                     \
        bool may = there && PRODUCT_WITHIN(first_j + j, PRODUCT_N, TILE_N);                               \
        PRODUCT_B_MAY(may, k, first_j + j, PRODUCT_B_FROM(s));                                            \
        bits |= (unsigned)may << s;                                                                       \
    }                                                                                                     \
} while (0)

/* What the hooks give for a thread's share of the tiles of a piece; 0 beyond the end. */
#define PRODUCT_LOAD(copied, piece) do {                                                                  \
    const PRODUCT_INT first_k = (PRODUCT_INT)(piece) * TILE_K;                                            \
    PRODUCT_PIECE(piece);                                                                                 \
    EXPRC_UNROLL                                                                                          \
    for (int s = 0; PRODUCT_A_COPIED == copied && s < PRODUCT_A_LOADS; s++) {                             \
        PRODUCT_A_AT(s, i, k, there);                                                                     \
        PRODUCT_WAY(GIVEN, PRODUCT_A_COPIED) loaded = {};                                                 \
        PRODUCT_A(loaded, there && PRODUCT_WITHIN(first_i + i, PRODUCT_M, TILE_M), PRODUCT_WITHIN(first_k + k, PRODUCT_K, TILE_K), \
                  g, first_i + i, first_k + k, k, PRODUCT_KEY_OF(piece, k));                              \
        a_next[s] = loaded;                                                                               \
    }                                                                                                     \
    EXPRC_UNROLL                                                                                          \
    for (int s = 0; PRODUCT_B_COPIED == copied && s < PRODUCT_B_LOADS; s++) {                             \
        PRODUCT_B_AT(s, k, j, there);                                                                     \
        PRODUCT_WAY(GIVEN, PRODUCT_B_COPIED) loaded = {};                                                 \
        PRODUCT_B(loaded, PRODUCT_WITHIN(first_k + k, PRODUCT_K, TILE_K), g, first_k + k, k, first_j + j, PRODUCT_B_FROM(s), \
                  (bool)(may_b >> s & 1), PRODUCT_KEY_OF(piece, k));                                      \
        b_next[s] = loaded;                                                                               \
    }                                                                                                     \
} while (0)

/* That put in shared memory, or on its way to there. */
#define PRODUCT_KEEP(copied, piece) do {                                                                  \
    PRODUCT_FACTOR *const a_to = (PRODUCT_FACTOR *)(shared + PRODUCT_STAGE_OF(piece) * PRODUCT_STAGE);    \
    PRODUCT_FACTOR *const b_to = (PRODUCT_FACTOR *)(shared + PRODUCT_STAGE_OF(piece) * PRODUCT_STAGE + PRODUCT_LINE(TILE_M, PRODUCT_WORDS)); \
    EXPRC_UNROLL                                                                                          \
    for (int s = 0; PRODUCT_A_COPIED == copied && s < PRODUCT_A_LOADS; s++) {                             \
        PRODUCT_A_AT(s, i, k, there);                                                                     \
        if (there) PRODUCT_WAY(PUT, PRODUCT_A_COPIED)(a_next[s], a_to + PRODUCT_AT_WORD(TILE_M, k, i));   \
    }                                                                                                     \
    EXPRC_UNROLL                                                                                          \
    for (int s = 0; PRODUCT_B_COPIED == copied && s < PRODUCT_B_LOADS; s++) {                             \
        PRODUCT_B_AT(s, k, j, there);                                                                     \
        if (there) PRODUCT_WAY(PUT, PRODUCT_B_COPIED)(b_next[s], b_to + PRODUCT_AT_WORD(TILE_N, k, j));   \
    }                                                                                                     \
} while (0)

/* sum += the product of a slice of the tiles of a piece. */
#define PRODUCT_SHARE (PRODUCT_WORDS / SLICES)                   /* of a slice, along k */
#if MATRIX
#define PRODUCT_ADD(piece) do {                                                                           \
    const unsigned *const words = (const unsigned *)(shared + PRODUCT_STAGE_OF(piece) * PRODUCT_STAGE);   \
    const unsigned *const a_from = words + PRODUCT_LINE(TILE_M, slice * PRODUCT_SHARE); \
    const unsigned *const b_from = words + PRODUCT_LINE(TILE_M, PRODUCT_WORDS) + PRODUCT_LINE(TILE_N, slice * PRODUCT_SHARE); \
    const int g_ = lane / 4, t_ = lane % 4, first_row = PRODUCT_ROW(down, 0), first_column = across / 4 * (4 * REG_N) + g_; \
    EXPRC_UNROLL                                                                                          \
    for (int k = 0; k < PRODUCT_SHARE; k += 8) {                                                          \
        unsigned b_k[REG_N / 2][2];                                                                       \
        EXPRC_UNROLL                                                                                      \
        for (int c = 0; c < REG_N; c++)                                                                   \
            b_k[c / 2][c % 2] = PRODUCT_WAY(WORD, PRODUCT_B_COPIED)(                            \
                b_from[PRODUCT_LINE(TILE_N, k + c % 2 * 4) + t_ * (TILE_N + 8) + first_column + c / 2 * 8]); \
        EXPRC_UNROLL                                                                                      \
        for (int r = 0; r < REG_M; r += 2) {                                                              \
            unsigned a_k[4];                                                                              \
            EXPRC_UNROLL                                                                                  \
            for (int e = 0; e < 4; e++)                                                                   \
                a_k[e] = PRODUCT_WAY(WORD, PRODUCT_A_COPIED)(                                   \
                    a_from[PRODUCT_LINE(TILE_M, k + e / 2 * 4) + t_ * (TILE_M + 8) + first_row + r * 8 + e % 2 * 8]); \
            EXPRC_UNROLL                                                                                  \
            for (int c = 0; c < REG_N; c += 2) {                                                          \
                float four[4] = {sum[r][c], sum[r][c + 1], sum[r + 1][c], sum[r + 1][c + 1]};             \
                PRODUCT_MULTIPLY(four, a_k, b_k[c / 2]);                                                  \
                sum[r][c] = four[0]; sum[r][c + 1] = four[1]; sum[r + 1][c] = four[2]; sum[r + 1][c + 1] = four[3]; \
            }                                                                                             \
        }                                                                                                 \
    }                                                                                                     \
} while (0)
#else
#define PRODUCT_ADD(piece) do {                                                                           \
    const T *const tiles_from = shared + PRODUCT_STAGE_OF(piece) * PRODUCT_STAGE;                         \
    const T *const a_from = tiles_from + PRODUCT_LINE(TILE_M, slice * PRODUCT_SHARE);                     \
    const T *const b_from = tiles_from + PRODUCT_LINE(TILE_M, TILE_K) + PRODUCT_LINE(TILE_N, slice * PRODUCT_SHARE); \
    EXPRC_UNROLL                                                                                          \
    for (int k = 0; k < PRODUCT_SHARE; k++) {                                                                    \
        struct PRODUCT_VEC a_k[REG_M / PRODUCT_WIDE], b_k[REG_N / PRODUCT_WIDE];                          \
        EXPRC_UNROLL                                                                                      \
        for (int r = 0; r < REG_M / PRODUCT_WIDE; r++)                                                    \
            a_k[r] = *(const struct PRODUCT_VEC *)(a_from + PRODUCT_LINE(TILE_M, k) + (r * PRODUCT_DOWN + down) * PRODUCT_WIDE); \
        EXPRC_UNROLL                                                                                      \
        for (int c = 0; c < REG_N / PRODUCT_WIDE; c++)                                                    \
            b_k[c] = *(const struct PRODUCT_VEC *)(b_from + PRODUCT_LINE(TILE_N, k) + (c * PRODUCT_ACROSS + across) * PRODUCT_WIDE); \
        EXPRC_UNROLL                                                                                      \
        for (int r = 0; r < REG_M; r++) {                                                                 \
            EXPRC_UNROLL                                                                                  \
            for (int c = 0; c < REG_N; c++)                                                               \
                sum[r][c] += a_k[r / PRODUCT_WIDE].x[r % PRODUCT_WIDE] * b_k[c / PRODUCT_WIDE].x[c % PRODUCT_WIDE]; \
        }                                                                                                 \
    }                                                                                                     \
} while (0)
#endif

/* Room for 512 threads: up to 128 registers each, and while one block waits for memory another one computes; for 256 with more sums. */
EXPRC_KERNEL void EXPRC_BOUNDS(PRODUCT_THREADS, (REG_M * REG_N > 64 ? 256 : 512) / PRODUCT_THREADS) KERNEL(PARAMS) {
    EXPRC_SHARED(shared_bytes);
    T *const shared = (T *)shared_bytes;
#ifdef PRODUCT_KEY
    struct PRODUCT_KEYS *const keys = (struct PRODUCT_KEYS *)(shared + PRODUCT_STAGES * PRODUCT_STAGE);
#endif
    const int thread = threadIdx.x, slice = thread / PRODUCT_SLICE, warp = thread % PRODUCT_SLICE / 32, lane = thread % PRODUCT_SLICE % 32;
    const int down = PRODUCT_DOWN_OF(warp, lane), across = PRODUCT_ACROSS_OF(warp, lane);
    const long long tiles_i = PRODUCT_CUT(PRODUCT_M, TILE_M), tiles_j = PRODUCT_CUT(PRODUCT_N, TILE_N);
    const long long tiles = tiles_i * tiles_j;

    for (long long block = EXPRC_BLOCK; block < (PRODUCT_PARTS) * (PRODUCT_BATCH) * tiles; block += EXPRC_BLOCKS) {
        const long long tile = block % tiles, g = block / tiles % (PRODUCT_BATCH), part = block / (tiles * (PRODUCT_BATCH));
        const PRODUCT_INT first_i = (PRODUCT_INT)(tile % tiles_i) * TILE_M, first_j = (PRODUCT_INT)(tile / tiles_i) * TILE_N;
        PRODUCT_BEGIN(g, first_j, (PRODUCT_N) - first_j < TILE_N ? (PRODUCT_N) : first_j + TILE_N);
        const long long pieces = PRODUCT_PIECES;
        unsigned may_b = 0;
        PRODUCT_ASK(may_b);
        const PRODUCT_INT begin = (PRODUCT_INT)(pieces * part / (PRODUCT_PARTS)), end = (PRODUCT_INT)(pieces * (part + 1) / (PRODUCT_PARTS));
        T sum[REG_M][REG_N];
        PRODUCT_WAY(GIVEN, PRODUCT_A_COPIED) a_next[PRODUCT_A_LOADS];
        PRODUCT_WAY(GIVEN, PRODUCT_B_COPIED) b_next[PRODUCT_B_LOADS];
        EXPRC_UNROLL
        for (int r = 0; r < REG_M; r++) {
            EXPRC_UNROLL
            for (int c = 0; c < REG_N; c++) sum[r][c] = 0;
        }
        PRODUCT_FIRST_KEYS(begin);
        for (PRODUCT_INT piece = begin - PRODUCT_AHEAD; piece < end; piece++) {   /* before the first piece, only tiles are fetched */
            const bool next = (PRODUCT_AHEAD == 1 || piece + 1 >= begin) && piece + 1 < end;
            if (PRODUCT_COPIED && piece + PRODUCT_AHEAD < end) {
                PRODUCT_LOAD(1, piece + PRODUCT_AHEAD);
                PRODUCT_KEEP(1, piece + PRODUCT_AHEAD);
            }
            if (PRODUCT_COPIED) copy_commit();
            if (next) PRODUCT_LOAD(0, piece + 1);
            PRODUCT_MAKE_KEYS(piece + PRODUCT_AHEAD + 1);
            if (piece >= begin) PRODUCT_ADD(piece);
            if (next) PRODUCT_KEEP(0, piece + 1);
            if (PRODUCT_COPIED) copy_wait<PRODUCT_AHEAD - 1>();
            __syncthreads();
        }
        EXPRC_UNROLL
        for (int r = 0; r < REG_M; r++) {
            for (int first = 0; first < SLICES; first++) {
                EXPRC_UNROLL
                for (int c = 0; c < REG_N; c++) {
                    const int at = down * PRODUCT_SPREAD + PRODUCT_COLUMN(across, c);
                    if (slice == first) shared[at] = first ? shared[at] + sum[r][c] : sum[r][c];
                }
                __syncthreads();
            }
            for (int e = thread; e < PRODUCT_DOWN * (TILE_N / PRODUCT_GROUP); e += PRODUCT_THREADS) {
                const int row = e / (TILE_N / PRODUCT_GROUP), column = e % (TILE_N / PRODUCT_GROUP) * PRODUCT_GROUP;
                const PRODUCT_INT i = first_i + PRODUCT_ROW(row, r), j = first_j + column;
                if (i < (PRODUCT_M) && j < (PRODUCT_N)) { PRODUCT_Y(part, g, i, j, PRODUCT_SUMS(row * PRODUCT_SPREAD + column)); }
            }
            __syncthreads();
        }
    }
}

#undef PRODUCT_INT
#undef PRODUCT_GROUP
#undef PRODUCT_SUMS
#undef PRODUCT_PASTE_
#undef PRODUCT_PASTE
#undef PRODUCT_VEC
#undef PRODUCT_CUT
#undef PRODUCT_WIDE
#undef PRODUCT_DOWN
#undef PRODUCT_ACROSS
#undef PRODUCT_THREADS
#undef PRODUCT_SLICE
#undef PRODUCT_SHARE
#undef PRODUCT_SQUARE
#undef PRODUCT_TALL
#undef PRODUCT_IN_ROW
#undef PRODUCT_IN_COLUMN
#undef PRODUCT_DOWN_OF
#undef PRODUCT_ACROSS_OF
#undef PRODUCT_ROW
#undef PRODUCT_COLUMN
#undef PRODUCT_WORDS
#undef PRODUCT_LINE
#undef PRODUCT_FACTOR
#undef PRODUCT_AT_WORD
#undef PRODUCT_ROUNDED
#undef PRODUCT_MULTIPLY
#undef PRODUCT_SPREAD
#undef PRODUCT_ADD
#undef PRODUCT_A_LOADS
#undef PRODUCT_B_LOADS
#undef PRODUCT_STAGE
#undef PRODUCT_A_FAST
#undef PRODUCT_A_SLOW
#undef PRODUCT_A_STEP
#undef PRODUCT_B_FAST
#undef PRODUCT_B_SLOW
#undef PRODUCT_B_STEP
#undef PRODUCT_AT
#undef PRODUCT_A_AT
#undef PRODUCT_B_AT
#undef PRODUCT_COPIES
#undef PRODUCT_WAY_
#undef PRODUCT_WAY
#undef PRODUCT_A_COPIED
#undef PRODUCT_B_COPIED
#undef PRODUCT_COPIED
#undef PRODUCT_STAGES
#undef PRODUCT_AHEAD
#undef PRODUCT_STAGE_OF
#undef PRODUCT_PLACE
#undef PRODUCT_GIVEN_0
#undef PRODUCT_GIVEN_1
#undef PRODUCT_IS_0
#undef PRODUCT_IS_1
#undef PRODUCT_PUT_0
#undef PRODUCT_PUT_1
#undef PRODUCT_WORD_0
#undef PRODUCT_WORD_1
#undef PRODUCT_A_IS
#undef PRODUCT_B_IS
#undef PRODUCT_LOAD
#undef PRODUCT_A_STORED
#undef PRODUCT_B_STORED
#undef PRODUCT_KEEP
#undef PRODUCT_BATCH
#undef PRODUCT_M
#undef PRODUCT_N
#undef PRODUCT_K
#undef PRODUCT_PARTS
#undef PRODUCT_A
#undef PRODUCT_B
#undef PRODUCT_Y
#undef PRODUCT_BEGIN
#undef PRODUCT_PIECES
#undef PRODUCT_PIECE
#undef PRODUCT_B_MAY
#undef PRODUCT_B_FROM
#undef PRODUCT_WITHIN
#undef PRODUCT_ASK
#undef PRODUCT_KEY
#undef PRODUCT_KEYS
#undef PRODUCT_KEY_OF
#undef PRODUCT_MAKE_KEYS
#undef PRODUCT_FIRST_KEYS
#undef PRODUCT_A_ALONG_I
#undef PRODUCT_B_ALONG_K
