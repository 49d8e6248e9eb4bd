/* Checks of the C core without Python; prints what fails and exits 1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "circuit.h"
#include "elementary.h"
#include "export.h"
#include "image.h"
#include "motion.h"
#include "nucleation.h"
#include "rng.h"
#include "shape.h"
#include "state.h"

static int failures;

static void check(bool good, const char *what, double value)
{
    if (good)
        return;
    failures++;
    printf("FAILED %s: %.17g\n", what, value);
}

static void near(const char *what, double value, double expected, double tolerance)
{
    check(fabs(value - expected) <= tolerance, what, value);
}

static Drive at_bias(double bias)
{
    return (Drive){.bias = bias, .bias_end = bias};
}

static void run(Model *m, Drive drive, double seconds)
{
    model_begin(m, &drive, seconds);
    while (model_run(m, &drive, 1000) == 1000)
        ;
}

static Model *model_with(const Parameters *par, uint64_t seed)
{
    Model *m = model_create(par, seed);
    if (!m || parameters_complaint(par)) {
        printf("FAILED to make a model\n");
        exit(1);
    }
    return m;
}

static Model *default_model(uint64_t seed)
{
    const Parameters par = parameters_default();
    return model_with(&par, seed);
}

static void check_random(void)
{
    /* Known answers of the Random123 distribution. */
    const uint32_t zero[4] = {0, 0, 0, 0}, ones[4] = {~0u, ~0u, ~0u, ~0u};
    const uint32_t expected[2][4] = {{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u},
                                     {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}};
    const PhiloxBlock a = philox4x32(zero, zero), b = philox4x32(ones, ones);
    check(memcmp(a.v, expected[0], sizeof a.v) == 0, "philox of zeros", a.v[0]);
    check(memcmp(b.v, expected[1], sizeof b.v) == 0, "philox of ones", b.v[0]);
    check(rng_uniform(0, 0) > 0.0 && rng_uniform(~0u, ~0u) < 1.0, "uniform is open", 0.0);
    double mean = 0.0, square = 0.0;
    for (uint64_t i = 0; i < 20000; i++) {
        double z[2];
        rng_normal_pair(rng_draw(7, DRAW_WALK, i, 3), z);
        mean += z[0] + z[1];
        square += z[0] * z[0] + z[1] * z[1];
    }
    near("normal mean", mean / 40000.0, 0.0, 0.02);
    near("normal variance", square / 40000.0, 1.0, 0.03);
}

static double ulps(double value, double exact)
{
    const double size = fabs(exact);
    return fabs(value - exact) / (nextafter(size, INFINITY) - size);
}

/* Against the C library; a build with -ffast-math or -fassociative-math does not pass. */
static void check_elementary(void)
{
    double worst_exp = 0.0, worst_log = 0.0, worst_root = 0.0, worst_turn = 0.0, worst_atan = 0.0;
    for (uint64_t i = 0; i < 200000; i++) {
        const PhiloxBlock b = rng_draw(5, 200, i, 0);
        const double u = rng_uniform(b.v[0], b.v[1]), v = rng_uniform(b.v[2], b.v[3]);
        const double wide = (u - 0.5) * (i & 1 ? 600.0 : 4.0);
        const double positive = exp((v - 0.5) * (i & 1 ? 600.0 : 0.5));
        double sine, cosine;
        elementary_turn(u, &sine, &cosine);
        worst_exp = fmax(worst_exp, ulps(elementary_exp(wide), exp(wide)));
        worst_log = fmax(worst_log, ulps(elementary_log(positive), log(positive)));
        worst_root = fmax(worst_root, ulps(elementary_cbrt(positive), cbrt(positive)));
        worst_turn = fmax(worst_turn, fabs(sine - sin(2.0 * PI * u)));
        worst_turn = fmax(worst_turn, fabs(cosine - cos(2.0 * PI * u)));
        const double slope = exp(10.0 * (v - 0.5));
        worst_atan = fmax(worst_atan, fabs(elementary_atan(slope) - atan(slope)));
        near("tangent", elementary_tan(1.5 * u) / tan(1.5 * u), 1.0, 5e-15);
    }
    check(worst_exp <= 2.0, "exp, ulp", worst_exp);
    check(worst_log <= 4.0, "log, ulp", worst_log);
    check(worst_root <= 4.0, "cube root, ulp", worst_root);
    check(worst_turn <= 1e-15, "sine and cosine", worst_turn); /* 2 pi u is rounded itself */
    check(worst_atan <= 1e-15, "arc tangent", worst_atan);
    check(elementary_exp(0.0) == 1.0 && elementary_log(1.0) == 0.0, "exact at the start", 0.0);
    check(elementary_exp(1e9) == elementary_exp(300.0), "exp is bounded", 0.0);
    check(isnan(elementary_exp(NAN)), "exp of NaN", 0.0);
    for (int quarter = 0; quarter <= 4; quarter++) {
        double sine, cosine;
        elementary_turn(0.25 * quarter, &sine, &cosine);
        check(sine == (quarter % 2 ? 2 - quarter : 0), "sine of quarters", sine);
        check(cosine == (quarter % 2 ? 0 : 1 - quarter % 4), "cosine of quarters", cosine);
    }
}

static void check_geometry(void)
{
    const double degree = PI / 180.0;
    near("k_V(60)", cap_volume_factor(tan(30.0 * degree)), 1.0076663134634545, 1e-12);
    near("k_V(30)/k_V(60)",
         cap_volume_factor(tan(15.0 * degree)) / cap_volume_factor(tan(30.0 * degree)), 0.427688,
         1e-6);
    near("C1", cap_area_constant(60.0 * degree), 4.167517662942, 1e-11);
    near("C2", half_cube_area_constant(), 4.762203155905, 1e-11);
    near("crossing", crossing_angle() / degree, 44.2667, 1e-4);
    for (double theta = 0.02; theta < 3.0; theta += 0.01) {
        const double tau = tan(0.5 * theta), a = 13.7;
        const double volume = cap_volume_factor(tau) * a * a * a;
        near("theta(V, a)", cap_angle(cap_tau(volume, a)), theta, 1e-12);
        const double h = cap_height(a, tau), r = cap_radius(a, tau);
        near("V = pi h^2 (3R-h)/3", PI * h * h * (3.0 * r - h) / 3.0 / volume, 1.0, 1e-12);
        near("S = 2 pi R h", 2.0 * PI * r * h / cap_free_area(a, tau), 1.0, 1e-12);
    }
    const ContactLine line = contact_line(60.0 * degree, 30.0 * degree);
    const Cap grown = cap_resting(&line, 1000.0, 0.0);
    near("advancing", cap_angle(grown.tau), 60.0 * degree, 1e-12);
    const Cap pinned = cap_resting(&line, 500.0, grown.base);
    check(cap_side(&line, pinned.tau) == 0 && pinned.base == grown.base, "pinned", pinned.base);
    const Cap freed = cap_resting(&line, 420.0, grown.base);
    near("receding", cap_angle(freed.tau), 30.0 * degree, 1e-12);
    check(cap_side(&line, freed.tau) == -1 && freed.base < grown.base, "depinned", freed.base);
}

static void check_angles(const Model *m)
{
    const double degree = PI / 180.0;
    for (size_t i = 0; i < m->particles.count; i++) {
        const double theta = cap_angle(m->particles.tau[i]) / degree;
        check(theta > 30.0 - 1e-9 && theta < 60.0 + 1e-9, "contact angle", theta);
    }
}

/* Two cycles, every tick: charge, contact angles, Kirchhoff; everything is stripped at the end. */
static void check_cycles(void)
{
    Model *m = default_model(3);
    double worst = 0.0, residual = 0.0, largest = 0.0;
    for (int half = 0; half < 4; half++) {
        Drive drive = at_bias(half % 2 ? 5.0 : -5.0);
        model_begin(m, &drive, 1.0);
        while (model_run(m, &drive, 1) == 1) {
            const double volume = model_volume(m), booked = long_sum_value(&m->net_volume);
            largest = fmax(largest, booked);
            if (volume > 0.0)
                worst = fmax(worst, fabs(volume - booked) / volume);
            else
                near("charge left", booked / fmax(largest, 1.0), 0.0, 1e-12);
            residual = fmax(residual, fabs(m->kirchhoff));
            check_angles(m);
        }
        check(half % 2 == 0 ? m->particles.count > 20 : m->particles.count == 0, "particles",
              (double)m->particles.count);
    }
    check(worst <= 1e-12, "charge balance", worst);
    check(residual <= 1e-3, "Kirchhoff", residual);
    check(m->cycle == 1, "cycles", (double)m->cycle);
    size_t kinds[EVENT_KIND_COUNT] = {0};
    for (size_t i = 0; i < m->events.count; i++)
        kinds[m->events.log[i].kind]++;
    check(kinds[EVENT_BIRTH] == kinds[EVENT_MERGE] + kinds[EVENT_GONE], "births = merges + gone",
          (double)kinds[EVENT_BIRTH]);
    check(kinds[EVENT_MERGE] > 10, "merges", (double)kinds[EVENT_MERGE]);
    model_free(m);
}

static void check_chopping(void)
{
    Model *whole = default_model(5), *parts = default_model(5), *other = default_model(6);
    run(whole, at_bias(-5.0), 0.9);
    run(other, at_bias(-5.0), 0.9);
    for (int i = 0; i < 2700; i++)
        run(parts, at_bias(-5.0), 0.9 / 2700.0);
    check(whole->tick == 900 && parts->tick == 900, "ticks", (double)parts->tick);
    check(whole->particles.count == parts->particles.count, "chopped count",
          (double)parts->particles.count);
    const size_t bytes = whole->particles.count * sizeof(double);
    check(memcmp(whole->particles.volume, parts->particles.volume, bytes) == 0, "chopped volumes",
          0.0);
    check(memcmp(whole->particles.y, parts->particles.y, bytes) == 0, "chopped places", 0.0);
    check(memcmp(&whole->eta, &parts->eta, sizeof(double)) == 0, "chopped eta", parts->eta);
    check(model_volume(other) != model_volume(whole), "another seed", model_volume(other));
    model_free(whole);
    model_free(parts);
    model_free(other);
}

static size_t put_particle(Model *m, double s, double y, double volume)
{
    const Placing q = {.s = s, .y = y, .volume = volume, .angle = NAN, .feed = 1.0};
    uint64_t uid;
    check(model_place(m, &q, 1, &uid) == NULL, "placing", volume);
    return m->particles.count - 1;
}

static void check_fusion(void)
{
    Model *m = default_model(1);
    const double period = m->d.period;
    put_particle(m, 100.0, period - 3.0, 1234.5678901234567);
    put_particle(m, 104.0, 5.0, 8765.4321098765432);
    const double before = model_volume(m);
    check(coalescence_step(m, 1.0), "coalescence", 0.0);
    const Particles *p = &m->particles;
    check(p->count == 1 && p->uid[0] == 2, "the larger one stays", (double)p->uid[0]);
    near("fused volume", model_volume(m), before, 4e-12);
    near("booked", long_sum_value(&m->net_volume) + long_sum_value(&m->placed) - model_volume(m),
         0.0, 4e-12);
    const double share = 1234.5678901234567 / before;
    near("centre of mass s", p->s[0], 104.0 - 4.0 * share, 1e-9);
    near("centre of mass y", p->y[0], 5.0 - 8.0 * share, 1e-9);
    near("angle", cap_angle(p->tau[0]), PI / 3.0, 1e-9);
    near("neck", p->neck[0], sqrt(16.0 + 64.0), 1e-9);
    check(p->boundary_life[0] > 0.0, "bicrystal", p->boundary_life[0]);
    put_particle(m, p->s[0] + 10.0, p->y[0], 10.0);
    check(coalescence_step(m, 1.0) && p->count == 1, "second fusion", (double)p->count);
    check(p->lattice[0] == 2 && p->lattice_2[0] == 1, "a small partner adopts", 0.0);
    model_free(m);
}

/* Smoluchowski's constant kernel: each pair of n crystals fuses at the same rate K/A.  The mobility
 * of the model falls with size whatever its parameters, so pairs are drawn here (Marcus 1968) and
 * handed to fuse().  Sizes are exponential from the start and stay so: with N(0) = 4000,
 * N(t) = N(0)/(1 + K c0 t/2) and var/mean^2 = 1.  Time is in units of 2/(K c0). */
static void check_coagulation(void)
{
    enum { START = 4000 };
    Model *m = default_model(13);
    Particles *p = &m->particles;
    double placed = 0.0, time = 0.0;
    for (uint64_t i = 0; i < START; i++) {
        const PhiloxBlock b = rng_draw(13, 98, i, 0);
        const double volume = -1e5 * log(rng_uniform(b.v[0], b.v[1]));
        placed += volume;
        put_particle(m, 1e-4 * (double)i, 0.0, volume);
    }
    uint64_t draw = 0;
    for (int look = 1; look <= 4; look++) { /* N = 1/2, 1/4, 1/8, 1/16 of the start */
        const double until = pow(2.0, look) - 1.0;
        for (;;) {
            const double n = (double)p->count;
            const PhiloxBlock b = rng_draw(13, 97, draw, 0), c = rng_draw(13, 97, draw++, 1);
            const double wait = -log(rng_uniform(b.v[0], b.v[1])) * START / (n * (n - 1.0));
            if (time + wait > until) { /* the waiting time has no memory */
                time = until;
                break;
            }
            time += wait;
            const size_t i = (size_t)(n * rng_uniform(c.v[0], c.v[1]));
            const size_t k = (size_t)((n - 1.0) * rng_uniform(c.v[2], c.v[3]));
            particles_remove(p, fuse(m, i, k < i ? k : k + 1, time));
        }
        const double n = (double)p->count;
        /* The count scatters by sqrt(1/3N): 3/sqrt(N) is 5 sigma, false alarm 2e-7. */
        near("count of the constant kernel", n * (1.0 + time) / START, 1.0, 3.0 / sqrt(n));
        double mean = 0.0, square = 0.0;
        for (size_t i = 0; i < p->count; i++) {
            mean += p->volume[i] / n;
            square += p->volume[i] * p->volume[i] / n;
        }
        /* var/mean^2 of n exponential numbers scatters by sqrt(4/n); 4 sigma, false alarm 1e-4. */
        near("sizes of the constant kernel", square / (mean * mean) - 1.0, 1.0, 8.0 / sqrt(n));
        near("volume of the constant kernel", model_volume(m) / placed, 1.0, 1e-12);
        near("booked of the constant kernel",
             (long_sum_value(&m->net_volume) + long_sum_value(&m->placed)) / model_volume(m), 1.0,
             1e-15);
        near("merges of the constant kernel", (double)m->events.count + n, START, 0.0);
    }
    model_free(m);
}

/* The cell list finds exactly the pairs that a look at all pairs finds. */
static void check_cells(void)
{
    Parameters par = parameters_default();
    par.fibre_count = 2.0;
    Model *m = model_with(&par, 9);
    for (uint64_t i = 0; i < 300; i++) {
        const PhiloxBlock b = rng_draw(1, 99, i, 0), c = rng_draw(1, 100, i, 0);
        const size_t k = put_particle(m, 2000.0 * rng_uniform(b.v[0], b.v[1]),
                                      m->d.period * rng_uniform(b.v[2], b.v[3]),
                                      exp(12.0 * rng_uniform(c.v[0], c.v[1])));
        m->particles.fibre[k] = i % 2;
    }
    check(coalescence_step(m, 1.0), "coalescence of many", 0.0);
    const Particles *p = &m->particles;
    for (size_t i = 0; i < p->count; i++)
        for (size_t j = 0; j < i; j++) {
            const double ds = p->s[i] - p->s[j];
            const double dy = around_distance(p->y[i] - p->y[j], m->d.period);
            check(p->fibre[i] != p->fibre[j] ||
                      sqrt(ds * ds + dy * dy) >= p->base[i] + p->base[j] + par.touch_gap_nm,
                  "a contact was missed", ds);
        }
    check(p->count < 290 && p->count > 20, "fusions", (double)p->count);
    model_free(m);
}

static void check_rest(void)
{
    Parameters par = parameters_default();
    par.kelvin = 0.0;
    Model *m = model_with(&par, 2);
    run(m, at_bias(0.0), 1.0);
    check(m->particles.count == 0, "births at zero bias", (double)m->particles.count);
    put_particle(m, 500.0, 100.0, 5e4);
    put_particle(m, 900.0, 300.0, 2e5);
    m->eta = 0.0;
    const double before = model_volume(m);
    run(m, at_bias(0.0), 5.0);
    near("volume at zero bias", model_volume(m) / before, 1.0, 1e-9);
    model_free(m);

    m = default_model(2);
    run(m, at_bias(-5.0), 0.8);
    const size_t count = m->particles.count;
    const Drive open = {.open = true, .terminals_off = true};
    const double held = model_volume(m), layer = 0.2 * m->eta * m->d.faraday;
    run(m, open, 0.1); /* the double layer discharges into the particles */
    const double deposited = model_volume(m);
    near("discharge of the double layer", (deposited - held) / layer, 1.0, 0.1);
    run(m, open, 5.0);
    near("volume at open circuit", model_volume(m) / deposited, 1.0, 2e-4);
    check(m->particles.count <= count && m->current == 0.0, "open circuit", m->current);
    model_free(m);
}

/* Without any lithium the fibre sits at D R_p / (R_s + R_p); Kirchhoff's residual is of
 * second order in the step. */
static void check_circuit(void)
{
    Parameters par = parameters_default();
    par.site_count = 0.0;
    Model *m = model_with(&par, 1);
    run(m, at_bias(-5.0), 0.1);
    near("eta without lithium", m->eta, 5.0 * 0.66 / 20.66, 1e-9);
    near("current", m->current, -(5.0 / 20.66e-3 + 5.0), 1e-6);
    model_free(m);

    double residual[2];
    for (int k = 0; k < 2; k++) {
        par = parameters_default();
        par.tick_s = k ? 5e-4 : 1e-3;
        par.migration_factor = 0.0;
        m = model_with(&par, 4);
        run(m, at_bias(-5.0), 0.8);
        residual[k] = m->kirchhoff;
        model_free(m);
    }
    near("residual falls with the square of the step", residual[1] / residual[0], 0.25, 0.05);
}

/* chi2 of counts against the Poisson distribution, over the values expected five times or more;
 * the rest is one bin. */
static double poisson_chi(const float *count, size_t n, double mean, double *freedom)
{
    static size_t seen[2048];
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < n; i++)
        seen[count[i] < 2047.0f ? (size_t)count[i] : 2047]++;
    double chi = 0.0, rest = (double)n, rest_seen = (double)n;
    *freedom = 0.0;
    for (int k = 0; k < 2047; k++) {
        const double expected = (double)n * exp(k * log(mean) - mean - lgamma(k + 1.0));
        if (expected < 5.0)
            continue;
        const double found = (double)seen[k];
        chi += (found - expected) * (found - expected) / expected;
        rest -= expected;
        rest_seen -= found;
        *freedom += 1.0;
    }
    return chi + (rest_seen - rest) * (rest_seen - rest) / rest;
}

static void check_poisson(void)
{
    static const double means[] = {0.03, 0.7, 5.3, 61.7, 300.2, 999.0, 1024.0, 3000.5, 9000.0};
    PoissonTables *t = poisson_create();
    const RowKernels *rows = row_kernels_named("auto");
    const size_t n = 200000;
    float *mean = malloc(n * sizeof *mean), *count = malloc(n * sizeof *count);
    check(poisson_prepare(t, 1e4), "tables", 0.0);
    for (size_t k = 0; k < sizeof means / sizeof means[0]; k++) {
        const double expected = means[k];
        for (size_t i = 0; i < n; i++)
            mean[i] = (float)expected;
        const RowKey key = {11, k, 0, DRAW_PIXELS};
        rows->electrons(t, &key, poisson_terms((float)expected), n, mean, count);
        double sum = 0.0, square = 0.0;
        for (size_t i = 0; i < n; i++) {
            const double d = (double)count[i] - expected;
            sum += d;
            square += d * d;
        }
        const double sigma = sqrt(expected / (double)n);
        near("Poisson mean", sum / (double)n, 0.0, 4.5 * sigma);
        near("Poisson variance", square / (double)n / expected, 1.0,
             4.5 * sqrt((2.0 + 1.0 / expected) / (double)n));
    }
    /* The distribution itself. */
    static const double wholes[] = {0.7, 5.3, 17.77, 61.7, 999.0};
    for (size_t k = 0; k < sizeof wholes / sizeof wholes[0]; k++) {
        const double expected = wholes[k];
        for (size_t i = 0; i < n; i++)
            mean[i] = (float)expected;
        const RowKey key = {12, k, 0, DRAW_PIXELS};
        rows->electrons(t, &key, poisson_terms((float)expected), n, mean, count);
        double freedom;
        const double chi = poisson_chi(count, n, expected, &freedom);
        /* 5 sigma of the normal that chi2 is nearly: false alarm below 1e-3 for the few degrees of
         * freedom of the smallest mean, 1e-6 for the largest. */
        near("chi2 of Poisson", chi, freedom, 5.0 * sqrt(2.0 * freedom));
    }
    free(mean);
    free(count);
    poisson_free(t);
}

/* Every build of the hot loops gives the same bits. */
static void check_builds(void)
{
    static const char *const names[] = {"baseline", "avx2", "avx512"};
    const View view = {96, 133, 7.0, 10.0, -20.0};
    uint16_t *first = NULL;
    unsigned char *state = NULL;
    size_t size = 0;
    for (int k = 0; k < 3; k++) {
        if (!kernels_named(names[k]))
            continue;
        Model *m = default_model(21);
        m->kernels = kernels_named(names[k]);
        check(strcmp(m->kernels->name, names[k]) == 0, "name of a build", k);
        run(m, at_bias(-5.0), 0.7);
        run(m, at_bias(5.0), 0.1);
        unsigned char *bytes = malloc(state_size(m));
        uint16_t *frame = malloc(view.height * view.width * sizeof *frame);
        state_save(m, bytes);
        FrameRequest q = {.view = view, .electrons_per_A2 = 0.9, .energy_keV = 200.0,
                          .underfocus = 900.0, .threads = (size_t)k + 1,
                          .detector = {true, 8.0, 100.0, 3.0, 0.08}};
        check(frame_render(m, &q, frame), "frame", k);
        if (state) {
            check(size == state_size(m) && memcmp(state, bytes, size) == 0, "state of a build", k);
            check(memcmp(first, frame, view.height * view.width * sizeof *frame) == 0,
                  "frame of a build", k);
            free(bytes);
            free(frame);
        } else {
            state = bytes;
            size = state_size(m);
            first = frame;
        }
        model_free(m);
    }
    check(kernels_named("abacus") == NULL, "unknown build", 0.0);
    free(state);
    free(first);
}

static void check_picture(void)
{
    Model *m = default_model(1);
    run(m, at_bias(-5.0), 0.6);
    const View view = {256, 420, 5.0, 0.0, 0.0};
    const size_t pixels = view.height * view.width;
    float *map = malloc(pixels * sizeof *map);
    uint16_t *frame = malloc(pixels * sizeof *frame), *again = malloc(pixels * sizeof *again);
    check(thickness_render(m, &view, map), "thickness", 0.0);
    double sum = 0.0;
    for (size_t i = 0; i < pixels; i++)
        sum += (double)map[i];
    near("rendered mass", sum * 25.0 / model_volume(m), 1.0, 1e-6);

    FrameRequest q = {.view = view, .electrons_per_A2 = 0.1, .energy_keV = 200.0, .threads = 1};
    q.probe = true;
    q.probe_x = -300.0;
    q.probe_axis_rad = PI;
    check(frame_render(m, &q, frame) && frame_render(m, &q, again), "frame", 0.0);
    check(memcmp(frame, again, pixels * sizeof *frame) == 0, "same index, same frame", 0.0);
    q.index = 1;
    check(frame_render(m, &q, again) && memcmp(frame, again, pixels * sizeof *frame) != 0,
          "another index", 0.0);
    q.view = (View){1, 1, 2.0, 0.0, 0.0}; /* degenerate pictures */
    check(frame_render(m, &q, frame), "one pixel", 0.0);
    q.view = (View){3, 1, 0.01, 1e5, -1e5};
    check(frame_render(m, &q, frame), "far away", 0.0);
    q.view = view;
    q.electrons_per_A2 = 0.0;
    check(frame_render(m, &q, frame), "blanked", 0.0);
    for (size_t i = 0; i < pixels; i++)
        check(frame[i] == 0, "electrons in a blanked frame", frame[i]);
    q.detector = (Detector){true, 8.0, 100.0, 3.0, 0.08};
    check(frame_render(m, &q, frame), "blanked ccd", 0.0);
    sum = 0.0;
    for (size_t i = 0; i < pixels; i++)
        sum += frame[i];
    near("offset", sum / (double)pixels, 100.0, 0.1);
    free(map);
    free(frame);
    free(again);
    model_free(m);
}

static void check_state(void)
{
    Model *m = default_model(4), *copy = default_model(4);
    run(m, at_bias(-5.0), 0.5);
    const size_t size = state_size(m);
    unsigned char *bytes = malloc(size);
    state_save(m, bytes);
    check(state_load(copy, bytes, size) == NULL, "load", 0.0);
    run(m, at_bias(-5.0), 0.5);
    run(copy, at_bias(-5.0), 0.5);
    check(model_volume(m) == model_volume(copy) && m->eta == copy->eta, "resumed", copy->eta);
    for (size_t k = 0; k < size; k += 37) {
        bytes[k] ^= 0x41;
        Model *victim = default_model(4);
        check(state_load(victim, bytes, size) != NULL, "a damaged state loads", (double)k);
        model_free(victim);
        bytes[k] ^= 0x41;
    }
    for (size_t cut = 0; cut < size; cut += 211) {
        Model *victim = default_model(4);
        check(state_load(victim, bytes, cut) != NULL, "a cut state loads", (double)cut);
        model_free(victim);
    }
    free(bytes);
    model_free(m);
    model_free(copy);
}

static void check_parameters(void)
{
    Parameters par = parameters_default();
    check(parameters_complaint(&par) == NULL, "defaults", 0.0);
    par.temperature_K = NAN;
    check(parameters_complaint(&par) != NULL, "NaN passes", 0.0);
    par = parameters_default();
    par.receding_angle_deg = 70.0;
    check(parameters_complaint(&par) != NULL, "receding above advancing", 0.0);
}

int main(void)
{
    check_random();
    check_elementary();
    check_geometry();
    check_parameters();
    check_circuit();
    check_cycles();
    check_chopping();
    check_fusion();
    check_coagulation();
    check_cells();
    check_rest();
    check_poisson();
    check_builds();
    check_picture();
    check_state();
    printf("%d failed\n", failures);
    return failures != 0;
}
