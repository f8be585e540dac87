// Names by the rule of the hazard table: a level is named only between ribs above and a sacrum below. See spine.h.
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/math.h"

#define RIB_FROM_MM  46
#define RIB_TO_MM    57
#define RIB_VOXELS   20 // samples of 2 mm on each side
#define LUMBAR       5
#define WING_SAMPLES 25 // of 4 mm²
#define WING_MM      4
#define RIBS         12

// Samples of bone where only a rib reaches: beside the body's upper half and below, behind the front of the body.
static int lateral_bone(const struct kf_volume *volume, const struct kf_spine *spine, double from, double to, int side)
{
    int count = 0;
    for (int n = (int)from; n < (int)to; n += 2) {
        if (n < 0 || n >= spine->stations)
            continue;
        const struct kf_spine_station *t = &spine->station[n];
        for (int u = RIB_FROM_MM; u <= RIB_TO_MM; u += 2)
            for (int v = -36; v <= 14; v += 2) {
                double p[3];
                for (int c = 0; c < 3; c++)
                    p[c] = t->p[c] + side * u * t->left[c] + v * t->front[c];
                count += kf_spine_value(volume, p, -1000) > 220;
            }
    }
    return count;
}

// Millimetres below a disc, up to `to`, in which bone as large as a sacral wing lies 38 to 54 mm aside, on the side
// that has fewer. The transverse process of a lumbar vertebra is half as large there.
static int winged_mm(const struct kf_volume *volume, const struct kf_spine *spine, const struct kf_spine_disc *disc,
                     int to)
{
    double left[3], front[3], along = 0;
    const double *lateral = spine->station[(int)disc->s].left;
    for (int c = 0; c < 3; c++)
        along += lateral[c] * disc->normal[c];
    for (int c = 0; c < 3; c++)
        left[c] = lateral[c] - along * disc->normal[c];
    for (int c = 0; c < 3; c++) // down × left
        front[c] = disc->normal[(c + 1) % 3] * left[(c + 2) % 3] - disc->normal[(c + 2) % 3] * left[(c + 1) % 3];
    int rows[2] = {0, 0};
    for (int w = 4; w <= to; w++)
        for (int side = 0; side < 2; side++) {
            int bone = 0;
            for (int u = 38; u <= 54; u += 2)
                for (int v = -34; v <= -2; v += 2) {
                    double p[3];
                    for (int c = 0; c < 3; c++)
                        p[c] = disc->middle[c] + w * disc->normal[c] + (side ? u : -u) * left[c] + v * front[c];
                    bone += kf_spine_value(volume, p, -1000) > 130;
                }
            rows[side] += bone >= WING_SAMPLES;
        }
    return rows[0] < rows[1] ? rows[0] : rows[1];
}

// A vertebra above the sacrum with wings of its own is half a part of it.
static int is_transitional(const struct kf_volume *volume, const struct kf_spine *spine)
{
    const struct kf_spine_disc *last = &spine->disc[spine->discs - 1];
    return spine->discs > 1 && winged_mm(volume, spine, last - 1, (int)(last->s - last[-1].s) - 8) >= WING_MM;
}

// Named only when ribs end exactly five vertebrae above the sacrum, on both sides, and the next to either end agree:
// one more or one fewer is a transitional sign, and nobody can tell then from this image alone.
void kf_spine_name(const struct kf_volume *volume, struct kf_spine *spine)
{
    spine->named = 0;
    spine->sacrum = winged_mm(volume, spine, &spine->disc[spine->discs - 1], 40) >= WING_MM;
    spine->vertebrae = spine->discs + !spine->sacrum;
    int last = -1, odd = spine->sacrum && is_transitional(volume, spine);
    spine->clear = 1;
    for (int i = 0; i < spine->vertebrae; i++) {
        double from = i > 0 ? spine->disc[i - 1].s : spine->disc[0].s - 30,
               to = i < spine->discs ? spine->disc[i].s : from + 30;
        to += spine->sacrum && i + 1 == spine->vertebrae ? -12 : 8; // the sacrum's wings are no ribs
        int left = lateral_bone(volume, spine, from, to, 1), right = lateral_bone(volume, spine, from, to, -1);
        int bone = left < right ? left : right, most = left < right ? right : left;
        spine->rib[i] = bone >= RIB_VOXELS ? 1 : 0;
        odd += !spine->rib[i] && most >= 2 * RIB_VOXELS && i + LUMBAR <= spine->vertebrae; // a rib on one side only
        // A count twice or half of the least for a rib is clear; what lies at it could be either.
        double apart = fabs(kf_ln((bone + 1.0) / (RIB_VOXELS + 1.0))) / kf_ln(2);
        if (i + LUMBAR + 1 >= spine->vertebrae)
            spine->clear = fmin(spine->clear, apart);
        if (spine->rib[i])
            last = i;
    }
    for (int i = 0; i <= last; i++)
        odd += !spine->rib[i];
    if (last >= RIBS) // nobody has more: a vertebra was cut in two
        odd++;
    if (!spine->sacrum || last < 0 || odd || spine->vertebrae - 1 - last != LUMBAR)
        return;
    spine->named = 1;
    spine->lowest = KF_SPINE_L5;
}
