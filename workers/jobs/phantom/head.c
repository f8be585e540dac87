// The head. Canonical frame: LPS millimetres, origin midway between the porions, z = 0 the Frankfort horizontal, x to
// the patient's left, the face towards −y. Sizes follow adult means: vault 180 × 143 × 142 mm, nasion–basion 100,
// bizygomatic 132, bigonial 98, orbit 40 × 34, foramen magnum 35 × 30, cephalometric angles near SNA 82°, SNB 80°.
#include "workers/jobs/phantom/anatomy.h"

void kf_build_head(struct kf_anatomy *a)
{
    kf_build_head_soft(a);
    kf_build_neck(a);
    kf_build_skull(a);
    kf_build_face(a);
    kf_build_mandible(a);
    kf_build_head_air(a);
    kf_build_teeth(a);
}
