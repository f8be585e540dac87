// A cross-section of the canal, of the sac or of the cord, and its fit.
#ifndef KERF_JOBS_SEGMENT_SPINE_ELLIPSE_H
#define KERF_JOBS_SEGMENT_SPINE_ELLIPSE_H

#include <math.h>

// In mm from its station along left and front.
struct kf_spine_ellipse {
    double of[4]; // middle u, v; half axis to the left, half axis to the front
};

// Where the fit may go.
struct kf_spine_ellipse_range {
    double least[4], most[4];
    double oblate;   // most that the half axis to the left may be of the other; INFINITY: any
    double first_mm; // first step; it is halved
    int halvings;    // until so many halvings have made it no better
};

// The square of the distance from the middle, where the ellipse is the unit circle: up to 1 inside.
static inline double kf_spine_ellipse_at(const struct kf_spine_ellipse *e, double u, double v)
{
    double x = (u - e->of[0]) / e->of[2], y = (v - e->of[1]) / e->of[3];
    return x * x + y * y;
}

// Pattern search (Hooke and Jeeves 1961) from *e to a greatest worth(context, …): along one of the four numbers at a
// time. Returns it.
static inline double kf_spine_ellipse_fit(double (*worth)(const void *context, const struct kf_spine_ellipse *e),
                                          const void *context, const struct kf_spine_ellipse_range *range,
                                          struct kf_spine_ellipse *e)
{
    double best = worth(context, e), step = range->first_mm;
    for (int n = 0; n < range->halvings;) {
        int better = 0;
        for (int c = 0; c < 8; c++) {
            struct kf_spine_ellipse other = *e;
            other.of[c / 2] += c % 2 ? step : -step;
            if (other.of[c / 2] < range->least[c / 2] || other.of[c / 2] > range->most[c / 2] ||
                other.of[2] > range->oblate * other.of[3])
                continue;
            double now = worth(context, &other);
            if (now > best + 1e-9)
                best = now, *e = other, better = 1;
        }
        if (!better)
            step /= 2, n++;
    }
    return best;
}

#endif
