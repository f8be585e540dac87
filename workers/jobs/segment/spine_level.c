// Names by the rule of the hazard table: a level is named only between ribs above and a sacrum below. See spine.h.
// The sacrum is known by its wings, or, where the field ends in them, by their section at its border and the form of
// L5.
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/math.h"

#define RIB_FROM_MM  46
#define RIB_TO_MM    57
#define RIB_VOXELS   20 // samples of 2 mm on each side
#define LUMBAR       5
#define WING_SAMPLES 25 // of 4 mm²
#define WING_MM      4
#define CUT_MM       6   // from the canal's end to the border that cuts it
#define CUT_PLANES   2   // of 1 mm
#define STOUT        1.5 // times: L5 has more than twice as much there, L4 no more than L3
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
                kf_spine_place(t, side * u, v, p);
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

// How much of the wings the field's lower border cuts, where it lies no deeper than they do: samples of 4 mm² of bone
// 38 to 54 mm aside in the border's plane and just above it, the lesser of planes and sides. Through the tips of the
// transverse processes of a lumbar vertebra, which end at 40 to 45 mm, the border cuts 70 mm² at most.
static int cut_wings(const struct kf_volume *volume, const struct kf_spine *spine)
{
    const struct kf_spine_station *end = &spine->station[spine->stations - 1];
    double border = volume->grid.origin_lps[2], front[3] = {end->front[0], end->front[1], 0};
    if (end->p[2] - border > CUT_MM || kf_spine_below(&spine->disc[spine->discs - 1], end->p) <= 0)
        return 0;
    kf_spine_unit(front);
    int least = WING_SAMPLES * 4;
    for (int plane = 0; plane < CUT_PLANES; plane++)
        for (int side = -1; side <= 1; side += 2) {
            int bone = 0;
            for (int u = 38; u <= 54; u += 2)
                for (int v = -12; v <= 34; v += 2) {
                    double p[3] = {end->p[0] - side * u * front[1] + v * front[0],
                                   end->p[1] + side * u * front[0] + v * front[1], border + plane};
                    bone += kf_spine_value(volume, p, -1000) > 130;
                }
            least = bone < least ? bone : least;
        }
    return least;
}

// Samples of bone beside the pedicles of the vertebra above disc `d`, 28 to 36 mm aside: its transverse processes.
static int lateral_mass(const struct kf_volume *volume, const struct kf_spine *spine, int d, int side)
{
    int count = 0, from = (int)fmax(0, d > 0 ? spine->disc[d - 1].s : spine->disc[0].s - 30);
    for (int n = from; n < (int)spine->disc[d].s; n += 2)
        for (int u = 28; u <= 36; u += 2)
            for (int v = -34; v <= 12; v += 2) {
                double p[3];
                kf_spine_place(&spine->station[n], side * u, v, p);
                count += kf_spine_value(volume, p, -1000) > 200;
            }
    return count;
}

// How many times stouter the transverse processes of the vertebra above the last disc are than those of the next: its
// weaker side against the stronger one. Those of L5 arise from the whole side of its pedicles and from its body (Gray's
// Anatomy); from L2 to L4 they hardly differ.
static double stoutness(const struct kf_volume *volume, const struct kf_spine *spine)
{
    int last = spine->discs - 1;
    if (last < 1)
        return 0;
    double weaker = fmin(lateral_mass(volume, spine, last, 1), lateral_mass(volume, spine, last, -1)),
           above = fmax(lateral_mass(volume, spine, last - 1, 1), lateral_mass(volume, spine, last - 1, -1));
    return weaker / fmax(above, 1);
}

// The sacrum by its wings; where the field cuts them, by what its border shows of them and, what has nothing to do with
// it, by the form of L5. 0…1: how far these are from the least that counts, 0 where there is none.
static double sacrum_evidence(const struct kf_volume *volume, const struct kf_spine *spine)
{
    if (winged_mm(volume, spine, &spine->disc[spine->discs - 1], 40) >= WING_MM)
        return 1;
    double wings = (double)cut_wings(volume, spine) / WING_SAMPLES, stout = stoutness(volume, spine) / STOUT;
    return wings >= 1 && stout >= 1 ? fmin(1, kf_ln(fmin(wings, stout)) / kf_ln(1.5)) : 0;
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
    double sacral = sacrum_evidence(volume, spine);
    spine->named = 0;
    spine->sacrum = sacral > 0;
    spine->vertebrae = spine->discs + !spine->sacrum;
    int last = -1, odd = spine->sacrum && is_transitional(volume, spine);
    spine->clear = spine->sacrum ? sacral : 1;
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
