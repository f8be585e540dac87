// The upper part of both hip bones: behind and beside the sacrum, from the posterior spine along the joint into the
// wing, which the field cuts. Whatever of it lies where the sacrum is, or within the joint's width of it, is taken away,
// so that the two faces are congruent; cartilage and ligaments fill what is between. Frame: that of S1, see spine.h.
#include "workers/jobs/phantom/spine.h"

// One group after the other of the current part, on the frame's side: the plate from behind to the front, and the part
// along the joint downwards.
static void plate(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    double spine_x = 38 + 5 * kf_anatomy_vary(a, 570); // of the posterior superior iliac spine from the midline
    const struct kf_station wing[] = {{spine_x, 52, -18, 6, 17}, {49, 38, -13, 8.5, 28},  {59, 18, -8, 9, 36},
                                      {70, -6, 0, 7, 43},        {86, -26, 12, 4.5, 48}, {112, -42, 24, 4.5, 50}};
    const struct kf_station joint[] = {
        {60, 20, 4, 9, 15}, {56, 23, -18, 9, 15}, {49, 27, -36, 9, 13}, {44, 30, -50, 7, 9}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, wing, 6, KF_V(0, 0, 1), 0.9, 0, 4);
    kf_scene_group(s, KF_UNION, 5);
    kf_scene_tube(s, KF_UNION, 0, joint, 4, KF_V(0, 1, 0), 1, 0, 4);
}

void kf_build_ilia(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    struct kf_frame home = s->frame;
    const struct kf_vertebra *v = &spine->v[KF_LEVELS - 1];
    for (int bone = 0; bone < 2; bone++)
        for (int side = -1; side <= 1; side += 2) {
            struct kf_sdf_part *part = bone ? kf_scene_part(s, "Ilium", KF_L_ILIUM, KF_T_BONE)
                                            : kf_scene_part(s, "Joint", KF_LABEL_BELOW, KF_T_CARTILAGE);
            part->rough = 0.3;
            part->rough_wavelength = 7;
            part->shell_scale = 0.8; // 1.2 mm
            s->frame.origin = v->origin;
            s->frame.axes = v->axes;
            s->frame.side = side;
            plate(a);
            s->frame.side = 1;
            if (bone)
                kf_sacral_mass(s, v, KF_SUBTRACT, a->joint_mm);
            s->frame = home;
        }
}
