#include "requests.h"

#include <math.h>

#include "parallel.h"
#include "scattering.h"

static bool within(double value, double low, double high)
{
    return value >= low && value <= high; /* false for a NaN */
}

const char *advance_complaint(const Model *m, const Drive *drive, double seconds)
{
    if (!within(seconds, 0.0, LONGEST_CALL_S))
        return "seconds must lie in 0 ... 1e5";
    if ((int64_t)llround(seconds * 1e12) > LONGEST_CLOCK_PS - m->clock_ps)
        return "seconds would take the model past 9e6 s of its own time";
    if (!drive->terminals_off && !(within(drive->bias, -LARGEST_BIAS_V, LARGEST_BIAS_V) &&
                                   within(drive->bias_end, -LARGEST_BIAS_V, LARGEST_BIAS_V)))
        return "bias and bias_end must lie in -1000 ... 1000 V";
    if (!(drive->series >= 0.0 && isfinite(drive->series)))
        return "series_GOhm must lie in 0 ... inf";
    if (!within(drive->beam, 0.0, LARGEST_BEAM))
        return "beam_e_per_nm2_s must lie in 0 ... 1e12";
    return NULL;
}

static const char *shape_complaint(size_t height, size_t width)
{
    if (height < 1 || height > LONGEST_SIDE || width < 1 || width > LONGEST_SIDE)
        return "height and width must lie in 1 ... 16384";
    return NULL;
}

static const char *energy_complaint(double energy_keV)
{
    return within(energy_keV, 30.0, 1000.0) ? NULL : "energy_keV must lie in 30 ... 1000";
}

const char *view_complaint(const View *v)
{
    const char *complaint = shape_complaint(v->height, v->width);
    if (complaint)
        return complaint;
    if (!within(v->pixel, 1e-3, 1e4))
        return "pixel_nm must lie in 1e-3 ... 1e4";
    if (!within(v->origin_x, -FARTHEST_NM, FARTHEST_NM) ||
        !within(v->origin_y, -FARTHEST_NM, FARTHEST_NM))
        return "x_nm and y_nm must lie in -1e9 ... 1e9";
    return NULL;
}

const char *detector_complaint(const Detector *d)
{
    if (!within(d->gain, 0.0, 65535.0) || !within(d->offset, 0.0, 65535.0) ||
        !within(d->readout, 0.0, 65535.0))
        return "gain, offset and readout must lie in 0 ... 65535";
    if (!within(d->spread, 0.0, 0.33))
        return "spread must lie in 0 ... 0.33";
    return NULL;
}

const char *scene_complaint(const FrameRequest *q)
{
    const char *complaint = view_complaint(&q->view);
    if (!complaint)
        complaint = energy_complaint(q->energy_keV);
    if (complaint)
        return complaint;
    if (!within(q->electrons_per_A2, 0.0, 1e6))
        return "electrons_per_A2 must lie in 0 ... 1e6";
    if (!within(q->underfocus, -1e6, 1e6))
        return "underfocus must lie in -1e6 ... 1e6 nm";
    if (!within(q->probe_x, -FARTHEST_NM, FARTHEST_NM) ||
        !within(q->probe_y, -FARTHEST_NM, FARTHEST_NM))
        return "probe_x_nm and probe_y_nm must lie in -1e9 ... 1e9";
    if (!within(q->probe_axis_rad, -1e3, 1e3))
        return "probe_axis_rad must lie in -1000 ... 1000";
    if (q->threads < 1 || q->threads > THREADS_MOST)
        return "threads must lie in 1 ... 64";
    return NULL;
}

const char *pattern_complaint(const PatternRequest *q)
{
    const char *complaint = shape_complaint(q->height, q->width);
    if (!complaint)
        complaint = energy_complaint(q->energy_keV);
    if (complaint)
        return complaint;
    if (!within(q->pixel, 1e-5, 1.0))
        return "pixel_inverse_A must lie in 1e-5 ... 1";
    if (!within(q->electrons, 0.0, 1e15))
        return "electrons must lie in 0 ... 1e15";
    if (!within(q->aperture_x, -FARTHEST_NM, FARTHEST_NM) ||
        !within(q->aperture_y, -FARTHEST_NM, FARTHEST_NM))
        return "x_nm and y_nm of the aperture must lie in -1e9 ... 1e9";
    if (!within(q->aperture_diameter, 1.0, 1e6))
        return "aperture_nm must lie in 1 ... 1e6";
    if (!within(q->beam_width, 0.0, 1.0) || !within(q->stop_radius, 0.0, 1.0))
        return "beam width and beam stop must lie in 0 ... 1 1/A";
    if (!within(q->stop_axis_rad, -1e3, 1e3))
        return "beam_stop_rad must lie in -1000 ... 1000";
    return NULL;
}

const char *survey_complaint(const SurveyRequest *q)
{
    const char *complaint = scene_complaint(&q->scene);
    if (complaint)
        return complaint;
    if (!(within(q->inner_mrad, 1.0, 1000.0) && within(q->outer_mrad, 1.0, 1000.0) &&
          q->inner_mrad < q->outer_mrad))
        return "the detector must lie in 1 ... 1000 mrad, the inner edge below the outer";
    if (!within(q->line_noise, 0.0, 1.0))
        return "line_noise must lie in 0 ... 1";
    if (!within(q->line_jitter, 0.0, 10.0))
        return "line_jitter must lie in 0 ... 10";
    return NULL;
}

const char *families_complaint(int metal, double lattice_A, double energy_keV, double largest)
{
    if (metal < ATOM_LI || metal > ATOM_K)
        return "metal must be 0 (Li), 1 (Na) or 2 (K)";
    if (!within(lattice_A, 1.0, 10.0))
        return "lattice_A must lie in 1 ... 10";
    if (!within(largest, 0.0, 4.0))
        return "largest_inverse_A must lie in 0 ... 4";
    return energy_complaint(energy_keV);
}
