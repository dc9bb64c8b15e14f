// Batch norm with what follows it, on channels-last tensors; see fused.py.
//
// `norm_*`: y = relu(pool(scale x + shift) + add), where pool is the maximum of 2 x 2 (or nothing),
// add another tensor (or nothing), and relu may be left out. Two passes over x forward, two backward.
//
// `first_*`: the same behind a 3 x 3 convolution of one-channel images, whose output is computed
// again where it is needed and never stored. With p the ten numbers of a pixel (its patch and a 1),
// mean and variance of every channel, and all of the weights' gradient but sum dy p, follow from the
// 10 x 10 matrix sum p p^T of the batch.
//
// The images are cut into CHUNKS parts, whose sums are added in order: the number of threads does
// not change a bit. Sums are float32 within a part (or an image) and float64 across.
#include <cmath>
#include <cstdint>
#include <vector>

struct bf16 { uint16_t bits; };

struct Call {  // as in fused.py
    int64_t n, h, w, c;  // of x
    int32_t pool, relu, training, threads;
    float eps, momentum;
    const void *x, *add, *dy;
    void *y, *dx, *dadd;
    const float *weight, *bias, *gamma, *beta;  // weight and bias: of the convolution before
    float *running_mean, *running_var;
    float *mean, *invstd, *scale, *shift;  // forward writes them, backward reads them
    double *gram;
    float *dweight, *dgamma, *dbeta;
};

#ifdef __AVX512F__
#define BYTES 64
#else
#define BYTES 32  // ten vectors of weights have to fit into the registers
#endif
static const long CHUNKS = 16, TAPS = 10, LANES = BYTES / 4;

static inline float get(float x) { return x; }
static inline float get(bf16 x) { return __builtin_bit_cast(float, uint32_t(x.bits) << 16); }
static inline void put(float &to, float x) { to = x; }
static inline void put(bf16 &to, float x) {  // to nearest, ties to even
    uint32_t bits = __builtin_bit_cast(uint32_t, x);
    to.bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

// Calls f(part, first image, one past its last).
template <class F> static void in_parts(const Call &k, F f) {
#pragma omp parallel for num_threads(k.threads) schedule(static)
    for (long part = 0; part < CHUNKS; part++)
        f(part, part * k.n / CHUNKS, (part + 1) * k.n / CHUNKS);
}

// The sum of the parts' rows of `size` floats, entry i.
template <class T> static double total(const std::vector<T> &parts, long size, long i) {
    double sum = 0;
    for (long part = 0; part < CHUNKS; part++) sum += parts[part * size + i];
    return sum;
}

static void set_scale(const Call &k, long i, float mean, float var) {
    k.mean[i] = mean;
    k.invstd[i] = 1 / std::sqrt(var + k.eps);
    k.scale[i] = k.gamma[i] * k.invstd[i];
    k.shift[i] = k.beta[i] - mean * k.scale[i];
}

// What batch norm makes of a batch's mean and variance of channel i.
static void set_channel(const Call &k, long i, double mean, double variance) {
    const float m = float(k.n) * k.h * k.w, bias = k.bias ? k.bias[i] : 0;
    const float var = variance > 0 || variance != variance ? variance : 0;
    set_scale(k, i, mean, var);
    k.running_mean[i] += k.momentum * (float(mean + bias) - k.running_mean[i]);
    k.running_var[i] += k.momentum * (var * (m / (m - 1)) - k.running_var[i]);
}

// In evaluation.
static void set_channels(const Call &k) {
    for (long i = 0; i < k.c; i++)
        set_scale(k, i, k.running_mean[i] - (k.bias ? k.bias[i] : 0), k.running_var[i]);
}

// --- norm ------------------------------------------------------------------------------------

template <class T> static void statistics(const Call &k) {
    const long c = k.c, pixels = k.h * k.w, all = k.n * pixels, samples = all < 64 ? all : 64;
    const T *x = static_cast<const T *>(k.x);
    std::vector<float> parts(CHUNKS * 2 * c), about(c);
    for (long j = 0; j < samples; j++)  // near the mean, so that the sum of squares stays small
        for (long i = 0; i < c; i++) about[i] += get(x[j * all / samples * c + i]) / samples;
    in_parts(k, [&](long part, long from, long to) {
        float *__restrict sum = &parts[part * 2 * c], *__restrict square = sum + c;
        const float *__restrict middle = about.data();
        const T *__restrict p = x + from * pixels * c;
        long rows = (to - from) * pixels;
        for (; rows >= 8; rows -= 8, p += 8 * c)
#pragma omp simd
            for (long i = 0; i < c; i++) {
                float s = 0, q = 0;
                for (long r = 0; r < 8; r++) {
                    float d = get(p[i + r * c]) - middle[i];
                    s += d;
                    q += d * d;
                }
                sum[i] += s;
                square[i] += q;
            }
        for (; rows > 0; rows--, p += c)
            for (long i = 0; i < c; i++) {
                float d = get(p[i]) - middle[i];
                sum[i] += d;
                square[i] += d * d;
            }
    });
    for (long i = 0; i < c; i++) {
        double mean = total(parts, 2 * c, i) / all;
        set_channel(k, i, about[i] + mean, total(parts, 2 * c, c + i) / all - mean * mean);
    }
}

// Calls f(window of x, its y) for each window of the images, as offsets.
template <int POOL, class F> static void windows(const Call &k, long from, long to, F f) {
    const long w = k.w / POOL;
    for (long row = from * k.h / POOL; row < to * k.h / POOL; row++)
        for (long j = 0; j < w; j++) f((row * k.w + j) * POOL * k.c, (row * w + j) * k.c);
}

// One channel of a window: the numbers x, and v = scale x + shift.
template <class T, int POOL> struct Window {
    float x[POOL * POOL], v[POOL * POOL];
    inline Window(const T *p, long c, long wc, float scale, float shift) {
        for (int t = 0; t < POOL * POOL; t++) {
            x[t] = get(p[t / 2 * wc + t % 2 * c]);
            v[t] = x[t] * scale + shift;
        }
    }
    // The maximum of v, and the x of the first one.
    inline float best(float &at) const {
        float best = v[0];
        at = x[0];
        for (int t = 1; t < POOL * POOL; t++) {
            at = v[t] > best ? x[t] : at;
            best = v[t] > best ? v[t] : best;
        }
        return best;
    }
};

template <class T, int POOL, bool ADD, bool RELU> static void norm_forward(const Call &k) {
    k.training ? statistics<T>(k) : set_channels(k);
    const long c = k.c, wc = k.w * c;
    in_parts(k, [&](long, long from, long to) {
        const float *__restrict scale = k.scale, *__restrict shift = k.shift;
        windows<POOL>(k, from, to, [&](long at, long small) {
            const T *__restrict p = static_cast<const T *>(k.x) + at;
            const T *__restrict add = static_cast<const T *>(k.add) + small;
            T *__restrict y = static_cast<T *>(k.y) + small;
#pragma omp simd
            for (long i = 0; i < c; i++) {
                float x, v = Window<T, POOL>(p + i, c, wc, scale[i], shift[i]).best(x);
                if (ADD) v += get(add[i]);
                put(y[i], RELU && v <= 0 ? 0 : v);
            }
        });
    });
}

// The gradient at (scale x + shift) is dy where ReLU let it through, in a window where the first
// maximum stands. Pass 1 sums it, and its product with x - mean; pass 2 takes both out of dx.
template <class T, int POOL, bool ADD, bool RELU> static void norm_backward(const Call &k) {
    const long c = k.c, wc = k.w * c;
    std::vector<float> parts(CHUNKS * 2 * c), means(2 * c);
    in_parts(k, [&](long part, long from, long to) {
        float *__restrict sum = &parts[part * 2 * c], *__restrict product = sum + c;
        const float *__restrict scale = k.scale, *__restrict shift = k.shift;
        const float *__restrict mean = k.mean;
        windows<POOL>(k, from, to, [&](long at, long small) {
            const T *__restrict p = static_cast<const T *>(k.x) + at;
            const T *__restrict dy = static_cast<const T *>(k.dy) + small;
            const T *__restrict add = static_cast<const T *>(k.add) + small;
            T *__restrict dadd = static_cast<T *>(k.dadd) + small;
#pragma omp simd
            for (long i = 0; i < c; i++) {
                float x, v = Window<T, POOL>(p + i, c, wc, scale[i], shift[i]).best(x);
                if (ADD) v += get(add[i]);
                float d = RELU && v <= 0 ? 0 : get(dy[i]);
                if (ADD) put(dadd[i], d);
                sum[i] += d;
                product[i] += d * (x - mean[i]);
            }
        });
    });
    for (long i = 0; i < c; i++) {
        const double m = double(k.n) * k.h * k.w;
        k.dbeta[i] = total(parts, 2 * c, i);
        k.dgamma[i] = total(parts, 2 * c, c + i) * k.invstd[i];
        means[i] = k.scale[i] * k.dbeta[i] / m;
        means[c + i] = k.scale[i] * k.invstd[i] * k.dgamma[i] / m;
    }
    in_parts(k, [&](long, long from, long to) {
        const float *__restrict scale = k.scale, *__restrict shift = k.shift;
        const float *__restrict mean = k.mean, *__restrict one = &means[0], *__restrict two = one + c;
        windows<POOL>(k, from, to, [&](long at, long small) {
            const T *__restrict p = static_cast<const T *>(k.x) + at;
            const T *__restrict dy = static_cast<const T *>(k.dy) + small;
            const T *__restrict dadd = static_cast<const T *>(k.dadd) + small;
            T *__restrict dx = static_cast<T *>(k.dx) + at;
#pragma omp simd
            for (long i = 0; i < c; i++) {
                const Window<T, POOL> window(p + i, c, wc, scale[i], shift[i]);
                float x, best = window.best(x);
                float d = ADD ? get(dadd[i]) : RELU && best <= 0 ? 0 : get(dy[i]);
                for (int t = 0; t < POOL * POOL; t++) {
                    float here = POOL == 1 || window.v[t] == best ? d : 0;
                    d -= here;
                    put(dx[i + t / 2 * wc + t % 2 * c],
                        here * scale[i] - one[i] - (window.x[t] - mean[i]) * two[i]);
                }
            }
        });
    });
}

// --- first -----------------------------------------------------------------------------------

typedef float V __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef uint32_t U __attribute__((vector_size(BYTES)));
typedef uint16_t H __attribute__((vector_size(BYTES / 2), aligned(2), may_alias));

static inline V load(const float *from) { return *reinterpret_cast<const V *>(from); }
static inline V load(const bf16 *from) {
    return (V)(__builtin_convertvector(*reinterpret_cast<const H *>(from), U) << 16);
}
static inline void store(float *to, V x) { *reinterpret_cast<V *>(to) = x; }
static inline void store(bf16 *to, V x) {
    U bits = (U)x;
    *reinterpret_cast<H *>(to) =
        __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, H);
}

// One image with a border of zeros; its rows are long enough to be read in whole vectors.
struct Padded {
    long h, w, stride;
    std::vector<float> pixels;
    Padded(const Call &k)
        : h(k.h), w(k.w), stride((w / LANES + 2) * LANES), pixels((h + 2) * stride) {}
    void take(const Call &k, long image) {
        const float *from = static_cast<const float *>(k.x) + image * h * w;
        for (long i = 0; i < h; i++)
            for (long j = 0; j < w; j++) pixels[(i + 1) * stride + j + 1] = from[i * w + j];
    }
    const float *patch(long i, long j) const { return &pixels[i * stride + j]; }
};

static void first_statistics(const Call &k) {
    const long size = TAPS * TAPS;
    std::vector<double> parts(CHUNKS * size);
    in_parts(k, [&](long part, long from, long to) {
        Padded image(k);
        std::vector<float> inside(image.stride);
        for (long j = 0; j < k.w; j++) inside[j] = 1;
        for (long number = from; number < to; number++) {
            image.take(k, number);
            V sums[TAPS * TAPS] = {};
            for (long i = 0; i < k.h; i++)
                for (long j = 0; j < k.w; j += LANES) {
                    V p[TAPS];
                    p[9] = load(&inside[j]);
                    for (long t = 0; t < 9; t++) p[t] = p[9] * load(image.patch(i + t / 3, j + t % 3));
                    for (long a = 0; a < TAPS; a++)
                        for (long b = a; b < TAPS; b++) sums[a * TAPS + b] += p[a] * p[b];
                }
            for (long i = 0; i < size; i++)
                for (long lane = 0; lane < LANES; lane++) parts[part * size + i] += sums[i][lane];
        }
    });
    for (long a = 0; a < TAPS; a++)
        for (long b = a; b < TAPS; b++)
            k.gram[a * TAPS + b] = k.gram[b * TAPS + a] = total(parts, size, a * TAPS + b);
    const double *ones = &k.gram[9 * TAPS], m = ones[9];
    for (long i = 0; i < k.c; i++) {
        double mean = 0, square = 0;
        for (long a = 0; a < 9; a++) {
            const double w = k.weight[i * 9 + a];
            mean += w * ones[a] / m;
            for (long b = 0; b < 9; b++) square += w * k.weight[i * 9 + b] * k.gram[a * TAPS + b] / m;
        }
        set_channel(k, i, mean, square - mean * mean);
    }
}

// Calls f(image, channel, the window's corner, its y, weights) for each window and LANES channels; the
// weights are those of the convolution with batch norm folded into them.
template <class F> static void first_windows(const Call &k, F f) {
    in_parts(k, [&](long part, long from, long to) {
        Padded image(k);
        const long h = k.h / 2, w = k.w / 2;
        for (long number = from; number < to; number++) {
            image.take(k, number);
            for (long channel = 0; channel < k.c; channel += LANES) {
                V weights[TAPS];
                weights[9] = load(k.shift + channel);
                for (long t = 0; t < 9; t++)
                    for (long lane = 0; lane < LANES; lane++)
                        weights[t][lane] =
                            k.weight[(channel + lane) * 9 + t] * k.scale[channel + lane];
                f(part, number * h * w * k.c + channel, channel, image, weights);
            }
        }
    });
}

static inline V convolved(const float *p, long stride, const V *weights) {
    V v = weights[9];
    for (long t = 0; t < 9; t++) v += p[t / 3 * stride + t % 3] * weights[t];
    return v;
}

template <class T> static void first_forward(const Call &k) {
    k.training ? first_statistics(k) : set_channels(k);
    first_windows(k, [&](long, long at, long, const Padded &image, const V *weights) {
        T *y = static_cast<T *>(k.y) + at;
        for (long i = 0; i < k.h; i += 2)
            for (long j = 0; j < k.w; j += 2, y += k.c) {
                const float *p = image.patch(i, j);
                V best = convolved(p, image.stride, weights);
                for (long t = 1; t < 4; t++) {
                    V v = convolved(p + t / 2 * image.stride + t % 2, image.stride, weights);
                    best = v > best ? v : best;
                }
                store(y, best <= 0 ? V{} : best);
            }
    });
}

template <class T> static void first_backward(const Call &k) {
    const long size = TAPS * k.c;
    std::vector<double> parts(CHUNKS * size);  // sum of d p
    first_windows(k, [&](long part, long at, long channel, const Padded &image, const V *weights) {
        const T *dy = static_cast<const T *>(k.dy) + at;
        const long stride = image.stride;
        V sums[TAPS] = {};
        for (long i = 0; i < k.h; i += 2)
            for (long j = 0; j < k.w; j += 2, dy += k.c) {
                const float *p = image.patch(i, j);
                V v[4], best, d = load(dy);
                for (long t = 0; t < 4; t++)
                    v[t] = convolved(p + t / 2 * stride + t % 2, stride, weights);
                best = v[0];
                for (long t = 1; t < 4; t++) best = v[t] > best ? v[t] : best;
                d = best <= 0 ? V{} : d;
                sums[9] += d;
                for (long t = 0; t < 4; t++) {
                    V here = v[t] == best ? d : V{};
                    d -= here;
                    const float *q = p + t / 2 * stride + t % 2;
                    for (long u = 0; u < 9; u++) sums[u] += q[u / 3 * stride + u % 3] * here;
                }
            }
        for (long t = 0; t < TAPS; t++)
            for (long lane = 0; lane < LANES; lane++)
                parts[part * size + t * k.c + channel + lane] += sums[t][lane];
    });
    const double *ones = &k.gram[9 * TAPS], m = ones[9];
    for (long i = 0; i < k.c; i++) {
        const float *w = k.weight + i * 9;
        double product = 0;  // of d and the convolution's output
        for (long t = 0; t < 9; t++) product += w[t] * total(parts, size, t * k.c + i);
        const double sum = total(parts, size, 9 * k.c + i), invstd = k.invstd[i];
        const double dgamma = (product - k.mean[i] * sum) * invstd;
        k.dbeta[i] = sum;
        k.dgamma[i] = dgamma;
        for (long t = 0; t < 9; t++) {
            double normed = -k.mean[i] * ones[t];  // sum of the normalised output times p_t
            for (long u = 0; u < 9; u++) normed += w[u] * k.gram[t * TAPS + u];
            k.dweight[i * 9 + t] = k.scale[i] * (total(parts, size, t * k.c + i) - sum * ones[t] / m -
                                                 dgamma * normed * invstd / m);
        }
    }
}

// --- entries ---------------------------------------------------------------------------------

#define NORM(T, WAY)                                                        \
    extern "C" void norm_##WAY##_##T(const Call *k) {                       \
        if (k->pool == 2) return norm_##WAY<T, 2, false, true>(*k);         \
        if (k->add) return norm_##WAY<T, 1, true, true>(*k);                \
        return k->relu ? norm_##WAY<T, 1, false, true>(*k) : norm_##WAY<T, 1, false, false>(*k); \
    }                                                                       \
    extern "C" void first_##WAY##_##T(const Call *k) { first_##WAY<T>(*k); }
NORM(float, forward)
NORM(float, backward)
NORM(bf16, forward)
NORM(bf16, backward)
